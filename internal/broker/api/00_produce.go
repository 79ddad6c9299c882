package api

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// Produce (key 0), versions 3 to 13.
//
// Each partition's records are exactly one batch of magic 2; partitions succeed or fail one by one.
// acks=0 is never answered: any error closes the connection. acks=1 is answered once the leader has
// written; acks=-1 once the high watermark has passed the records, which in fsync durability means
// that they are on stable storage.
//
//	v10  the current leader goes with NOT_LEADER_OR_FOLLOWER (KIP-951)
//	v12  a transactional batch adds its partition to the transaction by itself (KIP-890)
//	v13  topics by id (KIP-516)
var _ = registerHot(kmsg.KeyProduce, (*Broker).produce)

// produceVersionTopicIDs is the first version that names topics by id.
const produceVersionTopicIDs = 13

// produceCall is one Produce request under way: its answer and how many partitions still wait. It is
// used again for another request once nobody holds it, so that a request allocates next to nothing:
// the answer's slices, the items and the timer stay with it.
type produceCall struct {
	b       *Broker
	call    *Call
	resp    kmsg.ProduceResponse
	acks    int16
	refused error // why nothing of the request is done
	failed  bool
	pending atomic.Int32
	items   []produceItem
	waits   []produceWait
	timer   *time.Timer // of expire; nil until a request had to wait
	mu      sync.Mutex  // guards resp's error fields of waiting partitions against the timer
	sent    bool
}

var produceCalls = sync.Pool{New: func() any { return new(produceCall) }}

// produceItem is one partition's batch of the request.
type produceItem struct {
	topic, part int
	res         *kmsg.ProduceResponsePartitionProduceResponse
	p           *partition.Partition
	batch       batch.Batch
	write       *txnWrite // of a transactional batch
}

// produceWait is a partition that waits for its high watermark.
type produceWait struct {
	pc          *produceCall
	topic, part int
	p           *partition.Partition
	until       int64
	epoch       int32 // the leader epoch of the append
	// unsettled is the log that waits for its appender to write the journal, or nil.
	unsettled *storage.Log
}

func (b *Broker) produce(c *Call, req *kmsg.ProduceRequest) {
	pc, _ := produceCalls.Get().(*produceCall)
	pc.b, pc.call, pc.acks, pc.failed, pc.sent = b, c, req.Acks, false, false
	pc.refused = c.mayProduceTxn(req)
	pc.resp = kmsg.ProduceResponse{Responses: resize(pc.resp.Responses, len(req.TopicData))}
	for i := range req.TopicData {
		pc.openTopic(i, req)
	}
	pc.verify(req.TransactionalId)
	for i := range pc.items {
		pc.append(&pc.items[i])
	}
	pc.applyQuotas()
	// What lies in the frame or belongs to others is let go now; the answer may come much later.
	clear(pc.items)
	pc.items = pc.items[:0]
	if pc.acks == 0 {
		failed := pc.failed
		pc.recycle()
		if failed {
			c.Hangup("acks=0 request failed")
			return
		}
		c.NoReply()
		return
	}
	pc.await(time.Duration(req.TimeoutMs) * time.Millisecond)
}

// mayProduceTxn is why a request with transactional records is refused as a whole; nil if it is not, or has none.
func (c *Call) mayProduceTxn(req *kmsg.ProduceRequest) error {
	for i := range req.TopicData {
		for j := range req.TopicData[i].PartitionData {
			bt, _, err := batch.Next(req.TopicData[i].PartitionData[j].Records.Bytes)
			if err != nil || !bt.IsTransactional() {
				continue
			}
			if req.TransactionalId == nil || !c.mayTxn(auth.Write, *req.TransactionalId) {
				return kerr.TransactionalIDAuthorizationFailed
			}
			return nil
		}
	}
	return nil
}

// applyQuotas charges the request before it waits for its acks, so that the connection is not read
// while it has to wait for its quota. The time of acks=0 is not charged, as in Kafka.
func (pc *produceCall) applyQuotas() {
	c := pc.call
	if !c.metered {
		return
	}
	c.charge(quota.Produce, float64(c.frameBytes))
	if c.timed = pc.acks == 0; !c.timed {
		c.chargeTime()
	}
	c.hold()
}

