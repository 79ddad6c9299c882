package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	memoryBudgetBytes = 256 << 20
	// maxResident is what the process may hold at its peak: the budget for requests in flight, the 256 MiB that one
	// batch may decompress to, as much again for the garbage of both, and a floor.
	maxResident = 4*memoryBudgetBytes + 128<<20
	// Slack between the baseline and what is left afterwards.
	heapSlackBytes = 48 << 20
	goroutineSlack = 12
	fdSlack        = 12
	// maxOpenFiles bounds the broker's cache of segment files; the attacks touch many more partitions than that, so
	// that the bound is seen to hold.
	maxOpenFiles = 32
)

// topics are the ones the attacks write to.
type topics struct{ names []string }

const validTopic = "valid"

// baseline is what a quiet broker holds.
type baseline struct{ heap, goroutines, fds float64 }

// otherFiles are the open descriptors but for cached segment files: what is cached depends on how many partitions were
// touched and has a bound of its own.
func otherFiles(m map[string]float64) float64 {
	return m["process_open_fds"] - m["logstead_log_open_files"]
}

// prepare makes the topics, makes the broker load its coordinators, and measures it while it is quiet.
func (h *hostile) prepare(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.addr), kgo.RetryTimeout(30*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if err := h.createTopics(ctx, adm); err != nil {
		return err
	}
	if err := h.loadCoordinators(ctx, cl); err != nil {
		return err
	}
	if h.valid, err = startValid(ctx, h.addr, validTopic); err != nil {
		return err
	}
	time.Sleep(time.Second) // leave out the beginning
	if h.valid.quiet, err = h.beside(func(time.Time) error { return nil }); err != nil {
		return err
	}
	if err := h.busyBaseline(ctx); err != nil {
		return err
	}
	if h.node == nil {
		return nil
	}
	m, err := h.node.Metrics(ctx)
	h.base = baseline{m["go_memstats_heap_inuse_bytes"], m["go_goroutines"], otherFiles(m)}
	h.report.Note("quiet: p99 %.1f ms, heap %.1f MiB, %.0f goroutines, %.0f segment files, %.0f other files",
		ms(h.valid.quiet), h.base.heap/(1<<20), h.base.goroutines, m["logstead_log_open_files"], h.base.fds)
	return err
}

// createTopics makes the topics that are not there: hostile requests may well delete one by its name.
func (h *hostile) createTopics(ctx context.Context, adm *kadm.Client) error {
	full, stamp, compact := "full", "LogAppendTime", "compact"
	h.topics.names = nil
	for name, configs := range map[string]map[string]*string{
		validTopic:          {},
		"hostile":           {},
		"hostile-full":      {"logstead.validation": &full},
		"hostile-compacted": {"cleanup.policy": &compact},
		"hostile-stamped":   {"message.timestamp.type": &stamp},
	} {
		if h.node == nil {
			delete(configs, "logstead.validation")
		}
		if _, err := adm.CreateTopic(ctx, 2, 1, configs, name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
		if name != validTopic {
			h.topics.names = append(h.topics.names, name)
		}
	}
	return nil
}

func (h *hostile) restoreTopics(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	return h.createTopics(ctx, kadm.NewClient(cl))
}

// loadCoordinators makes the internal topics exist.
func (h *hostile) loadCoordinators(ctx context.Context, cl *kgo.Client) error {
	for _, kind := range []int8{0, 1} {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = kind, "hostile", []string{"hostile"}
		if _, err := req.RequestWith(ctx, cl); err != nil {
			return fmt.Errorf("find coordinator: %w", err)
		}
	}
	return nil
}

// checkAlive asks the broker something over a new connection.
func (h *hostile) checkAlive(ctx context.Context, after string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.addr))
	if err == nil {
		defer cl.Close()
		err = cl.Ping(ctx)
	}
	h.report.Check("answers a new client after "+after, err)
}

