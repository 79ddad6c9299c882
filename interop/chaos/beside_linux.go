package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

const (
	besideTopic = "beside" // a partition for each node, with replicas on two others
	besideQuiet = 2 * time.Second
	// The 99th percentile where a disk elsewhere hangs, as a multiple of what it was; below besideFloor multiples say
	// nothing on a machine that does other things too.
	besideAim   = 2
	besideLimit = 5
	besideFloor = 20 * time.Millisecond
)

// beside watches a partition that has nothing on a node, before and while that node's disk is bad.
func (x *injection) beside(ctx context.Context, nd *node) error {
	two := "2"
	var replicas [][]int32
	n := len(x.c.nodes)
	for i := range n {
		replicas = append(replicas, []int32{int32((i+1)%n + 1), int32((i+2)%n + 1)})
	}
	if err := x.c.createOn(ctx, besideTopic, map[string]*string{"min.insync.replicas": &two}, replicas...); err != nil {
		return err
	}
	cl, err := x.c.newClient(admin, kgo.DefaultProduceTopic(besideTopic), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	p := nd.id - 1
	if err := cl.ProduceSync(ctx, &kgo.Record{Partition: p, Value: []byte("first")}).FirstErr(); err != nil {
		cl.Close()
		return fmt.Errorf("write to %s-%d: %w", besideTopic, p, err)
	}
	before := lasts(ctx, cl, p, besideQuiet)
	held, stop := context.WithCancel(context.WithoutCancel(ctx))
	var during []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() { during = lasts(held, cl, p, time.Minute) })
	x.onHeal(func(context.Context) error {
		stop()
		wg.Wait()
		cl.Close()
		return nil
	})
	x.measures = append(x.measures, func() local.Bound {
		was, is := p99(before), p99(during)
		return local.Bound{Name: "partitions elsewhere", Held: len(before) > 0 && len(during) > 0 && is <= max(besideLimit*was, besideFloor),
			Found: fmt.Sprintf("p99 %v, before %v, aim %d times, limit %d times", is.Round(100*time.Microsecond), was.Round(100*time.Microsecond),
				besideAim, besideLimit)}
	})
	return nil
}

// lasts is how long each record took that was sent to a partition, one after the other.
func lasts(ctx context.Context, cl *kgo.Client, p int32, limit time.Duration) (all []time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait(ctx, probeGap) == nil {
		began := time.Now()
		if cl.ProduceSync(context.WithoutCancel(ctx), &kgo.Record{Partition: p, Value: []byte("beside")}).FirstErr() == nil {
			all = append(all, time.Since(began))
		}
	}
	return all
}

func p99(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
