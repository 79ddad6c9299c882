package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/storage"
)

// NotFormattedError is a data directory that has not been formatted.
type NotFormattedError struct{ Dir string }

func (e *NotFormattedError) Error() string {
	return fmt.Sprintf("log directory %s is not formatted: it has no meta.properties", e.Dir)
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

// brokerEpoch is what a stop in order notes for the next start: the epoch that this run was registered under, as the answer to its
// registration or the metadata says, or where it never was, what the run before had noted, for nothing was written since.
// Kafka 4.3.1 notes none there, and takes the broker for one that may have lost something.
func (n *Node) brokerEpoch() int64 {
	if n.abrupt.Load() {
		return -1
	}
	if clustered(n.live.Load().broker) {
		epoch := int64(-1)
		if n.uplink != nil {
			epoch = n.uplink.Epoch()
		}
		if b := n.ownRegistration(); b != nil {
			epoch = max(epoch, b.Epoch)
		}
		if epoch < 0 {
			epoch = n.store.PreviousEpoch()
		}
		return epoch
	}
	if n.meta != nil {
		if b := n.image().Broker(n.live.Load().broker.NodeID); b != nil {
			return b.Epoch
		}
	}
	return -1
}

// ownRegistration is what the metadata knows of this run of the broker, nil before it knows it.
func (n *Node) ownRegistration() *meta.Broker {
	if n.meta == nil {
		return nil
	}
	b := n.image().Broker(n.live.Load().broker.NodeID)
	if b == nil || b.Incarnation != n.incarnation {
		return nil
	}
	return b
}

// ensureFormatted formats empty directories where that was asked for and refuses them otherwise. One that cannot be read is
// left to the store, which goes without it, unless it has the metadata log.
func (n *Node) ensureFormatted(b *conf.Broker, dirs []string) error {
	var fresh []string
	cluster := ""
	for _, dir := range dirs {
		m, ok, err := storage.ReadMeta(n.fs, dir)
		var unreadable *fs.PathError
		if errors.As(err, &unreadable) && dir != b.MetadataDir {
			continue
		}
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
