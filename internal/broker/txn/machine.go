package txn

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

// Config are the broker's settings that the coordinator goes by.
type Config struct {
	// MaxTimeout bounds what a producer may ask for (transaction.max.timeout.ms).
	MaxTimeout time.Duration
	// AbortInterval is the grid on which time-outs are noticed
	// (transaction.abort.timed.out.transaction.cleanup.interval.ms).
	AbortInterval time.Duration
	// IDExpiration forgets an id that has had no transaction for so long
	// (transactional.id.expiration.ms).
	IDExpiration time.Duration
	// ExpireInterval is how often expired ids are looked for
	// (transaction.remove.expired.transaction.cleanup.interval.ms).
	ExpireInterval time.Duration
	// TwoPhaseCommit is transaction.two.phase.commit.enable.
	TwoPhaseCommit bool
}

// DefaultConfig is Kafka's.
func DefaultConfig() Config {
	return Config{
		MaxTimeout:     15 * time.Minute,
		AbortInterval:  10 * time.Second,
		IDExpiration:   7 * 24 * time.Hour,
		ExpireInterval: time.Hour,
	}
}

// Outbox takes the markers that a machine wants written. Neither method waits.
type Outbox interface {
	// Send has m written to each of its partitions and then Machine.MarkersWritten called with it.
	Send(m Markers)
	// Drop forgets what a shard has sent: it is not this broker's any more, or it will send again.
	Drop(shard int32)
}

// Markers is the decision about one transaction, to be told to its partitions.
type Markers struct {
	Shard              int32
	TransactionalID    string
	ProducerID         int64
	ProducerEpoch      int16
	CoordinatorEpoch   int32
	TransactionVersion int8
	Commit             bool
	Partitions         []base.TopicPartition // not to be changed
}

// Marker is the control marker for each of m's partitions.
func (m *Markers) Marker() coord.Marker {
	return coord.Marker{
		Txn:                coord.Txn{ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch},
		CoordinatorEpoch:   m.CoordinatorEpoch,
		TransactionVersion: m.TransactionVersion,
		Commit:             m.Commit,
	}
}

// Options of New.
type Options struct {
	Shard            int32
	CoordinatorEpoch int32 // the leader epoch of the shard's partition; goes into the markers
	Logger           *slog.Logger
	Config           func() Config
	// ServerVersion is the finalised transaction.version of the cluster.
	ServerVersion func() int16
	// NextProducerID hands out a producer id without waiting; an error is retriable.
	NextProducerID func() (int64, error)
	Outbox         Outbox
}

// txn is one transactional id.
type txn struct {
	id string
	meta

	// lastEpoch is the epoch that a producer gave up in the last InitProducerId, so that its retry is
	// recognised (KIP-360). Kafka does not store it either: after a load it is unknown.
	lastEpoch int16
	waiting   []*waiter // adds that came while the transaction before was ending
}

// Machine is one shard of the transaction coordinator.
type Machine struct {
	o       Options
	txns    map[string]*txn
	ongoing map[*txn]struct{}

	nextAbort  time.Time // when a time-out may have passed, zero for never
	nextExpire time.Time // when an id may have expired, zero for never
	waiters    waiters

	// resume is what InitProducerId with an expected epoch adds to the record that it returns; Replay
	// of that record consumes it.
	resume struct {
		id        string
		lastEpoch int16
		set       bool
	}
}

var _ coord.Machine = (*Machine)(nil)

// New makes an empty shard.
func New(o Options) *Machine {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Machine{o: o, txns: map[string]*txn{}, ongoing: map[*txn]struct{}{}}
}

