package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/proto/wire"
)

// TLS is what an encrypted listener needs.
type TLS struct {
	// Config is the configuration for the next connection: certificates may have been replaced. Its GetConfigForClient calls
	// Computing of the connection where that has it.
	Config func() *tls.Config
	// Principal is who the owner of a client's certificate is; nil where certificates name nobody, as below SASL.
	Principal func(*x509.Certificate) (auth.Principal, error)
}

const (
	handshakeTimeout = 10 * time.Second
	maxHandshakes    = 1024
	// goodbyeTimeout bounds how long the end of a TLS session may take to be written to a client that does not read.
	goodbyeTimeout = 100 * time.Millisecond
)

// handshakes is the room for connections that have not finished their TLS handshake.
type handshakes struct {
	room   chan struct{}
	cpu    chan struct{} // of those that compute
	limit  time.Duration
	done   atomic.Int64
	failed atomic.Int64
}

func newHandshakes(o Options) *handshakes {
	if o.MaxHandshakes <= 0 {
		o.MaxHandshakes = maxHandshakes
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = handshakeTimeout
	}
	return &handshakes{room: make(chan struct{}, o.MaxHandshakes), cpu: make(chan struct{}, runtime.GOMAXPROCS(0)), limit: o.HandshakeTimeout}
}

// enter waits for room; false means that ctx ended.
func (h *handshakes) enter(ctx context.Context) bool {
	select {
	case h.room <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (h *handshakes) leave() { <-h.room }

// timeout is short while room is scarce: who shakes hands at all is done in a few round trips.
func (h *handshakes) timeout() time.Duration {
	if len(h.room) > cap(h.room)/2 {
		return h.limit / 10
	}
	return h.limit
}

// Handshakes counts the TLS handshakes that ended well, those that failed, and those that run.
func (s *Server) Handshakes() (done, failed int64, running int) {
	return s.handshakes.done.Load(), s.handshakes.failed.Load(), len(s.handshakes.room)
}

// socket is the TCP connection below a TLS session. It keeps a session's last words from waiting for a client that
// does not read, and writes several records of a large answer at a time.
type socket struct {
	net.Conn
	closing atomic.Bool
	all     *handshakes
	// What follows belongs to the goroutine that shakes hands and reads.
	heard     bool // something has come
	computing bool // it has a part of all.cpu

	held struct {
		sync.Mutex
		mem *wire.Buffer // nil unless records are held back
		n   int
	}
}

// heldBytes is what records are gathered in: three of 16 KiB and what TLS adds to them. crypto/tls writes each by itself.
const heldBytes = 64 << 10

// writeAll writes the bytes of a large answer through a session above: its records are held back and go out together.
func (s *socket) writeAll(session *tls.Conn, p []byte) error {
	s.held.Lock()
	s.held.mem, s.held.n = wire.GetBuffer(heldBytes), 0
	s.held.Unlock()
	_, err := session.Write(p)
	s.held.Lock()
	defer s.held.Unlock()
	if err == nil {
		err = s.writeHeldLocked()
	}
	wire.PutBuffer(s.held.mem)
	s.held.mem = nil
	return err
}

func (s *socket) writeHeldLocked() error {
	n := s.held.n
	if s.held.n = 0; n == 0 {
		return nil
	}
	_, err := s.Conn.Write(s.held.mem.B[:n])
	return err
}

// Write takes what the session sends: records of an answer, or what it has to say by itself, each in its turn.
func (s *socket) Write(p []byte) (int, error) {
	s.held.Lock()
	defer s.held.Unlock()
	if s.held.mem == nil {
		return s.Conn.Write(p)
	}
	if s.held.n+len(p) > heldBytes {
		if err := s.writeHeldLocked(); err != nil {
			return 0, err
		}
	}
	if len(p) > heldBytes {
		return s.Conn.Write(p)
	}
	s.held.n += copy(s.held.mem.B[s.held.n:], p)
	return len(p), nil
}

// Computing waits until few enough others compute, once the client has begun its handshake: a thousand signatures at the same
// time would keep everybody's requests waiting for as long as all of them take together. The time for the handshake begins anew.
func (s *socket) Computing() {
	s.all.cpu <- struct{}{}
	s.computing = true
	_ = s.SetDeadline(time.Now().Add(s.all.limit)) // a failure shows with the next write
}

// computed ends that: the client's turn has come, or the handshake is over.
func (s *socket) computed() {
	if s.computing {
		s.computing = false
		<-s.all.cpu
	}
}

func (s *socket) Read(p []byte) (int, error) {
	s.computed()
	n, err := s.Conn.Read(p)
	s.heard = s.heard || n > 0
	return n, err
}

// SetWriteDeadline caps what crypto/tls gives its closing alert.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.closing.Load() {
		if most := time.Now().Add(goodbyeTimeout); t.IsZero() || t.After(most) {
			t = most
		}
	}
	return s.Conn.SetWriteDeadline(t)
}

