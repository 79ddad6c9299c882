package cli

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
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/logstead/logstead/internal/conf/tlsconf"
)

// conn is a connection to a cluster for the length of one command.
type conn struct {
	*kadm.Client
	cl      *kgo.Client
	app     *App
	base    context.Context // ends on ctrl-c, and when no broker can be reached
	cancel  context.CancelCauseFunc
	timeout time.Duration
	watch   *dialWatch
	source  string
}

// show asks the cluster one thing and prints the answer.
func show[T any](a *App, cmd *cobra.Command, ask func(*conn) (T, error)) error {
	cn, err := a.dial(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	v, err := ask(cn)
	if err != nil {
		return err
	}
	return a.emit(v)
}

// dial builds a client for the effective settings. Nothing is sent before the first request. The
// caller closes it.
func (a *App) dial(cmd *cobra.Command, opts ...kgo.Opt) (*conn, error) {
	return a.dialWith(cmd.Context(), true, opts...)
}

// dialToWrite is dial for commands that change something: not through a read-only context.
func (a *App) dialToWrite(cmd *cobra.Command) (*conn, error) {
	if err := a.guardWrite(); err != nil {
		return nil, err
	}
	return a.dial(cmd)
}

// dialPatient is dial for commands that wait for a cluster to come up.
func (a *App) dialPatient(cmd *cobra.Command, opts ...kgo.Opt) (*conn, error) {
	return a.dialWith(cmd.Context(), false, opts...)
}

func (a *App) dialWith(ctx context.Context, giveUp bool, opts ...kgo.Opt) (*conn, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if err := s.resolveSASL(ctx); err != nil {
		return nil, err
	}
	base, cancel := context.WithCancelCause(ctx)
	c := &conn{app: a, base: base, cancel: cancel, timeout: s.timeout, source: s.source}
	c.watch = &dialWatch{seeds: len(s.props.bootstrap), source: s.source, addrs: s.props.bootstrap,
		login: s.props.sasl.username != ""}
	if giveUp {
		c.watch.onHopeless = func(err error) { cancel(err) }
	}
	all, err := s.clientOptions()
	if err != nil {
		cancel(nil)
		return nil, err
	}
	all = append(all, kgo.WithHooks(c.watch))
	if a.flags.verbose > 1 {
		all = append(all, kgo.WithLogger(kgo.BasicLogger(a.Stderr, kgo.LogLevelDebug, nil)))
	}
	cl, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		cancel(nil)
		return nil, usagef("client settings: %v", err)
	}
	c.cl, c.Client = cl, kadm.NewClient(cl)
	c.SetTimeoutMillis(int32(min(s.timeout.Milliseconds(), 1<<30)))
	a.debug("bootstrap %s (from %s)", strings.Join(s.props.bootstrap, ","), s.source)
	return c, nil
}

func (c *conn) close() {
	c.cl.Close()
	c.cancel(nil)
}

// step is a context for one request: it ends at the deadline.
func (c *conn) step() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.base, c.timeout)
}

// call runs one request under the deadline and explains its failure. A coordinator that is moving,
// or is being set up by the first request of a new cluster, is waited for.
func call[T any](c *conn, what string, fn func(context.Context) (T, error)) (T, error) {
	ctx, cancel := c.step()
	defer cancel()
	for {
		out, err := fn(ctx)
		if err == nil {
			return out, nil
		}
		if !coordinatorMoving(err) || !pause(ctx, coordinatorRetry) {
			return out, c.fault(what, err)
		}
	}
}

const coordinatorRetry = 100 * time.Millisecond

func coordinatorMoving(err error) bool {
	switch kafkaCode(err) {
	case 14, 15, 16: // loading, not available, not the coordinator
		return true
	}
	return false
}

// pause waits and says whether the context still holds.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fault explains a failed request; trouble in reaching brokers is told with the address and reason.
func (c *conn) fault(what string, err error) error {
	if cause := context.Cause(c.base); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) {
		if why := c.watch.trouble(); why != nil {
			return why
		}
		f := asFault(what, err)
		f.Why = fmt.Sprintf("no answer within %s", humanDuration(c.timeout))
		return f
	}
	f := asFault(what, err)
	if f.Exit == exitUnreachable && f.Kafka == 0 {
		if why := c.watch.trouble(); why != nil {
			return why // it names the address, and which broker told it
		}
		f.Why += addressNote(c.source)
	}
	return f
}

// dialWatch remembers what went wrong with connections, to explain a deadline that was missed and
// to stop at once when there is no hope.
type dialWatch struct {
	seeds      int
	addrs      []string
	source     string
	onHopeless func(error)
	login      bool

	mu       sync.Mutex
	ok       bool // some connection to a bootstrap address worked
	okNodes  int  // connections to advertised addresses that worked
	failed   map[string]error
	advFails int
}

