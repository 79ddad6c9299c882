package cli

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ends are the log start, the end and any looked-up times of many partitions.
type ends struct {
	start, end kadm.ListedOffsets
	byTime     map[int64]kadm.ListedOffsets // by Unix milliseconds
}

// listEnds asks for what resolving r needs. stable takes the last stable offset as the end, which is
// where a read-committed reader stops. What could be had stands beside an error.
func (c *conn) listEnds(topics []string, times []time.Time, stable bool) (ends, error) {
	e := ends{byTime: map[int64]kadm.ListedOffsets{}}
	var first error
	list := func(what string, fn func(context.Context) (kadm.ListedOffsets, error)) kadm.ListedOffsets {
		found, err := call(c, what, fn)
		if first == nil {
			first = err
		}
		return found
	}
	e.start = list("cannot read the start offsets", func(ctx context.Context) (kadm.ListedOffsets, error) {
		return c.ListStartOffsets(ctx, topics...)
	})
	if first != nil && !c.awaitsLeader(first) {
		return e, first
	}
	e.end = list("cannot read the end offsets", func(ctx context.Context) (kadm.ListedOffsets, error) {
		if stable {
			return c.ListCommittedOffsets(ctx, topics...)
		}
		return c.ListEndOffsets(ctx, topics...)
	})
	for _, t := range times {
		if first != nil {
			break
		}
		ms := t.UnixMilli()
		if e.byTime[ms] != nil {
			continue
		}
		e.byTime[ms] = list("cannot look up offsets by time", func(ctx context.Context) (kadm.ListedOffsets, error) {
			return c.ListOffsetsAfterMilli(ctx, ms, topics...)
		})
	}
	return e, first
}

// leaderPatience is how long a reader waits for partitions to be led: longer than a cluster takes to notice a dead
// broker, and than the client keeps what it knows of leaders.
const leaderPatience = 12 * time.Second

// awaitEnds is listEnds for a reader, who would rather wait for an election than begin again: while partitions have no
// leader, or their leader does not answer, it asks again.
func (c *conn) awaitEnds(topics []string, times []time.Time, stable bool) (ends, error) {
	wait, cancel := context.WithTimeout(c.base, min(leaderPatience, c.timeout))
	defer cancel()
	told := false
	for {
		e, err := c.listEnds(topics, times, stable)
		if err == nil && !e.leaderless() || err != nil && !c.awaitsLeader(err) {
			return e, err
		}
		if !told && c.app.StderrTTY {
			c.app.say("%s", c.app.paintErr(dim, "waiting for leaders of partitions"))
			told = true
		}
		if !pause(wait, leaderRetry) {
			return e, err
		}
	}
}

// leaderless says whether a broker refused to tell of a partition that it does not lead.
func (e ends) leaderless() (found bool) {
	for _, list := range []kadm.ListedOffsets{e.start, e.end} {
		list.Each(func(o kadm.ListedOffset) { found = found || isLeaderless(o.Err) })
	}
	return found
}

func isLeaderless(err error) bool {
	return isKafka(err, kerr.LeaderNotAvailable) || isKafka(err, kerr.NotLeaderForPartition)
}

const leaderRetry = 250 * time.Millisecond

// awaitsLeader says whether an election would help: other brokers are there.
func (c *conn) awaitsLeader(err error) bool {
	return isLeaderless(err) || c.base.Err() == nil && asFault("", err).Exit == exitUnreachable && c.watch.reached()
}

// listEndsOf is listEnds of topics to look at: where a partition has no leader, or its leader does not answer, the others
// are told all the same. It is asked most when a broker is down.
func (c *conn) listEndsOf(details kadm.TopicDetails) ends {
	names := details.Names()
	leaderless := false
	details.EachPartition(func(p kadm.PartitionDetail) { leaderless = leaderless || p.Leader < 0 })
	var failed error
	list := func(what string, fn func(context.Context, ...string) (kadm.ListedOffsets, error)) kadm.ListedOffsets {
		ctx, cancel := c.step()
		defer cancel()
		out, err := fn(ctx, names...)
		if err != nil {
			failed = c.fault(what, err)
		}
		return out
	}
	e := ends{start: list("cannot read the start offsets", c.ListStartOffsets), end: list("cannot read the end offsets", c.ListEndOffsets)}
	switch {
	case failed == nil:
	case leaderless: // which the table says
		c.app.debug("offsets are missing: %v", failed)
	default:
		c.app.warn("offsets are not known everywhere: %v", failed)
	}
	return e
}

// of gives one partition's ends; ok is false when the brokers did not tell, and err says why.
func (e ends) of(topic string, partition int32) (logEnds, error) {
	start, ok1 := e.start.Lookup(topic, partition)
	end, ok2 := e.end.Lookup(topic, partition)
	if start.Err != nil {
		return logEnds{}, start.Err
	}
	if end.Err != nil {
		return logEnds{}, end.Err
	}
	if !ok1 || !ok2 {
		return logEnds{}, errNoOffsets
	}
	return logEnds{start: start.Offset, end: end.Offset, atTime: func(t time.Time) int64 {
		o, ok := e.byTime[t.UnixMilli()].Lookup(topic, partition)
		if !ok || o.Err != nil || o.Offset < 0 {
			return end.Offset
		}
		return min(o.Offset, end.Offset)
	}}, nil
}

var errNoOffsets = &Fault{What: "the brokers told no offsets for a partition", Exit: exitFailed,
	Try: "logstead cluster health"}
