package uplink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// quorum is three controllers of which one is active; they share what they know.
type quorum struct {
	wg sync.WaitGroup
	mu struct {
		sync.Mutex
		active    string
		broken    map[string]bool
		conns     map[string][]net.Conn
		beats     []kmsg.BrokerHeartbeatRequest
		registers []kmsg.BrokerRegistrationRequest
		duplicate int // registrations to refuse
		fenced    int // heartbeats to answer as fenced
		letGo     bool
		forget    bool // the next heartbeat is of a broker that is not registered
		alters    []kmsg.AlterPartitionRequest
	}
	hold chan struct{} // AlterPartition waits for it, if not nil
}

var addresses = []string{"a:1", "b:1", "c:1"}

func newQuorum(t *testing.T, active string) *quorum {
	t.Helper()
	q := &quorum{}
	q.mu.active, q.mu.broken, q.mu.conns = active, map[string]bool{}, map[string][]net.Conn{}
	t.Cleanup(q.wg.Wait)
	return q
}

func (q *quorum) dial(_ context.Context, address string) (net.Conn, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.broken[address] {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	q.mu.conns[address] = append(q.mu.conns[address], there)
	q.wg.Go(func() {
		defer there.Close()
		q.serve(address, there)
	})
	return here, nil
}

// kill breaks a controller's connections for good.
func (q *quorum) kill(address, next string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.broken[address], q.mu.active = true, next
	for _, nc := range q.mu.conns[address] {
		_ = nc.Close()
	}
}

func (q *quorum) serve(address string, nc net.Conn) {
	for {
		var size [4]byte
		if _, err := io.ReadFull(nc, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(nc, frame); err != nil {
			return
		}
		key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
		r := kmsg.NewReader(frame)
		var h kmsg.RequestHeader
		if err := h.Read(&r, kmsg.RequestHeaderVersion(key, version)); err != nil {
			return
		}
		resp := q.answer(address, key, version, r.Rest())
		w := &kmsg.Writer{Buf: make([]byte, 4)}
		w.Int32(h.CorrelationId)
		if kmsg.ResponseHeaderVersion(key, version) >= 1 {
			w.Uvarint(0)
		}
		resp.Append(w, version)
		binary.BigEndian.PutUint32(w.Buf, uint32(len(w.Buf)-4))
		if _, err := nc.Write(w.Buf); err != nil {
			return
		}
	}
}

func read(req kmsg.Request, body []byte, version int16) {
	r := kmsg.NewReader(body)
	if err := req.Read(&r, version); err != nil {
		panic(err)
	}
}

func (q *quorum) answer(address string, key, version int16, body []byte) kmsg.Response {
	q.mu.Lock()
	defer q.mu.Unlock()
	code := int16(0)
	if q.mu.active != address {
		code = kerr.NotController.Code
	}
	switch key {
	case kmsg.KeyApiVersions:
		v := kmsg.NewApiVersionsResponse()
		for _, a := range kmsg.APIs {
			v.ApiKeys = append(v.ApiKeys, kmsg.ApiVersionsResponseApiVersion{ApiKey: a.Key, MinVersion: a.Min, MaxVersion: a.Max})
		}
		return &v
	case kmsg.KeyFetch:
		resp := kmsg.NewFetchResponse()
		p := kmsg.NewFetchResponsePartitionData()
		if code != 0 {
			p.ErrorCode = kerr.NotLeaderForPartition.Code
			p.CurrentLeader.LeaderId = 9
			resp.NodeEndpoints = []kmsg.FetchResponseNodeEndpoint{{NodeId: 9, Host: "d", Port: 1}}
		}
		resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{{Partitions: []kmsg.FetchResponsePartitionData{p}}}
		return &resp
	case kmsg.KeyBrokerRegistration:
		resp := kmsg.NewBrokerRegistrationResponse()
		var req kmsg.BrokerRegistrationRequest
		read(&req, body, version)
		if resp.ErrorCode = code; code == 0 && q.mu.duplicate > 0 {
			q.mu.duplicate--
			resp.ErrorCode = kerr.DuplicateBrokerRegistration.Code
		}
		if resp.ErrorCode == 0 {
			q.mu.registers = append(q.mu.registers, req)
			resp.BrokerEpoch = int64(len(q.mu.registers)) * 100
		}
		return &resp
	case kmsg.KeyBrokerHeartbeat:
		resp := kmsg.NewBrokerHeartbeatResponse()
		if resp.ErrorCode = code; code == 0 && q.mu.forget {
			q.mu.forget = false
			resp.ErrorCode = kerr.BrokerIDNotRegistered.Code
		}
		if resp.ErrorCode == 0 {
			var req kmsg.BrokerHeartbeatRequest
			read(&req, body, version)
			q.mu.beats = append(q.mu.beats, req)
			resp.IsFenced = len(q.mu.beats) <= q.mu.fenced
			resp.ShouldShutDown = req.WantShutDown && q.mu.letGo
		}
		return &resp
	case kmsg.KeyAlterPartition:
		if q.hold != nil {
			q.mu.Unlock()
			<-q.hold
			q.mu.Lock()
		}
		resp := kmsg.NewAlterPartitionResponse()
		if resp.ErrorCode = code; code != 0 {
			return &resp
		}
		var req kmsg.AlterPartitionRequest
		read(&req, body, version)
		q.mu.alters = append(q.mu.alters, req)
		for _, t := range req.Topics {
			out := kmsg.AlterPartitionResponseTopicData{TopicId: t.TopicId}
			for _, p := range t.Partitions {
				d := kmsg.AlterPartitionResponsePartitionData{
					PartitionIndex: p.PartitionIndex, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch + 1,
				}
				for _, m := range p.NewIsrWithEpochs {
					d.Isr = append(d.Isr, m.BrokerId)
				}
				if p.PartitionIndex == 13 {
					d.ErrorCode = kerr.InvalidUpdateVersion.Code
				}
				if p.PartitionIndex != 14 { // which is left out
					out.Partitions = append(out.Partitions, d)
				}
			}
			resp.Topics = append(resp.Topics, out)
		}
		return &resp
	case kmsg.KeyEnvelope:
		resp := &peer.EnvelopeResponse{EndOffset: 42}
		resp.ErrorCode, resp.ResponseData = code, []byte("answer of "+address)
		return resp
	}
	panic("unexpected request")
}

func (q *quorum) uplink(t *testing.T, o Options) (*Uplink, chan error) {
	t.Helper()
	o.NodeID, o.Dial = 1, q.dial
	o.Controllers = func() []Controller { return []Controller{{1, "a:1"}, {2, "b:1"}, {3, "c:1"}} }
	o.Leader = func() int32 { return -1 }
	o.Registration = func() *kmsg.BrokerRegistrationRequest {
		r := kmsg.NewBrokerRegistrationRequest()
		r.BrokerId = 1
		return &r
	}
	o.MetadataOffset, o.OfflineDirs = func() int64 { return 7 }, func() []base.TopicID { return nil }
	if o.CordonedDirs == nil {
		o.CordonedDirs = func() []base.TopicID { return nil }
	}
	o.RequestTimeout = patience
	if o.HeartbeatInterval == 0 {
		o.HeartbeatInterval = 5 * time.Millisecond
	}
	if o.RegistrationTimeout == 0 {
		o.RegistrationTimeout = patience
	}
	u := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done <- u.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		u.Close()
	})
	return u, done
}

