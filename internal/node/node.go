// Package node is the composition root: it makes a running broker of a configuration.
//
// It owns the order of starting and stopping, what the parts are told of each other, and how new
// metadata reaches them. It holds no rule of Kafka's.
//
// Concurrency: Open and Run are called once, in this order; everything else may be called from any
// goroutine in between.
//
// Invariants:
//  1. Clients are served only after recovery is over and the broker is registered.
//  2. Metadata reaches partitions, coordinators and settings through publish and in no other way.
//  3. Parts stop in the reverse of the order they started in; storage is last and marks the stop clean.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/broker/remote"
	"github.com/logstead/logstead/internal/broker/replica"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/uplink"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

// Options are what Open needs.
type Options struct {
	Config     *conf.Static
	ConfigFile string // for the log only
	Version    string
	Logger     *slog.Logger
	Level      *slog.LevelVar
	// Memory keeps everything in memory; log.dirs are names only.
	Memory bool
	// NextFreePort takes the next free port where one is taken, and notes it.
	NextFreePort bool

	fs    vfs.FS      // of tests; nil for the machine's
	clock clock.Clock // the same
}

// Node is one broker.
type Node struct {
	o     Options
	log   *slog.Logger
	clock clock.Clock
	fs    vfs.FS
	live  atomic.Pointer[config]
	began time.Time
	took  time.Duration
	notes []string

	listeners           []server.Listener // of clients
	controllerListeners []server.Listener
	httpListeners       []net.Listener
	gates               map[string]*auth.Gate  // of the listeners that ask for a login, by name
	scrams              map[string]*auth.Scram // the mechanisms that read the metadata

	store            *storage.Store
	metaStore        *storage.Store         // where metadata.log.dir is none of log.dirs; else nil
	ctl              *controller.Controller // nil where the node has no controller
	observer         *controller.Observer   // nil where the controller tells the metadata
	meta             controller.Metadata
	uplink           *uplink.Uplink          // nil on a node alone, and on one without a broker
	puller           *uplink.Uplink          // what other controllers are asked over; nil on a node alone
	remote           *remote.Brokers         // nil on a node alone
	fetchers         *replica.Fetchers       // nil on a node alone
	replication      *partition.Cluster      // nil on a node alone
	places           *places                 // nil on a node alone
	dirIDs           map[string]base.TopicID // of the log directories, by path
	cordons          chan struct{}           // capacity 1: settings have changed
	throttles        struct{ leader, follower *quota.Replication }
	raft             *raftLines          // to the other controllers
	abrupt           atomic.Bool         // of tests: stop without handing over
	incarnation      base.TopicID        // of this run of the broker
	secured          map[string]*secured // the encrypted listeners, by name
	certificateNames *auth.MappingRules
	acted            progress
	elections        struct{ unclean, fromELR atomic.Int64 } // since the start, where there is a controller
	insync           insync
	opened           bool                  // of publish: every topic of an image has been opened
	handover         bool                  // of publish: another broker is in its controlled shutdown
	unfound          map[base.TopicID]bool // of publish: topics with replicas that are not made anew, see openUnfound
	parts            *partition.Table
	groups           *coord.Shards[*group.Machine]
	txns             *coord.Shards[*txn.Machine]
	markers          *txn.MarkerSender
	producerIDs      *txn.ProducerIDs
	api              *api.Broker
	server           *server.Server // of clients
	controlled       *server.Server // of the controllers' listeners

	runtimeMetrics *prometheus.Registry
	groupEvents    groupEvents
	idle           idleGauge

	recovered, registered, listening atomic.Bool
	metadataDamage                   atomic.Pointer[storage.Damage]
	serving                          chan struct{}
}

// Open opens the listeners, recovers the logs, loads the metadata and registers the broker. The
// caller runs the node afterwards, or has paid for an error only.
func Open(ctx context.Context, o Options) (*Node, error) {
	n := &Node{
		o: o, log: o.Logger, clock: clock.System{}, fs: vfs.OS{}, parts: partition.NewTable(),
		runtimeMetrics: newRuntimeMetrics(), began: time.Now(), serving: make(chan struct{}), cordons: make(chan struct{}, 1), incarnation: base.NewTopicID(),
	}
	if o.Memory {
		n.fs = vfs.NewMem()
	}
	if o.fs != nil {
		n.fs = o.fs
	}
	if o.clock != nil {
		n.clock = o.clock
	}
	cfg := newConfig(o.Config, nil, 0)
	n.live.Store(cfg)
	n.announce(cfg)
	if err := n.open(ctx, cfg); err != nil {
		n.closeListeners()
		_ = n.closeStores()
		return nil, err
	}
	n.compose(cfg)
	return n, nil
}

func (n *Node) open(ctx context.Context, cfg *config) error {
	if err := n.openHTTP(cfg.broker); err != nil {
		return err
	}
	if err := n.openListeners(cfg.broker); err != nil {
		return err
	}
	if err := n.openStore(ctx, cfg); err != nil {
		return err
	}
	if !cfg.broker.Roles.Controller {
		n.openObserver(cfg, n.store)
	} else if err := n.openController(ctx, cfg); err != nil {
		return err
	}
	return n.openTLS(newConfig(n.o.Config, n.image(), cfg.broker.NodeID))
}

