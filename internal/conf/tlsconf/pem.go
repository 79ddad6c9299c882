package tlsconf

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/youmark/pkcs8"
)

// pemBlock takes what a properties file makes of PEM too: one long line, in which blanks stand for the ends of lines.
var pemBlock = regexp.MustCompile(`(?s)-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END ([A-Z0-9 ]+)-----`)

type block struct {
	kind string
	der  []byte
}

func pemBlocks(text string) ([]block, error) {
	var out []block
	for i, m := range pemBlock.FindAllStringSubmatch(text, -1) {
		if m[1] != m[3] {
			return nil, fmt.Errorf("PEM block %d begins as %s and ends as %s", i+1, m[1], m[3])
		}
		if strings.Contains(m[2], "ENCRYPTED") {
			return nil, errors.New("the key is encrypted in the old way of PEM: convert it with: openssl pkcs8 -topk8 -in key.pem -out key8.pem")
		}
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(m[2]), ""))
		if err != nil {
			return nil, fmt.Errorf("PEM block %d (%s) is not base64: it was cut or changed", i+1, m[1])
		}
		out = append(out, block{m[1], der})
	}
	return out, nil
}

func pemCertificates(blocks []block) (certs []*x509.Certificate, err error) {
	for _, b := range blocks {
		if b.kind != "CERTIFICATE" && b.kind != "TRUSTED CERTIFICATE" && b.kind != "X509 CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// pemKey is the private key among the blocks.
func pemKey(blocks []block, password string) (crypto.PrivateKey, error) {
	var keys []block
	for _, b := range blocks {
		if strings.HasSuffix(b.kind, "PRIVATE KEY") {
			keys = append(keys, b)
		}
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("%d private keys in it, expected is one (-----BEGIN PRIVATE KEY-----)", len(keys))
	}
	switch b := keys[0]; b.kind {
	case "ENCRYPTED PRIVATE KEY":
		if password == "" {
			return nil, errors.New("the private key is encrypted: set ssl.key.password")
		}
		key, err := pkcs8.ParsePKCS8PrivateKey(b.der, []byte(password))
		if err != nil {
			return nil, fmt.Errorf("the private key cannot be decrypted with ssl.key.password: %w", err)
		}
		return key, nil
	case "PRIVATE KEY":
		return parsed(x509.ParsePKCS8PrivateKey(b.der))
	case "RSA PRIVATE KEY":
		return parsed(x509.ParsePKCS1PrivateKey(b.der))
	case "EC PRIVATE KEY":
		return parsed(x509.ParseECPrivateKey(b.der))
	default:
		return nil, fmt.Errorf("a key of the kind %s cannot be read: convert it with: openssl pkcs8 -topk8 -nocrypt -in key.pem -out key8.pem", b.kind)
	}
}

func parsed[K crypto.PrivateKey](key K, err error) (crypto.PrivateKey, error) {
	if err != nil {
		return nil, fmt.Errorf("the private key: %w", err)
	}
	return key, nil
}
