package coord

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/goleak"

	"github.com/logstead/logstead/internal/proto/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shortError(err error) string {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Message
	}
	return err.Error()
}

// env is one running set of shards over fake partitions, in a bubble of fake time.
type env struct {
	*testing.T
	shards *Shards[*fakeMachine]
	part   *fakePartition
	last   *fakeMachine // of shard 0
	out    outcome
	poison string
}

func newEnv(t *testing.T, o Options, fn func(*env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &env{T: t, part: &fakePartition{}}
		o.Partitions = func() int32 { return 1 }
		e.shards = New[*fakeMachine](o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.shards.Run(ctx) }()
		fn(e)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (e *env) load() {
	e.shards.Load(0, e.part, func() *fakeMachine {
		e.last = newFakeMachine()
		e.last.poison = e.poison
		return e.last
	})
	synctest.Wait()
}

// submit puts key=value under the name key.
func (e *env) submit(key, value string) {
	done := e.out.done(key)
	e.shards.Submit(0, func(*fakeMachine, time.Time) Result {
		r := put(key, value)
		r.Done = append(r.Done, done)
		return r
	}, done)
}

func (e *env) do(name string, op func(*fakeMachine, time.Time) Result) {
	done := e.out.done(name)
	e.shards.Submit(0, func(m *fakeMachine, now time.Time) Result {
		r := op(m, now)
		r.Done = append(r.Done, done)
		return r
	}, done)
}

func (e *env) expect(what, got, want string) {
	e.Helper()
	if got != want {
		e.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestRepliesWaitForTheHighWatermark(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		e.part.set(func() { e.part.mu.manual = true })
		e.submit("a", "1")
		synctest.Wait()
		e.expect("state before the commit", e.last.String(), "a=1")
		e.do("read", func(*fakeMachine, time.Time) Result { return Result{} })
		synctest.Wait()
		e.expect("answers before the commit", e.out.take(), "")
		e.part.commit()
		synctest.Wait()
		e.expect("answers", e.out.take(), "a read")
		e.do("read", func(*fakeMachine, time.Time) Result { return Result{} })
		synctest.Wait()
		e.expect("a read of what is committed", e.out.take(), "read")
	})
}

func TestQueuedOperationsShareAnAppend(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		gate := make(chan struct{})
		e.do("gate", func(*fakeMachine, time.Time) Result { <-gate; return Result{} })
		synctest.Wait()
		for i := range 100 {
			e.submit(fmt.Sprint("k", i), "v")
		}
		close(gate)
		synctest.Wait()
		if e.part.mu.appends != 1 {
			t.Errorf("100 queued operations took %d appends, want 1", e.part.mu.appends)
		}
		if n := len(strings.Fields(e.out.take())); n != 101 {
			t.Errorf("%d answers, want 101", n)
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	newEnv(t, Options{MaxBatchBytes: 1000}, func(e *env) {
		e.load()
		gate := make(chan struct{})
		e.do("gate", func(*fakeMachine, time.Time) Result { <-gate; return Result{} })
		synctest.Wait()
		for i := range 10 {
			e.submit(fmt.Sprint("k", i), strings.Repeat("v", 250))
		}
		e.submit("big", strings.Repeat("v", 1000))
		e.submit("after", "1")
		close(gate)
		synctest.Wait()
		for _, b := range e.part.mu.log {
			if len(b) > 1000 {
				t.Errorf("a batch of %d bytes", len(b))
			}
		}
		got := e.out.take()
		if !strings.Contains(got, "big!MESSAGE_TOO_LARGE") || !strings.Contains(got, "after") {
			t.Errorf("answers: %s", got)
		}
		if _, kept := e.last.values["big"]; kept {
			t.Error("what was refused was replayed")
		}
		e.checkReplay()
	})
}

func TestCompressedBatchesMayHoldMore(t *testing.T) {
	newEnv(t, Options{MaxBatchBytes: 1000, Codec: batch.Gzip}, func(e *env) {
		e.load()
		e.submit("big", strings.Repeat("v", 5000))
		synctest.Wait()
		e.expect("answers", e.out.take(), "big")
		if c := e.part.mu.log[0].Codec(); c != batch.Gzip {
			t.Errorf("codec %v", c)
		}
		e.checkReplay()
	})
}

// checkReplay loads the log into another machine and compares it with the live one.
func (e *env) checkReplay() {
	e.Helper()
	live := e.last
	e.load()
	if live == e.last {
		e.Fatal("no new machine was made")
	}
	e.expect("loaded state", e.last.String(), live.String())
	e.expect("loaded offsets", fmt.Sprint(e.last.offsets), fmt.Sprint(live.offsets))
}

func TestTransactionsAndMarkers(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		e.submit("a", "1")
		e.do("txn", func(*fakeMachine, time.Time) Result {
			r := put("t", "5")
			r.Txn, r.Guard = &Txn{ProducerID: 0, ProducerEpoch: 3}, 77
			return r
		})
		e.submit("b", "1")
		synctest.Wait()
		e.expect("state of the open transaction", e.last.String(), "a=1 b=1")
		if e.part.mu.guards[0] != 77 {
			t.Error("the guard did not arrive")
		}
		e.do("commit", func(*fakeMachine, time.Time) Result {
			return Result{Marker: &Marker{Txn: Txn{ProducerEpoch: 3}, CoordinatorEpoch: 9, Commit: true}}
		})
		synctest.Wait()
		e.expect("answers", e.out.take(), "a txn b commit")
		e.expect("state", e.last.String(), "a=1 b=1 t=5")
		last := e.part.mu.log[len(e.part.mu.log)-1]
		if kind, epoch, ok := last.Control(); !ok || kind != batch.Commit || epoch != 9 || last.ProducerEpoch() != 3 {
			t.Errorf("marker %v of coordinator epoch %d in %v", kind, epoch, last)
		}
		live := e.last.String()
		e.load()
		e.expect("loaded state", e.last.String(), live)
	})
}

func TestRefusedTransactionHurtsNobodyElse(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		gate := make(chan struct{})
		e.do("gate", func(*fakeMachine, time.Time) Result { <-gate; return Result{} })
		synctest.Wait()
		e.part.set(func() { e.part.mu.refuse = map[int64]error{5: fmt.Errorf("stale: %w", kerr.InvalidProducerEpoch)} })
		e.submit("a", "1")
		e.do("txn", func(*fakeMachine, time.Time) Result {
			r := put("t", "5")
			r.Txn = &Txn{ProducerID: 5}
			return r
		})
		e.do("marker", func(*fakeMachine, time.Time) Result {
			return Result{Marker: &Marker{Txn: Txn{ProducerID: 5}}}
		})
		e.submit("b", "1")
		close(gate)
		synctest.Wait()
		e.expect("answers", e.out.take(), "gate txn!INVALID_PRODUCER_EPOCH marker!INVALID_PRODUCER_EPOCH a b")
		if len(e.last.pending) > 0 || e.part.mu.scans != 1 {
			t.Errorf("pending %v after %d loads", e.last.pending, e.part.mu.scans)
		}
	})
}

