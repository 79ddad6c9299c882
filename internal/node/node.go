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
	"math"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/broker/remote"
	"github.com/logstead/logstead/internal/broker/replica"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/uplink"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
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

	fs vfs.FS // of tests; nil for the machine's
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

	store       *storage.Store
	metaStore   *storage.Store         // where metadata.log.dir is none of log.dirs; else nil
	ctl         *controller.Controller // nil where the node has no controller
	observer    *controller.Observer   // nil where the controller tells the metadata
	meta        controller.Metadata
	uplink      *uplink.Uplink          // nil on a node alone, and on one without a broker
	puller      *uplink.Uplink          // what other controllers are asked over; nil on a node alone
	remote      *remote.Brokers         // nil on a node alone
	fetchers    *replica.Fetchers       // nil on a node alone
	replication *partition.Cluster      // nil on a node alone
	places      *places                 // nil on a node alone
	dirIDs      map[string]base.TopicID // of the log directories, by path
	cordons     chan struct{}           // capacity 1: settings have changed
	throttles   struct{ leader, follower *quota.Replication }
	raft        *raftLines   // to the other controllers
	abrupt      atomic.Bool  // of tests: stop without handing over
	incarnation base.TopicID // of this run of the broker
	acted       progress
	elections   struct{ unclean, fromELR atomic.Int64 } // since the start, where there is a controller
	opened      bool                                    // of publish: every topic of an image has been opened
	handover    bool                                    // of publish: another broker is in its controlled shutdown
	parts       *partition.Table
	groups      *coord.Shards[*group.Machine]
	txns        *coord.Shards[*txn.Machine]
	markers     *txn.MarkerSender
	producerIDs *txn.ProducerIDs
	api         *api.Broker
	server      *server.Server // of clients
	controlled  *server.Server // of the controllers' listeners

	runtimeMetrics *prometheus.Registry
	groupEvents    groupEvents
	idle           idleGauge

	recovered, registered, listening atomic.Bool
	metadataDamage                   atomic.Pointer[storage.Damage]
	serving                          chan struct{}
}

// NotFormattedError is a data directory that has not been formatted.
type NotFormattedError struct{ Dir string }

func (e *NotFormattedError) Error() string {
	return fmt.Sprintf("log directory %s is not formatted: it has no meta.properties", e.Dir)
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
		return nil
	}
	return n.openController(ctx, cfg)
}

// openObserver is the metadata of a node outside the quorum.
func (n *Node) openObserver(cfg *config, store *storage.Store) {
	dir := store.Dirs()[0].DirectoryID
	for _, d := range store.Dirs() {
		if d.Path == cfg.broker.MetadataDir {
			dir = d.DirectoryID
		}
	}
	n.observer = controller.NewObserver(controller.ObserverOptions{
		NodeID: cfg.broker.NodeID, DirectoryID: dir, ClusterID: n.store.ClusterID(), Logger: n.log,
		Ask: func(ctx context.Context, req kmsg.Request, resp kmsg.Response) error {
			return n.puller.Pull(ctx, req, resp)
		},
		FetchTimeout: cfg.live.Duration("controller.quorum.fetch.timeout.ms"),
	})
	n.meta = n.observer
}

// announce is the first line of the log.
func (n *Node) announce(cfg *config) {
	n.log.Info("logstead is starting", "version", n.o.Version, "config_file", n.o.ConfigFile,
		"log_dirs", strings.Join(cfg.broker.LogDirs, ","), "node_id", cfg.broker.NodeID, "cluster_id", n.formattedFor(cfg))
	for _, w := range n.o.Config.Warnings() {
		n.log.Warn(w)
	}
	if _, notes := cfg.live.Broker().Capped(1); len(notes) > 0 {
		n.log.Info("replication factors fit one node", "lowered", strings.Join(notes, "; "))
	}
}

// formattedFor is the cluster that the first log directory belongs to, or "" before it is formatted.
func (n *Node) formattedFor(cfg *config) string {
	m, _, err := storage.ReadMeta(n.fs, cfg.broker.LogDirs[0])
	if err != nil {
		return "" // opening the directory says what is wrong
	}
	return m.ClusterID
}

func (n *Node) openStore(ctx context.Context, cfg *config) error {
	dirs := cfg.broker.LogDirs
	apart := !slices.Contains(dirs, cfg.broker.MetadataDir)
	if apart {
		dirs = append(slices.Clone(dirs), cfg.broker.MetadataDir)
	}
	if err := n.ensureFormatted(cfg.broker, dirs); err != nil {
		return err
	}
	var err error
	if n.store, err = storage.Open(ctx, n.storeOptions(cfg, cfg.broker.LogDirs)); err != nil {
		return err
	}
	if apart {
		if n.metaStore, err = storage.Open(ctx, n.storeOptions(cfg, []string{cfg.broker.MetadataDir})); err != nil {
			return err
		}
	}
	if d := n.metadataDamage.Load(); d != nil {
		return &MetadataDamagedError{*d}
	}
	n.recovered.Store(true)
	return nil
}

