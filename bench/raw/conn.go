// Package raw is a load generator for brokers that costs as little as it can: request frames are
// built once and sent again and again, answers are looked at for their error codes only.
//
// It must not know which broker it talks to: nothing here differs between logstead and Apache Kafka.
//
// Concurrency: a Conn is used by one goroutine, or by one that sends and one that receives.
//
// Invariants:
//  1. An answer with an error code ends the load; a figure never counts refused requests.
package raw

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Conn is a connection to a broker.
type Conn struct {
	nc  net.Conn
	in  *bufio.Reader
	buf []byte
}

// stuck is how long a broker may take for anything before a run is given up.
const stuck = 60 * time.Second

// Dial connects to a broker.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if c, ok := ctx.Value(tlsKey{}).(*tls.Config); ok {
		t := tls.Client(nc, c)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, err
		}
		nc = t
	}
	return &Conn{nc: nc, in: bufio.NewReaderSize(nc, 64<<10)}, nil
}

// tlsKey is where a context has what connections are encrypted with.
type tlsKey struct{}

// OverTLS has every connection that is dialled under the context speak TLS. Its addresses are those of a listener that does.
func OverTLS(ctx context.Context, c *tls.Config) context.Context {
	return context.WithValue(ctx, tlsKey{}, c)
}

// Close ends the connection.
func (c *Conn) Close() { _ = c.nc.Close() }

// Frame encodes a request with its header and size prefix.
func Frame(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 7)
}

// Send writes frames as they are.
func (c *Conn) Send(frames []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
		return err
	}
	_, err := c.nc.Write(frames)
	return err
}

// Receive reads one answer. Its first `keep` bytes after the size are returned and valid until the
// next call, the rest is read and dropped; size is that of the whole answer.
func (c *Conn) Receive(keep int) (head []byte, size int, err error) {
	if err = c.nc.SetReadDeadline(time.Now().Add(stuck)); err != nil {
		return nil, 0, err
	}
	var prefix [4]byte
	if _, err = io.ReadFull(c.in, prefix[:]); err != nil {
		return nil, 0, err
	}
	size = int(binary.BigEndian.Uint32(prefix[:]))
	n := min(keep, size)
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	if _, err = io.ReadFull(c.in, c.buf[:n]); err != nil {
		return nil, 0, err
	}
	return c.buf[:n], size, c.drop(size - n)
}

// drop reads n bytes without keeping them: what is not buffered yet goes past the buffer.
func (c *Conn) drop(n int) error {
	k := min(n, c.in.Buffered())
	if _, err := c.in.Discard(k); err != nil {
		return err
	}
	if n -= k; n < dropDirectBytes {
		_, err := c.in.Discard(n)
		return err
	}
	if cap(c.buf) < dropBytes {
		b := make([]byte, dropBytes)
		copy(b, c.buf)
		c.buf = b[:len(c.buf)]
	}
	scratch := c.buf[:cap(c.buf)][cap(c.buf)-dropBytes/2:]
	for n > 0 {
		k, err := c.nc.Read(scratch[:min(n, len(scratch))])
		if n -= k; err != nil && n > 0 {
			return err
		}
	}
	return nil
}

const (
	dropDirectBytes = 4 << 10
	dropBytes       = 512 << 10
)

// Request sends one request and decodes its answer.
func (c *Conn) Request(req kmsg.Request) (kmsg.Response, error) {
	if err := c.Send(Frame(req)); err != nil {
		return nil, err
	}
	body, _, err := c.Receive(1 << 30)
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	skip := 4
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		skip++ // no tagged fields
	}
	if len(body) < skip {
		return nil, fmt.Errorf("answer of %d bytes to %T", len(body), req)
	}
	return resp, resp.ReadFrom(append([]byte(nil), body[skip:]...))
}