// patience is how long a test waits for what takes milliseconds on a machine that is free.
const patience = 2 * time.Minute

func wait(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal("not within two minutes: " + what)
	}
}

// A controller that no configuration names leads: whoever is asked for the metadata says where it is.
func TestLeaderThatWasAdded(t *testing.T) {
	q := newQuorum(t, "d:1")
	u, _ := q.uplink(t, Options{})
	req := kmsg.NewFetchRequest()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := u.Pull(ctx, &req, &kmsg.FetchResponse{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "registered", u.Registered())
}

func TestLifeOfARegistration(t *testing.T) {
	q := newQuorum(t, "c:1")
	q.mu.duplicate, q.mu.fenced = 1, 3
	u, done := q.uplink(t, Options{PreviousEpoch: 55, CordonedDirs: func() []base.TopicID { return []base.TopicID{{9}} }})
	wait(t, "registered", u.Registered())
	wait(t, "unfenced", u.Unfenced())
	if u.Epoch() != 100 || u.Fenced() {
		t.Errorf("epoch %d, fenced %t", u.Epoch(), u.Fenced())
	}
	q.mu.Lock()
	if r := q.mu.registers[0]; r.PreviousBrokerEpoch != 55 {
		t.Errorf("registered with %+v", r)
	}
	if b := q.mu.beats[0]; b.BrokerEpoch != 100 || b.CurrentMetadataOffset != 7 || b.WantShutDown ||
		!slices.Equal(b.CordonedLogDirs, []base.TopicID{{9}}) {
		t.Errorf("heartbeat %+v", b)
	}
	q.mu.letGo = true
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := u.Shutdown(ctx); err != nil {
		t.Errorf("controlled shutdown: %v", err)
	}
	select {
	case err := <-done:
		t.Errorf("the uplink ended by itself: %v", err)
	default:
	}
}

func TestHeartbeatsFollowTheActiveController(t *testing.T) {
	q := newQuorum(t, "a:1")
	u, _ := q.uplink(t, Options{})
	wait(t, "unfenced", u.Unfenced())
	q.kill("a:1", "b:1")
	q.mu.Lock()
	before := len(q.mu.beats)
	q.mu.Unlock()
	q.awaitBeat(t, before, "no heartbeat reached the new controller")
}

// awaitBeat returns once more heartbeats came than before; otherwise is what the test says if none does.
func (q *quorum) awaitBeat(t *testing.T, before int, otherwise string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		now := len(q.mu.beats)
		q.mu.Unlock()
		if now > before {
			return
		}
		if time.Now().After(end) {
			t.Fatal(otherwise)
		}
	}
}

