package api_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/api/parity"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// asker makes requests about transactions and writes the answers down, without what differs from one
// broker or run to the next.
type asker struct {
	t    *testing.T
	c    *parity.Client
	run  string // makes names unique
	out  strings.Builder
	pids map[int64]string
	ids  []string // transactional ids that have been used
}

func newAsker(t *testing.T, addr string) *asker {
	t.Helper()
	c, err := parity.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &asker{t: t, c: c, run: fmt.Sprint(time.Now().UnixNano() % 1e9), pids: map[int64]string{-1: "-1"}}
}

func ask[R kmsg.Response](k *asker, req kmsg.Request, version int16) R {
	k.t.Helper()
	resp, err := k.c.Do(req, version)
	if err != nil {
		k.t.Fatal(err)
	}
	r, ok := resp.(R)
	if !ok {
		k.t.Fatalf("%T answered with %T", req, resp)
	}
	return r
}

func (k *asker) head(s string) { fmt.Fprintf(&k.out, "# %s\n", s) }

// foreign is more than any producer id that a broker has handed out.
const foreign = int64(1) << 40

// pid names producer ids by the order in which they appear.
func (k *asker) pid(id int64) string {
	if id >= foreign {
		return "foreign"
	}
	if _, ok := k.pids[id]; !ok {
		k.pids[id] = fmt.Sprintf("P%d", len(k.pids)-1)
	}
	return k.pids[id]
}

func code(c int16) string {
	if c == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(c).Message
}

func (k *asker) initPID(v int16, id *string, timeout int32, pid int64, epoch int16) (int64, int16) {
	r := k.askInit(v, id, timeout, pid, epoch)
	fmt.Fprintf(&k.out, "init v%d %s/%d: %s %s/%d\n", v, k.pid(pid), epoch, code(r.ErrorCode),
		k.pid(r.ProducerId), r.ProducerEpoch)
	return r.ProducerId, r.ProducerEpoch
}

func (k *asker) askInit(v int16, id *string, timeout int32, pid int64, epoch int16) *kmsg.InitProducerIdResponse {
	k.t.Helper()
	if id != nil && *id != "" && !slices.Contains(k.ids, *id) {
		k.ids = append(k.ids, *id)
	}
	return ask[*kmsg.InitProducerIdResponse](k, &kmsg.InitProducerIdRequest{
		TransactionalId: id, TransactionTimeoutMs: timeout, ProducerId: pid, ProducerEpoch: epoch,
	}, v)
}

// patience is how long a test waits for what comes about by itself, which takes milliseconds on a machine that is free.
const patience = 2 * time.Minute

// notReady tells whether an error is a coordinator's that loads, or is about to: a client asks again then.
func notReady(c int16) bool {
	return c == kerr.CoordinatorLoadInProgress.Code || c == kerr.CoordinatorNotAvailable.Code || c == kerr.NotCoordinator.Code
}

// initRetry asks until the coordinator is ready and the transaction before has ended.
func (k *asker) initRetry(v int16, id *string, timeout int32, pid int64, epoch int16) (int64, int16) {
	k.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		r := k.askInit(v, id, timeout, pid, epoch)
		if r.ErrorCode == kerr.ConcurrentTransactions.Code || notReady(r.ErrorCode) {
			if time.Now().After(deadline) {
				k.t.Fatalf("InitProducerId: still %s", code(r.ErrorCode))
			}
			continue
		}
		fmt.Fprintf(&k.out, "init until done v%d %s/%d: %s %s/%d\n", v, k.pid(pid), epoch, code(r.ErrorCode),
			k.pid(r.ProducerId), r.ProducerEpoch)
		return r.ProducerId, r.ProducerEpoch
	}
}

func (k *asker) add(v int16, id string, pid int64, epoch int16, verify bool, topic string, parts ...int32) {
	k.t.Helper()
	topics := []kmsg.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{{Name: topic, Partitions: parts}}
	req := kmsg.NewAddPartitionsToTxnRequest()
	if v < 4 {
		req.V3AndBelowTransactionalId, req.V3AndBelowProducerId, req.V3AndBelowProducerEpoch = id, pid, epoch
		req.V3AndBelowTopics = topics
	} else {
		req.Transactions = []kmsg.AddPartitionsToTxnRequestAddPartitionsToTxnTransaction{{
			TransactionalId: id, ProducerId: pid, ProducerEpoch: epoch, VerifyOnly: verify, Topics: topics,
		}}
	}
	r := ask[*kmsg.AddPartitionsToTxnResponse](k, &req, v)
	results := r.ResultsByTopicV3AndBelow
	for _, t := range r.ResultsByTransaction {
		results = append(results, t.TopicResults...)
	}
	var rows []row
	for _, t := range results {
		for _, p := range t.ResultsByPartition {
			rows = append(rows, row{p.PartitionIndex, code(p.PartitionErrorCode)})
		}
	}
	fmt.Fprintf(&k.out, "add v%d verify=%t %s/%d: %s%s\n", v, verify, k.pid(pid), epoch, code(r.ErrorCode), list(rows))
}