func TestFailedAppendLosesTheShardAndReplaysIt(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		e.submit("a", "1")
		synctest.Wait()
		e.do("parks", func(m *fakeMachine, _ time.Time) Result {
			m.parked = append(m.parked, e.out.done("soft"))
			return Result{}
		})
		synctest.Wait()
		e.out.take()
		e.part.set(func() { e.part.mu.fail = kerr.KafkaStorageError })
		e.submit("b", "1")
		synctest.Wait()
		e.expect("answers", e.out.take(), "b!NOT_COORDINATOR soft!NOT_COORDINATOR")
		e.submit("c", "1")
		e.expect("while it is lost", e.out.take(), "c!NOT_COORDINATOR")
		e.part.set(func() { e.part.mu.fail = nil })
		time.Sleep(minRetryBackoff)
		synctest.Wait()
		e.expect("state after the reload", e.last.String(), "a=1")
		e.submit("d", "1")
		synctest.Wait()
		e.expect("after the reload", e.out.take(), "d")
	})
}

func TestTooFewReplicasIsNotAMove(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		e.part.set(func() { e.part.mu.fail = kerr.NotEnoughReplicas })
		e.submit("a", "1")
		synctest.Wait()
		e.expect("answers", e.out.take(), "a!COORDINATOR_NOT_AVAILABLE")
		e.part.set(func() { e.part.mu.fail = nil })
	})
}

func TestLostLeadershipFailsWhatIsParked(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		e.part.set(func() { e.part.mu.manual = true })
		e.submit("a", "1")
		synctest.Wait()
		e.part.lose(kerr.NotLeaderForPartition)
		synctest.Wait()
		e.expect("answers", e.out.take(), "a!NOT_COORDINATOR")
		e.shards.Unload(0)
		e.submit("b", "1")
		synctest.Wait()
		e.expect("after the unload", e.out.take(), "b!NOT_COORDINATOR")
	})
}

