package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/kit/certs"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

// authority is an authority of a test, with certificates that are valid now.
type authority struct {
	t testing.TB
	*certs.Authority
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	a, err := certs.NewAuthority(certs.Subject{Name: pkix.Name{CommonName: "test authority"}, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return authority{t, a}
}

func (a authority) issue(name pkix.Name, hosts ...string) tls.Certificate {
	a.t.Helper()
	p, err := a.Issue(certs.Subject{Name: name, Hosts: hosts, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{p.Certificate.Raw}, PrivateKey: p.Key, Leaf: p.Certificate}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// listenTLS is what a listener of a test is encrypted with.
func (a authority) listenTLS(clients tls.ClientAuthType) *TLS {
	rules, err := auth.ParseMappingRules("DEFAULT")
	if err != nil {
		a.t.Fatal(err)
	}
	conf := &tls.Config{
		Certificates: []tls.Certificate{a.issue(pkix.Name{CommonName: "broker"}, "127.0.0.1")}, ClientAuth: clients, ClientCAs: a.pool(),
		DynamicRecordSizingDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if s, ok := hello.Conn.(*socket); ok {
				s.Computing()
			}
			return nil, nil
		},
	}
	return &TLS{Config: func() *tls.Config { return conf }, Principal: rules.OfCertificate}
}

// TestProduceFetchOverTLS is TestProduceFetch over TLS: large answers go out in pieces that are read, not by sendfile.
func TestProduceFetchOverTLS(t *testing.T) {
	a := newAuthority(t)
	for name, fs := range map[string]vfs.FS{"files": vfs.OS{}, "memory": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := "/data"
			if name == "files" {
				dir = t.TempDir()
			}
			b := startBroker(t, Options{}, fs, dir, storage.Fsync, map[string]int{"t": 3}, withTLS(a.listenTLS(tls.NoClientCert)))
			roundTrip(t, b, "t", kgo.DialTLSConfig(&tls.Config{RootCAs: a.pool()}))
		})
	}
}

// TestPrincipalOfCertificate: who connects is named after the certificate, and is nobody without one.
func TestPrincipalOfCertificate(t *testing.T) {
	a := newAuthority(t)
	name := pkix.Name{CommonName: "ana", Organization: []string{"Acme, Inc."}}
	for _, tc := range []struct {
		what    string
		clients tls.ClientAuthType
		certs   []tls.Certificate
		want    string
	}{
		{"with one", tls.RequireAndVerifyClientCert, []tls.Certificate{a.issue(name)}, `User:CN=ana,O=Acme\, Inc.`},
		{"without one", tls.VerifyClientCertIfGiven, nil, "User:ANONYMOUS"},
		{"asked for and given", tls.VerifyClientCertIfGiven, []tls.Certificate{a.issue(name)}, `User:CN=ana,O=Acme\, Inc.`},
		{"not asked", tls.NoClientCert, []tls.Certificate{a.issue(name)}, "User:ANONYMOUS"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			var srv *Server
			b := startBroker(t, Options{}, vfs.NewMem(), "/data", storage.Fsync, nil, withTLS(a.listenTLS(tc.clients)), withServer(&srv))
			nc, err := tls.Dial("tcp", b.addr, &tls.Config{RootCAs: a.pool(), Certificates: tc.certs})
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			askVersions(t, nc)
			c := srv.onlyConn(t)
			c.mu.Lock()
			defer c.mu.Unlock()
			if got := c.api.Principal.String(); got != tc.want {
				t.Errorf("principal %s, want %s", got, tc.want)
			}
		})
	}
}

