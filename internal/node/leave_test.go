package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// A client that talks to a node while that one stops is told that another leads before its connection ends.
func TestStopSendsClientsElsewhere(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	c.everywhere("orders")
	id := c.leader("orders", 0)
	a := newAsker(t, c.nodes[id].Bootstrap(), "reader")
	latest := kmsg.NewListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestListOffsetsPartition()
	p.Timestamp = -1
	latest.Topics = []kmsg.ListOffsetsRequestListOffsetsTopic{{Name: "orders", Partitions: []kmsg.ListOffsetsRequestListOffsetsPartition{p}}}
	code := func(r kmsg.Response) int16 { return r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode }
	c.eventually("the leader answers", func() bool { return code(ask[*kmsg.ListOffsetsResponse](a, &latest, 7)) == 0 })
	other := newAsker(t, c.nodes[id].Bootstrap(), "other")
	n := c.nodes[id]
	part, err := n.parts.Topic("orders").Partition(0)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[id] = nil
	stopped, left := make(chan error, 1), make(chan struct{})
	var silence atomic.Int64 // the longest between two of its answers, by what the machine is slow
	go func() { stopped <- n.stop() }()
	go func() { // somebody is served all the time
		defer close(left)
		last := time.Now()
		for err := error(nil); err == nil; {
			req := kmsg.NewApiVersionsRequest()
			_, err = other.c.Do(&req, 0)
			silence.Store(max(silence.Load(), int64(time.Since(last))))
			last = time.Now()
		}
	}()
	c.eventually("another leads", func() bool { return !part.IsLeader() })
	moved := time.Now()
	time.Sleep(seenOff / 2) // longer than a stop takes that does not wait for anybody
	resp, err := a.c.Do(&latest, 7)
	took := time.Since(moved)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	<-left
	switch {
	case took > seeOffTimeout, err != nil && time.Duration(silence.Load()) > seenOff/2:
		t.Skip("the machine is too slow to ask in time")
	case err != nil:
		t.Errorf("the connection ended before an answer said that another leads: %v", err)
	case code(resp) != kerr.NotLeaderForPartition.Code:
		t.Errorf("error %d, want %d", code(resp), kerr.NotLeaderForPartition.Code)
	}
}
