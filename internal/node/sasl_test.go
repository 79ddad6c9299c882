package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	fkmsg "github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

const (
	plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule required "
	scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule required "
)

// startSASL runs a node that asks its clients to log in on its first listener, and not on its second.
func startSASL(t *testing.T, set ...string) *running {
	t.Helper()
	return startSASLWith(t, Options{}, set...)
}

func startSASLWith(t *testing.T, o Options, set ...string) *running {
	t.Helper()
	n := startWith(t, o, "", append([]string{
		"listeners=LOGIN://127.0.0.1:0,PLAINTEXT://127.0.0.1:0",
		"listener.security.protocol.map=LOGIN:SASL_PLAINTEXT,PLAINTEXT:PLAINTEXT", "inter.broker.listener.name=PLAINTEXT",
		"listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.login.plain.sasl.jaas.config=" + plainModule + `user_ana="geheim" user_eva="auch";`,
		"connection.failed.authentication.delay.ms=20",
	}, set...)...)
	open, err := kgo.NewClient(kgo.SeedBrokers(n.listeners[1].Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, u := range []kadm.UpsertSCRAM{
		{User: "ana", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "scram256"},
		{User: "ana", Mechanism: kadm.ScramSha512, Iterations: 8192, Password: "scram512"},
	} {
		resp, err := kadm.NewClient(open).AlterUserSCRAMs(deadline(t), nil, []kadm.UpsertSCRAM{u})
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func scram256(user, password string) sasl.Mechanism {
	return scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
}

func scram512(user, password string) sasl.Mechanism {
	return scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
}

func plainText(user, password string) sasl.Mechanism {
	return plain.Auth{User: user, Pass: password}.AsMechanism()
}

// TestLogin has another client log in by every mechanism, and fail to.
func TestLogin(t *testing.T) {
	n := startSASL(t)
	for _, m := range []sasl.Mechanism{plainText("ana", "geheim"), scram256("ana", "scram256"), scram512("ana", "scram512")} {
		cl := client(t, n, kgo.SASL(m), kgo.ConsumeTopics("t-"+m.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ctx := deadline(t)
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t-" + m.Name(), Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatalf("%s: %v", m.Name(), err)
		}
		readAll(t, ctx, cl, 1)
	}
	counts := n.gates["LOGIN"].Counts()
	for limit := deadline(t); counts.Waiting != 0 && limit.Err() == nil; counts = n.gates["LOGIN"].Counts() {
		time.Sleep(10 * time.Millisecond) // a client may be about to log in over one connection more
	}
	if counts.Logins < 3 || counts.Failures != 0 || counts.Waiting != 0 {
		t.Errorf("counted %+v", counts)
	}
	for name, m := range map[string]sasl.Mechanism{
		"a wrong password":            plainText("ana", "Geheim"),
		"an unknown user":             plainText("nobody", "geheim"),
		"a wrong password, SCRAM":     scram256("ana", "scram512"),
		"an unknown user, SCRAM":      scram512("nobody", "scram512"),
		"a user of another mechanism": scram256("eva", "auch"),
	} {
		cl := client(t, n, kgo.SASL(m))
		if err := cl.Ping(deadline(t)); !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if failed := n.gates["LOGIN"].Counts().Failures; failed < 5 {
		t.Errorf("%d failures counted", failed)
	}
	resp, err := http.Get("http://" + n.HTTPAddress() + "/metrics") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`kafka_server_socket_server_metrics_successful_authentication_total{listener="LOGIN"} `,
		`kafka_server_socket_server_metrics_failed_authentication_total{listener="LOGIN"} `,
		`logstead_server_logins_waiting{listener="LOGIN"} `,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	cl := client(t, n)
	limit := deadline(t)
	if err := cl.Ping(limit); err == nil {
		t.Error("a client was served that did not log in")
	}
}

// caller speaks to a listener by hand.
type caller struct {
	t    *testing.T
	c    net.Conn
	corr int32
}

func call(t *testing.T, address string) *caller {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &caller{t: t, c: c}
}

func (c *caller) frame(body []byte) {
	c.t.Helper()
	if _, err := c.c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) send(req kmsg.Request, version int16) {
	c.t.Helper()
	c.corr++
	w := &kmsg.Writer{}
	h := kmsg.NewRequestHeader()
	h.RequestApiKey, h.RequestApiVersion, h.CorrelationId = req.Key(), version, c.corr
	h.Append(w, kmsg.RequestHeaderVersion(req.Key(), version))
	req.Append(w, version)
	c.frame(w.Buf)
}

// receive is the next answer's bytes, or an error where the connection is closed.
func (c *caller) receive() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c.c, b)
	return b, err
}

func (c *caller) ask(req kmsg.Request, resp kmsg.Response, version int16) {
	c.t.Helper()
	c.send(req, version)
	b, err := c.receive()
	if err != nil {
		c.t.Fatalf("no answer to %T: %v", req, err)
	}
	c.take(b, req, resp, version)
}

// take reads an answer.
func (c *caller) take(b []byte, req kmsg.Request, resp kmsg.Response, version int16) {
	c.t.Helper()
	r := kmsg.NewReader(b)
	var h kmsg.ResponseHeader
	if err := h.Read(&r, kmsg.ResponseHeaderVersion(req.Key(), version)); err != nil || h.CorrelationId != c.corr {
		c.t.Fatalf("answer to %T: header %+v, %v", req, h, err)
	}
	r = kmsg.NewReader(r.Rest())
	if err := resp.Read(&r, version); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) closed(why string) {
	c.t.Helper()
	if b, err := c.receive(); err == nil {
		c.t.Errorf("%s: answered %x, want the connection closed", why, b)
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		c.t.Errorf("%s: the connection stays", why)
	}
}

func (c *caller) handshake(mechanism string, version int16) *kmsg.SaslHandshakeResponse {
	c.t.Helper()
	req := kmsg.NewSaslHandshakeRequest()
	req.Mechanism = mechanism
	var resp kmsg.SaslHandshakeResponse
	c.ask(&req, &resp, version)
	return &resp
}

func (c *caller) authenticate(token string, version int16) *kmsg.SaslAuthenticateResponse {
	c.t.Helper()
	req := kmsg.NewSaslAuthenticateRequest()
	req.AuthBytes = []byte(token)
	var resp kmsg.SaslAuthenticateResponse
	c.ask(&req, &resp, version)
	return &resp
}

func (c *caller) apiVersions() *kmsg.ApiVersionsResponse {
	c.t.Helper()
	req := kmsg.NewApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1"
	var resp kmsg.ApiVersionsResponse
	c.ask(&req, &resp, 3)
	return &resp
}

// in holds that requests are served, and in the name of the user ana.
func (c *caller) in() {
	c.t.Helper()
	var md kmsg.MetadataResponse
	req := kmsg.NewMetadataRequest()
	c.ask(&req, &md, 9)
	if len(md.Brokers) != 1 {
		c.t.Errorf("metadata of %d brokers", len(md.Brokers))
	}
	var token kmsg.CreateDelegationTokenResponse
	who := kmsg.NewCreateDelegationTokenRequest()
	c.ask(&who, &token, 3)
	if token.TokenRequesterPrincipalType != "User" || token.TokenRequesterPrincipalName != "ana" {
		c.t.Errorf("the client is taken for %s:%s", token.TokenRequesterPrincipalType, token.TokenRequesterPrincipalName)
	}
}

// TestLoginByHand goes through what clients may send, and when.
func TestLoginByHand(t *testing.T) {
	n := startSASL(t, "sasl.server.max.receive.size=2000")
	address := n.Bootstrap()
	metadata := kmsg.NewMetadataRequest()

	c := call(t, address)
	if v := c.apiVersions(); v.ErrorCode != 0 || len(v.ApiKeys) < 20 {
		t.Errorf("ApiVersions before a login: %+v", v)
	}
	h := c.handshake("PLAIN", 1)
	if h.ErrorCode != 0 || !slices.Equal(h.Mechanisms, []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}) {
		t.Errorf("handshake %+v", h)
	}
	if a := c.authenticate("\x00ana\x00geheim", 2); a.ErrorCode != 0 || a.SessionLifetimeMs != 0 || len(a.AuthBytes) != 0 {
		t.Errorf("login %+v", a)
	}
	c.in()
	if h := c.handshake("PLAIN", 1); h.ErrorCode != kerr.IllegalSaslState.Code {
		t.Errorf("a handshake without a limited session: %+v", h)
	}
	if a := c.authenticate("", 2); a.ErrorCode != kerr.IllegalSaslState.Code ||
		*a.ErrorMessage != "SaslAuthenticate request received after successful authentication" {
		t.Errorf("a token after the login: %+v", a)
	}
	c.in()

	// Clients of Kafka 0.10 send tokens without a header.
	c = call(t, address)
	if h := c.handshake("PLAIN", 0); h.ErrorCode != 0 {
		t.Fatalf("handshake %+v", h)
	}
	c.frame([]byte("\x00ana\x00geheim"))
	if b, err := c.receive(); err != nil || len(b) != 0 {
		t.Fatalf("a bare token is answered %x, %v", b, err)
	}
	c.in()
	c = call(t, address)
	c.handshake("SCRAM-SHA-512", 0)
	session, token, err := scram512("ana", "scram512").Authenticate(t.Context(), "")
	for err == nil && token != nil {
		c.frame(token)
		var b []byte
		if b, err = c.receive(); err == nil {
			_, token, err = session.Challenge(b)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	c.in()
	c = call(t, address)
	c.handshake("PLAIN", 0)
	c.frame([]byte("\x00ana\x00wrong"))
	c.closed("a bare token that is wrong")

	// What fails is answered and closed, or closed.
	c = call(t, address)
	if h := c.handshake("OAUTHBEARER", 1); h.ErrorCode != kerr.UnsupportedSaslMechanism.Code || len(h.Mechanisms) != 3 {
		t.Errorf("another mechanism: %+v", h)
	}
	c.closed("after another mechanism")
	c = call(t, address)
	c.handshake("PLAIN", 1)
	if a := c.authenticate("\x00ana\x00wrong", 2); a.ErrorCode != kerr.SaslAuthenticationFailed.Code ||
		*a.ErrorMessage != "Authentication failed: Invalid username or password" {
		t.Errorf("a wrong password: %+v", a)
	}
	c.closed("after a wrong password")
	c = call(t, address)
	c.handshake("SCRAM-SHA-256", 1)
	if a := c.authenticate("nonsense", 1); a.ErrorCode != kerr.SaslAuthenticationFailed.Code ||
		*a.ErrorMessage != "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256" {
		t.Errorf("nonsense: %+v", a)
	}
	c.closed("after nonsense")
	c = call(t, address)
	c.handshake("PLAIN", 1)
	if h := c.handshake("PLAIN", 1); h.ErrorCode != kerr.IllegalSaslState.Code {
		t.Errorf("a second handshake: %+v", h)
	}
	c.closed("after a second handshake")
	for why, first := range map[string]func(*caller){
		"Metadata before a login":           func(c *caller) { c.send(&metadata, 9) },
		"Metadata between ApiVersions":      func(c *caller) { c.apiVersions(); c.send(&metadata, 9) },
		"Metadata in place of a token":      func(c *caller) { c.handshake("PLAIN", 1); c.send(&metadata, 9) },
		"ApiVersions twice":                 func(c *caller) { c.apiVersions(); r := kmsg.NewApiVersionsRequest(); c.send(&r, 0) },
		"a token without a handshake":       func(c *caller) { r := kmsg.NewSaslAuthenticateRequest(); c.send(&r, 2) },
		"a raft message":                    func(c *caller) { c.frame([]byte{0x75, 0x30, 0, 0, 0, 0, 0, 1, 0xff, 0xff}) },
		"half a header":                     func(c *caller) { c.frame([]byte{0, 18}) },
		"an empty frame":                    func(c *caller) { c.frame(nil) },
		"a large frame":                     func(c *caller) { _, _ = c.c.Write([]byte{0, 0, 8, 0}) },
		"HTTP":                              func(c *caller) { _, _ = c.c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) },
		"a handshake of a version not made": func(c *caller) { c.frame([]byte{0, 17, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 'A'}) },
		"a handshake cut off":               func(c *caller) { c.frame([]byte{0, 17, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 9, 'A'}) },
	} {
		c := call(t, address)
		first(c)
		c.closed(why)
	}
	await(t, "nobody waits", func() bool { return n.gates["LOGIN"].Counts().Waiting == 0 })
}

// TestLoginTakesTooLong holds that who connects and does not log in is sent away, slow as it may be.
func TestLoginTakesTooLong(t *testing.T) {
	const limit = 300 * time.Millisecond
	n := startSASL(t, fmt.Sprint("logstead.sasl.handshake.timeout.ms=", limit.Milliseconds()))
	silent := call(t, n.Bootstrap())
	slow := call(t, n.Bootstrap())
	go func() {
		for _, b := range []byte{0, 0, 0, 200, 0, 17, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 5, 'P', 'L', 'A', 'I', 'N'} {
			if _, err := slow.c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(limit / 6)
		}
	}()
	// inTime takes the steps of a login on one connection after another, until one is as fast as it has to be: the machine may be slow.
	late := int64(0)
	inTime := func(steps ...kmsg.Request) (c *caller) {
		await(t, "a login in time", func() bool {
			c = call(t, n.Bootstrap())
			for _, req := range steps {
				c.send(req, 1)
				if _, err := c.receive(); err != nil {
					late++
					return false
				}
			}
			return true
		})
		return c
	}
	handshake, token := kmsg.NewSaslHandshakeRequest(), kmsg.NewSaslAuthenticateRequest()
	handshake.Mechanism, token.AuthBytes = "PLAIN", []byte("\x00ana\x00geheim")
	between := inTime(&handshake)
	silent.closed("silence")
	slow.closed("a byte at a time")
	between.closed("a handshake and silence")
	await(t, "three are counted", func() bool {
		c := n.gates["LOGIN"].Counts()
		return int64(c.TooLate) == 3+late && c.Waiting == 0
	})
	// Who is in may be as silent as it likes.
	c := inTime(&handshake, &token)
	time.Sleep(2 * limit)
	c.in()
}

// stopped is a clock that stands as soon as it is moved: what happens between two moves happens at one time, however slow the machine.
type stopped struct {
	mu   sync.Mutex
	at   time.Time
	held bool
}

func (c *stopped) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		return c.at
	}
	return time.Now()
}

func (c *stopped) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		c.at, c.held = time.Now(), true
	}
	c.at = c.at.Add(d)
}

