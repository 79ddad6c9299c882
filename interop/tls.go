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
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/kit/certs"
	"github.com/logstead/logstead/interop/local"
)

// The secrets of the stores. Keys have one of their own where the kind of store can tell them apart.
const (
	storeSecret = "store-secret"
	keySecret   = "key-secret"
)

// clientName is the name in the client's certificate, principal the one that the broker makes of it.
const (
	clientName = "CN=ana, OU=Ops, O=\"Acme, Inc.\", C=DE"
	principal  = `CN=ana,OU=Ops,O=Acme\, Inc.,C=DE`
)

// tlsRun is a broker whose second listener speaks TLS and asks for certificates, and stores that the JDK's keytool made.
type tlsRun struct {
	*Run
	dir, addr string
	ca        *x509.CertPool
	client    tls.Certificate
}

// tlsSuite has clients of every kind speak TLS to a broker, and the broker renew its certificate.
func tlsSuite(ctx context.Context, r *Run) {
	t := &tlsRun{Run: r, dir: filepath.Join(r.work, "tls")}
	if !r.check(ctx, "keytool", "tls: make stores", 5*time.Minute, t.makeStores) {
		return
	}
	shared := r.target
	defer func() { r.target = shared }()
	ok := r.check(ctx, "broker", "tls: start with JKS and PKCS12", 2*time.Minute, func(ctx context.Context) error { return t.start(ctx, shared.name) })
	if !ok {
		return
	}
	defer func() { r.target.stop() }()
	r.check(ctx, "java-tools", "tls: JKS and PKCS12 stores", 3*time.Minute, t.javaTools)
	for _, client := range []string{"confluent-python", "kafkajs", "franz-go", "sarama"} {
		r.check(ctx, client, "tls: produce, consume in a group", 2*time.Minute, func(ctx context.Context) error { return t.driver(ctx, client) })
	}
	r.check(ctx, "kcat", "tls: produce, consume", time.Minute, t.kcat)
	r.check(ctx, "broker", "tls: refuses what it must", time.Minute, t.refusals)
	r.check(ctx, "broker", "tls: names the client", time.Minute, t.named)
	r.check(ctx, "kafka-configs", "tls: new certificates", 4*time.Minute, t.renew)
}

func (t *tlsRun) path(name string) string { return filepath.Join(t.dir, name) }

func (t *tlsRun) keytool(ctx context.Context, args ...string) error {
	_, err := t.exec(ctx, time.Minute, nil, append([]string{"keytool", "-noprompt"}, args...)...)
	return err
}

// makeStores has keytool make an authority, key stores of the kinds JKS and PKCS12 for broker and client, and trust stores.
func (t *tlsRun) makeStores(ctx context.Context) error {
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return err
	}
	err := t.keytool(ctx, "-genkeypair", "-alias", "ca", "-keyalg", "EC", "-dname", "CN=authority", "-ext", "bc:c", "-validity", "30",
		"-storetype", "PKCS12", "-keystore", t.path("ca.p12"), "-storepass", storeSecret)
	if err == nil {
		err = t.keytool(ctx, "-exportcert", "-rfc", "-alias", "ca", "-keystore", t.path("ca.p12"), "-storepass", storeSecret, "-file", t.path("ca.pem"))
	}
	for _, kind := range []string{"JKS", "PKCS12"} {
		err = errors.Join(err, t.keytool(ctx, "-importcert", "-alias", "ca", "-file", t.path("ca.pem"), "-storetype", kind,
			"-keystore", t.path("trust."+strings.ToLower(kind)), "-storepass", storeSecret))
	}
	const hosts = "san=dns:localhost,ip:127.0.0.1"
	err = errors.Join(err,
		t.keyStore(ctx, "broker.jks", "JKS", keySecret, "CN=broker", hosts),
		t.keyStore(ctx, "next.jks", "JKS", keySecret, "CN=broker", hosts),
		t.keyStore(ctx, "other.jks", "JKS", keySecret, "CN=other", hosts),
		t.keyStore(ctx, "client.p12", "PKCS12", storeSecret, clientName, ""),
		t.keyStore(ctx, "client.jks", "JKS", keySecret, clientName, ""),
	)
	if err != nil {
		return err
	}
	text, err := t.exec(ctx, time.Minute, nil, "openssl", "pkcs12", "-in", t.path("client.p12"), "-nodes", "-passin", "pass:"+storeSecret)
	if err != nil {
		return err
	}
	if err := os.WriteFile(t.path("client.pem"), []byte(text), 0o600); err != nil {
		return err
	}
	ca, err := os.ReadFile(t.path("ca.pem"))
	if err != nil {
		return err
	}
	t.ca = x509.NewCertPool()
	t.ca.AppendCertsFromPEM(ca)
	t.client, err = tls.LoadX509KeyPair(t.path("client.pem"), t.path("client.pem"))
	return err
}

