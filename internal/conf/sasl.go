package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Secret is a text that no message, log line or %v shows.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "***" }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// The SASL mechanisms that are served.
const (
	SASLPlain    = "PLAIN"
	SASLScram256 = "SCRAM-SHA-256"
	SASLScram512 = "SCRAM-SHA-512"
)

var saslMechanisms = []string{SASLPlain, SASLScram256, SASLScram512}

// SASL is what the listeners that speak it ask of their clients, and how this node logs in at others.
type SASL struct {
	Listeners map[string]*SASLListener // by the listener's name; those of controllers too
	// InterBroker and Controller are how this node logs in at brokers and at controllers; nil where their listeners do not
	// ask for it.
	InterBroker, Controller *SASLLogin

	MaxReceiveBytes  int32         // of a request before its client has logged in
	FailedDelay      time.Duration // before a login that failed is answered and its connection closed
	HandshakeTimeout time.Duration // that a login may take; 0 is none
}

// SASLListener is what one listener asks for.
type SASLListener struct {
	Mechanisms []string          // in the order of the configuration
	Users      map[string]Secret // of PLAIN
	MaxReauth  map[string]time.Duration
}

// SASLLogin is how this node logs in.
type SASLLogin struct {
	Mechanism, Username string
	Password            Secret
}

// SpeaksSASL says whether clients of the listener have to log in.
func (l Listener) SpeaksSASL() bool { return strings.HasPrefix(l.Protocol, "SASL_") }

// mechanismValue is a key's value for one mechanism of one listener, and the name it was set by: what is set for the
// mechanism goes before what is set for the listener, and that before what is set for all.
func (l *Live) mechanismValue(listener, mechanism, key string) (v Value, name string) {
	prefix := "listener.name." + strings.ToLower(listener) + "."
	names := []string{prefix + key}
	if mechanism != "" {
		names = []string{prefix + strings.ToLower(mechanism) + "." + key, prefix + key}
	}
	k, _ := Lookup(ScopeBroker, key)
	for _, name := range names {
		if text, ok := l.effective[name]; ok {
			if v, err := k.parse(text); err == nil {
				return v, name
			}
		}
	}
	v, _ = l.value(key)
	return v, key
}

// readSASL finds what the listeners that speak SASL need, and says all that is wrong with it.
func (b *Broker) readSASL(l *Live) error {
	b.SASL = SASL{
		Listeners: map[string]*SASLListener{}, MaxReceiveBytes: l.Int("sasl.server.max.receive.size"),
		FailedDelay:      l.Duration("connection.failed.authentication.delay.ms"),
		HandshakeTimeout: l.Duration("logstead.sasl.handshake.timeout.ms"),
	}
	var errs []error
	for _, x := range append(slices.Clone(b.Listeners), b.Quorum.Listeners...) {
		if !x.SpeaksSASL() {
			continue
		}
		s, err := l.saslListener(x.Name)
		b.SASL.Listeners[x.Name] = s
		errs = append(errs, err)
	}
	if len(b.SASL.Listeners) > 0 {
		errs = append(errs, l.refuseCallbacks())
	}
	return errors.Join(errs...)
}

// saslListener is what one listener asks for.
func (l *Live) saslListener(name string) (*SASLListener, error) {
	v, key := l.mechanismValue(name, "", "sasl.enabled.mechanisms")
	s := &SASLListener{Mechanisms: v.list, MaxReauth: map[string]time.Duration{}}
	if len(s.Mechanisms) == 0 {
		return s, fmt.Errorf("%s is empty, and listener %s speaks SASL: name some of %s", key, name, servedMechanisms())
	}
	var errs []error
	for _, m := range s.Mechanisms {
		if err := checkMechanism(key, v.String(), m); err != nil {
			errs = append(errs, fmt.Errorf("%w (listener %s)", err, name))
			continue
		}
		reauth, _ := l.mechanismValue(name, m, "connections.max.reauth.ms")
		s.MaxReauth[m] = max(duration(reauth.num, 1), 0)
		if m != SASLPlain {
			continue
		}
		module, jaas, err := l.loginModule(name, m)
		switch {
		case err != nil:
			errs = append(errs, err)
		case module == nil:
			errs = append(errs, fmt.Errorf("listener %s: %s names PLAIN, and nobody may log in by it: set %s to %s required "+
				"user_NAME=\"PASSWORD\";", name, key, jaas, moduleClasses[m]))
		default:
			s.Users = plainUsers(module)
		}
	}
	return s, errors.Join(errs...)
}

func servedMechanisms() string { return strings.Join(saslMechanisms, ", ") }

// checkMechanism refuses a mechanism of Kafka's that is not served here, and any other word.
func checkMechanism(key, value, mechanism string) error {
	if slices.Contains(saslMechanisms, mechanism) {
		return nil
	}
	return fmt.Errorf("%s is %s: %s is not served; served are %s", key, value, mechanism, servedMechanisms())
}

