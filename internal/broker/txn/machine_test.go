package txn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestMachine runs the scripts in testdata. A command is a request or something that happens; its
// output is what the machine answered and what changed.
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{harness: newHarness(t)}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	*harness
	waiting []*waitingAdd
}

type waitingAdd struct {
	label string
	*addResult
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	for _, a := range d.CmdArgs {
		if a.Key == "server" {
			s.server = int16(atoi(t, a.Vals[0]))
		}
	}
	switch d.Cmd {
	case "init":
		s.doInit(d, &out)
	case "add", "verify":
		s.doAdd(d, &out)
	case "commit", "abort":
		s.doEnd(d, &out)
	case "written":
		s.written()
	case "markers":
		for _, m := range s.outbox {
			fmt.Fprintf(&out, "%s pid=%d epoch=%d coordinator=%d version=%d commit=%t %v\n", m.TransactionalID,
				m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, m.TransactionVersion, m.Commit, m.Partitions)
		}
	case "late":
		m := Markers{Shard: 3, TransactionalID: str(d, "id"), ProducerID: num(d, "pid", -1),
			ProducerEpoch: int16(num(d, "epoch", -1)), CoordinatorEpoch: s.coordinat, Commit: d.HasArg("commit")}
		s.step(s.m.MarkersWritten(s.now, m))
	case "advance":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		s.advance(dur)
	case "hold":
		s.hold = true
	case "release":
		s.hold = false
		s.harness.commit()
		s.tick()
	case "set":
		s.doSet(d)
	case "restart":
		s.restart(int32(num(d, "epoch", int64(s.coordinat))))
	case "describe":
		s.step(s.m.Describe(str(d, "id"), func(r Description) { fmt.Fprintf(&out, "%+v\n", r) }))
	case "list":
		s.doList(t, d, &out)
	case "state":
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
	for i := 0; i < len(s.waiting); i++ {
		if w := s.waiting[i]; w.answered {
			fmt.Fprintf(&out, "%s: %s\n", w.label, w)
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			i--
		}
	}
	s.printState(&out)
	return out.String()
}

func (r *addResult) String() string {
	if !r.answered {
		return "waits"
	}
	out := name(codeFor(r.err, false))
	if len(r.missing) > 0 {
		out += fmt.Sprintf(" missing %v", r.missing)
	}
	return out
}

func (s *script) doInit(d *datadriven.TestData, out *strings.Builder) {
	req := kmsg.NewInitProducerIdRequest()
	req.TransactionTimeoutMs = int32(num(d, "timeout", 60000))
	req.ProducerId = num(d, "pid", -1)
	req.ProducerEpoch = int16(num(d, "epoch", -1))
	req.Enable2Pc, req.KeepPreparedTxn = d.HasArg("2pc"), d.HasArg("keep")
	id := str(d, "id")
	req.TransactionalId = &id
	r := s.harness.init(int16(num(d, "v", 5)), req)
	if r == nil {
		out.WriteString("parked\n")
		return
	}
	fmt.Fprintf(out, "%s pid=%d epoch=%d\n", name(r.ErrorCode), r.ProducerId, r.ProducerEpoch)
}

func (s *script) doAdd(d *datadriven.TestData, out *strings.Builder) {
	a := Add{
		TransactionalID: str(d, "id"), ProducerID: num(d, "pid", 1000), ProducerEpoch: int16(num(d, "epoch", 0)),
		VerifyOnly: d.Cmd == "verify", Wait: time.Duration(num(d, "wait", 0)) * time.Millisecond,
	}
	if d.HasArg("tv2") {
		a.ClientVersion = 2
	}
	for _, p := range strings.Fields(strings.ReplaceAll(str(d, "to"), "+", " ")) {
		i := strings.LastIndexByte(p, '-')
		n, _ := strconv.Atoi(p[i+1:])
		a.Partitions = append(a.Partitions, base.TopicPartition{Topic: p[:i], Partition: int32(n)})
	}
	r := s.add(a)
	if !r.answered {
		s.waiting = append(s.waiting, &waitingAdd{"add " + str(d, "to"), r})
	}
	fmt.Fprintln(out, r)
}

func (s *script) doEnd(d *datadriven.TestData, out *strings.Builder) {
	v := int16(4)
	if d.HasArg("tv2") {
		v = 5
	}
	v = int16(num(d, "v", int64(v)))
	r := s.end(v, str(d, "id"), num(d, "pid", 1000), int16(num(d, "epoch", 0)), d.Cmd == "commit")
	if r == nil {
		out.WriteString("parked\n")
		return
	}
	fmt.Fprintf(out, "%s pid=%d epoch=%d\n", name(r.ErrorCode), r.ProducerId, r.ProducerEpoch)
}

func (s *script) doSet(d *datadriven.TestData) {
	if d.HasArg("no-producer-ids") {
		s.noPID = kerr.CoordinatorLoadInProgress
	}
	if d.HasArg("producer-ids") {
		s.noPID = nil
	}
	if d.HasArg("epoch") { // puts an id near the end of its epochs, as years of use would
		t := *s.m.txns[str(d, "id")]
		t.meta.epoch = int16(num(d, "epoch", 0))
		r := s.m.record(t.id, &t.meta)
		s.log = append(s.log, r)
		if err := s.m.Replay(int64(len(s.log)), coord.NoTxn, r); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *script) doList(t *testing.T, d *datadriven.TestData, out *strings.Builder) {
	req := kmsg.NewListTransactionsRequest()
	req.DurationFilter = num(d, "longer", -1)
	if d.HasArg("state") {
		req.StateFilters = strings.Split(str(d, "state"), "+")
	}
	if d.HasArg("pid") {
		req.ProducerIdFilters = []int64{num(d, "pid", 0)}
	}
	if d.HasArg("pattern") {
		p := str(d, "pattern")
		req.TransactionalIdPattern = &p
	}
	f, unknown, err := ParseFilter(&req)
	if len(unknown) > 0 {
		fmt.Fprintf(out, "unknown %v\n", unknown)
	}
	if err != nil {
		fmt.Fprintln(out, name(codeFor(err, false)))
		return
	}
	s.step(s.m.List(s.now, &f, func(rows []Listing, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			fmt.Fprintf(out, "%s pid=%d %s\n", r.TransactionalId, r.ProducerId, r.TransactionState)
		}
	}))
}

func (s *script) printState(out *strings.Builder) {
	for _, t := range s.m.sortedTxns() {
		fmt.Fprintf(out, "  %s %s pid=%d epoch=%d prev=%d", t.id, t.state, t.producerID, t.epoch, t.prevProducerID)
		if t.nextProducerID >= 0 {
			fmt.Fprintf(out, " next=%d", t.nextProducerID)
		}
		fmt.Fprintf(out, " tv=%d", t.clientVersion)
		if len(t.partitions) > 0 {
			fmt.Fprintf(out, " %v", t.partitions)
		}
		out.WriteByte('\n')
	}
	if !s.next.IsZero() {
		fmt.Fprintf(out, "  tick in %v\n", s.next.Sub(s.now))
	}
}

func name(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

func str(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

func num(d *datadriven.TestData, key string, def int64) int64 {
	if s := str(d, key); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	return def
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestExpiredIDsInOrder wants what a tick forgets to be in the order of the ids, not in that of a map.
func TestExpiredIDsInOrder(t *testing.T) {
	h := newHarness(t)
	for i := range 50 {
		id := fmt.Sprintf("id-%02d", 49-i)
		if resp := h.init(4, kmsg.InitProducerIdRequest{TransactionalId: &id, TransactionTimeoutMs: 1000, ProducerId: -1, ProducerEpoch: -1}); resp.ErrorCode != 0 {
			t.Fatalf("%+v", resp)
		}
	}
	before := len(h.log)
	h.advance(h.config.IDExpiration + h.config.ExpireInterval)
	var keys []string
	for _, r := range h.log[before:] {
		keys = append(keys, string(r.Key))
	}
	if len(keys) != 50 || !slices.IsSorted(keys) {
		t.Errorf("%d ids are forgotten, in the order %q", len(keys), keys)
	}
}