type row struct {
	partition int32
	text      string
}

func list(rows []row) string {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.partition, b.partition) })
	var out strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&out, " %d=%s", r.partition, r.text)
	}
	return out.String()
}

func (k *asker) end(v int16, id string, pid int64, epoch int16, commit bool) (int64, int16) {
	k.t.Helper()
	r := ask[*kmsg.EndTxnResponse](k, &kmsg.EndTxnRequest{
		TransactionalId: id, ProducerId: pid, ProducerEpoch: epoch, Committed: commit,
	}, v)
	fmt.Fprintf(&k.out, "end v%d %s/%d commit=%t: %s %s/%d\n", v, k.pid(pid), epoch, commit, code(r.ErrorCode),
		k.pid(r.ProducerId), r.ProducerEpoch)
	return r.ProducerId, r.ProducerEpoch
}

func (k *asker) addOffsets(v int16, id string, pid int64, epoch int16, group string) {
	k.t.Helper()
	r := ask[*kmsg.AddOffsetsToTxnResponse](k, &kmsg.AddOffsetsToTxnRequest{
		TransactionalId: id, ProducerId: pid, ProducerEpoch: epoch, GroupId: group,
	}, v)
	fmt.Fprintf(&k.out, "addOffsets v%d %s/%d: %s\n", v, k.pid(pid), epoch, code(r.ErrorCode))
}

func (k *asker) commitOffsets(v int16, id string, pid int64, epoch int16, group, topic string, parts []int32,
	offset int64, member string, generation int32,
) {
	k.t.Helper()
	req := kmsg.NewTxnOffsetCommitRequest()
	req.TransactionalId, req.ProducerId, req.ProducerEpoch, req.GroupId = id, pid, epoch, group
	req.MemberId, req.GenerationId = member, generation
	t := kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestTopic{Name: topic}
	for _, n := range parts {
		t.Partitions = append(t.Partitions, kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestPartition{
			PartitionIndex: n, CommittedOffset: offset, CommittedLeaderEpoch: -1,
		})
	}
	req.Topics = append(req.Topics, t)
	r := ask[*kmsg.TxnOffsetCommitResponse](k, &req, v)
	var rows []row
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			rows = append(rows, row{p.PartitionIndex, code(p.ErrorCode)})
		}
	}
	fmt.Fprintf(&k.out, "commitOffsets v%d %s/%d member=%q:%s\n", v, k.pid(pid), epoch, member, list(rows))
}

func (k *asker) fetchOffsets(group, topic string, stable bool) {
	k.t.Helper()
	req := kmsg.NewOffsetFetchRequest()
	req.GroupId, req.RequireStable = group, stable
	req.Topics = []kmsg.OffsetFetchRequestOffsetFetchRequestTopic{{Name: topic, PartitionIndexes: []int32{0, 1}}}
	r := ask[*kmsg.OffsetFetchResponse](k, &req, 7)
	var rows []row
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			rows = append(rows, row{p.PartitionIndex, fmt.Sprintf("%d/%s", p.CommittedOffset, code(p.ErrorCode))})
		}
	}
	fmt.Fprintf(&k.out, "fetchOffsets stable=%t: %s%s\n", stable, code(r.ErrorCode), list(rows))
}

func (k *asker) produce(v int16, id *string, topic string, parts []int32, pid int64, epoch int16, seq int32) {
	k.t.Helper()
	b := batch.NewBuilder(batch.Options{
		LeaderEpoch: -1, Transactional: id != nil, Producer: &batch.Producer{ID: pid, Epoch: epoch, Sequence: seq},
	})
	b.Append(time.Now().UnixMilli(), nil, []byte("value"))
	records, err := b.Build()
	if err != nil {
		k.t.Fatal(err)
	}
	req := kmsg.NewProduceRequest()
	req.TransactionalId, req.Acks, req.TimeoutMs = id, -1, 60_000
	t := kmsg.ProduceRequestTopicProduceData{Name: topic}
	for _, n := range parts {
		t.PartitionData = append(t.PartitionData, kmsg.ProduceRequestPartitionProduceData{
			Index: n, Records: kmsg.Records{Bytes: bytes.Clone(records)},
		})
	}
	req.TopicData = append(req.TopicData, t)
	r := ask[*kmsg.ProduceResponse](k, &req, v)
	var rows []row
	for _, t := range r.Responses {
		for _, p := range t.PartitionResponses {
			text := fmt.Sprintf("%s@%d", code(p.ErrorCode), p.BaseOffset)
			if p.ErrorMessage != nil {
				text += " with text"
			}
			rows = append(rows, row{p.Index, text})
		}
	}
	fmt.Fprintf(&k.out, "produce v%d txn=%t %s/%d seq=%d:%s\n", v, id != nil, k.pid(pid), epoch, seq, list(rows))
}

