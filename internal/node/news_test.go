package node

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// logOf gives a logger and what it has written since it was last asked.
func logOf() (*slog.Logger, func() string) {
	var out bytes.Buffer
	return slog.New(slog.NewTextHandler(&out, nil)), func() string {
		s := out.String()
		out.Reset()
		return s
	}
}

// wantLog compares what was logged with texts that must be there; none asks for silence.
func wantLog(t *testing.T, what, got string, want ...string) {
	t.Helper()
	if len(want) == 0 && got != "" {
		t.Errorf("%s: %s", what, got)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: %q lacks %q", what, got, w)
		}
	}
}

// applied is an image with records on top, and what changed.
func applied(t *testing.T, old *meta.Image, records ...kmsg.Record) (*meta.Image, meta.Delta) {
	t.Helper()
	e := old.Edit()
	for _, r := range records {
		if err := e.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	return e.Image(old.Offset+int64(len(records)), 1)
}

func broker(id int32, fenced bool) kmsg.Record {
	r := kmsg.NewRegisterBrokerRecord()
	r.BrokerId, r.BrokerEpoch, r.Fenced = id, int64(id)+100, fenced
	r.IncarnationId[0] = byte(id)
	r.EndPoints = []kmsg.RegisterBrokerRecordBrokerEndpoint{{Name: "PLAINTEXT", Host: "b.example", Port: 9092}}
	return &r
}

func brokerChange(id int32, fenced, stopping int8) kmsg.Record {
	r := kmsg.NewBrokerRegistrationChangeRecord()
	r.BrokerId, r.BrokerEpoch, r.Fenced, r.InControlledShutdown = id, int64(id)+100, fenced, stopping
	return &r
}

// TestBrokersAreToldOf: the active controller's log says which brokers came, serve, stop, are fenced and went.
func TestBrokersAreToldOf(t *testing.T) {
	log, text := logOf()
	im := meta.Empty("c")
	left := false
	step := func(what string, records []kmsg.Record, want ...string) {
		t.Helper()
		next, _ := applied(t, im, records...)
		tellBrokers(log, im, next, func(int32, int64) bool { return left })
		im = next
		wantLog(t, what, text(), want...)
	}
	step("new", []kmsg.Record{broker(2, true)}, "level=INFO", "a broker is registered", "broker=2", "broker_epoch=102", "address=b.example:9092")
	step("unfenced", []kmsg.Record{brokerChange(2, -1, 0)}, "a broker serves", "broker=2")
	step("the same", []kmsg.Record{brokerChange(2, -1, 0)})
	step("silent", []kmsg.Record{brokerChange(2, 1, 0)}, "level=WARN", "a broker is fenced", "broker=2")
	step("back", []kmsg.Record{brokerChange(2, -1, 0)}, "a broker serves")
	step("stopping", []kmsg.Record{brokerChange(2, 0, 1)}, "hands over")
	left = true
	step("stopped", []kmsg.Record{brokerChange(2, 1, 0)}, "level=INFO", "a broker stops in order")
	gone := kmsg.NewUnregisterBrokerRecord()
	gone.BrokerId, gone.BrokerEpoch = 2, 102
	step("gone", []kmsg.Record{&gone}, "a broker is unregistered", "broker=2")
}

// TestPartitionsAreToldOf: a partition without a leader is a line of the active controller's log, and a leader's in-sync set that
// changes one of the leader's and counted there; what a move adds and takes away is neither.
func TestPartitionsAreToldOf(t *testing.T) {
	log, text := logOf()
	var topic kmsg.TopicRecord
	topic.Name, topic.TopicId[0] = "orders", 7
	part := func(leader int32, replicas, isr []int32) kmsg.Record {
		r := kmsg.NewPartitionRecord()
		r.TopicId, r.PartitionId, r.Leader, r.Replicas, r.Isr = topic.TopicId, 0, leader, replicas, isr
		return &r
	}
	im, _ := applied(t, meta.Empty("c"), &topic, part(1, []int32{1, 2, 3}, []int32{1, 2, 3}))
	var s insync
	step := func(what string, r kmsg.Record, want ...string) {
		t.Helper()
		next, d := applied(t, im, r)
		tellLeaderless(log, im, next, d.Changed)
		s.take(log, 1, im, d.Changed, func(string) int { return 2 })
		im = next
		wantLog(t, what, text(), want...)
	}
	all := []int32{1, 2, 3}
	step("one left", part(1, all, []int32{1, 2}), "in-sync sets shrink", "partitions=1", `first="orders-0: [1 2] of [1 2 3]"`)
	step("two left", part(1, all, []int32{1}), "in-sync sets shrink", "level=WARN", "smaller than min.insync.replicas")
	step("back", part(1, all, []int32{1, 2, 3}), "in-sync sets grow")
	step("of another's", part(2, all, []int32{2, 3}))
	step("nobody leads", part(-1, all, []int32{}), "level=WARN", "partitions have no leader", `first="orders-0: replicas [1 2 3]"`, "in_all=1")
	step("again", part(1, all, []int32{1}), "partitions have a leader again", "leader 1")
	step("caught up", part(1, all, []int32{1, 2, 3}), "in-sync sets grow")
	step("moved away", part(1, []int32{1, 2}, []int32{1, 2}))
	if s.shrinks.Load() != 2 || s.expands.Load() < 2 {
		t.Errorf("%d shrinks, %d expands", s.shrinks.Load(), s.expands.Load())
	}
}

// TestReachIsToldOf: of a controller that is not reached a line is written when that has lasted, each minute while it lasts, and
// one when it is over; one that is back soon is no news.
func TestReachIsToldOf(t *testing.T) {
	log, text := logOf()
	r := reach{log: log, id: 2}
	now := time.Unix(1000, 0)
	at := func() (string, error) { return "b.example:9093", nil }
	refused := errors.New("connection refused")
	try := func(n int, err error) {
		for range n {
			r.note(now, at, err)
			now = now.Add(100 * time.Millisecond)
		}
	}
	try(10, refused)
	try(10, nil)
	wantLog(t, "one second", text())
	try(300, refused)
	wantLog(t, "half a minute", text(), "level=WARN", "node_id=2", "address=b.example:9093", `err="connection refused"`)
	try(600, refused)
	if lines := strings.Count(text(), "\n"); lines != 1 {
		t.Errorf("%d lines in another minute, want 1", lines)
	}
	try(2, nil)
	wantLog(t, "reached", text(), "reached again", "after=1m30s")
	try(2, nil)
	wantLog(t, "all well", text())
}
