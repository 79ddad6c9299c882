package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consuming is one run of consume.
type consuming struct {
	app     *App
	cn      *conn
	fl      consumeFlags
	plan    *consumePlan
	filters []*filter
	out     *printer

	open    map[string]map[int32]int64 // next offset of the partitions still to be read
	seen    int64
	printed int64
	bytes   int64
	commits map[string]map[int32]kgo.EpochOffset
	mine    assignment
}

// assignment is what the group gave to this member; the client's callbacks write it.
type assignment struct {
	mu    sync.Mutex
	known bool
	parts map[partitionKey]bool
}

type partitionKey struct {
	topic     string
	partition int32
}

func (m *assignment) change(has bool, parts map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.parts == nil {
		m.parts = map[partitionKey]bool{}
	}
	m.known = m.known || has
	for t, ps := range parts {
		for _, p := range ps {
			m.parts[partitionKey{t, p}] = has
		}
	}
}

func (m *assignment) snapshot() (map[partitionKey]bool, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.parts), m.known
}

// options make the client report the assignment.
func (m *assignment) options() []kgo.Opt {
	on := func(has bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { m.change(has, parts) }
	}
	return []kgo.Opt{kgo.OnPartitionsAssigned(on(true)), kgo.OnPartitionsRevoked(on(false)),
		kgo.OnPartitionsLost(on(false))}
}

// idleBeforeProbe is how long a bounded read waits for records before it asks the brokers whether
// any can still come: the last offsets of a range may have been compacted away.
const idleBeforeProbe = 400 * time.Millisecond

func (a *App) runConsume(cmd *cobra.Command, fl consumeFlags, plan *consumePlan, filters []*filter,
	out *printer) error {
	c := &consuming{app: a, fl: fl, plan: plan, filters: filters, out: out, open: map[string]map[int32]int64{}}
	for t, parts := range plan.spans {
		for p, s := range parts {
			if !s.empty() {
				c.track(t, p, s.position)
			}
		}
	}
	if plan.bounded && len(c.open) == 0 {
		return c.finish(cmd.Context(), nil)
	}
	opts, err := a.consumeOptions(fl, plan)
	if err != nil {
		return err
	}
	if fl.group != "" {
		opts = append(opts, c.mine.options()...)
	}
	if c.cn, err = a.dial(cmd, opts...); err != nil {
		return err
	}
	defer c.cn.close()
	if a.StderrTTY && !plan.bounded {
		a.say("%s", a.paintErr(dim, plan.describe()))
	}
	return c.finish(cmd.Context(), c.loop(cmd.Context()))
}

func (c *consuming) track(topic string, partition int32, next int64) {
	if c.open[topic] == nil {
		c.open[topic] = map[int32]int64{}
	}
	c.open[topic][partition] = next
}

func (c *consuming) untrack(topic string, partition int32) {
	delete(c.open[topic], partition)
	if len(c.open[topic]) == 0 {
		delete(c.open, topic)
	}
	c.cn.cl.PauseFetchPartitions(map[string][]int32{topic: {partition}})
}

