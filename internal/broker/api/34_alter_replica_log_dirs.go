package api

import (
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterReplicaLogDirs (key 34), versions 1 and 2.
//
// A replica moves in the background (KIP-113); DescribeLogDirs shows it in both directories meanwhile.
// One that already lies in the directory stays there, and a move of it to elsewhere ends. A directory
// that this broker does not have is LOG_DIR_NOT_FOUND, one that is offline KAFKA_STORAGE_ERROR, one that
// is cordoned INVALID_REPLICA_ASSIGNMENT. A replica that is not here is REPLICA_NOT_AVAILABLE; should it come, as by
// a reassignment, it is made in that directory.
var _ = register(kmsg.KeyAlterReplicaLogDirs, (*Broker).alterReplicaLogDirs)

func (b *Broker) alterReplicaLogDirs(c *Call, req *kmsg.AlterReplicaLogDirsRequest) {
	resp := kmsg.NewAlterReplicaLogDirsResponse()
	at := map[string]int{}
	may := c.mayCluster(auth.Alter)
	for _, dir := range req.Dirs {
		for _, t := range dir.Topics {
			i, ok := at[t.Name]
			if !ok {
				i = len(resp.Results)
				at[t.Name] = i
				resp.Results = append(resp.Results,
					kmsg.AlterReplicaLogDirsResponseAlterReplicaLogDirTopicResult{TopicName: t.Name})
			}
			for _, p := range t.Partitions {
				err := error(kerr.ClusterAuthorizationFailed)
				if may {
					err = b.placeReplica(dir.Path, base.TopicPartition{Topic: t.Name, Partition: p})
				}
				resp.Results[i].Partitions = append(resp.Results[i].Partitions,
					kmsg.AlterReplicaLogDirsResponseAlterReplicaLogDirPartitionResult{PartitionIndex: p, ErrorCode: c.code(err)})
			}
		}
	}
	c.Reply(&resp)
}

func (b *Broker) placeReplica(path string, tp base.TopicPartition) error {
	if !filepath.IsAbs(path) {
		return kerr.LogDirNotFound
	}
	if b.Admin.Conf().Broker().Cordoned(path) {
		return kerr.InvalidReplicaAssignment
	}
	if t := b.Image().Topic(tp.Topic); t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions) { // also the metadata log, which stays where it is
		for _, d := range b.Admin.Store.Dirs() {
			if filepath.Clean(d.Path) == filepath.Clean(path) {
				return kerr.ReplicaNotAvailable
			}
		}
		return kerr.LogDirNotFound
	}
	return b.Admin.Store.Move(tp, path)
}
