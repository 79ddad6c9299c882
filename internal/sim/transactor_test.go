package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// transaction is one transaction as its client knows it.
type transaction struct {
	n       int
	values  []string // acknowledged
	sent    []string // all
	commits bool     // it asked for a commit; else for an abort
	ended   bool     // and was told that it is done
	asked   bool
	offset  int64 // that it commits for the group of its client, if that was acknowledged; -1 for none
}

// transactor is a transactional producer of transactions v2 (KIP-890). Its requests may come late and twice.
type transactor struct {
	w       *world
	id      string
	pid     int64
	epoch   int16
	seqs    map[tp]int32
	done    []*transaction
	now     *transaction
	left    int // batches until it ends
	attempt int
	ends    int // since the faults ended
}

func (w *world) transact() {
	if !w.opts.coordinators {
		return
	}
	for i := range w.opts.transactors {
		t := &transactor{w: w, id: txnID(i), pid: -1}
		w.transactors = append(w.transactors, t)
		t.init()
	}
	c := &committer{w: w}
	w.committer = c
	c.commit()
}

// request sends something to who leads k; answer hears the first answer, or RequestTimedOut.
func (w *world) request(k tp, attempt *int, serve func(n *node, reply func(any)), answer func(any, error)) {
	w.requestFor(patience, k, attempt, serve, answer)
}

func (w *world) requestFor(
	patience time.Duration, k tp, attempt *int, serve func(n *node, reply func(any)), answer func(any, error),
) {
	*attempt++
	mine := *attempt
	settle := func(v any, err error) {
		if *attempt == mine {
			*attempt++
			answer(v, err)
		}
	}
	w.after(patience, func() { settle(nil, kerr.RequestTimedOut) })
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	to := n.leaderOf(k)
	if !n.up || to < 1 {
		return
	}
	w.send(client, to, func() {
		t := w.node(to)
		boot := t.boot
		t.act(func() {
			serve(t, func(v any) {
				if !t.doomed && t.boot == boot {
					w.send(to, client, func() { settle(v, nil) })
				}
			})
		})
	})
}

func (t *transactor) again(fn func()) {
	t.w.after(t.w.between(20*time.Millisecond, 120*time.Millisecond), fn)
}

// init asks for an epoch, which fences the one before and aborts what it left open.
func (t *transactor) init() {
	w := t.w
	if t.now != nil {
		t.done, t.now = append(t.done, t.now), nil
	}
	if w.stopped {
		return
	}
	req := kmsg.NewInitProducerIdRequest()
	id := t.id
	req.TransactionalId, req.TransactionTimeoutMs, req.ProducerId, req.ProducerEpoch = &id, int32(txnTimeout.Milliseconds()), -1, -1
	w.request(txnKey, &t.attempt, func(n *node, reply func(any)) {
		n.coords.txns.Submit(0, func(m *txn.Machine, now time.Time) coord.Result {
			return m.InitProducerID(now, 6, &req, func(r *kmsg.InitProducerIdResponse) { reply(r) })
		}, func(err error) { reply(answered{err}) })
	}, func(v any, err error) {
		r, ok := v.(*kmsg.InitProducerIdResponse)
		if !ok || r.ErrorCode != 0 {
			t.again(t.init)
			return
		}
		t.pid, t.epoch = r.ProducerId, r.ProducerEpoch
		w.note("%s has producer %d, epoch %d", t.id, t.pid, t.epoch)
		t.begin()
	})
}

func (t *transactor) begin() {
	if t.w.stopped {
		return
	}
	t.now = &transaction{n: len(t.done), offset: -1}
	t.seqs, t.left = map[tp]int32{}, 1+t.w.rng.IntN(3)
	t.next()
}

// next writes another batch, or commits an offset, or ends the transaction.
func (t *transactor) next() {
	w := t.w
	if t.left == 0 {
		if t.now.offset < 0 && w.chance(0.5) {
			t.commitOffset()
			return
		}
		t.now.commits = w.chance(0.7)
		t.end()
		return
	}
	t.left--
	keys := w.written()
	k := keys[w.rng.IntN(len(keys))]
	b := batch.NewBuilder(batch.Options{Producer: &batch.Producer{ID: t.pid, Epoch: t.epoch, Sequence: t.seqs[k]}, Transactional: true})
	v := fmt.Sprintf("%s-%d-%d", t.id, t.now.n, len(t.now.sent))
	t.now.sent = append(t.now.sent, v)
	b.Append(w.now().UnixMilli(), nil, []byte(v))
	built, err := b.Build()
	if err != nil {
		panic(err)
	}
	t.send(k, slices.Clone(built), v)
}

