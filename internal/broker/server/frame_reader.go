package server

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

const (
	// readBufferBytes is the read buffer of a connection that has something to read: small requests
	// arrive several at a time in it, large ones are read straight into a buffer of their own.
	readBufferBytes = 16 << 10
	// wideBufferBytes is the read buffer where more has come at once: requests that a client sends ahead
	// share one read and, as they are all here, one write of their answers.
	wideBufferBytes = 256 << 10
	// wideFrameBytes is up to which size requests share a wide buffer. What is larger would be copied
	// out of it for the most part.
	wideFrameBytes = 80 << 10
)

// frameReader cuts a connection's bytes into request frames.
type frameReader struct {
	nc      net.Conn
	raw     syscall.RawConn // nil where the connection has no descriptor
	waits   bool            // for the first bytes of a request without a buffer, in first: a TLS session has no descriptor
	first   [wire.SizeBytes]byte
	tryFn   func(uintptr) bool
	got     int   // of try
	err     error // of try
	max     int
	bounded bool // max is that of clients that have not logged in
	budget  *budget
	idle    time.Duration
	stall   time.Duration
	until   time.Time // no byte is waited for after it; zero is no limit

	deadline time.Time
	buf      *wire.Buffer // nil while idle
	room     int          // of buf that is used: readBufferBytes, or wideBufferBytes, which the budget is charged for
	r, w     int
	much     bool         // the last read into an empty buffer brought readBufferBytes or more
	wide     bool         // the next buffer is to be wide
	large    *wire.Buffer // the frame being served, if it did not fit in buf
	charged  int
}

func (fr *frameReader) init(nc net.Conn, maxBytes int, b *budget, idle, stall time.Duration) {
	fr.nc, fr.max, fr.budget, fr.idle, fr.stall = nc, maxBytes, b, idle, stall
	_, fr.waits = nc.(*tls.Conn)
	if sc, ok := nc.(syscall.Conn); ok && haveReadFD {
		if raw, err := sc.SyscallConn(); err == nil {
			fr.raw, fr.tryFn = raw, fr.try
		}
	}
}

// limited bounds frames to max bytes, and all of them together to a time; 0 is no limit.
func (fr *frameReader) limited(maxBytes int, within time.Duration) {
	fr.max, fr.bounded = maxBytes, true
	if within > 0 {
		fr.until = time.Now().Add(within)
	}
	fr.deadline = time.Time{}
}

// unlimited ends the bounds of limited but for the size of a frame.
func (fr *frameReader) unlimited(maxBytes int) {
	fr.max, fr.bounded, fr.until, fr.deadline = maxBytes, false, time.Time{}, time.Time{}
	if fr.idle <= 0 {
		_ = fr.nc.SetReadDeadline(time.Time{}) // an error shows with the next read
	}
}

// soonest is a deadline, or the end of what limited allows where that comes first.
func (fr *frameReader) soonest(t time.Time) time.Time {
	if fr.until.IsZero() || !t.IsZero() && t.Before(fr.until) {
		return t
	}
	return fr.until
}

// next returns the next frame without its size. The bytes of a frame on the data path are valid
// until release; those of every other API are a copy that its handler may keep.
func (fr *frameReader) next() ([]byte, error) {
	if err := fr.fill(wire.SizeBytes); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(fr.buf.B[fr.r:])))
	if size < 0 || size > fr.max {
		if isClientHello(fr.buf.B[fr.r:]) {
			return nil, errHelloInClear
		}
		return nil, fr.tooLarge(size)
	}
	fr.wide = fr.much && size <= wideFrameBytes
	if err := fr.fill(min(wire.SizeBytes+size, readBufferBytes)); err != nil {
		return nil, unexpectedEOF(err)
	}
	if wire.SizeBytes+size > fr.w-fr.r {
		return fr.nextLarge(size)
	}
	frame := fr.buf.B[fr.r+wire.SizeBytes : fr.r+wire.SizeBytes+size]
	fr.r += wire.SizeBytes + size
	if hot(api.PeekKey(frame)) {
		return frame, nil
	}
	return append([]byte(nil), frame...), nil
}

