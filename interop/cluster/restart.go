package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/interop/local"
)

const (
	loadTopic         = "load"
	restartPartitions = 1000
	// loadRecord is the size of a record, loadRun how many go to one partition after each other.
	loadRecord = 64 << 10
	loadRun    = 8
	// restartLimit is how long a killed node may take until it is in sync everywhere.
	restartLimit = 3 * time.Minute
	// spare is what the disk keeps beside the copies.
	spare = 5 << 30
)

// restart kills a node that has a replica of each of 1,000 partitions, and says how long it takes until it serves again, and
// until it is in sync everywhere. Two of three nodes hold them, so that the disk has to hold two copies.
func restart(ctx context.Context, dir, kind string, gib int) (failed int, err error) {
	free, err := freeBytes(ctx, dir)
	if err != nil {
		return 0, err
	}
	if need := uint64(2*gib)<<30 + spare; free < need {
		fmt.Printf("NOT RUN  %s has %d GiB free, and two copies of %d GiB want %d\n", dir, free>>30, gib, need>>30)
		return 0, nil
	}
	nodes, err := local.NewCluster(ctx, kind, filepath.Join(dir, "restart-"+kind), 3)
	if err != nil {
		return 0, err
	}
	c := &cluster{Cluster: nodes}
	defer c.Close()
	if err := errors.Join(c.Format(ctx), c.StartAll(ctx)); err != nil {
		return 0, err
	}
	t, err := c.newTraffic()
	if err != nil {
		return 0, err
	}
	defer t.admin.Close()
	return play(kind, []act{
		{fmt.Sprintf("%d partitions on two nodes, %d GiB each", restartPartitions, gib), func() error {
			return errors.Join(c.serving(ctx, t.admin, c.Nodes()), t.makeLoad(ctx), t.fill(ctx, int64(gib)<<30))
		}},
		{"one is killed, and out of every in-sync set", func() error {
			if err := t.members(ctx, 2); err != nil {
				return err
			}
			return errors.Join(c.End(1, os.Kill), t.members(ctx, 1))
		}},
		{"it serves again, and is back in every in-sync set", func() error {
			began := time.Now()
			if err := c.Start(1); err != nil {
				return err
			}
			if err := answering(ctx, c.Addr(1)); err != nil {
				return err
			}
			ready := time.Since(began)
			if err := t.members(ctx, 2); err != nil {
				return err
			}
			fmt.Printf("         %s serves after %.1f s, is in sync everywhere after %.1f s\n", kind, ready.Seconds(), time.Since(began).Seconds())
			return nil
		}},
	}), nil
}

// freeBytes is what is free on the volume of a directory.
func freeBytes(ctx context.Context, dir string) (uint64, error) {
	out, err := exec.CommandContext(ctx, "df", "-Pk", dir).Output()
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	if len(fields) < 4 {
		return 0, fmt.Errorf("free space of %s: df says %q", dir, out)
	}
	kib, err := strconv.ParseUint(fields[3], 10, 64)
	return kib << 10, err
}

// makeLoad creates the topic with replicas on the nodes 1 and 2, each of which leads half.
func (t *traffic) makeLoad(ctx context.Context) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(restartLimit.Milliseconds())
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = loadTopic, -1, -1
	for i := range int32(restartPartitions) {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = i, []int32{1 + i%2, 2 - i%2}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, t.admin)
	if err == nil && resp.Topics[0].ErrorCode != 0 {
		err = fmt.Errorf("topic %s: error %d", loadTopic, resp.Topics[0].ErrorCode)
	}
	return err
}

// fill writes so many bytes, spread over all partitions.
func (t *traffic) fill(ctx context.Context, bytes int64) error {
	cl, err := t.client(kgo.DefaultProduceTopic(loadTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1024), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	value := make([]byte, loadRecord)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	var first kgo.FirstErrPromise
	for i := range bytes / loadRecord {
		cl.Produce(ctx, &kgo.Record{Partition: int32(i / loadRun % restartPartitions), Value: value}, first.Promise())
	}
	return errors.Join(cl.Flush(ctx), first.Err())
}

// members waits until every partition of the load has so many replicas in sync.
func (t *traffic) members(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, restartLimit)
	defer cancel()
	for {
		md, err := kadm.NewClient(t.admin).Metadata(ctx, loadTopic)
		if err == nil {
			parts := md.Topics[loadTopic].Partitions.Sorted()
			other := slices.IndexFunc(parts, func(p kadm.PartitionDetail) bool { return len(p.ISR) != want })
			if len(parts) == restartPartitions && other < 0 {
				return nil
			}
			err = fmt.Errorf("%d partitions; the first without %d in sync is at %d", len(parts), want, other)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// answering waits until a node answers for its metadata.
func answering(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, restartLimit)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		one, done := context.WithTimeout(ctx, 10*time.Second)
		_, err := kmsg.NewPtrMetadataRequest().RequestWith(one, cl)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