// resize gives s the length n and keeps what its elements hold, for them to be used again.
func resize[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return append(s[:cap(s)], make([]T, n-cap(s))...)
}

// recycle lets go of the call. Nobody may hold it: every waiter has fired, and the timer is stopped
// or was never set.
func (pc *produceCall) recycle() {
	if cap(pc.resp.Responses) > keptTopics || cap(pc.items) > keptPartitions {
		return
	}
	for i := range pc.resp.Responses {
		if cap(pc.resp.Responses[i].PartitionResponses) > keptPartitions {
			return
		}
	}
	clear(pc.waits)
	pc.b, pc.call, pc.waits = nil, nil, pc.waits[:0]
	produceCalls.Put(pc)
}

// What a call may hold on to.
const (
	keptTopics     = 64
	keptPartitions = 1024
)

// openTopic finds the partitions of one topic of the request and takes up their batches.
func (pc *produceCall) openTopic(i int, req *kmsg.ProduceRequest) {
	b, c := pc.b, pc.call
	in, out := &req.TopicData[i], &pc.resp.Responses[i]
	*out = kmsg.ProduceResponseTopicProduceResponse{PartitionResponses: resize(out.PartitionResponses, len(in.PartitionData))}
	var topic *partition.Topic
	missing := error(kerr.UnknownTopicOrPartition)
	if c.Version >= produceVersionTopicIDs {
		out.TopicId = in.TopicId
		topic, missing = b.topicByID(in.TopicId), kerr.UnknownTopicID
	} else if topic = b.topic(in.Name); topic != nil {
		out.Name = topic.Name
	} else {
		out.Name = strings.Clone(in.Name) // the request's strings die with the frame
	}
	refused := pc.refused
	if name := in.Name; refused == nil && (topic != nil || c.Version < produceVersionTopicIDs) {
		if topic != nil {
			name = topic.Name
		}
		if !c.mayTopic(auth.Write, name) {
			refused = kerr.TopicAuthorizationFailed
		}
	}
	for j := range in.PartitionData {
		part, res := &in.PartitionData[j], &out.PartitionResponses[j]
		*res = kmsg.NewProduceResponsePartitionProduceResponse()
		res.Index, res.BaseOffset, res.LogAppendTimeMs, res.LogStartOffset = part.Index, -1, -1, -1
		if refused != nil {
			pc.fail(res, refused)
			continue
		}
		if topic == nil {
			pc.fail(res, missing)
			continue
		}
		pc.items = append(pc.items, produceItem{topic: i, part: j, res: res})
		it := &pc.items[len(pc.items)-1]
		if err := pc.open(it, topic, part, req.TransactionalId); err != nil {
			pc.fail(res, err)
			pc.items = pc.items[:len(pc.items)-1]
		}
	}
}

// open checks what Kafka checks before it looks at the log.
func (pc *produceCall) open(it *produceItem, topic *partition.Topic, in *kmsg.ProduceRequestPartitionProduceData,
	txnID *string,
) (err error) {
	if pc.acks < -1 || pc.acks > 1 {
		return kerr.InvalidRequiredAcks
	}
	if it.batch, err = oneBatch(in.Records.Bytes, pc.call.Version); err != nil {
		return err
	}
	if it.p, err = pc.b.partition(topic, in.Index); err != nil {
		return err
	}
	if it.p.Settings().Internal && pc.call.ClientID != adminClientID {
		return kerr.InvalidTopicException
	}
	if it.batch.IsTransactional() {
		if txnID == nil { // of a batch that is not the first of its partition
			return kerr.TransactionalIDAuthorizationFailed
		}
		it.write = newTxnWrite(it.p, it.batch)
	}
	return nil
}

// verify settles with the transaction coordinator whether transactional batches may be appended.
func (pc *produceCall) verify(txnID *string) {
	var writes []*txnWrite
	for i := range pc.items {
		if w := pc.items[i].write; w != nil {
			writes = append(writes, w)
		}
	}
	if len(writes) > 0 {
		pc.b.verifyProduce(pc.call, strings.Clone(*txnID), writes)
	}
}