// watchMemory follows the process's resident memory; the function it returns ends that and gives the peak.
func (h *hostile) watchMemory(ctx context.Context) func() float64 {
	if h.node == nil {
		return func() float64 { return 0 }
	}
	ctx, cancel := context.WithCancel(ctx)
	peak := make(chan float64)
	go func() {
		var most float64
		for ctx.Err() == nil {
			if m, err := h.node.Metrics(ctx); err == nil {
				most = max(most, m["process_resident_memory_bytes"])
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		peak <- most
	}()
	return func() float64 { cancel(); return <-peak }
}

// checkAfter looks at what the attacks have left behind.
func (h *hostile) checkAfter(ctx context.Context, peak float64) {
	if h.node == nil {
		h.report.NotRun("memory, goroutines, files and log", "they are seen only of a broker that was started here")
		return
	}
	h.dropTopics(ctx)
	h.report.That("process did not end", !h.node.Exited(), "pid %d", h.node.Pid())
	if high := h.node.PeakBytes(); high > 0 {
		peak = max(peak, high)
	}
	h.report.That("resident memory within bounds", peak <= maxResident, "peak %.0f MiB, bound %d MiB", peak/(1<<20), maxResident>>20)
	var left []string
	var m map[string]float64
	for began := time.Now(); time.Since(began) < h.o.quietBy && ctx.Err() == nil; time.Sleep(time.Second) {
		var err error
		if m, err = h.node.Metrics(ctx); err != nil {
			left = []string{err.Error()}
			continue
		}
		if left = h.base.exceeded(m); len(left) == 0 {
			break
		}
	}
	h.report.That("heap, goroutines and files back at the baseline", len(left) == 0, "heap %.1f MiB, %.0f goroutines, %.0f other files%s",
		m["go_memstats_heap_inuse_bytes"]/(1<<20), m["go_goroutines"], otherFiles(m), strings.Join(left, ""))
	cached, known := m["logstead_log_open_files"]
	h.report.That("segment files within their bound", known && cached <= maxOpenFiles, "%.0f open, bound %d", cached, maxOpenFiles)
	h.report.That("no deleted file is held", len(h.node.DeletedFiles()) == 0, "%d held%s", len(h.node.DeletedFiles()), strings.Join(h.node.DeletedFiles(), " "))
	h.report.That("request bytes given back", m["logstead_server_inflight_bytes"] == 0, "%.0f in flight", m["logstead_server_inflight_bytes"])
	log := h.node.LogSince(0)
	for _, bad := range []string{"request handler failed", "panic", "fatal error", "unknown error"} {
		n := strings.Count(log, bad)
		h.report.That("log without "+fmt.Sprintf("%q", bad), n == 0, "%d lines%s", n, firstLine(log, bad))
	}
	h.report.Check("stops in order", h.node.Stop())
	h.report.Check("starts again", h.node.Start(ctx))
}

func firstLine(log, with string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, with) {
			return ", the first: " + line[:min(len(line), 3000)]
		}
	}
	return ""
}

func (b baseline) exceeded(m map[string]float64) (what []string) {
	for _, c := range []struct {
		name         string
		found, limit float64
	}{
		{"heap", m["go_memstats_heap_inuse_bytes"], b.heap + heapSlackBytes},
		{"goroutines", m["go_goroutines"], b.goroutines + goroutineSlack},
		{"other files", otherFiles(m), b.fds + fdSlack},
	} {
		if c.found > c.limit {
			what = append(what, fmt.Sprintf("; %s above %.0f", c.name, c.limit))
		}
	}
	return what
}

// dropTopics deletes the attacked topics and whatever hostile requests may have created.
func (h *hostile) dropTopics(ctx context.Context) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.addr))
	if err != nil {
		h.report.Check("delete the attacked topics", err)
		return
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	all, err := adm.ListTopics(ctx)
	if err == nil {
		var names []string
		for _, t := range all.Names() {
			if t != validTopic {
				names = append(names, t)
			}
		}
		h.report.Note("%d topics are deleted", len(names))
		_, err = adm.DeleteTopics(ctx, names...)
	}
	h.report.Check("delete the attacked topics", err)
}
