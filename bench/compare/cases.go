package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/bench/raw"
)

// figure is one measured value. Lower is better unless more is set.
type figure struct {
	name, unit string
	value      float64
	more       bool
}

// benchCase is one thing that is measured on every rival.
type benchCase struct {
	name  string
	warm  bool  // the JVM needs a pass that does not count
	fresh bool  // starts processes of its own
	bare  bool  // the bare loop can take part
	most  int   // the largest size that the JVM is put to: beyond it a run would take many minutes; 0 is any
	size  int   // what the case is drawn against: partitions, connections, MiB
	fills int64 // bytes of page cache that a run fills
	run   func(ctx context.Context, r *rival) ([]figure, error)
}

const (
	partitions  = 6
	recordBytes = 1024
)

// sizes of the batches, by name: the largest fits max.message.bytes with its header.
var sizes = []struct {
	name    string
	payload int
}{{"1MiB", 1000 << 10}, {"64KiB", 64 << 10}, {"16KiB", 16 << 10}, {"1KiB", 1 << 10}}

// allCases lists the cases; short leaves out most and takes less data.
func allCases(short bool) []benchCase {
	var list []benchCase
	for _, codec := range []string{"none", "lz4", "zstd"} {
		for _, s := range sizes {
			if short && codec != "none" && s.name != "64KiB" {
				continue
			}
			list = append(list, produceCase(codec, s.name, s.payload, short))
		}
	}
	for _, s := range sizes {
		if !short || s.name == "64KiB" {
			list = append(list, consumeCase(s.name, s.payload, short))
		}
	}
	for _, acks := range []int16{1, -1} {
		for _, conns := range []int{1, 64, 1000} {
			if !short || acks == -1 && conns == 64 {
				list = append(list, smallCase(acks, conns, short))
			}
		}
	}
	list = append(list, latencyCase(1000, short))
	list = append(list, clientCases(short)...)
	list = append(list, partitionsCase(short), startCase(), idleCase())
	list = append(list, tlsCases(short)...)
	if short {
		return list
	}
	return append(list, longCases()...)
}

// longCases are those that the short form leaves out.
func longCases() []benchCase {
	list := []benchCase{followCase(), diskCase(), latencyCase(100, false), latencyCase(5000, false)}
	for _, n := range []int{1, 10, 100} {
		list = append(list, rebalanceCase(n, "classic"), rebalanceCase(n, "consumer", kgo.ServerSideBalancer()))
	}
	list = append(list, commitsCase(1), commitsCase(64))
	list = append(list, javaCases("interop/kafka.sh")...)
	list = append(list, librdkafkaCases()...)
	for _, n := range []int32{1, 10, 100, 1000, 10_000} {
		list = append(list, spreadCase(n))
	}
	for _, n := range []int32{1, 100, 1000} {
		list = append(list, durableCase(n))
	}
	for _, n := range []int{1, 10, 100, 1000, 5000} {
		list = append(list, connectionsCase(n))
	}
	for _, mib := range []int{0, 512, 2048} {
		list = append(list, storedCase(mib))
	}
	return append(list, idlePartitionsCase(1000, 1000), idlePartitionsCase(10_000, 1000), idlePartitionsCase(100_000, 1000),
		recoveryCase(2<<10), recoveryCase(10<<10))
}

// volume is how many bytes a run with batches of this size takes: enough to be counted in ticks of
// 10 ms with an error of a few per cent.
func volume(payload int, short bool) int64 {
	bytes := int64(512 << 20)
	if payload <= 4<<10 {
		bytes = 64 << 20
	}
	if short {
		bytes /= 2
	}
	return bytes
}

var topicCount int

// withTopic runs fn with a topic of its own and removes it afterwards.
func withTopic(ctx context.Context, r *rival, parts int32, fn func(topic string) ([]figure, error)) ([]figure, error) {
	topicCount++
	topic := fmt.Sprintf("bench-%d-%d", os.Getpid(), topicCount)
	if err := (raw.Topic{Name: topic, Partitions: parts, Replicas: r.replicas()}).Create(ctx, r.addr); err != nil {
		return nil, err
	}
	figures, err := fn(topic)
	if derr := raw.DeleteTopic(ctx, r.addr, topic); err == nil {
		err = derr
	}
	return figures, err
}

