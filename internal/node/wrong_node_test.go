package node

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestAskingAnotherNode asks a node that neither leads the partition nor coordinates the group: a replica answers what a
// replica knows, and what is wrong wherever it is asked comes before who should be asked.
func TestAskingAnotherNode(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	c.inSync("orders", 3)
	produceNumbers(t, c.client(), "orders", 0, 10)
	id := c.follower("orders")
	c.eventually("the follower has the records", func() bool {
		p, err := c.nodes[id].parts.Topic("orders").Partition(0)
		return err == nil && p.Log().EndOffset() == 10
	})
	a := newAsker(t, c.nodes[id].Bootstrap(), "another")

	producers := kmsg.NewDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopicRequest{{Name: "orders", PartitionIndexes: []int32{0}}}
	if p := ask[*kmsg.DescribeProducersResponse](a, &producers, 0).Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.ActiveProducers) != 1 {
		t.Errorf("producers of a follower: error %d, %d of them, want one", p.ErrorCode, len(p.ActiveProducers))
	}

	list := kmsg.NewListOffsetsRequest()
	for _, look := range []struct {
		replica, want int32
		code          int16
	}{{-2, 10, 0}, {-1, -1, kerr.NotLeaderForPartition.Code}} {
		list.ReplicaId = look.replica
		part := kmsg.NewListOffsetsRequestListOffsetsPartition()
		part.Timestamp = -1
		list.Topics = []kmsg.ListOffsetsRequestListOffsetsTopic{{Name: "orders", Partitions: []kmsg.ListOffsetsRequestListOffsetsPartition{part}}}
		if p := ask[*kmsg.ListOffsetsResponse](a, &list, 6).Topics[0].Partitions[0]; p.ErrorCode != look.code || p.Offset != int64(look.want) {
			t.Errorf("end of a follower, asked as %d: error %d, offset %d, want %d, %d", look.replica, p.ErrorCode, p.Offset, look.code, look.want)
		}
	}

	beat := kmsg.NewHeartbeatRequest()
	if r := ask[*kmsg.HeartbeatResponse](a, &beat, 4); r.ErrorCode != kerr.InvalidGroupID.Code {
		t.Errorf("heartbeat without a group: error %d, want INVALID_GROUP_ID", r.ErrorCode)
	}
	describe := kmsg.NewDescribeTransactionsRequest()
	describe.TransactionalIds = []string{""}
	if r := ask[*kmsg.DescribeTransactionsResponse](a, &describe, 0).TransactionStates[0]; r.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("transaction without an id: error %d, want INVALID_REQUEST", r.ErrorCode)
	}
	join := kmsg.NewJoinGroupRequest()
	join.GroupId, join.MemberId = "readers", "one"
	told := 0
	for n := 1; n <= 3; n++ { // the two that do not coordinate it
		r := ask[*kmsg.JoinGroupResponse](newAsker(t, c.nodes[n].Bootstrap(), "member"), &join, 9)
		if r.ErrorCode != kerr.NotCoordinator.Code {
			continue
		}
		if told++; r.MemberId != "" || r.ProtocolName != nil {
			t.Errorf("join at node %d: member %q, protocol %v, want neither", n, r.MemberId, r.ProtocolName)
		}
	}
	if told == 0 {
		t.Error("every node coordinates the group")
	}
}
