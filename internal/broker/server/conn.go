package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

const (
	// maxSlots bounds the produce requests of one connection that wait for their ack.
	maxSlots = 256
	// coalesceBytes bounds the answers held back while the next request is already here.
	coalesceBytes = 64 << 10
)

// conn is one client connection.
type conn struct {
	srv *Server
	nc  net.Conn // a TLS session where the listener is encrypted
	api *api.Conn
	in  frameReader

	guarded   bool      // the client has to log in: what it may send is bounded
	tls       *tls.Conn // nil where the listener is not encrypted
	socket    *socket   // below tls
	principal func(*x509.Certificate) (auth.Principal, error)

	closing  chan struct{}
	shutOnce sync.Once
	dead     atomic.Bool

	replied chan struct{} // capacity 1: the answer the serving goroutine waits for is here
	wake    chan struct{} // capacity 1: the writer goroutine has something to do
	out     sender

	mu struct {
		sync.Mutex
		head, tail *slot // requests in order of arrival, not yet answered
		free       *slot
		count      int
		bytes      int64 // of the requests in the queue
		held       int   // bytes of finished answers at the head that nobody has begun to write
		waiting    *slot // the one the serving goroutine waits for
		writing    bool  // somebody is sending
		writer     bool  // the writer goroutine runs
		answered   bool  // something was sent, or is about to be
	}
	writer sync.WaitGroup
}

// slot is the place of one request's answer in the order of the connection.
type slot struct {
	c       *conn
	call    api.Call
	w       *kmsg.Writer
	done    bool
	serving bool // its handler has not returned
	bytes   int64
	next    *slot
}

func newConn(s *Server, l *Listener, nc net.Conn) *conn {
	c := &conn{
		srv: s, closing: make(chan struct{}),
		replied: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	c.nc = c.secure(l, nc)
	c.api = api.NewConn(s.nextID.Add(1), l.Name, addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr()), c.closing, c.flush)
	c.api.More = c.in.hasMore
	c.in.init(c.nc, s.o.MaxRequestBytes, s.budget, s.o.IdleTimeout, s.o.StallTimeout)
	c.out.init(c.nc)
	if t, ok := nc.(*net.TCPConn); ok {
		if s.o.SendBufferBytes > 0 {
			_ = t.SetWriteBuffer(s.o.SendBufferBytes)
		}
		if s.o.ReceiveBufferBytes > 0 {
			_ = t.SetReadBuffer(s.o.ReceiveBufferBytes)
		}
	}
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}

// shut closes the socket and releases whatever waits on it. It may be called from any goroutine.
func (c *conn) shut() {
	c.shutOnce.Do(func() {
		c.dead.Store(true)
		close(c.closing)
		if c.socket != nil {
			c.socket.closing.Store(true)
		}
		_ = c.nc.Close()
	})
}

// stop shuts a connection because the server stops. One that has had no answer yet is reset: franz-go takes an orderly
// end before the first answer for TLS where there is none, and fails its records; a reset it tries again.
func (c *conn) stop() {
	c.mu.Lock()
	answered := c.mu.answered
	c.mu.Unlock()
	if t := c.tcp(); t != nil && !answered {
		_ = t.SetLinger(0)
	}
	c.shut()
}

// tcp is the socket, nil where there is none.
func (c *conn) tcp() *net.TCPConn {
	nc := c.nc
	if c.socket != nil {
		nc = c.socket.Conn
	}
	t, _ := nc.(*net.TCPConn)
	return t
}

// serve reads requests until the connection ends.
func (c *conn) serve() {
	defer c.end()
	if err := c.handshake(); err != nil {
		c.logEnd(err)
		return
	}
	c.guard()
	for {
		frame, err := c.in.next()
		if err != nil {
			c.cutOff(err)
			c.logEnd(err)
			return
		}
		s := c.push(len(frame))
		err = c.srv.o.Broker.Dispatch(c.api, frame, &s.call, s)
		c.in.release()
		if err != nil {
			c.sendLast(s)
			c.logEnd(err)
			return
		}
		c.guard()
		if !c.settle(s) || !c.sitOut() {
			return
		}
	}
}

