package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

// mirroredRetention is the retention.ms of the topics that are mirrored: a value that no default has.
const mirroredRetention = "5400000"

// mirror runs MirrorMaker 2 between the target and an Apache Kafka of its own, both ways: topics with their configs,
// records, and the committed offsets of groups, from which a member of the group then goes on at the other side.
func mirror(ctx context.Context, r *Run) {
	r.check(ctx, "mirrormaker2", "both ways with Apache Kafka", 4*time.Minute, func(ctx context.Context) error {
		dir := filepath.Join(r.work, r.id+"-mirror")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		other, err := local.NewKafka(ctx, filepath.Join(dir, "kafka"))
		if err != nil {
			return err
		}
		if err := other.Start(ctx); err != nil {
			return err
		}
		defer other.Stop()
		return mirrorWith(ctx, r, dir, other.Addr)
	})
}

func mirrorWith(ctx context.Context, r *Run, dir, other string) error {
	clients := map[string]*kgo.Client{}
	for alias, addr := range map[string]string{"here": r.target.addr, "there": other} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			return err
		}
		defer cl.Close()
		clients[alias] = cl
	}
	ways := []*way{
		{replicas: r.target.replicas(), from: clients["here"], to: clients["there"], toAddr: other, topic: r.id + "-mirror-a", remote: "here." + r.id + "-mirror-a"},
		{replicas: 1, from: clients["there"], to: clients["here"], toAddr: r.target.addr, topic: r.id + "-mirror-b", remote: "there." + r.id + "-mirror-b"},
	}
	for _, w := range ways {
		w.values = map[string]string{}
		if err := w.fill(ctx); err != nil {
			return fmt.Errorf("%s: %w", w.topic, err)
		}
	}
	m, err := startMirrorMaker(ctx, r, dir, other)
	if err != nil {
		return err
	}
	defer m.kill()
	for _, step := range []func(*way) error{
		func(w *way) error { return w.arrived(ctx, m) }, // what there was, for a group that is new at the other side
		func(w *way) error { return errors.Join(w.produce(ctx, 100), w.commit(ctx)) },
		func(w *way) error { return w.arrived(ctx, m) }, // a group that the other side knows by now
		func(w *way) error { return w.produce(ctx, 10) },
		func(w *way) error { return w.arrived(ctx, m) },
		func(w *way) error { return w.goOn(ctx) },
	} {
		for _, w := range ways {
			if err := step(w); err != nil {
				return fmt.Errorf("%s: %w", w.topic, err)
			}
		}
	}
	return nil
}

// startMirrorMaker runs MirrorMaker 2 with both flows. It translates a group's position by the pairs of offsets that it has
// noted in a topic. While ten notes are on their way, a newer one of a partition takes the place of one that waits, so a
// position amid the records may never be translated, whatever the brokers do. Here a note is due for each record, and a
// flush every second sends what waits: the end of a partition is always translated, and exactly.
func startMirrorMaker(ctx context.Context, r *Run, dir, other string) (*member, error) {
	file, replicas := filepath.Join(dir, "mm2.properties"), strconv.Itoa(r.target.replicas())
	if err := properties(file, "clusters=here,there", "here.bootstrap.servers="+r.target.addr, "there.bootstrap.servers="+other,
		"here->there.enabled=true", "there->here.enabled=true", "topics="+r.id+"-mirror-.*", "groups="+r.id+"-mirror-.*",
		"replication.factor=1", "checkpoints.topic.replication.factor=1", "heartbeats.topic.replication.factor=1",
		"offset-syncs.topic.replication.factor=1", "offset.storage.replication.factor=1", "status.storage.replication.factor=1",
		"config.storage.replication.factor=1",
		"here.offset.storage.replication.factor="+replicas, "here.status.storage.replication.factor="+replicas,
		"here.config.storage.replication.factor="+replicas, "here->there.offset-syncs.topic.replication.factor="+replicas,
		"there->here.replication.factor="+replicas, "there->here.checkpoints.topic.replication.factor="+replicas,
		"there->here.heartbeats.topic.replication.factor="+replicas, "refresh.topics.interval.seconds=2", "refresh.groups.interval.seconds=2",
		"emit.checkpoints.interval.seconds=2", "sync.group.offsets.enabled=true", "sync.group.offsets.interval.seconds=2",
		"sync.topic.configs.enabled=true", "offset.lag.max=0", "offset.flush.interval.ms=1000"); err != nil {
		return nil, err
	}
	return startMember(ctx, nil, func(string) {}, r.java("org.apache.kafka.connect.mirror.MirrorMaker", file)...)
}