// MetadataDamagedError is a metadata log with a hole: topics would be missing, so nothing is served.
type MetadataDamagedError struct{ Damage storage.Damage }

func (e *MetadataDamagedError) Error() string {
	return fmt.Sprintf("the metadata log is damaged, so topics could be missing, and the broker does not serve without "+
		"them: %s; restore that file from a backup of the directory", e.Damage)
}

func (n *Node) storeOptions(cfg *config, dirs []string) storage.Options {
	l := cfg.live
	return storage.Options{
		FS: n.fs, Clock: n.clock, Logger: n.log, Dirs: dirs, NodeID: cfg.broker.NodeID,
		RecoveryThreads: cfg.broker.RecoveryThreads, MaxOpenFiles: maxOpenFiles(cfg.broker),
		Journal: storage.JournalOptions{
			Inline: n.o.Memory, FileBytes: l.Long("logstead.journal.file.bytes"),
			DirectBytes: int(l.Long("logstead.journal.direct.bytes")),
		},
		RetentionInterval:  l.Duration("log.retention.check.interval.ms"),
		CheckpointInterval: l.Duration("log.flush.offset.checkpoint.interval.ms"),
		ProducerInterval:   l.Duration("producer.id.expiration.check.interval.ms"),
		CleanerInterval:    l.Duration("log.cleaner.backoff.ms"),
		Cleaner:            cleanerOptions(l),
		MoveBytesPerSecond: n.moveRate,
		Scrub:              n.scrubOptions(l),
		BrokerEpoch:        n.brokerEpoch,
		Events: storage.Events{Damage: func(d storage.Damage) {
			if strings.Contains(d.File, "/"+controller.MetadataTopic+"-0/") {
				n.metadataDamage.Store(&d)
			}
		}, Moved: n.logMoved, DirOffline: n.dirOffline},
	}
}

// moveRate is how fast logs may move between directories, 0 for as fast as they can.
func (n *Node) moveRate() float64 {
	rate := n.live.Load().live.Long("replica.alter.log.dirs.io.max.bytes.per.second")
	switch rate {
	case math.MaxInt64:
		return 0
	case 0:
		return 1 // next to nothing
	}
	return float64(rate)
}

// scrubOptions are the scrubber's; what lies in memory is not read again.
func (n *Node) scrubOptions(l *conf.Live) storage.ScrubOptions {
	if n.o.Memory {
		return storage.ScrubOptions{}
	}
	return storage.ScrubOptions{
		Interval:       l.Duration("logstead.scrub.interval.ms"),
		BytesPerSecond: float64(l.Long("logstead.scrub.bytes.per.second")),
	}
}

// cleanerOptions are the cleaner's; no threads where it is switched off.
func cleanerOptions(l *conf.Live) storage.CleanerOptions {
	o := storage.CleanerOptions{
		Threads: int(l.Int("log.cleaner.threads")), DedupeBytes: l.Long("log.cleaner.dedupe.buffer.size"),
		MaxBytesPerSecond: l.Double("log.cleaner.io.max.bytes.per.second"),
	}
	if !l.Bool("log.cleaner.enable") || o.Threads == 0 {
		o.Threads = -1
	}
	return o
}

// brokerEpoch is what a stop in order notes for the next start: the epoch that this run was registered under.
func (n *Node) brokerEpoch() int64 {
	if n.abrupt.Load() {
		return -1
	}
	if n.uplink != nil {
		return n.uplink.Epoch()
	}
	if n.meta != nil {
		if b := n.image().Broker(n.live.Load().broker.NodeID); b != nil {
			return b.Epoch
		}
	}
	return -1
}

// ensureFormatted formats empty directories where that was asked for and refuses them otherwise.
func (n *Node) ensureFormatted(b *conf.Broker, dirs []string) error {
	var fresh []string
	cluster := ""
	for _, dir := range dirs {
		m, ok, err := storage.ReadMeta(n.fs, dir)
		if err != nil {
			return err
		}
		if ok {
			cluster = m.ClusterID
			continue
		}
		if !b.AutoFormat {
			return &NotFormattedError{dir}
		}
		fresh = append(fresh, dir)
	}
	if len(fresh) == 0 {
		return nil
	}
	for _, dir := range fresh {
		if err := n.mustBeEmpty(dir); err != nil {
			return err
		}
	}
	cluster, err := controller.Format(n.fs, controller.FormatOptions{
		Dirs: fresh, ClusterID: cluster, NodeID: b.NodeID,
	}, n.clock.Now())
	if err != nil {
		return err
	}
	n.log.Info("formatted log directories", "dirs", strings.Join(fresh, ","), "cluster_id", cluster)
	return nil
}

