package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/broker/remote"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/uplink"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// clustered says whether this node has a controller to report to: it is one of several, or may become
// one. A node that names no other controller registers with its own at once and sends no heartbeats.
func clustered(b *conf.Broker) bool { return !b.Roles.Controller || !b.Quorum.Alone(b.NodeID) }

// composeCluster makes what reaches the other nodes.
func (n *Node) composeCluster(cfg *config) {
	b, l := cfg.broker, cfg.live
	if !clustered(b) {
		return
	}
	n.puller = uplink.New(uplink.Options{
		NodeID: b.NodeID, Logger: n.log, Dial: n.dialController, Controllers: n.controllers,
		Leader:       func() int32 { id, _ := n.meta.Leader(); return id },
		Registration: n.registration, MetadataOffset: func() int64 { return n.acted.offset() },
		AwaitMetadata: n.acted.await, OfflineDirs: n.offlineDirIDs, CordonedDirs: n.cordonedDirIDs,
		HeartbeatInterval:   l.Duration("broker.heartbeat.interval.ms"),
		RequestTimeout:      l.Duration("controller.socket.timeout.ms"),
		RegistrationTimeout: l.Duration("initial.broker.registration.timeout.ms"),
		PreviousEpoch:       n.store.PreviousEpoch(),
	})
	if !b.Roles.Broker {
		return
	}
	n.uplink = n.puller
	n.remote = remote.New(remote.Options{
		NodeID: b.NodeID, Logger: n.log, Dial: n.dialBroker, Address: n.brokerAddress,
		RequestTimeout: l.Duration("request.timeout.ms"),
	})
	n.api.Forwarder, n.api.Remote = n.uplink, n.remote
	n.places, n.dirIDs = newPlaces(), map[string]base.TopicID{}
	for _, d := range n.store.Dirs() {
		n.dirIDs[d.Path] = d.DirectoryID
	}
	n.composeReplicas()
	if n.observer != nil {
		n.api.AwaitMetadata = n.acted.await
	}
}

// controllers are those that the configuration names, and the voters that this node knows. Those of a dynamic quorum are
// asked until one says that it is the active one.
func (n *Node) controllers() []uplink.Controller {
	b := n.live.Load().broker
	var all []uplink.Controller
	for _, v := range b.Quorum.Voters {
		all = append(all, uplink.Controller{ID: v.ID, Address: v.Address()})
	}
	for _, s := range b.Quorum.BootstrapServers {
		if !slices.ContainsFunc(all, func(c uplink.Controller) bool { return c.Address == s }) {
			all = append(all, uplink.Controller{ID: -1, Address: s})
		}
	}
	for _, v := range n.controllerNodes() {
		address := net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port)))
		if !slices.ContainsFunc(all, func(c uplink.Controller) bool { return c.Address == address }) {
			all = append(all, uplink.Controller{ID: v.ID, Address: address})
		}
	}
	return all
}

// brokerAddress is where a broker listens for other brokers.
func (n *Node) brokerAddress(id int32) (string, error) {
	br := n.image().Broker(id)
	if br == nil {
		return "", fmt.Errorf("broker %d is not registered", id)
	}
	listener := n.live.Load().broker.InterBrokerListener
	host, port, ok := br.Endpoint(listener)
	if !ok {
		return "", fmt.Errorf("broker %d has no listener %s (inter.broker.listener.name)", id, listener)
	}
	return remote.Address(host, port), nil
}

// registration is what this broker says of itself to the controller.
func (n *Node) registration() *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewBrokerRegistrationRequest()
	cfg := n.live.Load()
	req.BrokerId, req.ClusterId, req.IncarnationId = cfg.broker.NodeID, n.store.ClusterID(), n.incarnation
	if req.Rack = nil; cfg.broker.Rack != "" { // its default is the empty text, which is a rack too
		req.Rack = &cfg.broker.Rack
	}
	for _, e := range n.endpoints() {
		req.Listeners = append(req.Listeners, kmsg.BrokerRegistrationRequestListener{
			Name: e.Listener, Host: e.Host, Port: uint16(e.Port), SecurityProtocol: e.Protocol,
		})
	}
	for _, f := range controller.Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	req.LogDirs = n.onlineDirIDs()
	return &req
}

