package raw

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/node"
)

func startNode(t *testing.T) string {
	t.Helper()
	static, err := conf.Load(conf.Source{Defaults: map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/memory", "logstead.auto.format": "true",
		"listeners": "PLAINTEXT://127.0.0.1:0", "logstead.http.listeners": "",
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n, err := node.Open(ctx, node.Options{Config: static, Version: "test", Logger: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar), Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-n.Serving()
	return n.Bootstrap()
}

// TestLoads lets every load run against a broker and compares what it says it did with what was asked.
func TestLoads(t *testing.T) {
	ctx, addr := t.Context(), startNode(t)
	if err := CreateTopic(ctx, addr, "many", 3, nil); err != nil {
		t.Fatal(err)
	}
	for _, codec := range []string{"none", "lz4", "zstd"} {
		b, err := NewBatch(codec, 8<<10, 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, inFlight := range []int{1, 5} {
			l := ProduceLoad{Addr: addr, Topic: "many", Partitions: 3, Conns: 3, InFlight: inFlight, Acks: -1, Batch: b, Requests: 30}
			r, err := l.Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if r.Requests != 30 || r.Records != 30*int64(b.Records) {
				t.Errorf("%s, %d in flight: %d requests with %d records, want 30 with %d", codec, inFlight, r.Requests, r.Records, 30*b.Records)
			}
		}
	}
	b, err := NewBatch("none", 1<<10, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := CreateTopic(ctx, addr, "spread", 5, nil); err != nil {
		t.Fatal(err)
	}
	spread := ProduceLoad{Addr: addr, Topic: "spread", Partitions: 5, Conns: 2, InFlight: 2, Acks: -1, Batch: b, Requests: 10, Spread: true}
	if _, err := spread.Run(ctx); err != nil {
		t.Fatal(err)
	}
	follow := FetchLoad{Addr: addr, Topic: "spread", Partitions: 5, Conns: 5, MaxBytes: 1 << 20, Bytes: 10 * int64(len(b.Bytes)), Follow: true}
	if r, err := follow.Run(ctx); err != nil || r.Records != 10*int64(b.Records) {
		t.Errorf("spread over 5 partitions: %d records, want %d; %v", r.Records, 10*b.Records, err)
	}
	f := FetchLoad{Addr: addr, Topic: "many", Partitions: 3, Conns: 3, MaxBytes: 32 << 10, Bytes: 2 << 20}
	r, err := f.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r.Bytes < f.Bytes || r.Records == 0 {
		t.Errorf("fetched %d bytes with %d records, want at least %d bytes", r.Bytes, r.Records, f.Bytes)
	}
}

func TestLatencies(t *testing.T) {
	ctx, addr := t.Context(), startNode(t)
	if err := CreateTopic(ctx, addr, "one", 1, nil); err != nil {
		t.Fatal(err)
	}
	b, err := NewBatch("none", 200, 100)
	if err != nil {
		t.Fatal(err)
	}
	l, err := LatencyLoad{Addr: addr, Topic: "one", Acks: -1, Batch: b, Rate: 2000, Records: 200}.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if l.Ack.TotalCount() != 200 || l.EndToEnd.TotalCount() != 200 {
		t.Errorf("%d acks and %d records seen, want 200 of both", l.Ack.TotalCount(), l.EndToEnd.TotalCount())
	}
}

// TestRefused: a refused request ends the load with its error.
func TestRefused(t *testing.T) {
	addr := startNode(t)
	b, err := NewBatch("none", 200, 100)
	if err != nil {
		t.Fatal(err)
	}
	l := ProduceLoad{Addr: addr, Topic: "no-such-topic", Partitions: 1, Conns: 2, InFlight: 5, Acks: 1, Batch: b, Requests: 1000}
	if _, err := l.Run(t.Context()); err == nil {
		t.Error("producing to a topic that does not exist counts as done")
	}
}

// TestGap: the time that a break takes of a topic that is gone meanwhile is in the gap, and its error is passed on.
func TestGap(t *testing.T) {
	ctx, addr := t.Context(), startNode(t)
	topic := Topic{Name: "gap", Partitions: 1, Replicas: 1}
	if err := topic.Create(ctx, addr); err != nil {
		t.Fatal(err)
	}
	b, err := NewBatch("none", 200, 100)
	if err != nil {
		t.Fatal(err)
	}
	l := GapLoad{Addrs: []string{"127.0.0.1:1", addr}, Topic: "gap", Batch: b, Calm: 200 * time.Millisecond}
	var gone time.Duration
	longest, err := l.Run(ctx, func() error {
		if err := DeleteTopic(ctx, addr, "gap"); err != nil {
			return err
		}
		deleted := time.Now()
		defer func() { gone = time.Since(deleted) }()
		time.Sleep(50 * time.Millisecond) // this is the break
		return topic.Create(ctx, addr)
	})
	if err != nil {
		t.Fatal(err)
	}
	if longest < 50*time.Millisecond || gone == 0 {
		t.Errorf("longest gap %v around a break of %v", longest, gone)
	}
	broken := errors.New("broken")
	if _, err := l.Run(ctx, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the break", err)
	}
}
