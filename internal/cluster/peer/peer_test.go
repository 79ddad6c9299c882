package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// node is the other side: it answers ApiVersions by itself and gives every other frame to serve,
// whose answer it sends; nil is none.
type node struct {
	net.Listener
	serve func(key, version int16, body []byte) kmsg.Response
	conns atomic.Int32
	wg    sync.WaitGroup
	mu    struct {
		sync.Mutex
		open []net.Conn
	}
}

func newNode(t testing.TB, serve func(key, version int16, body []byte) kmsg.Response) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Listener: l, serve: serve}
	n.wg.Go(n.accept)
	t.Cleanup(n.stop)
	return n
}

func (n *node) accept() {
	for {
		nc, err := n.Accept()
		if err != nil {
			return
		}
		n.conns.Add(1)
		n.mu.Lock()
		n.mu.open = append(n.mu.open, nc)
		n.mu.Unlock()
		n.wg.Go(func() { n.talk(nc) })
	}
}

func (n *node) breakAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, nc := range n.mu.open {
		_ = nc.Close()
	}
	n.mu.open = nil
}

func (n *node) stop() {
	_ = n.Close()
	n.breakAll()
	n.wg.Wait()
}

func (n *node) talk(nc net.Conn) {
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
		var resp kmsg.Response
		if key == kmsg.KeyApiVersions {
			v := kmsg.NewApiVersionsResponse()
			for _, a := range kmsg.APIs {
				if a.Key != kmsg.KeyVote {
					v.ApiKeys = append(v.ApiKeys, kmsg.ApiVersionsResponseApiVersion{ApiKey: a.Key, MinVersion: a.Min, MaxVersion: a.Max})
				}
			}
			resp = &v
		} else {
			idEnd := 10 + int(binary.BigEndian.Uint16(frame[8:]))
			if kmsg.RequestHeaderVersion(key, version) >= 2 {
				idEnd++
			}
			if resp = n.serve(key, version, frame[idEnd:]); resp == nil {
				continue
			}
		}
		w := &kmsg.Writer{Buf: make([]byte, 4)}
		w.Buf = append(w.Buf, frame[4:8]...)
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

func (n *node) client(t testing.TB, o Options) *Client {
	t.Helper()
	o.Address = func() (string, error) { return n.Addr().String(), nil }
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

// echo answers Heartbeat with the generation as its error code.
func echo(_, version int16, body []byte) kmsg.Response {
	var req kmsg.HeartbeatRequest
	r := kmsg.NewReader(body)
	if err := req.Read(&r, version); err != nil {
		panic(err)
	}
	resp := kmsg.NewHeartbeatResponse()
	resp.ErrorCode = int16(req.GenerationId)
	return &resp
}

func beat(generation int) *kmsg.HeartbeatRequest {
	req := kmsg.NewHeartbeatRequest()
	req.GroupId, req.GenerationId = "g"+strconv.Itoa(generation), int32(generation)
	return &req
}

func TestRequestsShareAConnection(t *testing.T) {
	n := newNode(t, echo)
	c := n.client(t, Options{MaxInFlight: 4})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			resp, err := Request[kmsg.HeartbeatResponse](t.Context(), c, beat(i))
			if err != nil || resp.ErrorCode != int16(i) {
				t.Errorf("request %d: answer %+v, error %v", i, resp, err)
			}
		})
	}
	wg.Wait()
	if got := n.conns.Load(); got != 1 {
		t.Errorf("%d connections were opened, want 1", got)
	}
}

func TestTimeoutClosesTheConnection(t *testing.T) {
	var silent atomic.Bool
	silent.Store(true)
	n := newNode(t, func(key, version int16, body []byte) kmsg.Response {
		if silent.Load() {
			return nil
		}
		return echo(key, version, body)
	})
	lost := make(chan error, 1)
	c := n.client(t, Options{RequestTimeout: 50 * time.Millisecond, Lost: func(err error) { lost <- err }})
	if _, err := Request[kmsg.HeartbeatResponse](t.Context(), c, beat(1)); !errors.Is(err, ErrTimeout) {
		t.Fatalf("error %v, want %v", err, ErrTimeout)
	}
	silent.Store(false)
	late := int32(0) // answers that a slow machine gives too late too, each of which costs a connection
	for {
		resp, err := Request[kmsg.HeartbeatResponse](t.Context(), c, beat(2))
		if errors.Is(err, ErrTimeout) && late < 1000 {
			late++
			continue
		}
		if err != nil || resp.ErrorCode != 2 {
			t.Fatalf("after the time-out: answer %+v, error %v", resp, err)
		}
		break
	}
	if got := n.conns.Load(); got < 2 || got > 2+late {
		t.Errorf("%d connections were opened, want 2, and up to %d more for late answers", got, late)
	}
	select {
	case err := <-lost:
		t.Errorf("a time-out was reported as a lost connection: %v", err)
	default:
	}
}