func TestForeignWriteReplays(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		b := batch.NewBuilder(batch.Options{})
		b.Append(0, []byte("x"), []byte("foreign"))
		other, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.part.Append(time.Time{}, other, AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		e.submit("a", "1")
		synctest.Wait()
		e.expect("answers", e.out.take(), "a!NOT_COORDINATOR")
		time.Sleep(minRetryBackoff)
		synctest.Wait()
		e.expect("state", e.last.String(), "a=1 x=foreign")
	})
}

func TestLoadingAndUnknownShards(t *testing.T) {
	newEnv(t, Options{LoadParallelism: 1}, func(e *env) {
		e.submit("none", "1")
		e.expect("unknown shard", e.out.take(), "none!NOT_COORDINATOR")
		e.shards.loads <- struct{}{} // another shard is being loaded
		e.load()
		e.submit("early", "1")
		if ids, loading := e.shards.Loaded(); len(ids) != 0 || !loading {
			t.Errorf("loaded %v, loading %t", ids, loading)
		}
		e.expect("while loading", e.out.take(), "early!COORDINATOR_LOAD_IN_PROGRESS")
		<-e.shards.loads
		synctest.Wait()
		if ids, loading := e.shards.Loaded(); len(ids) != 1 || loading {
			t.Errorf("loaded %v, loading %t", ids, loading)
		}
		e.submit("late", "1")
		synctest.Wait()
		e.expect("once loaded", e.out.take(), "late")
	})
}

func TestFailedLoadIsTriedAgain(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.part.set(func() { e.part.mu.scanErr = errors.New("damaged") })
		e.load()
		e.submit("a", "1")
		e.expect("answers", e.out.take(), "a!NOT_COORDINATOR")
		e.part.set(func() { e.part.mu.scanErr = nil })
		time.Sleep(minRetryBackoff)
		synctest.Wait()
		e.submit("b", "1")
		synctest.Wait()
		e.expect("answers", e.out.take(), "b")
	})
}

func TestMailboxIsBounded(t *testing.T) {
	newEnv(t, Options{MailboxSize: 2}, func(e *env) {
		e.load()
		gate := make(chan struct{})
		e.do("gate", func(*fakeMachine, time.Time) Result { <-gate; return Result{} })
		synctest.Wait()
		for i := range 3 {
			e.submit(fmt.Sprint(i), "v")
		}
		e.expect("answers", e.out.take(), "2!COORDINATOR_NOT_AVAILABLE")
		close(gate)
		synctest.Wait()
		e.expect("answers", e.out.take(), "gate 0 1")
	})
}

func TestParkedOperationsAreBounded(t *testing.T) {
	newEnv(t, Options{MailboxSize: 2}, func(e *env) {
		e.load()
		e.part.set(func() { e.part.mu.manual = true })
		for i := range 3 {
			e.submit(fmt.Sprint(i), "v")
			synctest.Wait()
		}
		e.expect("answers", e.out.take(), "2!COORDINATOR_NOT_AVAILABLE")
		e.part.commit()
		synctest.Wait()
		e.submit("3", "v")
		synctest.Wait()
		e.part.commit()
		synctest.Wait()
		e.expect("answers", e.out.take(), "0 1 3")
	})
}

func TestUnloadFailsWhatWaits(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		e.part.set(func() { e.part.mu.manual = true })
		e.submit("parked", "1")
		synctest.Wait()
		e.shards.Unload(0)
		synctest.Wait()
		e.expect("answers", e.out.take(), "parked!NOT_COORDINATOR")
	})
}

func TestReloadWaitsForTheIncarnationBefore(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		gate := make(chan struct{})
		e.do("slow", func(*fakeMachine, time.Time) Result { <-gate; return put("slow", "1") })
		synctest.Wait()
		e.load()
		if e.part.mu.scans != 1 {
			t.Error("the new incarnation loads while the old one may still append")
		}
		close(gate)
		synctest.Wait()
		e.expect("state", e.last.String(), "slow=1")
	})
}