func (fr *frameReader) tooLarge(size int) error {
	key := "socket.request.max.bytes"
	if fr.bounded {
		key = "before a login sasl.server.max.receive.size"
	}
	return fmt.Errorf("request of %d bytes: %s is %d", size, key, fr.max)
}

// hot says whether the handlers of this API are done with the frame when they return.
func hot(key int16) bool { return key == kmsg.KeyProduce || key == kmsg.KeyFetch }

// nextLarge reads a frame that is not whole in the read buffer into one of its own, now that readBufferBytes
// of it are here and as soon as the budget has room for it: a size alone is charged nothing, or a few idle
// connections could keep every large request out. On the data path the buffer is a pooled one: clients
// send requests of several MiB there all the time, and fresh memory for each was a third of what they
// cost. Elsewhere memory is taken as bytes arrive, so that a size alone costs little.
func (fr *frameReader) nextLarge(size int) ([]byte, error) {
	fr.claim(size)
	have := fr.buf.B[fr.r+wire.SizeBytes : fr.w]
	var frame []byte
	switch {
	case fr.bounded: // who has not logged in takes as much memory as it has sent, and twice that
		frame = make([]byte, min(size, 2*len(have)))
	case hot(int16(binary.BigEndian.Uint16(have))) && size <= wire.MaxPooledBytes:
		fr.large = wire.GetBuffer(size)
		frame = fr.large.B
	default:
		frame = make([]byte, min(size, growAboveBytes))
	}
	n := copy(frame, have)
	fr.drop()
	for {
		if err := fr.readCharged(frame[n:]); err != nil {
			return nil, err
		}
		if len(frame) == size {
			return frame, fr.endStall()
		}
		n = len(frame)
		grown := make([]byte, min(size, 2*n))
		copy(grown, frame)
		frame = grown
	}
}

// claim charges the budget for a frame. What a wide buffer was charged is enough for most, and is given up
// otherwise: who waits for the budget must not hold a part of it.
func (fr *frameReader) claim(size int) {
	held := 0
	if fr.room > readBufferBytes {
		held, fr.room = fr.room, readBufferBytes
	}
	fr.charged = size
	if size <= held {
		fr.budget.release(held - size)
		return
	}
	if held > 0 {
		fr.budget.release(held)
	}
	fr.budget.acquire(size)
}

// stallBytes is what must arrive within every stall time while the budget is charged.
const stallBytes = 256 << 10

// readCharged fills b. The client holds a part of everybody's budget, so it must keep sending.
func (fr *frameReader) readCharged(b []byte) error {
	for len(b) > 0 {
		part := b[:min(len(b), stallBytes)]
		if err := fr.nc.SetReadDeadline(fr.soonest(time.Now().Add(fr.stall))); err != nil {
			return err
		}
		if _, err := io.ReadFull(fr.nc, part); err != nil {
			return unexpectedEOF(err)
		}
		b = b[len(part):]
	}
	return nil
}

// endStall puts the idle deadline back.
func (fr *frameReader) endStall() error {
	fr.deadline = time.Time{}
	if fr.idle > 0 || !fr.until.IsZero() {
		return fr.refreshDeadline()
	}
	return fr.nc.SetReadDeadline(time.Time{})
}

// growAboveBytes is how much fresh memory a size prefix alone may take.
const growAboveBytes = 4 << 20

// release ends the use of the last frame.
func (fr *frameReader) release() {
	if fr.large != nil {
		wire.PutBuffer(fr.large)
		fr.large = nil
	}
	if fr.charged > 0 {
		fr.budget.release(fr.charged)
		fr.charged = 0
	}
}

func (fr *frameReader) close() {
	fr.release()
	fr.drop()
}

