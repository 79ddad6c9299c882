package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// initTxn asks for the producer id of a transactional id.
func initTxn(id string, change ...func(*vars, *kmsg.InitProducerIDRequest)) func(*vars, *kmsg.InitProducerIDRequest) {
	return func(v *vars, r *kmsg.InitProducerIDRequest) {
		r.TransactionalID, r.TransactionTimeoutMillis = ptr(exactOr(v, id)), never
		for _, c := range change {
			c(v, r)
		}
	}
}

func initiated(key string, s step) step {
	return settled(kept(s, func(v *vars, r *kmsg.InitProducerIDResponse) {
		if r.ErrorCode == 0 {
			v.kept[key], v.kept[key+" epoch"] = r.ProducerID, r.ProducerEpoch
		}
	}))
}

// as is a producer id and epoch kept under key, the epoch moved by by.
func as(v *vars, key string, by int16) (int64, int16) {
	return v.i64(key), int16(v.i64(key+" epoch")) + by
}

func addPartitions(id, key string, by int16, topic string, partitions ...int32) func(*vars, *kmsg.AddPartitionsToTxnRequest) {
	return func(v *vars, r *kmsg.AddPartitionsToTxnRequest) {
		r.TransactionalID = exactOr(v, id)
		r.ProducerID, r.ProducerEpoch = as(v, key, by)
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = v.name(topic), partitions
		r.Topics = append(r.Topics, t)
		tx := kmsg.NewAddPartitionsToTxnRequestTransaction()
		tx.TransactionalID, tx.ProducerID, tx.ProducerEpoch = r.TransactionalID, r.ProducerID, r.ProducerEpoch
		tt := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
		tt.Topic, tt.Partitions = v.name(topic), partitions
		tx.Topics = append(tx.Topics, tt)
		r.Transactions = append(r.Transactions, tx)
	}
}

func addOffsets(id, key string, by int16, group string) func(*vars, *kmsg.AddOffsetsToTxnRequest) {
	return func(v *vars, r *kmsg.AddOffsetsToTxnRequest) {
		r.TransactionalID, r.Group = exactOr(v, id), exactOr(v, group)
		r.ProducerID, r.ProducerEpoch = as(v, key, by)
	}
}

func txnCommit(id, key string, by int16, group, topic string, offset int64, change ...func(*vars, *kmsg.TxnOffsetCommitRequest)) func(*vars, *kmsg.TxnOffsetCommitRequest) {
	return func(v *vars, r *kmsg.TxnOffsetCommitRequest) {
		r.TransactionalID, r.Group, r.Generation = exactOr(v, id), exactOr(v, group), -1
		r.ProducerID, r.ProducerEpoch = as(v, key, by)
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic, t.TopicID = v.name(topic), v.id(topicIDKey(topic))
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Offset, p.LeaderEpoch, p.Metadata = offset, -1, ptr("")
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
		for _, c := range change {
			c(v, r)
		}
	}
}

func endTxn(id, key string, by int16, commit bool) func(*vars, *kmsg.EndTxnRequest) {
	return func(v *vars, r *kmsg.EndTxnRequest) {
		r.TransactionalID, r.Commit = exactOr(v, id), commit
		r.ProducerID, r.ProducerEpoch = as(v, key, by)
	}
}

// ended keeps the epoch that EndTxn hands out from version 5.
func ended(key string, s step) step {
	return settled(kept(s, func(v *vars, r *kmsg.EndTxnResponse) {
		if r.ErrorCode == 0 && r.ProducerID >= 0 {
			v.kept[key], v.kept[key+" epoch"] = r.ProducerID, r.ProducerEpoch
		}
	}))
}

// txnProduce produces a transactional batch of n records.
func txnProduce(id, key string, by int16, topic string, sequence int32, n int) func(*vars, *kmsg.ProduceRequest) {
	return func(v *vars, r *kmsg.ProduceRequest) {
		b := numbered(n).with(func(b *kmsg.RecordBatch) {
			b.Attributes |= 0x10
			b.ProducerID, b.ProducerEpoch = as(v, key, by)
			b.FirstSequence = sequence
		})
		produceBytes(v, r, topic, 0, b.bytes(), func(r *kmsg.ProduceRequest) { r.TransactionID = ptr(exactOr(v, id)) })
	}
}

func describeTxns(ids ...string) func(*vars, *kmsg.DescribeTransactionsRequest) {
	return func(v *vars, r *kmsg.DescribeTransactionsRequest) {
		for _, id := range ids {
			r.TransactionalIDs = append(r.TransactionalIDs, exactOr(v, id))
		}
	}
}

