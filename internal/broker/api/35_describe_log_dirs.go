package api

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// DescribeLogDirs (key 35), versions 1 to 5.
//
// Null topics mean all. A directory is listed even if it holds nothing that was asked for; one that
// is offline has KAFKA_STORAGE_ERROR and no topics.
//
//	v4  size and free space of the volume
//	v5  whether the directory is cordoned
var _ = register(kmsg.KeyDescribeLogDirs, (*Broker).describeLogDirs)

func (b *Broker) describeLogDirs(c *Call, req *kmsg.DescribeLogDirsRequest) {
	resp := kmsg.NewDescribeLogDirsResponse()
	if !c.mayCluster(auth.Describe) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		c.Reply(&resp)
		return
	}
	logs, futures := b.askedLogs(req), b.Admin.Store.Moves()
	asked := map[base.TopicPartition]bool{}
	for _, here := range logs {
		for _, l := range here {
			asked[l.TopicPartition()] = true
		}
	}
	for _, dir := range b.Admin.Store.Dirs() {
		res := kmsg.NewDescribeLogDirsResponseDescribeLogDirsResult()
		res.LogDir, res.TotalBytes, res.UsableBytes = dir.Path, dir.TotalBytes, dir.UsableBytes
		res.IsCordoned = b.Admin.Conf().Broker().Cordoned(dir.Path)
		if !dir.Online {
			res.ErrorCode = kerr.KafkaStorageError.Code
		} else {
			res.Topics = addFutures(dirTopics(logs[dir.Path]), dir.Path, futures, asked)
		}
		resp.Results = append(resp.Results, res)
	}
	c.Reply(&resp)
}

// askedLogs are the logs that the request names, by directory.
func (b *Broker) askedLogs(req *kmsg.DescribeLogDirsRequest) map[string][]*storage.Log {
	byDir := map[string][]*storage.Log{}
	if req.Topics == nil {
		for _, l := range b.Admin.Store.Logs() {
			byDir[l.Dir()] = append(byDir[l.Dir()], l)
		}
		return byDir
	}
	seen := map[base.TopicPartition]bool{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			tp := base.TopicPartition{Topic: t.Topic, Partition: p}
			if l, ok := b.Admin.Store.Log(tp); ok && !seen[tp] {
				seen[tp] = true
				byDir[l.Dir()] = append(byDir[l.Dir()], l)
			}
		}
	}
	return byDir
}

func dirTopics(logs []*storage.Log) []kmsg.DescribeLogDirsResponseDescribeLogDirsTopic {
	slices.SortFunc(logs, func(x, y *storage.Log) int {
		a, b := x.TopicPartition(), y.TopicPartition()
		if d := strings.Compare(a.Topic, b.Topic); d != 0 {
			return d
		}
		return int(a.Partition) - int(b.Partition)
	})
	var out []kmsg.DescribeLogDirsResponseDescribeLogDirsTopic
	for _, l := range logs {
		tp := l.TopicPartition()
		if len(out) == 0 || out[len(out)-1].Name != tp.Topic {
			out = append(out, kmsg.DescribeLogDirsResponseDescribeLogDirsTopic{Name: tp.Topic})
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, kmsg.DescribeLogDirsResponseDescribeLogDirsPartition{
			PartitionIndex: tp.Partition, PartitionSize: l.Size(), OffsetLag: max(l.HighWatermark()-l.EndOffset(), 0),
		})
	}
	return out
}

// addFutures adds the replicas that are on their way into a directory.
func addFutures(topics []kmsg.DescribeLogDirsResponseDescribeLogDirsTopic, dir string, futures []storage.MoveStatus,
	asked map[base.TopicPartition]bool,
) []kmsg.DescribeLogDirsResponseDescribeLogDirsTopic {
	for _, m := range futures {
		tp := m.TopicPartition
		if m.Dir != dir || !asked[tp] {
			continue
		}
		i := slices.IndexFunc(topics, func(t kmsg.DescribeLogDirsResponseDescribeLogDirsTopic) bool { return t.Name == tp.Topic })
		if i < 0 {
			i = len(topics)
			topics = append(topics, kmsg.DescribeLogDirsResponseDescribeLogDirsTopic{Name: tp.Topic})
		}
		topics[i].Partitions = append(topics[i].Partitions, kmsg.DescribeLogDirsResponseDescribeLogDirsPartition{
			PartitionIndex: tp.Partition, PartitionSize: m.Bytes, OffsetLag: m.Lag, IsFutureKey: true,
		})
	}
	return topics
}
