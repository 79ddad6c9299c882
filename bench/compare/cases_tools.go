package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/logstead/logstead/bench/raw"
)

// The cases with other people's clients. Their own start is in the elapsed time, so only the
// broker's CPU is told.

const toolRecords = 300_000

// javaCases are Apache Kafka's own performance tools.
func javaCases(script string) []benchCase {
	produce := func(ctx context.Context, r *rival, topic string) (raw.Result, error) {
		return tool(ctx, script, "tool", "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", fmt.Sprint(toolRecords),
			"--record-size", fmt.Sprint(recordBytes), "--throughput", "-1", "--producer-props", "bootstrap.servers="+r.addr, "acks=all")
	}
	consume := func(ctx context.Context, r *rival, topic string) (raw.Result, error) {
		return tool(ctx, script, "tool", "org.apache.kafka.tools.ConsumerPerformance", "--topic", topic, "--num-records", fmt.Sprint(toolRecords),
			"--bootstrap-server", r.addr)
	}
	return []benchCase{toolCase("java/producer-perf", nil, produce), toolCase("java/consumer-perf", produce, consume)}
}

// librdkafkaCases use librdkafka through its Python client.
func librdkafkaCases() []benchCase {
	produce := func(ctx context.Context, r *rival, topic string) (raw.Result, error) {
		return tool(ctx, python(), "-c", librdkafkaProduce, r.addr, topic, fmt.Sprint(toolRecords), fmt.Sprint(recordBytes))
	}
	consume := func(ctx context.Context, r *rival, topic string) (raw.Result, error) {
		return tool(ctx, python(), "-c", librdkafkaConsume, r.addr, topic, fmt.Sprint(toolRecords))
	}
	return []benchCase{toolCase("librdkafka/produce", nil, produce), toolCase("librdkafka/consume", produce, consume)}
}

const (
	librdkafkaProduce = `
import sys
from confluent_kafka import Producer
addr, topic, n, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
p = Producer({"bootstrap.servers": addr, "acks": "all", "linger.ms": 5, "queue.buffering.max.messages": 100000})
value, failed = b"x" * size, []
done = lambda err, msg: failed.append(err) if err else None
for i in range(n):
    while True:
        try:
            p.produce(topic, value, on_delivery=done)
            break
        except BufferError:
            p.poll(0.01)
    if i % 1000 == 0:
        p.poll(0)
p.flush()
sys.exit(1 if failed else 0)
`
	librdkafkaConsume = `
import sys
from confluent_kafka import Consumer
addr, topic, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = Consumer({"bootstrap.servers": addr, "group.id": "bench-" + topic, "auto.offset.reset": "earliest", "enable.auto.commit": False})
c.subscribe([topic])
seen = 0
while seen < n:
    seen += sum(1 for m in c.consume(10000, 1.0) if not m.error())
c.close()
`
)

// python is the interpreter that the interop suite sets up, with its clients.
func python() string {
	cache := os.Getenv("INTEROP_CACHE")
	if cache == "" {
		if base, err := os.UserCacheDir(); err == nil {
			cache = filepath.Join(base, "logstead-interop")
		}
	}
	return filepath.Join(cache, "python", "bin", "python")
}

// setUp installs what a tool needs.
func setUp(ctx context.Context, part string) error {
	out, err := exec.CommandContext(ctx, "interop/setup.sh", part).CombinedOutput()
	if err != nil {
		return fmt.Errorf("interop/setup.sh %s: %w\n%s", part, err, out)
	}
	return nil
}

type toolRun func(ctx context.Context, r *rival, topic string) (raw.Result, error)

// toolCase runs a tool on a topic, after another has filled it.
func toolCase(name string, fill, run toolRun) benchCase {
	return benchCase{name: name, warm: true, fills: toolRecords * recordBytes, run: func(ctx context.Context, r *rival) ([]figure, error) {
		if strings.HasPrefix(name, "librdkafka") {
			if err := setUp(ctx, "python"); err != nil {
				return nil, err
			}
		}
		return withTopic(ctx, r, partitions, func(topic string) ([]figure, error) {
			if fill != nil {
				if _, err := fill(ctx, r, topic); err != nil {
					return nil, err
				}
			}
			res, used, _, err := counted(ctx, r, func() (raw.Result, error) { return run(ctx, r, topic) })
			if err != nil {
				return nil, err
			}
			return []figure{{name: "cpu", unit: "s/GiB", value: used.Seconds() / (float64(res.Bytes) / (1 << 30))}}, nil
		})
	}}
}

// tool runs a program that moves toolRecords records.
func tool(ctx context.Context, name string, args ...string) (raw.Result, error) {
	begin := time.Now()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return raw.Result{}, fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{name}, args...), " "), err, out)
	}
	return raw.Result{Requests: toolRecords, Records: toolRecords, Bytes: toolRecords * recordBytes, Elapsed: time.Since(begin)}, nil
}