// guard bounds what a client may send, and for how long, as long as it has not logged in.
func (c *conn) guard() {
	limits := c.api.LoggingIn()
	switch {
	case limits == nil && c.guarded:
		c.guarded = false
		c.in.unlimited(c.srv.o.MaxRequestBytes)
	case limits != nil && !c.guarded:
		c.guarded = true
		c.in.limited(min(limits.MaxReceiveBytes, c.srv.o.MaxRequestBytes), limits.HandshakeTimeout)
	}
}

// cutOff counts a login that ended in the middle: its client was too slow, or sent what is no frame.
func (c *conn) cutOff(err error) {
	if c.api.LoggingIn() == nil || isReset(err) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) {
		return
	}
	c.api.LoginCut(errors.Is(err, os.ErrDeadlineExceeded))
}

// sendLast sends what the handler of a request has answered that ends the connection.
func (c *conn) sendLast(s *slot) {
	c.mu.Lock()
	s.serving = false
	c.mu.Unlock()
	c.flush()
}

// settle is what the serving goroutine does once the handler has returned: wait for the answer
// where the API holds its connection, and send what is ready unless the next request is here.
func (c *conn) settle(s *slot) bool {
	c.mu.Lock()
	s.serving = false
	for !s.done && (s.call.Key != kmsg.KeyProduce || c.mu.count >= maxSlots || c.mu.bytes > c.srv.o.ConnectionBudgetBytes) {
		c.mu.waiting = s
		ready := c.mu.head != nil && c.mu.head.done
		c.mu.Unlock()
		if ready {
			c.flush()
		}
		select {
		case <-c.replied:
		case <-c.closing:
			return false
		}
		c.mu.Lock()
	}
	c.mu.waiting = nil
	ready := c.mu.head != nil && c.mu.head.done
	hold := c.in.hasFrame() && c.mu.held < coalesceBytes && !c.api.IsMuted()
	c.mu.Unlock()
	if ready && !hold {
		c.flush()
	}
	return !c.dead.Load()
}

// sitOut leaves the socket unread for as long as the client has to wait for its quotas.
func (c *conn) sitOut() bool {
	for c.api.IsMuted() {
		wait := c.api.Muted(c.srv.o.Broker.Clock.Now())
		if wait == 0 {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.closing:
			timer.Stop()
			return false
		}
	}
	return true
}

func (c *conn) push(frameBytes int) *slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.mu.free
	if s != nil {
		c.mu.free = s.next
		s.next, s.w, s.done = nil, nil, false
	} else {
		s = &slot{c: c}
	}
	s.serving, s.bytes = true, int64(frameBytes)
	c.mu.bytes += s.bytes
	if c.mu.tail == nil {
		c.mu.head = s
	} else {
		c.mu.tail.next = s
	}
	c.mu.tail = s
	c.mu.count++
	return s
}

// Send is the handler's answer. On the serving goroutine it only fills the slot, and settle sends;
// from elsewhere it wakes whoever is to send.
func (s *slot) Send(w *kmsg.Writer) { s.finish(w) }

// Drop ends the call without an answer.
func (s *slot) Drop() { s.finish(nil) }

// Close ends the connection. Answers to earlier requests that are ready still go out.
func (s *slot) Close(reason string) {
	s.c.srv.o.Logger.Debug("closing connection", "client", s.c.api.Remote.String(), "reason", reason)
	s.c.dead.Store(true)
	s.finish(nil)
}

