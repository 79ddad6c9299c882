package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/logstead/logstead/bench/raw"
)

// The cases whose cost should stay flat: the same load over more partitions, more connections, and
// on top of more data. Their figures are drawn against the number in their name.

// spreadCase produces batches of 16 KiB evenly over so many partitions.
func spreadCase(parts int32) benchCase {
	return benchCase{bare: parts <= 1000, name: fmt.Sprintf("spread/%d partitions", parts), warm: parts <= 10, most: 1000, size: int(parts), fills: (2*int64(parts) + 16_000) * 16 << 10, run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 16<<10, recordBytes)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, parts, func(topic string) ([]figure, error) {
			load := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: parts, Conns: 6, InFlight: 5, Acks: -1, Batch: b, Spread: true}
			load.Requests = 2 * int64(parts) // so that every partition has its files
			if _, err := load.Run(ctx); err != nil {
				return nil, err
			}
			load.Requests = 16_000
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return load.Run(ctx) })
			if err != nil {
				return nil, err
			}
			return volumeFigures(res, used, allocs), nil
		})
	}}
}

// connectionsCase sends small requests from so many connections, one at a time on each. What counts is
// a request on a connection that stands: each has had one answered before.
func connectionsCase(conns int) benchCase {
	return benchCase{bare: true, name: fmt.Sprintf("connections/%d", conns), warm: conns == 1, size: conns, run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 100, 100)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
			load := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: partitions, Conns: conns, InFlight: 1, Acks: 1, Batch: b}
			p, err := load.Connect(ctx)
			if err != nil {
				return nil, err
			}
			defer p.Close()
			if _, err := p.Run(int64(conns)); err != nil {
				return nil, err
			}
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return p.Run(connectionsRequests) })
			if err != nil {
				return nil, err
			}
			return requestFigures(res, used, allocs), nil
		})
	}}
}

// durableCase sends records of 1 KiB from 64 producers, one at a time each, over so many partitions. Each is on stable
// storage before its ack: Kafka syncs the file of its partition for that (flush.messages=1), logstead in fsync its journal.
func durableCase(parts int32) benchCase {
	return benchCase{name: fmt.Sprintf("durable/%d partitions", parts), warm: parts == 1, size: int(parts), run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 1024, 950)
		if err != nil {
			return nil, err
		}
		if r.name != "fsync" && !r.jvm {
			return nil, nil
		}
		topicCount++
		topic := fmt.Sprintf("durable-%d-%d", os.Getpid(), topicCount)
		configs := map[string]string{}
		if r.jvm {
			configs["flush.messages"] = "1"
		}
		if err := raw.CreateTopic(ctx, r.addr, topic, parts, configs); err != nil {
			return nil, err
		}
		load := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: parts, Conns: 64, InFlight: 1, Acks: -1, Batch: b, Spread: true}
		load.Requests = max(64, int64(parts)) // so that every partition has its files
		if _, err := load.Run(ctx); err != nil {
			return nil, err
		}
		if load.Requests = durableRequests; r.jvm {
			load.Requests /= 4 // it is several times slower
		}
		res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return load.Run(ctx) })
		if err != nil {
			return nil, err
		}
		return requestFigures(res, used, allocs), raw.DeleteTopic(ctx, r.addr, topic)
	}}
}

const durableRequests = 40_000

// connectionsRequests is how many requests all connections of a case send together.
const connectionsRequests = 40_000

// storedCase produces 256 MiB onto a topic that holds so many MiB.
func storedCase(mib int) benchCase {
	return benchCase{name: fmt.Sprintf("stored/%d MiB", mib), size: max(mib, 1), run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 64<<10, recordBytes)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
			load := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: partitions, Conns: 6, InFlight: 5, Acks: -1, Batch: b}
			if load.Requests = int64(mib) << 20 / int64(b.Payload); mib > 0 {
				if _, err := load.Run(ctx); err != nil {
					return nil, err
				}
			}
			load.Requests = 256 << 20 / int64(b.Payload)
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return load.Run(ctx) })
			if err != nil {
				return nil, err
			}
			return volumeFigures(res, used, allocs), nil
		})
	}}
}

// followCase produces at full speed while as many connections read what comes.
func followCase() benchCase {
	return benchCase{name: "consume/following/64KiB", warm: true, fills: 256 << 20, run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 64<<10, recordBytes)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, 4, func(topic string) ([]figure, error) {
			in := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: 4, Conns: 4, InFlight: 5, Acks: -1, Batch: b, Requests: 256 << 20 / int64(b.Payload)}
			out := raw.FetchLoad{Addr: r.addr, Topic: topic, Partitions: 4, Conns: 4, MaxBytes: 1 << 20, Follow: true}
			out.Bytes = in.Requests / 4 * 4 * int64(len(b.Bytes))
			res, used, allocs, err := counted(ctx, r, func() (res raw.Result, err error) {
				produced := make(chan error, 1)
				go func() {
					_, err := in.Run(ctx)
					produced <- err
				}()
				res, err = out.Run(ctx)
				return res, errors.Join(err, <-produced)
			})
			if err != nil {
				return nil, err
			}
			return volumeFigures(res, used, allocs), nil
		})
	}}
}

