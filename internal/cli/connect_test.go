package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/logstead/logstead/internal/kit/certs"
)

// certificate makes a self-signed one for 127.0.0.1 and returns it with its PEM file.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test broker"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0,
			1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}

// runCLI runs a command line in this process and returns its exit code and what it printed.
func runCLI(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	home := t.TempDir()
	app := &App{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now,
		Getenv: func(name string) string {
			if name == "HOME" {
				return home
			}
			return ""
		}}
	code = app.Run(context.Background(), args)
	return code, out.String(), errs.String()
}

func TestTLSAndLogin(t *testing.T) {
	cert, ca := certificate(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "ana", "geheim"), kfake.Superuser("SCRAM-SHA-512", "scram", "geheim"),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	addr := cluster.ListenAddrs()[0]
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	trust := "-Xssl.ca.location=" + ca
	plain := []string{"-Xsecurity.protocol=SASL_SSL", "-Xsasl.mechanism=PLAIN", "-Xsasl.username=ana",
		"-Xsasl.password=geheim"}
	tests := []struct {
		name string
		args []string
		code int
		want string // in stdout when the code is 0, else in stderr
	}{
		{"plain login over TLS", append(plain, trust), exitOK, "orders"},
		{"scram", []string{"-Xsasl.mechanism=SCRAM-SHA-512", "-Xsasl.username=scram", "-Xsasl.password=geheim",
			trust}, exitOK, "orders"},
		{"login by a JAAS line", []string{"-Xsecurity.protocol=SASL_SSL", "-Xsasl.mechanism=PLAIN", trust,
			`-Xsasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="ana" password="geheim";`}, exitOK, "orders"},
		{"not verified", append(plain, "-Xenable.ssl.certificate.verification=false"), exitOK, "orders"},
		{"wrong password", append(plain, trust, "-Xsasl.password=nein"), exitUnreachable,
			"closed the connection during the login"},
		{"authority not trusted", plain, exitUnreachable, "signed by an authority that is not trusted here"},
		{"name not in the certificate", append(plain, trust, "-b", "localhost:"+port), exitUnreachable,
			"certificate is for another name"},
		{"name not asked for", append(plain, trust, "-b", "localhost:"+port,
			"-Xssl.endpoint.identification.algorithm="), exitOK, "orders"},
		{"wrong user", append(plain, trust, "-Xsasl.username=eve"), exitUnreachable,
			"closed the connection during the login"},
		{"mechanism unknown here", append(plain, trust, "-Xsasl.mechanism=GSSAPI"), exitUsage,
			"not supported by this client"},
		{"no TLS", []string{"--timeout", "1s"}, exitUnreachable, "cannot"},
	}
	for _, tt := range tests {
		args := append([]string{"topic", "list", "-o", "name"}, tt.args...)
		if !slices.Contains(args, "-b") {
			args = append(args, "-b", addr)
		}
		code, out, errs := runCLI(t, args...)
		got := out
		if tt.code != exitOK {
			got = errs
		}
		if code != tt.code || !strings.Contains(got, tt.want) {
			t.Errorf("%s: exit %d, want %d with %q\n%s%s", tt.name, code, tt.code, tt.want, out, errs)
		}
		if strings.Contains(out+errs, "geheim") {
			t.Errorf("%s: the password is in the output", tt.name)
		}
	}
	doctor := append([]string{"doctor", addr, trust}, plain...)
	if code, out, _ := runCLI(t, doctor...); code != exitOK ||
		!strings.Contains(out, "certificate of test broker") || !strings.Contains(out, "login") {
		t.Errorf("doctor over TLS ends with %d:\n%s", code, out)
	}
	if code, out, _ := runCLI(t, "doctor", addr, "--timeout", "1s"); code != exitUnreachable ||
		!strings.Contains(out, "the port speaks TLS") {
		t.Errorf("doctor without TLS ends with %d:\n%s", code, out)
	}
}