func (t *transactor) send(k tp, b batch.Batch, v string) {
	t.w.request(k, &t.attempt, func(n *node, reply func(any)) {
		n.produceTxn(k, t.id, slices.Clone(b), func(_ int64, err error) { reply(answered{err}) })
	}, func(a any, err error) {
		if err == nil {
			err = errorOf(a, true)
		}
		switch {
		case err == nil:
			t.now.values = append(t.now.values, v)
			t.seqs[k]++
			t.w.after(t.w.between(2*time.Millisecond, 40*time.Millisecond), t.next)
		case fatal(err):
			t.w.reached("transactional produce: " + errName(err))
			t.again(t.init)
		default:
			t.again(func() { t.send(k, b, v) })
		}
	})
}

// commitOffset commits the transaction's number as the offset of the client's group.
func (t *transactor) commitOffset() {
	req := kmsg.NewTxnOffsetCommitRequest()
	req.TransactionalId, req.GroupId, req.ProducerId, req.ProducerEpoch, req.GenerationId = t.id, t.id, t.pid, t.epoch, -1
	p := kmsg.NewTxnOffsetCommitRequestTxnOffsetCommitRequestPartition()
	p.CommittedOffset = int64(t.now.n)
	req.Topics = []kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestTopic{{
		Name: topicName, Partitions: []kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestPartition{p},
	}}
	t.w.request(offsetsKey, &t.attempt, func(n *node, reply func(any)) {
		n.commitTxn(&req, func(err error) { reply(answered{err}) })
	}, func(a any, err error) {
		if err == nil {
			err = errorOf(a, true)
		}
		switch {
		case err == nil:
			t.now.offset = int64(t.now.n)
			t.next()
		case fatal(err):
			t.again(t.init)
		default:
			t.again(t.commitOffset)
		}
	})
}

