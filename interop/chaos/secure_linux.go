package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/logstead/logstead/internal/kit/certs"
	"github.com/logstead/logstead/interop/local"
)

// user is whom a client logs in as, where clients have to.
type user string

// The users. Each may do what its part of the load needs, and nothing else; nodes and admin are super users.
const (
	admin      user = "admin" // makes topics, harms, looks
	nodeUser   user = "nodes"
	writer     user = "writer" // idempotent producers and probes
	transactor user = "transactor"
	copier     user = "copier"
	reader     user = "reader"
	javaUser   user = "java"
	guest      user = "guest" // whose permission and password are taken away and given again
)

const (
	// securedName is the listener of clients and brokers: TLS, and a login by SCRAM. Controllers cannot log in at each other by
	// SCRAM: their listener takes PLAIN, and a certificate besides.
	securedName = "SECURE"
	// sessionLife has every session end many times in a run (KIP-368), those between nodes too.
	sessionLife = 20 * time.Second
	certLife    = 48 * time.Hour // clocks are moved by an hour
	scramRounds = 4096
	scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule"
	plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule"
	askedWithin = 2 * time.Second
	storesLimit = 90 * time.Second // files of stores are looked at every 10 s
)

// security is what a cluster is made of that lets nobody in without a name.
type security struct {
	dir string
	// Two authorities, of which one signs at a time; clients trust both.
	authorities [2]*certs.Authority
	roots       *x509.CertPool

	mu struct {
		sync.Mutex
		signing   int // index of the authority that signs
		made      int // stores so far, for their names
		passwords map[user]string
		tries     map[user]int       // logins that clients of the load have begun
		shown     map[shownAt][]byte // serial numbers that nodes are to show
		stores    map[shownAt]string // files of the key stores in use
		first     map[shownAt]string // those that the properties name, with which a node begins that has heard of no others
	}
}

// shownAt is a listener of a node.
type shownAt struct {
	node       int32
	controller bool
}

func newSecurity(dir string) (*security, error) {
	s := &security{dir: dir, roots: x509.NewCertPool()}
	for i := range s.authorities {
		a, err := certs.NewAuthority(certs.Subject{Name: pkix.Name{CommonName: fmt.Sprint("authority-", i)},
			From: time.Now().Add(-certLife), Until: time.Now().Add(certLife)})
		if err != nil {
			return nil, err
		}
		s.authorities[i] = a
		s.roots.AddCert(a.Certificate)
	}
	s.mu.passwords, s.mu.tries = map[user]string{}, map[user]int{}
	s.mu.shown, s.mu.stores, s.mu.first = map[shownAt][]byte{}, map[shownAt]string{}, map[shownAt]string{}
	for _, u := range []user{admin, nodeUser, writer, transactor, copier, reader, javaUser, guest} {
		s.mu.passwords[u] = string(u) + "-secret"
	}
	return s, os.WriteFile(s.clientTrust(), s.trustPEM(0, 1), 0o600)
}

// clientTrust is the trust store of clients that read one from a file.
func (s *security) clientTrust() string { return filepath.Join(s.dir, "clients-trust.pem") }

func (s *security) trustPEM(authorities ...int) (out []byte) {
	for _, i := range authorities {
		out = append(out, s.authorities[i].CertificatePEM()...)
	}
	return out
}

func (s *security) password(u user) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.passwords[u]
}

func (s *security) setPassword(u user, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.passwords[u] = to
}

// tried is how many logins clients of a user's have begun.
func (s *security) tried(u user) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.tries[u]
}

func (s *security) signing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.signing
}

// mechanism logs a client in with the password that its user has then.
func (s *security) mechanism(u user) sasl.Mechanism {
	return scram.Sha512(func(context.Context) (scram.Auth, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.tries[u]++
		return scram.Auth{User: string(u), Pass: s.mu.passwords[u]}, nil
	})
}

func withPassword(u user, password string) sasl.Mechanism {
	return scram.Auth{User: string(u), Pass: password}.AsSha512Mechanism()
}

// begin makes a TLS session of a connection; cert is what the client shows, nil for nothing.
func (s *security) begin(ctx context.Context, nc net.Conn, addr string, cert *tls.Certificate) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	cfg := &tls.Config{RootCAs: s.roots, ServerName: host}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	t := tls.Client(nc, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return t, nil
}

// trustFile is the trust store of a node.
func (nd *node) trustFile() string { return filepath.Join(nd.dir, "trust.pem") }

// equip makes the first stores of a node.
func (s *security) equip(nd *node) error {
	err := s.setTrust(nd, s.signing())
	for _, controller := range []bool{false, true} {
		name, issued := s.issue(nd, controller)
		s.installed(nd, controller, name)
		err = errors.Join(err, issued)
	}
	return err
}

