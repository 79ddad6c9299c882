package cli

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// probe asks, for each partition that has been silent, whether its range holds any further record.
// The last offsets of a range can belong to records that compaction removed; the client passes over
// such holes silently, so that without this a bounded read would wait for ever.
func (c *consuming) probe() error {
	if c.fl.group != "" {
		c.dropForeign()
	}
	details, err := call(c.cn, "cannot read topic metadata", func(ctx context.Context) (kadm.TopicDetails, error) {
		return c.cn.ListTopicsWithInternal(ctx, c.plan.topics...)
	})
	if err != nil {
		return err
	}
	for t, parts := range c.open {
		for p, next := range parts {
			d, ok := details[t].Partitions[p]
			if !ok || d.Leader < 0 {
				continue // its leader may return; the deadline of the client covers this
			}
			at, err := c.probeOne(details[t].ID, d, next)
			if err != nil {
				return err
			}
			if at >= c.plan.spans[t][p].last {
				c.untrack(t, p)
			}
		}
	}
	return nil
}

// dropForeign stops waiting for partitions that other members of the group read. Before the first
// assignment nothing is known, and nothing is dropped.
func (c *consuming) dropForeign() {
	mine, known := c.mine.snapshot()
	if !known {
		return
	}
	for t, parts := range c.open {
		for p := range parts {
			if !mine[partitionKey{t, p}] {
				c.untrack(t, p)
			}
		}
	}
}

// probeOne returns the offset of the first record at or after next, or the offset up to which there
// is none.
func (c *consuming) probeOne(id kadm.TopicID, d kadm.PartitionDetail, next int64) (int64, error) {
	for {
		req := probeRequest(id, d, next, c.fl.uncommitted)
		resp, err := call(c.cn, fmt.Sprintf("cannot read %s-%d", d.Topic, d.Partition),
			func(ctx context.Context) (*kmsg.FetchResponse, error) {
				raw, err := c.cn.cl.Broker(int(d.Leader)).RetriableRequest(ctx, req)
				if err != nil {
					return nil, err
				}
				return raw.(*kmsg.FetchResponse), nil
			})
		if err != nil {
			return 0, err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return next, nil
		}
		rp := &resp.Topics[0].Partitions[0]
		level := kgo.ReadCommitted()
		if c.fl.uncommitted {
			level = kgo.ReadUncommitted()
		}
		fp, after := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: next, IsolationLevel: level,
			Topic: d.Topic, Partition: d.Partition, KeepControlRecords: false}, rp, kgo.DefaultDecompressor(), nil)
		switch {
		case fp.Err != nil:
			return next, nil
		case len(rp.RecordBatches) == 0:
			return emptyUpTo(resp, rp, next, c.fl.uncommitted), nil
		case len(fp.Records) > 0:
			return fp.Records[0].Offset, nil
		case after <= next:
			return next, nil
		}
		next = after
	}
}

// emptyUpTo says how far a fetch that brought nothing proves that there is nothing.
func emptyUpTo(resp *kmsg.FetchResponse, rp *kmsg.FetchResponseTopicPartition, next int64, uncommitted bool) int64 {
	if resp.ThrottleMillis > 0 {
		return next // a throttled answer is empty whatever the log holds
	}
	if uncommitted {
		return max(next, rp.HighWatermark)
	}
	return max(next, rp.LastStableOffset)
}

func probeRequest(id kadm.TopicID, d kadm.PartitionDetail, next int64, uncommitted bool) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 0, 1<<20
	req.SessionEpoch = -1
	if !uncommitted {
		req.IsolationLevel = 1
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = d.Topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = d.Partition, next, 1<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}