// moduleClasses are the login modules of Kafka's by mechanism.
var moduleClasses = map[string]string{
	SASLPlain:    "org.apache.kafka.common.security.plain.PlainLoginModule",
	SASLScram256: "org.apache.kafka.common.security.scram.ScramLoginModule",
	SASLScram512: "org.apache.kafka.common.security.scram.ScramLoginModule",
}

// loginModule is the JAAS entry of a mechanism on a listener, nil for none, and the key that it is or would be set by.
func (l *Live) loginModule(listener, mechanism string) (*LoginModule, string, error) {
	own := "listener.name." + strings.ToLower(listener) + "." + strings.ToLower(mechanism) + ".sasl.jaas.config"
	v, key := l.mechanismValue(listener, mechanism, "sasl.jaas.config")
	if v.str == "" {
		return nil, own, nil
	}
	entries, err := ParseJAAS(v.str)
	if err != nil {
		return nil, key, fmt.Errorf("%s: %w", key, err)
	}
	class := moduleClasses[mechanism]
	if key == own && (len(entries) != 1 || entries[0].Class != class) {
		return nil, key, fmt.Errorf("%s: want one entry, of %s; it has %d, the first of %s", key, class, len(entries), entries[0].Class)
	}
	// A text that is not for one mechanism may hold the entries of several.
	for i := range entries {
		if entries[i].Class == class {
			return &entries[i], key, nil
		}
	}
	return nil, own, nil
}

// plainUsers are the user_NAME options.
func plainUsers(m *LoginModule) map[string]Secret {
	users := map[string]Secret{}
	for option, value := range m.Options {
		if name, ok := strings.CutPrefix(option, "user_"); ok {
			users[name] = Secret(value)
		}
	}
	return users
}

// refuseCallbacks stops a start where a Java class is to decide about logins: without it others would be let in.
func (l *Live) refuseCallbacks() error {
	for _, name := range slices.Sorted(maps.Keys(l.effective)) {
		k, _ := lookupBroker(name)
		if k == nil {
			continue
		}
		switch k.Name {
		case "sasl.server.callback.handler.class", "sasl.client.callback.handler.class", "sasl.login.callback.handler.class",
			"sasl.login.class":
			return fmt.Errorf("%s is %s, and Java classes do not run here: remove the key", name, l.effective[name])
		}
	}
	return nil
}

// readLogins finds how this node logs in at brokers and controllers. It is called once roles, listeners and the
// listener between brokers are known.
func (b *Broker) readLogins(l *Live) error {
	if b.Roles.Controller && b.Quorum.Alone(b.NodeID) {
		return nil // there is nobody to log in at
	}
	var errs []error
	for _, x := range b.Listeners {
		if x.Name == b.InterBrokerListener && x.SpeaksSASL() {
			login, err := l.login(x.Name, "sasl.mechanism.inter.broker.protocol")
			b.SASL.InterBroker = login
			if s := b.SASL.Listeners[x.Name]; err == nil && !slices.Contains(s.Mechanisms, login.Mechanism) {
				err = fmt.Errorf("sasl.mechanism.inter.broker.protocol is %s, which sasl.enabled.mechanisms of listener %s "+
					"(%s) does not name: add it there", login.Mechanism, x.Name, strings.Join(s.Mechanisms, ","))
			}
			errs = append(errs, err)
		}
	}
	if b.Quorum.Peers.SpeaksSASL() {
		login, err := l.login(b.Quorum.Peers.Name, "sasl.mechanism.controller.protocol")
		b.SASL.Controller = login
		if err == nil && login.Mechanism != SASLPlain && b.Roles.Controller && max(len(b.Quorum.Voters), len(b.Quorum.BootstrapServers)) > 1 {
			err = fmt.Errorf("sasl.mechanism.controller.protocol is %s: controllers keep SCRAM credentials in the metadata, which "+
				"they can agree on only once they have logged in at each other; use PLAIN", login.Mechanism)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// login is how this node logs in at a listener of others.
func (l *Live) login(listener, mechanismKey string) (*SASLLogin, error) {
	mechanism := l.String(mechanismKey)
	if err := checkMechanism(mechanismKey, mechanism, mechanism); err != nil {
		return nil, fmt.Errorf("%w (listener %s)", err, listener)
	}
	module, key, err := l.loginModule(listener, mechanism)
	if err != nil {
		return nil, err
	}
	if module == nil || module.Options["username"] == "" || module.Options["password"] == "" {
		return nil, fmt.Errorf("%s is %s, and nothing says who this node is: set %s to %s required username=\"NAME\" "+
			"password=\"PASSWORD\";", mechanismKey, mechanism, key, moduleClasses[mechanism])
	}
	return &SASLLogin{mechanism, module.Options["username"], Secret(module.Options["password"])}, nil
}