// secure puts TLS on a connection that was accepted.
func (c *conn) secure(l *Listener, nc net.Conn) net.Conn {
	if l.TLS == nil {
		return nc
	}
	c.socket = &socket{Conn: nc, all: c.srv.handshakes}
	c.tls = tls.Server(c.socket, l.TLS.Config())
	c.principal = l.TLS.Principal
	return c.tls
}

// handshake makes the TLS session and finds out who the client is. It gives back the room that accept took.
func (c *conn) handshake() error {
	if c.tls == nil {
		return nil
	}
	h := c.srv.handshakes
	defer h.leave()
	defer c.socket.computed()
	err := c.tls.SetDeadline(time.Now().Add(h.timeout()))
	if err == nil {
		err = c.tls.Handshake()
	}
	if err == nil {
		err = c.identify()
	}
	if err == nil {
		err = c.tls.SetDeadline(time.Time{})
	}
	if err != nil && !c.socket.heard && errors.Is(err, io.EOF) {
		return err // somebody looked whether the port is open
	}
	if err != nil {
		h.failed.Add(1)
		return &handshakeError{err}
	}
	h.done.Add(1)
	return nil
}

// identify names the client after its certificate.
func (c *conn) identify() error {
	certs := c.tls.ConnectionState().PeerCertificates
	if c.principal == nil || len(certs) == 0 {
		return nil
	}
	p, err := c.principal(certs[0])
	c.api.Principal = p
	return err
}

// handshakeError is a connection that never became one.
type handshakeError struct{ err error }

func (e *handshakeError) Unwrap() error { return e.err }

// Error says what the client did, and what mends it.
func (e *handshakeError) Error() string {
	var (
		header    tls.RecordHeaderError
		untrusted *tls.CertificateVerificationError
		invalid   x509.CertificateInvalidError
		remote    *net.OpError
	)
	switch err := e.err; {
	case errors.As(err, &header):
		return notTLS(header.RecordHeader)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no TLS handshake in time: the client connected and did not finish it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "TLS handshake: the client's certificate has expired: " + invalid.Error()
	case errors.As(err, &untrusted):
		return fmt.Sprintf("TLS handshake: the client's certificate is not accepted: %v; ssl.truststore must hold who signed it", untrusted.Err)
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Sprintf("TLS handshake: the client refused: %v; it must trust who signed this listener's certificate, and find in it the name it "+
			"connected to", remote.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "TLS handshake: the client went away in it; a client that does not trust the certificate may do so without a word"
	case err.Error() == "tls: client didn't provide a certificate":
		return "TLS handshake: the client has no certificate, and ssl.client.auth is required"
	default:
		return "TLS handshake: " + err.Error()
	}
}

// notTLS says what a client speaks that does not begin as TLS does.
func notTLS(first [5]byte) string {
	what := fmt.Sprintf("it began with the bytes % x", first)
	switch {
	case first[0] == 0 && first[1] == 0:
		what = "it sends Kafka requests in the clear; set security.protocol=SSL (or SASL_SSL) at the client, or have it connect to a PLAINTEXT listener"
	case bytes.HasPrefix(first[:], []byte("GET ")), bytes.HasPrefix(first[:], []byte("POST ")), bytes.HasPrefix(first[:], []byte("HEAD ")), bytes.HasPrefix(first[:], []byte("PUT ")):
		what = "it speaks HTTP; this port is Kafka's"
	}
	return "the client does not speak TLS on a listener that does: " + what
}

// isClientHello says whether the size of a request is the beginning of a TLS handshake.
func isClientHello(b []byte) bool { return b[0] == 0x16 && b[1] == 3 && b[2] <= 4 }

var errHelloInClear = errors.New("the client begins a TLS handshake, and this listener is not encrypted: set security.protocol at the client to what " +
	"listener.security.protocol.map says of the listener, or connect it to an SSL listener")
