package cli

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/magiconair/properties"
)

// clientProps are the client settings that -X and -F can give, by their librdkafka and Java names.
type clientProps struct {
	bootstrap      []string
	clientID       string
	rack           string
	protocol       string // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL or empty
	sasl           saslProps
	tls            tlsProps
	requestTimeout time.Duration

	acks        string
	linger      time.Duration
	batchBytes  int64
	compression string
	idempotence *bool
	txnID       string

	group         string
	offsetReset   string
	isolation     string
	fetchMinBytes int64
	fetchMaxBytes int64
	fetchMaxWait  time.Duration
	partitionMax  int64
}

type saslProps struct{ mechanism, username, password string }

// tlsProps name files, in PEM or of Java's key stores, or hold PEM text where a property carries it inline.
type tlsProps struct {
	caFile, certFile, keyFile string
	caPEM, certPEM, keyPEM    string
	caSecret, certSecret      string // passwords of Java's stores
	keySecret                 string // password of the private key
	insecure                  bool   // no verification at all
	anyName                   bool   // chain verified, host name not
	serverName                string
}

type propSetter func(p *clientProps, value string) error

// propTable maps a property name to what it sets. Where librdkafka and the Java client differ in the
// name, both are listed.
var propTable = map[string]propSetter{
	"bootstrap.servers":    func(p *clientProps, v string) error { p.bootstrap = splitList(v); return nil },
	"metadata.broker.list": func(p *clientProps, v string) error { p.bootstrap = splitList(v); return nil },
	"client.id":            strProp(func(p *clientProps) *string { return &p.clientID }),
	"client.rack":          strProp(func(p *clientProps) *string { return &p.rack }),
	"security.protocol":    setProtocol,
	"sasl.mechanism":       strProp(func(p *clientProps) *string { return &p.sasl.mechanism }),
	"sasl.mechanisms":      strProp(func(p *clientProps) *string { return &p.sasl.mechanism }),
	"sasl.username":        strProp(func(p *clientProps) *string { return &p.sasl.username }),
	"sasl.password":        strProp(func(p *clientProps) *string { return &p.sasl.password }),
	"sasl.jaas.config":     setJAAS,

	"ssl.ca.location":                       strProp(func(p *clientProps) *string { return &p.tls.caFile }),
	"ssl.truststore.location":               strProp(func(p *clientProps) *string { return &p.tls.caFile }),
	"ssl.truststore.certificates":           strProp(func(p *clientProps) *string { return &p.tls.caPEM }),
	"ssl.ca.pem":                            strProp(func(p *clientProps) *string { return &p.tls.caPEM }),
	"ssl.truststore.type":                   setStoreType,
	"ssl.truststore.password":               strProp(func(p *clientProps) *string { return &p.tls.caSecret }),
	"ssl.certificate.location":              strProp(func(p *clientProps) *string { return &p.tls.certFile }),
	"ssl.keystore.location":                 strProp(func(p *clientProps) *string { return &p.tls.certFile }),
	"ssl.certificate.pem":                   strProp(func(p *clientProps) *string { return &p.tls.certPEM }),
	"ssl.keystore.certificate.chain":        strProp(func(p *clientProps) *string { return &p.tls.certPEM }),
	"ssl.keystore.type":                     setStoreType,
	"ssl.keystore.password":                 strProp(func(p *clientProps) *string { return &p.tls.certSecret }),
	"ssl.key.password":                      strProp(func(p *clientProps) *string { return &p.tls.keySecret }),
	"ssl.key.location":                      strProp(func(p *clientProps) *string { return &p.tls.keyFile }),
	"ssl.key.pem":                           strProp(func(p *clientProps) *string { return &p.tls.keyPEM }),
	"ssl.keystore.key":                      strProp(func(p *clientProps) *string { return &p.tls.keyPEM }),
	"ssl.endpoint.identification.algorithm": setEndpointID,
	"enable.ssl.certificate.verification":   setVerification,

	"request.timeout.ms": msProp(func(p *clientProps) *time.Duration { return &p.requestTimeout }),
	"socket.timeout.ms":  msProp(func(p *clientProps) *time.Duration { return &p.requestTimeout }),

	"acks":                   strProp(func(p *clientProps) *string { return &p.acks }),
	"request.required.acks":  strProp(func(p *clientProps) *string { return &p.acks }),
	"linger.ms":              msProp(func(p *clientProps) *time.Duration { return &p.linger }),
	"queue.buffering.max.ms": msProp(func(p *clientProps) *time.Duration { return &p.linger }),
	"batch.size":             bytesProp(func(p *clientProps) *int64 { return &p.batchBytes }),
	"compression.type":       strProp(func(p *clientProps) *string { return &p.compression }),
	"compression.codec":      strProp(func(p *clientProps) *string { return &p.compression }),
	"enable.idempotence":     setIdempotence,
	"transactional.id":       strProp(func(p *clientProps) *string { return &p.txnID }),

	"group.id":                  strProp(func(p *clientProps) *string { return &p.group }),
	"auto.offset.reset":         setOffsetReset,
	"isolation.level":           setIsolation,
	"fetch.min.bytes":           bytesProp(func(p *clientProps) *int64 { return &p.fetchMinBytes }),
	"fetch.max.bytes":           bytesProp(func(p *clientProps) *int64 { return &p.fetchMaxBytes }),
	"fetch.max.wait.ms":         msProp(func(p *clientProps) *time.Duration { return &p.fetchMaxWait }),
	"fetch.wait.max.ms":         msProp(func(p *clientProps) *time.Duration { return &p.fetchMaxWait }),
	"max.partition.fetch.bytes": bytesProp(func(p *clientProps) *int64 { return &p.partitionMax }),
	"fetch.message.max.bytes":   bytesProp(func(p *clientProps) *int64 { return &p.partitionMax }),
}

