package node

import (
	"context"
	"maps"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/obs"
)

// gate is where clients of a listener log in, nil where they need not.
func (n *Node) gate(cfg *conf.Broker, l conf.Listener) *auth.Gate {
	if !l.SpeaksSASL() {
		return nil
	}
	if n.gates == nil {
		n.gates = map[string]*auth.Gate{}
		n.scrams = map[string]*auth.Scram{}
		for _, name := range []string{auth.Scram256Name, auth.Scram512Name} {
			n.scrams[name] = auth.NewScram(name, n.image)
		}
	}
	g := auth.NewGate(n.gateSettings(&cfg.SASL, l.Name))
	n.gates[l.Name] = g
	return g
}

// setGates takes in what the configuration says of logins now. Who is in stays in.
func (n *Node) setGates(cfg *conf.Broker) {
	for name, g := range n.gates {
		g.Set(n.gateSettings(&cfg.SASL, name))
	}
}

func (n *Node) gateSettings(cfg *conf.SASL, listener string) *auth.Settings {
	l := cfg.Listeners[listener]
	s := &auth.Settings{
		MaxReauth: l.MaxReauth, FailedDelay: cfg.FailedDelay, MaxReceiveBytes: int(cfg.MaxReceiveBytes),
		HandshakeTimeout: cfg.HandshakeTimeout,
	}
	for _, name := range l.Mechanisms {
		if name != auth.PlainName {
			s.Mechanisms = append(s.Mechanisms, n.scrams[name])
			continue
		}
		users := make(map[string]string, len(l.Users))
		for user, password := range l.Users {
			users[user] = string(password)
		}
		s.Mechanisms = append(s.Mechanisms, auth.NewPlain(users))
	}
	return s
}

// perGate writes one counter of every listener that asks for a login.
func perGate(get func(*auth.Counts) int64) func(*Node, *view, *obs.Exposition) {
	return func(n *Node, _ *view, e *obs.Exposition) {
		for _, name := range slices.Sorted(maps.Keys(n.gates)) {
			counts := n.gates[name].Counts()
			e.Int(get(&counts), "listener", name)
		}
	}
}

// protocolOf is the number of a listener's security protocol.
func (n *Node) protocolOf(listener string) int16 {
	b := n.live.Load().broker
	for _, l := range slices.Concat(b.Listeners, b.Quorum.Listeners) {
		if l.Name == listener {
			return meta.SecurityProtocol(l.Protocol)
		}
	}
	return 0
}

// dialBroker opens a connection to the brokers' listener of another broker, and logs in where that asks for it.
func (n *Node) dialBroker(ctx context.Context, address string) (net.Conn, error) {
	b := n.live.Load().broker
	return peer.LoggedIn(n.dialer(b.InterBroker()), mechanismOf(b.SASL.InterBroker))(ctx, address)
}

// dialController opens a connection to a controller's listener, and logs in where that asks for it.
func (n *Node) dialController(ctx context.Context, address string) (net.Conn, error) {
	b := n.live.Load().broker
	return peer.LoggedIn(n.dialer(b.Quorum.Peers), mechanismOf(b.SASL.Controller))(ctx, address)
}

// mechanismOf is the client's side of a login, nil for none.
func mechanismOf(l *conf.SASLLogin) sasl.Mechanism {
	switch {
	case l == nil:
		return nil
	case l.Mechanism == auth.PlainName:
		return plain.Auth{User: l.Username, Pass: string(l.Password)}.AsMechanism()
	case l.Mechanism == auth.Scram256Name:
		return scram.Auth{User: l.Username, Pass: string(l.Password)}.AsSha256Mechanism()
	}
	return scram.Auth{User: l.Username, Pass: string(l.Password)}.AsSha512Mechanism()
}
