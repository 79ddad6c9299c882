package cli

import (
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

func storageCmd(a *App) *cobra.Command {
	c := family("storage", "Format data directories and look at them",
		storageFormatCmd(a), storageInfoCmd(a), storageSettleCmd(a), storageUUIDCmd(a))
	c.Example = examples("", "logstead storage format --set log.dirs=/var/lib/logstead")
	return c
}

// storageFlags are where a storage command finds the directories.
type storageFlags struct {
	config string
	set    []string
}

func (f *storageFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "configuration `FILE` that names the log directories")
	c.Flags().StringArrayVar(&f.set, "set", nil, "set a config: `KEY=VALUE`, for instance log.dirs=DIR")
}

func (f *storageFlags) broker() (*conf.Broker, error) {
	static, err := loadServerConfig(f.config, f.set)
	if err != nil {
		return nil, err
	}
	return settingsOf(static), nil
}

func settingsOf(s *conf.Static) *conf.Broker { return conf.NewLive(s, nil, nil).Broker() }

// dirInfo is one log directory as storage format and storage info show it.
type dirInfo struct {
	Dir         string `json:"dir" col:"DIR"`
	Formatted   bool   `json:"formatted" col:"FORMATTED"`
	ClusterID   string `json:"cluster_id,omitempty" col:"CLUSTER ID"`
	NodeID      int32  `json:"node_id,omitempty" col:"NODE"`
	DirectoryID string `json:"directory_id,omitempty" col:"DIRECTORY ID"`
}

func storageFormatCmd(a *App) *cobra.Command {
	var f storageFlags
	var cluster string
	var ignore, standalone bool
	c := &cobra.Command{
		Use:   "format",
		Short: "Make empty directories the data directories of a new cluster",
		Example: examples(
			"with a new cluster id", "logstead storage format --set log.dirs=/var/lib/logstead",
			"the directories of a file, with a given id", "logstead storage format --config server.properties --cluster-id ID",
		),
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := f.broker()
			if err != nil {
				return err
			}
			return a.formatStorage(b, cluster, ignore)
		},
	}
	f.add(c)
	c.Flags().StringVarP(&cluster, "cluster-id", "t", "", "cluster `ID`: 22 characters as storage random-uuid prints (default: a new one)")
	c.Flags().BoolVarP(&ignore, "ignore-formatted", "g", false, "leave directories alone that are formatted already")
	c.Flags().BoolVar(&standalone, "standalone", false, "a quorum of this node alone")
	return c
}

func (a *App) formatStorage(b *conf.Broker, cluster string, ignore bool) error {
	if cluster != "" {
		if _, err := base.ParseTopicID(cluster); err != nil {
			return usagef("--cluster-id %q: want 22 characters of URL-safe base64", cluster).try("logstead storage random-uuid")
		}
	}
	var fresh []string
	for _, dir := range b.LogDirs {
		m, ok, err := storage.ReadMeta(vfs.OS{}, dir)
		switch {
		case err != nil:
			return asFault("cannot read "+filepath.Join(dir, "meta.properties"), err)
		case !ok:
			fresh = append(fresh, dir)
		case !ignore:
			f := &Fault{What: "cannot format " + dir, Why: "it belongs to cluster " + m.ClusterID, Exit: exitConflict}
			return f.try("--ignore-formatted to leave it alone, or an empty directory")
		case cluster == "":
			cluster = m.ClusterID
		}
	}
	if len(fresh) > 0 {
		_, err := controller.Format(vfs.OS{}, controller.FormatOptions{Dirs: fresh, ClusterID: cluster, NodeID: b.NodeID}, a.Now())
		if errors.Is(err, controller.ErrFormatted) {
			return &Fault{What: "cannot format", Why: err.Error(), Exit: exitConflict, cause: err}
		}
		if err != nil {
			return asFault("cannot format "+fresh[0], err)
		}
	}
	return a.emitDirs(b)
}

func (a *App) emitDirs(b *conf.Broker) error {
	infos, err := dirInfos(b)
	if err != nil {
		return err
	}
	return a.emit(infos)
}

func dirInfos(b *conf.Broker) ([]dirInfo, error) {
	infos := make([]dirInfo, 0, len(b.LogDirs))
	for _, dir := range b.LogDirs {
		m, ok, err := storage.ReadMeta(vfs.OS{}, dir)
		if err != nil {
			return nil, asFault("cannot read "+filepath.Join(dir, "meta.properties"), err)
		}
		info := dirInfo{Dir: dir, Formatted: ok, ClusterID: m.ClusterID, NodeID: m.NodeID}
		if ok {
			info.DirectoryID = m.DirectoryID.String()
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func storageInfoCmd(a *App) *cobra.Command {
	var f storageFlags
	c := &cobra.Command{
		Use:     "info",
		Short:   "Say which directories are formatted, and for which cluster",
		Example: examples("", "logstead storage info --config server.properties"),
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := f.broker()
			if err != nil {
				return err
			}
			return a.emitDirs(b)
		},
	}
	f.add(c)
	return c
}

func storageUUIDCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "random-uuid",
		Short:   "Print a new cluster id",
		Example: examples("", "logstead storage random-uuid"),
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.emit(struct {
				UUID string `json:"uuid" col:"UUID"`
			}{base.NewTopicID().String()})
		},
	}
}
