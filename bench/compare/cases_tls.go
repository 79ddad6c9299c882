package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/logstead/logstead/bench/raw"
	"github.com/logstead/logstead/internal/kit/certs"
)

// What is compared over TLS is the same on both sides: the key, the version of the protocol and the cipher suite. Without a
// list Java would take AES-256; of TLS 1.3 Go's servers take AES-128 where the processor has instructions for it.
const (
	tlsSuite     = tls.TLS_AES_128_GCM_SHA256
	tlsSuiteName = "TLS_AES_128_GCM_SHA256"
)

// keys are the broker's key, and what a client trusts.
type keys struct {
	store  string
	client *tls.Config
}

// makeKeys has an authority sign a key on the curve P-256.
func makeKeys(dir string) (*keys, error) {
	from, until := time.Now().Add(-time.Hour), time.Now().Add(48*time.Hour)
	a, err := certs.NewAuthority(certs.Subject{Name: pkix.Name{CommonName: "authority"}, From: from, Until: until})
	if err != nil {
		return nil, err
	}
	pair, err := a.Issue(certs.Subject{Name: pkix.Name{CommonName: "broker"}, Hosts: []string{"127.0.0.1"}, From: from, Until: until})
	if err != nil {
		return nil, err
	}
	key, err := pair.KeyPEM()
	if err != nil {
		return nil, err
	}
	k := &keys{store: filepath.Join(dir, "broker.pem"), client: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}}
	k.client.RootCAs.AddCert(a.Certificate)
	k.client.VerifyConnection = func(s tls.ConnectionState) error {
		if s.Version != tls.VersionTLS13 || s.CipherSuite != tlsSuite {
			return fmt.Errorf("%s with %s, want TLS 1.3 with %s on both sides", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), tlsSuiteName)
		}
		return nil
	}
	return k, os.WriteFile(k.store, append(key, pair.CertificatePEM()...), 0o600)
}

// settings are a broker's, logstead or Apache Kafka.
func (k *keys) settings() []string {
	return []string{"ssl.keystore.type=PEM", "ssl.keystore.location=" + k.store, "ssl.enabled.protocols=TLSv1.3", "ssl.cipher.suites=" + tlsSuiteName}
}

// tlsCases are some of the cases once more, over TLS and with less data: a byte costs several times as much.
func tlsCases(short bool) (list []benchCase) {
	for _, s := range sizes {
		if s.name != "16KiB" && (!short || s.name == "64KiB") {
			list = append(list, overTLS(produceCase("none", s.name, s.payload, true)), overTLS(consumeCase(s.name, s.payload, true)))
		}
	}
	return append(list, overTLS(connectionsCase(1)), overTLS(connectionsCase(100)))
}

// overTLS is a case at the listener that speaks TLS. The bare loop and clusters have none.
func overTLS(c benchCase) benchCase {
	plain := c.run
	c.name, c.bare, c.size = "tls/"+c.name, false, 0
	c.run = func(ctx context.Context, r *rival) ([]figure, error) {
		if r.tlsAddr == "" {
			return nil, nil
		}
		encrypted := *r
		encrypted.addr = r.tlsAddr
		return plain(raw.OverTLS(ctx, r.tls), &encrypted)
	}
	return c
}
