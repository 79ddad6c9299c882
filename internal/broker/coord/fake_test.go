package coord

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

// fakePartition is a log in memory whose high watermark the test moves.
type fakePartition struct {
	mu struct {
		sync.Mutex
		log     []batch.Batch
		next    int64
		hw      int64
		manual  bool // the high watermark stays until commit
		waiting []fakeWaiter
		appends int
		fail    error            // of every append
		refuse  map[int64]error  // of transactional batches, by producer
		guards  map[int64]uint64 // seen, by producer
		scanErr error
		scans   int
	}
}

type fakeWaiter struct {
	until int64
	fn    func(error)
}

func (p *fakePartition) Append(_ time.Time, b batch.Batch, o AppendOptions) (int64, error) {
	p.mu.Lock()
	p.mu.appends++
	if p.mu.fail != nil {
		defer p.mu.Unlock()
		return -1, p.mu.fail
	}
	if err := p.mu.refuse[b.ProducerID()]; err != nil && b.IsTransactional() {
		defer p.mu.Unlock()
		return -1, err
	}
	if o.Guard != 0 {
		if p.mu.guards == nil {
			p.mu.guards = map[int64]uint64{}
		}
		p.mu.guards[b.ProducerID()] = o.Guard
	}
	b = slices.Clone(b)
	b.SetBaseOffset(p.mu.next)
	p.mu.log = append(p.mu.log, b)
	p.mu.next = b.LastOffset() + 1
	last := b.LastOffset()
	manual := p.mu.manual
	p.mu.Unlock()
	if err := b.CheckCRC(); err != nil {
		return -1, err
	}
	if !manual {
		p.commit()
	}
	return last, nil
}

// commit moves the high watermark to the end of the log.
func (p *fakePartition) commit() {
	p.mu.Lock()
	p.mu.hw = p.mu.next
	p.mu.Unlock()
	p.fire(nil)
}

// lose ends the partition for those who wait.
func (p *fakePartition) lose(err error) {
	p.mu.Lock()
	p.mu.hw = 1 << 60
	p.mu.Unlock()
	p.fire(err)
	p.mu.Lock()
	p.mu.hw = p.mu.next
	p.mu.Unlock()
}

func (p *fakePartition) fire(err error) {
	p.mu.Lock()
	var due []fakeWaiter
	p.mu.waiting = slices.DeleteFunc(p.mu.waiting, func(w fakeWaiter) bool {
		if w.until <= p.mu.hw {
			due = append(due, w)
			return true
		}
		return false
	})
	p.mu.Unlock()
	for _, w := range due {
		w.fn(err)
	}
}

func (p *fakePartition) Await(until int64, fn func(error)) {
	p.mu.Lock()
	p.mu.waiting = append(p.mu.waiting, fakeWaiter{until, fn})
	p.mu.Unlock()
	p.fire(nil)
}

func (p *fakePartition) Scan(fn func(batch.Batch) error) error {
	p.mu.Lock()
	p.mu.scans++
	log, err := slices.Clone(p.mu.log), p.mu.scanErr
	p.mu.Unlock()
	if err != nil {
		return err
	}
	for _, b := range log {
		if err := fn(slices.Clone(b)); err != nil {
			return err
		}
	}
	return nil
}

func (p *fakePartition) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// fakeMachine is a map with records of key and value.
type fakeMachine struct {
	values  map[string]string
	pending map[int64]map[string]string // of open transactions
	offsets []int64
	loaded  bool
	ticks   atomic.Int64
	alarm   time.Time // when Tick writes "alarm"
	parked  []func(error)
	poison  string // a key that Replay refuses
}

func newFakeMachine() *fakeMachine {
	return &fakeMachine{values: map[string]string{}, pending: map[int64]map[string]string{}}
}

func (m *fakeMachine) Replay(offset int64, txn Txn, rec Record) error {
	if m.poison != "" && string(rec.Key) == m.poison {
		return errors.New("poisoned")
	}
	m.offsets = append(m.offsets, offset)
	into := m.values
	if txn.Transactional() {
		if m.pending[txn.ProducerID] == nil {
			m.pending[txn.ProducerID] = map[string]string{}
		}
		into = m.pending[txn.ProducerID]
	}
	if rec.Value == nil {
		delete(into, string(rec.Key))
		return nil
	}
	into[string(rec.Key)] = string(rec.Value)
	return nil
}

func (m *fakeMachine) ReplayMarker(txn Txn, commit bool) {
	if commit {
		maps.Copy(m.values, m.pending[txn.ProducerID])
	}
	delete(m.pending, txn.ProducerID)
}

func (m *fakeMachine) Loaded(time.Time) Result {
	m.loaded = true
	return Result{}
}

func (m *fakeMachine) Tick(now time.Time) (Result, time.Time) {
	m.ticks.Add(1)
	if m.alarm.IsZero() || now.Before(m.alarm) {
		return Result{}, m.alarm
	}
	m.alarm = time.Time{}
	return put("alarm", "rang"), time.Time{}
}

func (m *fakeMachine) Unload(err error) {
	for _, fn := range m.parked {
		fn(err)
	}
}

func (m *fakeMachine) String() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m.values)) {
		out = append(out, k+"="+m.values[k])
	}
	return strings.Join(out, " ")
}

func put(key, value string) Result {
	return Result{Records: []Record{{Key: []byte(key), Value: []byte(value)}}}
}

// outcome collects what Done and fail were called with.
type outcome struct {
	mu    sync.Mutex
	calls []string
}

func (o *outcome) done(name string) func(error) {
	return func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if err != nil {
			name += fmt.Sprintf("!%s", shortError(err))
		}
		o.calls = append(o.calls, name)
	}
}

func (o *outcome) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.calls, " ")
}

func (o *outcome) take() string {
	s := o.String()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = nil
	return s
}