// TestSessions limits how long a client is in (KIP-368).
func TestSessions(t *testing.T) {
	var clk stopped
	n := startSASLWith(t, Options{clock: &clk}, "connections.max.reauth.ms=1500", "listener.name.login.scram-sha-256.connections.max.reauth.ms=0")
	clk.move(0)
	login := func() *caller {
		c := call(t, n.Bootstrap())
		c.handshake("PLAIN", 1)
		if a := c.authenticate("\x00ana\x00geheim", 1); a.ErrorCode != 0 || a.SessionLifetimeMs != 1500 {
			t.Fatalf("login %+v", a)
		}
		return c
	}
	good, other, mechanism, late, wrong := login(), login(), login(), login(), login()
	for range 2 {
		if h := good.handshake("PLAIN", 1); h.ErrorCode != 0 {
			t.Fatalf("a handshake again: %+v", h)
		}
		if a := good.authenticate("\x00ana\x00geheim", 1); a.ErrorCode != 0 || a.SessionLifetimeMs != 1500 {
			t.Fatalf("a login again: %+v", a)
		}
		good.in()
		// Not more than one a second.
		if h := good.handshake("PLAIN", 1); h.ErrorCode != kerr.IllegalSaslState.Code {
			t.Errorf("a handshake again at once: %+v", h)
		}
		clk.move(minAgainTest)
	}
	other.handshake("PLAIN", 1)
	if a := other.authenticate("\x00eva\x00auch", 1); a.ErrorCode != kerr.SaslAuthenticationFailed.Code ||
		*a.ErrorMessage != "Cannot change principals during re-authentication from User.ana: User.eva" {
		t.Errorf("another user: %+v", a)
	}
	other.closed("after another user")
	if h := mechanism.handshake("SCRAM-SHA-256", 1); h.ErrorCode != 0 {
		t.Errorf("another mechanism: %+v", h)
	}
	req := kmsg.NewSaslAuthenticateRequest()
	mechanism.send(&req, 1)
	mechanism.closed("a token of another mechanism")
	off := login()
	hello := kmsg.NewSaslHandshakeRequest()
	hello.Mechanism = "GSSAPI"
	off.send(&hello, 1)
	off.closed("a mechanism that is off, when in")
	wrong.handshake("PLAIN", 1)
	if a := wrong.authenticate("\x00ana\x00wrong", 1); a.ErrorCode != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("a wrong password again: %+v", a)
	}
	wrong.closed("after a wrong password again")
	metadata := kmsg.NewMetadataRequest()
	late.send(&metadata, 9)
	late.closed("a session that is over")
	counts := n.gates["LOGIN"].Counts()
	if counts.Again != 2 || counts.FailedAgain != 4 || counts.ExpiredSessions != 1 || counts.Waiting != 0 {
		t.Errorf("counted %+v", counts)
	}

	// A mechanism with its own limit.
	c := call(t, n.Bootstrap())
	if h := c.handshake("SCRAM-SHA-256", 1); h.ErrorCode != 0 {
		t.Fatal(h)
	}
}

