// Package server owns the listeners and the connections of a broker.
//
// It reads frames, gives each to api.Dispatch and sends the answers in the order of the requests. It
// must not know what a request means, beyond its key: Produce may be overtaken by the next request
// while it waits for its ack, every other API holds its connection until it is answered, as Kafka
// mutes a channel.
//
// Concurrency: one goroutine accepts on each listener and one serves each connection. A second
// goroutine writes for a connection once one of its answers came from elsewhere (a durable ack).
//
// Invariants:
//  1. Answers leave a connection in the order of its requests.
//  2. A connection holds no buffer while it is idle.
//  3. The bytes of requests in flight stay below the budget, over all connections and per connection.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/auth"
)

// Options configure a Server. Limits of 0 mean none, but for MaxRequestBytes and BudgetBytes.
type Options struct {
	Broker *api.Broker
	Logger *slog.Logger
	// MaxRequestBytes is socket.request.max.bytes.
	MaxRequestBytes int
	// BudgetBytes bounds the requests in flight over all connections.
	BudgetBytes int64
	// ConnectionBudgetBytes bounds the produce requests of one connection that wait for their ack
	// before it is read no further; 0 is 128 MiB.
	ConnectionBudgetBytes int64
	// IdleTimeout is connections.max.idle.ms.
	IdleTimeout time.Duration
	// StallTimeout is how long the next part of a large request may take once the budget is charged
	// for it; 0 is 10 s.
	StallTimeout time.Duration
	// HandshakeTimeout bounds a TLS handshake; 0 is 10 s. Where more than half of the room for them is taken it is a tenth.
	HandshakeTimeout time.Duration
	// MaxHandshakes bounds the TLS handshakes that run at a time, over all listeners; 0 is 1,024. A listener accepts no more
	// until one has ended.
	MaxHandshakes int
	// SendBufferBytes and ReceiveBufferBytes are socket.*.buffer.bytes; -1 leaves the system's.
	SendBufferBytes, ReceiveBufferBytes int
	Limits                              Limits
}

// Limits bound how many connections there may be.
type Limits struct {
	MaxConnections int
	MaxPerIP       int
	// PerIP overrides MaxPerIP for single addresses.
	PerIP map[string]int
}

// Listener is an open listener and its name in the configuration.
type Listener struct {
	Name string
	// Controller says that it belongs to the controllers.
	Controller bool
	// TLS is nil where the listener is not encrypted.
	TLS *TLS
	// Gate is where its clients log in; nil where they need not.
	Gate *auth.Gate
	net.Listener
}

// Server serves Kafka connections.
type Server struct {
	o      Options
	budget *budget
	nextID atomic.Uint64
	limits atomic.Pointer[Limits]
	badLog badLog // of what clients send
	logins badLog // of logins that fail

	handshakes *handshakes

	mu struct {
		sync.Mutex
		conns map[*conn]struct{}
		perIP map[string]int
		stop  bool
	}
	wg sync.WaitGroup
}

const defaultConnectionBudget = 128 << 20

// New returns a server; Run starts it.
func New(o Options) *Server {
	if o.StallTimeout <= 0 {
		o.StallTimeout = stallTimeout
	}
	if o.ConnectionBudgetBytes <= 0 {
		o.ConnectionBudgetBytes = defaultConnectionBudget
	}
	s := &Server{o: o, budget: newBudget(o.BudgetBytes), handshakes: newHandshakes(o)}
	s.SetLimits(o.Limits)
	s.mu.conns = map[*conn]struct{}{}
	s.mu.perIP = map[string]int{}
	return s
}

// SetLimits changes the connection limits; connections that are open stay.
func (s *Server) SetLimits(l Limits) { s.limits.Store(&l) }