// way is one direction: a topic of one side, its mirror at the other, and the group that reads it.
type way struct {
	from, to              *kgo.Client
	replicas              int // of the topic, at its own side
	toAddr, topic, remote string
	// ends and committed are by partition.
	ends, committed [2]int64
	// values are those of the records behind the committed positions, by "partition/offset".
	values map[string]string
}

func (w *way) group() string { return w.topic + "-group" }

// fill makes the topic, with records and with a group that has read them.
func (w *way) fill(ctx context.Context) error {
	retention := mirroredRetention
	if _, err := kadm.NewClient(w.from).CreateTopic(ctx, int32(len(w.ends)), int16(w.replicas), map[string]*string{"retention.ms": &retention}, w.topic); err != nil {
		return err
	}
	return errors.Join(w.produce(ctx, 250), w.commit(ctx))
}

// produce appends n records to each partition.
func (w *way) produce(ctx context.Context, n int) error {
	var rs []*kgo.Record
	for p := range w.ends {
		for range n {
			at := fmt.Sprint(p, "/", w.ends[p])
			w.values[at] = w.topic + " " + at
			rs = append(rs, &kgo.Record{Topic: w.topic, Partition: int32(p), Value: []byte(w.values[at])})
			w.ends[p]++
		}
	}
	return w.from.ProduceSync(ctx, rs...).FirstErr()
}

// commit moves the group to the end of the topic.
func (w *way) commit(ctx context.Context) error {
	offsets := kadm.Offsets{}
	for p, end := range w.ends {
		offsets.Add(kadm.Offset{Topic: w.topic, Partition: int32(p), At: end, LeaderEpoch: -1})
	}
	w.committed = w.ends
	clear(w.values)
	return kadm.NewClient(w.from).CommitAllOffsets(ctx, w.group(), offsets)
}

// arrived waits until the topic is at the other side as it is here, with its config and its group's position.
func (w *way) arrived(ctx context.Context, m *member) error {
	for {
		got := w.look(ctx)
		expected := fmt.Sprintf("ends %v, retention.ms %s, group at %v", w.ends, mirroredRetention, w.committed)
		if got == expected {
			return nil
		}
		select {
		case <-m.done:
			return fmt.Errorf("%s has %s, expected %s; MirrorMaker ended: %v\nstderr: %s", w.remote, got, expected, m.err, tail(m.errs.String(), 3000))
		case <-ctx.Done():
			return fmt.Errorf("%s has %s, expected %s\nstderr: %s", w.remote, got, expected, tail(m.errs.String(), 3000))
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// look describes what the other side has. What cannot be told yet is left at its zero value.
func (w *way) look(ctx context.Context) string {
	adm := kadm.NewClient(w.to)
	var ends, committed [2]int64
	retention := ""
	listed, listErr := adm.ListEndOffsets(ctx, w.remote)
	offsets, offsetsErr := adm.FetchOffsets(ctx, w.group())
	for p := range ends {
		if o, ok := listed.Lookup(w.remote, int32(p)); ok && listErr == nil && o.Err == nil {
			ends[p] = o.Offset
		}
		if o, ok := offsets.Lookup(w.remote, int32(p)); ok && offsetsErr == nil && o.Err == nil {
			committed[p] = o.At
		}
	}
	if cfgs, err := adm.DescribeTopicConfigs(ctx, w.remote); err == nil && len(cfgs) == 1 {
		for _, c := range cfgs[0].Configs {
			if c.Key == "retention.ms" {
				retention = c.MaybeValue()
			}
		}
	}
	return fmt.Sprintf("ends %v, retention.ms %s, group at %v", ends, retention, committed)
}

// goOn joins the group at the other side: it reads what was not committed, and nothing else.
func (w *way) goOn(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.toAddr), kgo.ConsumerGroup(w.group()), kgo.ConsumeTopics(w.remote))
	if err != nil {
		return err
	}
	defer cl.Close()
	got := map[string]string{}
	for len(got) < len(w.values) {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("the group at the other side has read %d of %d records: %w", len(got), len(w.values), err)
		}
		fetches.EachRecord(func(rec *kgo.Record) { got[fmt.Sprint(rec.Partition, "/", rec.Offset)] = string(rec.Value) })
	}
	if !maps.Equal(got, w.values) {
		return fmt.Errorf("the group at the other side reads %v, expected %v", got, w.values)
	}
	return nil
}
