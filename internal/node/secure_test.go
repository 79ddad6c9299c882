package node

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/certs"
)

// pki is an authority, with what it signed in files.
type pki struct {
	t   *testing.T
	dir string
	*certs.Authority
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	a, err := certs.NewAuthority(certs.Subject{Name: pkix.Name{CommonName: "authority"}, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{t, t.TempDir(), a}
	p.write("ca.pem", a.CertificatePEM())
	return p
}

func (p *pki) write(name string, data []byte) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// store writes a PEM key store for a name that is reached at the hosts, and returns where.
func (p *pki) store(file, name string, hosts ...string) string {
	p.t.Helper()
	pair, err := p.Issue(certs.Subject{Name: pkix.Name{CommonName: name}, Hosts: hosts, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := pair.KeyPEM()
	if err != nil {
		p.t.Fatal(err)
	}
	return p.write(file, append(key, pair.CertificatePEM()...))
}

// client is what a client of the test trusts and shows.
func (p *pki) client(store string) kgo.Opt {
	p.t.Helper()
	return kgo.DialTLSConfig(p.config(store))
}

func (p *pki) config(store string) *tls.Config {
	p.t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(p.Certificate)
	if store != "" {
		pair, err := tls.LoadX509KeyPair(store, store)
		if err != nil {
			p.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// keys are the configuration of listeners with a store.
func (p *pki) keys(prefix, store string) []string {
	return []string{
		prefix + "ssl.keystore.type=PEM", prefix + "ssl.keystore.location=" + store,
		prefix + "ssl.truststore.type=PEM", prefix + "ssl.truststore.location=" + filepath.Join(p.dir, "ca.pem"),
	}
}

// TestClusterOverTLS: three nodes that speak TLS alone to each other, brokers and controllers, and ask each other for
// certificates. What is acknowledged is on all three, transactions and groups work, and a node that dies is replaced.
func TestClusterOverTLS(t *testing.T) {
	p := newPKI(t)
	set := []string{"listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:SSL", "ssl.client.auth=required"}
	for _, id := range []string{"1", "2", "3"} {
		p.store("node"+id+".pem", "node"+id, "127.0.0.1")
	}
	c := startTrio(t, append(set, p.keys("", filepath.Join(p.dir, "nodeID.pem"))...)...)
	ctx := deadline(t)
	with := p.client(p.store("client.pem", "client"))
	cl := client(t, c.nodes[1], with, kgo.TransactionalID("tls"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	topic, err := kadm.NewClient(cl).ListTopics(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	leader := topic["orders"].Partitions[0].Leader
	if isr := topic["orders"].Partitions[0].ISR; len(isr) != 3 {
		t.Fatalf("in sync are %v, want three", isr)
	}
	for _, n := range c.up() {
		for _, b := range n.image().Brokers() {
			for _, e := range b.Endpoints {
				if e.Protocol != 1 {
					t.Errorf("node %d knows broker %d with security protocol %d, want 1 (SSL)", n.live.Load().broker.NodeID, b.ID, e.Protocol)
				}
			}
		}
	}
	// Neither listener serves who does not speak TLS, or has no certificate.
	for _, port := range []string{c.ports[1], c.ctl[1]} {
		if err := askInTheClear(port); err == nil {
			t.Errorf("port %s answers to who does not speak TLS", port)
		}
		nc, err := tls.Dial("tcp", "127.0.0.1:"+port, p.config(""))
		if err == nil {
			_, err = nc.Read(make([]byte, 1))
			_ = nc.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("port %s without a certificate: %v", port, err)
		}
	}
	c.nodes[leader].abrupt.Store(true)
	c.stop(int(leader))
	other := leader%3 + 1
	reader := client(t, c.nodes[other], with, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	readAll(t, ctx, reader, 1)
}

// TestLoginsOverTLS: three nodes whose listeners ask for a login and are encrypted (SASL_SSL), the nodes' own logins too. No
// certificate of a client is asked for there, whatever ssl.client.auth says of all listeners.
func TestLoginsOverTLS(t *testing.T) {
	p := newPKI(t)
	for _, id := range []string{"1", "2", "3"} {
		p.store("node"+id+".pem", "node"+id, "127.0.0.1")
	}
	set := append(p.keys("", filepath.Join(p.dir, "nodeID.pem")), "listener.security.protocol.map=PLAINTEXT:SASL_SSL,CONTROLLER:SASL_SSL",
		"ssl.client.auth=required")
	c := startSASLTrio(t, set...)
	ctx := deadline(t)
	cl := c.client(p.client(""), kgo.SASL(plainText("ana", "geheim")), kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err := cl.ProduceSync(ctx, &kgo.Record{Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	readAll(t, ctx, cl, 1)
	for _, b := range c.nodes[1].image().Brokers() {
		for _, e := range b.Endpoints {
			if e.Protocol != 3 {
				t.Errorf("broker %d is registered with security protocol %d, want 3 (SASL_SSL)", b.ID, e.Protocol)
			}
		}
	}
	wrong := c.client(p.client(""), kgo.SASL(plainText("ana", "geraten")), kgo.RetryTimeout(time.Second))
	if err := wrong.Ping(ctx); err == nil {
		t.Error("a wrong password is let in")
	}
}

func askInTheClear(port string) error {
	nc, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write([]byte{0, 0, 0, 14, 0, 18, 0, 0, 0, 0, 0, 7, 0, 4, 't', 'e', 's', 't'}); err != nil {
		return err
	}
	_, err = nc.Read(make([]byte, 1))
	return err
}

// TestNodesThatDoNotTrustEachOther: a broker whose stores it would not trust itself does not start, as in Kafka.
func TestNodesThatDoNotTrustEachOther(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	set := append(other.keys("", p.store("node.pem", "node", "127.0.0.1")), "listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:SSL",
		"controller.quorum.voters=1@127.0.0.1:1,2@127.0.0.1:2", "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0")
	refused(t, `must hold who signed the certificate of "CN=node" in ssl.keystore.location `+filepath.Join(p.dir, "node.pem"), set...)
}

// refused starts a node that must not start.
func refused(t *testing.T, want string, set ...string) {
	t.Helper()
	n, err := Open(t.Context(), Options{Config: loadConfig(t, "", set...), Version: "test", Memory: true, Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		n.closeListeners()
		t.Fatalf("the node starts, want an error with %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

// served is who signed in with on a port.
func served(t *testing.T, n *running, c *tls.Config) *x509.Certificate {
	t.Helper()
	nc, err := tls.Dial("tcp", n.Bootstrap(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	return nc.ConnectionState().PeerCertificates[0]
}

// TestCertificatesAreReplaced: by another path, by the same path again, and by a file that changed; what does not fit is
// refused, and the old certificate stays.
func TestCertificatesAreReplaced(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	first := p.store("first.pem", "node", "127.0.0.1")
	set := append(p.keys("listener.name.main.", first), "listeners=MAIN://127.0.0.1:0", "listener.security.protocol.map=MAIN:SSL")
	n := start(t, t.TempDir(), set...)
	began := served(t, n, p.config(""))
	ctx, adm := deadline(t), kadm.NewClient(client(t, n, p.client("")))
	alter := func(key, value string) error {
		resp, err := adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if resp[0].Err != nil {
			return errors.Join(resp[0].Err, errors.New(resp[0].ErrMessage))
		}
		return nil
	}
	const location = "listener.name.main.ssl.keystore.location"
	expect := func(what string, changed bool) *x509.Certificate {
		t.Helper()
		now := served(t, n, p.config(""))
		if now.Equal(began) == changed {
			t.Errorf("%s: the certificate changed is %v, want %v", what, !changed, changed)
		}
		began = now
		return now
	}

	second := p.store("second.pem", "node", "127.0.0.1")
	if err := alter(location, second); err != nil {
		t.Fatal(err)
	}
	expect("another path", true)

	p.store("second.pem", "node", "127.0.0.1", "added.example")
	if err := alter(location, second); err != nil {
		t.Fatal(err)
	}
	expect("the same path again", true)

	p.store("second.pem", "node", "127.0.0.1", "added.example", "more.example")
	n.renewCertificates()
	expect("a file that changed", true)

	for what, tc := range map[string]struct{ key, value, want string }{
		"no such file":     {location, filepath.Join(p.dir, "none.pem"), "no such file"},
		"no key":           {location, filepath.Join(p.dir, "ca.pem"), "0 private keys"},
		"another subject":  {location, p.store("named.pem", "other", "127.0.0.1", "added.example", "more.example"), "DistinguishedName does not match"},
		"a host fewer":     {location, p.store("fewer.pem", "node", "127.0.0.1"), "SubjectAltNames do not match"},
		"not PEM":          {"listener.name.main.ssl.keystore.type", "PKCS12", "ssl.keystore.password is not set"},
		"client auth":      {"listener.name.main.ssl.client.auth", "required", "cannot be updated dynamically for existing listener MAIN"},
		"not a listener's": {"ssl.keystore.location", second, "only per-listener"},
	} {
		err := alter(tc.key, tc.value)
		if err == nil || !errors.Is(err, kerr.InvalidRequest) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want INVALID_REQUEST with %q", what, err, tc.want)
		}
		expect(what, false)
	}

	p.write("second.pem", []byte("half a file"))
	n.renewCertificates()
	expect("a file that was cut", false)

	// Clients are checked against the trust store of the moment: sessions that begin now, resumed ones too.
	ca := other.CertificatePEM()
	p.write("ca.pem", ca)
	p.store("second.pem", "node", "127.0.0.1", "added.example", "more.example")
	n.renewCertificates()
	expect("with another trust store", true)

	// The secrets of a store are shown to nobody.
	resp, err := adm.DescribeBrokerConfigs(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range resp[0].Configs {
		if k, ok := conf.Lookup(conf.ScopeBroker, c.Key); ok && k.Sensitive() && c.Value != nil {
			t.Errorf("%s is shown", c.Key)
		}
	}
}

// TestBadStores: a node whose stores cannot be used does not start, and says why.
func TestBadStores(t *testing.T) {
	p := newPKI(t)
	good := p.store("good.pem", "node", "127.0.0.1")
	key, _, _ := strings.Cut(string(read(t, good)), "-----BEGIN CERTIFICATE")
	_, cert, _ := strings.Cut(string(read(t, p.store("other.pem", "node", "127.0.0.1"))), "-----END PRIVATE KEY-----")
	base := []string{"listeners=SSL://127.0.0.1:0"}
	for _, tc := range []struct {
		name string
		set  []string
		want string
	}{
		{"no store", nil, "needs a key: set ssl.keystore.location"},
		{"no file", p.keys("", filepath.Join(p.dir, "none")), "no such file"},
		{"no key", p.keys("", filepath.Join(p.dir, "ca.pem")), "0 private keys in it"},
		{"no certificate", p.keys("", p.write("key.pem", []byte(key))), "no certificate in it"},
		{"not its key", p.keys("", p.write("mixed.pem", []byte(key+cert))), "does not belong to the certificate"},
		{"a rule", append(p.keys("", good), "ssl.principal.mapping.rules=RULE:x"), `"RULE:x" is no rule`},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, tc.want, append(tc.set, base...)...) })
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