func (pc *produceCall) append(it *produceItem) {
	o := partition.AppendOptions{Now: pc.call.Start, Sampler: &pc.call.Conn.sampler, AllInSync: pc.acks == -1, Waits: pc.acks == -1}
	if it.write != nil {
		if it.write.err != nil {
			pc.fail(it.res, it.write.err)
			return
		}
		o.Guard = it.write.guard
	}
	info, err := it.p.Append(it.batch, o)
	if err != nil {
		pc.fail(it.res, err)
		if startKnown(err) {
			it.res.LogStartOffset = it.p.Log().StartOffset()
		}
		return
	}
	it.res.BaseOffset, it.res.LogAppendTimeMs, it.res.LogStartOffset = info.BaseOffset, info.AppendTime, info.StartOffset
	if pc.acks == -1 {
		pc.waits = append(pc.waits, produceWait{pc, it.topic, it.part, it.p, info.LastOffset + 1, info.LeaderEpoch, info.Unsettled})
	}
}

// adminClientID is the client id that Kafka lets write to internal topics.
const adminClientID = "__admin_client"

// oneBatch checks what Kafka checks before it looks at the log: that the records are exactly one
// batch of magic 2.
func oneBatch(records []byte, version int16) (batch.Batch, error) {
	if len(records) == 0 {
		return nil, &batch.Error{Kerr: kerr.InvalidRecord, Msg: "a produce request must hold exactly one record batch"}
	}
	bt, rest, err := batch.Next(records)
	if err != nil {
		return nil, err
	}
	// Less than a batch behind the batch is passed over, as Kafka does.
	if _, _, err := batch.Next(rest); len(rest) > 0 && !errors.Is(err, batch.ErrShort) {
		return nil, &batch.Error{Kerr: kerr.InvalidRecord, Msg: "a produce request must hold exactly one record batch"}
	}
	if bt.Codec() == batch.Zstd && version < 7 {
		return nil, kerr.UnsupportedCompressionType
	}
	return bt, nil
}

// startKnown says whether Kafka fills in the log start offset beside an error of the log.
func startKnown(err error) bool {
	ke := kafkaError(err)
	switch ke {
	case kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.NotLeaderForPartition, kerr.MessageTooLarge,
		kerr.RecordListTooLarge, kerr.CorruptMessage, kerr.KafkaStorageError:
		return false
	}
	return ke != nil
}

func (pc *produceCall) fail(res *kmsg.ProduceResponsePartitionProduceResponse, err error) {
	pc.failed = true
	pc.b.metrics.failedProduce.Add(1)
	res.ErrorCode = pc.call.code(err)
	var be *batch.Error
	if errors.As(err, &be) {
		msg := be.Msg
		res.ErrorMessage = &msg
		for _, r := range be.Records {
			rec := kmsg.NewProduceResponseBatchIndexAndErrorMessage()
			rec.BatchIndex = r.Index
			if r.Msg != "" {
				m := r.Msg
				rec.BatchIndexErrorMessage = &m
			}
			res.RecordErrors = append(res.RecordErrors, rec)
		}
	}
	if pc.call.Version >= leaderHintVersion && wantsLeader(res.ErrorCode) {
		pc.hint(res)
	}
	// Clients that know neither the fenced producer nor its text expect the older code.
	if res.ErrorCode == kerr.ProducerFenced.Code {
		res.ErrorCode = kerr.InvalidProducerEpoch.Code
	}
}

// leaderHintVersion is the first version that tells the current leader (KIP-951).
const leaderHintVersion = 10