// setTrust writes a node's trust store anew.
func (s *security) setTrust(nd *node, authorities ...int) error {
	return replaceFile(nd.trustFile(), s.trustPEM(authorities...))
}

// replaceFile has a file change at once: who reads it meanwhile finds all of the old or all of the new one.
func replaceFile(name string, data []byte) error {
	next := name + ".next"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// issue writes a key store for a listener of a node to a file of its own. From then on that is the one that counts.
func (s *security) issue(nd *node, controller bool) (name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.made++
	name = filepath.Join(nd.dir, fmt.Sprintf("key-%d.pem", s.mu.made))
	pair, err := s.authorities[s.mu.signing].Issue(certs.Subject{
		Name: pkix.Name{CommonName: fmt.Sprint("node-", nd.id)}, Hosts: []string{nd.host.addr()},
		From: time.Now().Add(-certLife / 2), Until: time.Now().Add(certLife / 2),
	})
	if err != nil {
		return "", err
	}
	key, err := pair.KeyPEM()
	if err != nil {
		return "", err
	}
	s.mu.shown[shownAt{nd.id, controller}] = pair.Certificate.SerialNumber.Bytes()
	return name, os.WriteFile(name, append(key, pair.CertificatePEM()...), 0o600)
}

func (s *security) installed(nd *node, controller bool, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := shownAt{nd.id, controller}
	s.mu.stores[at] = name
	if s.mu.first[at] == "" {
		s.mu.first[at] = name
	}
}

func (s *security) store(nd *node, controller bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.stores[shownAt{nd.id, controller}]
}

func (s *security) wanted(nd *node, controller bool) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.shown[shownAt{nd.id, controller}]
}

// overwrite puts a new key and certificate into the file that a node reads, and into the one that its properties name. A node
// that is started again and finds no quorum knows the configs of its last snapshot of the metadata alone, as with Apache
// Kafka: it begins with what its properties name, and not at all where it would not trust that itself.
func (s *security) overwrite(nd *node, controller bool) error {
	name, err := s.issue(nd, controller)
	if err != nil {
		return err
	}
	s.mu.Lock()
	first := s.mu.first[shownAt{nd.id, controller}]
	s.mu.Unlock()
	if store := s.store(nd, controller); store != first {
		pair, err := os.ReadFile(name)
		if err == nil {
			err = replaceFile(first, pair)
		}
		if err != nil {
			return err
		}
	}
	return os.Rename(name, s.store(nd, controller))
}

// settings are those of a node, logstead or Apache Kafka.
func (s *security) settings(nd *node) []string {
	name := "listener.name." + strings.ToLower(securedName) + "."
	lines := []string{
		"listener.security.protocol.map=" + securedName + ":SASL_SSL,CONTROLLER:SASL_SSL",
		"sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
		name + "sasl.enabled.mechanisms=SCRAM-SHA-512",
		fmt.Sprintf(`%sscram-sha-512.sasl.jaas.config=%s required username="%s" password="%s";`, name, scramModule, nodeUser, s.password(nodeUser)),
		"sasl.mechanism.controller.protocol=PLAIN",
		"listener.name.controller.sasl.enabled.mechanisms=PLAIN",
		fmt.Sprintf(`listener.name.controller.plain.sasl.jaas.config=%s required username="%s" password="%s" user_%s="%s";`, plainModule,
			nodeUser, s.password(nodeUser), nodeUser, s.password(nodeUser)),
		"listener.name.controller.ssl.client.auth=required",
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		fmt.Sprintf("super.users=User:%s;User:%s", nodeUser, admin),
		fmt.Sprintf("connections.max.reauth.ms=%d", sessionLife.Milliseconds()),
	}
	for _, controller := range []bool{false, true} {
		prefix := name
		if controller {
			prefix = "listener.name.controller."
		}
		lines = append(lines,
			prefix+"ssl.keystore.type=PEM", prefix+"ssl.keystore.location="+s.store(nd, controller),
			prefix+"ssl.truststore.type=PEM", prefix+"ssl.truststore.location="+nd.trustFile())
	}
	return lines
}