func TestLostConnectionFailsItsRequestsAndIsReported(t *testing.T) {
	arrived := make(chan struct{}, 8)
	n := newNode(t, func(key, version int16, body []byte) kmsg.Response {
		arrived <- struct{}{}
		return nil
	})
	lost := make(chan error, 1)
	c := n.client(t, Options{Lost: func(err error) { lost <- err }})
	failed := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := Request[kmsg.HeartbeatResponse](t.Context(), c, beat(i))
			failed <- err
		}()
	}
	<-arrived
	<-arrived
	n.breakAll()
	for range 2 {
		if err := <-failed; err == nil || errors.Is(err, ErrTimeout) {
			t.Errorf("error %v, want that of the connection", err)
		}
	}
	<-lost
}

func TestBackoffBetweenAttempts(t *testing.T) {
	var tries atomic.Int32
	c := New(Options{
		Address: func() (string, error) { return "nowhere", nil }, BackoffMin: time.Hour, BackoffMax: time.Hour,
		Dial: func(context.Context, string) (net.Conn, error) {
			tries.Add(1)
			return nil, errors.New("refused")
		},
	})
	defer c.Close()
	if _, err := Request[kmsg.HeartbeatResponse](t.Context(), c, beat(1)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("error %v, want that of the dialer", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Request[kmsg.HeartbeatResponse](ctx, c, beat(1)); !errors.Is(err, ErrTimeout) {
		t.Fatalf("error %v, want %v: the back-off is not over", err, ErrTimeout)
	}
	if got := tries.Load(); got != 1 {
		t.Errorf("%d attempts within the back-off, want 1", got)
	}
}

func TestVersionsAreAgreedOn(t *testing.T) {
	n := newNode(t, func(_, version int16, _ []byte) kmsg.Response {
		resp := kmsg.NewHeartbeatResponse()
		resp.ErrorCode = version
		return &resp
	})
	c := n.client(t, Options{})
	var resp kmsg.HeartbeatResponse
	if err := c.DoVersion(t.Context(), beat(1), &resp, 2); err != nil || resp.ErrorCode != 2 {
		t.Errorf("at most version 2: version %d, error %v", resp.ErrorCode, err)
	}
	vote := kmsg.NewVoteRequest()
	var refused *VersionError
	if err := c.Do(t.Context(), &vote, &kmsg.VoteResponse{}); !errors.As(err, &refused) || refused.Max != -1 {
		t.Errorf("an API that is not served: error %v", err)
	}
}

func TestPostHasNoAnswer(t *testing.T) {
	const key = 30000
	got := make(chan string, 1)
	n := newNode(t, func(k, version int16, body []byte) kmsg.Response {
		if k == key {
			got <- string(body)
			return nil
		}
		return echo(k, version, body)
	})
	c := n.client(t, Options{})
	if err := c.Post(t.Context(), key, 0, []byte("message")); err != nil {
		t.Fatal(err)
	}
	if body := <-got; body != "message" {
		t.Errorf("body %q", body)
	}
	resp, err := Request[kmsg.HeartbeatResponse](t.Context(), c, beat(7))
	if err != nil || resp.ErrorCode != 7 {
		t.Errorf("the request behind it: answer %+v, error %v", resp, err)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	arrived := make(chan struct{}, 1)
	n := newNode(t, func(int16, int16, []byte) kmsg.Response {
		arrived <- struct{}{}
		return nil
	})
	c := n.client(t, Options{})
	failed := make(chan error, 1)
	go func() {
		_, err := Request[kmsg.HeartbeatResponse](context.Background(), c, beat(1))
		failed <- err
	}()
	<-arrived
	c.Close()
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want %v", err, ErrClosed)
	}
	if err := c.Post(t.Context(), 30000, 0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: error %v, want %v", err, ErrClosed)
	}
}