// hint tells who leads a partition that does not do so here. The topic is found by the response that
// the partition's belongs to.
func (pc *produceCall) hint(res *kmsg.ProduceResponsePartitionProduceResponse) {
	for i := range pc.resp.Responses {
		t := &pc.resp.Responses[i]
		for j := range t.PartitionResponses {
			if &t.PartitionResponses[j] != res {
				continue
			}
			name := t.Name
			if name == "" {
				if mt := pc.b.Image().TopicByID(t.TopicId); mt != nil {
					name = mt.Name
				}
			}
			leader, epoch, n, ok := pc.b.currentLeader(pc.call.Conn, name, res.Index)
			if !ok {
				return
			}
			res.CurrentLeader.LeaderId, res.CurrentLeader.LeaderEpoch = leader, epoch
			for _, e := range pc.resp.NodeEndpoints {
				if e.NodeId == leader {
					return
				}
			}
			if leader >= 0 {
				pc.resp.NodeEndpoints = append(pc.resp.NodeEndpoints, kmsg.ProduceResponseNodeEndpoint{
					NodeId: n.ID, Host: n.Host, Port: n.Port, Rack: n.Rack,
				})
			}
			return
		}
	}
}

// await answers once every waiting partition is committed, or at the deadline.
func (pc *produceCall) await(timeout time.Duration) {
	pc.settle()
	// Most often everything is committed already: replicated durability on a lone node, or a lone
	// request in fsync durability.
	open := pc.waits[:0]
	for _, w := range pc.waits {
		// The epoch is read last: the watermark that was seen is one of the epoch of the append.
		if w.p.HighWatermark() < w.until || w.p.LeaderEpoch() != w.epoch {
			open = append(open, w)
		}
	}
	pc.waits = open
	if len(open) == 0 {
		pc.answer()
		return
	}
	pc.pending.Store(int32(len(open)) + 1) // one for this loop, so that nobody answers under it
	pc.mu.Lock()
	if pc.timer == nil {
		pc.timer = time.AfterFunc(timeout, pc.expire)
	} else {
		pc.timer.Reset(timeout)
	}
	pc.mu.Unlock()
	for k := range open {
		open[k].p.AwaitEpoch(open[k].epoch, open[k].until, &open[k])
	}
	pc.done()
}

// settle brings to stable storage what was left to this request: by itself while nobody else has
// anything to write and the client's next request has not come, which could be appended meanwhile.
func (pc *produceCall) settle() {
	own := len(pc.waits)
	for k := range pc.waits {
		w := &pc.waits[k]
		if w.unsettled == nil {
			continue
		}
		if pc.call.Conn.more() {
			own = 0
		}
		w.unsettled.Settle(own)
		w.unsettled = nil
	}
}

// Reached is the partition's word that the high watermark is where it has to be, or never will be.
func (w *produceWait) Reached(err error) {
	pc := w.pc
	if err == nil && w.p.CheckMinInSync() != nil {
		err = kerr.NotEnoughReplicasAfterAppend
	}
	pc.mu.Lock()
	if !pc.sent && err != nil {
		res := &pc.resp.Responses[w.topic].PartitionResponses[w.part]
		res.ErrorCode = pc.call.code(err)
	}
	w.until = -1
	pc.mu.Unlock()
	pc.done()
}

func (pc *produceCall) done() {
	if pc.pending.Add(-1) == 0 {
		pc.finish()
	}
}

// expire answers with REQUEST_TIMED_OUT for the partitions that are not committed yet. Their
// records stay in the log.
func (pc *produceCall) expire() {
	pc.mu.Lock()
	if pc.sent {
		pc.mu.Unlock()
		return
	}
	for k := range pc.waits {
		if w := &pc.waits[k]; w.until >= 0 {
			pc.resp.Responses[w.topic].PartitionResponses[w.part].ErrorCode = kerr.RequestTimedOut.Code
		}
	}
	pc.sent = true
	pc.mu.Unlock()
	pc.call.Reply(&pc.resp)
}

// finish answers, unless the deadline has passed meanwhile: then the timer's goroutine may still
// look at the call, and it is not used again.
func (pc *produceCall) finish() {
	pc.mu.Lock()
	if pc.sent {
		pc.mu.Unlock()
		return
	}
	pc.sent = true
	stopped := pc.timer.Stop()
	pc.mu.Unlock()
	if stopped {
		pc.answer()
	} else {
		pc.call.Reply(&pc.resp)
	}
}

// answer replies and lets go of the call; the answer is encoded when Reply returns.
func (pc *produceCall) answer() {
	pc.call.Reply(&pc.resp)
	pc.recycle()
}