// mustBeEmpty keeps a directory that holds something else from being taken for a data directory.
func (n *Node) mustBeEmpty(dir string) error {
	entries, err := n.fs.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into log directory: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name != ".lock" && name != "lost+found" {
			return fmt.Errorf("log directory %s has no meta.properties but holds %s: give it an empty directory", dir, name)
		}
	}
	return nil
}

// maxOpenFiles leaves half of the process's descriptors to connections.
func maxOpenFiles(b *conf.Broker) int {
	if b.MaxOpenFiles > 0 {
		return int(b.MaxOpenFiles)
	}
	return max(descriptorLimit()/2, 64)
}

func (n *Node) openController(ctx context.Context, cfg *config) error {
	l := cfg.live
	store, dir := n.store, cfg.broker.MetadataDir
	if n.metaStore != nil {
		store = n.metaStore
	}
	n.raft = newRaftLines(n)
	ctl, err := controller.Open(ctx, controller.Options{
		Quorum: n.quorum(cfg, store),
		Config: controller.Config{NodeID: cfg.broker.NodeID, Static: n.o.Config},
		Store:  store, Dir: dir, FS: n.fs, ClusterID: n.store.ClusterID(), Clock: n.clock, Logger: n.log,
		SnapshotBytes:    l.Long("metadata.log.max.record.bytes.between.snapshots"),
		SnapshotInterval: l.Duration("metadata.log.max.snapshot.interval.ms"),
		SegmentBytes:     l.Int("metadata.log.segment.bytes"),
	})
	if err != nil {
		return err
	}
	if b := &cfg.broker.Quorum; len(b.Voters) == 0 && len(b.BootstrapServers) > 1 && !ctl.DynamicVoters() && !ctl.Upgraded() {
		why := "is of a node alone: format the directory with --standalone, --initial-controllers or --no-initial-controllers"
		if len(ctl.Voters()) > 1 {
			why = "is of a quorum whose kraft.version is 0: name the controllers in controller.quorum.voters until it is 1"
		}
		return fmt.Errorf("controller.quorum.bootstrap.servers names %d controllers, and the metadata log in %s %s", len(b.BootstrapServers), dir, why)
	}
	n.ctl, n.meta = ctl, ctl
	if ctl.DynamicVoters() && !(ctl.IsVoter() && len(ctl.Voters()) == 1) {
		// It may not be one of the voters, or not for ever: what the broker knows does not depend on that.
		n.openObserver(cfg, store)
	}
	return nil
}

func (n *Node) image() *meta.Image { return n.meta.Image() }

// compose makes the parts and tells them of each other.
func (n *Node) compose(cfg *config) {
	n.live.Store(newConfig(n.o.Config, n.image(), cfg.broker.NodeID))
	n.store.Cordon(func(dir string) bool { return n.live.Load().broker.Cordoned(dir) })
	n.throttles.leader, n.throttles.follower = replicationQuota(cfg.live), replicationQuota(cfg.live)
	partitions := func(topic string) func() int32 {
		return func() int32 {
			if t := n.image().Topic(topic); t != nil {
				return int32(len(t.Partitions))
			}
			return 0
		}
	}
	n.groups = coord.New[*group.Machine](coord.Options{
		Name: "group", Logger: n.log, Clock: n.clock, Metrics: n.runtimeMetrics, Partitions: partitions(offsetsTopic),
		CommitTimeout: cfg.live.Duration("offsets.commit.timeout.ms"),
	})
	n.txns = coord.New[*txn.Machine](coord.Options{
		Name: "transaction", Logger: n.log, Clock: n.clock, Metrics: n.runtimeMetrics,
		Partitions: partitions(transactionsTopic),
	})
	n.api = &api.Broker{
		Logger: n.log, Clock: n.clock, NodeID: cfg.broker.NodeID, Parts: n.parts, Image: n.image,
		Features: n.features, Advertised: n.advertised, Groups: n.groups,
		ActiveController: n.activeController, Controllers: n.controllerNodes,
		Private: map[int16]func([]byte) error{keyRaft: n.receiveRaft, keyLoads: n.receiveLoads},
		Admin: api.Admin{
			Store: n.store, Controller: n.ctl, LogLevel: n.o.Level,
			Conf: func() *conf.Live { return n.live.Load().live },
		},
	}
	n.composeCluster(cfg)
	n.producerIDs = txn.NewProducerIDs(n.allocateProducerIDs(), n.log)
	n.markers = txn.NewMarkerSender(txn.SenderOptions{
		Logger: n.log, Write: n.api.SendMarker, Complete: n.api.CompleteMarkers,
	})
	n.api.Quotas = quota.New(quotaOptions(cfg.live))
	n.api.LeaderThrottle = n.throttles.leader
	n.setReplicationQuotas()
	n.setQuotas(n.image())
	n.api.Txn = api.Transactions{
		Shards: n.txns, ProducerIDs: n.producerIDs, Config: n.txnConfig,
		AddWait:       cfg.live.Duration("add.partitions.to.txn.retry.backoff.max.ms"),
		VerifyTimeout: cfg.live.Duration("request.timeout.ms"),
	}
	n.api.ReadFromRack, n.api.MaxLag = cfg.broker.ReadFromRack, cfg.live.Duration("replica.lag.time.max.ms")
	n.api.Init(int(cfg.broker.FetchMaxBytes), int(cfg.broker.FetchSessions))
	o := server.Options{
		Broker: n.api, Logger: n.log, MaxRequestBytes: int(cfg.broker.SocketRequestMaxBytes),
		BudgetBytes: memoryBudget(cfg.broker), ConnectionBudgetBytes: cfg.broker.ConnectionBudgetBytes,
		IdleTimeout:     cfg.broker.ConnectionsMaxIdle,
		SendBufferBytes: int(cfg.broker.SocketSendBuffer), ReceiveBufferBytes: int(cfg.broker.SocketReceiveBuffer),
	}
	n.controlled = server.New(o) // whose connections clients cannot use up
	o.Limits = connectionLimits(cfg.broker)
	n.server = server.New(o)
}