func (s *slot) finish(w *kmsg.Writer) {
	c := s.c
	c.mu.Lock()
	s.w, s.done = w, true
	if w != nil {
		c.mu.held += len(w.Buf)
	}
	serving, waiting, first := s.serving, c.mu.waiting == s, c.mu.head == s
	startWriter := !serving && !waiting && first && !c.mu.writer
	if startWriter {
		c.mu.writer = true
		c.writer.Add(1)
	}
	c.mu.Unlock()
	switch {
	case serving:
	case waiting:
		notify(c.replied)
	case first:
		if startWriter {
			go c.writeLoop()
		}
		notify(c.wake)
	}
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// writeLoop sends the answers that were finished away from the serving goroutine.
func (c *conn) writeLoop() {
	defer c.writer.Done()
	for {
		select {
		case <-c.wake:
			c.flush()
		case <-c.closing:
			return
		}
	}
}

// flush sends every finished answer at the head of the queue. If somebody else is sending, that one
// goes on with what has become ready.
func (c *conn) flush() {
	c.mu.Lock()
	if c.mu.writing {
		c.mu.Unlock()
		return
	}
	c.mu.writing = true
	for c.mu.head != nil && c.mu.head.done && !c.mu.head.serving {
		first := c.takeLocked()
		c.mu.held = 0
		c.mu.Unlock()
		c.send(first)
		c.mu.Lock()
		c.recycleLocked(first)
	}
	c.mu.writing = false
	c.mu.Unlock()
}

// takeLocked cuts the finished slots off the head of the queue and returns them as a list.
func (c *conn) takeLocked() *slot {
	c.mu.answered = true
	first := c.mu.head
	last := first
	c.mu.count--
	c.mu.bytes -= last.bytes
	for last.next != nil && last.next.done && !last.next.serving {
		last = last.next
		c.mu.count--
		c.mu.bytes -= last.bytes
	}
	c.mu.head = last.next
	if c.mu.head == nil {
		c.mu.tail = nil
	}
	last.next = nil
	return first
}

func (c *conn) recycleLocked(s *slot) {
	for s != nil {
		next := s.next
		s.w, s.next = nil, c.mu.free
		c.mu.free = s
		s = next
	}
}

// send writes a list of answers; after a failure it only gives their memory back.
func (c *conn) send(s *slot) {
	for ; s != nil; s = s.next {
		if s.w == nil {
			continue
		}
		if err := c.out.add(s.w); err != nil {
			c.sendFailed(err)
		}
		s.w = nil
	}
	if err := c.out.flush(); err != nil {
		c.sendFailed(err)
	}
}

// sendFailed ends the connection: half an answer may be out.
func (c *conn) sendFailed(err error) {
	if !c.dead.Swap(true) && !isReset(err) && !errors.Is(err, net.ErrClosed) {
		c.srv.o.Logger.Error("sending an answer failed", "client", c.api.Remote.String(), "listener", c.api.Listener, "err", err)
	}
	c.shut()
}

// end waits for the writer and gives back what was never sent.
func (c *conn) end() {
	if c.dead.Load() {
		c.flush()
	}
	c.shut()
	c.api.Gone()
	if c.api.Controller {
		c.srv.o.Broker.Ended(c.api)
	}
	c.writer.Wait()
	c.in.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := c.mu.head; s != nil; s = s.next {
		if s.done && s.w != nil {
			discard(s.w)
			s.w = nil
		}
	}
}

func (c *conn) logEnd(err error) {
	var shake *handshakeError
	inHandshake := errors.As(err, &shake)
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) && !inHandshake {
		return
	}
	level := slog.LevelInfo
	if !inHandshake && errors.Is(err, os.ErrDeadlineExceeded) || isReset(err) {
		level = slog.LevelDebug
	}
	args := []any{"client", c.api.Remote.String(), "listener", c.api.Listener, "err", err}
	message, lines := "connection closed", &c.srv.badLog
	if login := (*api.LoginError)(nil); errors.As(err, &login) {
		level, message, lines = slog.LevelInfo, "login failed", &c.srv.logins
		args = append(args, "mechanism", login.Mechanism)
	}
	if level == slog.LevelInfo {
		left, ok := lines.allow(time.Now())
		if !ok {
			return
		}
		if left > 0 {
			args = append(args, "suppressed", left)
		}
	}
	c.srv.o.Logger.Log(context.Background(), level, message, args...)
}
