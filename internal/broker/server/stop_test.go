package server

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

// A client whose connection ends before its first answer must be able to tell a server that stops from one that does
// not speak its protocol.
func TestStopResetsWhatWasNotAnswered(t *testing.T) {
	b := startBroker(t, Options{}, vfs.NewMem(), "/data", storage.Fsync, map[string]int{"stop": 1})
	s := New(Options{Broker: b.api, Logger: b.api.Logger, MaxRequestBytes: 1 << 20, BudgetBytes: 1 << 20})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, []Listener{{Name: "PLAINTEXT", Listener: l}}) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for until := time.Now().Add(patience); s.Connections()["PLAINTEXT"] == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the connection was not accepted within two minutes")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
}