// reached says whether some broker was reached at the address that it advertises.
func (w *dialWatch) reached() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.okNodes > 0
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (w *dialWatch) OnBrokerConnect(m kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seed := m.NodeID < 0
	addr := net.JoinHostPort(m.Host, fmt.Sprint(m.Port))
	if err == nil {
		if seed {
			w.ok = true
		} else {
			w.okNodes++
		}
		delete(w.failed, addr)
		return
	}
	if errors.Is(err, context.Canceled) {
		return
	}
	if w.failed == nil {
		w.failed = map[string]error{}
	}
	w.failed[addr] = w.explain(m, addr, err)
	if !seed {
		w.advFails++
	}
	if w.onHopeless == nil {
		return
	}
	if (!w.ok && w.okNodes == 0 && len(w.failed) >= w.seeds) || (w.okNodes == 0 && w.advFails >= 4) {
		w.onHopeless(w.failed[addr])
	}
}

func (w *dialWatch) explain(m kgo.BrokerMetadata, addr string, err error) error {
	f := asFault("cannot connect to "+addr, err)
	f.Exit = exitUnreachable
	f.Why = dialReason(err)
	if w.login && errors.Is(err, io.EOF) {
		f.Why = "it closed the connection during the login: user, password or mechanism may be wrong"
	}
	if f.Kafka != 0 { // the login was refused, in so many words
		f = asFault("cannot log in at "+addr, err)
		return f
	}
	if m.NodeID < 0 {
		f.Why += addressNote(w.source)
		f.Try = dialFix(err, addr)
		return f
	}
	f.What = fmt.Sprintf("cannot connect to broker %d at %s, the address it advertises", m.NodeID, addr)
	f.Try = "advertised.listeners on that broker must be an address this machine can reach; logstead doctor " +
		w.addrs[0] + " shows each"
	return f
}

// trouble is the last failed connection, if none worked since.
func (w *dialWatch) trouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.failed {
		return err
	}
	return nil
}

// addressNote says where an address that did not work came from.
func addressNote(source string) string {
	if source == defaultSource {
		return " (" + source + ")"
	}
	return " (address from " + source + ")"
}

func dialReason(err error) string {
	var (
		dns      *net.DNSError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		header   tls.RecordHeaderError
		netErr   net.Error
		shake    *handshakeError
	)
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q does not resolve", dns.Name)
	case errors.As(err, &unknown):
		return "its TLS certificate is signed by an authority that is not trusted here"
	case errors.As(err, &hostname):
		return "its TLS certificate is for another name: " + hostname.Error()
	case errors.As(err, &invalid):
		return "its TLS certificate is not valid: " + invalid.Error()
	case errors.As(err, &header):
		return "it does not speak TLS on that port"
	case errors.As(err, &shake) && errors.Is(err, context.DeadlineExceeded):
		return "the port is open but does not answer to TLS"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "no answer in time"
	}
	return innermost(err)
}

func dialFix(err error, addr string) string {
	var (
		unknown x509.UnknownAuthorityError
		header  tls.RecordHeaderError
		shake   *handshakeError
	)
	switch {
	case errors.As(err, &unknown):
		return "-X ssl.ca.location=ca.pem"
	case errors.As(err, &header), errors.As(err, &shake) && errors.Is(err, context.DeadlineExceeded):
		return "-X security.protocol=PLAINTEXT"
	}
	return "-b HOST:PORT with another address, or logstead doctor " + addr
}

// clientOptions turns the settings into options for the Kafka client.
func (s *settings) clientOptions() ([]kgo.Opt, error) {
	p := &s.props
	id := p.clientID
	if id == "" {
		id = "logstead-cli"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(p.bootstrap...),
		kgo.ClientID(id),
		kgo.SoftwareNameAndVersion("logstead", clientVersion()),
		kgo.RetryTimeout(s.timeout),
		kgo.RequestTimeoutOverhead(min(max(s.timeout, time.Second), 10*time.Minute)),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.DisableClientMetrics(),
	}
	if p.rack != "" {
		opts = append(opts, kgo.Rack(p.rack))
	}
	tlsConf, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: min(s.timeout, 5*time.Second)}
	if tlsConf == nil {
		opts = append(opts, kgo.Dialer(dialer.DialContext))
	} else {
		opts = append(opts, kgo.Dialer(tlsDialer(dialer, tlsConf)))
	}
	mech, err := s.saslMechanism()
	if err != nil {
		return nil, err
	}
	if mech != nil {
		opts = append(opts, kgo.SASL(mech))
	}
	return opts, nil
}

// handshakeError is a TLS connection that failed after the port had answered.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// tlsDialer dials in two steps, so that a port that is open but silent can be told from one that
// cannot be reached.
func tlsDialer(d *net.Dialer, conf *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conf := conf.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(addr) // the dial has parsed it already
		}
		ctx, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		c := tls.Client(raw, conf)
		if err := c.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, &handshakeError{err}
		}
		return c, nil
	}
}

// usesTLS follows security.protocol, and without one whether anything about TLS was set.
func (s *settings) usesTLS() bool {
	switch s.props.protocol {
	case "SSL", "SASL_SSL":
		return true
	case "PLAINTEXT", "SASL_PLAINTEXT":
		return false
	}
	t := s.props.tls
	return s.tlsWanted || t.caFile != "" || t.caPEM != "" || t.certFile != "" || t.certPEM != ""
}

