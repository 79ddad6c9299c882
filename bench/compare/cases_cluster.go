package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/bench/raw"
)

// clusterCases are those of three nodes: topics have three replicas, of which two must be in sync.
func clusterCases(short bool, moveGiB int) []benchCase {
	var list []benchCase
	for _, codec := range []string{"none", "lz4"} {
		for _, s := range sizes {
			if !short || s.name == "64KiB" {
				list = append(list, produceCase(codec, s.name, s.payload, true)) // the JVMs take long for more
			}
		}
	}
	for _, conns := range []int{1, 64} {
		if !short || conns == 64 {
			list = append(list, smallCase(-1, conns, true))
		}
	}
	fast := latencyCase(1000, short)
	fast.most, fast.size = 250, 1000 // three JVMs on two cores hardly keep up with that
	list = append(list, fast, latencyCase(250, short), latencyCase(100, short), failOverCase("leader"), failOverCase("follower"))
	if short {
		return list
	}
	return append(list, reassignCase(moveGiB), idleCase(), manyPartitionsCase(10_000))
}

// failOverCase kills a node under a producer: the longest time without an ack, and how long the node then needs
// to come back.
func failOverCase(whom string) benchCase {
	return benchCase{name: "fail-over/" + whom + " killed", run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 1024, 950)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, 1, func(topic string) ([]figure, error) {
			leaders, err := raw.Leaders(ctx, r.addr, topic)
			if err != nil {
				return nil, err
			}
			victim, err := r.node(leaders[0])
			if err != nil {
				return nil, err
			}
			if whom == "follower" {
				victim = r.nodes[(slices.Index(r.nodes, victim)+1)%len(r.nodes)]
			}
			gap, err := raw.GapLoad{Addrs: r.addrs(), Topic: topic, Batch: b, Calm: 3 * time.Second}.Run(ctx, victim.kill)
			if err != nil {
				return nil, err
			}
			begin := time.Now()
			if err := victim.again(ctx); err != nil {
				return nil, err
			}
			if err := (raw.Topic{Name: topic, Partitions: 1}).AwaitInSync(ctx, r.addr); err != nil {
				return nil, err
			}
			return []figure{
				{name: "longest gap", unit: "ms", value: float64(gap.Milliseconds())},
				{name: "started to in sync", unit: "ms", value: float64(time.Since(begin).Milliseconds())},
			}, nil
		})
	}}
}

// reassignCase moves the second replica of each partition of a filled topic to the node that has none.
func reassignCase(gib int) benchCase {
	return benchCase{name: fmt.Sprintf("reassign/%d GiB", gib), run: func(ctx context.Context, r *rival) ([]figure, error) {
		topicCount++
		topic := raw.Topic{Name: fmt.Sprintf("move-%d", topicCount), Partitions: partitions, Configs: map[string]string{"min.insync.replicas": "1"}}
		var to kadm.AlterPartitionAssignmentsReq
		for i := range int32(partitions) {
			lead := i%2 + 1
			topic.Assignment = append(topic.Assignment, []int32{lead, 3 - lead})
			to.Assign(topic.Name, i, []int32{lead, clusterNodes})
		}
		b, err := raw.NewBatch("none", 64<<10, recordBytes)
		if err != nil {
			return nil, err
		}
		if err := topic.Create(ctx, r.addr); err != nil {
			return nil, err
		}
		load := raw.ProduceLoad{Addr: r.addr, Topic: topic.Name, Partitions: partitions, Conns: 6, InFlight: 5, Acks: -1, Batch: b}
		load.Requests = int64(gib) << 30 / int64(b.Payload)
		if _, err := load.Run(ctx); err != nil {
			return nil, err
		}
		res, used, _, err := counted(ctx, r, func() (raw.Result, error) {
			begin := time.Now()
			err := reassign(ctx, r, to, topic)
			return raw.Result{Bytes: load.Requests * int64(b.Payload), Requests: 1, Elapsed: time.Since(begin)}, err
		})
		if err := errors.Join(err, raw.DeleteTopic(ctx, r.addr, topic.Name), r.awaitGone(ctx, topic.Name)); err != nil {
			return nil, err
		}
		out := volumeFigures(res, used, -1)
		return append(out, figure{name: "time", unit: "s", value: res.Elapsed.Seconds()}), nil
	}}
}

// awaitGone waits until no node has anything of a deleted topic on disk any more: what the next rival writes is to find the room.
func (r *rival) awaitGone(ctx context.Context, topic string) error {
	for {
		left, err := filepath.Glob(filepath.Join(r.dir, "node-*", topic+"-*"))
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is still there: %w", left[0], ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// reassign asks for the move and waits until it is over.
func reassign(ctx context.Context, r *rival, to kadm.AlterPartitionAssignmentsReq, topic raw.Topic) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(r.addrs()...))
	if err != nil {
		return err
	}
	adm := kadm.NewClient(c)
	defer adm.Close()
	answer, err := adm.AlterPartitionAssignments(ctx, to)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		return err
	}
	var all kadm.TopicsSet
	for i := range topic.Partitions {
		all.Add(topic.Name, i)
	}
	for {
		left, err := adm.ListPartitionReassignments(ctx, all)
		if err != nil {
			return err
		}
		if len(left[topic.Name]) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// manyPartitionsCase is what a cluster costs that has so many partitions, each with a replica on every node, and nothing
// to do; and what producing to a few of another topic costs beside them.
func manyPartitionsCase(n int) benchCase {
	return benchCase{name: fmt.Sprintf("idle/%d partitions", n), fresh: true, most: 1000, size: n, run: func(ctx context.Context, r *rival) (out []figure, err error) {
		other, err := startOther(ctx, r)
		if err != nil {
			return nil, err
		}
		defer func() { err = joinEnd(other, err) }()
		begin := time.Now()
		if err := (raw.Topic{Name: "idle", Partitions: int32(n), Replicas: r.replicas()}).Create(ctx, other.addr); err != nil {
			return nil, err
		}
		created := time.Since(begin)
		select { // what the creation leaves to do
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Second):
		}
		idle, err := other.idleCPU()
		if err != nil {
			return nil, err
		}
		b, err := raw.NewBatch("none", 100, 100)
		if err != nil {
			return nil, err
		}
		if err := (raw.Topic{Name: "load", Partitions: partitions, Replicas: r.replicas()}).Create(ctx, other.addr); err != nil {
			return nil, err
		}
		load := raw.ProduceLoad{Addr: other.addr, Topic: "load", Partitions: partitions, Conns: 1, InFlight: 1, Acks: -1, Batch: b, Requests: 2000}
		res, used, _, err := counted(ctx, other, func() (raw.Result, error) { return load.Run(ctx) })
		if err != nil {
			return nil, err
		}
		figures := requestFigures(res, used, -1)
		return append(figures, figure{name: "creation", unit: "s", value: created.Seconds()}, figure{name: "idle cpu", unit: "ms/s", value: idle}), nil
	}}
}
