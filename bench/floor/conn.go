package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	readBytes = 256 << 10 // of a connection's buffer, until a request is larger
	maxBytes  = 64 << 20  // of a request
	// copyBytes is up to where records are read behind their header and not sent with sendfile.
	copyBytes = 16 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errShort = errors.New("a request ends too early")

// conn is one client connection.
type conn struct {
	b    *broker
	nc   *net.TCPConn
	in   []byte
	r, w int
	out  []byte // answers not yet written
}

// serve answers requests until the client is gone. Answers are written once no whole request is left in the buffer.
func (c *conn) serve() error {
	defer c.nc.Close()
	c.in = make([]byte, readBytes)
	for {
		frame, err := c.next()
		if err == io.EOF || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err == nil {
			err = c.handle(frame)
		}
		if err == nil && !c.whole() {
			err = c.flush()
		}
		if err != nil {
			return err
		}
	}
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// whole says whether a whole request is in the buffer.
func (c *conn) whole() bool {
	return c.w-c.r >= 4 && c.w-c.r-4 >= int(binary.BigEndian.Uint32(c.in[c.r:]))
}

// next is the next request without its size.
func (c *conn) next() ([]byte, error) {
	if err := c.fill(4); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(c.in[c.r:]))
	if size > maxBytes {
		return nil, fmt.Errorf("a request of %d bytes", size)
	}
	if err := c.fill(4 + size); err != nil {
		return nil, err
	}
	frame := c.in[c.r+4 : c.r+4+size]
	c.r += 4 + size
	return frame, nil
}

// fill reads until n bytes are in the buffer.
func (c *conn) fill(n int) error {
	if c.w-c.r >= n {
		return nil
	}
	if c.r+n > len(c.in) || c.r == c.w {
		to := c.in
		if n > len(to) {
			to = make([]byte, n+n/4)
		}
		c.w = copy(to, c.in[c.r:c.w])
		c.r, c.in = 0, to
	}
	for c.w-c.r < n {
		k, err := c.nc.Read(c.in[c.w:])
		if err != nil {
			return err
		}
		c.w += k
	}
	return nil
}

// cursor reads the fields of a request; one that ends too early reads as zeros and bad.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return make([]byte, max(0, min(n, 8)))
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) int16() int16 { return int16(binary.BigEndian.Uint16(c.bytes(2))) }
func (c *cursor) int32() int32 { return int32(binary.BigEndian.Uint32(c.bytes(4))) }
func (c *cursor) int64() int64 { return int64(binary.BigEndian.Uint64(c.bytes(8))) }

