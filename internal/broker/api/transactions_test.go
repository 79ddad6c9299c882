package api_test

import (
	"os"
	"strings"
	"testing"
)

const transactionsRecord = "testdata/transactions.txt"

// TestRecordTransactions asks the Kafka broker named by TXN_RECORD and writes its answers down.
func TestRecordTransactions(t *testing.T) {
	addr := os.Getenv("TXN_RECORD")
	if addr == "" {
		t.Skip("set TXN_RECORD to the address of Apache Kafka to record its answers")
	}
	if err := os.WriteFile(transactionsRecord, []byte(askTransactions(t, addr)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTransactionsAsKafka asks this broker, or the one at TXN_CHECK, what Apache Kafka was asked.
func TestTransactionsAsKafka(t *testing.T) {
	addr := os.Getenv("TXN_CHECK")
	if addr == "" {
		b, _ := startTxnBroker(t, "")
		addr = b.addr
		k := newAsker(t, addr)
		k.createTopic("__consumer_offsets", 5)
		k.createTopic("__transaction_state", 5)
	}
	want, err := os.ReadFile(transactionsRecord)
	if err != nil {
		t.Fatal(err)
	}
	wants, gots := strings.Split(string(want), "\n"), strings.Split(askTransactions(t, addr), "\n")
	for i := range max(len(wants), len(gots)) {
		if i >= len(wants) || i >= len(gots) {
			t.Fatalf("%d answers, want %d", len(gots), len(wants))
		}
		if wants[i] != gots[i] {
			t.Errorf("line %d\n got  %s\n want %s", i+1, gots[i], wants[i])
		}
	}
}

// askTransactions runs through both transaction versions, offsets, markers and time-outs.
func askTransactions(t *testing.T, addr string) string {
	t.Helper()
	k := newAsker(t, addr)
	topic := "txn-" + k.run
	k.createTopic(topic, 4)
	for _, id := range []string{"a-", "b-", "c-", "d-"} {
		k.findCoordinator(1, id+k.run)
	}
	k.findCoordinator(0, "g-"+k.run)
	k.version1(topic, "a-"+k.run)
	k.version2(topic, "b-"+k.run)
	k.offsetsVersion1(topic, "c-"+k.run, "g-"+k.run)
	k.offsetsVersion2(topic, "d-"+k.run, "g-"+k.run)
	k.askMarkers(topic, "d-"+k.run)
	k.timeOut(topic, "d-"+k.run, "g-"+k.run)
	return k.out.String()
}

func (k *asker) version1(topic, id string) {
	k.t.Helper()
	k.head("transaction version 1")
	none := ""
	k.initRetry(4, nil, 0, -1, -1)
	k.initPID(4, &none, 60000, -1, -1)
	k.initPID(4, &id, 0, -1, -1)
	k.initPID(4, &id, -5, -1, -1)
	k.initPID(4, &id, 900001, -1, -1)
	k.initPID(4, &id, 60000, foreign, -1)
	k.initPID(4, &id, 60000, -1, 5)
	k.initPID(4, nil, 60000, foreign, -1)
	pid, ep := k.initRetry(4, &id, 60000, -1, -1)
	k.describe(id, "nope-"+k.run, "")
	k.end(4, id, pid, ep, true)
	k.end(4, id, pid, ep, false)
	k.add(3, id, pid, ep, false, topic, 0, 9)
	k.add(3, id, pid, ep, false, topic, 0)
	k.add(3, id, pid, ep, false, topic, 0, 1)
	k.add(3, "nobody-"+k.run, pid, ep, false, topic, 0)
	k.add(3, id, pid+foreign, ep+1, false, topic, 0)
	k.add(3, id, pid, ep+1, false, topic, 0)
	k.add(1, id, pid, ep+1, false, topic, 0)
	k.add(3, "", pid, ep+1, false, topic, 0)
	k.add(4, id, pid, ep, true, topic, 0, 2)
	k.add(4, id, pid, ep, true, topic, 0)
	k.produce(9, &id, topic, []int32{0, 1}, pid, ep, 0)
	k.produce(9, &id, topic, []int32{2}, pid, ep, 0)
	k.produce(11, &id, topic, []int32{2}, pid, ep, 0)
	k.produce(9, &id, topic, []int32{0}, pid, ep+1, 0)
	k.produce(9, &id, topic, []int32{0}, pid, ep, 1)
	k.produce(9, nil, topic, []int32{0}, pid, ep, 2)
	k.describe(id)
	k.listTxns(1, nil, nil, -1, nil)
	k.listTxns(1, []string{"Ongoing", "ongoing"}, nil, -1, nil)
	k.end(4, id, pid, ep+1, true)
	k.end(1, id, pid, ep+1, true)
	k.end(4, id, pid, ep, true)
	k.settle()
	k.end(4, id, pid, ep, true)
	k.end(4, id, pid, ep, false)
	k.produce(9, &id, topic, []int32{0}, pid, ep, 2)
	k.produce(11, &id, topic, []int32{0}, pid, ep, 2)
	k.describe(id)
	k.add(3, id, pid, ep, false, topic, 0)
	k.initPID(4, &id, 60000, -1, -1)
	pid, ep = k.initRetry(4, &id, 60000, -1, -1)
	k.initPID(4, &id, 60000, pid, ep)
	k.initPID(4, &id, 60000, pid, ep)
	k.initPID(4, &id, 60000, pid, ep-1)
	k.initPID(3, &id, 60000, pid, ep-1)
	k.initPID(4, &id, 60000, pid+foreign, ep)
	k.produce(9, &id, topic, []int32{0}, pid, 0, 3)
}

func (k *asker) version2(topic, id string) {
	k.t.Helper()
	k.head("transaction version 2")
	pid, ep := k.initRetry(4, &id, 60000, -1, -1)
	k.end(5, id, pid, ep, true)
	_, ep1 := k.end(5, id, pid, ep, false)
	k.settle()
	k.end(5, id, pid, ep, false)
	k.end(5, id, pid, ep, true)
	ep = ep1
	_, ep = k.end(5, id, pid, ep, false)
	k.settle()
	k.produce(12, &id, topic, []int32{0, 1}, pid, ep, 5)
	k.produce(12, &id, topic, []int32{0, 1}, pid, ep, 0)
	k.produce(12, &id, topic, []int32{0}, pid, ep-1, 0)
	k.produce(12, &id, topic, []int32{0}, pid, ep+1, 0)
	k.produce(12, &id, topic, []int32{0}, pid, ep, 1)
	k.produce(12, nil, topic, []int32{0}, pid, ep, 2)
	k.produce(12, &id, topic, []int32{9}, pid, ep, 0)
	k.describe(id)
	k.end(5, id, pid, ep-1, true)
	_, ep2 := k.end(5, id, pid, ep, true)
	k.settle()
	k.end(5, id, pid, ep, true)
	k.end(5, id, pid, ep, false)
	k.end(5, id, pid, ep2, true)
	k.produce(12, &id, topic, []int32{2}, pid, ep2, 0)
	k.end(5, id, pid, ep, true)
	k.end(5, id, pid, ep, false)
	k.describe(id)
	_, ep = k.end(5, id, pid, ep2, false)
	k.settle()
	k.end(5, id, pid, ep2, false)
	k.end(5, id, pid, ep2, true)
	k.produce(12, &id, topic, []int32{2}, pid, ep2, 1)
	k.produce(12, &id, topic, []int32{3}, pid, ep2, 0)
	k.add(5, id, pid, ep, false, topic, 0, 3)
	k.add(5, id, pid, ep, true, topic, 0, 3, 1)
	k.add(4, id, pid, ep, true, topic, 7)
	k.initPID(5, &id, 60000, -1, -1)
	k.settle()
	pid, _ = k.initRetry(5, &id, 60000, -1, -1)
	k.listTxns(2, []string{"Empty"}, []int64{pid}, -1, nil)
	pat := "b-.*"
	k.listTxns(2, nil, nil, -1, &pat)
	pat = "(["
	k.listTxns(2, nil, nil, -1, &pat)
	k.listTxns(1, nil, nil, 3600000, nil)
}

func (k *asker) offsetsVersion1(topic, id, group string) {
	k.t.Helper()
	k.head("offsets, transaction version 1")
	pid, ep := k.initRetry(4, &id, 60000, -1, -1)
	k.commitOffsets(3, id, pid, ep, group, topic, []int32{0}, 5, "", -1)
	k.commitOffsets(4, id, pid, ep, group, topic, []int32{0}, 5, "", -1)
	k.addOffsets(3, id, pid, ep+1, group)
	k.addOffsets(1, id, pid, ep+1, group)
	k.addOffsets(3, id, pid, ep, group)
	k.commitOffsets(3, id, pid, ep, group, topic, []int32{0, 9}, 5, "", -1)
	k.commitOffsets(3, id, pid, ep, group, topic, []int32{0}, 5, "member", 3)
	k.commitOffsets(3, id, pid, ep+1, group, topic, []int32{0}, 5, "", -1)
	k.commitOffsets(3, id, pid, ep, "", topic, []int32{0}, 5, "", -1)
	k.fetchOffsets(group, topic, false)
	k.fetchOffsets(group, topic, true)
	k.describe(id)
	k.end(4, id, pid, ep, true)
	k.settle()
	k.fetchOffsets(group, topic, true)
}

func (k *asker) offsetsVersion2(topic, id, group string) {
	k.t.Helper()
	k.head("offsets, transaction version 2")
	pid, ep := k.initRetry(4, &id, 60000, -1, -1)
	k.commitOffsets(5, id, pid, ep, group, topic, []int32{1}, 9, "", -1)
	k.fetchOffsets(group, topic, true)
	_, ep2 := k.end(5, id, pid, ep, false)
	k.settle()
	k.fetchOffsets(group, topic, true)
	k.commitOffsets(5, id, pid, ep, group, topic, []int32{1}, 9, "", -1)
	k.commitOffsets(4, id, pid, ep2, group, topic, []int32{1}, 9, "", -1)
	k.commitOffsets(5, id, pid, ep2, group, topic, []int32{1}, 10, "", -1)
	k.end(5, id, pid, ep2, true)
	k.settle()
	k.fetchOffsets(group, topic, true)
	k.describe(id)
}

func (k *asker) askMarkers(topic, id string) {
	k.t.Helper()
	k.head("markers")
	pid, ep := k.initRetry(4, &id, 60000, -1, -1)
	k.produce(12, &id, topic, []int32{3}, pid, ep, 0)
	k.markers(1, topic, []int32{3, 9}, pid, ep-1, 0, false)
	k.markers(1, topic, []int32{3}, pid, ep, -1, false)
	k.markers(1, topic, []int32{3}, pid, ep, -1, false)
	k.markers(1, topic, []int32{2}, foreign, 3, 5, true)
	k.markers(1, topic, []int32{2}, foreign, 3, 4, true)
	k.markers(1, topic, []int32{2}, foreign, 2, 5, true)
	k.markers(1, "__consumer_offsets", []int32{0}, foreign, 2, 5, true)
	k.end(5, id, pid, ep, true)
	k.settle()
	k.describe(id)
}

func (k *asker) timeOut(topic, id, group string) {
	k.t.Helper()
	k.head("time-out")
	pid, ep := k.initRetry(4, &id, 3000, -1, -1)
	k.produce(12, &id, topic, []int32{1}, pid, ep, 0)
	k.until("waiting for the time-out", func() bool { return k.askDescribe(id)[0].TransactionState == "CompleteAbort" })
	k.describe(id)
	k.produce(12, &id, topic, []int32{1}, pid, ep, 1)
	k.produce(12, &id, topic, []int32{0}, pid, ep, 0)
	k.add(3, id, pid, ep, false, topic, 1)
	k.end(5, id, pid, ep, true)
	k.end(4, id, pid, ep, true)
	k.addOffsets(3, id, pid, ep, group)
	k.initPID(4, &id, 60000, pid, ep)
}
