package storage

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
)

func benchStore(b *testing.B, fs vfs.FS, dir string, change func(*Options)) *Store {
	b.Helper()
	o := Options{FS: fs, Clock: clock.System{}, Dirs: []string{dir}, NodeID: 1}
	if change != nil {
		change(&o)
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func benchLog(b *testing.B, s *Store, i int, cfg LogConfig) *Log {
	b.Helper()
	l, err := s.Create(base.TopicPartition{Topic: "bench", Partition: int32(i)}, base.TopicID{1, byte(i), byte(i >> 8)}, cfg, "")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func benchBatch(size int) []byte {
	return makeBatch(spec{values: []string{string(make([]byte, size-minBatchBytes-10))}})
}

// BenchmarkAppend is the cost of an append without waiting for the disk.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dK", size>>10), func(b *testing.B) {
			cfg := DefaultLogConfig()
			cfg.Durability, cfg.SegmentBytes = Replicated, 256<<20
			cfg.RetentionBytes = 512 << 20
			l := benchLog(b, benchStore(b, vfs.OS{}, b.TempDir(), nil), 0, cfg)
			batch := benchBatch(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if _, err := l.Append(batch, AppendOptions{Now: epoch0}); err != nil {
					b.Fatal(err)
				}
				if i%256 == 255 {
					l.SetHighWatermark(l.EndOffset())
				}
			}
		})
	}
}

// BenchmarkDurable has 64 producers that each wait until their append is on stable storage.
func BenchmarkDurable(b *testing.B) {
	for _, journal := range []bool{true, false} {
		for _, parts := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("journal=%v/parts=%d", journal, parts), func(b *testing.B) {
				s := benchStore(b, vfs.OS{}, b.TempDir(), func(o *Options) { o.Journal.Disabled = !journal })
				waits := make([]*syncWait, parts)
				for i := range waits {
					waits[i] = newSyncWait(benchLog(b, s, i, DefaultLogConfig()))
				}
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range 64 {
					wg.Go(func() {
						batch := benchBatch(1 << 10)
						for {
							i := next.Add(1)
							if i > int64(b.N) {
								return
							}
							w := waits[int(i*7919)%parts]
							info, err := w.l.Append(batch, AppendOptions{Now: epoch0})
							if err != nil {
								b.Error(err)
								return
							}
							w.wait(info.LastOffset + 1)
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// syncWait lets goroutines wait for a log's synced end.
type syncWait struct {
	l    *Log
	mu   sync.Mutex
	cond *sync.Cond
}

func newSyncWait(l *Log) *syncWait {
	w := &syncWait{l: l}
	w.cond = sync.NewCond(&w.mu)
	l.OnSynced(func(int64) {
		w.mu.Lock()
		w.cond.Broadcast()
		w.mu.Unlock()
	})
	return w
}

func (w *syncWait) wait(end int64) {
	w.mu.Lock()
	for w.l.SyncedOffset() < end {
		w.cond.Wait()
	}
	w.mu.Unlock()
}

// BenchmarkRead is a consumer that goes through a log from its beginning, without copying.
func BenchmarkRead(b *testing.B) {
	for _, maxBytes := range []int32{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dK", maxBytes>>10), func(b *testing.B) {
			cfg := DefaultLogConfig()
			cfg.Durability = Replicated
			l := benchLog(b, benchStore(b, vfs.OS{}, b.TempDir(), nil), 0, cfg)
			batch := benchBatch(1 << 10)
			for range 64 << 10 {
				if _, err := l.Append(batch, AppendOptions{Now: epoch0}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			off, bytes := int64(0), int64(0)
			for range b.N {
				r, err := l.Read(off, maxBytes, l.EndOffset(), true)
				if err != nil || r == nil {
					b.Fatal(off, err)
				}
				off, bytes = r.NextOffset, bytes+int64(r.Len())
				r.Release()
				if off >= l.EndOffset() {
					off = 0
				}
			}
			b.SetBytes(bytes / int64(b.N))
		})
	}
}

// BenchmarkReadTail is a consumer at the end of the log.
func BenchmarkReadTail(b *testing.B) {
	cfg := DefaultLogConfig()
	cfg.Durability = Replicated
	l := benchLog(b, benchStore(b, vfs.OS{}, b.TempDir(), nil), 0, cfg)
	batch := benchBatch(1 << 10)
	for range 1000 {
		if _, err := l.Append(batch, AppendOptions{Now: epoch0}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r, err := l.Read(l.EndOffset()-1-int64(i%32), 1<<20, l.EndOffset(), true)
		if err != nil || r == nil {
			b.Fatal(err)
		}
		r.Release()
	}
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStart makes 10,000 logs and starts with them, after a clean stop and after a kill.
func BenchmarkStart(b *testing.B) {
	const logs = 10_000
	for range b.N {
		dir := b.TempDir()
		s := benchStore(b, vfs.OS{}, dir, nil)
		began := time.Now()
		batch := benchBatch(200)
		for i := range logs {
			l := benchLog(b, s, i, DefaultLogConfig())
			if i%10 == 0 {
				if _, err := l.Append(batch, AppendOptions{Now: epoch0}); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "create-ms")
		began = time.Now()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "close-ms")
		before := heapBytes()
		began = time.Now()
		s = benchStore(b, vfs.OS{}, dir, nil)
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "clean-start-ms")
		b.ReportMetric(float64(heapBytes()-before)/logs, "heap-B/log")
		b.ReportMetric(float64(s.OpenFiles()), "open-files")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		if err := os.Remove(dir + "/" + cleanShutdownFile); err != nil {
			b.Fatal(err)
		}
		began = time.Now()
		_ = benchStore(b, vfs.OS{}, dir, nil)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "unclean-start-ms")
	}
}