// TestStoresOfJava: the trust store and the key store of a Java client do as they are, in a file of its properties; of the
// broker's own listener doctor says what it finds.
func TestStoresOfJava(t *testing.T) {
	now := time.Now()
	subject := func(name string, hosts ...string) certs.Subject {
		return certs.Subject{Name: pkix.Name{CommonName: name}, Hosts: hosts, From: now.Add(-time.Hour), Until: now.Add(60 * 24 * time.Hour)}
	}
	ca, err := certs.NewAuthority(subject("authority"))
	if err != nil {
		t.Fatal(err)
	}
	broker, err := ca.Issue(subject("broker", "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	ana, err := ca.Issue(subject("ana"))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.Certificate)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{broker.Certificate.Raw}, PrivateKey: broker.Key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients,
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	dir := t.TempDir()
	write := func(name string, data []byte, err error) string {
		t.Helper()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	trust, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{ca.Certificate}, "geheim")
	trustFile := write("trust.p12", trust, err)
	keys, err := pkcs12.Modern.Encode(ana.Key, ana.Certificate, nil, "geheim")
	keysFile := write("ana.p12", keys, err)
	props := func(secret string) string {
		return write("client.properties", []byte("security.protocol=SSL\nssl.truststore.location="+trustFile+"\nssl.truststore.password=geheim\n"+
			"ssl.truststore.type=PKCS12\nssl.keystore.location="+keysFile+"\nssl.keystore.password="+secret+"\nssl.key.password=geheim\n"), nil)
	}
	addr := cluster.ListenAddrs()[0]
	if code, out, errs := runCLI(t, "topic", "list", "-o", "name", "-b", addr, "-F", props("geheim")); code != exitOK || !strings.Contains(out, "orders") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
	if code, out, _ := runCLI(t, "doctor", addr, "-F", props("geheim")); code != exitOK || !strings.Contains(out, "certificate of broker") {
		t.Errorf("doctor ends with %d:\n%s", code, out)
	}
	code, out, errs := runCLI(t, "topic", "list", "-b", addr, "-F", props("geraten"))
	if code != exitUsage || !strings.Contains(errs, "ssl.keystore.password is wrong") || strings.Contains(out+errs, "geraten") {
		t.Errorf("a wrong password: exit %d:\n%s%s", code, out, errs)
	}
}

// TestAdvertisedTrap is the newcomers' wall: the bootstrap address works, the advertised one does not.
func TestAdvertisedTrap(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	unreachable(t, cluster)
	addr := cluster.ListenAddrs()[0]
	code, out, errs := runCLI(t, "doctor", addr, "--timeout", "2s")
	if code == exitOK ||
		!strings.Contains(out,
			"advertised  broker 0 at nohost.invalid:9092: the name \"nohost.invalid\" does not resolve") ||
		!strings.Contains(out, "advertised.listeners") {
		t.Errorf("doctor ends with %d:\n%s%s", code, out, errs)
	}
	code, _, errs = runCLI(t, "consume", "orders", "-e", "-b", addr, "--timeout", "5s")
	if code != exitUnreachable ||
		!strings.Contains(errs, "broker 0 at nohost.invalid:9092, the address it advertises") {
		t.Errorf("consume ends with %d: %s", code, errs)
	}
}

// unreachable makes the cluster tell clients an address that does not exist.
func unreachable(t *testing.T, cluster *kfake.Cluster) {
	t.Helper()
	cluster.ControlKey(kmsg.Metadata.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = 0, "nohost.invalid", 9092
		resp.Brokers = append(resp.Brokers, b)
		resp.ClusterID = kmsg.StringPtr("trap")
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.TopicID = kmsg.StringPtr("orders"), [16]byte{1}
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Replicas, p.ISR = []int32{0}, []int32{0}
		topic.Partitions = append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
}

// TestDescribeWhileABrokerIsDown: a topic is described though one of its leaders does not answer, as in the second between a
// broker's death and the election; what that one leads has no offsets, and a warning says why.
func TestDescribeWhileABrokerIsDown(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	addrs := cluster.ListenAddrs()
	if err := cluster.MoveTopicPartition("orders", 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := cluster.MoveTopicPartition("orders", 1, 2); err != nil {
		t.Fatal(err)
	}
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if cluster.CurrentNode() == 2 {
			return nil, errors.New("gone"), true
		}
		return nil, nil, false
	})
	code, out, errs := runCLI(t, "topic", "describe", "orders", "-b", addrs[1], "-o", "csv", "--timeout", "2s")
	if code != 0 || strings.Count(out, "\n") != 4 {
		t.Errorf("ends with %d:\n%s\n%s", code, out, errs)
	}
	if !strings.Contains(errs, "warning: offsets are not known everywhere") {
		t.Errorf("nothing is said of what is missing: %s", errs)
	}
}

// TestRandomUUIDIsBare: the id alone is printed, so that a script can take it as it is.
func TestRandomUUIDIsBare(t *testing.T) {
	code, out, errs := runCLI(t, "storage", "random-uuid")
	if code != 0 || len(out) != 23 || strings.TrimSpace(out) != out[:22] {
		t.Errorf("ends with %d and %q, want 22 characters; %s", code, out, errs)
	}
	if _, out, _ := runCLI(t, "storage", "random-uuid", "-o", "json"); !strings.Contains(out, `"uuid": "`) {
		t.Errorf("as JSON: %s", out)
	}
}

// TestConsumeAwaitsALeader: a reader that begins while a partition is being given a leader waits for it.
func TestConsumeAwaitsALeader(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	addrs := cluster.ListenAddrs()
	if code, _, errs := runCLI(t, "produce", "orders", "first", "-b", addrs[0]); code != exitOK {
		t.Fatalf("produce ends with %d: %s", code, errs)
	}
	asked := 0
	cluster.ControlKey(kmsg.ListOffsets.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if asked++; asked > 3 {
			return nil, nil, false
		}
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = "orders"
		p := kmsg.NewListOffsetsResponseTopicPartition()
		p.ErrorCode = kerr.LeaderNotAvailable.Code
		topic.Partitions = append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	code, out, errs := runCLI(t, "consume", "orders", "-o", "start", "-e", "-b", addrs[0], "-f", "%v\\n", "--timeout", "30s")
	if code != exitOK || out != "first\n" {
		t.Errorf("consume ends with %d: %q %s", code, out, errs)
	}
	if asked < 4 {
		t.Errorf("offsets were asked for %d times, so that nothing was waited for", asked)
	}
}

// TestInfoShowsBrokersThatAreDown: they are what one looks for, and clients' metadata leaves them out.
func TestInfoShowsBrokersThatAreDown(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cluster.ControlKey(kmsg.DescribeCluster.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !req.(*kmsg.DescribeClusterRequest).IncludeFencedBrokers {
			t.Error("fenced brokers are not asked for")
		}
		resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
		for _, fenced := range []bool{false, true} {
			b := kmsg.NewDescribeClusterResponseBroker()
			b.Host, b.Port, b.IsFenced = "gone.example", 9092, fenced
			if fenced {
				b.NodeID = 7
			}
			resp.Brokers = append(resp.Brokers, b)
		}
		return resp, nil, true
	})
	code, out, errs := runCLI(t, "cluster", "info", "-b", cluster.ListenAddrs()[0], "-o", "json")
	var got clusterInfo
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil {
		t.Fatalf("ends with %d, %v: %s%s", code, err, out, errs)
	}
	if len(got.Brokers) != 2 || got.Brokers[0].State != stateUp || got.Brokers[1].ID != 7 || got.Brokers[1].State != stateDown {
		t.Errorf("brokers %+v", got.Brokers)
	}
}