// set applies one property; an unknown name is an error that lists the nearest ones.
func (p *clientProps) set(name, value string) error {
	fn, ok := propTable[name]
	if !ok {
		f := usagef("client property %q is not known", name)
		f.Similar = similar(name, propNames())
		return f.try("logstead help properties")
	}
	if err := fn(p, strings.TrimSpace(value)); err != nil {
		return usagef("client property %s=%s: %v", name, hideSecret(name, value), err)
	}
	return nil
}

func propNames() []string {
	names := make([]string, 0, len(propTable))
	for n := range propTable {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func hideSecret(name, value string) string {
	if strings.Contains(name, "password") || strings.Contains(name, "jaas") || strings.Contains(name, "key") {
		return "***"
	}
	return value
}

// loadFile reads a Java properties file. Properties that concern only Java clients are returned, not
// refused: the file is often shared with them.
func (p *clientProps) loadFile(path string) (ignored []string, err error) {
	props, err := readProperties(path)
	if err != nil {
		return nil, usagef("cannot read the client properties file %s: %v", path, err)
	}
	for _, name := range props.Keys() {
		if _, ok := propTable[name]; !ok {
			ignored = append(ignored, name)
			continue
		}
		if err := p.set(name, props.GetString(name, "")); err != nil {
			return nil, err
		}
	}
	return ignored, nil
}

func readProperties(path string) (*properties.Properties, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// No expansion: a password may well hold "${".
	return (&properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}).LoadBytes(b)
}

func strProp(field func(*clientProps) *string) propSetter {
	return func(p *clientProps, v string) error { *field(p) = v; return nil }
}

func msProp(field func(*clientProps) *time.Duration) propSetter {
	return func(p *clientProps, v string) error {
		ms, err := strconv.ParseFloat(v, 64)
		if err != nil || ms < 0 || ms > 1e12 {
			return fmt.Errorf("want a number of milliseconds")
		}
		*field(p) = time.Duration(ms * float64(time.Millisecond))
		return nil
	}
}

func bytesProp(field func(*clientProps) *int64) propSetter {
	return func(p *clientProps, v string) error {
		n, err := parseBytes(v)
		if err != nil {
			return err
		}
		if n > 1<<30 {
			return fmt.Errorf("want at most 1GiB")
		}
		*field(p) = n
		return nil
	}
}

func setProtocol(p *clientProps, v string) error {
	switch u := strings.ToUpper(v); u {
	case "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL":
		p.protocol = u
		return nil
	}
	return fmt.Errorf("want PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
}

func setIdempotence(p *clientProps, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("want true or false")
	}
	p.idempotence = &b
	return nil
}

func setOffsetReset(p *clientProps, v string) error {
	switch v {
	case "earliest", "smallest", "beginning", "start":
		p.offsetReset = "start"
	case "latest", "largest", "end":
		p.offsetReset = "end"
	default:
		return fmt.Errorf("want earliest or latest")
	}
	return nil
}

func setIsolation(p *clientProps, v string) error {
	if v != "read_committed" && v != "read_uncommitted" {
		return fmt.Errorf("want read_committed or read_uncommitted")
	}
	p.isolation = v
	return nil
}

func setEndpointID(p *clientProps, v string) error {
	switch strings.ToLower(v) {
	case "https":
		p.tls.anyName = false
	case "", "none":
		p.tls.anyName = true
	default:
		return fmt.Errorf("want https or nothing")
	}
	return nil
}

func setVerification(p *clientProps, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("want true or false")
	}
	p.tls.insecure = !b
	return nil
}

// setStoreType takes the types that can be read. Which of them a file is, its first bytes say.
func setStoreType(_ *clientProps, v string) error {
	switch strings.ToUpper(v) {
	case "PEM", "JKS", "PKCS12":
		return nil
	}
	return fmt.Errorf("want PEM, PKCS12 or JKS; convert the store with: keytool -importkeystore")
}

// setJAAS takes username and password out of a Java login module line.
func setJAAS(p *clientProps, v string) error {
	user, okUser := jaasValue(v, "username")
	pass, okPass := jaasValue(v, "password")
	if !okUser || !okPass {
		return fmt.Errorf("want a login module with username=\"…\" and password=\"…\"")
	}
	p.sasl.username, p.sasl.password = user, pass
	if p.sasl.mechanism == "" && strings.Contains(v, "ScramLoginModule") {
		p.sasl.mechanism = "SCRAM-SHA-256"
	}
	return nil
}

func jaasValue(s, key string) (string, bool) {
	_, rest, ok := strings.Cut(s, key+"=")
	if !ok {
		return "", false
	}
	quote := byte(0)
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		quote, rest = rest[0], rest[1:]
	}
	if quote != 0 {
		val, _, ok := strings.Cut(rest, string(quote))
		return val, ok
	}
	end := strings.IndexAny(rest, " ;\t")
	if end < 0 {
		end = len(rest)
	}
	return rest[:end], end > 0
}

// splitList splits at commas and drops blanks and empty items.
func splitList(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// splitPair cuts "name=value".
func splitPair(s string) (name, value string, err error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return "", "", fmt.Errorf("%q: want name=value", s)
	}
	return strings.TrimSpace(name), value, nil
}

// firstLine reads a one-line secret from a file.
func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if line == "" && err != nil {
		return "", fmt.Errorf("%s is empty", path)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
