package node

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClusterReassigns takes a replica away and brings it back: its log goes, comes again, and joins.
func TestClusterReassigns(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	p := c.client()
	produceNumbers(t, p, "orders", 0, 50)
	adm := kadm.NewClient(c.client())
	assign := func(replicas ...int32) {
		t.Helper()
		req := kadm.AlterPartitionAssignmentsReq{}
		req.Assign("orders", 0, replicas)
		resps, err := adm.AlterPartitionAssignments(deadline(t), req)
		if err == nil {
			err = resps.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
		c.eventually("reassigned", func() bool {
			mp := c.up()[0].image().Topic("orders").Partitions[0]
			return slices.Equal(mp.Replicas, replicas) && len(mp.ISR) == len(replicas) && len(mp.Adding)+len(mp.Removing) == 0
		})
		list, err := adm.ListPartitionReassignments(deadline(t), nil)
		if err != nil || len(list) > 0 {
			t.Errorf("reassignments %v, error %v", list, err)
		}
	}
	assign(1, 2)
	c.eventually("the log of the third is gone", func() bool {
		for _, l := range c.nodes[3].store.Logs() {
			if l.TopicPartition().Topic == "orders" {
				return false
			}
		}
		return true
	})
	assign(3, 2)
	produceNumbers(t, p, "orders", 50, 100)
	assign(3, 1, 2)
	readAll(t, deadline(t), c.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 100)
}

// TestClusterAltersEachBroker sets a config of every broker: each is asked itself, and the active controller,
// which may be another, decides. Whoever asks the wrong one is told.
func TestClusterAltersEachBroker(t *testing.T) {
	c := startTrio(t)
	adm := kadm.NewClient(c.client())
	for id := int32(1); id <= 3; id++ {
		value := strconv.Itoa(int(60_000 + id))
		resps, err := adm.AlterBrokerConfigs(deadline(t), []kadm.AlterConfig{{Name: "log.retention.ms", Value: &value}}, id)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := resps.On(strconv.Itoa(int(id)), nil); err != nil || r.Err != nil {
			t.Errorf("broker %d: %v, %v %s", id, err, r.Err, r.ErrMessage)
		}
		c.eventually("the config is in effect", func() bool {
			return c.nodes[id].live.Load().live.Long("log.retention.ms") == int64(60_000+id)
		})
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	req.Resources = append(req.Resources, r)
	resp, err := c.client().Broker(2).Request(deadline(t), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0]; got.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("broker 2 was asked for broker 1: error %d %s", got.ErrorCode, *got.ErrorMessage)
	}
	legacy := kmsg.NewPtrAlterConfigsRequest()
	lr := kmsg.NewAlterConfigsRequestResource()
	lr.ResourceType, lr.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	legacy.Resources = append(legacy.Resources, lr)
	if resp, err = c.client().Broker(2).Request(deadline(t), legacy); err != nil {
		t.Fatal(err)
	}
	if got := resp.(*kmsg.AlterConfigsResponse).Resources[0]; got.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("broker 2 was asked for broker 1 in the older way: error %d %s", got.ErrorCode, *got.ErrorMessage)
	}
}