// TestRefusedHandshakes: each way of failing is told in words that say what to do, and the next client is served.
func TestRefusedHandshakes(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	hello := func(t *testing.T, addr string, c *tls.Config) {
		nc, err := tls.Dial("tcp", addr, c)
		if err == nil {
			_, err = nc.Read(make([]byte, 1))
			_ = nc.Close()
		}
		if err == nil {
			t.Error("the session was served")
		}
	}
	send := func(first string) func(*testing.T, string) {
		return func(t *testing.T, addr string) {
			nc := dialTest(t, addr)
			if _, err := nc.Write([]byte(first)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); err != nil && !isReset(err) {
				t.Error(err)
			}
		}
	}
	for _, tc := range []struct {
		name string
		do   func(*testing.T, string)
		want string
	}{
		{"in the clear", send("\x00\x00\x00\x10\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04test"), "set security.protocol=SSL"},
		{"HTTP", send("GET / HTTP/1.1\r\n\r\n"), "it speaks HTTP"},
		{"garbage", send("\xff\xfe\xfd\xfc\xfb\xfa"), "ff fe fd fc fb"},
		{"no certificate", func(t *testing.T, addr string) { hello(t, addr, &tls.Config{RootCAs: a.pool()}) }, "has no certificate"},
		{"an unknown authority's", func(t *testing.T, addr string) {
			hello(t, addr, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{other.issue(pkix.Name{CommonName: "x"})}})
		}, "ssl.truststore must hold who signed it"},
		{"a client that does not trust", func(t *testing.T, addr string) { hello(t, addr, &tls.Config{RootCAs: other.pool()}) }, "the client refused"},
		{"an old protocol", func(t *testing.T, addr string) {
			hello(t, addr, &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		}, "versions"},
		{"gone in the middle", func(t *testing.T, addr string) {
			nc := dialTest(t, addr)
			_, _ = nc.Write([]byte{0x16, 3, 1, 2, 0, 1})
			_ = nc.Close()
		}, "went away"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log logLines
			b := startBroker(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, vfs.NewMem(), "/data", storage.Fsync, nil,
				withTLS(a.listenTLS(tls.RequireAndVerifyClientCert)))
			tc.do(t, b.addr)
			log.await(t, tc.want)
			nc, err := tls.Dial("tcp", b.addr, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{a.issue(pkix.Name{CommonName: "x"})}})
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			askVersions(t, nc)
		})
	}
}

// TestTLSOnAPlainListener: the log says what the client did, not that its request is of 370 MB.
func TestTLSOnAPlainListener(t *testing.T) {
	var log logLines
	b := startBroker(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, vfs.NewMem(), "/data", storage.Fsync, nil)
	if nc, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true}); err == nil {
		_ = nc.Close()
		t.Fatal("a listener in the clear answered to TLS")
	}
	log.await(t, "this listener is not encrypted")
}

// TestProbe: who only looks whether the port is open has no line in the log, and is no failed handshake.
func TestProbe(t *testing.T) {
	a := newAuthority(t)
	var log logLines
	var srv *Server
	b := startBroker(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, vfs.NewMem(), "/data", storage.Fsync, nil,
		withTLS(a.listenTLS(tls.NoClientCert)), withServer(&srv))
	_ = dialTest(t, b.addr).Close()
	nc := dialTest(t, b.addr)
	if _, err := nc.Write([]byte{0x16}); err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
	log.await(t, "went away")
	waitFor(t, "both connections are gone", func() bool { return len(srv.Connections()) == 0 })
	if _, failed, _ := srv.Handshakes(); failed != 1 {
		t.Errorf("%d handshakes failed, want the one that was begun", failed)
	}
}

