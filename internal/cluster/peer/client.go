package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Client speaks to one node over one connection, which it opens when it is needed and again when it
// broke.
type Client struct {
	o      Options
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	dial chan struct{} // capacity 1: held by who opens the connection
	mu   struct {
		sync.Mutex
		conn    *conn
		retired []*conn // whose sessions are over, and which may still wait for answers
		closed  bool
		failed  int       // attempts to connect that failed in a row
		retryAt time.Time // no attempt before
	}
}

// New returns a client that is not connected yet.
func New(o Options) *Client {
	o.fill()
	c := &Client{o: o, dial: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends the connection and every request on it, and waits for the client's goroutines.
func (c *Client) Close() {
	c.mu.Lock()
	c.mu.closed = true
	cn, retired := c.mu.conn, c.mu.retired
	c.mu.conn, c.mu.retired = nil, nil
	c.mu.Unlock()
	c.cancel()
	for _, cn := range append(retired, cn) {
		if cn != nil {
			cn.end(ErrClosed)
		}
	}
	c.wg.Wait()
}

// Reset drops the connection, so that the next request opens one to where the node is now.
func (c *Client) Reset() {
	c.mu.Lock()
	cn := c.mu.conn
	c.mu.conn, c.mu.failed, c.mu.retryAt = nil, 0, time.Time{}
	c.mu.Unlock()
	if cn != nil {
		cn.end(ErrClosed)
	}
}

// Do sends a request in the newest version that both sides speak and reads the answer into resp.
func (c *Client) Do(ctx context.Context, req kmsg.Request, resp kmsg.Response) error {
	return c.DoVersion(ctx, req, resp, -1)
}

// DoVersion is Do in at most version most; -1 is the newest.
func (c *Client) DoVersion(ctx context.Context, req kmsg.Request, resp kmsg.Response, most int16) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.RequestTimeout)
	defer cancel()
	for {
		cn, err := c.connected(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", apiName(req.Key()), err)
		}
		version, err := cn.version(req.Key(), most)
		if err != nil {
			return err
		}
		err = cn.exchange(ctx, req, resp, version)
		if errors.Is(err, errSessionOver) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s to %s: %w", apiName(req.Key()), cn.address, err)
		}
		return nil
	}
}

// Version is the version of an API that requests go out in, connecting where that is not known.
func (c *Client) Version(ctx context.Context, key int16) (int16, error) {
	cn, err := c.connected(ctx)
	if err != nil {
		return 0, err
	}
	return cn.version(key, -1)
}

// Post sends a message that has no answer. key is one of our own, which no version is negotiated for.
// No error does not mean that it arrived.
func (c *Client) Post(ctx context.Context, key, version int16, body []byte) error {
	for {
		cn, err := c.connected(ctx)
		if err != nil {
			return err
		}
		if err = cn.post(key, version, body); !errors.Is(err, errSessionOver) {
			return err
		}
	}
}

func apiName(key int16) string {
	if a := kmsg.ByKey(key); a != nil {
		return a.Name
	}
	return fmt.Sprintf("api key %d", key)
}

// connected is the open connection, or a new one.
func (c *Client) connected(ctx context.Context) (*conn, error) {
	if cn, err := c.current(); cn != nil || err != nil {
		return cn, err
	}
	select {
	case c.dial <- struct{}{}:
		defer func() { <-c.dial }()
	case <-ctx.Done():
		return nil, timedOut(ctx.Err())
	case <-c.ctx.Done():
		return nil, ErrClosed
	}
	if cn, err := c.current(); cn != nil || err != nil { // somebody else was first
		return cn, err
	}
	if err := c.sitOut(ctx); err != nil {
		return nil, err
	}
	return c.connect(ctx)
}

func (c *Client) current() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil, ErrClosed
	}
	if cn := c.mu.conn; cn != nil && cn.retire(time.Now()) {
		c.mu.retired = append(slices.DeleteFunc(c.mu.retired, (*conn).ended), cn)
		c.mu.conn = nil
	}
	return c.mu.conn, nil
}

// sitOut waits until the back-off is over.
func (c *Client) sitOut(ctx context.Context) error {
	c.mu.Lock()
	wait := time.Until(c.mu.retryAt)
	c.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return timedOut(ctx.Err())
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// connect opens a connection and learns what the other side speaks.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	cn, err := c.open(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		if cn != nil {
			cn.end(ErrClosed)
		}
		return nil, ErrClosed
	}
	if err != nil {
		wait := min(c.o.BackoffMin<<min(c.mu.failed, 16), c.o.BackoffMax)
		c.mu.failed++
		c.mu.retryAt = time.Now().Add(wait)
		return nil, err
	}
	c.mu.failed, c.mu.retryAt = 0, time.Time{}
	if !cn.ended() { // else the next request opens another
		c.mu.conn = cn
	}
	if c.o.Connected != nil {
		c.wg.Go(c.o.Connected)
	}
	return cn, nil
}

func (c *Client) open(ctx context.Context) (*conn, error) {
	address, err := c.o.Address()
	if err != nil {
		return nil, err
	}
	nc, err := c.o.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, timedOut(err))
	}
	cn := newConn(c, nc, address)
	if !c.o.Lone {
		c.wg.Go(cn.read)
	}
	if err := cn.handshake(ctx); err != nil {
		cn.end(ErrClosed)
		return nil, fmt.Errorf("first exchange with %s: %w", address, err)
	}
	return cn, nil
}

// forget takes a connection that ended out of use and tells whoever listens, where the end was not
// this node's doing.
func (c *Client) forget(cn *conn, err error) {
	c.mu.Lock()
	was := c.mu.conn == cn
	if was {
		c.mu.conn = nil
	}
	closed := c.mu.closed
	c.mu.Unlock()
	if !was || closed || errors.Is(err, ErrClosed) || errors.Is(err, ErrTimeout) {
		return
	}
	c.o.Logger.Debug("connection between nodes lost", "address", cn.address, "client_id", c.o.ClientID, "err", err)
	if c.o.Lost != nil {
		c.o.Lost(err)
	}
}

// timedOut says in one way that time ran out.
func timedOut(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return ErrTimeout
	}
	return err
}
