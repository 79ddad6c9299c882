package storage

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// TestConcurrent has appenders, readers, look-ups, retention, checkpoints, settings and deletions
// go on side by side. The race detector and the log's own order are what it tests.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.MaxOpenFiles = 4
		o.Journal.FileBytes, o.Journal.Files, o.Journal.DirectBytes = 64<<10, 2, 700
		o.Journal.TogetherLogs = 1
	})
	cfg := smallSegments()
	cfg.RetentionBytes = 20_000
	const logs, perLog = 3, 400
	var done atomic.Bool
	var writers, others sync.WaitGroup
	for i := range logs {
		tp := base.TopicPartition{Topic: "c", Partition: int32(i)}
		l, err := w.store.Create(tp, base.TopicID{1, byte(i)}, cfg, "")
		if err != nil {
			t.Fatal(err)
		}
		l.OnSynced(l.SetHighWatermark)
		for producer := range int64(2) {
			writers.Go(func() { produce(t, l, producer+1, perLog) })
		}
		others.Go(func() { consume(t, l, &done) })
		others.Go(func() {
			for !done.Load() {
				if _, err := l.Retain(epoch0); err != nil {
					t.Error(err)
				}
				_, _, _ = l.OffsetForTimestamp(epoch0.UnixMilli(), l.EndOffset())
				_, _, _ = l.MaxTimestampOffset(l.EndOffset())
				l.SetConfig(cfg)
				_ = l.Producers()
				_, _ = l.FirstUnstableOffset()
				_ = l.AbortedTxns(l.StartOffset(), l.EndOffset())
				if _, err := l.DeleteRecords(l.HighWatermark() / 2); err != nil {
					t.Error(err)
				}
			}
		})
	}
	others.Go(func() {
		for n := 0; !done.Load(); n++ {
			w.store.Checkpoint()
			w.store.tick(epoch0)
			_ = w.store.Dirs()
			tp := base.TopicPartition{Topic: fmt.Sprintf("d%d", n)}
			l, err := w.store.Create(tp, base.TopicID{7}, cfg, "")
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0})
			if err := w.store.Delete(tp); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Wait()
	done.Store(true)
	others.Wait()
	for i := range logs {
		l, _ := w.store.Log(base.TopicPartition{Topic: "c", Partition: int32(i)})
		waitSynced(t, l, l.EndOffset())
		if l.EndOffset() != 2*perLog {
			t.Fatalf("log %d ends at %d, want %d", i, l.EndOffset(), 2*perLog)
		}
	}
}

func produce(t *testing.T, l *Log, pid int64, n int) {
	for seq := range int32(n) {
		size := 10
		if seq%17 == 0 {
			size = 1000 // this one goes past the journal
		}
		b := makeBatch(spec{pid: pid, seq: seq, values: []string{string(make([]byte, size))}})
		info, err := l.Append(b, AppendOptions{Now: epoch0, Waits: seq%3 != 0})
		if err != nil {
			t.Errorf("producer %d sequence %d: %v", pid, seq, err)
			return
		}
		if info.Unsettled != nil {
			info.Unsettled.Settle(int(seq) % 5)
		}
	}
}

// consume reads up to the high watermark until done, and checks that offsets only rise.
func consume(t *testing.T, l *Log, done *atomic.Bool) {
	off := int64(0)
	for !done.Load() {
		r, err := l.Read(off, 700, l.HighWatermark(), true)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			off = l.StartOffset()
			continue
		}
		if err != nil {
			t.Errorf("read at %d: %v", off, err)
			return
		}
		if r == nil {
			continue
		}
		b := make([]byte, r.Len())
		if n, _ := r.ReadAt(b, 0); n != len(b) {
			t.Errorf("read at %d: %d of %d bytes", off, n, len(b))
		}
		r.Release()
		for len(b) > 0 {
			h, err := parseHeader(b, int64(len(b)))
			if err == nil {
				err = checkCRC(b[:h.size])
			}
			if err != nil || h.last < off {
				t.Errorf("read at %d: batch %d to %d, %v", off, h.base, h.last, err)
				return
			}
			off, b = h.last+1, b[h.size:]
		}
	}
}