func TestPanicLosesTheShardOnly(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		gate := make(chan struct{})
		e.do("gate", func(*fakeMachine, time.Time) Result { <-gate; return Result{} })
		synctest.Wait()
		e.out.take()
		e.submit("a", "1")
		e.do("bad", func(*fakeMachine, time.Time) Result { panic("bug") })
		e.submit("queued", "1")
		close(gate)
		synctest.Wait()
		e.expect("answers", e.out.take(), "gate bad!NOT_COORDINATOR queued!NOT_COORDINATOR a!NOT_COORDINATOR")
		time.Sleep(minRetryBackoff)
		synctest.Wait()
		e.submit("b", "1")
		synctest.Wait()
		e.expect("answers", e.out.take(), "b")
	})
}

func TestRefusedReplayLosesTheShard(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.poison = "poison"
		e.load()
		e.submit("poison", "1")
		synctest.Wait()
		e.expect("answers", e.out.take(), "poison!NOT_COORDINATOR")
	})
}

func TestTimers(t *testing.T) {
	newEnv(t, Options{}, func(e *env) {
		e.load()
		e.do("arm", func(m *fakeMachine, now time.Time) Result {
			m.alarm = now.Add(time.Minute)
			return Result{}
		})
		synctest.Wait()
		ticks := e.last.ticks.Load()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if e.last.ticks.Load() != ticks {
			t.Errorf("%d ticks before the time", e.last.ticks.Load()-ticks)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		e.expect("state", e.last.String(), "alarm=rang")
		ticks = e.last.ticks.Load()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if e.last.ticks.Load() != ticks {
			t.Errorf("%d ticks of an idle shard", e.last.ticks.Load()-ticks)
		}
	})
}

func TestCommitTimeout(t *testing.T) {
	newEnv(t, Options{CommitTimeout: 5 * time.Second}, func(e *env) {
		e.load()
		e.part.set(func() { e.part.mu.manual = true })
		e.submit("a", "1")
		synctest.Wait()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		e.expect("answers", e.out.take(), "a!COORDINATOR_NOT_AVAILABLE")
		e.submit("b", "1")
		synctest.Wait()
		e.part.commit()
		synctest.Wait()
		e.expect("answers", e.out.take(), "b")
		e.checkReplay()
	})
}

func TestLoadBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New[*fakeMachine](Options{Partitions: func() int32 { return 50 }})
		s.Load(0, &fakePartition{}, newFakeMachine)
		s.Load(1, &fakePartition{}, newFakeMachine)
		s.Unload(1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Run(ctx) }()
		synctest.Wait()
		if ids, _ := s.Loaded(); len(ids) != 1 || ids[0] != 0 {
			t.Errorf("loaded %v", ids)
		}
		cancel()
		<-ended
		if ids, loading := s.Loaded(); len(ids) != 0 || loading {
			t.Errorf("after Run: loaded %v, loading %t", ids, loading)
		}
	})
}

func TestShardFor(t *testing.T) {
	for _, c := range []struct {
		key  string
		hash int32
		of50 int32
	}{
		{"", 0, 0},
		{"a", 97, 47},
		{"hello world", 1794106052, 2},
		{"polygenelubricants", -2147483648, 0}, // famous for this hash
		{"grüße, 世界", 2124895105, 5},
		{"😀", 1772899, 49},
		{"console-consumer-12345", 158455506, 6},
	} {
		if h := JavaHash(c.key); h != c.hash {
			t.Errorf("hash of %q: %d, want %d", c.key, h, c.hash)
		}
		if n := ShardFor(c.key, 50); n != c.of50 {
			t.Errorf("%q is in shard %d, want %d", c.key, n, c.of50)
		}
	}
	if ShardFor("a", 0) != -1 {
		t.Error("a shard of a topic that does not exist")
	}
}

func TestRecordValuesOutliveTheirBatch(t *testing.T) {
	b := batch.NewBuilder(batch.Options{Codec: batch.LZ4})
	b.Append(0, []byte("k"), bytes.Repeat([]byte("one"), 50))
	one, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	one = bytes.Clone(one)
	b.Reset(batch.Options{Codec: batch.LZ4})
	b.Append(0, []byte("k"), bytes.Repeat([]byte("two"), 50))
	two, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var r batch.Reader
	var kept [][]byte
	for _, b := range []batch.Batch{one, two} {
		if err := eachRecord(b, &r, func(_ int64, rec *batch.Record) error {
			kept = append(kept, rec.Value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(kept[0], []byte("one")) || !bytes.HasPrefix(kept[1], []byte("two")) {
		t.Errorf("values changed: %.3s %.3s", kept[0], kept[1])
	}
}
