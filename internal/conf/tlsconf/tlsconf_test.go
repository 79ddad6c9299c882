package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"github.com/youmark/pkcs8"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/logstead/logstead/internal/kit/certs"
)

const storePassword, keyPassword, wrongPassword = "store-secret", "key-secret", "wrong-secret"

// made is an authority with a certificate below one in between.
type made struct {
	t             *testing.T
	dir           string
	root, between *certs.Authority
	leaf          certs.Pair
}

func makeChain(t *testing.T, hosts ...string) *made {
	t.Helper()
	m := &made{t: t, dir: t.TempDir()}
	valid := func(name string, hosts ...string) certs.Subject {
		return certs.Subject{Name: pkix.Name{CommonName: name}, Hosts: hosts, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}
	}
	var err error
	if m.root, err = certs.NewAuthority(valid("root")); err != nil {
		t.Fatal(err)
	}
	if m.between, err = m.root.Below(valid("between")); err != nil {
		t.Fatal(err)
	}
	if m.leaf, err = m.between.Issue(valid("broker.example", hosts...)); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *made) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *made) file(name string, data []byte) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	m.must(os.WriteFile(path, data, 0o600))
	return path
}

func (m *made) keyPEM() []byte {
	m.t.Helper()
	b, err := m.leaf.KeyPEM()
	m.must(err)
	return b
}

func (m *made) encryptedKeyPEM() []byte {
	m.t.Helper()
	der, err := pkcs8.MarshalPrivateKey(m.leaf.Key, []byte(keyPassword), nil)
	m.must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
}

// chainPEM is in disorder: the authority first.
func (m *made) chainPEM() []byte {
	return slices.Concat(m.root.CertificatePEM(), m.between.CertificatePEM(), m.leaf.CertificatePEM())
}

func (m *made) p12() []byte {
	m.t.Helper()
	b, err := pkcs12.Modern.Encode(m.leaf.Key, m.leaf.Certificate, []*x509.Certificate{m.between.Certificate, m.root.Certificate}, storePassword)
	m.must(err)
	return b
}

func (m *made) jks(withKey string) []byte {
	m.t.Helper()
	store := keystore.New()
	x509Entry := func(c *x509.Certificate) keystore.Certificate {
		return keystore.Certificate{Type: "X509", Content: c.Raw}
	}
	m.must(store.SetTrustedCertificateEntry("root", keystore.TrustedCertificateEntry{CreationTime: time.Now(), Certificate: x509Entry(m.root.Certificate)}))
	if withKey != "" {
		der, err := x509.MarshalPKCS8PrivateKey(m.leaf.Key)
		m.must(err)
		m.must(store.SetPrivateKeyEntry("broker", keystore.PrivateKeyEntry{
			CreationTime: time.Now(), PrivateKey: der,
			CertificateChain: []keystore.Certificate{x509Entry(m.leaf.Certificate), x509Entry(m.between.Certificate), x509Entry(m.root.Certificate)},
		}, []byte(withKey)))
	}
	var out bytes.Buffer
	m.must(store.Store(&out, []byte(storePassword)))
	return out.Bytes()
}

// options are keys with the defaults of Kafka's table.
func options(k KeyStore, t TrustStore) Options {
	if k.Type == "" {
		k.Type = "JKS"
	}
	if t.Type == "" {
		t.Type = "JKS"
	}
	return Options{KeyStore: k, TrustStore: t, ClientAuth: "none", Protocols: []string{"TLSv1.2", "TLSv1.3"}, CheckHost: true}
}

