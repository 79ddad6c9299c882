package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// readBufferBytes is how much is read at once where answers are small.
const readBufferBytes = 16 << 10

// conn is one connection.
type conn struct {
	c       *Client
	nc      net.Conn
	address string
	room    chan struct{} // one token for each request that waits
	done    chan struct{} // closed at the end
	write   sync.Mutex    // held while a frame goes out, so that frames follow each other

	in     *frames
	served map[int16]versions // set by the handshake, before others see the connection

	mu struct {
		sync.Mutex
		err     error // why it ended
		corr    int32
		retired bool // no request goes out on it any more
		waiting map[int32]chan []byte
	}
}

type versions struct{ min, max int16 }

func newConn(c *Client, nc net.Conn, address string) *conn {
	cn := &conn{
		c: c, nc: nc, address: address, room: make(chan struct{}, c.o.MaxInFlight), done: make(chan struct{}),
	}
	cn.mu.waiting = map[int32]chan []byte{}
	cn.in = newFrames(nc, c.o.MaxResponseBytes, c.o.Lone)
	if t := tcpOf(nc); t != nil {
		_ = t.SetNoDelay(true)
		if c.o.Unacknowledged > 0 {
			giveUpUnacknowledged(t, c.o.Unacknowledged)
		}
	}
	return cn
}

// tcpOf is what carries a connection, below a login's end and TLS; nil where that is not TCP.
func tcpOf(nc net.Conn) *net.TCPConn {
	for {
		switch on := nc.(type) {
		case *net.TCPConn:
			return on
		case *session:
			nc = on.Conn
		case interface{ NetConn() net.Conn }:
			nc = on.NetConn()
		default:
			return nil
		}
	}
}

func (cn *conn) ended() bool {
	select {
	case <-cn.done:
		return true
	default:
		return false
	}
}

// end closes the connection; the first reason stays.
func (cn *conn) end(err error) {
	cn.mu.Lock()
	if cn.mu.err != nil {
		cn.mu.Unlock()
		return
	}
	cn.mu.err = err
	cn.mu.Unlock()
	close(cn.done)
	_ = cn.nc.Close()
}

func (cn *conn) reason() error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.mu.err
}

// read hands out answers until the connection ends.
func (cn *conn) read() {
	err := cn.readAll()
	cn.end(err)
	cn.c.forget(cn, cn.reason())
}

func (cn *conn) readAll() error {
	for {
		frame, err := cn.in.next()
		if err != nil {
			return err
		}
		corr := int32(binary.BigEndian.Uint32(frame))
		cn.mu.Lock()
		answer := cn.mu.waiting[corr]
		delete(cn.mu.waiting, corr)
		last := cn.mu.retired && len(cn.mu.waiting) == 0
		cn.mu.Unlock()
		if answer == nil {
			return fmt.Errorf("an answer to request %d, which nobody waits for", corr)
		}
		answer <- frame[4:] // has room for it
		if last {
			return errSessionOver
		}
	}
}

// handshake asks which versions the other side serves.
func (cn *conn) handshake(ctx context.Context) error {
	req := kmsg.NewApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "logstead", "internal"
	var resp kmsg.ApiVersionsResponse
	if err := cn.exchange(ctx, &req, &resp, 3); err != nil {
		return err
	}
	if resp.ErrorCode != 0 {
		return fmt.Errorf("ApiVersions answered with error %d", resp.ErrorCode)
	}
	served := make(map[int16]versions, len(resp.ApiKeys))
	for _, k := range resp.ApiKeys {
		served[k.ApiKey] = versions{k.MinVersion, k.MaxVersion}
	}
	cn.served = served
	return nil
}

// version is the newest version of an API that both sides speak, at most most (-1 for any).
func (cn *conn) version(key, most int16) (int16, error) {
	own := kmsg.ByKey(key)
	if own == nil {
		return 0, &VersionError{apiName(key), -1, -1}
	}
	theirs, ok := cn.served[key]
	if !ok {
		return 0, &VersionError{own.Name, -1, -1}
	}
	v := min(own.Max, theirs.max)
	if most >= 0 {
		v = min(v, most)
	}
	if v < max(own.Min, theirs.min) {
		return 0, &VersionError{own.Name, theirs.min, theirs.max}
	}
	return v, nil
}

