package coord

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/batch"
)

// session is one life of a machine: from a load to the next failure. All of it but committed and
// lost belongs to the shard's goroutine.
type session[M Machine] struct {
	sh *shard[M]
	m  M

	next   int64    // the offset that the next record gets, staged ones included
	staged []Record // replayed, to be appended by the next flush
	size   int      // what the staged records come to, uncompressed
	parked parkedQueue

	builder batch.Builder
	reader  batch.Reader // of the load

	inputs []input[M]  // of the round that goes on
	timer  *time.Timer // runs while something has a deadline; nil where Step is called instead

	committed atomic.Int64
	lost      atomic.Pointer[error]
}

func newSession[M Machine](sh *shard[M], m M) *session[M] {
	s := &session[M]{sh: sh, m: m}
	s.committed.Store(-1)
	return s
}

// serve runs the mailbox until the shard is halted (nil) or lost.
func (s *session[M]) serve() (err error) {
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()
	if err := s.begin(); err != nil {
		return err
	}
	for {
		if err := s.round(); err != nil {
			return err
		}
		select {
		case <-s.sh.stop:
			return nil
		case <-s.sh.wake:
		case <-s.timer.C:
		}
	}
}

// begin tells the machine that its log is replayed.
func (s *session[M]) begin() (err error) {
	defer recovered(&err)
	now := s.sh.rt.o.Clock.Now()
	return s.stage(now, s.m.Loaded(now))
}

// round gives the machine what waits in the mailbox.
func (s *session[M]) round() (err error) {
	s.inputs = s.sh.take(s.inputs[:0])
	ran := 0
	// What was taken and not finished, because a machine panicked or an append failed, is failed.
	defer func() { s.sh.fail(s.inputs[ran:], lossError(err)) }()
	defer recovered(&err)
	for ran < len(s.inputs) {
		in := s.inputs[ran]
		s.inputs[ran] = input[M]{}
		ran++
		if err := s.run(in); err != nil {
			return err
		}
	}
	return s.settle()
}

// run gives the machine one operation.
func (s *session[M]) run(in input[M]) error {
	now := s.sh.rt.o.Clock.Now()
	s.sh.rt.metrics.operations.Inc()
	s.sh.rt.metrics.waited(now.Sub(in.at))
	res, err := s.call(in, now)
	if err != nil {
		return err
	}
	return s.stage(now, res)
}

// call runs the operation; one that panics is told that its shard is lost, if it can still listen.
func (s *session[M]) call(in input[M], now time.Time) (res Result, err error) {
	defer func() {
		if err != nil {
			var again error
			defer recovered(&again)
			in.fail(lossError(err))
		}
	}()
	defer recovered(&err)
	return in.op(s.m, now), nil
}

// settle ends a run of inputs: due timers, one append for all that was staged, the replies that have
// become safe, and the timer for what comes next.
func (s *session[M]) settle() error {
	now := s.sh.rt.o.Clock.Now()
	res, next := s.m.Tick(now)
	if err := s.stage(now, res); err != nil {
		return err
	}
	if err := s.flush(now); err != nil {
		return err
	}
	if err := s.lost.Load(); err != nil {
		return *err
	}
	s.parked.release(s.committed.Load())
	if d := s.sh.rt.o.CommitTimeout; d > 0 {
		s.parked.expire(now.Add(-d))
		if at, ok := s.parked.oldest(); ok && (next.IsZero() || at.Add(d).Before(next)) {
			next = at.Add(d)
		}
	}
	s.sh.parked.Store(int64(s.parked.len()))
	s.arm(now, next)
	return nil
}

// arm sets the timer; a shard that waits for nothing has none.
func (s *session[M]) arm(now, next time.Time) {
	if s.timer == nil {
		return
	}
	s.timer.Stop()
	if !next.IsZero() {
		s.timer.Reset(max(next.Sub(now), 0))
	}
}

// stage replays what a machine wants written and puts it aside for the next append. A transactional
// batch and a marker are appended at once and replayed afterwards, because the partition may refuse
// them.
func (s *session[M]) stage(now time.Time, res Result) error {
	var err error
	switch {
	case len(res.Records) == 0:
	case res.Txn != nil:
		err = s.appendTxn(now, *res.Txn, res.Records, res.Guard)
	default:
		err = s.stageRecords(now, res.Records)
	}
	if err == nil && res.Marker != nil {
		err = s.appendMarker(now, *res.Marker)
	}
	if err == nil {
		s.parked.push(s.next, now, res.Done)
		return nil
	}
	if rejection(err) {
		callAll(res.Done, err)
		return nil
	}
	callAll(res.Done, lossError(err))
	return err
}

