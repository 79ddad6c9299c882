package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

const (
	// hotTopic carries all that is produced; its partitions are first on two of the three nodes only.
	hotTopic = "hot"
	// coldTopic only lies there, as much as takes some seconds to copy at balanceRate.
	coldTopic = "cold"
	// hotRate is how many bytes a second are produced; as many are read.
	hotRate = 4_000_000
	// balanceRate is the throttle of balancing, in bytes a second.
	balanceRate = 1 << 20
)

// balancing has the controller even out traffic while producers and consumers run: nothing while it is switched off,
// bytes in and out by what brokers report, then what lies on disk, with a throttle, where the active controller is
// killed in the middle of a round. No client may be told of an error.
func balancing(ctx context.Context, root, dir string) (failed int, err error) {
	nodes, err := local.NewCluster(ctx, "logstead", filepath.Join(dir, "balance"), 3)
	if err != nil {
		return 0, err
	}
	nodes.Set = []string{"default.replication.factor=3", "min.insync.replicas=2", "offsets.topic.num.partitions=3",
		"logstead.balance.interval.ms=500", "logstead.balance.report.interval.ms=1000",
		"logstead.balance.goals=bytes-in,bytes-out", "logstead.balance.exclude.topics=__*",
		"log.retention.check.interval.ms=5000"}
	c := &cluster{Cluster: nodes, root: root}
	defer c.Close()
	if err := errors.Join(c.Format(ctx), c.StartAll(ctx)); err != nil {
		return 0, err
	}
	h := &hot{c: c}
	defer h.stop()
	limited := func(run func(context.Context) error) func() error {
		return func() error {
			ctx, cancel := context.WithTimeout(ctx, startLimit)
			defer cancel()
			return run(ctx)
		}
	}
	return play("balance", []act{
		{"four MB a second go in and out at two nodes of three", limited(h.start)},
		{"status tells what nodes carry; nothing moves while it is off", limited(h.off)},
		{"switched on, traffic is evened out over all three", limited(h.traffic)},
		{"a round for disks is throttled", limited(h.disks)},
		{"the active controller is killed in the middle of it; the next goes on", limited(h.failOver)},
		{"all is even again, no throttle is left", limited(h.even)},
		{"no client was told of an error, every record was read", limited(h.finish)},
	}), nil
}

// hot is a cluster under a load that is uneven at first.
type hot struct {
	c        *cluster
	end      context.CancelFunc
	clients  sync.WaitGroup
	sent     atomic.Int64
	produced atomic.Int64
	read     atomic.Int64
	mu       sync.Mutex
	errs     []error
	killed   int
}

// balanceStatus is what is looked at of logstead cluster balance status -o json.
type balanceStatus struct {
	Enabled    bool   `json:"enabled"`
	Controller int    `json:"controller"`
	State      string `json:"state"`
	Moving     []struct {
		Topic string `json:"topic"`
		Why   string `json:"why"`
	} `json:"moving"`
	Moves   int `json:"moves"`
	Brokers []struct {
		Broker, Replicas int
		Bytes            int64
		In               int64 `json:"bytes_in_per_second"`
		Out              int64 `json:"bytes_out_per_second"`
		Age              int64 `json:"report_age_ms"`
	} `json:"brokers"`
}

func (h *hot) status(ctx context.Context) (st balanceStatus, err error) {
	out, err := h.c.cli(ctx, "cluster", "balance", "status", "-o", "json")
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		return st, fmt.Errorf("status: %w: %s", err, oneLine(out))
	}
	return st, nil
}

// eventually asks for the status until it is as wanted; the error says how it was last.
func (h *hot) eventually(ctx context.Context, want func(balanceStatus) bool) (st balanceStatus, err error) {
	for {
		st, err = h.status(ctx)
		if err == nil && want(st) {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, errors.Join(fmt.Errorf("it never came to that: %+v", st), err, h.errors())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (h *hot) told(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.errs) < 5 {
		h.errs = append(h.errs, err)
	}
}

func (h *hot) errors() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.errs...)
}

func (h *hot) stop() {
	if h.end != nil {
		h.end()
	}
	h.clients.Wait()
}

// start makes the topics and the load.
func (h *hot) start(ctx context.Context) error {
	c := h.c
	if _, err := c.admin(ctx, topics, "--create", "--topic", hotTopic, "--replica-assignment",
		strings.TrimSuffix(strings.Repeat("1:2,2:1,", 6), ","), "--config", "retention.bytes=8388608", "--config", "segment.bytes=4194304"); err != nil {
		return err
	}
	cl, err := c.kgo()
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := c.filled(ctx, cl, coldTopic, "1:2,1:2,2:1,2:1"); err != nil {
		return err
	}
	running, end := context.WithCancel(context.Background())
	h.end = end
	h.clients.Go(func() { h.produce(running) })
	h.clients.Go(func() { h.consume(running) })
	return h.progress(ctx)
}

// produce sends records of 1 KiB at hotRate until ctx ends, and waits for all answers.
func (h *hot) produce(ctx context.Context) {
	cl, err := h.c.kgo(kgo.DefaultProduceTopic(hotTopic), kgo.ProducerLinger(20*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		h.told(err)
		return
	}
	defer cl.Close()
	value := make([]byte, 1024)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := cl.Flush(context.WithoutCancel(ctx)); err != nil {
				h.told(err)
			}
			return
		case <-tick.C:
		}
		for range hotRate / 100 / len(value) {
			h.sent.Add(1)
			cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					h.told(fmt.Errorf("producer: %w", err))
					return
				}
				h.produced.Add(1)
			})
		}
	}
}