// counted runs fn and tells the CPU time and the allocations that the broker spent.
func counted(ctx context.Context, r *rival, fn func() (raw.Result, error)) (res raw.Result, used time.Duration, allocs float64, err error) {
	stop, err := r.profiled(ctx)
	if err != nil {
		return res, 0, 0, err
	}
	defer stop()
	m0, counts := r.mallocs(ctx)
	before, err := r.cpu()
	if err != nil {
		return res, 0, 0, err
	}
	if res, err = r.sampled(ctx, fn); err != nil {
		return res, 0, 0, err
	}
	after, err := r.cpu()
	if err != nil {
		return res, 0, 0, err
	}
	allocs = -1
	if m1, ok := r.mallocs(ctx); ok && counts {
		allocs = m1 - m0
	}
	return res, after - before, allocs, nil
}

// volumeFigures are those of a load that moves bytes.
func volumeFigures(res raw.Result, used time.Duration, allocs float64) []figure {
	gib := float64(res.Bytes) / (1 << 30)
	out := []figure{
		{name: "cpu", unit: "s/GiB", value: used.Seconds() / gib},
		{name: "rate", unit: "MB/s", value: float64(res.Bytes) / 1e6 / res.Elapsed.Seconds(), more: true},
	}
	if allocs >= 0 {
		out = append(out, figure{name: "allocations", unit: "/request", value: allocs / float64(res.Requests)})
	}
	return out
}

// requestFigures are those of a load of small requests.
func requestFigures(res raw.Result, used time.Duration, allocs float64) []figure {
	n := float64(res.Requests)
	out := []figure{
		{name: "cpu", unit: "us/request", value: float64(used.Microseconds()) / n},
		{name: "rate", unit: "requests/s", value: n / res.Elapsed.Seconds(), more: true},
	}
	if allocs >= 0 {
		out = append(out, figure{name: "allocations", unit: "/request", value: allocs / n})
	}
	return out
}

func produceCase(codec, name string, payload int, short bool) benchCase {
	return benchCase{bare: true, name: "produce/" + codec + "/" + name, warm: true, fills: volume(payload, short), run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch(codec, payload, min(recordBytes, payload-32))
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
			load := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: partitions, Conns: 6, InFlight: 5, Acks: -1, Batch: b}
			load.Requests = volume(payload, short) / int64(b.Payload)
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return load.Run(ctx) })
			if err != nil {
				return nil, err
			}
			return volumeFigures(res, used, allocs), nil
		})
	}}
}

func consumeCase(name string, payload int, short bool) benchCase {
	return benchCase{bare: true, name: "consume/cache/" + name, warm: true, run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", payload, min(recordBytes, payload-32))
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
			fill := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: partitions, Conns: 6, InFlight: 5, Acks: -1, Batch: b}
			fill.Requests = 96 << 20 / int64(b.Payload)
			if _, err := fill.Run(ctx); err != nil {
				return nil, err
			}
			load := raw.FetchLoad{Addr: r.addr, Topic: topic, Partitions: partitions, Conns: 4, MaxBytes: 1 << 20, Bytes: 2 << 30}
			if short {
				load.Bytes = 1 << 30
			}
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return load.Run(ctx) })
			if err != nil {
				return nil, err
			}
			return volumeFigures(res, used, allocs), nil
		})
	}}
}

func smallCase(acks int16, conns int, short bool) benchCase {
	name := fmt.Sprintf("small/acks=%d/%dconns", acks, conns)
	if acks == -1 {
		name = fmt.Sprintf("small/acks=all/%dconns", conns)
	}
	return benchCase{bare: true, name: name, warm: true, run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 100, 100)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
			load := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: partitions, Conns: conns, InFlight: 1, Acks: acks, Batch: b}
			load.Requests = 60_000
			if conns == 1 || short {
				load.Requests = 20_000
			}
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return load.Run(ctx) })
			if err != nil {
				return nil, err
			}
			return requestFigures(res, used, allocs), nil
		})
	}}
}

func latencyCase(rate int, short bool) benchCase {
	return benchCase{name: fmt.Sprintf("latency/1KiB at %d/s", rate), warm: true, run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 1024, 950)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, 1, func(topic string) ([]figure, error) {
			load := raw.LatencyLoad{Addr: r.addr, Topic: topic, Acks: -1, Batch: b, Rate: rate, Records: 10 * rate}
			if short {
				load.Records = 3 * rate
			}
			before, err := r.cpu()
			if err != nil {
				return nil, err
			}
			l, err := load.Run(ctx)
			if err != nil {
				return nil, err
			}
			after, err := r.cpu()
			if err != nil {
				return nil, err
			}
			out := []figure{{name: "cpu", unit: "us/record", value: float64((after - before).Microseconds()) / float64(load.Records)}}
			for _, q := range []float64{50, 99, 99.9} {
				out = append(out,
					figure{name: fmt.Sprintf("ack p%v", q), unit: "ms", value: float64(l.Ack.ValueAtQuantile(q)) / 1000},
					figure{name: fmt.Sprintf("e2e p%v", q), unit: "ms", value: float64(l.EndToEnd.ValueAtQuantile(q)) / 1000})
			}
			return out, nil
		})
	}}
}

