package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/conf/tlsconf"
	"github.com/logstead/logstead/internal/kit/obs"
)

const (
	// storesInterval is how often the files of key and trust stores are looked at: who renews certificates writes files.
	storesInterval = 10 * time.Second
	// expiryWarning is how long before a certificate's end the log begins to say so, once every expiryInterval.
	expiryWarning  = 14 * 24 * time.Hour
	expiryInterval = 24 * time.Hour
)

// secured is one encrypted listener: what this node serves it with, and what it reaches the same listener of others with.
type secured struct {
	listener conf.Listener
	serves   bool // this node listens there
	between  bool // nodes speak to each other there
	log      *slog.Logger
	now      atomic.Pointer[sessions]

	mu struct {
		sync.Mutex        // held while the stores are replaced
		refused    string // the files that were refused last, so that each change is told of once
		warned     time.Time
	}
}

// sessions is what new connections begin with.
type sessions struct {
	stores *tlsconf.Material
	server *tls.Config // nil where this node does not listen
}

// openTLS reads the stores of every encrypted listener in use.
func (n *Node) openTLS(cfg *config) error {
	rules, err := auth.ParseMappingRules(cfg.live.String("ssl.principal.mapping.rules"))
	if err != nil {
		return err
	}
	n.certificateNames = rules
	n.secured = map[string]*secured{}
	b := cfg.broker
	for _, x := range b.TLSListeners() {
		s := &secured{
			listener: x, log: n.log, serves: x.Port != 0 || x.Host != "" || n.listensOn(x.Name),
			between: clustered(b) && (x.Name == b.InterBrokerListener || x.Name == b.Quorum.Peers.Name),
		}
		o := cfg.live.TLS(x)
		first, err := s.load(o)
		if err != nil {
			return fmt.Errorf("listener %s: %w", x.Name, err)
		}
		if loose := o.LooseSuites(); len(loose) > 0 {
			n.log.Warn("more cipher suites are offered than ssl.cipher.suites names: no suite of TLS 1.3 can be left out alone",
				"listener", x.Name, "also_offered", loose)
		}
		s.now.Store(first)
		s.checkExpiry(n.clock.Now())
		n.secured[x.Name] = s
	}
	return nil
}

func (n *Node) listensOn(name string) bool {
	for _, l := range append(n.listeners[:len(n.listeners):len(n.listeners)], n.controllerListeners...) {
		if l.Name == name {
			return true
		}
	}
	return false
}

// serverTLS is what an encrypted listener is served with; nil for one in the clear.
func (n *Node) serverTLS(x conf.Listener) *server.TLS {
	if !x.Encrypted() {
		return nil
	}
	t := &server.TLS{Config: func() *tls.Config { return n.secured[x.Name].now.Load().server }}
	if x.Protocol == "SSL" {
		t.Principal = func(c *x509.Certificate) (auth.Principal, error) { return n.certificateNames.OfCertificate(c) }
	}
	return t
}

