package conf

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Roles are what this process does (process.roles).
type Roles struct{ Broker, Controller bool }

// String is the value of process.roles.
func (r Roles) String() string {
	switch {
	case r.Broker && r.Controller:
		return "broker,controller"
	case r.Controller:
		return "controller"
	default:
		return "broker"
	}
}

// Voter is one member of a static metadata quorum.
type Voter struct {
	ID   int32
	Host string
	Port int32
}

// Address is host:port.
func (v Voter) Address() string { return net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port))) }

// Quorum is how the controllers of the cluster are found and reached.
type Quorum struct {
	// Voters are those of controller.quorum.voters: a static quorum. Empty for a dynamic one.
	Voters []Voter
	// BootstrapServers are host:port of controllers of a dynamic quorum.
	BootstrapServers []string
	// ListenerNames are controller.listener.names, upper case; the first is the one that other nodes
	// are reached on.
	ListenerNames []string
	// Peers is the first of those names, with its security protocol: how the controllers are spoken to.
	Peers Listener
	// Listeners are the listeners of this node's controller, Advertised what is set for them.
	Listeners, Advertised []Listener
}

// Alone says that no other controller is named: this node is a quorum of one.
func (q *Quorum) Alone(nodeID int32) bool {
	return len(q.BootstrapServers) == 0 &&
		!slices.ContainsFunc(q.Voters, func(v Voter) bool { return v.ID != nodeID })
}

// IsListener says whether a listener belongs to the controller.
func (q *Quorum) IsListener(name string) bool {
	return slices.ContainsFunc(q.ListenerNames, func(n string) bool { return strings.EqualFold(n, name) })
}

func (b *Broker) readRoles(l *Live) error {
	for _, role := range l.List("process.roles") {
		switch role {
		case "broker":
			b.Roles.Broker = true
		case "controller":
			b.Roles.Controller = true
		}
	}
	b.Quorum.BootstrapServers = l.List("controller.quorum.bootstrap.servers")
	for _, name := range l.List("controller.listener.names") {
		b.Quorum.ListenerNames = append(b.Quorum.ListenerNames, strings.ToUpper(name))
	}
	if !l.IsSet("controller.listener.names") {
		b.Quorum.ListenerNames = []string{"CONTROLLER"}
	}
	for _, s := range l.List("controller.quorum.voters") {
		id, address, _ := strings.Cut(s, "@") // the key's own rule has seen to the form
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil {
			return fmt.Errorf("controller.quorum.voters: %q: the id is no node id", s)
		}
		host, port, err := splitHostPort(address)
		if err != nil {
			return fmt.Errorf("controller.quorum.voters: %w", err)
		}
		for _, v := range b.Quorum.Voters {
			if v.ID == int32(n) {
				return fmt.Errorf("controller.quorum.voters names node %d twice", n)
			}
		}
		b.Quorum.Voters = append(b.Quorum.Voters, Voter{int32(n), host, port})
	}
	return nil
}

// checkQuorum holds the roles against the listeners and the quorum, as Kafka does.
func (b *Broker) checkQuorum(l *Live) error {
	voter := slices.ContainsFunc(b.Quorum.Voters, func(v Voter) bool { return v.ID == b.NodeID })
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case b.Roles.Controller && len(b.Quorum.Voters) > 0 && !voter:
		bad("process.roles is %s, but controller.quorum.voters (%s) does not name node.id %d: a controller must be one of "+
			"the voters", b.Roles, strings.Join(l.List("controller.quorum.voters"), ","), b.NodeID)
	case !b.Roles.Controller && voter:
		bad("process.roles is broker, but controller.quorum.voters names node.id %d: add the controller role or take "+
			"the node out of the voters", b.NodeID)
	case !b.Roles.Controller && len(b.Quorum.Voters) == 0 && len(b.Quorum.BootstrapServers) == 0:
		bad("process.roles is broker: set controller.quorum.bootstrap.servers or controller.quorum.voters to where the " +
			"controllers are")
	}
	if !b.Roles.Controller {
		if !l.IsSet("controller.listener.names") {
			bad("process.roles is broker: controller.listener.names must name the listener of the controllers")
		}
		for _, x := range b.Quorum.Listeners {
			bad("listeners: %s belongs to the controller, which process.roles=broker does not run", x)
		}
	}
	if b.Roles.Controller && len(b.Quorum.Listeners) == 0 && !(b.Roles.Broker && b.Quorum.Alone(b.NodeID)) {
		bad("process.roles is %s: controller.listener.names (%s) must name one of the listeners", b.Roles,
			strings.Join(b.Quorum.ListenerNames, ","))
	}
	if !b.Roles.Broker {
		for _, x := range b.Listeners {
			// The default value of listeners is no listener that somebody asked for.
			if l.IsSet("listeners") {
				bad("listeners: %s is none of controller.listener.names, which is all that process.roles=controller serves", x)
			}
		}
	}
	return errors.Join(append(errs, b.checkInterBroker(l))...)
}

// checkInterBroker finds the listener that brokers speak to each other on.
func (b *Broker) checkInterBroker(l *Live) error {
	if !b.Roles.Broker || len(b.Listeners) == 0 {
		return nil
	}
	if b.InterBrokerListener == "" {
		protocol := l.String("security.inter.broker.protocol")
		for _, x := range b.Listeners {
			if x.Name == protocol {
				b.InterBrokerListener = x.Name
				return nil
			}
		}
		if b.Roles.Controller && b.Quorum.Alone(b.NodeID) {
			b.InterBrokerListener = b.Listeners[0].Name // nobody else is there to speak to
			return nil
		}
		return fmt.Errorf("security.inter.broker.protocol is %s, and no listener has that name: set "+
			"inter.broker.listener.name to one of the listeners", protocol)
	}
	b.InterBrokerListener = strings.ToUpper(b.InterBrokerListener)
	if b.Quorum.IsListener(b.InterBrokerListener) {
		return fmt.Errorf("inter.broker.listener.name is %s, which belongs to the controller", b.InterBrokerListener)
	}
	var names []string
	for _, x := range b.Listeners {
		names = append(names, x.Name)
	}
	if !slices.Contains(names, b.InterBrokerListener) {
		return fmt.Errorf("inter.broker.listener.name is %s: it must be one of the listeners (%s)", b.InterBrokerListener,
			strings.Join(names, ","))
	}
	return nil
}