// keyStore makes a key whose certificate the authority signs.
func (t *tlsRun) keyStore(ctx context.Context, file, kind, secret, name, ext string) error {
	store := []string{"-alias", "key", "-storetype", kind, "-keystore", t.path(file), "-storepass", storeSecret, "-keypass", secret}
	gen := append([]string{"-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-dname", name, "-validity", "30"}, store...)
	sign := []string{"-gencert", "-rfc", "-alias", "ca", "-keystore", t.path("ca.p12"), "-storepass", storeSecret, "-infile", t.path(file + ".csr"),
		"-outfile", t.path(file + ".crt"), "-validity", "20"}
	if ext != "" {
		sign = append(sign, "-ext", ext)
	}
	for _, step := range [][]string{
		gen,
		append([]string{"-certreq", "-file", t.path(file + ".csr")}, store...),
		sign,
		{"-importcert", "-alias", "ca", "-file", t.path("ca.pem"), "-storetype", kind, "-keystore", t.path(file), "-storepass", storeSecret},
		append([]string{"-importcert", "-file", t.path(file + ".crt")}, store...),
	} {
		if err := t.keytool(ctx, step...); err != nil {
			return err
		}
	}
	return nil
}

// start runs a broker of the same kind as the suites' with a listener in the clear and one that speaks TLS.
func (t *tlsRun) start(ctx context.Context, kind string) error {
	var err error
	if t.addr, err = local.FreeAddr(); err != nil {
		return err
	}
	set := func(plain, controller string) []string {
		return []string{
			"listeners=PLAINTEXT://" + plain + ",MTLS://" + t.addr + controller,
			"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,MTLS:SSL,CONTROLLER:PLAINTEXT",
			"listener.name.mtls.ssl.client.auth=required",
			"listener.name.mtls.ssl.keystore.type=JKS",
			"listener.name.mtls.ssl.keystore.location=" + t.path("broker.jks"),
			"listener.name.mtls.ssl.keystore.password=" + storeSecret,
			"listener.name.mtls.ssl.key.password=" + keySecret,
			"listener.name.mtls.ssl.truststore.type=PKCS12",
			"listener.name.mtls.ssl.truststore.location=" + t.path("trust.pkcs12"),
			"listener.name.mtls.ssl.truststore.password=" + storeSecret,
		}
	}
	dir := filepath.Join(t.dir, "broker")
	if kind == "kafka" {
		k, err := local.NewKafka(ctx, dir)
		if err != nil {
			return err
		}
		extra := t.path("extra.properties")
		text := strings.Join(set(k.Addr, ",CONTROLLER://"+k.Controller()), "\n") + "\n"
		if err := os.WriteFile(extra, []byte(text), 0o600); err != nil {
			return err
		}
		k.Env = []string{"KAFKA_EXTRA=" + extra}
		t.target = &target{name: kind, nodes: 1, addr: k.Addr, node: k, dir: dir, data: k.Data()}
	} else {
		n, err := local.New(ctx, dir)
		if err != nil {
			return err
		}
		n.Set = set(n.Addr, "")
		t.target = &target{name: kind, nodes: 1, addr: n.Addr, node: n, dir: dir, data: n.Data}
	}
	if err := t.target.node.Start(ctx); err != nil {
		return err
	}
	return t.target.ready(ctx)
}

