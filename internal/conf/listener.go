package conf

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Listener is an address with a name and the security protocol spoken there.
type Listener struct {
	Name     string // upper case
	Protocol string // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
	Host     string // empty for every address
	Port     int32  // 0 for any free one
}

// Address is host:port, as net.Listen takes it.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }

// String is the listener as `listeners` writes it.
func (l Listener) String() string { return l.Name + "://" + l.Address() }

var (
	listenerURI = regexp.MustCompile(`^([^:/]+)://(\[[^\]]*\]|[^\[\]:/]*):(-?[0-9]+)$`)
	protocols   = map[string]bool{"PLAINTEXT": true, "SSL": true, "SASL_PLAINTEXT": true, "SASL_SSL": true}
)

// parseListener reads NAME://host:port. An IPv6 address stands in brackets.
func parseListener(s string, protocolOf map[string]string) (Listener, error) {
	m := listenerURI.FindStringSubmatch(s)
	if m == nil {
		return Listener{}, fmt.Errorf("%q is not NAME://host:port", s)
	}
	port, err := strconv.ParseUint(m[3], 10, 16)
	if err != nil {
		return Listener{}, fmt.Errorf("%q: port %s is not within 0 and 65535", s, m[3])
	}
	l := Listener{Name: strings.ToUpper(m[1]), Host: strings.Trim(m[2], "[]"), Port: int32(port)}
	l.Protocol = protocolOf[l.Name]
	if l.Protocol == "" {
		return l, fmt.Errorf("listener %s has no security protocol: add %s:PLAINTEXT to listener.security.protocol.map",
			l.Name, l.Name)
	}
	return l, nil
}

// parseProtocolMap reads NAME:PROTOCOL,...
func parseProtocolMap(text string) (map[string]string, error) {
	m := map[string]string{}
	for _, entry := range splitList(text) {
		name, protocol, ok := strings.Cut(entry, ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || !protocols[protocol] {
			return nil, fmt.Errorf("%q is not NAME:PROTOCOL with one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", entry)
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("listener %s appears twice", name)
		}
		m[name] = protocol
	}
	return m, nil
}

// protocolMap is the security protocol of each listener name. Where the map is not set by hand, and no listener has the name of
// another protocol than PLAINTEXT, those of the controllers speak PLAINTEXT, as with Kafka.
func (b *Broker) protocolMap(l *Live) (map[string]string, error) {
	const key = "listener.security.protocol.map"
	m, err := parseProtocolMap(l.String(key))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	names, why := b.Quorum.ListenerNames, key+" is set"
	if !l.IsSet(key) {
		all := slices.Clone(names)
		for _, s := range l.List("listeners") {
			name, _, _ := strings.Cut(s, "://")
			all = append(all, strings.ToUpper(name))
		}
		other := slices.IndexFunc(all, func(name string) bool { return name != "PLAINTEXT" && protocols[name] })
		if other < 0 {
			for _, name := range names {
				m[name] = "PLAINTEXT"
			}
			return m, nil
		}
		why = "a listener speaks " + all[other]
	}
	if !l.IsSet("controller.listener.names") {
		return m, nil // a node alone needs no listener of that name; one that is there is looked up
	}
	for _, name := range names {
		if m[name] == "" {
			return nil, fmt.Errorf("controller.listener.names: %s has no security protocol: as %s, each listener of the controllers must "+
				"be in %s; add %s:PLAINTEXT, or what they speak there", name, why, key, name)
		}
	}
	return m, nil
}

func splitHostPort(s string) (string, int32, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q: port %s is not within 0 and 65535", s, port)
	}
	return host, int32(n), nil
}