// classicTxn is a transaction's life with explicit partitions, at one version of each API.
func classicTxn(version int16) []step {
	id, g := fmt.Sprint("txn", version), fmt.Sprint("txn-group", version)
	upTo := func(most int16) int16 { return min(version, most) }
	topic := "txn"
	steps := []step{
		ask("coordinator", 3, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, id)),
		initiated(id, ask("init", version, kmsg.NewPtrInitProducerIDRequest, initTxn(id))),
		settled(ask("add partitions", upTo(3), kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, topic, 0, 1))),
		ask("produce", min(11, version+6), kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 0, 2)),
		ask("add offsets", upTo(3), kmsg.NewPtrAddOffsetsToTxnRequest, addOffsets(id, id, 0, g)),
		ask("commit offsets", upTo(4), kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, g, topic, 3)),
		ask("unstable offsets", 7, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, topic, 0)),
		ask("unstable offsets asked to be stable", 7, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, topic, 0), func(_ *vars, r *kmsg.OffsetFetchRequest) { r.RequireStable = true }),
		ask("describe while open", high, kmsg.NewPtrDescribeTransactionsRequest, describeTxns(id)),
		ask("the last stable offset", high, kmsg.NewPtrListOffsetsRequest, listOffset(topic, 0, -1, func(r *kmsg.ListOffsetsRequest, _ *kmsg.ListOffsetsRequestTopicPartition) { r.IsolationLevel = 1 })),
		ask("read committed while open", high, kmsg.NewPtrFetchRequest, fetchFrom(topic, 0, 0, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 })),
		ended(id, ask("end", upTo(4), kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, version%2 == 0))),
		settled(ask("describe when complete", high, kmsg.NewPtrDescribeTransactionsRequest, describeTxns(id))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool {
				state := r.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].State
				return state == "CompleteCommit" || state == "CompleteAbort"
			}
		}),
		settled(ask("stable offsets", 7, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, topic, 0), func(_ *vars, r *kmsg.OffsetFetchRequest) { r.RequireStable = true })),
	}
	for i := range steps {
		steps[i].name = fmt.Sprintf("%s, v%d", steps[i].name, version)
	}
	return steps
}

func txnScenarios() []scenario {
	life := makeTopic("txn", 2)
	for version := range int16(6) {
		life = append(life, classicTxn(version)...)
	}
	committed := func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 }
	life = append(life,
		ask("read committed at the end", low, kmsg.NewPtrFetchRequest, fetchFrom("txn", 0, 0, committed)),
		ask("read committed at the end", high, kmsg.NewPtrFetchRequest, fetchFrom("txn", 0, 0, committed)),
		ask("read uncommitted at the end", high, kmsg.NewPtrFetchRequest, fetchFrom("txn", 0, 0)),
		ask("read committed from the middle", high, kmsg.NewPtrFetchRequest, fetchFrom("txn", 0, 4, committed)),
		ask("its producers", high, kmsg.NewPtrDescribeProducersRequest, describeProducers("txn", 0, 1, 7)),
	)
	return []scenario{
		{"transactions", life},
		{"transactions-v2", transactionsV2()},
		{"transaction-errors", transactionErrors()},
		{"transaction-lists", transactionLists()},
	}
}

// transactionsV2 goes without explicit partitions and gets a new epoch with each end (KIP-890).
func transactionsV2() []step {
	const id, topic, g = "tv2", "tv2", "tv2-group"
	return concat(makeTopic(topic, 1), []step{
		quietly(ask("coordinator", 3, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, id))),
		initiated(id, ask("init", high, kmsg.NewPtrInitProducerIDRequest, initTxn(id))),
		settled(ask("produce", high, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 0, 2))),
		ask("produce more", high, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 2, 1)),
		settled(ask("commit offsets", 5, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, g, topic, 3))),
		ask("describe while open", high, kmsg.NewPtrDescribeTransactionsRequest, describeTxns(id)),
		ended(id, ask("commit", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, true))),
		settled(ask("commit with the epoch before", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, -1, true))),
		settled(ask("abort with the epoch before", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, -1, false))),
		settled(ask("produce with the epoch before", high, kmsg.NewPtrProduceRequest, txnProduce(id, id, -1, topic, 3, 1))),
		settled(ask("a first sequence of 5", high, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 5, 1))),
		settled(ask("produce in the new epoch", high, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 0, 1))),
		ended(id, ask("abort", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, false))),
		ended(id, ask("abort an empty one", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, false))),
		settled(ask("commit an empty one", 5, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, true))),
		ask("read committed", high, kmsg.NewPtrFetchRequest, fetchFrom(topic, 0, 0, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 })),
		settled(ask("stable offsets", 7, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, topic, 0), func(_ *vars, r *kmsg.OffsetFetchRequest) { r.RequireStable = true })),
	})
}