// A controller fences a broker whose connection broke unless it hears of it very soon, and the next heartbeat is not due for
// long.
func TestHeartbeatFollowsOnBrokenConnection(t *testing.T) {
	q := newQuorum(t, "a:1")
	u, _ := q.uplink(t, Options{HeartbeatInterval: time.Hour})
	wait(t, "unfenced", u.Unfenced())
	q.mu.Lock()
	before := len(q.mu.beats)
	for _, nc := range q.mu.conns["a:1"] {
		_ = nc.Close()
	}
	q.mu.Unlock()
	q.awaitBeat(t, before, "no heartbeat followed on the connection that broke")
}

func TestLostRegistrationIsMadeAgain(t *testing.T) {
	q := newQuorum(t, "a:1")
	u, _ := q.uplink(t, Options{})
	wait(t, "unfenced", u.Unfenced())
	q.mu.Lock()
	q.mu.forget = true
	q.mu.Unlock()
	for end := time.Now().Add(patience); u.Epoch() != 200; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("epoch %d, want that of a second registration", u.Epoch())
		}
	}
}

// TestUnregisteredWhileItStops: a broker that stops and is unregistered meanwhile, as logstead node decommission does, may stop,
// and does not register again: nobody would ever take that registration off.
func TestUnregisteredWhileItStops(t *testing.T) {
	for _, letGo := range []bool{false, true} {
		q := newQuorum(t, "a:1")
		u, _ := q.uplink(t, Options{})
		wait(t, "unfenced", u.Unfenced())
		q.mu.Lock()
		q.mu.letGo, q.mu.forget = letGo, !letGo
		q.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := u.Shutdown(ctx); err != nil {
			t.Errorf("let go %t: %v", letGo, err)
		}
		q.mu.Lock()
		q.mu.forget = true
		before := len(q.mu.beats)
		q.mu.Unlock()
		q.awaitBeat(t, before+1, "heartbeats after it")
		q.mu.Lock()
		if n := len(q.mu.registers); n != 1 {
			t.Errorf("let go %t: it registered %d times, want once", letGo, n)
		}
		q.mu.Unlock()
	}
}

