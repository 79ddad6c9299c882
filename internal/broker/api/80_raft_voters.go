package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AddRaftVoter (key 80), versions 0 and 1, and RemoveRaftVoter (key 81), version 0.
//
// The quorum of a single node is that node. It cannot be removed, and a voter cannot be added.
var (
	_ = register(kmsg.KeyAddRaftVoter, (*Broker).addRaftVoter)
	_ = register(kmsg.KeyRemoveRaftVoter, (*Broker).removeRaftVoter)
)

func (b *Broker) checkCluster(id *string) error {
	if own := b.Image().ClusterID; id != nil && *id != own {
		return refuse(kerr.InconsistentClusterID, "cluster id %q: this is cluster %q", *id, own)
	}
	return nil
}

func (b *Broker) addRaftVoter(c *Call, req *kmsg.AddRaftVoterRequest) {
	resp := kmsg.NewAddRaftVoterResponse()
	err := b.checkCluster(req.ClusterId)
	switch {
	case err != nil:
	case len(req.Listeners) == 0:
		err = refuse(kerr.InvalidRequest, "voter %d has no listener, want the controller's", req.VoterId)
	default:
		err = refuse(kerr.UnsupportedVersion, "voters cannot be added: kraft.version is 0, want 1")
	}
	resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
	c.Reply(&resp)
}

func (b *Broker) removeRaftVoter(c *Call, req *kmsg.RemoveRaftVoterRequest) {
	resp := kmsg.NewRemoveRaftVoterResponse()
	err := b.checkCluster(req.ClusterId)
	if err == nil {
		err = refuse(kerr.UnsupportedVersion, "voters cannot be removed: kraft.version is 0, want 1")
	}
	resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
	c.Reply(&resp)
}