func (n *Node) endpoints() (out []meta.Endpoint) {
	for _, l := range n.listeners {
		host, port, _ := n.registeredAddress(l.Name)
		out = append(out, meta.Endpoint{Listener: l.Name, Host: host, Port: port, Protocol: n.protocolOf(l.Name)})
	}
	return out
}

// directoryIDs are the ids of the log directories of which keep says so.
func (n *Node) directoryIDs(keep func(storage.DirStatus) bool) (ids []base.TopicID) {
	for _, d := range n.store.Dirs() {
		if !d.DirectoryID.IsZero() && keep(d) {
			ids = append(ids, d.DirectoryID)
		}
	}
	return ids
}

func (n *Node) onlineDirIDs() []base.TopicID {
	return n.directoryIDs(func(d storage.DirStatus) bool { return d.Online })
}

func (n *Node) offlineDirIDs() []base.TopicID {
	return n.directoryIDs(func(d storage.DirStatus) bool { return !d.Online })
}

// cordonedDirIDs are the log directories that take no more replicas.
func (n *Node) cordonedDirIDs() []base.TopicID {
	b := n.live.Load().broker
	return n.directoryIDs(func(d storage.DirStatus) bool { return b.Cordoned(d.Path) })
}

// enter registers with the active controller and returns once the broker may lead; fail tells of an
// uplink that ended.
func (n *Node) enter(ctx context.Context, fail <-chan error) error {
	for _, done := range []<-chan struct{}{n.uplink.Registered(), n.uplink.Unfenced()} {
		select {
		case <-done:
		case err := <-fail:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	n.registered.Store(true)
	return nil
}

// leave has the controller move what this broker leads to others before it stops. Without a majority
// of the controllers nobody can, and the broker stops all the same.
func (n *Node) leave() {
	cfg := n.live.Load()
	if n.uplink == nil || n.uplink.Epoch() < 0 || n.abrupt.Load() || !cfg.live.Bool("controlled.shutdown.enable") {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(cfg.broker.StopTimeout, leaveTimeout))
	defer cancel()
	began := time.Now()
	if err := n.uplink.Shutdown(ctx); err != nil {
		n.log.Warn("stopping without having handed over", "waited", time.Since(began).Round(time.Millisecond).String(),
			"reason", "no controller let this broker go in time")
		return
	}
	n.log.Info("handed over to other brokers", "took_ms", time.Since(began).Milliseconds())
	n.seeOff(ctx)
}

const (
	// leaveTimeout bounds the wait of a controlled shutdown.
	leaveTimeout = 10 * time.Second
	// seeOffTimeout bounds how long clients are served after that, seenOff is the silence that ends it earlier.
	seeOffTimeout, seenOff = time.Second, 300 * time.Millisecond
)

// seeOff serves on for a moment once others lead: a client learns from an answer that it has to go elsewhere, and asks
// where over a connection that lives. One that only sees its connection end dials this node again, and some let an
// error out when they do not reach the next one at once either.
func (n *Node) seeOff(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, seeOffTimeout)
	defer cancel()
	look := time.NewTicker(seenOff / 10)
	defer look.Stop()
	calls, last := n.api.Calls(), time.Now()
	for len(n.server.Connections()) > 0 && time.Since(last) < seenOff {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		if now := n.api.Calls(); now != calls {
			calls, last = now, time.Now()
		}
	}
}

// progress is how much of the metadata this broker acts on.
type progress struct {
	mu      sync.Mutex
	end     int64 // the offset after what it acts on
	waiting map[chan struct{}]int64
}

// reached notes that everything before end has been acted on.
func (p *progress) reached(end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = max(p.end, end)
	for ch, until := range p.waiting {
		if until <= p.end {
			close(ch)
			delete(p.waiting, ch)
		}
	}
}

func (p *progress) offset() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end - 1
}

// await waits until everything before end has been acted on.
func (p *progress) await(ctx context.Context, end int64) error {
	p.mu.Lock()
	if end <= p.end {
		p.mu.Unlock()
		return nil
	}
	if p.waiting == nil {
		p.waiting = map[chan struct{}]int64{}
	}
	ch := make(chan struct{})
	p.waiting[ch] = end
	p.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.waiting, ch)
		p.mu.Unlock()
		return errors.Join(errors.New("the metadata did not arrive in time"), ctx.Err())
	}
}