// commitTxn is the TxnOffsetCommit request.
func (n *node) commitTxn(req *kmsg.TxnOffsetCommitRequest, reply func(error)) {
	p := n.parts[offsetsKey]
	if p == nil {
		reply(kerr.NotCoordinator)
		return
	}
	n.verify(offsetsKey, p, req.TransactionalId, req.ProducerId, req.ProducerEpoch, -1, func(guard storage.Guard, err error) {
		if err != nil {
			reply(err)
			return
		}
		n.coords.groups.Submit(0, func(m *group.Machine, now time.Time) coord.Result {
			r := m.TxnOffsetCommit(now, group.Context{Version: 5}, req, func(resp *kmsg.TxnOffsetCommitResponse) {
				reply(kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
			})
			r.Guard = uint64(guard)
			return r
		}, reply)
	})
}

// end asks for the end of the transaction until there is an answer.
func (t *transactor) end() {
	w, now := t.w, t.now
	now.asked = true
	req := kmsg.NewEndTxnRequest()
	req.TransactionalId, req.ProducerId, req.ProducerEpoch, req.Committed = t.id, t.pid, t.epoch, now.commits
	w.request(txnKey, &t.attempt, func(n *node, reply func(any)) {
		n.coords.txns.Submit(0, func(m *txn.Machine, at time.Time) coord.Result {
			return m.EndTxn(at, 5, &req, func(r *kmsg.EndTxnResponse) { reply(r) })
		}, func(err error) { reply(answered{err}) })
	}, func(v any, err error) {
		r, ok := v.(*kmsg.EndTxnResponse)
		if ok {
			err = kerr.ErrorForCode(r.ErrorCode)
		} else if err == nil {
			err = errorOf(v, true)
		}
		switch {
		case err == nil:
			now.ended = true
			t.ends++
			t.pid, t.epoch = r.ProducerId, r.ProducerEpoch
			w.note("%s: transaction %d has ended, commit %v", t.id, now.n, now.commits)
			w.reached(map[bool]string{true: "a transaction was committed", false: "a transaction was aborted"}[now.commits])
			t.done, t.now = append(t.done, now), nil
			w.after(w.between(5*time.Millisecond, 60*time.Millisecond), t.begin)
		case fatal(err):
			w.reached("EndTxn: " + errName(err))
			t.again(t.init)
		default:
			if errors.Is(err, kerr.RequestTimedOut) {
				w.reached("an EndTxn was sent again")
			}
			t.again(t.end)
		}
	})
}

// committer commits rising offsets for a group without members, and reads them back. It gives a connection up
// before it asks again: what had not arrived then never does.
type committer struct {
	w       *world
	next    int64 // to be committed
	acked   int64 // the highest that was acknowledged
	epoch   int32 // the coordinator's leader epoch then: one that was deposed before does not know of it
	acks    int   // since the faults ended
	attempt int
}

const committerGroup = "g"

func (c *committer) commit() {
	w := c.w
	if w.stopped {
		return
	}
	c.next++
	req := kmsg.NewOffsetCommitRequest()
	req.GroupId, req.GenerationIdOrMemberEpoch, req.RetentionTimeMs = committerGroup, -1, -1
	p := kmsg.NewOffsetCommitRequestOffsetCommitRequestPartition()
	p.CommittedOffset = c.next
	req.Topics = []kmsg.OffsetCommitRequestOffsetCommitRequestTopic{{
		Name: topicName, Partitions: []kmsg.OffsetCommitRequestOffsetCommitRequestPartition{p},
	}}
	mine := c.attempt + 1
	w.request(offsetsKey, &c.attempt, func(n *node, reply func(any)) {
		if c.attempt != mine {
			return
		}
		n.coords.groups.Submit(0, func(m *group.Machine, now time.Time) coord.Result {
			return m.OffsetCommit(now, group.Context{Version: 8}, &req, func(r *kmsg.OffsetCommitResponse) {
				reply(atEpoch{kerr.ErrorForCode(r.Topics[0].Partitions[0].ErrorCode), -1, n.epochOf(offsetsKey)})
			})
		}, func(err error) { reply(answered{err}) })
	}, func(v any, err error) {
		a, ok := v.(atEpoch)
		if err == nil {
			err = errorOf(v, true)
		}
		if ok {
			err = a.err
		}
		if err != nil {
			w.reached("commit: " + errName(err))
			w.after(w.between(20*time.Millisecond, 100*time.Millisecond), c.commit)
			return
		}
		c.acked, c.epoch = c.next, a.epoch
		c.acks++
		w.reached("an offset was committed")
		c.fetch()
	})
}

// fetch reads the group's offset: the last that was acknowledged, for nothing was sent since.
func (c *committer) fetch() {
	w := c.w
	if w.stopped {
		return
	}
	w.fetchOffset(committerGroup, &c.attempt, func(offset int64, epoch int32, ok bool) {
		if ok && epoch < c.epoch {
			w.reached("a deposed coordinator answered")
		}
		if !ok || epoch < c.epoch {
			w.after(w.between(20*time.Millisecond, 100*time.Millisecond), c.fetch)
			return
		}
		if offset != c.acked {
			w.fail("group %s: the committed offset is %d, %d was acknowledged and nothing was committed since", committerGroup, offset, c.acked)
			return
		}
		w.after(w.between(5*time.Millisecond, 200*time.Millisecond), c.commit)
	})
}

// atEpoch is an answer of a group coordinator that leads in an epoch.
type atEpoch struct {
	err    error
	offset int64
	epoch  int32
}

// epochOf is the leader epoch of a replica here, -1 where there is none any more.
func (n *node) epochOf(k tp) int32 {
	if p := n.parts[k]; p != nil {
		return p.LeaderEpoch()
	}
	return -1
}

// fetchOffset asks for a group's offset of the first partition of the topic, that of no open transaction.
func (w *world) fetchOffset(id string, attempt *int, then func(offset int64, epoch int32, ok bool)) {
	req := kmsg.NewOffsetFetchRequestOffsetFetchRequestGroup()
	req.GroupId = id
	req.Topics = []kmsg.OffsetFetchRequestOffsetFetchRequestTopics{{Name: topicName, PartitionIndexes: []int32{0}}}
	w.request(offsetsKey, attempt, func(n *node, reply func(any)) {
		n.coords.groups.Submit(0, func(m *group.Machine, now time.Time) coord.Result {
			return m.OffsetFetch(now, &req, true, func(r *group.FetchedGroup) {
				a := atEpoch{kerr.ErrorForCode(r.ErrorCode), -1, n.epochOf(offsetsKey)}
				if a.err == nil {
					a.err, a.offset = kerr.ErrorForCode(r.Topics[0].Partitions[0].ErrorCode), r.Topics[0].Partitions[0].CommittedOffset
				}
				reply(a)
			})
		}, func(err error) { reply(answered{err}) })
	}, func(v any, _ error) {
		a, ok := v.(atEpoch)
		then(a.offset, a.epoch, ok && a.err == nil)
	})
}
