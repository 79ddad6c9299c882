// Package peer carries requests from one node of the cluster to another.
//
// It owns connections: dialling, the wait between two failed attempts, the versions that the other
// side speaks, the matching of answers to requests, and time-outs. It must not know what a request
// means or which node is the right one to ask.
//
// Concurrency: a Client may be used from any goroutine. Requests on one client are answered in their
// order, and a Kafka node works on one request of a connection at a time: what may wait long (a
// fetch) gets a client of its own.
//
// Invariants:
//  1. A request ends exactly once: with its answer, or with the error that ended its connection.
//  2. A connection on which a request ran out of time is closed: what comes later on it could be
//     taken for the answer of another request.
//  3. After a failure the next attempt to connect begins no sooner than the back-off says.
//  4. Close returns after the last goroutine of the client is gone.
package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Dialer opens a connection; tests put their own in its place.
type Dialer func(ctx context.Context, address string) (net.Conn, error)

// Options are what New needs.
type Options struct {
	// Address is where the node is found now; an error where nobody knows.
	Address func() (string, error)
	Dial    Dialer // nil is TCP
	// ClientID is what the requests say; ours begin with the role, as Kafka's do.
	ClientID string
	Logger   *slog.Logger // nil for none
	// ConnectTimeout bounds dialling and the first exchange; 0 is 2 s. RequestTimeout bounds every
	// request whose context has no earlier deadline; 0 is 30 s.
	ConnectTimeout, RequestTimeout time.Duration
	// BackoffMin and BackoffMax bound the wait after a failed attempt to connect; 0 is 20 ms and 1 s.
	BackoffMin, BackoffMax time.Duration
	// Unacknowledged is how long bytes may have been sent without the other side's system having them, on Linux, before the
	// connection counts as broken; 0 leaves it to the system, which tries for a quarter of an hour, at ever longer
	// intervals. A message without an answer (Post) has no other time-out.
	Unacknowledged time.Duration
	// MaxInFlight bounds the requests that wait for their answers; 0 is 64.
	MaxInFlight int
	// Lone is for one user with one request at a time. Its own goroutine reads the answer, so that none has to be
	// woken between socket and user, and the answer's bytes are lent until the next request. That the
	// other side is gone shows with the next request only.
	Lone bool
	// MaxResponseBytes bounds one answer; 0 is 256 MiB.
	MaxResponseBytes int
	// Lost hears that the other side, or the way to it, broke a connection that had been in use.
	Lost func(err error)
	// Connected hears that a connection was opened.
	Connected func()
}

const (
	defaultConnectTimeout   = 2 * time.Second
	defaultRequestTimeout   = 30 * time.Second
	defaultBackoffMin       = 20 * time.Millisecond
	defaultBackoffMax       = time.Second
	defaultMaxInFlight      = 64
	defaultMaxResponseBytes = 256 << 20
)

func (o *Options) fill() {
	if o.Dial == nil {
		d := &net.Dialer{KeepAlive: 15 * time.Second}
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orDuration(&o.ConnectTimeout, defaultConnectTimeout)
	orDuration(&o.RequestTimeout, defaultRequestTimeout)
	orDuration(&o.BackoffMin, defaultBackoffMin)
	orDuration(&o.BackoffMax, defaultBackoffMax)
	if o.Lone {
		o.MaxInFlight = 1
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultMaxInFlight
	}
	if o.MaxResponseBytes <= 0 {
		o.MaxResponseBytes = defaultMaxResponseBytes
	}
}

func orDuration(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

var (
	// ErrClosed is the end of a client.
	ErrClosed = errors.New("the connection was closed by this node")
	// ErrTimeout is a request that was not answered in time.
	ErrTimeout = errors.New("no answer in time")
)

// VersionError is an API that the other side does not serve in any version that we write.
type VersionError struct {
	API      string
	Min, Max int16 // of the other side; both -1 where it does not serve the API
}

func (e *VersionError) Error() string {
	if e.Max < 0 {
		return fmt.Sprintf("the other node does not serve %s", e.API)
	}
	return fmt.Sprintf("the other node serves versions %d to %d of %s, none of which this one speaks", e.Min, e.Max, e.API)
}

type responsePtr[T any] interface {
	*T
	kmsg.Response
}

// Request sends a request and waits for its answer. The answer's bytes are its own, but with Options.Lone.
func Request[T any, P responsePtr[T]](ctx context.Context, c *Client, req kmsg.Request) (P, error) {
	resp := P(new(T))
	if err := c.Do(ctx, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}
