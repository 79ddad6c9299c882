package cli

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

func storageCmd(a *App) *cobra.Command {
	c := family("storage", "Format data directories and look at them",
		storageFormatCmd(a), storageInfoCmd(a), storageSettleCmd(a), storageUUIDCmd(a),
		storageMappingCmd(a), storageDependenciesCmd(a))
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
	var o formatFlags
	c := &cobra.Command{
		Use:   "format",
		Short: "Make empty directories the data directories of a new cluster",
		Example: examples(
			"with a new cluster id", "logstead storage format --set log.dirs=/var/lib/logstead",
			"the directories of a file, with a given id", "logstead storage format --config server.properties --cluster-id ID",
			"the first of several controllers", "logstead storage format --config server.properties --cluster-id ID --standalone",
			"with a user that nodes log in as", "logstead storage format --config server.properties --add-scram 'SCRAM-SHA-512=[name=nodes,password=secret]'",
			"at the levels of Apache Kafka 3.9", "logstead storage format --config server.properties --cluster-id ID --release-version 3.9",
		),
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := f.broker()
			if err != nil {
				return err
			}
			return a.formatStorage(b, o)
		},
	}
	f.add(c)
	fl := c.Flags()
	fl.StringVarP(&o.cluster, "cluster-id", "t", "", "cluster `ID`: 22 characters as storage random-uuid prints (default: a new one)")
	fl.BoolVarP(&o.ignore, "ignore-formatted", "g", false, "leave directories alone that are formatted already")
	fl.StringVarP(&o.release, "release-version", "r", "", "begin at the feature levels of this metadata `VERSION` (default: the newest)")
	fl.StringArrayVarP(&o.features, "feature", "f", nil, "begin at another level of a feature: `NAME=LEVEL`; can be repeated")
	fl.StringArrayVarP(&o.scram, "add-scram", "S", nil,
		"begin with a user: `MECHANISM=[name=USER,password=PASSWORD]`, or salt and saltedpassword; can be repeated")
	fl.BoolVarP(&o.standalone, "standalone", "s", false, "begin a quorum of this controller, to which others can be added")
	fl.StringVarP(&o.initial, "initial-controllers", "I", "",
		"begin a quorum of these controllers: `ID@HOST:PORT:DIRECTORY` of each, with a comma between")
	fl.BoolVarP(&o.joiner, "no-initial-controllers", "N", false, "this node's controller is to be added to a quorum")
	return c
}

// formatFlags are what storage format is told.
type formatFlags struct {
	cluster                    string
	ignore, standalone, joiner bool
	initial, release           string
	features, scram            []string
}

func (a *App) formatStorage(b *conf.Broker, f formatFlags) error {
	if f.cluster != "" {
		if _, err := base.ParseTopicID(f.cluster); err != nil {
			return usagef("--cluster-id %q: want 22 characters of URL-safe base64", f.cluster).try("logstead storage random-uuid")
		}
	}
	voters, err := f.voters(b)
	if err != nil {
		return err
	}
	levels, err := f.levels()
	if err != nil {
		return err
	}
	credentials, err := f.credentials(levels)
	if err != nil {
		return err
	}
	var fresh []string
	for _, dir := range formatDirs(b) {
		m, ok, err := storage.ReadMeta(vfs.OS{}, dir)
		switch {
		case err != nil:
			return asFault("cannot read "+filepath.Join(dir, "meta.properties"), err)
		case !ok:
			fresh = append(fresh, dir)
		case !f.ignore:
			fault := &Fault{What: "cannot format " + dir, Why: "it belongs to cluster " + m.ClusterID, Exit: exitConflict}
			return fault.try("--ignore-formatted to leave it alone, or an empty directory")
		case f.cluster == "":
			f.cluster = m.ClusterID
		}
	}
	if len(fresh) > 0 {
		_, err := controller.Format(vfs.OS{}, controller.FormatOptions{
			Dirs: fresh, ClusterID: f.cluster, NodeID: b.NodeID, Voters: voters, Joiner: f.joiner, Levels: levels,
			MetadataDir: b.MetadataDir, Scram: credentials,
		}, a.Now())
		if errors.Is(err, controller.ErrFormatted) {
			return &Fault{What: "cannot format", Why: err.Error(), Exit: exitConflict, cause: err}
		}
		if err != nil {
			return asFault("cannot format "+fresh[0], err)
		}
	}
	return a.emitDirs(b)
}

