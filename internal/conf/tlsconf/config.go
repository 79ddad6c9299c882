package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Server is the configuration of a listener. A connection with the method Computing is told when a client has begun and the
// costly part of its handshake follows.
func (m *Material) Server() (*tls.Config, error) {
	if m.Certificate == nil {
		return nil, errors.New("a listener that speaks TLS needs a key: set ssl.keystore.location, or ssl.keystore.key and ssl.keystore.certificate.chain")
	}
	c, err := m.base()
	if err != nil {
		return nil, err
	}
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if s, ok := hello.Conn.(interface{ Computing() }); ok {
			s.Computing()
		}
		return nil, nil //nolint:nilnil // nil is this configuration
	}
	switch m.o.ClientAuth {
	case "required":
		c.ClientAuth = tls.RequireAndVerifyClientCert
	case "requested":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if c.ClientAuth != tls.NoClientCert {
		if c.ClientCAs = m.roots; c.ClientCAs == nil {
			if c.ClientCAs, err = x509.SystemCertPool(); err != nil {
				return nil, fmt.Errorf("the system's authorities, which ssl.client.auth=%s trusts where no ssl.truststore is set: %w", m.o.ClientAuth, err)
			}
		}
	}
	return c, nil
}

// Client is the configuration to reach a host with.
func (m *Material) Client(host string) (*tls.Config, error) {
	c, err := m.base()
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err != nil {
		c.ServerName = host // an address is no name to ask for
	}
	c.InsecureSkipVerify = true // VerifyConnection checks, by Java's rules
	c.VerifyConnection = func(cs tls.ConnectionState) error { return m.verify(cs, host) }
	return c, nil
}

func (m *Material) base() (*tls.Config, error) {
	v, err := m.o.versions()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion: v.low, MaxVersion: v.high, CipherSuites: v.suites,
		DynamicRecordSizingDisabled: true, // records are large as a rule, and nobody paints a page as they come
	}
	if m.Certificate != nil {
		c.Certificates = []tls.Certificate{*m.Certificate}
	}
	return c, nil
}

// verify checks a server's certificate, and the host's name where that is asked for.
func (m *Material) verify(cs tls.ConnectionState, host string) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	leaf := cs.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: between}); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	if !m.o.CheckHost {
		return nil
	}
	return checkHost(leaf, host)
}

// checkHost takes, as Java does, the common name for the host's where the certificate names no host otherwise.
func checkHost(leaf *x509.Certificate, host string) error {
	err := leaf.VerifyHostname(host)
	if err == nil || len(leaf.DNSNames) > 0 {
		return err
	}
	if _, isAddress := netip.ParseAddr(host); isAddress == nil || leaf.Subject.CommonName == "" {
		return err
	}
	named := *leaf
	named.DNSNames = []string{leaf.Subject.CommonName}
	if named.VerifyHostname(host) == nil {
		return nil
	}
	return err
}

// Trusts says whether a client with the same stores would accept the listener: brokers speak to each other with them.
func (m *Material) Trusts(server *Material) error {
	if server.Certificate == nil {
		return nil
	}
	var chain []*x509.Certificate
	for _, raw := range server.Certificate.Certificate {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return err
		}
		chain = append(chain, c)
	}
	client := *m
	client.o.CheckHost = false
	if err := client.verify(tls.ConnectionState{PeerCertificates: chain}, ""); err != nil {
		return fmt.Errorf("a broker with these stores would not trust another one: %w; %s must hold who signed the certificate of %q in %s",
			err, m.o.TrustStore, chain[0].Subject, server.o.KeyStore)
	}
	return nil
}

// MayReplace says whether a running listener may go over from old to m. The rules are those of Kafka's SslFactory.
func (m *Material) MayReplace(old *Material) error {
	switch {
	case old.Certificate == nil && m.Certificate != nil:
		return errors.New("Cannot add SSL keystore to an existing listener for which no keystore was configured.")
	case old.Certificate != nil && m.Certificate == nil:
		return errors.New("Cannot remove the SSL keystore from an existing listener for which a keystore was configured.")
	case old.roots == nil && m.roots != nil:
		return errors.New("Cannot add SSL truststore to an existing listener for which no truststore was configured.")
	}
	if m.Certificate == nil {
		return nil
	}
	was, is := old.Certificate.Leaf, m.Certificate.Leaf
	if !m.o.AllowDNChanges && !bytes.Equal(was.RawSubject, is.RawSubject) {
		return fmt.Errorf("Keystore DistinguishedName does not match: existing is %s, new is %s; ssl.allow.dn.changes=true allows it",
			was.Subject, is.Subject)
	}
	if !m.o.AllowSANChanges {
		for _, name := range alternatives(was) {
			if !slices.Contains(alternatives(is), name) {
				return fmt.Errorf("Keystore SubjectAltNames do not match: existing are %v, new are %v; ssl.allow.san.changes=true allows it",
					alternatives(was), alternatives(is))
			}
		}
	}
	return nil
}

// alternatives are the other names of a certificate's owner.
func alternatives(c *x509.Certificate) (out []string) {
	for _, n := range c.DNSNames {
		out = append(out, "DNS:"+n)
	}
	for _, ip := range c.IPAddresses {
		out = append(out, "IP:"+ip.String())
	}
	for _, m := range c.EmailAddresses {
		out = append(out, "email:"+m)
	}
	for _, u := range c.URIs {
		out = append(out, "URI:"+u.String())
	}
	return out
}