func TestRegistrationIsGivenUp(t *testing.T) {
	q := newQuorum(t, "nobody")
	_, done := q.uplink(t, Options{RegistrationTimeout: 50 * time.Millisecond})
	var failed *RegistrationError
	if err := <-done; !errors.As(err, &failed) {
		t.Errorf("error %v", err)
	}
}

// TestWaitingIsToldOf: a broker that no controller lets in says so, whom it asked and why, at first and then now and then: an
// operator whose addresses are wrong sees nothing else.
func TestWaitingIsToldOf(t *testing.T) {
	q := newQuorum(t, "a:1")
	q.mu.broken["a:1"], q.mu.broken["b:1"], q.mu.broken["c:1"] = true, true, true
	var out lines
	q.uplink(t, Options{TellAfter: 20 * time.Millisecond, TellEvery: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	for end := time.Now().Add(patience); out.count("level=WARN msg=\"the broker waits to be registered\"") < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not said again and again:\n%s", out.text())
		}
	}
	if text := out.text(); !strings.Contains(text, "a:1") || !strings.Contains(text, "connection refused") {
		t.Errorf("want lines that name controllers and the reason:\n%s", text)
	}
}

// lines is a log to look at while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count(part string) int { return strings.Count(l.text(), part) }

func TestProposalsShareARequest(t *testing.T) {
	q := newQuorum(t, "b:1")
	q.hold = make(chan struct{}, 100)
	u, _ := q.uplink(t, Options{HeartbeatInterval: time.Hour})
	wait(t, "registered", u.Registered())
	type outcome struct {
		partition int32
		state     ISRState
		err       error
	}
	got := make(chan outcome, 20)
	topic := base.NewTopicID()
	propose := func(i int32) {
		u.ProposeISR(ISRChange{
			Topic: topic, Partition: i, LeaderEpoch: 3, PartitionEpoch: 9, ISR: []ISRMember{{1, 100}, {2, 200}},
			Done: func(s ISRState, err error) { got <- outcome{i, s, err} },
		})
	}
	propose(0)
	for i := range int32(10) { // behind the first, whose answer is held back
		propose(10 + i)
	}
	propose(10)
	for range 100 {
		q.hold <- struct{}{}
	}
	for range 12 {
		o := <-got
		switch {
		case o.partition == 13:
			if !errors.Is(o.err, kerr.InvalidUpdateVersion) {
				t.Errorf("partition 13: error %v", o.err)
			}
		case o.partition == 14:
			if !errors.Is(o.err, kerr.UnknownServerError) {
				t.Errorf("partition 14: error %v", o.err)
			}
		case o.err != nil || o.state.PartitionEpoch != 10 || len(o.state.ISR) != 2:
			t.Errorf("partition %d: state %+v, error %v", o.partition, o.state, o.err)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mu.alters) > 4 || q.mu.alters[0].BrokerEpoch != 100 {
		t.Errorf("%d requests, the first with broker epoch %d", len(q.mu.alters), q.mu.alters[0].BrokerEpoch)
	}
}

func TestForwardWaitsForTheMetadata(t *testing.T) {
	q := newQuorum(t, "c:1")
	awaited := int64(-1)
	u, _ := q.uplink(t, Options{AwaitMetadata: func(_ context.Context, end int64) error {
		awaited = end
		return nil
	}})
	data, err := u.Forward(t.Context(), []byte("request"), []byte("principal"), []byte{1, 2, 3, 4})
	if err != nil || string(data) != "answer of c:1" || awaited != 42 {
		t.Errorf("answer %q, error %v, metadata awaited up to %d", data, err, awaited)
	}
}