// allocateProducerIDs is where blocks of producer ids come from.
func (n *Node) allocateProducerIDs() func(context.Context) (first int64, count int32, err error) {
	if n.uplink != nil {
		return n.uplink.AllocateProducerIDs
	}
	return n.ctl.AllocateProducerIDs
}

// features are what ApiVersions tells.
func (n *Node) features() (int64, []api.Feature) {
	im := n.image()
	finalized := controller.Finalized(im)
	if n.ctl != nil {
		finalized[controller.KRaftVersion] = n.ctl.KRaftVersion()
	} else {
		finalized[controller.KRaftVersion] = n.observer.KRaftVersion()
	}
	var out []api.Feature
	for _, f := range controller.Features() {
		out = append(out, api.Feature{Name: f.Name, Min: f.Min, Max: f.Max, Level: finalized[f.Name]})
	}
	return im.Offset, out
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
		err = n.enter(ctx, fail)
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

func (n *Node) closeStore() error {
	if err := n.closeStores(); err != nil {
		return fmt.Errorf("close storage: %w", err)
	}
	n.log.Info("stopped")
	return nil
}

func (n *Node) closeStores() error {
	var errs []error
	for _, s := range []*storage.Store{n.store, n.metaStore} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// register enters the broker of a node alone and begins its leader epochs.
func (n *Node) register(ctx context.Context) error {
	r := controller.Registration{
		Incarnation: n.incarnation, Rack: n.live.Load().broker.Rack, Endpoints: n.endpoints(), LogDirs: n.onlineDirIDs(),
		Cordoned: n.cordonedDirIDs(),
	}
	if err := n.ctl.Register(ctx, r); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("register the broker: %w", err)
	}
	n.registered.Store(true)
	return nil
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

// logDirs is an error that names the log directories that failed.
func (n *Node) logDirs() error {
	var bad []string
	for _, d := range n.store.Dirs() {
		if !d.Online {
			bad = append(bad, fmt.Sprintf("%s: %v", d.Path, d.Err))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return errors.New("offline: " + strings.Join(bad, "; "))
}

func (n *Node) offlineDirs() (count int64) {
	for _, d := range n.store.Dirs() {
		if !d.Online {
			count++
		}
	}
	return count
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

// memoryBudget is the setting, or a quarter of the memory this process may use.
func memoryBudget(b *conf.Broker) int64 {
	if b.MemoryBudgetBytes > 0 {
		return b.MemoryBudgetBytes
	}
	limit := machineMemory()
	if soft := debug.SetMemoryLimit(-1); soft != math.MaxInt64 && soft < limit {
		limit = soft
	}
	return max(limit/4, 64<<20)
}

// stack is what runs, in the order it was started.
type stack struct{ running []*stage }

type stage struct {
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (s *stack) push(name string, run func(context.Context) error, ended func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	st := &stage{name: name, cancel: cancel}
	st.done.Go(func() { ended(run(ctx)) })
	s.running = append(s.running, st)
}

// stop ends everything in the reverse order.
func (s *stack) stop() {
	for i := len(s.running) - 1; i >= 0; i-- {
		s.running[i].cancel()
		s.running[i].done.Wait()
	}
}
