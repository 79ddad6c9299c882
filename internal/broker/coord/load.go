package coord

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/logstead/logstead/internal/proto/batch"
)

var errHalted = errors.New("the shard was unloaded")

// load replays the partition's log into a new machine.
func (sh *shard[M]) load() (s *session[M], err error) {
	select {
	case sh.rt.loads <- struct{}{}:
		defer func() { <-sh.rt.loads }()
	case <-sh.stop:
		return nil, errHalted
	}
	defer recovered(&err)
	start := sh.rt.o.Clock.Now()
	s = newSession(sh, sh.newMachine())
	records, err := s.replayLog()
	if err != nil {
		s.m.Unload(lossError(err))
		return nil, fmt.Errorf("replay: %w", err)
	}
	s.await(s.next)
	took := sh.rt.o.Clock.Now().Sub(start)
	sh.rt.metrics.loadSeconds.Observe(took.Seconds())
	sh.rt.o.Logger.Debug("coordinator shard loaded", "coordinator", sh.rt.o.Name, "shard", sh.id,
		"records", records, "took", took)
	sh.setStatus(statusActive)
	return s, nil
}

// replayLog feeds every record of the log to the machine and says how many there were.
func (s *session[M]) replayLog() (records int, err error) {
	err = s.sh.part.Scan(func(b batch.Batch) error {
		if s.sh.halted() {
			return errHalted
		}
		records += int(b.Count())
		return s.replayBatch(b)
	})
	return records, err
}

func (s *session[M]) replayBatch(b batch.Batch) error {
	s.next = b.LastOffset() + 1
	txn := NoTxn
	if b.IsTransactional() {
		txn = Txn{ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch()}
	}
	return eachRecord(b, &s.reader, func(offset int64, rec *batch.Record) error {
		if !b.IsControl() {
			return s.m.Replay(offset, txn, Record{Key: rec.Key, Value: rec.Value})
		}
		if kind, ok := rec.Control(); ok && (kind == batch.Commit || kind == batch.Abort) {
			s.m.ReplayMarker(txn, kind == batch.Commit)
		}
		return nil
	})
}

// recovered turns a panic of a machine into the loss of its shard: what it knew is not to be
// trusted, what its log says is.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("machine panicked: %v\n%s", p, debug.Stack())
	}
}