// Replay applies one record of the transaction log.
func (m *Machine) Replay(_ int64, _ coord.Txn, rec coord.Record) error {
	id, ok, err := decodeKey(rec.Key)
	if err != nil {
		return fmt.Errorf("transaction log key: %w", err)
	}
	if !ok {
		m.o.Logger.Warn("transaction log record of an unknown kind ignored", "shard", m.o.Shard)
		return nil
	}
	if rec.Value == nil {
		m.forget(id)
		return nil
	}
	next, ok, err := decode(rec.Value)
	if err != nil {
		return fmt.Errorf("transaction log value of %q: %w", id, err)
	}
	if !ok {
		m.o.Logger.Warn("transaction log record of an unknown version ignored", "shard", m.o.Shard,
			"transactional_id", id)
		return nil
	}
	m.apply(id, next)
	return nil
}

func (m *Machine) apply(id string, next meta) {
	t := m.txns[id]
	if t == nil {
		t = &txn{id: id, lastEpoch: noProducerEpoch}
		t.epoch = noProducerEpoch
		m.txns[id] = t
	}
	t.lastEpoch = m.lastEpochAfter(t, &next)
	t.meta = next
	delete(m.ongoing, t)
	switch {
	case t.state == Ongoing:
		m.ongoing[t] = struct{}{}
		m.watchTimeout(t)
	case t.state.idle():
		m.watchExpiration(t)
		m.waiters.wake(t)
	}
}

// lastEpochAfter says which epoch a retry may name after the transition to next.
func (m *Machine) lastEpochAfter(t *txn, next *meta) int16 {
	bumped := next.epoch != t.epoch || next.producerID != t.producerID
	switch {
	case m.resume.set && m.resume.id == t.id && next.state == Empty:
		m.resume.set = false
		return m.resume.lastEpoch
	case next.state.prepared() && next.clientVersion >= epochBump:
		return t.epoch
	case bumped && (next.state.prepared() || next.state == Empty):
		return noProducerEpoch
	}
	return t.lastEpoch
}

func (m *Machine) forget(id string) {
	if t := m.txns[id]; t != nil {
		delete(m.txns, id)
		delete(m.ongoing, t)
		m.waiters.wake(t)
	}
}

// ReplayMarker is for partitions that hold transactional records; this log has none.
func (m *Machine) ReplayMarker(coord.Txn, bool) {}

// Loaded has the markers of every decided transaction sent again.
func (m *Machine) Loaded(time.Time) coord.Result {
	var decided []*txn
	for _, t := range m.txns {
		t.lastEpoch = noProducerEpoch
		if t.state.prepared() {
			decided = append(decided, t)
		}
	}
	slices.SortFunc(decided, byID)
	var res coord.Result
	for _, t := range decided {
		res.Done = append(res.Done, m.sendMarkers(t.id, t.meta))
	}
	return res
}

// Unload fails the adds that wait and forgets the markers on their way.
func (m *Machine) Unload(err error) {
	m.waiters.fail(err)
	m.o.Outbox.Drop(m.o.Shard)
}

// sendMarkers is the Done that follows the decision t.
func (m *Machine) sendMarkers(id string, t meta) func(error) {
	return func(err error) {
		if err == nil {
			m.o.Outbox.Send(m.markers(id, &t))
		}
	}
}

func (m *Machine) markers(id string, t *meta) Markers {
	return Markers{
		Shard:              m.o.Shard,
		TransactionalID:    id,
		ProducerID:         t.producerID,
		ProducerEpoch:      t.epoch,
		CoordinatorEpoch:   m.o.CoordinatorEpoch,
		TransactionVersion: int8(t.clientVersion),
		Commit:             t.state == PrepareCommit,
		Partitions:         t.partitions,
	}
}

func (m *Machine) record(id string, t *meta) coord.Record {
	return encode(id, t, m.o.ServerVersion())
}

// answer is a Result that writes nothing and answers once what it was read from is committed.
func answer(fn func(err error)) coord.Result {
	return coord.Result{Done: []func(error){fn}}
}

// logError is what a failed write to the transaction log tells a client.
func logError(err error) error {
	if err == error(kerr.MessageTooLarge) {
		return kerr.UnknownServerError
	}
	return err
}