// javaConfig is a file of client properties with stores of a kind.
func (t *tlsRun) javaConfig(kind, keys string) (string, error) {
	path := t.path("client-" + kind + ".properties")
	lines := []string{
		"security.protocol=SSL", "ssl.truststore.type=" + kind, "ssl.truststore.location=" + t.path("trust."+strings.ToLower(kind)),
		"ssl.truststore.password=" + storeSecret, "ssl.keystore.type=" + kind, "ssl.keystore.location=" + t.path(keys),
		"ssl.keystore.password=" + storeSecret,
	}
	if kind == "JKS" {
		lines = append(lines, "ssl.key.password="+keySecret)
	}
	return path, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (t *tlsRun) javaTools(ctx context.Context) error {
	for kind, keys := range map[string]string{"JKS": "client.jks", "PKCS12": "client.p12"} {
		config, err := t.javaConfig(kind, keys)
		if err != nil {
			return err
		}
		topic := t.id + "-tls-" + strings.ToLower(kind)
		run := func(stdin, class string, args ...string) (string, error) {
			args = append([]string{"--bootstrap-server", t.addr, "--command-config", config}, args...)
			return t.execIn(ctx, toolLimit, nil, stdin, t.java(class, args...)...)
		}
		if _, err := run("", topicsTool, "--create", "--topic", topic, "--partitions", "2"); err != nil {
			return err
		}
		if _, err := run("a\nb\nc\n", producerTool, "--topic", topic); err != nil {
			return err
		}
		out, err := run("", consumerTool, "--topic", topic, "--from-beginning", "--max-messages", "3", "--timeout-ms", "30000")
		if err := errors.Join(err, contains(out, "a", "b", "c")); err != nil {
			return fmt.Errorf("with a %s store: %w", kind, err)
		}
	}
	return nil
}

// driver has a client write lines over TLS and read them back in a group.
func (t *tlsRun) driver(ctx context.Context, client string) error {
	const count = 500
	d, topic, file := driverNamed(client), t.id+"-tls-"+client, t.path("lines.txt")
	if err := errors.Join(t.createTopic(ctx, topic, 3), os.WriteFile(file, []byte(strings.ReplaceAll(lines(count), ":", "\t")), 0o600)); err != nil {
		return err
	}
	env := append(t.bootstrapEnv(), "BOOTSTRAP="+t.addr, "TLS_CA="+t.path("ca.pem"), "TLS_KEY="+t.path("client.pem"))
	out, err := t.exec(ctx, time.Minute, env, d.command(t.Run, "produce", "topic="+topic, "file="+file, "codec=gzip")...)
	if err := errors.Join(err, contains(out, fmt.Sprintf("acked %d", count))); err != nil {
		return err
	}
	var got atomic.Int32
	m, err := startMember(ctx, env, func(string) { got.Add(1) }, d.command(t.Run, "consume", "topic="+topic, "group="+topic)...)
	if err != nil {
		return err
	}
	for got.Load() < count && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(m.stop(), want("records", int(got.Load()), count))
}

func (t *tlsRun) kcat(ctx context.Context) error {
	topic := t.id + "-tls-kcat"
	if err := t.createTopic(ctx, topic, 1); err != nil {
		return err
	}
	cat := func(stdin string, args ...string) (string, error) {
		return t.execIn(ctx, time.Minute, nil, stdin, append([]string{
			"kcat", "-q", "-b", t.addr, "-X", "security.protocol=ssl", "-X", "ssl.ca.location=" + t.path("ca.pem"),
			"-X", "ssl.certificate.location=" + t.path("client.pem"), "-X", "ssl.key.location=" + t.path("client.pem"),
		}, args...)...)
	}
	if _, err := cat(lines(100), "-P", "-t", topic, "-K:"); err != nil {
		return err
	}
	out, err := cat("", "-C", "-t", topic, "-e")
	return errors.Join(err, want("records", strings.Count(out, "\n"), 100))
}

// config is a client's that the broker accepts.
func (t *tlsRun) config() *tls.Config {
	return &tls.Config{RootCAs: t.ca, Certificates: []tls.Certificate{t.client}}
}

// ask asks for the broker's versions, and returns the certificate that it showed.
func (t *tlsRun) ask(c *tls.Config) (*x509.Certificate, error) {
	var nc net.Conn
	var err error
	if c == nil {
		nc, err = net.DialTimeout("tcp", t.addr, 10*time.Second)
	} else {
		nc, err = tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", t.addr, c)
	}
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	if err := local.AskVersions(nc, 10*time.Second); err != nil {
		return nil, err
	}
	if session, ok := nc.(*tls.Conn); ok {
		return session.ConnectionState().PeerCertificates[0], nil
	}
	return nil, nil
}

// selfSigned is a certificate that the broker has no reason to trust.
func selfSigned() tls.Certificate {
	now := time.Now()
	a, err := certs.NewAuthority(certs.Subject{Name: pkix.Name{CommonName: "stranger"}, From: now.Add(-time.Hour), Until: now.Add(time.Hour)})
	if err != nil {
		panic(err) // there is no randomness
	}
	return tls.Certificate{Certificate: [][]byte{a.Certificate.Raw}, PrivateKey: a.Key}
}

// refusals: who is not served, and that others are afterwards.
func (t *tlsRun) refusals(context.Context) error {
	with := func(edit func(*tls.Config)) *tls.Config {
		c := t.config()
		edit(c)
		return c
	}
	var errs []error
	for what, c := range map[string]*tls.Config{
		"in the clear":          nil,
		"without a certificate": with(func(c *tls.Config) { c.Certificates = nil }),
		"of another authority":  with(func(c *tls.Config) { c.Certificates = []tls.Certificate{selfSigned()} }),
		"with TLS 1.1":          with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }),
	} {
		var timeout net.Error
		if _, err := t.ask(c); err == nil {
			errs = append(errs, fmt.Errorf("a client %s is served", what))
		} else if errors.As(err, &timeout) && timeout.Timeout() {
			errs = append(errs, fmt.Errorf("a client %s is not told in 10 s: %w", what, err))
		}
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if _, err := t.ask(with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v })); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", tls.VersionName(v), err))
		}
	}
	return errors.Join(errs...)
}