func (k *asker) askDescribe(ids ...string) []kmsg.DescribeTransactionsResponseTransactionState {
	k.t.Helper()
	req := &kmsg.DescribeTransactionsRequest{TransactionalIds: ids}
	return ask[*kmsg.DescribeTransactionsResponse](k, req, 0).TransactionStates
}

func (k *asker) describe(ids ...string) {
	k.t.Helper()
	for _, s := range k.askDescribe(ids...) {
		if s.ErrorCode != 0 {
			fmt.Fprintf(&k.out, "describe: %s %q\n", code(s.ErrorCode), s.TransactionState)
			continue
		}
		fmt.Fprintf(&k.out, "describe: %s %q timeout=%d started=%t %s/%d", code(s.ErrorCode), s.TransactionState,
			s.TransactionTimeoutMs, s.TransactionStartTimeMs > 0, k.pid(s.ProducerId), s.ProducerEpoch)
		for _, t := range s.Topics {
			slices.Sort(t.Partitions)
			if t.Topic == "__consumer_offsets" {
				t.Partitions = nil
			}
			fmt.Fprintf(&k.out, " %s%v", strings.TrimSuffix(t.Topic, k.run), t.Partitions)
		}
		k.out.WriteByte('\n')
	}
}

func (k *asker) listTxns(v int16, states []string, pids []int64, duration int64, pattern *string) {
	k.t.Helper()
	r := ask[*kmsg.ListTransactionsResponse](k, &kmsg.ListTransactionsRequest{
		StateFilters: states, ProducerIdFilters: pids, DurationFilter: duration, TransactionalIdPattern: pattern,
	}, v)
	fmt.Fprintf(&k.out, "list v%d: %s unknown=%v", v, code(r.ErrorCode), r.UnknownStateFilters)
	slices.SortFunc(r.TransactionStates, func(a, b kmsg.ListTransactionsResponseTransactionState) int {
		return cmp.Compare(a.TransactionalId, b.TransactionalId)
	})
	for _, s := range r.TransactionStates {
		if id, ok := strings.CutSuffix(s.TransactionalId, k.run); ok {
			fmt.Fprintf(&k.out, " [%s %s %s]", id, k.pid(s.ProducerId), s.TransactionState)
		}
	}
	k.out.WriteByte('\n')
}

func (k *asker) markers(v int16, topic string, parts []int32, pid int64, epoch int16, coordinator int32, commit bool) {
	k.t.Helper()
	r := ask[*kmsg.WriteTxnMarkersResponse](k, &kmsg.WriteTxnMarkersRequest{
		Markers: []kmsg.WriteTxnMarkersRequestWritableTxnMarker{{
			ProducerId: pid, ProducerEpoch: epoch, TransactionResult: commit, CoordinatorEpoch: coordinator,
			Topics: []kmsg.WriteTxnMarkersRequestWritableTxnMarkerTopic{{Name: topic, PartitionIndexes: parts}},
		}},
	}, v)
	var rows []row
	for _, m := range r.Markers {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				rows = append(rows, row{p.PartitionIndex, code(p.ErrorCode)})
			}
		}
	}
	fmt.Fprintf(&k.out, "markers v%d %s/%d coordinator=%d commit=%t:%s\n", v, k.pid(pid), epoch, coordinator,
		commit, list(rows))
}

// settle waits until no transaction is ending.
func (k *asker) settle() {
	k.t.Helper()
	k.until("transactions are ending", func() bool {
		return !slices.ContainsFunc(k.askDescribe(k.ids...), func(s kmsg.DescribeTransactionsResponseTransactionState) bool {
			return strings.HasPrefix(s.TransactionState, "Prepare")
		})
	})
}

func (k *asker) until(what string, done func() bool) {
	k.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			k.t.Fatalf("still %s; so far:\n%s", what, k.out.String())
		}
	}
}