// TestFewCompute: of many clients that begin together only as many compute as there are processors, and a client that goes away
// in the middle leaves its place.
func TestFewCompute(t *testing.T) {
	a := newAuthority(t)
	var srv *Server
	var most, now atomic.Int32
	with := a.listenTLS(tls.NoClientCert)
	conf := with.Config()
	cert := conf.Certificates[0]
	conf.Certificates = nil
	conf.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { // within what is bounded
		for n, m := now.Add(1), most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		defer now.Add(-1)
		time.Sleep(time.Millisecond)
		return &cert, nil
	}
	b := startBroker(t, Options{}, vfs.NewMem(), "/data", storage.Fsync, nil, withTLS(with), withServer(&srv))
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			nc, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			s := tls.Client(nc, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"})
			if i%3 == 0 { // gone behind its hello
				_ = nc.SetReadDeadline(time.Now())
				_ = s.Handshake()
				return
			}
			if err := s.Handshake(); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	waitFor(t, "all places are free", func() bool { _, _, n := srv.Handshakes(); return n == 0 && len(srv.handshakes.cpu) == 0 })
	if got := int(most.Load()); got == 0 || got > runtime.GOMAXPROCS(0) {
		t.Errorf("%d handshakes computed at a time, with %d processors", got, runtime.GOMAXPROCS(0))
	}
}

// TestHandshakeRoom: connections that do not finish their handshake take up room that is bounded, and leave it when their
// time is over; who waited is served then.
func TestHandshakeRoom(t *testing.T) {
	a := newAuthority(t)
	var srv *Server
	b := startBroker(t, Options{HandshakeTimeout: 200 * time.Millisecond, MaxHandshakes: 4}, vfs.NewMem(), "/data", storage.Fsync, nil,
		withTLS(a.listenTLS(tls.NoClientCert)), withServer(&srv))
	// One that a slow machine holds up in its own handshake runs out of time too, and comes again; so does a test that is held up while
	// the four are to be seen.
	waitFor(t, "one is served behind silent clients", func() bool {
		for range 12 {
			dialTest(t, b.addr)
		}
		_, before, _ := srv.Handshakes()
		waitFor(t, "four handshakes run", func() bool {
			_, failed, n := srv.Handshakes()
			if n > 4 {
				t.Fatalf("%d handshakes run, want at most 4", n)
			}
			return n == 4 || failed >= before+12
		})
		if _, failed, _ := srv.Handshakes(); failed >= before+4 {
			return false
		}
		nc, err := tls.Dial("tcp", b.addr, &tls.Config{RootCAs: a.pool()})
		if err != nil {
			return false
		}
		defer nc.Close()
		askVersions(t, nc)
		done, failed, _ := srv.Handshakes()
		if done != 1 || failed < before+8 { // those before it in the backlog ran out of time
			t.Errorf("%d handshakes done and %d failed after %d, want 1 and at least 8 more", done, failed, before)
		}
		return true
	})
}

// TestIdleTLSHoldsNoBuffer: while it waits for a request a TLS connection has no buffer of ours, as one in the clear.
func TestIdleTLSHoldsNoBuffer(t *testing.T) {
	var in frameReader
	client, served := net.Pipe()
	a := newAuthority(t)
	session := tls.Server(served, a.listenTLS(tls.NoClientCert).Config())
	asked := tls.Client(client, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"})
	defer asked.Close()
	in.init(waiting{session, func() {
		if in.buf != nil {
			t.Error("the reader waits with a buffer")
		}
	}}, 1<<20, newBudget(1<<20), 0, time.Second)
	in.waits = true
	go func() {
		for _, part := range []string{"\x00\x00\x00\x05hello\x00\x00", "\x00\x04four", "\x00\x00\x00\x01x"} {
			if _, err := asked.Write([]byte(part)); err != nil {
				return
			}
		}
	}()
	for _, want := range []string{"hello", "four", "x"} {
		got, err := in.next()
		if err != nil || string(got) != want {
			t.Fatalf("frame %q, error %v, want %q", got, err, want)
		}
		in.release()
	}
}

// waiting calls before each read that begins a request.
type waiting struct {
	*tls.Conn
	before func()
}

func (w waiting) Read(p []byte) (int, error) {
	if len(p) == 4 {
		w.before()
	}
	return w.Conn.Read(p)
}

func withTLS(t *TLS) func(*Listener, *Server) {
	return func(l *Listener, _ *Server) { l.TLS = t }
}

func withServer(to **Server) func(*Listener, *Server) {
	return func(_ *Listener, s *Server) { *to = s }
}

func (s *Server) onlyConn(t *testing.T) *conn {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		return c
	}
	t.Fatal("there is no connection")
	return nil
}

// askVersions sends ApiVersions and reads the answer.
func askVersions(t *testing.T, nc net.Conn) {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(patience))
	req := []byte{0, 0, 0, 14, 0, 18, 0, 0, 0, 0, 0, 7, 0, 4, 't', 'e', 's', 't'}
	if _, err := nc.Write(req); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(nc, answer); err != nil || binary.BigEndian.Uint32(answer) != 7 {
		t.Fatalf("answer of %d bytes, error %v", len(answer), err)
	}
}

// logLines is a log that can be waited for.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) await(t *testing.T, want string) {
	t.Helper()
	got := func() string {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.text.String()
	}
	waitFor(t, fmt.Sprintf("a line with %q; there is:\n%s", want, got()), func() bool { return strings.Contains(got(), want) })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// TestAllocationsOverTLS: a request over TLS allocates no more than one in the clear, but for what crypto/tls does for a record on
// either side.
func TestAllocationsOverTLS(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("counts the allocations of the whole process")
	}
	a := newAuthority(t)
	addr := startBroker(t, Options{}, vfs.OS{}, t.TempDir(), storage.Replicated, map[string]int{"t": 1}, withTLS(a.listenTLS(tls.NoClientCert))).addr
	produce := newCallerTLS(t, a, addr, produceFrame(t, "t", 1, 1000, 100, -1))
	produce.check()
	fetch := newCallerTLS(t, a, addr, fetchFrame("t", 1, 1<<20, 0, -1))
	fetch.check()
	for what, c := range map[string]*caller{"produce": produce, "fetch": fetch} {
		got := allocs(c)
		if most := 4 + float64(len(c.frame)+len(c.call()))/(16<<10); got > most {
			t.Errorf("%s over TLS: %.1f allocations a request, want at most %.1f", what, got, most)
		}
	}
}

// countedWrites counts the writes to a connection.
type countedWrites struct {
	net.Conn
	writes int
}