func transactionErrors() []step {
	const id, topic = "te", "te"
	init := func(name string, version int16, s ...func(*vars, *kmsg.InitProducerIDRequest)) step {
		return ask(name, version, kmsg.NewPtrInitProducerIDRequest, s...)
	}
	timeout := func(ms int32) func(*vars, *kmsg.InitProducerIDRequest) {
		return func(_ *vars, r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = ms }
	}
	given := func(key string, by int16) func(*vars, *kmsg.InitProducerIDRequest) {
		return func(v *vars, r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = as(v, key, by) }
	}
	v3 := func(name string, s func(*vars, *kmsg.AddPartitionsToTxnRequest)) step {
		return ask(name, 3, kmsg.NewPtrAddPartitionsToTxnRequest, s)
	}
	return concat(makeTopic(topic, 2), []step{
		quietly(ask("coordinator", 3, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, id))),
		init("an empty transactional id", low, initTxn("=")),
		init("an empty transactional id", high, initTxn("=")),
		init("a time-out of 0", low, initTxn("te-t", timeout(0))),
		init("a time-out of 0", high, initTxn("te-t", timeout(0))),
		init("a time-out of a day", high, initTxn("te-t", timeout(86_400_000))),
		init("a producer id given that is none", high, initTxn("te-g", func(_ *vars, r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = 9_999_999, 3 })),
		init("an epoch without a producer id", high, initTxn("te-g", func(_ *vars, r *kmsg.InitProducerIDRequest) { r.ProducerEpoch = 3 })),
		init("no transactional id but a producer id", high, func(_ *vars, r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = 9_999_999, 3 }),
		initiated(id, init("init", 4, initTxn(id))),
		initiated(id, init("init again", 4, initTxn(id))),
		initiated(id, init("init with what it has", 4, initTxn(id), given(id, 0))),
		init("init with an epoch that is past", 4, initTxn(id), given(id, -2)),
		init("init with an epoch to come", 4, initTxn(id), given(id, 5)),
		v3("partitions of an unknown transactional id", addPartitions("te-none", id, 0, topic, 0)),
		v3("partitions with a past epoch", addPartitions(id, id, -1, topic, 0)),
		v3("partitions with an epoch to come", addPartitions(id, id, 1, topic, 0)),
		v3("partitions with another producer id", func(v *vars, r *kmsg.AddPartitionsToTxnRequest) {
			addPartitions(id, id, 0, topic, 0)(v, r)
			r.ProducerID = 9_999_999
		}),
		v3("an unknown partition", addPartitions(id, id, 0, topic, 9)),
		v3("an unknown topic", addPartitions(id, id, 0, topic+"-none", 0)),
		v3("a known and an unknown partition", addPartitions(id, id, 0, topic, 0, 9)),
		ask("verify partitions that are not there", 4, kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, topic, 0), func(_ *vars, r *kmsg.AddPartitionsToTxnRequest) { r.Transactions[0].VerifyOnly = true }),
		ask("partitions in a batch", 4, kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, topic, 0)),
		ask("partitions in a batch", high, kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, topic, 1)),
		ask("verify partitions that are there", 5, kmsg.NewPtrAddPartitionsToTxnRequest, addPartitions(id, id, 0, topic, 0), func(_ *vars, r *kmsg.AddPartitionsToTxnRequest) { r.Transactions[0].VerifyOnly = true }),
		ask("offsets of an unknown transactional id", high, kmsg.NewPtrAddOffsetsToTxnRequest, addOffsets("te-none", id, 0, "te-group")),
		ask("offsets of an empty group", high, kmsg.NewPtrAddOffsetsToTxnRequest, addOffsets(id, id, 0, "=")),
		ask("offsets with a past epoch", low, kmsg.NewPtrAddOffsetsToTxnRequest, addOffsets(id, id, -1, "te-group")),
		ask("offsets with a past epoch", high, kmsg.NewPtrAddOffsetsToTxnRequest, addOffsets(id, id, -1, "te-group")),
		ask("commit offsets with a past epoch", 3, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, -1, "te-group", topic, 3)),
		ask("commit offsets of an unknown member", 3, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, "te-group", topic, 3, func(_ *vars, r *kmsg.TxnOffsetCommitRequest) {
			r.MemberID, r.Generation = "nobody", 4
		})),
		ask("commit offsets of an unknown topic", 3, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, "te-group", topic+"-none", 3)),
		ask("commit offsets of an empty group", 3, kmsg.NewPtrTxnOffsetCommitRequest, txnCommit(id, id, 0, "=", topic, 3)),
		ask("produce", 11, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 0, 1)),
		ask("produce with a past epoch", 11, kmsg.NewPtrProduceRequest, txnProduce(id, id, -1, topic, 1, 1)),
		ask("produce without the transactional bit while it is open", 11, kmsg.NewPtrProduceRequest, func(v *vars, r *kmsg.ProduceRequest) {
			b := numbered(1).with(func(b *kmsg.RecordBatch) {
				b.ProducerID, b.ProducerEpoch = as(v, id, 0)
				b.FirstSequence = 1
			})
			produceBytes(v, r, topic, 0, b.bytes())
		}),
		ask("produce without the transactional id", 11, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 1, 1), func(_ *vars, r *kmsg.ProduceRequest) { r.TransactionID = nil }),
		ask("produce under another transactional id", 11, kmsg.NewPtrProduceRequest, txnProduce("te-none", id, 0, topic, 1, 1)),
		ask("end an unknown transactional id", low, kmsg.NewPtrEndTxnRequest, endTxn("te-none", id, 0, true)),
		ask("end with a past epoch", low, kmsg.NewPtrEndTxnRequest, endTxn(id, id, -1, true)),
		ask("end with a past epoch", 4, kmsg.NewPtrEndTxnRequest, endTxn(id, id, -1, true)),
		ask("end with an epoch to come", 4, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 1, true)),
		initiated("te2", settled(init("init while it is open fences it", 4, initTxn(id)))),
		settled(ask("end of the fenced", 4, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, true))),
		settled(ask("end of the fenced", low, kmsg.NewPtrEndTxnRequest, endTxn(id, id, 0, true))),
		settled(v3("partitions of the fenced", addPartitions(id, id, 0, topic, 0))),
		settled(ask("produce of the fenced", 11, kmsg.NewPtrProduceRequest, txnProduce(id, id, 0, topic, 1, 1))),
		ask("end when nothing was begun", 4, kmsg.NewPtrEndTxnRequest, endTxn(id, "te2", 0, true)),
		ask("describe unknown and empty ids", high, kmsg.NewPtrDescribeTransactionsRequest, describeTxns("te-none", "=")),
		ask("markers by a client", each, kmsg.NewPtrWriteTxnMarkersRequest, func(v *vars, r *kmsg.WriteTxnMarkersRequest) {
			m := kmsg.NewWriteTxnMarkersRequestMarker()
			m.ProducerID, m.ProducerEpoch = as(v, "te2", 0)
			m.CoordinatorEpoch = 0
			t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			t.Topic, t.Partitions = v.name(topic), []int32{0, 9}
			m.Topics = append(m.Topics, t)
			r.Markers = append(r.Markers, m)
		}),
	})
}