// createTopic makes a topic and waits until it takes records, and until its coordinators are loaded where it is theirs.
func (k *asker) createTopic(name string, partitions int32) {
	k.t.Helper()
	req := kmsg.NewCreateTopicsRequest()
	req.TimeoutMs = 60_000
	req.Topics = []kmsg.CreateTopicsRequestCreatableTopic{{Name: name, NumPartitions: partitions, ReplicationFactor: 1}}
	r := ask[*kmsg.CreateTopicsResponse](k, &req, 5)
	if c := r.Topics[0].ErrorCode; c != 0 && c != kerr.TopicAlreadyExists.Code {
		k.t.Fatalf("create %s: %s", name, code(c))
	}
	k.until("waiting for "+name, func() bool {
		req := kmsg.NewMetadataRequest()
		req.Topics = []kmsg.MetadataRequestMetadataRequestTopic{{Name: &name}}
		r := ask[*kmsg.MetadataResponse](k, &req, 9)
		return r.Topics[0].ErrorCode == 0 && len(r.Topics[0].Partitions) == int(partitions) && k.leads(name, partitions)
	})
	k.loaded()
}

// loaded waits until the coordinators answer for all that they have: who comes before that is asked to come again.
func (k *asker) loaded() {
	k.t.Helper()
	k.until("loading coordinators", func() bool {
		groups := ask[*kmsg.ListGroupsResponse](k, &kmsg.ListGroupsRequest{}, 4)
		txns := ask[*kmsg.ListTransactionsResponse](k, &kmsg.ListTransactionsRequest{}, 0)
		return !notReady(groups.ErrorCode) && !notReady(txns.ErrorCode)
	})
}

// leads tells whether the broker knows that it leads the partitions.
func (k *asker) leads(name string, partitions int32) bool {
	k.t.Helper()
	req := kmsg.NewListOffsetsRequest()
	req.ReplicaId = -1
	t := kmsg.ListOffsetsRequestListOffsetsTopic{Name: name}
	for n := range partitions {
		t.Partitions = append(t.Partitions, kmsg.ListOffsetsRequestListOffsetsPartition{
			PartitionIndex: n, CurrentLeaderEpoch: -1, Timestamp: -1,
		})
	}
	req.Topics = append(req.Topics, t)
	for _, p := range ask[*kmsg.ListOffsetsResponse](k, &req, 4).Topics[0].Partitions {
		if p.ErrorCode != 0 {
			return false
		}
	}
	return true
}

func (k *asker) findCoordinator(kind int8, key string) {
	k.t.Helper()
	k.until("looking for the coordinator of "+key, func() bool {
		req := kmsg.NewFindCoordinatorRequest()
		req.CoordinatorKey, req.KeyType = key, kind
		return ask[*kmsg.FindCoordinatorResponse](k, &req, 3).ErrorCode == 0
	})
}

// readCommitted counts the records and markers that a read_committed consumer is given, and those of
// them that belong to aborted transactions.
func (k *asker) readCommitted(topic string, partition int32) (records, aborted int) {
	k.t.Helper()
	req := kmsg.NewFetchRequest()
	req.MaxBytes, req.IsolationLevel, req.ReplicaId = 1<<20, 1, -1
	p := kmsg.NewFetchRequestFetchPartition()
	p.Partition, p.PartitionMaxBytes = partition, 1<<20
	req.Topics = []kmsg.FetchRequestFetchTopic{{Topic: topic, Partitions: []kmsg.FetchRequestFetchPartition{p}}}
	r := ask[*kmsg.FetchResponse](k, &req, 11).Responses[0].Partitions[0]
	if r.ErrorCode != 0 {
		k.t.Fatalf("fetch %s-%d: %s", topic, partition, code(r.ErrorCode))
	}
	gone := map[int64][]int64{}
	for _, a := range r.AbortedTransactions {
		gone[a.ProducerId] = append(gone[a.ProducerId], a.FirstOffset)
	}
	for buf := r.Records.Bytes; len(buf) > 0; {
		b, rest, err := batch.Next(buf)
		if err != nil {
			break
		}
		buf = rest
		firsts := gone[b.ProducerID()]
		switch {
		case b.IsControl():
			if kind, _, _ := b.Control(); kind == batch.Abort && len(firsts) > 0 && firsts[0] <= b.BaseOffset() {
				gone[b.ProducerID()] = firsts[1:]
			}
		case len(firsts) > 0 && firsts[0] <= b.BaseOffset():
			aborted += int(b.Count())
		default:
			records += int(b.Count())
		}
	}
	return records, aborted
}