// recordOverhead is the most that one record takes beside its key and value.
const recordOverhead = 40

func sizeOf(records []Record) int {
	n := 0
	for _, r := range records {
		n += recordOverhead + len(r.Key) + len(r.Value)
	}
	return n
}

func (s *session[M]) stageRecords(now time.Time, records []Record) error {
	size := sizeOf(records)
	limit := s.sh.rt.o.MaxBatchBytes - batch.HeaderSize
	if s.size+size > limit {
		if err := s.flush(now); err != nil {
			return err
		}
	}
	if size > limit {
		// Alone it may still fit, once it is compressed.
		b, err := s.build(now, records, NoTxn)
		if err != nil {
			return err
		}
		if len(b) > s.sh.rt.o.MaxBatchBytes {
			return kerr.MessageTooLarge
		}
	}
	s.staged = append(s.staged, records...)
	s.size += size
	return s.replay(NoTxn, records)
}

// replay shows records to the machine as the next ones of the log.
func (s *session[M]) replay(txn Txn, records []Record) error {
	for _, r := range records {
		if err := s.m.Replay(s.next, txn, r); err != nil {
			return fatalError{fmt.Errorf("replay of the record at offset %d: %w", s.next, err)}
		}
		s.next++
	}
	return nil
}

// flush appends what was staged. When that fails the machine knows what the log does not, so the
// session is over.
func (s *session[M]) flush(now time.Time) error {
	if len(s.staged) == 0 {
		return nil
	}
	records := s.staged
	b, err := s.build(now, records, NoTxn)
	if err == nil {
		err = s.append(now, b, s.next-int64(len(records)), len(records), AppendOptions{})
	}
	clear(s.staged)
	s.staged, s.size = s.staged[:0], 0
	if err != nil {
		return fatalError{err}
	}
	return nil
}

func (s *session[M]) appendTxn(now time.Time, txn Txn, records []Record, guard uint64) error {
	if err := s.flush(now); err != nil {
		return err
	}
	b, err := s.build(now, records, txn)
	if err != nil {
		return err
	}
	if len(b) > s.sh.rt.o.MaxBatchBytes {
		return kerr.MessageTooLarge
	}
	if err := s.append(now, b, s.next, len(records), AppendOptions{Guard: guard}); err != nil {
		return err
	}
	return s.replay(txn, records)
}

func (s *session[M]) appendMarker(now time.Time, m Marker) error {
	if err := s.flush(now); err != nil {
		return err
	}
	o := AppendOptions{TransactionVersion: m.TransactionVersion}
	if err := s.append(now, BuildMarker(now, m), s.next, 1, o); err != nil {
		return err
	}
	s.next++
	s.m.ReplayMarker(m.Txn, m.Commit)
	return nil
}

// append writes one batch whose first record must get the offset first, and watches for its commit.
func (s *session[M]) append(now time.Time, b batch.Batch, first int64, records int, o AppendOptions) error {
	size := len(b)
	last, err := s.sh.part.Append(now, b, o)
	if err != nil {
		return fmt.Errorf("append of %d records: %w", records, err)
	}
	s.sh.rt.metrics.appended(records, size)
	if want := first + int64(records) - 1; last != want {
		return fmt.Errorf("append ended at offset %d, expected %d: %w", last, want, errForeignWrite)
	}
	s.await(last + 1)
	return nil
}

// await notes when the high watermark has reached until.
func (s *session[M]) await(until int64) {
	s.sh.part.Await(until, func(err error) {
		if err != nil {
			s.lost.CompareAndSwap(nil, &err)
		}
		for err == nil {
			was := s.committed.Load()
			if was >= until || s.committed.CompareAndSwap(was, until) {
				break
			}
		}
		s.sh.signal()
	})
}

// end throws the session away: every reply that it holds fails with err.
func (s *session[M]) end(err error) {
	var panicked error
	defer func() {
		if panicked != nil {
			s.sh.rt.o.Logger.Error("unloading a shard failed", "coordinator", s.sh.rt.o.Name,
				"shard", s.sh.id, "err", panicked)
		}
	}()
	defer recovered(&panicked)
	s.sh.parked.Store(0)
	s.parked.fail(err)
	s.m.Unload(err)
}