// consume reads what is produced, as it comes, until all of it was read or ctx has ended for ten seconds.
func (h *hot) consume(ctx context.Context) {
	cl, err := h.c.kgo(kgo.ConsumeTopics(hotTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		h.told(err)
		return
	}
	defer cl.Close()
	for ctx.Err() == nil || h.read.Load() < h.sent.Load() {
		poll, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		fetches := cl.PollFetches(poll)
		timeout := poll.Err()
		cancel()
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				h.told(fmt.Errorf("consumer, %s-%d: %w", e.Topic, e.Partition, e.Err))
			}
		}
		h.read.Add(int64(fetches.NumRecords()))
		if ctx.Err() != nil && timeout != nil {
			return
		}
	}
}

// progress waits until two seconds' worth of records more was produced and read.
func (h *hot) progress(ctx context.Context) error {
	for _, n := range []*atomic.Int64{&h.produced, &h.read} {
		for want := n.Load() + 2*hotRate/1024; n.Load() < want; time.Sleep(50 * time.Millisecond) {
			if ctx.Err() != nil {
				return fmt.Errorf("%d records produced, %d read, and no more: %w", h.produced.Load(), h.read.Load(), h.errors())
			}
		}
	}
	return h.errors()
}

func (h *hot) off(ctx context.Context) error {
	st, err := h.eventually(ctx, func(st balanceStatus) bool {
		return len(st.Brokers) == 3 && st.Brokers[0].In > hotRate/4 && st.Brokers[1].Out > hotRate/4
	})
	if err != nil {
		return err
	}
	if st.Enabled || st.State != "off" || st.Moves > 0 || st.Brokers[2].In > hotRate/50 || st.Brokers[2].Out > hotRate/50 {
		return fmt.Errorf("want it off, with nothing on node 3: %+v", st)
	}
	return nil
}

func (h *hot) set(ctx context.Context, pairs ...string) error {
	_, err := h.c.cli(ctx, append([]string{"config", "set", "broker", "default"}, pairs...)...)
	return err
}

// traffic holds that bytes in and out are evened out; the topic that carries nothing stays.
func (h *hot) traffic(ctx context.Context) error {
	if err := h.set(ctx, "logstead.balance.enable=true"); err != nil {
		return err
	}
	st, err := h.eventually(ctx, func(st balanceStatus) bool {
		return st.State == "even" && st.Moves > 0 && st.Brokers[2].In > hotRate/4
	})
	if err != nil {
		return err
	}
	for _, b := range st.Brokers {
		fmt.Printf("         node %d: %.1f MB/s in, %.1f MB/s out\n", b.Broker, float64(b.In)/1e6, float64(b.Out)/1e6)
	}
	out, err := h.c.cli(ctx, "partition", "list", coldTopic, "-o", "json")
	if err == nil && strings.Contains(out, "3]") {
		err = fmt.Errorf("a topic without traffic was moved for it: %s", oneLine(out))
	}
	return errors.Join(err, h.progress(ctx))
}

// disks begins a round that takes some seconds: what lies there is on two nodes of three.
func (h *hot) disks(ctx context.Context) error {
	if err := h.set(ctx, "logstead.balance.goals=disk,count",
		"logstead.balance.exclude.topics=__*,"+hotTopic, fmt.Sprint("logstead.balance.throttle.bytes.per.second=", balanceRate)); err != nil {
		return err
	}
	if _, err := h.eventually(ctx, func(st balanceStatus) bool {
		for _, m := range st.Moving {
			if m.Topic == coldTopic {
				return true
			}
		}
		return false
	}); err != nil {
		return err
	}
	out, err := h.c.cli(ctx, "partition", "throttle", "-o", "json")
	if err == nil && !strings.Contains(out, fmt.Sprint(balanceRate)) {
		err = fmt.Errorf("no throttle of %d: %s", balanceRate, oneLine(out))
	}
	return err
}

// failOver kills the active controller while partitions move, and holds that another has taken the round over.
func (h *hot) failOver(ctx context.Context) error {
	st, err := h.status(ctx)
	if err != nil {
		return err
	}
	if len(st.Moving) == 0 {
		return fmt.Errorf("nothing moves any more: %+v", st)
	}
	h.killed = st.Controller
	if err := h.c.End(h.killed, os.Kill); err != nil {
		return err
	}
	next, err := h.eventually(ctx, func(st balanceStatus) bool {
		return st.Controller != h.killed && len(st.Moving) > 0 && strings.Contains(st.Moving[0].Why, "earlier controller")
	})
	if err != nil {
		return err
	}
	fmt.Printf("         node %d after node %d: %s\n", next.Controller, h.killed, next.State)
	if err := h.progress(ctx); err != nil {
		return err
	}
	return errors.Join(h.c.Start(h.killed), h.c.Await(ctx, h.killed))
}

func (h *hot) even(ctx context.Context) error {
	if err := h.set(ctx, fmt.Sprint("logstead.balance.throttle.bytes.per.second=", 64*balanceRate)); err != nil {
		return err
	}
	if _, err := h.eventually(ctx, func(st balanceStatus) bool { return st.State == "even" && len(st.Moving) == 0 }); err != nil {
		return err
	}
	out, err := h.c.cli(ctx, "partition", "throttle", "-o", "json")
	if err == nil && strings.TrimSpace(out) != "[]" {
		err = fmt.Errorf("throttles are left: %s", oneLine(out))
	}
	return errors.Join(err, h.progress(ctx))
}

func (h *hot) finish(context.Context) error {
	h.stop()
	if h.produced.Load() != h.sent.Load() || h.read.Load() != h.sent.Load() {
		h.told(fmt.Errorf("%d records sent, %d acknowledged, %d read", h.sent.Load(), h.produced.Load(), h.read.Load()))
	}
	fmt.Printf("         %d records\n", h.sent.Load())
	return h.errors()
}