func (s *settings) tlsConfig() (*tls.Config, error) {
	if !s.usesTLS() {
		return nil, nil
	}
	t := s.props.tls
	conf := &tls.Config{ServerName: t.serverName, InsecureSkipVerify: t.insecure, MinVersion: tls.VersionTLS12}
	if t.caPEM != "" || t.caFile != "" {
		roots, err := t.roots()
		if err != nil {
			return nil, err
		}
		conf.RootCAs = roots
	}
	if t.anyName && !t.insecure {
		verifyChainOnly(conf)
	}
	return conf, t.addKeyPair(conf)
}

// roots are the authorities of a PEM file, of text, or of one of Java's trust stores.
func (t tlsProps) roots() (*x509.CertPool, error) {
	store := tlsconf.TrustStore{Type: "PEM", Certificates: t.caPEM}
	if t.caPEM == "" {
		text, err := readFile(t.caFile, "ssl.ca.location")
		if err != nil {
			return nil, err
		}
		store.Certificates = string(text)
		if !isPEM(text) && isStore(text) {
			store = tlsconf.TrustStore{Type: "JKS", Location: t.caFile, Password: t.caSecret}
		}
	}
	m, err := tlsconf.Load(clientStores(tlsconf.KeyStore{Type: "PEM"}, store))
	if err != nil {
		return nil, usagef("%s: %v", firstOf(t.caFile, "ssl.ca.pem"), err)
	}
	pool := x509.NewCertPool()
	for _, c := range m.Trusted {
		pool.AddCert(c)
	}
	return pool, nil
}

func clientStores(k tlsconf.KeyStore, t tlsconf.TrustStore) tlsconf.Options {
	return tlsconf.Options{KeyStore: k, TrustStore: t, Protocols: []string{"TLSv1.2", "TLSv1.3"}}
}

// isStore says whether a file may be one of Java's: JKS, or the DER of PKCS12.
func isStore(b []byte) bool { return len(b) > 0 && (b[0] == 0xFE || b[0] == 0x30) }

func isPEM(b []byte) bool { return bytes.Contains(b, []byte("-----BEGIN ")) }

// addKeyPair adds the client's certificate: of PEM files or text, where key and certificate may be in one, or of one of
// Java's key stores.
func (t tlsProps) addKeyPair(conf *tls.Config) error {
	cert, err := pemOf(t.certPEM, t.certFile, "ssl.certificate.location")
	if err != nil || cert == nil {
		return err
	}
	store := tlsconf.KeyStore{Type: "JKS", Location: t.certFile, Password: t.certSecret, KeyPassword: t.keySecret}
	if t.certPEM != "" || isPEM(cert) {
		key, err := pemOf(t.keyPEM, t.keyFile, "ssl.key.location")
		if err != nil {
			return err
		}
		if key == nil {
			key = cert // one file with both, as a PEM keystore is
		}
		store = tlsconf.KeyStore{Type: "PEM", Key: string(key), Chain: string(cert), KeyPassword: t.keySecret}
	}
	m, err := tlsconf.Load(clientStores(store, tlsconf.TrustStore{Type: "PEM"}))
	if err != nil {
		return usagef("client certificate: %v", err)
	}
	conf.Certificates = []tls.Certificate{*m.Certificate}
	return nil
}

// verifyChainOnly checks the certificate chain and not the host name, which is what an empty
// ssl.endpoint.identification.algorithm asks for.
func verifyChainOnly(conf *tls.Config) {
	roots := conf.RootCAs
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("the broker sent no certificate")
		}
		inter := x509.NewCertPool()
		for _, c := range cs.PeerCertificates[1:] {
			inter.AddCert(c)
		}
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter})
		return err
	}
}

func pemOf(inline, file, prop string) ([]byte, error) {
	if inline != "" {
		return []byte(inline), nil
	}
	if file == "" {
		return nil, nil
	}
	return readFile(file, prop)
}

func readFile(file, prop string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("%s: %v", prop, err)
	}
	return b, nil
}

func (s *settings) saslMechanism() (sasl.Mechanism, error) {
	p := s.props.sasl
	wanted := strings.HasPrefix(s.props.protocol, "SASL_") || p.mechanism != "" || p.username != ""
	if !wanted {
		return nil, nil
	}
	if p.username == "" || p.password == "" {
		return nil, usagef("SASL needs a user name and a password").
			try("-X sasl.username=… -X sasl.password=…, or a context with sasl settings")
	}
	switch strings.ToUpper(p.mechanism) {
	case "", "PLAIN":
		return plain.Auth{User: p.username, Pass: p.password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: p.username, Pass: p.password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: p.username, Pass: p.password}.AsSha512Mechanism(), nil
	}
	return nil, usagef("SASL mechanism %q is not supported by this client", p.mechanism).
		try("PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
}
