// Package certs makes certificates: an authority, and what it signs. It is for trying things out and for tests; it keeps no
// list of what it signed and revokes nothing.
//
// Concurrency: functions of values; an Authority never changes.
package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"time"
)

// Authority signs certificates.
type Authority struct{ Pair }

// Pair is a certificate and its key.
type Pair struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Subject says whom a certificate is for.
type Subject struct {
	Name  pkix.Name
	Raw   []byte   // the name in DER, in place of Name
	Hosts []string // names and addresses where a server is reached; none for a client alone
	From  time.Time
	Until time.Time
}

// NewAuthority makes an authority that signs itself.
func NewAuthority(s Subject) (*Authority, error) { return newAuthority(s, nil) }

// Below makes an authority that this one vouches for.
func (a *Authority) Below(s Subject) (*Authority, error) { return newAuthority(s, a) }

func newAuthority(s Subject, by *Authority) (*Authority, error) {
	key, template, err := begin(s)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if by == nil {
		by = &Authority{Pair{template, key}}
	}
	p, err := sign(template, by.Certificate, key, by.Key)
	return &Authority{p}, err
}

// OpenAuthority is an authority that was made earlier.
func OpenAuthority(p Pair) (*Authority, error) {
	if !p.Certificate.IsCA {
		return nil, fmt.Errorf("the certificate of %q is no authority's", p.Certificate.Subject)
	}
	return &Authority{p}, nil
}

// Issue makes a key and signs its certificate. With hosts it is for a server, which may be a client too, as brokers are to
// each other; without it is for a client.
func (a *Authority) Issue(s Subject) (Pair, error) {
	key, template, err := begin(s)
	if err != nil {
		return Pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(s.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	return sign(template, a.Certificate, key, a.Key)
}

func begin(s Subject) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: s.Name, RawSubject: s.Raw, NotBefore: s.From, NotAfter: s.Until}
	for _, h := range s.Hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			t.IPAddresses = append(t.IPAddresses, a.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return key, t, nil
}

func sign(template, parent *x509.Certificate, key, by crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return Pair{}, err
	}
	c, err := x509.ParseCertificate(der)
	return Pair{c, key}, err
}

// CertificatePEM is the certificate in PEM.
func (p Pair) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate.Raw})
}

// KeyPEM is the key in PEM, as PKCS#8 without a password.
func (p Pair) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
