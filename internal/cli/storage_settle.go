package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

// settledDir is one directory after storage settle.
type settledDir struct {
	Dir  string `json:"dir" col:"DIR"`
	Logs int    `json:"logs" col:"LOGS"`
}

func storageSettleCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "settle DIR...",
		Short: "Recover directories after a crash, so that Apache Kafka can open them",
		Long: `Recover directories after a crash, so that Apache Kafka can open them.

What was acknowledged last may lie only in logstead's journal, which Apache
Kafka does not read. This does what the broker does when it starts and stops:
the journal goes into the segments, torn ends are cut, and the directory is
marked clean. Name all log directories of the broker; it must not run.`,
		Example: examples("", "logstead storage settle /var/lib/logstead"),
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(c *cobra.Command, dirs []string) error { return a.settleStorage(c.Context(), dirs) },
	}
}

func (a *App) settleStorage(ctx context.Context, dirs []string) error {
	o := storage.Options{FS: vfs.OS{}, Dirs: dirs}
	for _, dir := range dirs {
		m, ok, err := storage.ReadMeta(vfs.OS{}, dir)
		if err != nil {
			return asFault("cannot read "+filepath.Join(dir, "meta.properties"), err)
		}
		if !ok {
			f := &Fault{What: "cannot settle " + dir, Why: "it is not formatted: it has no meta.properties", Exit: exitConflict}
			return f.try("the log.dirs of the broker")
		}
		o.NodeID, o.ClusterID = m.NodeID, m.ClusterID
	}
	s, err := storage.Open(ctx, o)
	if err != nil {
		return asFault("cannot recover", err)
	}
	nameless, err := dropNameless(s)
	if err != nil {
		return errors.Join(asFault("cannot settle", err), s.Close())
	}
	status := s.Dirs()
	var damaged []storage.Damage
	for _, l := range s.Logs() {
		damaged = append(damaged, l.Damage()...)
	}
	if err := s.Close(); err != nil {
		return asFault("cannot settle", err)
	}
	settled := make([]settledDir, len(status))
	for i, d := range status {
		settled[i] = settledDir{Dir: d.Path, Logs: d.Logs}
	}
	if err := a.emit(settled); err != nil {
		return err
	}
	if len(nameless) > 0 {
		f := &Fault{What: "the topic ids of logs are lost", Exit: exitConflict,
			Why: fmt.Sprintf("%d have records and no partition.metadata, the first %s: Apache Kafka would set them aside", len(nameless), nameless[0])}
		return f.try("start logstead once and stop it: it knows the ids from the cluster's metadata")
	}
	if len(damaged) == 0 {
		return nil
	}
	f := &Fault{What: "damage was found", Why: damaged[0].String(), Exit: exitConflict}
	return f.try("logstead debug dump-log --verify on the copies that were kept")
}

// dropNameless removes the logs that hold nothing and whose topic id the crash has torn: Kafka does not start on a torn
// partition.metadata, not even in a directory that is to be deleted, and makes a log again that is not there. It returns
// those that hold records.
func dropNameless(s *storage.Store) (kept []base.TopicPartition, err error) {
	cfg := storage.DefaultLogConfig()
	cfg.FileDeleteDelay = 0 // gone when the store is closed
	for _, l := range s.Logs() {
		switch tp := l.TopicPartition(); {
		case !l.TopicID().IsZero():
		case l.EndOffset() > 0:
			kept = append(kept, tp)
		default:
			l.SetConfig(cfg)
			if err := s.Delete(tp); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}
