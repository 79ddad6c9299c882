// Package remote is what one broker asks of another: to write the markers of ended transactions, and
// whether a partition belongs to a transaction.
//
// It owns a line to each broker and the gathering of markers that go the same way. It must not know
// the metadata: who is asked and where that broker is, the caller says.
//
// Concurrency: everything exported may be called from any goroutine. Answers come on goroutines of
// this package.
//
// Invariants:
//  1. Whatever was taken is answered exactly once, also when the broker cannot be reached.
//  2. A request that may have reached the broker is never sent again by itself: its owner does that.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Options are what New needs.
type Options struct {
	NodeID int32
	Logger *slog.Logger
	Dial   peer.Dialer
	// Address is where a broker listens for other brokers now.
	Address func(broker int32) (string, error)
	// RequestTimeout is request.timeout.ms.
	RequestTimeout time.Duration
	// Lost hears that a broker broke a connection.
	Lost func(broker int32)
}

// Brokers reaches the other brokers.
type Brokers struct {
	o  Options
	wg sync.WaitGroup
	mu struct {
		sync.Mutex
		closed bool
		lines  map[int32]*line
	}
}

// maxMarkers bounds the markers of one request, maxWaiting those that wait for one broker.
const (
	maxMarkers = 1000
	maxWaiting = 100_000
)

// line is the way to one broker.
type line struct {
	b       *Brokers
	id      int32
	markers *peer.Client // its requests wait for a high watermark there
	asks    *peer.Client
	mu      struct {
		sync.Mutex
		waiting []marker
		sending bool
	}
}

type marker struct {
	tp   base.TopicPartition
	m    coord.Marker
	done func(error)
}

// New returns the brokers, none connected yet.
func New(o Options) *Brokers {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Brokers{o: o}
	b.mu.lines = map[int32]*line{}
	return b
}

// Close ends every line and waits for their goroutines.
func (b *Brokers) Close() {
	b.mu.Lock()
	b.mu.closed = true
	lines := b.mu.lines
	b.mu.lines = nil
	b.mu.Unlock()
	for _, l := range lines {
		l.markers.Close()
		l.asks.Close()
	}
	b.wg.Wait()
}

func (b *Brokers) line(id int32) *line {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return nil
	}
	l := b.mu.lines[id]
	if l == nil {
		l = &line{b: b, id: id}
		l.markers, l.asks = b.client(id, "markers"), b.client(id, "verify")
		b.mu.lines[id] = l
	}
	return l
}

func (b *Brokers) client(id int32, what string) *peer.Client {
	o := peer.Options{
		Address: func() (string, error) { return b.o.Address(id) }, Dial: b.o.Dial, Logger: b.o.Logger,
		ClientID: fmt.Sprintf("broker-%d-%s", b.o.NodeID, what), RequestTimeout: b.o.RequestTimeout,
	}
	if b.o.Lost != nil {
		o.Lost = func(error) { b.o.Lost(id) }
	}
	return peer.New(o)
}

// start runs fn unless the brokers are closed.
func (b *Brokers) start(fn func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return false
	}
	b.wg.Go(fn)
	return true
}

// WriteMarker has a broker write a marker to a partition it leads; done is called once that is
// committed there, or failed.
func (b *Brokers) WriteMarker(broker int32, tp base.TopicPartition, m coord.Marker, done func(error)) {
	l := b.line(broker)
	if l == nil {
		done(kerr.NotLeaderForPartition)
		return
	}
	l.mu.Lock()
	if len(l.mu.waiting) >= maxWaiting {
		l.mu.Unlock()
		done(kerr.NetworkException) // its owner comes again
		return
	}
	l.mu.waiting = append(l.mu.waiting, marker{tp, m, done})
	start := !l.mu.sending
	l.mu.sending = true
	l.mu.Unlock()
	if start && !b.start(l.sendAll) {
		l.sendNone()
	}
}

// sendAll sends what waits, one request at a time.
func (l *line) sendAll() {
	for {
		l.mu.Lock()
		n := min(len(l.mu.waiting), maxMarkers)
		if n == 0 {
			l.mu.sending = false
			l.mu.Unlock()
			return
		}
		some := l.mu.waiting[:n:n]
		l.mu.waiting = l.mu.waiting[n:]
		l.mu.Unlock()
		l.send(some)
	}
}

func (l *line) sendNone() {
	l.mu.Lock()
	rest := l.mu.waiting
	l.mu.waiting, l.mu.sending = nil, false
	l.mu.Unlock()
	for _, w := range rest {
		w.done(kerr.NotLeaderForPartition)
	}
}

