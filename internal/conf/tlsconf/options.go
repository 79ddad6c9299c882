package tlsconf

import (
	"fmt"
	"strings"
)

// Options are the ssl.* keys of one listener or one client.
type Options struct {
	KeyStore   KeyStore
	TrustStore TrustStore
	ClientAuth string   // ssl.client.auth: none, requested, required
	Protocols  []string // ssl.enabled.protocols
	Suites     []string // ssl.cipher.suites; empty for those of crypto/tls
	// CheckHost is ssl.endpoint.identification.algorithm=https: a client checks the host's name.
	CheckHost bool
	// AllowDNChanges and AllowSANChanges are ssl.allow.dn.changes and ssl.allow.san.changes.
	AllowDNChanges, AllowSANChanges bool
}

// KeyStore are the keys of where a private key and its certificates are. A key and a chain are PEM text in the configuration
// itself, and stand in place of a location.
type KeyStore struct {
	Type, Location, Password, KeyPassword string
	Key, Chain                            string
}

// TrustStore are the keys of where the trusted certificates are.
type TrustStore struct {
	Type, Location, Password string
	Certificates             string
}

// IsSet says whether there is a key store.
func (k KeyStore) IsSet() bool { return k.Location != "" || k.Key != "" || k.Chain != "" }

// IsSet says whether there is a trust store; without one the system's authorities are trusted.
func (t TrustStore) IsSet() bool { return t.Location != "" || t.Certificates != "" }

// String names the place, and nothing that is secret.
func (k KeyStore) String() string {
	return place("ssl.keystore.location", k.Location, "ssl.keystore.key")
}

// String names the place, and nothing that is secret.
func (t TrustStore) String() string {
	return place("ssl.truststore.location", t.Location, "ssl.truststore.certificates")
}

func place(key, location, inline string) string {
	if location == "" {
		return inline
	}
	return key + " " + location
}

// The types of stores.
const (
	typePEM    = "PEM"
	typePKCS12 = "PKCS12"
	typeJKS    = "JKS"
)

func checkType(key, typ string) error {
	switch strings.ToUpper(typ) {
	case typePEM, typePKCS12, typeJKS:
		return nil
	}
	return fmt.Errorf("%s is %s: read are PEM, PKCS12 and JKS; convert the store with: keytool -importkeystore -srckeystore FILE "+
		"-srcstoretype %s -destkeystore store.p12 -deststoretype PKCS12", key, typ, typ)
}

// Check says what is wrong with the keys, without opening a store. The rules are those of Kafka's DefaultSslEngineFactory.
func (o Options) Check() error {
	k, t := o.KeyStore, o.TrustStore
	kPEM, tPEM := strings.EqualFold(k.Type, typePEM), strings.EqualFold(t.Type, typePEM)
	if err := checkType("ssl.keystore.type", k.Type); err != nil {
		return err
	}
	if err := checkType("ssl.truststore.type", t.Type); err != nil {
		return err
	}
	switch inline := k.Key != "" || k.Chain != ""; {
	case inline && !kPEM:
		return fmt.Errorf("ssl.keystore.key and ssl.keystore.certificate.chain hold PEM, and ssl.keystore.type is %s: set it to PEM", k.Type)
	case inline && k.Chain == "":
		return fmt.Errorf("ssl.keystore.key is set and ssl.keystore.certificate.chain is not: a key needs its certificates")
	case inline && k.Key == "":
		return fmt.Errorf("ssl.keystore.certificate.chain is set and ssl.keystore.key is not: certificates need their key")
	case inline && k.Location != "":
		return fmt.Errorf("ssl.keystore.location and ssl.keystore.key are both set: remove one of them")
	case kPEM && k.Password != "":
		return fmt.Errorf("ssl.keystore.password is set and ssl.keystore.type is PEM, which has no password of the store: " +
			"the password of an encrypted key is ssl.key.password")
	case k.Location == "" && !inline && k.Password != "":
		return fmt.Errorf("ssl.keystore.password is set and ssl.keystore.location is not: name the store too")
	case k.Location != "" && !kPEM && k.Password == "":
		return fmt.Errorf("ssl.keystore.location is %s and ssl.keystore.password is not set: a %s store has one", k.Location, k.Type)
	}
	switch inline := t.Certificates != ""; {
	case inline && !tPEM:
		return fmt.Errorf("ssl.truststore.certificates holds PEM, and ssl.truststore.type is %s: set it to PEM", t.Type)
	case inline && t.Location != "":
		return fmt.Errorf("ssl.truststore.location and ssl.truststore.certificates are both set: remove one of them")
	case tPEM && t.Password != "":
		return fmt.Errorf("ssl.truststore.password is set and ssl.truststore.type is PEM, which has no password: remove it")
	case t.Location == "" && !inline && t.Password != "":
		return fmt.Errorf("ssl.truststore.password is set and ssl.truststore.location is not: name the store too")
	}
	_, err := o.versions()
	return err
}