func partitionsCase(short bool) benchCase {
	n := int32(1000)
	if short {
		n = 200
	}
	return benchCase{name: fmt.Sprintf("create %d partitions", n), run: func(ctx context.Context, r *rival) ([]figure, error) {
		var res raw.Result
		return withTopic(ctx, r, 1, func(topic string) ([]figure, error) {
			res, used, _, err := counted(ctx, r, func() (raw.Result, error) {
				start := time.Now()
				err := raw.CreateTopic(ctx, r.addr, topic+"-many", n, nil)
				res.Elapsed = time.Since(start)
				return res, err
			})
			if err != nil {
				return nil, err
			}
			return []figure{
				{name: "cpu", unit: "ms/partition", value: float64(used.Milliseconds()) / float64(n)},
				{name: "time", unit: "ms/partition", value: res.Elapsed.Seconds() * 1000 / float64(n)},
			}, raw.DeleteTopic(ctx, r.addr, topic+"-many")
		})
	}}
}

// startCase is the time from the start of the process, on an empty directory that is formatted
// first, to the ack of the first record.
func startCase() benchCase {
	return benchCase{name: "start to first record", fresh: true, run: func(ctx context.Context, r *rival) (out []figure, err error) {
		begin := time.Now()
		other, err := startOther(ctx, r)
		if err != nil {
			return nil, err
		}
		defer func() { err = joinEnd(other, err) }()
		b, err := raw.NewBatch("none", 100, 100)
		if err != nil {
			return nil, err
		}
		if err := raw.CreateTopic(ctx, other.addr, "first", 1, nil); err != nil {
			return nil, err
		}
		load := raw.ProduceLoad{Addr: other.addr, Topic: "first", Partitions: 1, Conns: 1, InFlight: 1, Acks: -1, Batch: b, Requests: 1}
		if _, err := load.Run(ctx); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		used, err := other.cpu()
		if err != nil {
			return nil, err
		}
		return []figure{
			{name: "time", unit: "ms", value: float64(took.Milliseconds())},
			{name: "cpu", unit: "ms", value: float64(used.Milliseconds())},
		}, nil
	}}
}

// joinEnd ends a rival that a case has started.
func joinEnd(r *rival, err error) error { return errors.Join(err, r.end()) }

func startOther(ctx context.Context, r *rival) (*rival, error) {
	dir, err := os.MkdirTemp("", "logstead-bench-start-")
	if err != nil {
		return nil, err
	}
	other, err := r.start(ctx, filepath.Join(dir, "node"))
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	end := other.end
	other.end = func() error {
		if err := end(); err != nil {
			return err
		}
		return os.RemoveAll(dir)
	}
	return other, nil
}

// idleCase is the memory of a broker that has just started, what CPU it takes with nothing to do, and its greatest
// memory under a load of large batches from 64 connections.
func idleCase() benchCase {
	return benchCase{name: "memory", fresh: true, run: func(ctx context.Context, r *rival) (out []figure, err error) {
		other, err := startOther(ctx, r)
		if err != nil {
			return nil, err
		}
		defer func() { err = joinEnd(other, err) }()
		if err := (raw.Topic{Name: "load", Partitions: partitions, Replicas: r.replicas()}).Create(ctx, other.addr); err != nil {
			return nil, err
		}
		rest, err := other.idleCPU()
		if err != nil {
			return nil, err
		}
		idle, _, err := other.memory()
		if err != nil {
			return nil, err
		}
		b, err := raw.NewBatch("none", 256<<10, recordBytes)
		if err != nil {
			return nil, err
		}
		load := raw.ProduceLoad{Addr: other.addr, Topic: "load", Partitions: partitions, Conns: 64, InFlight: 2, Acks: -1, Batch: b}
		load.Requests = 256 << 20 / int64(b.Payload)
		if _, err := load.Run(ctx); err != nil {
			return nil, err
		}
		after, peak, err := other.memory()
		if err != nil {
			return nil, err
		}
		mib := func(n int64) float64 { return float64(n) / (1 << 20) }
		return []figure{
			{name: "idle", unit: "MiB", value: mib(idle)},
			{name: "idle cpu", unit: "ms/s", value: rest},
			{name: "peak under load", unit: "MiB", value: mib(peak)},
			{name: "after load", unit: "MiB", value: mib(after)},
		}, nil
	}}
}