// announce is the first line of the log.
func (n *Node) announce(cfg *config) {
	n.log.Info("logstead is starting", "version", n.o.Version, "config_file", n.o.ConfigFile,
		"log_dirs", strings.Join(cfg.broker.LogDirs, ","), "node_id", cfg.broker.NodeID, "cluster_id", n.formattedFor(cfg))
	for _, w := range n.o.Config.Warnings() {
		n.log.Warn(w)
	}
	if _, notes := cfg.live.Broker().Capped(1); len(notes) > 0 && !clustered(cfg.broker) { // else it depends on the brokers there are
		n.log.Info("replication factors fit one node", "lowered", strings.Join(notes, "; "))
	}
}

// Run serves until ctx ends or something fails for good, then stops everything in order.
func (n *Node) Run(ctx context.Context) error {
	var stages stack
	fail := make(chan error, 16)
	start := func(name string, run func(context.Context) error) {
		stages.push(name, run, func(err error) {
			if err != nil {
				fail <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	start("http", func(ctx context.Context) error { return n.serveHTTP(ctx, n.httpListeners) })
	n.meta.Subscribe(n.publish)
	if n.ctl != nil {
		start("quorum", n.raft.Run)
		start("controller", n.ctl.Run)
	}
	if n.observer != nil {
		start("metadata", n.observer.Run)
	}
	if n.ctl != nil && len(n.controllerListeners) > 0 {
		entry := newControllerEntry(n)
		n.meta.Subscribe(entry.published)
		start("controller registration", entry.Run)
	}
	if len(n.secured) > 0 {
		start("certificates", n.watchStores)
	}
	roles := n.live.Load().broker.Roles
	if roles.Broker {
		start("producer ids", n.producerIDs.Run)
		start("group coordinator", n.groups.Run)
		start("transaction coordinator", n.txns.Run)
		start("transaction markers", n.markers.Run)
	}
	start("controllers' listeners", func(ctx context.Context) error { return n.controlled.Run(ctx, n.controllerListeners) })
	var err error
	switch {
	case n.uplink != nil:
		start("uplink", n.uplink.Run)
		start("replica fetchers", n.fetchers.Run)
		start("in-sync sets", n.watchISR)
		start("load reports", n.reportLoads)
		start("directories of replicas", n.reportPlaces)
		if err = n.enter(ctx, fail); err == nil {
			start("internal topics", n.growTopics)
		}
	case roles.Broker:
		start("cordons", n.tellCordons)
		err = n.register(ctx)
	default:
		n.registered.Store(true) // there is no broker to be registered
	}
	if err == nil && ctx.Err() == nil {
		// Retention and compaction begin only now, when every log has its topic's settings.
		start("storage", n.store.Run)
		if n.metaStore != nil {
			start("metadata storage", n.metaStore.Run)
		}
		start("server", func(ctx context.Context) error { return n.server.Run(ctx, n.listeners) })
		n.ready()
		select {
		case <-ctx.Done():
			n.log.Info("stopping")
			n.leave()
		case err = <-fail:
			n.log.Error("stopping after a failure", "err", err)
		}
	}
	n.listening.Store(false)
	stages.stop()
	n.closeCluster()
	n.closeListeners()
	for _, p := range n.parts.All() {
		p.Close(errStopping)
	}
	return errors.Join(err, n.closeStore())
}

func (n *Node) closeCluster() {
	if n.puller != nil {
		n.puller.Close()
	}
	if n.remote != nil {
		n.remote.Close()
	}
}

func (n *Node) ready() {
	n.took = time.Since(n.began)
	n.listening.Store(true)
	close(n.serving)
	args := []any{"kafka", n.Bootstrap(), "cluster_id", n.store.ClusterID(), "partitions", n.image().PartitionCount()}
	if a := n.HTTPAddress(); a != "" {
		args = append(args, "metrics", "http://"+a+"/metrics")
	}
	n.log.Info(fmt.Sprintf("ready in %d ms", n.took.Milliseconds()), args...)
	notifySystemd("READY=1")
}

// StartTook is how long the start took, once the node is ready.
func (n *Node) StartTook() time.Duration { return n.took }

// Serving is closed once clients are served.
func (n *Node) Serving() <-chan struct{} { return n.serving }

// Notes are remarks of the start for a person, such as a port that was taken.
func (n *Node) Notes() []string { return n.notes }

func (n *Node) notYet(done *atomic.Bool) error {
	if done.Load() {
		return nil
	}
	return errNotYet
}

func (n *Node) closeListeners() {
	var all []io.Closer
	for _, l := range slices.Concat(n.listeners, n.controllerListeners) {
		all = append(all, l)
	}
	for _, l := range n.httpListeners {
		all = append(all, l)
	}
	for _, l := range all {
		_ = l.Close()
	}
}
