package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/logstead/logstead/internal/proto/batch"
)

// side is one of the two brokers, and what its producers have come to there.
type side struct {
	name, addr string
	process    process
	cl         *kgo.Client
	adm        *kadm.Client
	producers  map[int]*producer
	names      map[int64]string // of producers, by id
}

// producer is an idempotent or transactional one as this broker knows it.
type producer struct {
	id    int64
	epoch int16
}

// patience is how long a broker may say that it is not ready, answerLimit how long it may take for what was asked: a machine that is
// busy with other things makes it slow, which is not what is compared.
const (
	patience    = 3 * time.Minute
	answerLimit = time.Minute
)

func newSide(name, addr string, p process) *side {
	return &side{name: name, addr: addr, process: p, producers: map[int]*producer{}, names: map[int64]string{}}
}

// connect makes the client once the broker answers.
func (s *side) connect(ctx context.Context) error {
	if s.cl != nil {
		s.cl.Close()
	}
	var err error
	s.cl, err = kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.MaxVersions(byName()), kgo.MetadataMinAge(50*time.Millisecond), kgo.RetryTimeout(patience), kgo.RequestTimeoutOverhead(answerLimit))
	if err != nil {
		return err
	}
	s.adm = kadm.NewClient(s.cl)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		md, err := s.adm.BrokerMetadata(ctx)
		if err == nil && len(md.Brokers) > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s does not answer: %w", s.name, errors.Join(err, ctx.Err()))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// byName are the last versions that name topics and, for transactions, those of clients before KIP-890.
func byName() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(int16(kmsg.Produce), 9)
	v.SetMaxKeyVersion(int16(kmsg.Fetch), 12)
	v.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3)
	v.SetMaxKeyVersion(int16(kmsg.EndTxn), 3)
	return v
}

func (s *side) close() error {
	if s.cl != nil {
		s.cl.Close()
	}
	return s.process.Kill()
}

// transient are answers of a broker that is still coming up.
var transient = []*kerr.Error{
	kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.CoordinatorLoadInProgress,
	kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions, kerr.OffsetNotAvailable,
}

// settled asks until the answer is none of a broker that is not ready.
func settled(ctx context.Context, ask func() (code int16, text string, err error)) (string, error) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		code, text, err := ask()
		if err == nil && !isTransient(code) {
			return text, nil
		}
		if ctx.Err() != nil || time.Since(began) > patience {
			return text, errors.Join(err, ctx.Err(), kerr.ErrorForCode(code))
		}
	}
}

func isTransient(code int16) bool {
	for _, e := range transient {
		if e.Code == code {
			return true
		}
	}
	return false
}

func codeText(code int16) string {
	if err := kerr.ErrorForCode(code); err != nil {
		return strings.SplitN(err.Error(), ":", 2)[0]
	}
	return "ok"
}

// produce sends one batch.
func (s *side) produce(ctx context.Context, topic, txnID string, b batch.Batch) (string, error) {
	return settled(ctx, func() (int16, string, error) {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, int32(answerLimit.Milliseconds())
		if txnID != "" {
			req.TransactionID = &txnID
		}
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = append([]byte(nil), b...)
		t := kmsg.NewProduceRequestTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, s.cl)
		if err != nil {
			return 0, "", err
		}
		r := resp.Topics[0].Partitions[0]
		return r.ErrorCode, fmt.Sprintf("%s at %d, log start %d", codeText(r.ErrorCode), r.BaseOffset, r.LogStartOffset), nil
	})
}

// initProducer gives a producer its id and epoch; txnID may be empty.
func (s *side) initProducer(ctx context.Context, n int, txnID string) (string, error) {
	return settled(ctx, func() (int16, string, error) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionTimeoutMillis = 60_000
		if txnID != "" {
			req.TransactionalID = &txnID
		}
		resp, err := req.RequestWith(ctx, s.cl)
		if err != nil {
			return 0, "", err
		}
		if resp.ErrorCode == 0 {
			s.producers[n] = &producer{resp.ProducerID, resp.ProducerEpoch}
			s.names[resp.ProducerID] = fmt.Sprint("producer ", n)
		}
		return resp.ErrorCode, fmt.Sprintf("%s, epoch %d", codeText(resp.ErrorCode), resp.ProducerEpoch), nil
	})
}

// addToTxn adds a topic's partition to a transaction.
func (s *side) addToTxn(ctx context.Context, n int, txnID, topic string) (string, error) {
	return settled(ctx, func() (int16, string, error) {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = txnID, s.producers[n].id, s.producers[n].epoch
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = topic, []int32{0}
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, s.cl)
		if err != nil {
			return 0, "", err
		}
		code := resp.Topics[0].Partitions[0].ErrorCode
		return code, codeText(code), nil
	})
}

// endTxn ends a transaction and waits until its markers are written.
func (s *side) endTxn(ctx context.Context, n int, txnID string, commit bool) (string, error) {
	text, err := settled(ctx, func() (int16, string, error) {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = txnID, s.producers[n].id, s.producers[n].epoch, commit
		resp, err := req.RequestWith(ctx, s.cl)
		if err != nil {
			return 0, "", err
		}
		return resp.ErrorCode, codeText(resp.ErrorCode), nil
	})
	if err != nil {
		return text, err
	}
	for began := time.Now(); time.Since(began) < patience; time.Sleep(5 * time.Millisecond) {
		var d kadm.DescribedTransactions
		if d, err = s.adm.DescribeTransactions(ctx, txnID); err == nil {
			err = d[txnID].Err
		}
		switch state := d[txnID].State; {
		case err != nil, state == "Ongoing", state == "PrepareCommit", state == "PrepareAbort":
		default:
			return text + ", " + state, nil
		}
	}
	return text, errors.Join(fmt.Errorf("%s: the transaction of %s does not end", s.name, txnID), err)
}

