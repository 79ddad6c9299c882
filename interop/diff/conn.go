package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerLimit is how long a broker may take for one answer; no step asks it to wait longer than a second.
const answerLimit = 90 * time.Second

// maxAnswer bounds the size that an answer may claim.
const maxAnswer = 64 << 20

// conn is a connection on which requests go out and answers come back one by one.
type conn struct {
	c    net.Conn
	corr int32
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		return nil, err
	}
	return &conn{c: c}, nil
}

// frame writes a request with its header and size; the client id is what group members are named after.
func (c *conn) frame(req kmsg.Request, clientID string) []byte {
	c.corr++
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	return f.AppendRequest(nil, req, c.corr)
}

func (c *conn) send(frame []byte) error {
	if err := c.c.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	_, err := c.c.Write(frame)
	return err
}

// receive returns the next answer after its size: correlation id, header, body.
func (c *conn) receive() ([]byte, error) {
	b, err := c.receiveAny()
	if err == nil && len(b) < 4 {
		return nil, fmt.Errorf("an answer of %d bytes", len(b))
	}
	return b, err
}

// receiveAny is receive for what need not begin with a correlation id.
func (c *conn) receiveAny() ([]byte, error) {
	if err := c.c.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.c, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c.c, b)
	return b, err
}

// decode reads an answer's header and body. exact is false when writing the answer again gives another length: bytes
// left over, or a default written as a tag.
func (c *conn) decode(req kmsg.Request, b []byte) (resp kmsg.Response, exact bool, err error) {
	if corr := int32(binary.BigEndian.Uint32(b)); corr != c.corr {
		return nil, false, fmt.Errorf("correlation id %d answered to %d", corr, c.corr)
	}
	b = b[4:]
	resp = req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && resp.Key() != kmsg.NewPtrApiVersionsRequest().Key() {
		if len(b) == 0 || b[0] != 0 {
			return nil, false, errors.New("no empty tag section in the response header")
		}
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		return nil, false, err
	}
	return resp, len(resp.AppendTo(nil)) == len(b), nil
}
