package conf

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/conf/tlsconf"
)

// listenerPrefix begins the keys of one listener. As in Kafka it is in lower case, whatever the listener's name is.
func listenerPrefix(listener string) string {
	return "listener.name." + strings.ToLower(listener) + "."
}

// listenerValue is a broker key as it is for one listener: the listener's own, or else the broker's.
func (l *Live) listenerValue(listener, name string) Value {
	own := listenerPrefix(listener) + name
	if text, set := l.effective[own]; set {
		if k, ok := Lookup(ScopeBroker, name); ok {
			if v, err := k.parse(text); err == nil {
				return v
			}
		}
	}
	v, _ := l.value(name)
	return v
}

// TLS is what the ssl.* keys say for one listener, and for the connections that this node opens to the same listener of
// others.
func (l *Live) TLS(listener Listener) tlsconf.Options {
	text := func(name string) string { return l.listenerValue(listener.Name, name).str }
	o := tlsconf.Options{
		KeyStore: tlsconf.KeyStore{
			Type: text("ssl.keystore.type"), Location: text("ssl.keystore.location"), Password: text("ssl.keystore.password"),
			KeyPassword: text("ssl.key.password"), Key: text("ssl.keystore.key"), Chain: text("ssl.keystore.certificate.chain"),
		},
		TrustStore: tlsconf.TrustStore{
			Type: text("ssl.truststore.type"), Location: text("ssl.truststore.location"), Password: text("ssl.truststore.password"),
			Certificates: text("ssl.truststore.certificates"),
		},
		ClientAuth: text("ssl.client.auth"), Protocols: l.listenerValue(listener.Name, "ssl.enabled.protocols").list,
		Suites:         l.listenerValue(listener.Name, "ssl.cipher.suites").list,
		CheckHost:      strings.EqualFold(text("ssl.endpoint.identification.algorithm"), "https"),
		AllowDNChanges: l.listenerValue(listener.Name, "ssl.allow.dn.changes").yes, AllowSANChanges: l.listenerValue(listener.Name, "ssl.allow.san.changes").yes,
	}
	if listener.Protocol == "SASL_SSL" && !l.IsSet(listenerPrefix(listener.Name)+"ssl.client.auth") {
		o.ClientAuth = "none" // clients authenticate by SASL; only a key of the listener itself asks for both (KIP-684)
	}
	return o
}

// Encrypted says whether the protocol is TLS, alone or below SASL.
func (l Listener) Encrypted() bool { return l.Protocol == "SSL" || l.Protocol == "SASL_SSL" }

// checkTLS checks the ssl.* keys of every listener in use.
func (b *Broker) checkTLS(l *Live) error {
	var errs []error
	for _, x := range b.TLSListeners() {
		if err := l.TLS(x).Check(); err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", x.Name, err))
		}
	}
	return errors.Join(errs...)
}

// TLSListeners are the encrypted listeners that this node serves, and those that it reaches other nodes on.
func (b *Broker) TLSListeners() []Listener {
	var out []Listener
	for _, x := range slices.Concat(b.Listeners, b.Quorum.Listeners, []Listener{b.Quorum.Peers}) {
		if x.Encrypted() && !slices.ContainsFunc(out, func(o Listener) bool { return o.Name == x.Name }) {
			out = append(out, x)
		}
	}
	return out
}

// InterBroker is the listener that brokers speak to each other on; the zero value where there is none.
func (b *Broker) InterBroker() Listener {
	for _, x := range b.Listeners {
		if x.Name == b.InterBrokerListener {
			return x
		}
	}
	return Listener{}
}

// storeKeys are the keys of a listener that can change while it is open.
var storeKeys = []string{
	"ssl.keystore.type", "ssl.keystore.location", "ssl.keystore.password", "ssl.key.password", "ssl.keystore.key",
	"ssl.keystore.certificate.chain", "ssl.truststore.type", "ssl.truststore.location", "ssl.truststore.password",
	"ssl.truststore.certificates",
}

// NextOwn is the configuration with other dynamic configs of this broker, refused where an open listener cannot take them, as
// Kafka's DynamicListenerConfig does.
func (l *Live) NextOwn(own map[string]string) (*Live, error) {
	next := NewLive(l.static, l.cluster, own)
	b, err := newBroker(next)
	if err != nil {
		return nil, err
	}
	for _, x := range slices.Concat(b.Listeners, b.Quorum.Listeners) {
		if !maps.Equal(l.fixed(x), next.fixed(x)) {
			return nil, fmt.Errorf("Configs cannot be updated dynamically for existing listener %s, restart broker or create a new "+
				"listener for update", x.Name)
		}
	}
	return next, b.checkTLS(next)
}

// fixed are the keys of a listener's TLS that stay as they are while it is open. Of what else Kafka does not change on an open
// listener logstead takes in more, such as the users of SASL PLAIN.
func (l *Live) fixed(x Listener) map[string]string {
	out := map[string]string{}
	prefix := listenerPrefix(x.Name)
	for name, value := range l.effective {
		rest, ok := strings.CutPrefix(name, prefix)
		if ok && strings.HasPrefix(rest, "ssl.") && !slices.Contains(storeKeys, rest) {
			out[rest] = value
		}
	}
	return out
}