// drop gives the read buffer back.
func (fr *frameReader) drop() {
	if fr.buf != nil {
		if fr.room > readBufferBytes {
			fr.budget.release(fr.room)
		}
		wire.PutBuffer(fr.buf)
		fr.buf, fr.room = nil, 0
	}
	fr.r, fr.w = 0, 0
}

// hasMore says whether something has come behind the frame that is being served.
func (fr *frameReader) hasMore() bool { return fr.w > fr.r }

// hasFrame says whether a whole further request is in the buffer already.
func (fr *frameReader) hasFrame() bool {
	if fr.w-fr.r < wire.SizeBytes {
		return false
	}
	size := int(int32(binary.BigEndian.Uint32(fr.buf.B[fr.r:])))
	return size >= 0 && fr.w-fr.r-wire.SizeBytes >= size
}

// fill reads until n bytes, at most readBufferBytes, are in the buffer; all that is here comes with them.
func (fr *frameReader) fill(n int) error {
	if fr.w-fr.r >= n {
		return nil
	}
	if fr.r == fr.w {
		fr.drop()
	} else if fr.r > 0 && fr.room-fr.r < n {
		copy(fr.buf.B, fr.buf.B[fr.r:fr.w])
		fr.r, fr.w = 0, fr.w-fr.r
	}
	if err := fr.refreshDeadline(); err != nil {
		return err
	}
	for fr.w-fr.r < n {
		got, err := fr.readSome()
		if fr.w == 0 {
			fr.much = got >= readBufferBytes
		}
		fr.w += got
		if err != nil {
			return err
		}
		if got == 0 {
			return io.EOF
		}
	}
	return nil
}

// refreshDeadline keeps the idle deadline ahead by at least the idle time, without setting a timer
// for every request.
func (fr *frameReader) refreshDeadline() error {
	if fr.idle <= 0 {
		if fr.until.IsZero() {
			return nil
		}
		return fr.nc.SetReadDeadline(fr.until)
	}
	now := time.Now()
	if fr.deadline.Sub(now) >= fr.idle {
		return nil
	}
	fr.deadline = now.Add(fr.idle + fr.idle/8)
	return fr.nc.SetReadDeadline(fr.soonest(fr.deadline))
}

// readSome reads what is there. Where the connection has a descriptor, a buffer is taken only once
// there is something to read.
func (fr *frameReader) readSome() (n int, err error) {
	if fr.waits && fr.buf == nil {
		n, err := fr.nc.Read(fr.first[:])
		fr.take()
		copy(fr.buf.B, fr.first[:n])
		return n, err
	}
	if fr.raw == nil {
		fr.take()
		return fr.nc.Read(fr.buf.B[fr.w:fr.room])
	}
	fr.got, fr.err = 0, nil
	if err := fr.raw.Read(fr.tryFn); err != nil {
		return 0, err
	}
	return max(fr.got, 0), fr.err
}

// try reads once; false means that there is nothing yet.
func (fr *frameReader) try(fd uintptr) bool {
	fr.take()
	for {
		fr.got, fr.err = readFD(fd, fr.buf.B[fr.w:fr.room])
		if fr.err != syscall.EINTR {
			break
		}
	}
	if fr.err == syscall.EAGAIN {
		fr.rest()
		return false
	}
	return true
}

// rest leaves a connection that has to wait with no buffer, or with a part of a small frame in a small one.
func (fr *frameReader) rest() {
	switch {
	case fr.r == fr.w:
		fr.drop()
	case fr.room > readBufferBytes:
		small := wire.GetBuffer(readBufferBytes)
		n := copy(small.B, fr.buf.B[fr.r:fr.w])
		fr.drop()
		fr.buf, fr.room, fr.w = small, readBufferBytes, n
	}
}

func (fr *frameReader) take() {
	if fr.buf != nil {
		return
	}
	fr.room = readBufferBytes
	if fr.wide && fr.raw != nil && fr.budget.tryAcquire(wideBufferBytes) {
		fr.room = wideBufferBytes
	}
	fr.buf = wire.GetBuffer(fr.room)
	fr.r, fr.w = 0, 0
}

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
