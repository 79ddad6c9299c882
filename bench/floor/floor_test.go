package main

import (
	"context"
	"net"
	"testing"

	"github.com/logstead/logstead/bench/raw"
)

// TestLoads: what the loads send is stored and comes back whole, small and large, sent ahead and one by one.
func TestLoads(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, l, t.TempDir()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	addr := l.Addr().String()
	for name, payload := range map[string]int{"small": 200, "middle": 20_000, "large": 900_000} {
		for _, inFlight := range []int{1, 5} {
			if err := raw.CreateTopic(ctx, addr, name, 2, nil); err != nil {
				t.Fatal(err)
			}
			b, err := raw.NewBatch("none", payload, 150)
			if err != nil {
				t.Fatal(err)
			}
			in := raw.ProduceLoad{Addr: addr, Topic: name, Partitions: 2, Conns: 2, InFlight: inFlight, Acks: -1, Batch: b, Requests: 20}
			if _, err := in.Run(ctx); err != nil {
				t.Fatal(err)
			}
			out := raw.FetchLoad{Addr: addr, Topic: name, Partitions: 2, Conns: 2, MaxBytes: int32(len(b.Bytes)), Bytes: 20 * int64(len(b.Bytes))}
			got, err := out.Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got.Records < 20*int64(b.Records) {
				t.Errorf("%s: %d records came back, want at least %d", name, got.Records, 20*b.Records)
			}
			if err := raw.DeleteTopic(ctx, addr, name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
