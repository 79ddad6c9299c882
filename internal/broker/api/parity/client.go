// Package parity holds broker answers against recorded answers of Apache Kafka: the same requests,
// in every version, and a readable form of the responses with everything left out that may differ.
//
// It owns the scripts (what is asked) and their records in testdata. It must not know how a broker
// is built: it only dials an address.
//
// Concurrency: a Client is for one goroutine.
//
// Invariants:
//  1. A record holds facts only: codes, numbers, names and whether there is a text, never the text.
//  2. The same script against the same broker gives the same record, whatever ids and clocks say.
package parity

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// timeout bounds one exchange.
const timeout = 2 * time.Minute

// maxResponse bounds what a broker may answer.
const maxResponse = 64 << 20

// Client is one connection to a broker.
type Client struct {
	ClientID string // in the request headers; "" is parity

	addr string
	conn net.Conn
	corr int32
}

// Dial connects to a broker.
func Dial(addr string) (*Client, error) {
	c := &Client{addr: addr}
	return c, c.redial()
}

func (c *Client) redial() error {
	conn, err := net.DialTimeout("tcp", c.addr, timeout)
	if err != nil {
		return fmt.Errorf("dial broker: %w", err)
	}
	c.conn = conn
	return nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do sends one request and reads its response. A connection that the broker closes is opened again
// for the next request.
func (c *Client) Do(req kmsg.Request, version int16) (kmsg.Response, error) {
	resp, err := c.exchange(req, version)
	if err != nil {
		_ = c.conn.Close()
		if again := c.redial(); again != nil {
			return nil, again
		}
	}
	return resp, err
}

func (c *Client) exchange(req kmsg.Request, version int16) (kmsg.Response, error) {
	c.corr++
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	w := kmsg.Writer{Buf: make([]byte, 4)}
	client := cmp.Or(c.ClientID, "parity")
	h := kmsg.RequestHeader{
		RequestApiKey: req.Key(), RequestApiVersion: version, CorrelationId: c.corr, ClientId: &client,
	}
	h.Append(&w, kmsg.RequestHeaderVersion(req.Key(), version))
	req.Append(&w, version)
	binary.BigEndian.PutUint32(w.Buf, uint32(len(w.Buf)-4))
	if _, err := c.conn.Write(w.Buf); err != nil {
		return nil, fmt.Errorf("send %T v%d: %w", req, version, err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return nil, fmt.Errorf("receive answer to %T v%d: %w", req, version, err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxResponse {
		return nil, fmt.Errorf("answer to %T v%d has %d bytes, want at most %d", req, version, n, maxResponse)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return nil, fmt.Errorf("receive answer to %T v%d: %w", req, version, err)
	}
	return decode(req, version, c.corr, body)
}

func decode(req kmsg.Request, version int16, corr int32, body []byte) (kmsg.Response, error) {
	r := kmsg.NewReader(body)
	var h kmsg.ResponseHeader
	if err := h.Read(&r, kmsg.ResponseHeaderVersion(req.Key(), version)); err != nil {
		return nil, err
	}
	if h.CorrelationId != corr {
		return nil, fmt.Errorf("answer to %T v%d: correlation id %d, want %d", req, version, h.CorrelationId, corr)
	}
	resp := kmsg.NewResponse(req.Key())
	r2 := kmsg.NewReader(r.Rest())
	if err := resp.Read(&r2, version); err != nil {
		return nil, err
	}
	if n := len(r2.Rest()); n != 0 {
		return nil, fmt.Errorf("answer to %T v%d: %d bytes left over", req, version, n)
	}
	return resp, nil
}
