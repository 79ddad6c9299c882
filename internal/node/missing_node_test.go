package node

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

func deleteUpTo(offset int64, millis int32) *kmsg.DeleteRecordsRequest {
	r := kmsg.NewDeleteRecordsRequest()
	r.TimeoutMs = millis
	r.Topics = []kmsg.DeleteRecordsRequestDeleteRecordsTopic{{
		Name: "orders", Partitions: []kmsg.DeleteRecordsRequestDeleteRecordsPartition{{Offset: offset}},
	}}
	return &r
}

// TestDeletedOnAllReplicas: records are deleted when all replicas that are alive have deleted them, or the answer says
// that there was no time for that.
func TestDeletedOnAllReplicas(t *testing.T) {
	c := startTrio(t, "broker.session.timeout.ms=120000")
	c.replicated("orders", 1)
	c.inSync("orders", 3)
	produceNumbers(t, c.client(), "orders", 0, 10)
	follower := c.follower("orders")
	leader := c.leader("orders", 0)
	a := newAsker(t, c.nodes[leader].Bootstrap(), "deleting")
	c.eventually("all know what is committed", func() bool {
		for _, n := range c.up() {
			if p, err := n.parts.Topic("orders").Partition(0); err != nil || p.HighWatermark() != 10 {
				return false
			}
		}
		return true
	})

	if p := ask[*kmsg.DeleteRecordsResponse](a, deleteUpTo(3, 60_000), 2).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LowWatermark != 3 {
		t.Fatalf("delete up to 3: error %d, low watermark %d", p.ErrorCode, p.LowWatermark)
	}
	for _, n := range c.up() {
		p, err := n.parts.Topic("orders").Partition(0)
		if err != nil {
			t.Fatal(err)
		}
		if start := p.Log().StartOffset(); start != 3 {
			t.Errorf("a log begins at %d when the deletion is answered, want 3", start)
		}
	}

	c.crash(follower) // and nobody knows it yet
	if p := ask[*kmsg.DeleteRecordsResponse](a, deleteUpTo(5, 200), 2).Topics[0].Partitions[0]; p.ErrorCode != kerr.RequestTimedOut.Code || p.LowWatermark != 3 {
		t.Errorf("delete up to 5 with a follower that does not answer: error %d, low watermark %d, want REQUEST_TIMED_OUT and 3", p.ErrorCode, p.LowWatermark)
	}
	if p := ask[*kmsg.DeleteRecordsResponse](a, deleteUpTo(2, 60_000), 2).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LowWatermark != 3 {
		t.Errorf("delete up to 2, which all have deleted: error %d, low watermark %d, want none and 3", p.ErrorCode, p.LowWatermark)
	}
}

// TestMissingNode asks a node while another has stopped.
func TestMissingNode(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	c.inSync("orders", 3)
	gone := c.follower("orders")
	leader := c.leader("orders", 0)
	c.stop(gone)
	a := newAsker(t, c.nodes[leader].Bootstrap(), "asking")

	meta := kmsg.NewMetadataRequest()
	name := "orders"
	meta.Topics = []kmsg.MetadataRequestMetadataRequestTopic{{Name: &name}}
	c.eventually("the first version of Metadata leaves the stopped node out and says so", func() bool {
		p := ask[*kmsg.MetadataResponse](a, &meta, 0).Topics[0].Partitions[0]
		return p.ErrorCode == kerr.ReplicaNotAvailable.Code && len(p.ReplicaNodes) == 2 && !slices.Contains(p.ReplicaNodes, int32(gone)) &&
			!slices.Contains(p.IsrNodes, int32(gone)) && p.LeaderId == int32(leader)
	})
	if p := ask[*kmsg.MetadataResponse](a, &meta, 1).Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.ReplicaNodes) != 3 {
		t.Errorf("the second version: error %d, replicas %v, want all three", p.ErrorCode, p.ReplicaNodes)
	}

	elect := kmsg.NewElectLeadersRequest()
	elect.TimeoutMs = 0
	elect.TopicPartitions = []kmsg.ElectLeadersRequestTopicPartitions{{Topic: "orders", Partitions: []int32{0}}}
	r := ask[*kmsg.ElectLeadersResponse](a, &elect, 2)
	if len(r.ReplicaElectionResults) != 1 || r.ErrorCode != kerr.RequestTimedOut.Code || r.ReplicaElectionResults[0].PartitionResult[0].ErrorCode != kerr.RequestTimedOut.Code {
		t.Errorf("an election with no time: %+v, want REQUEST_TIMED_OUT for all and the partition", r)
	}
	move := kmsg.NewAlterPartitionReassignmentsRequest()
	move.TimeoutMs = 0
	move.Topics = []kmsg.AlterPartitionReassignmentsRequestReassignableTopic{{
		Name: "orders", Partitions: []kmsg.AlterPartitionReassignmentsRequestReassignablePartition{{Replicas: []int32{1}}},
	}}
	m := ask[*kmsg.AlterPartitionReassignmentsResponse](a, &move, 0)
	if len(m.Responses) != 1 || m.ErrorCode != kerr.RequestTimedOut.Code || m.Responses[0].Partitions[0].ErrorCode != kerr.RequestTimedOut.Code {
		t.Errorf("a move with no time: %+v, want REQUEST_TIMED_OUT for all and the partition", m)
	}
}