// diskCase reads what the page cache no longer holds.
func diskCase() benchCase {
	return benchCase{bare: true, name: "consume/disk/64KiB", run: func(ctx context.Context, r *rival) ([]figure, error) {
		b, err := raw.NewBatch("none", 64<<10, recordBytes)
		if err != nil {
			return nil, err
		}
		return withTopic(ctx, r, 4, func(topic string) ([]figure, error) {
			fill := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: 4, Conns: 4, InFlight: 5, Acks: -1, Batch: b, Requests: 512 << 20 / int64(b.Payload)}
			if _, err := fill.Run(ctx); err != nil {
				return nil, err
			}
			if err := dropCaches(); err != nil {
				return nil, err
			}
			load := raw.FetchLoad{Addr: r.addr, Topic: topic, Partitions: 4, Conns: 4, MaxBytes: 1 << 20, Bytes: 510 << 20}
			res, used, allocs, err := counted(ctx, r, func() (raw.Result, error) { return load.Run(ctx) })
			if err != nil {
				return nil, err
			}
			return volumeFigures(res, used, allocs), nil
		})
	}}
}

// idlePartitionsCase is what partitions cost that nobody uses, and how long a restart with them takes.
func idlePartitionsCase(n, most int) benchCase {
	return benchCase{name: fmt.Sprintf("idle/%d partitions", n), fresh: true, most: most, size: n, run: func(ctx context.Context, r *rival) (out []figure, err error) {
		other, err := startOther(ctx, r)
		if err != nil {
			return nil, err
		}
		defer func() { err = joinEnd(other, err) }()
		begin := time.Now()
		for left, i := n, 0; left > 0; i++ {
			some := min(left, 10_000) // the most of one request
			if err := raw.CreateTopic(ctx, other.addr, fmt.Sprint("idle-", i), int32(some), nil); err != nil {
				return nil, err
			}
			left -= some
		}
		created := time.Since(begin)
		idle, err := other.idleCPU()
		if err != nil {
			return nil, err
		}
		resident, _, err := other.memory()
		if err != nil {
			return nil, err
		}
		begin = time.Now()
		if err := other.stop(); err != nil {
			return nil, err
		}
		stopped := time.Since(begin)
		begin = time.Now()
		if err := other.again(ctx); err != nil {
			return nil, err
		}
		if err := firstAck(ctx, other, "idle-0"); err != nil {
			return nil, err
		}
		return []figure{
			{name: "creation", unit: "s", value: created.Seconds()},
			{name: "memory", unit: "MiB", value: float64(resident) / (1 << 20)},
			{name: "idle cpu", unit: "ms/s", value: idle},
			{name: "stop", unit: "s", value: stopped.Seconds()},
			{name: "restart to first ack", unit: "s", value: time.Since(begin).Seconds()},
		}, nil
	}}
}

// recoveryCase kills a broker that has just taken in so many MiB, and waits for the next ack.
func recoveryCase(mib int) benchCase {
	return benchCase{name: fmt.Sprintf("recovery after kill -9/%d MiB", mib), fresh: true, run: func(ctx context.Context, r *rival) (out []figure, err error) {
		other, err := startOther(ctx, r)
		if err != nil {
			return nil, err
		}
		defer func() { err = joinEnd(other, err) }()
		b, err := raw.NewBatch("none", 1000<<10, recordBytes)
		if err != nil {
			return nil, err
		}
		if err := raw.CreateTopic(ctx, other.addr, "load", partitions, nil); err != nil {
			return nil, err
		}
		load := raw.ProduceLoad{Addr: other.addr, Topic: "load", Partitions: partitions, Conns: 6, InFlight: 5, Acks: -1, Batch: b}
		load.Requests = int64(mib) << 20 / int64(b.Payload)
		if _, err := load.Run(ctx); err != nil {
			return nil, err
		}
		if err := other.kill(); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := other.again(ctx); err != nil {
			return nil, err
		}
		if err := firstAck(ctx, other, "load"); err != nil {
			return nil, err
		}
		took := time.Since(begin)
		used, err := other.cpu()
		if err != nil {
			return nil, err
		}
		return []figure{
			{name: "time to first ack", unit: "s", value: took.Seconds()},
			{name: "cpu", unit: "s", value: used.Seconds()},
		}, nil
	}}
}

// firstAck produces one record, trying again while the broker does not lead its partitions yet.
func firstAck(ctx context.Context, r *rival, topic string) error {
	b, err := raw.NewBatch("none", 100, 100)
	if err != nil {
		return err
	}
	load := raw.ProduceLoad{Addr: r.addr, Topic: topic, Partitions: 1, Conns: 1, InFlight: 1, Acks: -1, Batch: b, Requests: 1}
	for {
		_, err := load.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