// load reads the stores and makes sure that connections can begin with them.
func (s *secured) load(o tlsconf.Options) (*sessions, error) {
	m, err := tlsconf.Load(o)
	if err != nil {
		return nil, err
	}
	next := &sessions{stores: m}
	if s.serves {
		if next.server, err = m.Server(); err != nil {
			return nil, err
		}
	}
	if s.between {
		if err := m.Trusts(m); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// next is what connections would begin with after a change; nil where nothing is another.
func (s *secured) next(o tlsconf.Options) (*sessions, error) {
	now := s.now.Load()
	if reflect.DeepEqual(o, now.stores.Options()) && !now.stores.Stale() {
		return nil, nil
	}
	next, err := s.load(o)
	if err == nil {
		err = next.stores.MayReplace(now.stores)
	}
	return next, err
}

// renew takes in a change of the keys or of the files they name. Connections that are open stay; what is refused changes
// nothing.
func (s *secured) renew(o tlsconf.Options, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.next(o)
	if next == nil && err == nil {
		return
	}
	if err != nil {
		if files := s.now.Load().stores.Files(); s.mu.refused != files {
			s.mu.refused = files
			s.log.Error("changed certificates are refused, and the old ones stay", "listener", s.listener.Name, "err", err)
		}
		return
	}
	s.now.Store(next)
	s.mu.refused, s.mu.warned = "", time.Time{}
	args := []any{"listener", s.listener.Name}
	if end, ok := next.stores.Expiry(); ok {
		args = append(args, "subject", next.stores.Certificate.Leaf.Subject.String(), "valid_until", end.UTC().Format(time.RFC3339))
	}
	s.log.Info("certificates replaced", args...)
	s.checkExpiryLocked(at)
}

func (s *secured) checkExpiry(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkExpiryLocked(now)
}

// checkExpiryLocked warns of a certificate that has ended, or soon will.
func (s *secured) checkExpiryLocked(now time.Time) {
	end, ok := s.now.Load().stores.Expiry()
	if !ok || end.Sub(now) > expiryWarning || now.Sub(s.mu.warned) < expiryInterval {
		return
	}
	s.mu.warned = now
	what := "a certificate ends soon: replace it in the store, which is read again by itself"
	if end.Before(now) {
		what = "a certificate has expired, and clients will refuse it: replace it in the store, which is read again by itself"
	}
	s.log.Warn(what, "listener", s.listener.Name, "store", s.now.Load().stores.Options().KeyStore.String(),
		"valid_until", end.UTC().Format(time.RFC3339))
}

// renewCertificates takes in what the configuration and the files say now.
func (n *Node) renewCertificates() {
	live := n.live.Load().live
	for _, s := range n.secured {
		s.renew(live.TLS(s.listener), n.clock.Now())
	}
}

// watchStores looks for changed files and for certificates that end.
func (n *Node) watchStores(ctx context.Context) error {
	look := time.NewTicker(storesInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		n.renewCertificates()
		for _, s := range n.secured {
			s.checkExpiry(n.clock.Now())
		}
	}
}

// checkOwnConfigs says what speaks against dynamic configs of this broker that the controller cannot know: whether the
// stores can be read here, and may take the place of those in use.
func (n *Node) checkOwnConfigs(own map[string]string) error {
	next, err := n.live.Load().live.NextOwn(own)
	if err != nil {
		return err
	}
	for _, s := range n.secured {
		if _, err := s.next(next.TLS(s.listener)); err != nil {
			return fmt.Errorf("Validation of dynamic config update of SSLFactory failed: listener %s: %w", s.listener.Name, err)
		}
	}
	return nil
}

// dialer opens connections to a listener of other nodes, as socket.connection.setup.timeout.ms allows, with TLS where the
// listener is encrypted. What a login needs comes on top.
func (n *Node) dialer(l conf.Listener) peer.Dialer {
	return func(ctx context.Context, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, n.live.Load().live.Duration("socket.connection.setup.timeout.ms"))
		defer cancel()
		nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		if s := n.secured[l.Name]; s != nil {
			return s.begin(ctx, nc, address)
		}
		return nc, nil
	}
}

// begin makes a TLS session of a connection to another node.
func (s *secured) begin(ctx context.Context, nc net.Conn, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	var c *tls.Config
	if err == nil {
		c, err = s.now.Load().stores.Client(host)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	t := tls.Client(nc, c)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, s.explain(err)
	}
	return t, nil
}

// explain says what keeps two nodes from each other.
func (s *secured) explain(err error) error {
	var (
		header    tls.RecordHeaderError
		untrusted *tls.CertificateVerificationError
		name      x509.HostnameError
	)
	switch {
	case errors.As(err, &header):
		return fmt.Errorf("the other node does not speak TLS on its listener %s: listener.security.protocol.map must be the same on all nodes: %w",
			s.listener.Name, err)
	case errors.As(err, &untrusted):
		return fmt.Errorf("the other node's certificate is not trusted: %w; %s must hold who signed it", err, s.now.Load().stores.Options().TrustStore)
	case errors.As(err, &name):
		return fmt.Errorf("the other node's certificate is for another host: %w; its subject alternative names must hold the advertised host, or "+
			"ssl.endpoint.identification.algorithm be empty", err)
	}
	return fmt.Errorf("TLS with listener %s: %w", s.listener.Name, err)
}

func writeExpiry(n *Node, _ *view, e *obs.Exposition) {
	for _, s := range n.secured {
		if end, ok := s.now.Load().stores.Expiry(); ok {
			e.Int(end.Unix(), "listener", s.listener.Name)
		}
	}
}