// exchange sends a request and waits for the answer.
func (cn *conn) exchange(ctx context.Context, req kmsg.Request, resp kmsg.Response, version int16) error {
	select {
	case cn.room <- struct{}{}:
		defer func() { <-cn.room }()
	case <-ctx.Done():
		return timedOut(ctx.Err())
	case <-cn.done:
		return cn.reason()
	}
	if cn.c.o.Lone {
		return cn.alone(ctx, req, resp, version)
	}
	answer := make(chan []byte, 1)
	if err := cn.send(ctx, req, version, answer); err != nil {
		return err
	}
	select {
	case frame := <-answer:
		return decode(frame, req.Key(), resp, version)
	case <-cn.done:
	case <-ctx.Done():
		cn.giveUp(ctx.Err())
	}
	select { // the answer may have come with the end
	case frame := <-answer:
		return decode(frame, req.Key(), resp, version)
	default:
	}
	return cn.reason()
}

// alone is an exchange on a connection that has no reader: whoever asks reads.
func (cn *conn) alone(ctx context.Context, req kmsg.Request, resp kmsg.Response, version int16) error {
	cn.in.handBack()
	if err := cn.send(ctx, req, version, nil); err != nil {
		cn.c.forget(cn, err)
		return err
	}
	defer context.AfterFunc(ctx, func() { cn.giveUp(ctx.Err()) })()
	frame, err := cn.in.next()
	if err == nil {
		if asked, answered := cn.last(), int32(binary.BigEndian.Uint32(frame)); answered != asked {
			err = fmt.Errorf("an answer to request %d, asked was %d", answered, asked)
		}
	}
	if err != nil {
		cn.end(err)
		cn.c.forget(cn, cn.reason())
		return cn.reason()
	}
	return decode(frame[4:], req.Key(), resp, version)
}

// last is the number of the newest request.
func (cn *conn) last() int32 {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.mu.corr
}

// giveUp ends the connection of a request that nobody waits for any longer.
func (cn *conn) giveUp(err error) {
	if err = timedOut(err); !errors.Is(err, ErrTimeout) {
		err = fmt.Errorf("%w: a request on it was given up", ErrClosed)
	}
	cn.end(err)
}

func decode(frame []byte, key int16, resp kmsg.Response, version int16) error {
	if kmsg.ResponseHeaderVersion(key, version) >= 1 {
		if len(frame) > 0 && frame[0] == 0 { // no tagged fields, as nearly always
			frame = frame[1:]
		} else { // what is left of a header whose correlation id has been read
			var h kmsg.ResponseHeader
			r := kmsg.NewReader(append(make([]byte, 4, 4+len(frame)), frame...))
			if err := h.Read(&r, 1); err != nil {
				return fmt.Errorf("response header: %w", err)
			}
			frame = r.Rest()
		}
	}
	r := kmsg.NewReader(frame)
	if err := resp.Read(&r, version); err != nil {
		return fmt.Errorf("answer of version %d: %w", version, err)
	}
	return nil
}

// send writes one request; the answer will come to answer, nil where the caller reads it.
func (cn *conn) send(ctx context.Context, req kmsg.Request, version int16, answer chan []byte) error {
	w := wire.GetWriter()
	defer wire.PutWriter(w)
	cn.write.Lock()
	defer cn.write.Unlock()
	cn.mu.Lock()
	err := cn.mu.err
	if err == nil && cn.mu.retired {
		err = errSessionOver
	}
	if err != nil {
		cn.mu.Unlock()
		return err
	}
	cn.mu.corr++
	corr := cn.mu.corr
	if answer != nil {
		cn.mu.waiting[corr] = answer
	}
	cn.mu.Unlock()
	header(w, req.Key(), version, corr, cn.c.o.ClientID)
	req.Append(w, version)
	return cn.out(ctx, w)
}