// TestStores reads a key and what it trusts from every kind of store, and holds a session with each.
func TestStores(t *testing.T) {
	m := makeChain(t, "localhost", "127.0.0.1")
	oneLine := func(b []byte) string { return strings.ReplaceAll(string(b), "\n", " ") }
	trusted, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{m.root.Certificate}, storePassword)
	m.must(err)
	keys := map[string]KeyStore{
		"PEM file":              {Type: "PEM", Location: m.file("key.pem", slices.Concat(m.keyPEM(), m.chainPEM()))},
		"PEM file, encrypted":   {Type: "PEM", Location: m.file("enc.pem", slices.Concat(m.encryptedKeyPEM(), m.chainPEM())), KeyPassword: keyPassword},
		"PEM inline":            {Type: "PEM", Key: string(m.keyPEM()), Chain: string(m.chainPEM())},
		"PEM inline, one line":  {Type: "pem", Key: oneLine(m.encryptedKeyPEM()), Chain: oneLine(m.chainPEM()), KeyPassword: keyPassword},
		"PKCS12":                {Type: "PKCS12", Location: m.file("key.p12", m.p12()), Password: storePassword},
		"PKCS12 called JKS":     {Location: m.file("p12.jks", m.p12()), Password: storePassword},
		"JKS":                   {Location: m.file("key.jks", m.jks(storePassword)), Password: storePassword},
		"JKS, key's own secret": {Location: m.file("own.jks", m.jks(keyPassword)), Password: storePassword, KeyPassword: keyPassword},
		"JKS called PKCS12":     {Type: "PKCS12", Location: m.file("jks.p12", m.jks(storePassword)), Password: storePassword},
	}
	trust := map[string]TrustStore{
		"PEM file":   {Type: "PEM", Location: m.file("ca.pem", m.root.CertificatePEM())},
		"PEM inline": {Type: "PEM", Certificates: oneLine(m.root.CertificatePEM())},
		"PKCS12":     {Type: "PKCS12", Location: m.file("trust.p12", trusted), Password: storePassword},
		"JKS":        {Location: m.file("trust.jks", m.jks("")), Password: storePassword},
	}
	for name, k := range keys {
		for of, ts := range trust {
			t.Run(name+", trusts "+of, func(t *testing.T) {
				o := options(k, ts)
				o.ClientAuth = "required"
				mat, err := Load(o)
				if err != nil {
					t.Fatal(err)
				}
				if n := len(mat.Certificate.Certificate); n != 3 || !mat.Certificate.Leaf.Equal(m.leaf.Certificate) {
					t.Fatalf("a chain of %d that begins with %s", n, mat.Certificate.Leaf.Subject)
				}
				if err := session(t, mat, mat, "localhost"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// session shakes hands over a pipe.
func session(t *testing.T, server, client *Material, host string) error {
	t.Helper()
	sc, err := server.Server()
	if err != nil {
		return err
	}
	cc, err := client.Client(host)
	if err != nil {
		return err
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	served := make(chan error, 1)
	go func() {
		s := tls.Server(a, sc)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		if err != nil {
			_ = a.Close()
		}
		served <- err
	}()
	c := tls.Client(b, cc)
	err = c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	_ = b.Close()
	return errors.Join(err, <-served)
}

// TestRefusals: what is wrong with stores and keys is said, with what mends it, and without a secret.
func TestRefusals(t *testing.T) {
	m := makeChain(t, "localhost")
	other := makeChain(t, "localhost")
	p12, jks := m.file("key.p12", m.p12()), m.file("key.jks", m.jks(keyPassword))
	pemType := func(path string) KeyStore { return KeyStore{Type: "PEM", Location: path} }
	legacy := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	for _, tc := range []struct {
		name  string
		key   KeyStore
		trust TrustStore
		want  string
	}{
		{"no file", pemType(filepath.Join(m.dir, "none")), TrustStore{}, "ssl.keystore.location " + filepath.Join(m.dir, "none") + ": no such file"},
		{"wrong password, PKCS12", KeyStore{Location: p12, Password: wrongPassword}, TrustStore{}, "ssl.keystore.password is wrong"},
		{"wrong password, JKS", KeyStore{Location: jks, Password: wrongPassword}, TrustStore{}, "ssl.keystore.password is wrong"},
		{"wrong key password, JKS", KeyStore{Location: jks, Password: storePassword}, TrustStore{}, "cannot be decrypted with ssl.key.password"},
		{"no password", KeyStore{Location: jks}, TrustStore{}, "ssl.keystore.password is not set"},
		{"no key in it", KeyStore{Location: m.file("ca.jks", m.jks("")), Password: storePassword}, TrustStore{}, "no private key in it"},
		{"encrypted, no password", pemType(m.file("enc.pem", slices.Concat(m.encryptedKeyPEM(), m.chainPEM()))), TrustStore{}, "set ssl.key.password"},
		{"encrypted, wrong password", KeyStore{Type: "PEM", Location: m.file("enc.pem", slices.Concat(m.encryptedKeyPEM(), m.chainPEM())), KeyPassword: wrongPassword}, TrustStore{}, "cannot be decrypted with ssl.key.password"},
		{"encrypted the old way", pemType(m.file("old.pem", []byte(legacy))), TrustStore{}, "openssl pkcs8 -topk8"},
		{"cut base64", pemType(m.file("cut.pem", bytes.Replace(m.keyPEM(), []byte("\n"), []byte("\n="), 1))), TrustStore{}, "is not base64"},
		{"another's key", pemType(m.file("mix.pem", slices.Concat(m.keyPEM(), other.leaf.CertificatePEM()))), TrustStore{}, "does not belong to the certificate"},
		{"no certificate", pemType(m.file("key.pem", m.keyPEM())), TrustStore{}, "no certificate in it"},
		{"not a store", KeyStore{Type: "PKCS12", Location: m.file("junk", []byte("junk")), Password: storePassword}, TrustStore{}, "cannot be read as PKCS12"},
		{"JKS called PEM", pemType(jks), TrustStore{}, "set it to JKS"},
		{"unknown type", KeyStore{Type: "BCFKS", Location: jks, Password: storePassword}, TrustStore{}, "read are PEM, PKCS12 and JKS"},
		{"PEM with a password", KeyStore{Type: "PEM", Location: p12, Password: storePassword}, TrustStore{}, "has no password of the store"},
		{"key without chain", KeyStore{Type: "PEM", Key: string(m.keyPEM())}, TrustStore{}, "certificate.chain is not"},
		{"chain without key", KeyStore{Type: "PEM", Chain: string(m.chainPEM())}, TrustStore{}, "ssl.keystore.key is not"},
		{"inline key of a JKS", KeyStore{Key: string(m.keyPEM()), Chain: string(m.chainPEM())}, TrustStore{}, "set it to PEM"},
		{"inline and file", KeyStore{Type: "PEM", Key: string(m.keyPEM()), Chain: string(m.chainPEM()), Location: p12}, TrustStore{}, "remove one of them"},
		{"password without store", KeyStore{Password: storePassword}, TrustStore{}, "name the store too"},
		{"trust: wrong password", KeyStore{}, TrustStore{Location: jks, Password: wrongPassword}, "ssl.truststore.password is wrong"},
		{"trust: JKS without password", KeyStore{}, TrustStore{Location: jks}, "ssl.truststore.password is not set"},
		{"trust: PKCS12 wrong password", KeyStore{}, TrustStore{Location: p12, Password: wrongPassword}, "ssl.truststore.password is wrong"},
		{"trust: nothing in it", KeyStore{}, TrustStore{Type: "PEM", Location: m.file("empty.pem", m.keyPEM())}, "no trusted certificate in it"},
		{"trust: PEM with a password", KeyStore{}, TrustStore{Type: "PEM", Location: p12, Password: storePassword}, "which has no password"},
		{"trust: inline and file", KeyStore{}, TrustStore{Type: "PEM", Location: p12, Certificates: "x"}, "remove one of them"},
	} {
		_, err := Load(options(tc.key, tc.trust))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "-secret") {
			t.Errorf("%s: the error tells a password: %v", tc.name, err)
		}
	}
}

// TestProtocolsAndSuites: what the keys leave of TLS.
func TestProtocolsAndSuites(t *testing.T) {
	const ecdsa, aes13 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"
	for _, tc := range []struct {
		protocols, suites string
		low, high         uint16
		err               string
	}{
		{"TLSv1.2,TLSv1.3", "", tls.VersionTLS12, tls.VersionTLS13, ""},
		{"TLSv1.3", "", tls.VersionTLS13, tls.VersionTLS13, ""},
		{"TLSv1.1,TLSv1.2,TLSv1", "", tls.VersionTLS10, tls.VersionTLS12, ""},
		{"TLSv1.2,TLSv1.3", ecdsa, tls.VersionTLS12, tls.VersionTLS12, ""},
		{"TLSv1.2,TLSv1.3", aes13, tls.VersionTLS13, tls.VersionTLS13, ""},
		{"TLSv1.2,TLSv1.3", ecdsa + "," + aes13, tls.VersionTLS12, tls.VersionTLS13, ""},
		{"TLSv1.3", ecdsa, 0, 0, "has none for ssl.enabled.protocols TLSv1.3"},
		{"TLSv1,TLSv1.2", "", 0, 0, "TLSv1.1 lies between"},
		{"SSLv3", "", 0, 0, "served are TLSv1"},
		{"", "", 0, 0, "is empty"},
		{"TLSv1.2", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", 0, 0, "which is not served: served are TLS_"},
		{"TLSv1.2", "TLS_RSA_WITH_RC4_128_SHA", 0, 0, "which is not served"},
	} {
		o := options(KeyStore{}, TrustStore{})
		o.Protocols, o.Suites = strings.FieldsFunc(tc.protocols, comma), strings.FieldsFunc(tc.suites, comma)
		v, err := o.versions()
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s %s: error %v, want one with %q", tc.protocols, tc.suites, err, tc.err)
			}
			continue
		}
		if err != nil || v.low != tc.low || v.high != tc.high {
			t.Errorf("%s %s: %x to %x, %v; want %x to %x", tc.protocols, tc.suites, v.low, v.high, err, tc.low, tc.high)
		}
	}
	o := options(KeyStore{}, TrustStore{})
	if o.Suites = []string{aes13}; len(o.LooseSuites()) != 2 {
		t.Errorf("beside %s are offered %v, want the two others of TLS 1.3", aes13, o.LooseSuites())
	}
	if o.Suites = nil; len(o.LooseSuites()) != 0 {
		t.Errorf("without suites are loose %v", o.LooseSuites())
	}
}

func comma(r rune) bool { return r == ',' }

// TestHostNames: a client checks the host, takes the common name where no host is named, and leaves it where it is told to.
func TestHostNames(t *testing.T) {
	for _, tc := range []struct {
		hosts string
		host  string
		any   bool
		ok    bool
	}{
		{"localhost", "localhost", false, true},
		{"127.0.0.1", "127.0.0.1", false, true},
		{"*.example", "a.example", false, true},
		{"localhost", "other", false, false},
		{"localhost", "127.0.0.1", false, false},
		{"localhost", "broker.example", false, false}, // the common name counts only where no host is named
		{"10.0.0.1", "broker.example", false, true},
		{"localhost", "other", true, true},
	} {
		m := makeChain(t, tc.hosts)
		o := options(KeyStore{Type: "PEM", Key: string(m.keyPEM()), Chain: string(m.chainPEM())},
			TrustStore{Type: "PEM", Certificates: string(m.root.CertificatePEM())})
		o.CheckHost = !tc.any
		mat, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := session(t, mat, mat, tc.host); (err == nil) != tc.ok {
			t.Errorf("certificate of %s at %s, any host %v: %v", tc.hosts, tc.host, tc.any, err)
		}
	}
}

// TestClientAuth: a listener asks for certificates as ssl.client.auth says, and trusts its own authority only.
func TestClientAuth(t *testing.T) {
	m, other := makeChain(t, "localhost"), makeChain(t, "localhost")
	load := func(of *made, auth string, withKey bool) *Material {
		k := KeyStore{Type: "PEM", Key: string(of.keyPEM()), Chain: string(of.chainPEM())}
		if !withKey {
			k = KeyStore{}
		}
		o := options(k, TrustStore{Type: "PEM", Certificates: string(m.root.CertificatePEM())})
		o.ClientAuth = auth
		mat, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		return mat
	}
	for _, tc := range []struct {
		auth   string
		client *Material
		ok     bool
	}{
		{"none", load(m, "none", false), true}, {"none", load(other, "none", true), true},
		{"requested", load(m, "none", false), true}, {"requested", load(m, "none", true), true}, {"requested", load(other, "none", true), false},
		{"required", load(m, "none", false), false}, {"required", load(m, "none", true), true}, {"required", load(other, "none", true), false},
	} {
		if err := session(t, load(m, tc.auth, true), tc.client, "localhost"); (err == nil) != tc.ok {
			t.Errorf("%s, client %v: %v, want it to work: %v", tc.auth, tc.client.Certificate != nil, err, tc.ok)
		}
	}
	if _, err := load(m, "none", false).Server(); err == nil {
		t.Error("a listener without a key")
	}
}

// TestReplacing: what may take the place of what, by the rules of Kafka.
func TestReplacing(t *testing.T) {
	m := makeChain(t, "localhost")
	load := func(name string, allowDN, allowSAN, trust bool, hosts ...string) *Material {
		p, err := m.between.Issue(certs.Subject{Name: pkix.Name{CommonName: name}, Hosts: hosts, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
		m.must(err)
		key, err := p.KeyPEM()
		m.must(err)
		o := options(KeyStore{Type: "PEM", Key: string(key), Chain: string(p.CertificatePEM())}, TrustStore{})
		if trust {
			o.TrustStore = TrustStore{Type: "PEM", Certificates: string(m.root.CertificatePEM())}
		}
		o.AllowDNChanges, o.AllowSANChanges = allowDN, allowSAN
		mat, err := Load(o)
		m.must(err)
		return mat
	}
	none, err := Load(options(KeyStore{}, TrustStore{}))
	m.must(err)
	now := load("a", false, false, true, "localhost", "10.0.0.1")
	for what, tc := range map[string]struct {
		old, next *Material
		want      string
	}{
		"renewed":             {now, load("a", false, false, true, "10.0.0.1", "localhost"), ""},
		"a host more":         {now, load("a", false, false, true, "localhost", "10.0.0.1", "b"), ""},
		"another name":        {now, load("b", false, true, true, "localhost", "10.0.0.1"), "DistinguishedName does not match"},
		"another, allowed":    {now, load("b", true, false, true, "localhost", "10.0.0.1"), ""},
		"a host fewer":        {now, load("a", true, false, true, "localhost"), "SubjectAltNames do not match"},
		"fewer, allowed":      {now, load("a", false, true, true, "localhost"), ""},
		"no key store":        {now, none, "Cannot remove the SSL keystore"},
		"a key store":         {none, now, "Cannot add SSL keystore"},
		"a trust store added": {load("a", false, false, false, "localhost"), load("a", false, false, true, "localhost"), "Cannot add SSL truststore"},
	} {
		err := tc.next.MayReplace(tc.old)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
	}
	if err := now.Trusts(now); err == nil {
		t.Error("brokers would trust a chain whose middle is missing")
	}
}

// TestStale: a file that is written again is noticed, also where time and size stay the same but for what a file system shows.
func TestStale(t *testing.T) {
	m := makeChain(t, "localhost")
	path := m.file("key.pem", slices.Concat(m.keyPEM(), m.chainPEM()))
	mat, err := Load(options(KeyStore{Type: "PEM", Location: path}, TrustStore{}))
	m.must(err)
	before := mat.Files()
	if mat.Stale() {
		t.Error("stale at once")
	}
	m.must(os.Chtimes(path, time.Now(), time.Now().Add(time.Minute)))
	if !mat.Stale() || mat.Files() == before {
		t.Error("a changed file is not noticed")
	}
	m.must(os.Remove(path))
	if !mat.Stale() {
		t.Error("a file that is gone is not noticed")
	}
	if end, ok := mat.Expiry(); !ok || !end.Equal(m.leaf.Certificate.NotAfter) && end.After(m.leaf.Certificate.NotAfter) {
		t.Errorf("ends %s, %v", end, ok)
	}
}

func FuzzStores(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"))
	f.Add([]byte{0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1})
	f.Add([]byte{0x30, 0x82, 1, 0})
	f.Fuzz(func(_ *testing.T, data []byte) { // must not panic
		if blocks, err := pemBlocks(string(data)); err == nil {
			_, _ = pemKey(blocks, "x")
			_, _ = pemCertificates(blocks)
		}
		if isJKS(data) { // a PKCS12 file says itself how long its password is worked on
			_, _, _ = javaKey(data, "x", "")
			_, _ = javaTrust(data, "x")
		}
	})
}