func transactionLists() []step {
	const id = "tl"
	list := func(set func(*vars, *kmsg.ListTransactionsRequest)) func(*vars, *kmsg.ListTransactionsRequest) {
		return func(v *vars, r *kmsg.ListTransactionsRequest) {
			r.ProducerIDFilters, r.DurationFilterMillis = []int64{v.i64(id)}, -1
			set(v, r)
		}
	}
	return []step{
		quietly(ask("coordinator", 3, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, id))),
		initiated(id, ask("init", high, kmsg.NewPtrInitProducerIDRequest, initTxn(id))),
		ask("by producer id", each, kmsg.NewPtrListTransactionsRequest, list(func(*vars, *kmsg.ListTransactionsRequest) {})),
		ask("by a state", each, kmsg.NewPtrListTransactionsRequest, list(func(_ *vars, r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing"} })),
		ask("by states, one of them none", each, kmsg.NewPtrListTransactionsRequest, list(func(_ *vars, r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Empty", "Odd"} })),
		ask("by duration", 1, kmsg.NewPtrListTransactionsRequest, list(func(_ *vars, r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 0 })),
		ask("by pattern", 2, kmsg.NewPtrListTransactionsRequest, list(func(v *vars, r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = ptr(v.name(id) + ".*") })),
		ask("by a bad pattern", 2, kmsg.NewPtrListTransactionsRequest, list(func(_ *vars, r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = ptr("[") })),
	}
}