// formatArgs begin a cluster with those who make the others.
func (s *security) formatArgs() (args []string) {
	for _, u := range []user{nodeUser, admin} {
		args = append(args, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", u, s.password(u)))
	}
	return args
}

// javaSettings are those of a Java client.
func (s *security) javaSettings(u user) string {
	return strings.Join([]string{
		"security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512",
		fmt.Sprintf(`sasl.jaas.config=%s required username="%s" password="%s";`, scramModule, u, s.password(u)),
		"ssl.truststore.type=PEM", "ssl.truststore.location=" + s.clientTrust(),
	}, "\n") + "\n"
}

// grants are the entries that let each user do its part.
func grants() []*kadm.ACLBuilder {
	allow := func(u user) *kadm.ACLBuilder { return kadm.NewACLs().Allow("User:" + string(u)) }
	return []*kadm.ACLBuilder{
		allow(writer).Topics(plainTopic, probeTopic).Operations(kadm.OpWrite),
		allow(transactor).Topics(txnTopic).Operations(kadm.OpWrite),
		allow(transactor).TransactionalIDs("chaos-").Operations(kadm.OpWrite).ResourcePatternType(kadm.ACLPatternPrefixed),
		allow(copier).Topics(plainTopic).Groups(copyGroup).Operations(kadm.OpRead),
		allow(copier).Topics(copyTopic).Operations(kadm.OpWrite),
		allow(copier).TransactionalIDs("chaos-copy-").Operations(kadm.OpWrite).ResourcePatternType(kadm.ACLPatternPrefixed),
		allow(reader).Topics(plainTopic, txnTopic).Groups(groupName).Operations(kadm.OpRead),
		allow(javaUser).Topics(javaTopic).Operations(kadm.OpWrite),
		allow(guest).Topics(guardTopic).Operations(kadm.OpWrite),
		allow(guest).Clusters().Operations(kadm.OpIdempotentWrite), // with no topic to write to, a producer gets an id by this one
	}
}

// admit makes the entries and then the users: a node that knows a user knows what it may do.
func (c *cluster) admit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, b := range grants() {
		if err := c.addACLs(ctx, b); err != nil {
			return err
		}
	}
	users := []user{writer, transactor, copier, reader, javaUser, guest}
	for _, u := range users {
		if err := c.alterPassword(ctx, u, c.secured.password(u)); err != nil {
			return err
		}
	}
	for _, nd := range c.nodes {
		for _, u := range users {
			for {
				err := c.logIn(ctx, nd, withPassword(u, c.secured.password(u)))
				if err == nil {
					break
				}
				if wait(ctx, 50*time.Millisecond) != nil {
					return fmt.Errorf("log in as %s at node %d: %w", u, nd.id, err)
				}
			}
		}
	}
	return nil
}

// addACLs tries until there is a controller.
func (c *cluster) addACLs(ctx context.Context, b *kadm.ACLBuilder) error {
	return c.insist(ctx, func(ctx context.Context) error {
		res, err := c.adm.CreateACLs(ctx, b)
		for _, r := range res {
			err = errors.Join(err, r.Err)
		}
		return err
	})
}

func (c *cluster) removeACLs(ctx context.Context, b *kadm.ACLBuilder) error {
	return c.insist(ctx, func(ctx context.Context) error {
		res, err := c.adm.DeleteACLs(ctx, b)
		for _, r := range res {
			err = errors.Join(err, r.Err)
		}
		return err
	})
}

func (c *cluster) alterPassword(ctx context.Context, u user, to string) error {
	return c.insist(ctx, func(ctx context.Context) error {
		res, err := c.adm.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
			{User: string(u), Mechanism: kadm.ScramSha512, Iterations: scramRounds, Password: to}})
		if err == nil {
			err = res.Error()
		}
		return err
	})
}

// logIn logs in at one node over a connection of its own; m is nil for nobody.
func (c *cluster) logIn(ctx context.Context, nd *node, m sasl.Mechanism) error {
	opts := []kgo.Opt{kgo.SeedBrokers(nd.addr()), kgo.Dialer(c.dial), kgo.RetryTimeout(askedWithin), kgo.RequestRetries(1)}
	if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*askedWithin)
	defer cancel()
	return cl.Ping(ctx)
}

// askVersions asks whoever listens at an address which APIs it has: what a listener answers before a login, but not to who
// does not speak TLS, or shows no certificate where one is asked for. It returns the certificate that was shown.
func (c *cluster) askVersions(ctx context.Context, addr string, encrypted bool, cert *tls.Certificate) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, askedWithin)
	defer cancel()
	nc, err := c.fabric.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	var leaf *x509.Certificate
	if encrypted {
		t, err := c.secured.begin(ctx, nc, addr, cert)
		if err != nil {
			return nil, err
		}
		nc, leaf = t, t.(*tls.Conn).ConnectionState().PeerCertificates[0]
	}
	return leaf, local.AskVersions(nc, askedWithin)
}

// clientCert is a certificate of a client that an authority has signed.
func (s *security) clientCert(authority int) (*tls.Certificate, error) {
	p, err := s.authorities[authority].Issue(certs.Subject{Name: pkix.Name{CommonName: "client"},
		From: time.Now().Add(-certLife / 2), Until: time.Now().Add(certLife / 2)})
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{p.Certificate.Raw}, PrivateKey: p.Key}, nil
}