func (c *cursor) uvarint() int {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > maxBytes {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

// compact is a string or bytes with the length, plus one, as a varint.
func (c *cursor) compact() []byte { return c.bytes(max(0, c.uvarint()-1)) }

// handle answers one request.
func (c *conn) handle(frame []byte) error {
	in := cursor{b: frame}
	key, version, id := in.int16(), in.int16(), in.int32()
	in.bytes(max(0, int(in.int16()))) // client id
	if in.bad {
		return errShort
	}
	switch kmsg.Key(key) {
	case kmsg.Produce:
		return c.produce(&in, id)
	case kmsg.Fetch:
		return c.fetch(&in, id)
	}
	req := kmsg.RequestForKey(key)
	if req == nil {
		return fmt.Errorf("a request of key %d", key)
	}
	if req.SetVersion(version); req.IsFlexible() {
		in.uvarint() // tags, of which there are none
	}
	resp, err := c.b.admin(key, version, in.b)
	if err != nil {
		return err
	}
	at := c.begin(id, resp.IsFlexible())
	c.out = resp.AppendTo(c.out)
	c.end(at, 0)
	return nil
}

// begin starts an answer; end sets its size, of which more bytes are sent by themselves.
func (c *conn) begin(id int32, flexible bool) (at int) {
	at = len(c.out)
	c.out = append(c.out, 0, 0, 0, 0)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(id))
	if flexible {
		c.out = append(c.out, 0)
	}
	return at
}

func (c *conn) end(at, more int) {
	binary.BigEndian.PutUint32(c.out[at:], uint32(len(c.out)-at-4+more))
}

const (
	batchMinBytes = 61
	checksumAt    = 17
	contentAt     = 21
	lastDeltaAt   = 23
)

func setBaseOffset(b []byte, offset int64) { binary.BigEndian.PutUint64(b, uint64(offset)) }

// produce appends one batch to one partition: version 9.
func (c *conn) produce(in *cursor, id int32) error {
	in.uvarint() // tags
	in.compact() // transactional id
	acks := in.int16()
	in.int32()   // time-out
	in.uvarint() // topics
	topic := in.compact()
	in.uvarint() // partitions
	i := in.int32()
	b := in.compact()
	p := c.b.partition(topic, i)
	if in.bad || p == nil || len(b) < batchMinBytes {
		return errShort
	}
	if sum := crc32.Checksum(b[contentAt:], castagnoli); sum != binary.BigEndian.Uint32(b[checksumAt:]) {
		return fmt.Errorf("a batch with checksum %x that has %x", sum, binary.BigEndian.Uint32(b[checksumAt:]))
	}
	base, err := p.append(b, int64(binary.BigEndian.Uint32(b[lastDeltaAt:]))+1)
	if err != nil || acks == 0 {
		return err
	}
	at := c.begin(id, true)
	c.topic(topic, i)
	c.out = append(c.out, 0, 0) // error
	c.out = binary.BigEndian.AppendUint64(c.out, uint64(base))
	c.out = binary.BigEndian.AppendUint64(c.out, ^uint64(0)) // append time
	c.out = binary.BigEndian.AppendUint64(c.out, 0)          // start of the log
	// no record errors, no message, no tags of partition and topic, no throttle, no tags
	c.out = append(c.out, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	c.end(at, 0)
	return nil
}

// topic begins the only topic and the only partition of an answer.
func (c *conn) topic(topic []byte, i int32) {
	c.out = append(c.out, 2)
	c.out = binary.AppendUvarint(c.out, uint64(len(topic)+1))
	c.out = append(append(c.out, topic...), 2)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(i))
}

// fetch sends what one partition has from an offset: version 12, nobody waits.
func (c *conn) fetch(in *cursor, id int32) error {
	in.uvarint()          // tags
	in.bytes(4 + 4 + 4)   // replica, wait, least bytes
	in.bytes(4 + 1)       // most bytes, isolation
	in.bytes(4 + 4)       // session
	in.uvarint()          // topics
	topic := in.compact() //
	in.uvarint()          // partitions
	i := in.int32()       //
	in.int32()            // epoch
	offset := in.int64()  //
	in.bytes(4 + 8)       // last epoch, start of the log
	most := in.int32()    //
	p := c.b.partition(topic, i)
	if in.bad || p == nil {
		return errShort
	}
	pos, n, end := p.find(offset, int64(most))
	at := c.begin(id, true)
	c.out = append(c.out, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // throttle, error, session
	c.topic(topic, i)
	c.out = append(c.out, 0, 0)
	c.out = binary.BigEndian.AppendUint64(c.out, uint64(end)) // high watermark
	c.out = binary.BigEndian.AppendUint64(c.out, uint64(end)) // last stable offset
	c.out = binary.BigEndian.AppendUint64(c.out, 0)           // start of the log
	c.out = append(c.out, 0, 0xff, 0xff, 0xff, 0xff)          // nothing aborted, no other replica
	c.out = binary.AppendUvarint(c.out, uint64(n+1))
	tail := []byte{0, 0, 0} // tags
	if n < copyBytes {
		k := len(c.out)
		c.out = append(c.out, make([]byte, n)...)
		if _, err := p.file.ReadAt(c.out[k:], pos); err != nil && n > 0 {
			return err
		}
		c.out = append(c.out, tail...)
		c.end(at, 0)
		return nil
	}
	c.end(at, int(n)+len(tail))
	head := c.out
	c.out = c.out[:0]
	return send(c.nc, head, p.file, pos, int(n), tail)
}
