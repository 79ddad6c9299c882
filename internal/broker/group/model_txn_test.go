package group

import (
	"slices"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// openTxn is a transaction that offsets are committed in.
type openTxn struct {
	by       *client
	pid      int64
	offsets  map[base.TopicPartition]int64 // what its producer was told is part of it
	poisoned bool                          // a commit was not answered well, so it can only be aborted
	decided  bool
	commit   bool
}

// commitTxn adds the client's progress to its transaction.
func (c *client) commitTxn() {
	if c.txn == nil {
		c.w.pids++
		c.txn = &openTxn{by: c, pid: c.w.pids, offsets: map[base.TopicPartition]int64{}}
		c.w.txns = append(c.w.txns, c.txn)
	}
	x := c.txn
	if x.decided || x.poisoned || c.delayed == c.epoch && c.classic {
		return
	}
	req := kmsg.NewTxnOffsetCommitRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId, req.GenerationId = "g", c.member, c.instance, c.epoch
	req.TransactionalId, req.ProducerId = c.name, x.pid
	offsets := map[base.TopicPartition]int64{}
	for tp, at := range c.owned {
		if at == unread {
			continue
		}
		offsets[tp] = at + 1
		req.Topics = append(req.Topics, kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestTopic{
			Name: tp.Topic, Partitions: []kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestPartition{{
				PartitionIndex: tp.Partition, CommittedOffset: at + 1, CommittedLeaderEpoch: -1,
			}},
		})
	}
	if len(offsets) == 0 {
		return
	}
	took := func(r *kmsg.TxnOffsetCommitResponse) {
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				tp := base.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}
				if p.ErrorCode != 0 {
					x.poisoned = true
					continue
				}
				x.offsets[tp] = offsets[tp]
				if _, ok := c.owned[tp]; ok {
					c.owned[tp] = offsets[tp]
				}
			}
		}
	}
	c.w.s.do(func() coord.Result {
		return c.w.s.m.TxnOffsetCommit(c.w.s.now, Context{Version: 5}, &req, answer(c, took))
	})
}

// endSomeTxn ends one transaction: as its producer decides, or by abort where that is gone. A marker
// that was lost is written again.
func (w *world) endSomeTxn() {
	if len(w.txns) == 0 || !w.calm && w.chance(70) {
		return
	}
	x := w.txns[w.r.IntN(len(w.txns))]
	if x.by.waiting && x.by.alive {
		return
	}
	if !x.decided {
		x.decided, x.commit = true, x.by.alive && !x.poisoned && w.chance(60)
		for tp, offset := range x.offsets {
			if x.commit {
				w.sent[tp] = max(w.sent[tp], offset)
			}
		}
	}
	ended := func(err error) {
		if err != nil || !slices.Contains(w.txns, x) {
			return
		}
		w.txns = slices.DeleteFunc(w.txns, func(o *openTxn) bool { return o == x })
		x.by.txn = nil
		if x.commit {
			w.txnCommits++
			for tp, offset := range x.offsets {
				w.acked[tp] = max(w.acked[tp], offset)
			}
			return
		}
		for tp := range x.by.owned {
			x.by.owned[tp] = unread // it goes back to what is committed
		}
	}
	w.s.do(func() coord.Result {
		return coord.Result{
			Marker: &coord.Marker{Txn: coord.Txn{ProducerID: x.pid}, Commit: x.commit}, Done: []func(error){ended},
		}
	})
}

// commitLate sends a commit that takes its time, perhaps until the group has a new generation. Until
// then its client, which has no answer, commits nothing more.
func (c *client) commitLate(req *kmsg.OffsetCommitRequest, offsets map[base.TopicPartition]int64) {
	c.delayed = c.epoch
	c.w.late = append(c.w.late, func() {
		if _, ok := c.w.s.m.groups["g"].(*classicGroup); !ok {
			return // a group of the new protocol may take it where the member kept the partition (KIP-1251)
		}
		c.w.s.do(func() coord.Result {
			return c.w.s.m.OffsetCommit(c.w.s.now, Context{Version: 9}, req, func(r *kmsg.OffsetCommitResponse) {
				for _, t := range r.Topics {
					for _, p := range t.Partitions {
						if tp := (base.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}); p.ErrorCode == 0 {
							c.w.acked[tp] = max(c.w.acked[tp], offsets[tp])
						}
					}
				}
			})
		})
	})
}
