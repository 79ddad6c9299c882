package batch

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// bomb is a batch of one record that decompresses to size bytes.
func bomb(t *testing.T, codec Codec, size int) Batch {
	t.Helper()
	b := NewBuilder(Options{Codec: codec})
	b.Append(time.Now().UnixMilli(), []byte("k"), make([]byte, size))
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLargeBatchesTakeTurns(t *testing.T) {
	const size, clients = 48 << 20, 8
	for _, codec := range []Codec{Gzip, Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			b := bomb(t, codec, size)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					o := ValidateOptions{Depth: DepthFull, Now: time.Now(), TimestampBeforeMaxMs: 1 << 40, TimestampAfterMaxMs: 1 << 40}
					if _, err := Validate(append(Batch(nil), b...), o); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			runtime.ReadMemStats(&after)
			// One of them at a time, each in the buffer of the one before unless that was collected.
			if took := after.TotalAlloc - before.TotalAlloc; took > clients*size*3/4 {
				t.Errorf("%d batches of %d MiB side by side allocated %d MiB", clients, size>>20, took>>20)
			}
			if len(large.turn) != 0 {
				t.Error("the turn is still held")
			}
			runtime.GC()
			if large.kept.Value() != nil {
				t.Error("the buffer is still held")
			}
		})
	}
}

func TestTurnIsGivenBackAfterAnError(t *testing.T) {
	b := bomb(t, Zstd, 8<<20)
	for range 3 {
		o := ValidateOptions{Depth: DepthFull, Now: time.Now(), Limits: Limits{DecompressedBytes: 6 << 20}}
		if _, err := Validate(append(Batch(nil), b...), o); !tooMuch(err) {
			t.Fatalf("got %v, want %v", err, kerr.MessageTooLarge)
		}
		if err := Scan(b, Limits{DecompressedBytes: 6 << 20}, func(Record) bool { return true }); !tooMuch(err) {
			t.Fatalf("scan: got %v, want %v", err, kerr.MessageTooLarge)
		}
	}
}

// TestRefusedZstdStaysWithinTheLimit: what is refused must not have been decompressed beyond the limit first.
func TestRefusedZstdStaysWithinTheLimit(t *testing.T) {
	const limit = 32 << 20
	b := bomb(t, Zstd, 2*limit)
	o := ValidateOptions{Depth: DepthFull, Now: time.Now(), Limits: Limits{DecompressedBytes: limit}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const tries = 8
	for range tries {
		if _, err := Validate(append(Batch(nil), b...), o); !tooMuch(err) {
			t.Fatalf("got %v, want %v", err, kerr.MessageTooLarge)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > tries*limit {
		t.Errorf("%d refusals at %d MiB allocated %d MiB", tries, limit>>20, took>>20)
	}
}

func TestScan(t *testing.T) {
	for _, codec := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		b := NewBuilder(Options{Codec: codec})
		for i := range 3 {
			b.Append(1000+int64(i), []byte{byte(i)}, make([]byte, 3<<20))
		}
		built, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = Scan(built, Limits{}, func(r Record) bool {
			if int(r.OffsetDelta) != n || r.Key[0] != byte(n) || len(r.Value) != 3<<20 {
				t.Errorf("%v: record %d is %d, key %x", codec, n, r.OffsetDelta, r.Key)
			}
			n++
			return n < 2
		})
		if err != nil || n != 2 {
			t.Errorf("%v: %d records, %v", codec, n, err)
		}
	}
}

// TestLargeBufferIsCollectedSoon: a broker that has become quiet does not keep what a bomb has taken until the
// runtime's own collection, minutes later.
func TestLargeBufferIsCollectedSoon(t *testing.T) {
	b := bomb(t, Gzip, 2*tidyAbove)
	if err := Scan(b, Limits{}, func(Record) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(30 * time.Second); large.kept.Value() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the buffer is still held")
		}
	}
}