// TestClientsSessions: a client that knows of sessions goes on for longer than one.
func TestClientsSessions(t *testing.T) {
	n := startSASL(t, "connections.max.reauth.ms=1500")
	cl := client(t, n, kgo.SASL(plainText("ana", "geheim")))
	i := 0
	await(t, "two logins again", func() bool {
		if err := cl.ProduceSync(deadline(t), &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		i++
		return n.gates["LOGIN"].Counts().Again >= 2
	})
}

// minAgainTest is a little more than what lies between two logins of a connection.
const minAgainTest = 1050 * time.Millisecond

// startSASLTrio starts three nodes that log in at each other: by SCRAM as brokers, with credentials that their directories
// were formatted with, and by PLAIN as controllers. The listener that clients come to is named as trio names it.
func startSASLTrio(t *testing.T, set ...string) *trio {
	t.Helper()
	c := &trio{t: t, set: append([]string{
		"listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
		"listener.name.plaintext.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
		"listener.name.plaintext.plain.sasl.jaas.config=" + plainModule + `user_ana="geheim";`,
		"listener.name.plaintext.scram-sha-512.sasl.jaas.config=" + scramModule + `username="nodes" password="broker secret";`,
		"sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
		"listener.name.controller.sasl.enabled.mechanisms=PLAIN",
		"listener.name.controller.plain.sasl.jaas.config=" + plainModule + `username="node-ID" password="p-ID" user_node-1="p-1" user_node-2="p-2" user_node-3="p-3";`,
		"sasl.mechanism.controller.protocol=PLAIN",
		"connection.failed.authentication.delay.ms=20",
	}, set...)}
	cluster := base.NewTopicID().String()
	for id := 1; id <= 3; id++ {
		c.dirs[id], c.ports[id], c.ctl[id] = t.TempDir(), freePort(t), freePort(t)
		if _, err := controller.Format(vfs.OS{}, controller.FormatOptions{
			Dirs: []string{c.dirs[id]}, ClusterID: cluster, NodeID: int32(id), Scram: []controller.ScramCredential{{
				User: "nodes", Mechanism: 2, Iterations: 4096, Salt: []byte("some salt"), Password: []byte("broker secret"),
			}},
		}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	c.startAll(1, 2, 3)
	t.Cleanup(c.abandon)
	return c
}

// stalls tells for how long this process was not run at most since it was called, when it had something to do.
func stalls(t *testing.T) (most func() time.Duration) {
	t.Helper()
	var worst atomic.Int64
	const step = 5 * time.Millisecond
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(step)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			now := time.Now()
			worst.Store(max(worst.Load(), int64(now.Sub(last)-step)))
			last = now
		}
	}()
	t.Cleanup(func() {
		close(done)
		<-ended
	})
	return func() time.Duration { return time.Duration(worst.Load()) }
}

// TestNodesLogIn has three nodes elect, replicate and write markers over connections that have logged in, over several
// sessions of these, and through the loss of one node.
func TestNodesLogIn(t *testing.T) {
	const life = 2 * time.Second
	slept := stalls(t)
	c := startSASLTrio(t, fmt.Sprint("connections.max.reauth.ms=", life.Milliseconds()))
	login := kgo.SASL(plainText("ana", "geheim"))
	cl := c.client(login, kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	produce := func(n int) {
		t.Helper()
		for i := range n {
			if err := cl.ProduceSync(deadline(t), &kgo.Record{Key: fmt.Append(nil, i), Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(50)
	txn := c.client(login, kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("t"))
	for i := range 6 {
		if err := txn.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := txn.ProduceSync(deadline(t), &kgo.Record{Key: fmt.Append(nil, i), Value: []byte("y")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := txn.EndTransaction(deadline(t), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	readAll(t, deadline(t), cl, 56)
	for end := time.Now().Add(4500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		produce(1)
	}
	active, _ := c.active()
	c.crash(active)
	c.active()
	produce(20)
	c.startAll(active)
	produce(20)
	c.eventually("all replicas in sync", func() bool {
		for _, p := range c.up()[0].image().Topic("t").Partitions {
			if len(p.ISR) != 3 {
				return false
			}
		}
		return true
	})
	for _, n := range c.up() {
		for name, g := range n.gates {
			counts := g.Counts()
			if counts.Logins == 0 && int(n.api.NodeID) != active || counts.Failures != 0 {
				t.Errorf("node %d, listener %s: %+v", n.api.NodeID, name, counts)
			}
			// A connection is replaced an eighth of its session before that ends: a machine that sleeps for longer sends over it late.
			if counts.ExpiredSessions != 0 && slept() < life/8/2 {
				t.Errorf("node %d, listener %s: %+v, and the machine was not held up for more than %v", n.api.NodeID, name, counts, slept())
			}
		}
	}
	// Who has no login of a node does not speak to controllers.
	x := call(t, "127.0.0.1:"+c.ctl[1])
	x.frame([]byte{0x75, 0x30, 0, 0, 0, 0, 0, 1, 0xff, 0xff})
	x.closed("a raft message without a login")
	x = call(t, "127.0.0.1:"+c.ctl[1])
	x.handshake("PLAIN", 1)
	if a := x.authenticate("\x00ana\x00geheim", 2); a.ErrorCode != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("a client's login at a controller: %+v", a)
	}
}

// TestNodesLogInOverTLS does the same over encrypted connections. Who a client is follows from its login: its certificate, where
// it has one, says nothing.
func TestNodesLogInOverTLS(t *testing.T) {
	p := newPKI(t)
	for _, id := range []string{"1", "2", "3"} {
		p.store("node"+id+".pem", "node"+id, "127.0.0.1")
	}
	c := startSASLTrio(t, append(p.keys("", filepath.Join(p.dir, "nodeID.pem")),
		"listener.security.protocol.map=PLAINTEXT:SASL_SSL,CONTROLLER:SASL_SSL", "listener.name.plaintext.ssl.client.auth=requested")...)
	for name, with := range map[string]kgo.Opt{"without": p.client(""), "with": p.client(p.store("client.pem", "certificate"))} {
		cl := c.client(with, kgo.SASL(plainText("ana", "geheim")), kgo.DefaultProduceTopic(name))
		if err := cl.ProduceSync(deadline(t), &kgo.Record{Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatalf("%s a certificate: %v", name, err)
		}
		who := fkmsg.NewPtrCreateDelegationTokenRequest()
		resp, err := who.RequestWith(deadline(t), cl)
		if err != nil {
			t.Fatal(err)
		}
		if resp.TokenRequesterPrincipalName != "ana" {
			t.Errorf("%s a certificate the client is taken for %s", name, resp.TokenRequesterPrincipalName)
		}
	}
	if err := c.client(p.client(""), kgo.SASL(plainText("ana", "wrong"))).Ping(deadline(t)); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("a wrong password: %v", err)
	}
	for _, n := range c.up() {
		for _, b := range n.image().Brokers() {
			if b.Endpoints[0].Protocol != 3 {
				t.Errorf("broker %d is registered with security protocol %d, want 3 (SASL_SSL)", b.ID, b.Endpoints[0].Protocol)
			}
		}
		if counts := n.gates["CONTROLLER"].Counts(); counts.Logins == 0 || counts.Failures != 0 {
			t.Errorf("node %d, controllers: %+v", n.api.NodeID, counts)
		}
	}
}

// TestNodeLogsInWrong holds that a broker with another password than the cluster's is not let in, and says why.
func TestNodeLogsInWrong(t *testing.T) {
	c := startSASLTrio(t)
	other := slices.Concat(c.config(3), []string{
		"listener.name.controller.plain.sasl.jaas.config=" + plainModule + `username="node-3" password="wrong" user_node-1="p-1";`,
	})
	c.stop(3)
	var level slog.LevelVar
	level.Set(slog.LevelWarn)
	var said lockedText
	n, err := Open(t.Context(), Options{
		Config: loadConfig(t, c.dirs[3], append(other, "initial.broker.registration.timeout.ms=2000")...), Version: "test",
		Level: &level, Logger: slog.New(slog.NewTextHandler(&said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = n.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "log in by PLAIN") || !strings.Contains(err.Error(), "Invalid username or password") {
		t.Errorf("the node ended with %v", err)
	}
	if text := said.String(); strings.Contains(text, "wrong\\") || strings.Contains(text, "p-1") {
		t.Errorf("the log tells a password: %s", text)
	}
}

// lockedText is a log to look at.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestSASLDynamicUsers changes the users of PLAIN while clients are served.
func TestSASLDynamicUsers(t *testing.T) {
	n := startSASL(t)
	key := "listener.name.login.plain.sasl.jaas.config"
	in := client(t, n, kgo.SASL(plainText("ana", "geheim")))
	if err := in.Ping(deadline(t)); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(in)
	set := func(value string) error {
		responses, err := admin.AlterBrokerConfigs(deadline(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, 1)
		if err == nil {
			err = responses[0].Err
		}
		return err
	}
	if err := set(plainModule + `user_new="neu"`); err == nil || strings.Contains(err.Error(), "neu") {
		t.Errorf("a broken text: %v", err)
	}
	if err := set(plainModule + `user_new="neu";`); err != nil {
		t.Fatal(err)
	}
	if err := client(t, n, kgo.SASL(plainText("new", "neu"))).Ping(deadline(t)); err != nil {
		t.Errorf("the new user: %v", err)
	}
	if err := client(t, n, kgo.SASL(plainText("ana", "geheim"))).Ping(deadline(t)); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("the old user: %v", err)
	}
	if err := in.Ping(deadline(t)); err != nil {
		t.Errorf("who is in: %v", err)
	}
	configs, err := admin.DescribeBrokerConfigs(deadline(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range configs[0].Configs {
		if c.Key == key {
			found = true
			if c.Value != nil || !c.Sensitive {
				t.Errorf("%s is described as %v", key, *c.Value)
			}
		}
	}
	if !found {
		t.Errorf("%s is not described", key)
	}
}