// listOffset looks an offset up by time. What is as late as markers is one.
func (s *side) listOffset(ctx context.Context, topic string, ts int64, isolation int8, markers int64) (string, error) {
	return settled(ctx, func() (int16, string, error) {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID, req.IsolationLevel = -1, isolation
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.CurrentLeaderEpoch = ts, -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, s.cl)
		if err != nil {
			return 0, "", err
		}
		r := resp.Topics[0].Partitions[0]
		when := fmt.Sprint(r.Timestamp)
		if r.Timestamp >= markers {
			when = "a marker's time" // which the broker has from its clock
		}
		return r.ErrorCode, fmt.Sprintf("%s, offset %d of %s", codeText(r.ErrorCode), r.Offset, when), nil
	})
}

// bounds are the log start and the high watermark.
func (s *side) bounds(ctx context.Context, topic string) (start, end int64, err error) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		var first, last kadm.ListedOffsets
		if first, err = s.adm.ListStartOffsets(ctx, topic); err == nil {
			last, err = s.adm.ListEndOffsets(ctx, topic)
		}
		a, _ := first.Lookup(topic, 0)
		b, _ := last.Lookup(topic, 0)
		if err = errors.Join(err, a.Err, b.Err); err == nil || time.Since(began) > patience {
			return a.Offset, b.Offset, err
		}
	}
}

// deleteRecords moves the log start.
func (s *side) deleteRecords(ctx context.Context, topic string, to int64) (string, error) {
	return settled(ctx, func() (int16, string, error) {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = int32(answerLimit.Milliseconds())
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Offset = to
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, s.cl)
		if err != nil {
			return 0, "", err
		}
		r := resp.Topics[0].Partitions[0]
		return r.ErrorCode, fmt.Sprintf("%s, log start %d", codeText(r.ErrorCode), r.LowWatermark), nil
	})
}

// fetched is one answer to Fetch.
type fetched struct {
	code           int16
	hw, lso, start int64
	aborted        []abortedTxn
	batches        []byte
}

type abortedTxn struct {
	who   string
	first int64
}

// abortedIn are the aborted transactions that begin within what was read. Either broker lists some that begin behind
// it, as far as its index is coarse, which clients pass over.
func (f *fetched) abortedIn() (list []abortedTxn) {
	last := lastOffset(f.batches)
	for _, a := range f.aborted {
		if a.first <= last {
			list = append(list, a)
		}
	}
	return list
}

// fetch reads once.
func (s *side) fetch(ctx context.Context, topic string, offset int64, maxBytes int32, isolation int8) (f fetched, err error) {
	_, err = settled(ctx, func() (int16, string, error) {
		req := kmsg.NewPtrFetchRequest()
		req.ReplicaID, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = -1, maxBytes, isolation, -1
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LogStartOffset = offset, maxBytes, -1, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, s.cl)
		if err != nil {
			return 0, "", err
		}
		if resp.ErrorCode != 0 || len(resp.Topics) == 0 {
			return resp.ErrorCode, "", fmt.Errorf("%s: fetch: %w", s.name, kerr.ErrorForCode(resp.ErrorCode))
		}
		r := resp.Topics[0].Partitions[0]
		f = fetched{code: r.ErrorCode, hw: r.HighWatermark, lso: r.LastStableOffset, start: r.LogStartOffset, batches: r.RecordBatches}
		for _, a := range r.AbortedTransactions {
			f.aborted = append(f.aborted, abortedTxn{s.names[a.ProducerID], a.FirstOffset})
		}
		return r.ErrorCode, "", nil
	})
	return f, err
}

// each gives the records of whole batches as lines of text.
func (s *side) each(b []byte, fn func(offset int64, line string)) error {
	for len(b) >= batch.HeaderSize {
		one, rest, err := batch.Next(b)
		if err != nil {
			return nil //nolint:nilerr // a fetch may end within a batch
		}
		b = rest
		if err := one.CheckCRC(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		who := "nobody"
		if one.ProducerID() >= 0 {
			who = fmt.Sprintf("%s epoch %d sequence %d", s.names[one.ProducerID()], one.ProducerEpoch(), one.BaseSequence())
		}
		for r, err := range one.Records(batch.Limits{}) {
			if err != nil {
				return fmt.Errorf("%s: batch at %d: %w", s.name, one.BaseOffset(), err)
			}
			value := r.Value
			if one.IsControl() {
				value = nil // the coordinator's epoch
			}
			when := one.Timestamp(&r)
			if one.IsControl() {
				when = 0
			}
			fn(one.Offset(&r), fmt.Sprintf("%d: %d %q=%.40q(%d) headers %v, %s, transactional %v control %v codec %v", one.Offset(&r), when, r.Key,
				value, len(value), len(r.Headers), who, one.IsTransactional(), one.IsControl(), one.Codec()))
		}
	}
	return nil
}
