package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/conf"
)

// freePortTries is how many ports after the wanted one are tried.
const freePortTries = 100

// openListeners opens every listener, for clients and for the controllers. They accept from then on, into the backlog: a
// client that comes during recovery waits instead of being refused.
func (n *Node) openListeners(cfg *conf.Broker) error {
	for _, l := range cfg.Listeners {
		nl, err := n.listen("listeners", l.Host, l.Port)
		if err != nil {
			return err
		}
		n.listeners = append(n.listeners, server.Listener{Name: l.Name, TLS: n.serverTLS(l), Gate: n.gate(cfg, l), Listener: nl})
	}
	for _, l := range cfg.Quorum.Listeners {
		nl, err := n.listen("listeners", l.Host, l.Port)
		if err != nil {
			return err
		}
		n.controllerListeners = append(n.controllerListeners, server.Listener{
			Name: l.Name, Controller: true, TLS: n.serverTLS(l), Gate: n.gate(cfg, l), Listener: nl,
		})
	}
	return nil
}

func (n *Node) openHTTP(cfg *conf.Broker) error {
	for _, addr := range cfg.HTTPListeners {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("logstead.http.listeners: %q is not host:port", addr)
		}
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return fmt.Errorf("logstead.http.listeners: %q: port %q is not a number up to 65535", addr, port)
		}
		nl, err := n.listen("logstead.http.listeners", host, int32(p))
		if err != nil {
			return err
		}
		n.httpListeners = append(n.httpListeners, nl)
	}
	return nil
}

// listen opens one address. A port that is taken is an error that says so, or with NextFreePort
// the next free one and a note.
func (n *Node) listen(key, host string, port int32) (net.Listener, error) {
	for try := int32(0); ; try++ {
		addr := net.JoinHostPort(host, strconv.Itoa(int(port+try)))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			if try > 0 {
				n.notes = append(n.notes, fmt.Sprintf("port %d is taken, using %d", port, port+try))
			}
			return l, nil
		}
		busy := errors.Is(err, syscall.EADDRINUSE)
		if busy && n.o.NextFreePort && port > 0 && try < freePortTries && port+try < 65535 {
			continue
		}
		return nil, listenError(key, addr, err, busy)
	}
}

// ListenError is an address that could not be opened.
type ListenError struct {
	Key, Address string
	Busy         bool
	err          error
}

func listenError(key, addr string, err error, busy bool) error {
	return &ListenError{Key: key, Address: addr, Busy: busy, err: err}
}

func (e *ListenError) Error() string {
	switch {
	case e.Busy:
		return fmt.Sprintf("cannot listen on %s (%s): another process has the port; stop it or set another port",
			e.Address, e.Key)
	case errors.Is(e.err, os.ErrPermission):
		return fmt.Sprintf("cannot listen on %s (%s): not permitted; ports below 1024 need rights", e.Address, e.Key)
	}
	return fmt.Sprintf("cannot listen on %s (%s): %v", e.Address, e.Key, e.err)
}

func (e *ListenError) Unwrap() error { return e.err }

// advertised is where clients of a connection's listener find this broker: what is configured, or
// else the address the client itself came to.
func (n *Node) advertised(c *api.Conn) (host string, port int32, ok bool) {
	for _, a := range n.live.Load().broker.Advertised {
		if a.Name == c.Listener {
			return a.Host, a.Port, true
		}
	}
	if c.Local.IsValid() {
		return c.Local.Addr().Unmap().WithZone("").String(), int32(c.Local.Port()), true
	}
	return n.registeredAddress(c.Listener)
}

// registeredAddress is what the metadata log says of a listener of this broker: what is advertised,
// or the address it listens on, with the host's name in place of "any address".
func (n *Node) registeredAddress(listener string) (host string, port int32, ok bool) {
	for _, a := range n.live.Load().broker.Advertised {
		if a.Name == listener {
			return a.Host, a.Port, true
		}
	}
	for _, l := range n.listeners {
		if l.Name == listener {
			return addressOf(l, nil)
		}
	}
	return "", 0, false
}

// addressOf is where others find a listener: what is advertised for it, or the address it listens on,
// with the host's name in place of "any address".
func addressOf(l server.Listener, advertised []conf.Listener) (host string, port int32, ok bool) {
	for _, a := range advertised {
		if a.Name == l.Name {
			return a.Host, a.Port, true
		}
	}
	addr, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return "", 0, false
	}
	host = addr.Addr().Unmap().String()
	if addr.Addr().IsUnspecified() {
		host = hostName()
	}
	return host, int32(addr.Port()), true
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// Bootstrap is an address that a client on this machine can start from.
func (n *Node) Bootstrap() string {
	if len(n.listeners) == 0 {
		return ""
	}
	return dialable(n.listeners[0].Addr().String())
}

// HTTPAddress is the address of health and metrics, or "" where there is none.
func (n *Node) HTTPAddress() string {
	if len(n.httpListeners) == 0 {
		return ""
	}
	return dialable(n.httpListeners[0].Addr().String())
}

// dialable puts loopback in place of "any address".
func dialable(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return addr
	}
	if ap.Addr().IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ap.Port())))
	}
	return ap.String()
}
