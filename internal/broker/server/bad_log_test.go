package server

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

func TestBadLogCountsWhatItLeavesOut(t *testing.T) {
	var b badLog
	now := time.Unix(1000, 0)
	for i := range badLogBurst {
		if n, ok := b.allow(now); !ok || n != 0 {
			t.Fatalf("line %d: %d %v", i, n, ok)
		}
	}
	for range 7 {
		if _, ok := b.allow(now.Add(badLogEvery - 1)); ok {
			t.Fatal("a line above the burst was let through")
		}
	}
	if n, ok := b.allow(now.Add(badLogEvery)); !ok || n != 7 {
		t.Fatalf("the next interval: %d left out, %v; want 7", n, ok)
	}
	if n, ok := b.allow(now.Add(badLogEvery)); !ok || n != 0 {
		t.Fatalf("the line behind it: %d left out, %v; want none", n, ok)
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// TestBadConnectionsDoNotFloodTheLog: a connection in a loop whose first frame is nonsense writes a few lines, not one
// for each.
func TestBadConnectionsDoNotFloodTheLog(t *testing.T) {
	var log lockedBuffer
	b := startBroker(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, vfs.NewMem(), "/data", storage.Replicated, nil)
	for range 5 * badLogBurst {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "\xff\xff\xff\xff")
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
		c.Close()
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.b.String(), "connection closed"); n == 0 || n > 2*badLogBurst {
		t.Errorf("%d lines for %d bad connections", n, 5*badLogBurst)
	}
}