func (nd *node) controllerAddr() string {
	return net.JoinHostPort(nd.host.addr(), nd.controllerPort)
}

// controls says whether a node listens for controllers.
func (c *cluster) controls(nd *node) bool { return nd.voter || c.dynamic }

// judgeDoors checks that nobody comes in who must not: else the run would show nothing of what is secured.
func (r *run) judgeDoors(ctx context.Context) {
	c, s := r.cluster, r.cluster.secured
	good, err := s.clientCert(s.signing())
	bad, other := s.clientCert(1 - s.signing())
	if err := errors.Join(err, other); err != nil {
		r.report.Check("certificates of clients", err)
		return
	}
	open := func(err error, what string) error {
		if err == nil {
			return errors.New(what + " is served")
		}
		return nil
	}
	// served asks a few times: who is to be served may have to wait on a busy machine for longer than it is asked for.
	served := func(addr string, cert *tls.Certificate) error {
		return c.insist(ctx, func(ctx context.Context) error {
			_, err := c.askVersions(ctx, addr, true, cert)
			return err
		})
	}
	for _, nd := range c.nodes {
		_, clear := c.askVersions(ctx, nd.addr(), false, nil)
		var letIn bool
		wrong := c.insist(ctx, func(ctx context.Context) error {
			err := c.logIn(ctx, nd, withPassword(writer, "guessed"))
			if letIn = letIn || err == nil; letIn || errors.Is(err, kerr.SaslAuthenticationFailed) {
				return nil
			}
			return fmt.Errorf("a wrong password: %w, want SASL_AUTHENTICATION_FAILED", err)
		})
		if letIn {
			wrong = errors.New("a wrong password is taken")
		}
		err := errors.Join(served(nd.addr(), nil), open(clear, "a client in the clear"), open(c.logIn(ctx, nd, nil), "a client that has not logged in"), wrong)
		if c.controls(nd) {
			known := served(nd.controllerAddr(), good)
			_, without := c.askVersions(ctx, nd.controllerAddr(), true, nil)
			_, strange := c.askVersions(ctx, nd.controllerAddr(), true, bad)
			_, clear := c.askVersions(ctx, nd.controllerAddr(), false, nil)
			err = errors.Join(err, known, open(clear, "at the controller's listener, who speaks in the clear,"),
				open(without, "at the controller's listener, who has no certificate,"),
				open(strange, "at the controller's listener, who has one of somebody else,"))
		}
		r.report.Check(fmt.Sprintf("node %d: nobody is served in the clear, without a login, by a guessed password, or as a node without a certificate", nd.id), err)
	}
	cl, err := c.newClient(guest, kgo.DefaultProduceTopic(plainTopic))
	if err == nil {
		err = cl.ProduceSync(ctx, kgo.StringRecord("not allowed")).FirstErr()
		cl.Close()
	}
	if !errors.Is(err, kerr.TopicAuthorizationFailed) {
		r.report.Check("a user writes where it may not", fmt.Errorf("got %w, want TOPIC_AUTHORIZATION_FAILED", err))
		return
	}
	r.report.Check("a user who may not write gets TOPIC_AUTHORIZATION_FAILED", nil)
}

// awaitShown waits until every listener shows the certificate that it is to show.
func (c *cluster) awaitShown(ctx context.Context, nodes ...*node) error {
	ctx, cancel := context.WithTimeout(ctx, storesLimit)
	defer cancel()
	for _, nd := range nodes {
		for _, controller := range []bool{false, true} {
			addr := nd.addr()
			if controller {
				if addr = nd.controllerAddr(); !c.controls(nd) {
					continue
				}
			}
			for {
				leaf, err := c.askVersions(ctx, addr, true, nil)
				if leaf != nil && slices.Equal(leaf.SerialNumber.Bytes(), c.secured.wanted(nd, controller)) {
					break
				}
				if wait(ctx, 100*time.Millisecond) != nil {
					return fmt.Errorf("node %d does not show its new certificate at %s after %v: %w", nd.id, addr, storesLimit,
						errors.Join(err, ctx.Err()))
				}
			}
		}
	}
	return nil
}

// judgeShown checks that a node that was broken meanwhile shows what it is to show.
func (x *injection) judgeShown(ctx context.Context) error {
	err := x.c.awaitShown(ctx, x.c.nodes...)
	x.verdicts = append(x.verdicts, func(r *local.Report, name string) {
		r.Check(name+": all nodes show their newest certificates", err)
	})
	return nil
}
