package api

import (
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// AlterReplicaLogDirs (key 34), versions 1 and 2.
//
// A replica that already lies in the directory stays there and that is no error. A directory that
// this broker does not have is LOG_DIR_NOT_FOUND, one that is offline KAFKA_STORAGE_ERROR. Replicas
// are not moved between directories of one broker: such a request is refused with
// KAFKA_STORAGE_ERROR, so that a tool does not wait for a move that never ends.
var _ = register(kmsg.KeyAlterReplicaLogDirs, (*Broker).alterReplicaLogDirs)

func (b *Broker) alterReplicaLogDirs(c *Call, req *kmsg.AlterReplicaLogDirsRequest) {
	resp := kmsg.NewAlterReplicaLogDirsResponse()
	at := map[string]int{}
	dirs := b.Admin.Store.Dirs()
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
				err := b.placeReplica(dirs, dir.Path, base.TopicPartition{Topic: t.Name, Partition: p})
				resp.Results[i].Partitions = append(resp.Results[i].Partitions,
					kmsg.AlterReplicaLogDirsResponseAlterReplicaLogDirPartitionResult{PartitionIndex: p, ErrorCode: c.code(err)})
			}
		}
	}
	c.Reply(&resp)
}

func (b *Broker) placeReplica(dirs []storage.DirStatus, path string, tp base.TopicPartition) error {
	path = filepath.Clean(path)
	i := slices.IndexFunc(dirs, func(d storage.DirStatus) bool { return filepath.Clean(d.Path) == path })
	if i < 0 || !filepath.IsAbs(path) {
		return kerr.LogDirNotFound
	}
	if !dirs[i].Online {
		return kerr.KafkaStorageError
	}
	log, ok := b.Admin.Store.Log(tp)
	if !ok {
		return kerr.ReplicaNotAvailable
	}
	if log.Dir() != dirs[i].Path {
		b.Logger.Warn("replica stays in its directory: moving replicas between directories is not possible",
			"topic", tp.Topic, "partition", tp.Partition, "dir", log.Dir(), "wanted_dir", path)
		return kerr.KafkaStorageError
	}
	return nil
}
