package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readLimit is how long all that was written may take to be read at the end.
const readLimit = 8 * time.Minute

// finish waits for the cluster to be whole, reads everything and judges it.
func (r *run) finish(ctx context.Context) error {
	l, c := r.load, r.cluster
	if err := c.awaitWhole(ctx, wholeLimit, c.topics()...); err != nil {
		r.report.Check("every replica is in sync again after the last fault", err)
	} else {
		r.report.Check("every replica is in sync again after the last fault", nil)
	}
	_ = wait(ctx, 2*time.Second) // the copying group goes on to the end
	l.stop()
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	var plain []Record
	for _, topic := range c.topics() {
		committed := topic == txnTopic || topic == copyTopic || topic == guardTopic
		all, err := r.readAll(ctx, topic, committed)
		r.report.Check(fmt.Sprintf("%s can be read to its end (%d records)", topic, len(all)), err)
		if err != nil {
			continue
		}
		r.records += len(all)
		if topic == copyTopic {
			r.judgeCopy(ctx, plain, all)
			continue
		}
		if topic == plainTopic {
			plain = all
		}
		l.h.Judge(topic, all, committed)
		if topic == txnTopic {
			l.h.Torn(all, txnSize, func(k key) int { return k.writer*1_000_000 + k.seq/txnSize })
		}
	}
	return r.judgeReplicas(ctx, c.topics())
}

// judgeCopy finds what was copied twice, or passed over: what the group has committed went over once.
func (r *run) judgeCopy(ctx context.Context, plain, all []Record) {
	seen := map[key]Record{}
	for _, rec := range all {
		if was, ok := seen[rec.Key]; ok {
			r.load.h.Anomaly("duplicate", "%v was copied to %v %d and to %v %d", rec.Key, was.Place, was.Offset, rec.Place, rec.Offset)
		}
		seen[rec.Key] = rec
	}
	r.copied = len(seen)
	offsets, err := r.cluster.adm.FetchOffsets(ctx, copyGroup)
	r.report.Check("the copying group's offsets can be read", err)
	for _, rec := range plain {
		if o, ok := offsets.Lookup(plainTopic, rec.Place.partition); !ok || rec.Offset >= o.At {
			continue
		}
		if _, ok := seen[rec.Key]; !ok {
			r.load.h.Anomaly("lost-write", "%v at %v %d is below the copying group's offset and was not copied", rec.Key, rec.Place, rec.Offset)
		}
	}
}

// readAll reads a topic from its start to its end.
func (r *run) readAll(ctx context.Context, topic string, committed bool) ([]Record, error) {
	isolation := kgo.ReadUncommitted()
	if committed {
		isolation = kgo.ReadCommitted()
	}
	c := r.cluster
	left := map[int32]int64{}
	for {
		ends, err := c.adm.ListEndOffsets(ctx, topic)
		stable, other := c.adm.ListCommittedOffsets(ctx, topic)
		err = errors.Join(err, other, ends.Error(), stable.Error())
		clear(left)
		same := true
		for p, o := range ends[topic] {
			same = same && stable[topic][p].Offset == o.Offset
			if o.Offset > 0 {
				left[p] = o.Offset
			}
		}
		if err == nil && same {
			break
		}
		if over := wait(ctx, 200*time.Millisecond); over != nil {
			return nil, fmt.Errorf("a transaction of %s stays open, or its ends are not told: %w", topic, errors.Join(over, err))
		}
	}
	cl, err := c.newClient(admin, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var all []Record
	next := map[int32]int64{}
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return all, fmt.Errorf("partitions %v are not at their ends: %w", left, ctx.Err())
		}
		fs.EachRecord(func(rec *kgo.Record) {
			at := place{topic, rec.Partition}
			if rec.Offset != next[rec.Partition] && !committed {
				r.load.h.Anomaly("poll-skip", "%v: offset %d where %d is next", at, rec.Offset, next[rec.Partition])
			}
			next[rec.Partition] = rec.Offset + 1
			if !rec.Attrs.IsControl() {
				all = append(all, r.record(at, rec))
			}
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
		})
	}
	return all, nil
}

func (r *run) record(at place, rec *kgo.Record) Record {
	k, err := parseValue(rec.Value)
	if at.topic == javaTopic {
		k, err = parseJava(string(rec.Value))
	}
	if err != nil {
		r.load.h.Anomaly("invented", "%v at %d: %v", at, rec.Offset, err)
	}
	return Record{at, rec.Offset, k}
}

const stopLimit = 15 * time.Second

// judgeReplicas stops every node and compares the bytes of all replicas.
func (r *run) judgeReplicas(ctx context.Context, topics []string) error {
	md, err := r.cluster.adm.Metadata(ctx, topics...)
	if err != nil {
		return fmt.Errorf("replicas to compare: %w", err)
	}
	var stopping sync.WaitGroup
	for _, nd := range r.cluster.nodes {
		// The last ones have no quorum to take leave of; killed, they leave the same bytes in their files.
		stopping.Go(func() { _ = nd.stop(stopLimit) })
	}
	stopping.Wait()
	compared, left := 0, 0
	for _, topic := range topics {
		for _, p := range md.Topics[topic].Partitions.Sorted() {
			var data []string
			for _, nd := range r.cluster.nodes {
				switch {
				case slices.Contains(p.Replicas, nd.id):
					data = append(data, nd.data())
				case hasReplica(nd.data(), topic, int(p.Partition)):
					left++
				}
			}
			n, err := compareReplicas(data, topic, int(p.Partition))
			if err == nil && n < len(p.Replicas) {
				err = fmt.Errorf("%s-%d: %d of the replicas %v are there", topic, p.Partition, n, p.Replicas)
			}
			if err != nil {
				r.load.h.Anomaly("replica-digest", "%v", err)
			}
			compared += n
		}
	}
	if left > 0 {
		r.report.Note("%d logs of partitions that were moved away are still there", left)
	}
	r.report.That("replicas were compared", compared >= 3*len(topics), "%d replicas", compared)
	return nil
}