func (c *countedWrites) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// TestRecordsTogether: several records of a large answer go out with one write, in their order, a small one at once, and
// nothing is left behind.
func TestRecordsTogether(t *testing.T) {
	a := newAuthority(t)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	count := &countedWrites{Conn: near}
	session := tls.Server(&socket{Conn: count, all: newHandshakes(Options{})}, a.listenTLS(tls.NoClientCert).Config())
	got := make(chan []byte)
	client := tls.Client(far, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"})
	go func() {
		for _, n := range []int{5, 1<<20 + 5, 5} {
			b := make([]byte, n)
			if _, err := io.ReadFull(client, b); err != nil {
				t.Error(err)
			}
			got <- b
		}
	}()
	if err := session.Handshake(); err != nil {
		t.Fatal(err)
	}
	var o sender
	o.init(session)
	want := make([]byte, 1<<20+5)
	for i := range want {
		want[i] = byte(i >> 3)
	}
	for _, p := range [][]byte{want[:5], want, want[:5]} {
		before := count.writes
		if err := o.gather(p); err != nil {
			t.Fatal(err)
		}
		if err := o.flush(); err != nil {
			t.Fatal(err)
		}
		if b := <-got; !bytes.Equal(b, p) {
			t.Fatalf("%d bytes came that are others than those that were sent", len(b))
		}
		if writes, most := count.writes-before, 1+len(p)/(3*16<<10); writes > most {
			t.Errorf("%d bytes took %d writes, want at most %d", len(p), writes, most)
		}
	}
	if o.raw.held.mem != nil {
		t.Error("a connection at rest holds a buffer")
	}
}

func newCallerTLS(t testing.TB, a authority, addr string, frame []byte) *caller {
	t.Helper()
	nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: a.pool(), DynamicRecordSizingDisabled: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &caller{t: t, nc: nc, frame: frame, buf: make([]byte, 8<<20)}
}

// BenchmarkOverTLS is BenchmarkProduce and BenchmarkFetch over TLS; the client decrypts and encrypts in the same process.
func BenchmarkOverTLS(b *testing.B) {
	a := newAuthority(b)
	for _, maxBytes := range []int32{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("fetch/%d", maxBytes), func(b *testing.B) {
			addr := startBroker(b, Options{}, vfs.OS{}, b.TempDir(), storage.Replicated, map[string]int{"t": 1}, withTLS(a.listenTLS(tls.NoClientCert))).addr
			p := newCallerTLS(b, a, addr, produceFrame(b, "t", 1, 3, 1000, -1))
			for range 512 {
				p.check()
			}
			c := newCallerTLS(b, a, addr, fetchFrame("t", 1, maxBytes, 0, -1))
			c.check()
			b.SetBytes(int64(len(c.call())))
			b.ReportAllocs()
			for b.Loop() {
				c.call()
			}
		})
	}
	for _, records := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("produce/%dx1000", records), func(b *testing.B) {
			addr := startBroker(b, Options{}, vfs.OS{}, b.TempDir(), storage.Replicated, map[string]int{"t": 1}, withTLS(a.listenTLS(tls.NoClientCert))).addr
			c := newCallerTLS(b, a, addr, produceFrame(b, "t", 1, records, 1000, -1))
			c.check()
			b.SetBytes(int64(len(c.frame)))
			b.ReportAllocs()
			for b.Loop() {
				c.call()
			}
		})
	}
}

// TestManyIdleSessions bounds what an idle connection costs over TLS, the client's half in the same process included, after a
// request of the largest record.
func TestManyIdleSessions(t *testing.T) {
	if testing.Short() {
		t.Skip("opens hundreds of connections")
	}
	const conns = 300
	a := newAuthority(t)
	addr := startBroker(t, Options{}, vfs.NewMem(), "/data", storage.Replicated, map[string]int{"t": 1}, withTLS(a.listenTLS(tls.NoClientCert))).addr
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	var open []net.Conn
	for range conns {
		nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: a.pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		askVersions(t, nc)
		open = append(open, nc)
	}
	small := (heap() - before) / conns
	for _, nc := range open {
		c := &caller{t: t, nc: nc, frame: produceFrame(t, "t", 1, 16, 1000, 1), buf: make([]byte, 1<<10)}
		c.call()
	}
	large := (heap() - before) / conns
	t.Logf("a connection costs %d KiB idle, %d KiB after a request of 16 KiB, both halves together", small>>10, large>>10)
	if small > 96<<10 || large > 128<<10 {
		t.Errorf("an idle connection costs %d KiB, and %d KiB after a request of 16 KiB", small>>10, large>>10)
	}
	runtime.KeepAlive(open)
}