// send carries markers to the broker. Each is an entry of its own: an answer is found by its place.
func (l *line) send(some []marker) {
	req := kmsg.NewWriteTxnMarkersRequest()
	for _, w := range some {
		req.Markers = append(req.Markers, kmsg.WriteTxnMarkersRequestWritableTxnMarker{
			ProducerId: w.m.ProducerID, ProducerEpoch: w.m.ProducerEpoch, TransactionResult: w.m.Commit,
			CoordinatorEpoch: w.m.CoordinatorEpoch, TransactionVersion: w.m.TransactionVersion,
			Topics: []kmsg.WriteTxnMarkersRequestWritableTxnMarkerTopic{{
				Name: w.tp.Topic, PartitionIndexes: []int32{w.tp.Partition},
			}},
		})
	}
	resp, err := peer.Request[kmsg.WriteTxnMarkersResponse](context.Background(), l.markers, &req)
	if err == nil && len(resp.Markers) != len(some) {
		err = fmt.Errorf("broker %d answered %d of %d markers", l.id, len(resp.Markers), len(some))
	}
	if err != nil {
		l.b.o.Logger.Debug("markers not sent", "broker", l.id, "markers", len(some), "err", err)
	}
	for i, w := range some {
		if err != nil {
			w.done(kerr.NetworkException)
			continue
		}
		w.done(markerError(&resp.Markers[i]))
	}
}

func markerError(r *kmsg.WriteTxnMarkersResponseWritableTxnMarkerResult) error {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
	return nil
}

// addRetryPause is between two attempts to add partitions while the transaction before ends.
const addRetryPause = 20 * time.Millisecond

// AddPartitions asks the broker that coordinates a transaction to add partitions or to verify them.
func (b *Brokers) AddPartitions(broker int32, add txn.Add, reply txn.AddReply) {
	l := b.line(broker)
	if l == nil || !b.start(func() { reply(l.add(add)) }) {
		reply(kerr.CoordinatorNotAvailable, nil)
	}
}

func (l *line) add(add txn.Add) (err error, missing []base.TopicPartition) { //nolint:revive // the order of txn.AddReply
	until := time.Now().Add(add.Wait)
	for {
		err, missing = l.addOnce(add)
		if !errors.Is(err, kerr.ConcurrentTransactions) || add.VerifyOnly || !time.Now().Before(until) {
			return err, missing
		}
		time.Sleep(addRetryPause)
	}
}

func (l *line) addOnce(add txn.Add) (err error, missing []base.TopicPartition) { //nolint:revive // as above
	t := kmsg.AddPartitionsToTxnRequestAddPartitionsToTxnTransaction{
		TransactionalId: add.TransactionalID, ProducerId: add.ProducerID, ProducerEpoch: add.ProducerEpoch,
		VerifyOnly: add.VerifyOnly,
	}
	at := map[string]int{}
	for _, tp := range add.Partitions {
		i, ok := at[tp.Topic]
		if !ok {
			i = len(t.Topics)
			at[tp.Topic] = i
			t.Topics = append(t.Topics, kmsg.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{Name: tp.Topic})
		}
		t.Topics[i].Partitions = append(t.Topics[i].Partitions, tp.Partition)
	}
	req := kmsg.NewAddPartitionsToTxnRequest()
	req.Transactions = append(req.Transactions, t)
	resp, err := peer.Request[kmsg.AddPartitionsToTxnResponse](context.Background(), l.asks, &req)
	switch {
	case err != nil:
		l.b.o.Logger.Debug("coordinator not reached", "broker", l.id, "transactional_id", add.TransactionalID, "err", err)
		return kerr.NetworkException, nil
	case resp.ErrorCode != 0:
		return kerr.ErrorForCode(resp.ErrorCode), nil
	case len(resp.ResultsByTransaction) != 1:
		return kerr.UnknownServerError, nil
	}
	for _, topic := range resp.ResultsByTransaction[0].TopicResults {
		for _, p := range topic.ResultsByPartition {
			switch p.PartitionErrorCode {
			case 0, kerr.OperationNotAttempted.Code:
			case kerr.TransactionAbortable.Code:
				missing = append(missing, base.TopicPartition{Topic: topic.Name, Partition: p.PartitionIndex})
			default:
				err = kerr.ErrorForCode(p.PartitionErrorCode)
			}
		}
	}
	return err, missing
}

// Address joins what the metadata says of a listener.
func Address(host string, port int32) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }
