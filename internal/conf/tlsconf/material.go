package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Material is what the stores held when they were read.
type Material struct {
	Certificate *tls.Certificate // with its Leaf; nil where there is no key store
	Trusted     []*x509.Certificate

	o     Options
	roots *x509.CertPool // nil for the system's
	files []fileState
}

// fileState tells whether a file is still the one that was read.
type fileState struct {
	path string
	at   time.Time
	size int64
}

func stateOf(path string) fileState {
	s := fileState{path: path}
	if info, err := os.Stat(path); err == nil {
		s.at, s.size = info.ModTime(), info.Size()
	}
	return s
}

// Load checks the keys and reads the stores.
func Load(o Options) (*Material, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	m := &Material{o: o}
	if o.KeyStore.IsSet() {
		cert, err := m.loadKey(o.KeyStore)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.KeyStore, err)
		}
		m.Certificate = cert
	}
	if o.TrustStore.IsSet() {
		certs, err := m.loadTrust(o.TrustStore)
		if err == nil && len(certs) == 0 {
			err = errors.New("no trusted certificate in it: one is added with: keytool -importcert, or as a PEM block CERTIFICATE")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.TrustStore, err)
		}
		m.Trusted, m.roots = certs, x509.NewCertPool()
		for _, c := range certs {
			m.roots.AddCert(c)
		}
	}
	return m, nil
}

// Stale says whether a file of the stores is another than the one that was read.
func (m *Material) Stale() bool {
	return slices.ContainsFunc(m.files, func(s fileState) bool { return stateOf(s.path) != s })
}

// Files is the state of the stores' files now, to tell one change from the next.
func (m *Material) Files() string {
	var out []string
	for _, f := range m.files {
		now := stateOf(f.path)
		out = append(out, fmt.Sprintf("%s %d %d", now.path, now.size, now.at.UnixNano()))
	}
	return strings.Join(out, "\n")
}

// read notes the file's state before it is read: what is written meanwhile makes it stale.
func (m *Material) read(path string) ([]byte, error) {
	m.files = append(m.files, stateOf(path))
	data, err := os.ReadFile(path)
	if err != nil {
		var cause *os.PathError
		if errors.As(err, &cause) {
			return nil, cause.Err
		}
		return nil, err
	}
	return data, nil
}

func (m *Material) loadKey(k KeyStore) (*tls.Certificate, error) {
	var (
		key   crypto.PrivateKey
		certs []*x509.Certificate
		err   error
	)
	if strings.EqualFold(k.Type, typePEM) {
		key, certs, err = m.pemKeyStore(k)
	} else {
		var data []byte
		if data, err = m.read(k.Location); err == nil {
			key, certs, err = javaKey(data, k.Password, k.KeyPassword)
		}
	}
	if err != nil {
		return nil, err
	}
	return pair(key, certs)
}

func (m *Material) pemKeyStore(k KeyStore) (crypto.PrivateKey, []*x509.Certificate, error) {
	keyText, chainText := k.Key, k.Chain
	if k.Location != "" {
		data, err := m.read(k.Location)
		if err != nil {
			return nil, nil, err
		}
		if isJKS(data) {
			return nil, nil, errors.New("this is a JKS file, and ssl.keystore.type is PEM: set it to JKS")
		}
		keyText, chainText = string(data), string(data)
	}
	blocks, err := pemBlocks(keyText)
	if err != nil {
		return nil, nil, err
	}
	key, err := pemKey(blocks, k.KeyPassword)
	if err != nil {
		return nil, nil, err
	}
	if blocks, err = pemBlocks(chainText); err != nil {
		return nil, nil, err
	}
	certs, err := pemCertificates(blocks)
	return key, certs, err
}

func (m *Material) loadTrust(t TrustStore) ([]*x509.Certificate, error) {
	text := t.Certificates
	if t.Location != "" {
		data, err := m.read(t.Location)
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(t.Type, typePEM) {
			return javaTrust(data, t.Password)
		}
		text = string(data)
	}
	blocks, err := pemBlocks(text)
	if err != nil {
		return nil, err
	}
	return pemCertificates(blocks)
}

// pair puts a key and its certificates together: the owner's first, then whoever signed the one before.
func pair(key crypto.PrivateKey, certs []*x509.Certificate) (*tls.Certificate, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of the kind %T cannot be used for TLS", key)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in it: the certificate of the key belongs into the store, then those of who signed it")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, fmt.Errorf("a private key of the kind %T cannot be used for TLS", key)
	}
	i := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
	if i < 0 {
		return nil, fmt.Errorf("the private key does not belong to the certificate of %q: key and certificate must come from one request", certs[0].Subject)
	}
	leaf := certs[i]
	out := &tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	rest := slices.Delete(slices.Clone(certs), i, i+1)
	for last := leaf; !bytes.Equal(last.RawIssuer, last.RawSubject); {
		j := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, last.RawIssuer) })
		if j < 0 {
			break
		}
		last = rest[j]
		out.Certificate = append(out.Certificate, last.Raw)
		rest = slices.Delete(rest, j, j+1)
	}
	return out, nil
}

// Expiry is when the first certificate of the chain that is sent ends; ok is false where none is sent.
func (m *Material) Expiry() (at time.Time, ok bool) {
	if m.Certificate == nil {
		return at, false
	}
	for _, raw := range m.Certificate.Certificate {
		if c, err := x509.ParseCertificate(raw); err == nil && (at.IsZero() || c.NotAfter.Before(at)) {
			at = c.NotAfter
		}
	}
	return at, true
}

// Options are the keys that the stores were read by.
func (m *Material) Options() Options { return m.o }
