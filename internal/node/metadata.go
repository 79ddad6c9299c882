package node

import (
	"context"
	"fmt"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

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
	if ctl.DynamicVoters() && (clustered(cfg.broker) || !ctl.IsVoter() || len(ctl.Voters()) > 1) {
		// It may not be one of the voters, or not for ever, the first and only one included: what the broker knows does not
		// depend on that.
		n.openObserver(cfg, store)
	}
	return nil
}

func (n *Node) image() *meta.Image { return n.meta.Image() }

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
