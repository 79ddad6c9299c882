package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

const (
	// inlineBytes is up to where record bytes are copied behind their header instead of being sent
	// with sendfile: below it one read and one write are cheaper.
	inlineBytes = 16 << 10
	// copyBytes is the piece in which file ranges without a descriptor are copied.
	copyBytes = 256 << 10
	// gatherBytes bounds what is gathered before it is written.
	gatherBytes = 64 << 10
)

// FileRange is record bytes in a file, as storage hands them out.
type FileRange interface {
	kmsg.External
	// ReadAt reads from the start of the range.
	ReadAt(p []byte, off int64) (int, error)
	// Fd is the file's descriptor; ok is false where there is none.
	Fd() (fd uintptr, ok bool)
	// Offset is the range's place in the file.
	Offset() int64
	// Release ends the use of the range.
	Release()
}

// sender writes answers to a connection: small ones gathered into one write, large file ranges with
// sendfile between their header and what follows.
type sender struct {
	nc  net.Conn
	tcp *net.TCPConn // nil where there is no sendfile
	tls *tls.Conn    // nil where the connection is not encrypted
	raw *socket      // below tls
	buf []byte       // gathered, not yet written
	mem *wire.Buffer
}

func (o *sender) init(nc net.Conn) {
	o.nc = nc
	o.tcp, _ = nc.(*net.TCPConn)
	if o.tls, _ = nc.(*tls.Conn); o.tls != nil {
		o.raw, _ = o.tls.NetConn().(*socket)
	}
}

// write puts bytes on the wire: what fills more than one record of TLS in few writes.
func (o *sender) write(p []byte) error {
	if o.raw != nil && len(p) > inlineBytes {
		return o.raw.writeAll(o.tls, p)
	}
	_, err := o.nc.Write(p)
	return err
}

// add takes one answer and releases it, also when it fails.
func (o *sender) add(w *kmsg.Writer) (err error) {
	defer discard(w)
	total := wire.Seal(w)
	if len(w.Sections) == 0 {
		return o.gather(w.Buf)
	}
	if total-len(w.Buf) >= inlineBytes && o.tcp != nil {
		setCork(o.tcp, true)
		defer setCork(o.tcp, false)
	}
	at := 0
	for _, s := range w.Sections {
		if err := o.gather(w.Buf[at:s.At]); err != nil {
			return err
		}
		at = s.At
		if err := o.addRange(s.Ext); err != nil {
			return err
		}
	}
	if err := o.gather(w.Buf[at:]); err != nil {
		return err
	}
	if total-len(w.Buf) >= inlineBytes {
		return o.flush() // before the cork comes off
	}
	return nil
}

func (o *sender) addRange(ext kmsg.External) error {
	rng, ok := ext.(FileRange)
	if !ok {
		return fmt.Errorf("records of kind %T cannot be sent", ext)
	}
	n := rng.Len()
	if n < inlineBytes {
		return o.copyRange(rng, 0, n)
	}
	if fd, ok := rng.Fd(); ok && haveSendFile && o.tcp != nil {
		if err := o.flush(); err != nil {
			return err
		}
		return sendFile(o.tcp, fd, rng.Offset(), n)
	}
	for done := 0; done < n; {
		k := min(copyBytes, n-done)
		if err := o.copyRange(rng, done, k); err != nil {
			return err
		}
		done += k
	}
	return nil
}

// copyRange reads n bytes of the range behind what is gathered.
func (o *sender) copyRange(rng FileRange, from, n int) error {
	if err := o.reserve(n); err != nil {
		return err
	}
	k := len(o.buf)
	if _, err := rng.ReadAt(o.buf[k:k+n], int64(from)); err != nil {
		return err
	}
	o.buf = o.buf[:k+n]
	return nil
}

// gather adds bytes to the next write.
func (o *sender) gather(p []byte) error {
	if len(p) >= gatherBytes {
		if err := o.flush(); err != nil {
			return err
		}
		return o.write(p)
	}
	if err := o.reserve(len(p)); err != nil {
		return err
	}
	o.buf = append(o.buf, p...)
	return nil
}

// reserve makes room for n more bytes, writing what is there if it must.
func (o *sender) reserve(n int) error {
	if o.mem != nil && cap(o.buf)-len(o.buf) >= n {
		return nil
	}
	if err := o.flush(); err != nil {
		return err
	}
	o.mem = wire.GetBuffer(max(n, gatherBytes))
	o.buf = o.mem.B[:0]
	return nil
}

// flush writes what is gathered and gives the buffer back.
func (o *sender) flush() error {
	if o.mem == nil {
		return nil
	}
	var err error
	if len(o.buf) > 0 {
		err = o.write(o.buf)
	}
	wire.PutBuffer(o.mem)
	o.mem, o.buf = nil, nil
	return err
}

// discard releases an answer's file ranges and its writer.
func discard(w *kmsg.Writer) {
	for _, s := range w.Sections {
		if rng, ok := s.Ext.(FileRange); ok {
			rng.Release()
		}
	}
	wire.PutWriter(w)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