// loop polls until the range is read, enough is printed, or the user stops it.
func (c *consuming) loop(ctx context.Context) error {
	for !c.complete() {
		err := c.turn(ctx)
		if c.fl.group != "" {
			c.cn.cl.AllowRebalance()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turn is one poll and what follows from it. Offsets are committed after the records were printed.
func (c *consuming) turn(ctx context.Context) error {
	fetches, err := c.poll(ctx)
	if err != nil {
		return err
	}
	if fetches.Empty() && c.plan.bounded {
		return c.probe()
	}
	err = c.handle(fetches)
	if ferr := c.out.flush(); err == nil {
		err = ferr
	}
	if cerr := c.commit(); err == nil {
		err = cerr
	}
	return err
}

func (c *consuming) complete() bool {
	return (c.plan.bounded && len(c.open) == 0) || (c.fl.num > 0 && c.printed >= c.fl.num)
}

func (c *consuming) poll(ctx context.Context) (kgo.Fetches, error) {
	pollCtx, cancel := c.cn.base, context.CancelFunc(func() {})
	if c.plan.bounded {
		pollCtx, cancel = context.WithTimeout(c.cn.base, idleBeforeProbe)
	}
	defer cancel()
	fetches := c.cn.cl.PollRecords(pollCtx, 10_000)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.cn.base.Err() != nil {
		return nil, c.cn.fault("cannot read", c.cn.base.Err())
	}
	var bad error
	fetches.EachError(func(topic string, partition int32, err error) {
		if bad == nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			bad = c.fetchFault(topic, partition, err)
		}
	})
	return fetches, bad
}

func (c *consuming) fetchFault(topic string, partition int32, err error) error {
	var loss *kgo.ErrDataLoss
	if errors.As(err, &loss) {
		c.app.warn("%s-%d: records below offset %d are gone; reading goes on at offset %d", topic, partition,
			loss.ConsumedTo, loss.ResetTo)
		return nil
	}
	what := fmt.Sprintf("cannot read %s-%d", topic, partition)
	if topic == "" {
		what = "cannot read"
		if c.fl.group != "" {
			what = fmt.Sprintf("cannot read in group %q", c.fl.group)
		}
	}
	return c.cn.fault(what, err)
}

// handle prints what a poll brought.
func (c *consuming) handle(fetches kgo.Fetches) error {
	iter := fetches.RecordIter()
	for !iter.Done() && !c.complete() {
		r := iter.Next()
		s, ok := c.plan.spans[r.Topic][r.Partition]
		if !ok {
			s = span{last: noLast} // a partition added since
		}
		if c.plan.bounded {
			if _, reading := c.open[r.Topic][r.Partition]; !reading {
				continue
			}
		}
		if r.Offset < s.last && r.Offset >= s.first {
			if err := c.show(r); err != nil {
				return err
			}
		}
		if !c.plan.bounded {
			continue
		}
		c.open[r.Topic][r.Partition] = r.Offset + 1
		if r.Offset+1 >= s.last {
			c.untrack(r.Topic, r.Partition)
		}
	}
	return nil
}

func (c *consuming) show(r *kgo.Record) error {
	if c.fl.group != "" {
		c.willCommit(r)
	}
	if r.Attrs.IsControl() {
		return nil // markers of transactions: only their offsets are of interest
	}
	c.seen++
	for _, f := range c.filters {
		if !f.match(r) {
			return nil
		}
	}
	c.printed++
	c.bytes += int64(recordBytes(r))
	return c.out.print(r)
}

func (c *consuming) willCommit(r *kgo.Record) {
	if c.commits == nil {
		c.commits = map[string]map[int32]kgo.EpochOffset{}
	}
	if c.commits[r.Topic] == nil {
		c.commits[r.Topic] = map[int32]kgo.EpochOffset{}
	}
	c.commits[r.Topic][r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
}

// commit records the group's place, after the records were printed and not before.
func (c *consuming) commit() error {
	if len(c.commits) == 0 || c.fl.noCommit {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.cn.base), c.cn.timeout)
	defer cancel()
	var failed error
	c.cn.cl.CommitOffsetsSync(ctx, c.commits, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest,
		resp *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if resp == nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := errorForCode(p.ErrorCode); err != nil && failed == nil {
					failed = err
				}
			}
		}
	})
	c.commits = nil
	if failed != nil {
		return c.cn.fault(fmt.Sprintf("cannot commit the offsets of group %q", c.fl.group), failed)
	}
	return nil
}

// finish flushes, and on a terminal says what was read. Ctrl-c is how one leaves: no error.
func (c *consuming) finish(ctx context.Context, err error) error {
	if ferr := c.out.close(); err == nil {
		err = ferr
	}
	interrupted := ctx.Err() != nil
	if err != nil && !interrupted {
		return err
	}
	c.app.say("%s", c.app.paintErr(dim, c.sentence()))
	return nil
}

func (c *consuming) sentence() string {
	s := fmt.Sprintf("%s (%s)", countOf(int(c.printed), "record"), humanBytes(c.bytes))
	if len(c.filters) > 0 {
		s += fmt.Sprintf(" of %s read", humanCount(c.seen))
	}
	return s
}