// Run accepts on the listeners until ctx ends, then closes them and every connection, and returns
// when the last goroutine is gone.
func (s *Server) Run(ctx context.Context, listeners []Listener) error {
	var accepting sync.WaitGroup
	for _, l := range listeners {
		accepting.Go(func() { s.accept(ctx, l) })
	}
	<-ctx.Done()
	for _, l := range listeners {
		_ = l.Close()
	}
	accepting.Wait()
	s.closeAll()
	s.wg.Wait()
	return nil
}

// Connections is the number of open connections, by listener.
func (s *Server) Connections() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for c := range s.mu.conns {
		n[c.api.Listener]++
	}
	return n
}

// Software counts the open connections by client software.
func (s *Server) Software() map[api.Software]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[api.Software]int{}
	for c := range s.mu.conns {
		if sw := c.api.Software.Load(); sw != nil {
			n[*sw]++
		}
	}
	return n
}

// InFlightBytes is what large requests hold of the budget.
func (s *Server) InFlightBytes() int64 { return s.budget.taken() }

func (s *Server) accept(ctx context.Context, l Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, most likely: wait for some to come back rather than spin.
			s.o.Logger.Error("accept failed", "listener", l.Name, "err", err)
			time.Sleep(acceptRetry)
			continue
		}
		if !s.mayCome(ctx, nc) {
			continue
		}
		if l.TLS != nil && !s.handshakes.enter(ctx) {
			_ = nc.Close()
			continue
		}
		s.serveOn(&l, nc)
	}
}

// mayCome holds the listener back while connections come too fast, and turns those away that come too
// fast from one address.
func (s *Server) mayCome(ctx context.Context, nc net.Conn) bool {
	pause, refused := s.o.Broker.Quotas.Connect(s.o.Broker.Clock.Now(), hostOf(nc.RemoteAddr()))
	wait(ctx, pause)
	if refused == 0 {
		return true
	}
	s.wg.Go(func() {
		wait(ctx, refused)
		_ = nc.Close()
	})
	return false
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

const stallTimeout = 10 * time.Second

const acceptRetry = 100 * time.Millisecond

// Serve takes over one connection, as if it had been accepted on the named listener.
func (s *Server) Serve(listener string, nc net.Conn) { s.serveOn(&Listener{Name: listener}, nc) }

// serveOn serves a connection of a listener. On an encrypted one the room for its handshake has been taken.
func (s *Server) serveOn(l *Listener, nc net.Conn) {
	ip := hostOf(nc.RemoteAddr())
	c := newConn(s, l, nc)
	c.api.Controller = l.Controller
	if err := s.admit(c, ip); err != nil {
		s.o.Logger.Warn("connection refused", "listener", l.Name, "client", ip, "reason", err.Error())
		_ = nc.Close()
		if l.TLS != nil {
			s.handshakes.leave()
		}
		return
	}
	if l.Gate != nil {
		c.api.RequireLogin(l.Gate)
	}
	s.wg.Go(func() {
		defer s.forget(c, ip)
		c.serve()
	})
}

func (s *Server) admit(c *conn, ip string) error {
	l := s.limits.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.stop {
		return errors.New("the server is stopping")
	}
	if l.MaxConnections > 0 && len(s.mu.conns) >= l.MaxConnections {
		return fmt.Errorf("max.connections is %d", l.MaxConnections)
	}
	most := l.MaxPerIP
	if n, ok := l.PerIP[ip]; ok {
		most = n
	}
	if most > 0 && s.mu.perIP[ip] >= most {
		return fmt.Errorf("max.connections.per.ip is %d for %s", most, ip)
	}
	s.mu.conns[c] = struct{}{}
	s.mu.perIP[ip]++
	return nil
}

func (s *Server) forget(c *conn, ip string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, c)
	if s.mu.perIP[ip]--; s.mu.perIP[ip] == 0 {
		delete(s.mu.perIP, ip)
	}
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.stop = true
	for c := range s.mu.conns {
		c.stop()
	}
}

func hostOf(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().String()
	}
	return a.String()
}
