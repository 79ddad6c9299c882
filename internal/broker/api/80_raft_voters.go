package api

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AddRaftVoter (key 80), versions 0 and 1, RemoveRaftVoter (key 81), version 0, and UpdateRaftVoter
// (key 82), version 0, which only controllers send each other (KIP-853).
//
// The voters of a quorum change one at a time, by their node and directory ids: a node whose disk was
// wiped is somebody else. A quorum that controller.quorum.voters names is static until kraft.version is 1; with
// UpdateRaftVoter the active controller then hears what it needs for that.
var (
	_ = register(kmsg.KeyAddRaftVoter, (*Broker).addRaftVoter)
	_ = register(kmsg.KeyRemoveRaftVoter, (*Broker).removeRaftVoter)
	_ = register(kmsg.KeyUpdateRaftVoter, (*Broker).updateRaftVoter)
)

// votersTimeout bounds a change of the voters whose request does not say.
const votersTimeout = 30 * time.Second

func (b *Broker) checkCluster(id *string) error {
	if own := b.Image().ClusterID; id != nil && *id != own {
		return refuse(kerr.InconsistentClusterID, "cluster id %q: this is cluster %q", *id, own)
	}
	return nil
}

// changeVoters has the active controller change the voters. answered says that the call has ended.
func (c *Call) changeVoters(
	timeout time.Duration, change func(context.Context, *controller.Controller) error, resp kmsg.Response,
) (err error, answered bool) { //nolint:revive // the error is not of the function
	ctx, cancel := c.within(timeout)
	defer cancel()
	err = kerr.NotController
	if ctl := c.broker.Admin.Controller; ctl != nil {
		// Only who leads authorises: another one passes the request on.
		if _, err = ctl.Quorum(); err == nil {
			err = c.needCluster(auth.Alter)
		}
		if err == nil {
			c.parked()
			err = change(ctx, ctl)
		}
	}
	if !errors.Is(err, kerr.NotController) {
		return err, false
	}
	if c.notController() {
		return nil, true
	}
	if !c.mayForward() {
		return err, false
	}
	if err = c.forward(resp); err != nil {
		return err, false
	}
	c.Reply(resp)
	return nil, true
}

func (b *Broker) addRaftVoter(c *Call, req *kmsg.AddRaftVoterRequest) {
	resp := kmsg.NewAddRaftVoterResponse()
	v := raft.Voter{ID: req.VoterId, DirectoryID: req.VoterDirectoryId}
	for _, l := range req.Listeners {
		v.Endpoints = append(v.Endpoints, kmsg.VotersRecordEndpoint(l))
	}
	err, answered := c.changeVoters(time.Duration(req.TimeoutMs)*time.Millisecond,
		func(ctx context.Context, ctl *controller.Controller) error {
			if err := b.checkCluster(req.ClusterId); err != nil {
				return err
			}
			if len(v.Endpoints) == 0 {
				return refuse(kerr.InvalidRequest, "voter %d has no listener, want the controller's", v.ID)
			}
			return ctl.AddVoter(ctx, v)
		}, &resp)
	if !answered {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		c.Reply(&resp)
	}
}

func (b *Broker) removeRaftVoter(c *Call, req *kmsg.RemoveRaftVoterRequest) {
	resp := kmsg.NewRemoveRaftVoterResponse()
	v := raft.Voter{ID: req.VoterId, DirectoryID: req.VoterDirectoryId}
	err, answered := c.changeVoters(votersTimeout,
		func(ctx context.Context, ctl *controller.Controller) error {
			if err := b.checkCluster(req.ClusterId); err != nil {
				return err
			}
			return ctl.RemoveVoter(ctx, v)
		}, &resp)
	if !answered {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		c.Reply(&resp)
	}
}

func (b *Broker) updateRaftVoter(c *Call, req *kmsg.UpdateRaftVoterRequest) {
	resp := kmsg.NewUpdateRaftVoterResponse()
	v := raft.Voter{ID: req.VoterId, DirectoryID: req.VoterDirectoryId}
	for _, l := range req.Listeners {
		v.Endpoints = append(v.Endpoints, kmsg.VotersRecordEndpoint(l))
	}
	err := b.checkCluster(req.ClusterId)
	switch ctl := b.Admin.Controller; {
	case !c.mayCluster(auth.ClusterAction):
		err = kerr.ClusterAuthorizationFailed
	case err != nil:
	case ctl == nil || len(v.Endpoints) == 0:
		err = kerr.InvalidRequest
	default:
		ctx, cancel := c.within(votersTimeout)
		defer cancel()
		c.parked()
		levels := controller.Feature{
			Name: controller.KRaftVersion, Min: req.KRaftVersionFeature.MinSupportedVersion, Max: req.KRaftVersionFeature.MaxSupportedVersion,
		}
		if err = ctl.UpdateVoter(ctx, v, levels); errors.Is(err, kerr.NotController) {
			err = kerr.NotLeaderForPartition
		}
	}
	resp.ErrorCode = c.code(err)
	resp.CurrentLeader.LeaderId = int32(base.NoBroker)
	if ctl := b.Admin.Controller; ctl != nil {
		resp.CurrentLeader.LeaderId, resp.CurrentLeader.LeaderEpoch = ctl.Leader()
	}
	c.Reply(&resp)
}