// named shows by a quota for its user which principal a client of the certificate is: it alone is told to wait.
func (t *tlsRun) named(ctx context.Context) error {
	topic := t.id + "-tls-named"
	adm, closeAdm, err := t.admin()
	if err != nil {
		return err
	}
	defer closeAdm()
	name := principal
	alter := kadm.AlterClientQuotaEntry{
		Entity: kadm.ClientQuotaEntity{{Type: "user", Name: &name}}, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 500}},
	}
	if _, err := adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{alter}); err != nil {
		return err
	}
	if err := t.createTopic(ctx, topic, 1); err != nil {
		return err
	}
	throttled := func(opts ...kgo.Opt) (bool, error) {
		var waits throttles
		cl, err := kgo.NewClient(append(opts, kgo.DefaultProduceTopic(topic), kgo.WithHooks(&waits), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
		if err != nil {
			return false, err
		}
		defer cl.Close()
		for i := 0; i < 4 && waits.Load() == 0; i++ {
			if err := cl.ProduceSync(ctx, kgo.SliceRecord(make([]byte, 3000))).FirstErr(); err != nil {
				return false, err
			}
		}
		return waits.Load() > 0, nil
	}
	clear, err := throttled(kgo.SeedBrokers(t.target.addr))
	if err != nil {
		return err
	}
	named, err := throttled(kgo.SeedBrokers(t.addr), kgo.DialTLSConfig(t.config()))
	return errors.Join(err, want("a client in the clear waits for the quota of "+principal, clear, false), want("a client with the certificate waits", named, true))
}

// throttles counts answers that tell a client to wait.
type throttles struct{ atomic.Int32 }

func (t *throttles) OnBrokerThrottle(_ kgo.BrokerMetadata, _ time.Duration, _ bool) { t.Add(1) }

// renew replaces the certificate as kafka-configs does, and fails to by what does not fit.
func (t *tlsRun) renew(ctx context.Context) error {
	serial := func() string {
		c, err := t.ask(t.config())
		if err != nil {
			return err.Error()
		}
		return c.SerialNumber.String()
	}
	const key = "listener.name.mtls.ssl.keystore.location="
	alter := func(configs string) (string, error) {
		return t.tool(ctx, configsTool, "--entity-type", "brokers", "--entity-name", "1", "--alter", "--add-config", configs)
	}
	// What is not set at this level is the static one; Kafka's tool sends the secrets of a listener along.
	first := serial()
	if _, err := alter(key + t.path("next.jks")); err != nil {
		return err
	}
	// changed waits for another certificate: Kafka takes a config in some time after it was answered.
	changed := func(from string) string {
		now := serial()
		for end := time.Now().Add(20 * time.Second); now == from && time.Now().Before(end); now = serial() {
			time.Sleep(50 * time.Millisecond)
		}
		return now
	}
	second := changed(first)
	if second == first {
		return errors.New("another store is set, and the broker shows the old certificate")
	}
	for what, configs := range map[string]string{
		"DistinguishedName does not match": key + t.path("other.jks"),
		"none.jks":                         key + t.path("none.jks"),
	} {
		out, err := alter(configs)
		if err == nil && !strings.Contains(out, "Exception") {
			return fmt.Errorf("%s is taken:\n%s", configs, out)
		}
		if err != nil {
			out += err.Error()
		}
		if err := errors.Join(contains(out, what), want("the certificate after a refusal", serial(), second)); err != nil {
			return err
		}
	}
	// The same path again: the file is another meanwhile.
	if err := errors.Join(os.Remove(t.path("next.jks")), t.keyStore(ctx, "next.jks", "JKS", keySecret, "CN=broker", "san=dns:localhost,ip:127.0.0.1")); err != nil {
		return err
	}
	if _, err := alter(key + t.path("next.jks")); err != nil {
		return err
	}
	if third := changed(second); third == second {
		return errors.New("the same store is set again, and the broker shows the certificate of before")
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}
	cl, err := kgo.NewClient(kgo.SeedBrokers(t.target.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := req.RequestWith(ctx, cl.Broker(1))
	if err != nil {
		return err
	}
	for _, c := range resp.Resources[0].Configs {
		if c.Value != nil && strings.Contains(*c.Value, "-secret") {
			return fmt.Errorf("%s is shown with its secret", c.Name)
		}
	}
	return nil
}
