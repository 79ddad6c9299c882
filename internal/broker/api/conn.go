package api

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Conn is what handlers may know of a connection. The server makes one per socket and calls
// Dispatch on it from one goroutine at a time.
type Conn struct {
	ID       uint64
	Listener string
	// Controller says that the listener belongs to the controllers: it serves their APIs and no others.
	Controller bool
	// Principal is who the client is; the zero value until it has authenticated, and for good where the listener does
	// not ask.
	Principal auth.Principal
	// Local is the address the client reached us at, from which an advertised address is inferred
	// where none is configured.
	Local  netip.AddrPort
	Remote netip.AddrPort

	// Software is the client's name and version from ApiVersions (KIP-511), for the connection
	// metrics; nil until the client has said.
	Software atomic.Pointer[Software]

	// More tells a handler, on its goroutine, whether the client has sent more than the request that is
	// being served; nil means that nobody knows.
	More func() bool

	sasl      *saslSession                // nil where the listener does not ask for a login
	heartbeat atomic.Pointer[heartbeatOf] // nil where no broker's heartbeats come over it

	clientID string // the last one seen, so that equal ids share one string
	sampler  batch.Sampler
	closing  <-chan struct{}
	flush    func()
	waiter   *partition.TailWaiter
	timer    *time.Timer
	muted    atomic.Pointer[time.Time]
}

// Software names a client library.
type Software struct{ Name, Version string }

// Host is the remote address as Kafka prints it in group descriptions.
func (c *Conn) Host() string { return "/" + c.Remote.Addr().Unmap().String() }

// host is the remote address, which entries of access control are compared with.
func (c *Conn) host() netip.Addr {
	if a := c.Remote.Addr().Unmap(); a.IsValid() {
		return a
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// kind is the kind of the listener.
func (c *Conn) kind() kmsg.Listeners {
	if c.Controller {
		return kmsg.ListenerController
	}
	return kmsg.ListenerBroker
}

func (c *Conn) internClientID(b []byte) string {
	if c.clientID != string(b) {
		c.clientID = string(b)
	}
	return c.clientID
}

func (c *Conn) more() bool { return c.More != nil && c.More() }

// tailWaiter is the connection's one waiter for fetches: a connection has one fetch at a time.
func (c *Conn) tailWaiter() *partition.TailWaiter {
	if c.waiter == nil {
		c.waiter = partition.NewTailWaiter()
	}
	return c.waiter
}

// waitTimer is the connection's one timer, set to d.
func (c *Conn) waitTimer(d time.Duration) *time.Timer {
	if c.timer == nil {
		c.timer = time.NewTimer(d)
		return c.timer
	}
	c.timer.Reset(d)
	return c.timer
}

// mute keeps the connection from being read until t.
func (c *Conn) mute(t time.Time) {
	for {
		old := c.muted.Load()
		if old != nil && !old.Before(t) || c.muted.CompareAndSwap(old, &t) {
			return
		}
	}
}

// Muted is for how long the connection may not be read (KIP-219), seen at now.
func (c *Conn) Muted(now time.Time) time.Duration {
	until := c.muted.Load()
	if until == nil {
		return 0
	}
	if wait := until.Sub(now); wait > 0 {
		return wait
	}
	c.muted.CompareAndSwap(until, nil)
	return 0
}

// IsMuted says whether Muted has to be asked: it costs one atomic load.
func (c *Conn) IsMuted() bool { return c.muted.Load() != nil }

// Closing is closed when the connection or the server goes down.
func (c *Conn) Closing() <-chan struct{} { return c.closing }

// NewConn describes a connection to the handlers. closing ends whatever waits on it; flush sends the
// answers that are ready, for a handler that is about to wait.
func NewConn(id uint64, listener string, local, remote netip.AddrPort, closing <-chan struct{}, flush func()) *Conn {
	return &Conn{ID: id, Listener: listener, Local: local, Remote: remote, closing: closing, flush: flush}
}
