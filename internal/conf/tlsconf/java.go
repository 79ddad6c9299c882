package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"
)

// jksMagic begins a file of the kind JKS. As Java does, the bytes decide and not the type that is set: keytool has made
// PKCS12 files under either name since Java 9.
const jksMagic = 0xFEEDFEED

func isJKS(data []byte) bool { return len(data) >= 4 && binary.BigEndian.Uint32(data) == jksMagic }

// javaKey is the private key of a PKCS12 or JKS store, and the certificates beside it.
func javaKey(data []byte, password, keyPassword string) (crypto.PrivateKey, []*x509.Certificate, error) {
	if !isJKS(data) {
		key, leaf, more, err := pkcs12.DecodeChain(data, password)
		if err != nil {
			return nil, nil, pkcs12Error(err, "ssl.keystore.password")
		}
		return key, append([]*x509.Certificate{leaf}, more...), nil
	}
	store, err := openJKS(data, password, "ssl.keystore.password")
	if err != nil {
		return nil, nil, err
	}
	if keyPassword == "" {
		keyPassword = password
	}
	for _, alias := range store.Aliases() {
		if !store.IsPrivateKeyEntry(alias) {
			continue
		}
		e, err := store.GetPrivateKeyEntry(alias, []byte(keyPassword))
		if err != nil {
			return nil, nil, fmt.Errorf("the key %q cannot be decrypted with ssl.key.password, or ssl.keystore.password where that is not set: %w", alias, err)
		}
		key, err := x509.ParsePKCS8PrivateKey(e.PrivateKey)
		if err != nil {
			return nil, nil, fmt.Errorf("the key %q: %w", alias, err)
		}
		certs, err := certificates(e.CertificateChain)
		return key, certs, err
	}
	return nil, nil, errors.New("no private key in it: a trust store, perhaps; a key store is made with: keytool -genkeypair")
}

// javaTrust are the certificates that a PKCS12 or JKS store trusts. As in Java, those are its trusted entries and the
// owner's certificate of each key.
func javaTrust(data []byte, password string) ([]*x509.Certificate, error) {
	if !isJKS(data) {
		certs, err := pkcs12.DecodeTrustStore(data, password)
		if err == nil {
			return certs, nil
		}
		if _, leaf, _, err := pkcs12.DecodeChain(data, password); err == nil {
			return []*x509.Certificate{leaf}, nil
		}
		return nil, pkcs12Error(err, "ssl.truststore.password")
	}
	store, err := openJKS(data, password, "ssl.truststore.password")
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, alias := range store.Aliases() {
		var chain []keystore.Certificate
		if store.IsPrivateKeyEntry(alias) {
			if chain, err = store.GetPrivateKeyEntryCertificateChain(alias); err == nil && len(chain) > 0 {
				chain = chain[:1]
			}
		} else {
			var e keystore.TrustedCertificateEntry
			e, err = store.GetTrustedCertificateEntry(alias)
			chain = []keystore.Certificate{e.Certificate}
		}
		if err != nil {
			return nil, fmt.Errorf("the entry %q: %w", alias, err)
		}
		certs, err := certificates(chain)
		if err != nil {
			return nil, fmt.Errorf("the entry %q: %w", alias, err)
		}
		out = append(out, certs...)
	}
	return out, nil
}

func openJKS(data []byte, password, key string) (keystore.KeyStore, error) {
	store := keystore.New(keystore.WithOrderedAliases())
	if password == "" {
		return store, fmt.Errorf("%s is not set: a JKS file is read with its password only", key)
	}
	if err := store.Load(bytes.NewReader(data), []byte(password)); err != nil {
		return store, fmt.Errorf("%s is wrong, or the file is damaged: %w", key, err)
	}
	return store, nil
}

func pkcs12Error(err error, key string) error {
	if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return fmt.Errorf("%s is wrong", key)
	}
	return fmt.Errorf("cannot be read as PKCS12: %w; keytool -list -keystore FILE shows what is in it", err)
}

func certificates(chain []keystore.Certificate) (out []*x509.Certificate, err error) {
	for _, c := range chain {
		x, err := x509.ParseCertificate(c.Content)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}
