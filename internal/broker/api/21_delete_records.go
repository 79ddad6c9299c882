package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DeleteRecords (key 21), versions 0 to 2.
//
// Moves the start of a partition up to an offset, -1 meaning the high watermark. An offset below the
// start changes nothing and is no error. Topics that only compact refuse it, and so do internal ones.
// The answer waits until all replicas on brokers that are alive have deleted (KIP-107), for as long as the
// request allows: what is deleted does not come back with another leader.
var _ = register(kmsg.KeyDeleteRecords, (*Broker).deleteRecords)

func (b *Broker) deleteRecords(c *Call, req *kmsg.DeleteRecordsRequest) {
	resp := kmsg.NewDeleteRecordsResponse()
	var waiting []*deletion
	for i := range req.Topics {
		in := &req.Topics[i]
		if len(in.Partitions) == 0 {
			continue
		}
		out := kmsg.DeleteRecordsResponseDeleteRecordsTopicResult{Name: in.Name}
		out.Partitions = make([]kmsg.DeleteRecordsResponseDeleteRecordsPartitionResult, len(in.Partitions))
		topic, may := b.topic(in.Name), c.mayTopic(auth.Delete, in.Name)
		for j, p := range in.Partitions {
			res := &out.Partitions[j]
			res.PartitionIndex = p.PartitionIndex
			if !may {
				res.LowWatermark, res.ErrorCode = -1, kerr.TopicAuthorizationFailed.Code
				continue
			}
			part, start, err := b.deleteBefore(topic, in.Name, p)
			if res.LowWatermark, res.ErrorCode = start, c.code(err); err == nil {
				d := &deletion{p: part, until: start, res: res}
				if p.Offset >= 0 {
					d.until = p.Offset // which may be below the start, and deleted by all long ago
				}
				waiting = append(waiting, d)
			}
		}
		resp.Topics = append(resp.Topics, out)
	}
	b.awaitDeletions(c, waiting, time.Duration(req.TimeoutMs)*time.Millisecond)
	c.Reply(&resp)
}

// deletion is one that the leader has done.
type deletion struct {
	p     *partition.Partition
	until int64 // what the log starts of all have to reach
	res   *kmsg.DeleteRecordsResponseDeleteRecordsPartitionResult
}

// done says whether nothing is to be waited for any more, and fills the answer.
func (d *deletion) done(c *Call, alive func(int32) bool) bool {
	low, err := d.p.LowWatermark(alive)
	d.res.LowWatermark, d.res.ErrorCode = low, c.code(err)
	return err != nil || low >= d.until
}

func (b *Broker) awaitDeletions(c *Call, waiting []*deletion, limit time.Duration) {
	alive := func(id int32) bool {
		br := b.Image().Broker(id)
		return br != nil && !br.Fenced
	}
	left := func() bool {
		open := waiting[:0]
		for _, d := range waiting {
			if !d.done(c, alive) {
				open = append(open, d)
			}
		}
		waiting = open
		return len(waiting) > 0
	}
	if !left() {
		return
	}
	c.parked()
	c.Conn.flush()
	w := c.Conn.tailWaiter()
	w.Drain()
	for _, d := range waiting {
		d.p.AddLow(w)
		defer d.p.RemoveLow(w)
	}
	timer := c.Conn.waitTimer(max(limit, 0))
	defer timer.Stop()
	// A broker that dies meanwhile is waited for no longer; nothing else tells of that.
	look := time.NewTicker(fencedLook)
	defer look.Stop()
	for left() {
		select {
		case <-w.C:
		case <-look.C:
		case <-timer.C:
			for _, d := range waiting {
				d.res.ErrorCode = kerr.RequestTimedOut.Code
			}
			return
		case <-c.Conn.Closing():
			return
		}
	}
}

// fencedLook is how often who waits for other brokers looks whether they are still there.
const fencedLook = 100 * time.Millisecond

func (b *Broker) deleteBefore(topic *partition.Topic, name string, in kmsg.DeleteRecordsRequestDeleteRecordsPartition,
) (p *partition.Partition, start int64, err error) {
	if meta.IsInternal(name) {
		return nil, -1, kerr.InvalidTopicException
	}
	if p, err = b.partition(topic, in.PartitionIndex); err != nil {
		return nil, -1, err
	}
	if cfg := p.Log().Config(); cfg.Compact && !cfg.Delete {
		return nil, -1, kerr.PolicyViolation
	}
	start, err = p.DeleteRecords(in.Offset)
	return p, start, err
}