// formatDirs are the log directories, and that of the metadata where it is another.
func formatDirs(b *conf.Broker) []string {
	if b.MetadataDir == "" || slices.Contains(b.LogDirs, b.MetadataDir) {
		return b.LogDirs
	}
	return append(slices.Clone(b.LogDirs), b.MetadataDir)
}

// voters are the controllers that the quorum begins with; none where the flags name none.
func (f *formatFlags) voters(b *conf.Broker) ([]raft.Voter, error) {
	if !f.standalone && f.initial == "" && !f.joiner {
		return nil, nil
	}
	if f.standalone && f.joiner || f.initial != "" && (f.standalone || f.joiner) {
		return nil, usagef("--standalone, --initial-controllers and --no-initial-controllers exclude each other")
	}
	if f.joiner && len(b.Quorum.Voters) > 0 { // as kafka-storage: the configuration says who the voters are
		f.joiner = false
		return nil, nil
	}
	if len(b.Quorum.Voters) > 0 {
		return nil, usagef("controller.quorum.voters is set, so the voters cannot change").
			try("controller.quorum.bootstrap.servers in its place")
	}
	if !b.Roles.Controller {
		return nil, usagef("process.roles is %s: only a controller is one of the quorum", b.Roles)
	}
	if f.initial != "" {
		return parseControllers(f.initial, b)
	}
	if f.joiner {
		return nil, nil
	}
	listeners := b.Quorum.Advertised
	if len(listeners) == 0 {
		listeners = b.Quorum.Listeners
	}
	if len(listeners) == 0 {
		return nil, usagef("no listener belongs to the controller").
			try("--set listeners=PLAINTEXT://:9092,CONTROLLER://HOST:9093")
	}
	host := listeners[0].Host
	if host == "" {
		host = "localhost"
	}
	return []raft.Voter{{ID: b.NodeID, Endpoints: []kmsg.VotersRecordEndpoint{{
		Name: listeners[0].Name, Host: host, Port: uint16(listeners[0].Port),
	}}}}, nil
}

// parseControllers reads ID@HOST:PORT:DIRECTORY,...
func parseControllers(text string, b *conf.Broker) (voters []raft.Voter, err error) {
	for part := range strings.SplitSeq(text, ",") {
		bad := func(why string) error {
			return usagef("--initial-controllers: %q: %s; want ID@HOST:PORT:DIRECTORY", part, why).try("logstead storage random-uuid")
		}
		id, rest, _ := strings.Cut(part, "@")
		i := strings.LastIndexByte(rest, ':')
		node, err := strconv.ParseInt(id, 10, 32)
		if err != nil || i < 0 {
			return nil, bad("no node id, or no directory")
		}
		dir, err := base.ParseTopicID(rest[i+1:])
		if err != nil || dir.IsZero() {
			return nil, bad("the directory is no id of 22 characters")
		}
		host, port, err := net.SplitHostPort(rest[:i])
		if err != nil {
			return nil, bad("no host and port")
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, bad("the port is no number up to 65535")
		}
		if slices.ContainsFunc(voters, func(v raft.Voter) bool { return v.ID == int32(node) }) {
			return nil, bad("the node stands there twice")
		}
		voters = append(voters, raft.Voter{ID: int32(node), DirectoryID: dir, Endpoints: []kmsg.VotersRecordEndpoint{{
			Name: b.Quorum.ListenerNames[0], Host: host, Port: uint16(number),
		}}})
	}
	if !slices.ContainsFunc(voters, func(v raft.Voter) bool { return v.ID == b.NodeID }) {
		return nil, usagef("--initial-controllers does not name node.id %d", b.NodeID)
	}
	return voters, nil
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
			id := base.NewTopicID().String()
			if a.format() == "table" { // bare, for id=$(logstead storage random-uuid)
				_, err := io.WriteString(a.Stdout, id+"\n")
				return err
			}
			return a.emit(struct {
				UUID string `json:"uuid" col:"UUID"`
			}{id})
		},
	}
}