// post writes one message that has no answer.
func (cn *conn) post(key, version int16, body []byte) error {
	w := wire.GetWriter()
	defer wire.PutWriter(w)
	header(w, key, version, 0, cn.c.o.ClientID)
	w.Buf = append(w.Buf, body...)
	cn.write.Lock()
	defer cn.write.Unlock()
	if err := cn.reason(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cn.c.ctx, cn.c.o.RequestTimeout)
	defer cancel()
	return cn.out(ctx, w)
}

func header(w *kmsg.Writer, key, version int16, corr int32, clientID string) {
	w.Int16(key)
	w.Int16(version)
	w.Int32(corr)
	w.String(clientID, false)
	if kmsg.RequestHeaderVersion(key, version) >= 2 {
		w.Uvarint(0)
	}
}

// out writes a whole frame. Half a frame ends the connection.
func (cn *conn) out(ctx context.Context, w *kmsg.Writer) error {
	wire.Seal(w)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(cn.c.o.RequestTimeout)
	}
	_ = cn.nc.SetWriteDeadline(deadline)
	if _, err := cn.nc.Write(w.Buf); err != nil {
		cn.end(fmt.Errorf("write: %w", err))
		return cn.reason()
	}
	return nil
}

// frames cuts a connection's bytes into answers, each in memory of its own, or lent until handBack.
type frames struct {
	nc    io.Reader
	max   int
	buf   []byte
	r     int
	w     int
	lends bool
	lent  *wire.Buffer
	wake  func(bytes int) // from how many bytes on who waits for some is woken; nil where it cannot be said
}

func newFrames(nc io.Reader, most int, lends bool) *frames {
	return &frames{nc: nc, max: most, buf: make([]byte, readBufferBytes), lends: lends, wake: lowWater(nc)}
}

// handBack ends the use of the last answer.
func (f *frames) handBack() {
	wire.PutBuffer(f.lent)
	f.lent = nil
}

func (f *frames) memory(n int) []byte {
	if !f.lends {
		return make([]byte, n)
	}
	f.lent = wire.GetBuffer(n)
	return f.lent.B
}

// next reads one frame, without its size; it holds at least a correlation id.
func (f *frames) next() ([]byte, error) {
	if err := f.fill(wire.SizeBytes); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(f.buf[f.r:])))
	if size < 4 || size > f.max {
		return nil, fmt.Errorf("an answer of %d bytes: allowed are 4 to %d", size, f.max)
	}
	f.r += wire.SizeBytes
	frame := f.memory(size)
	n := copy(frame, f.buf[f.r:f.w])
	f.r += n
	if err := f.rest(frame[n:]); err != nil {
		return nil, err
	}
	return frame, nil
}

// gatherBytes is how much of a large answer is let gather in the socket before its reader is woken. Being woken for each
// bufferful of the sender costs both sides more than the bytes do.
const gatherBytes = 1 << 20

// rest fills p.
func (f *frames) rest(p []byte) error {
	if f.wake == nil || len(p) < gatherBytes/4 {
		_, err := io.ReadFull(f.nc, p)
		return err
	}
	defer f.wake(1)
	for low := 0; len(p) > 0; {
		if want := min(len(p), gatherBytes); want != low {
			low = want
			f.wake(low)
		}
		n, err := f.nc.Read(p)
		if n == 0 && err != nil {
			return fmt.Errorf("an answer that ends %d bytes early: %w", len(p), err)
		}
		p = p[n:]
	}
	return nil
}

// fill has at least n bytes in the buffer.
func (f *frames) fill(n int) error {
	if f.r == f.w {
		f.r, f.w = 0, 0
	} else if f.r+n > len(f.buf) {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	for f.w-f.r < n {
		m, err := f.nc.Read(f.buf[f.w:])
		if m == 0 && err != nil {
			return err
		}
		f.w += m
	}
	return nil
}
