package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/magiconair/properties"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// MetaProperties is the content of meta.properties: whose log directory it is.
type MetaProperties struct {
	ClusterID   string
	NodeID      int32
	DirectoryID base.TopicID
}

const maxMetaBytes = 64 << 10

// ReadMeta reads a log directory's meta.properties; ok is false if it has none.
func ReadMeta(fsys vfs.FS, dir string) (m MetaProperties, ok bool, err error) {
	name := path.Join(dir, metaFile)
	data, err := vfs.ReadFile(fsys, name, maxMetaBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	p, err := loader.LoadBytes(data)
	if err != nil {
		return m, false, fmt.Errorf("%s: %w", name, err)
	}
	if v := p.GetString("version", ""); v != "1" {
		return m, false, fmt.Errorf("%s: version is %q, want 1", name, v)
	}
	m.ClusterID = p.GetString("cluster.id", "")
	node, err := strconv.ParseInt(p.GetString("node.id", ""), 10, 32)
	if err != nil || m.ClusterID == "" {
		return m, false, fmt.Errorf("%s: cluster.id and node.id are needed, found %q and %q",
			name, m.ClusterID, p.GetString("node.id", ""))
	}
	m.NodeID = int32(node)
	if id := p.GetString("directory.id", ""); id != "" {
		if m.DirectoryID, err = base.ParseTopicID(id); err != nil {
			return m, false, fmt.Errorf("%s: directory.id: %w", name, err)
		}
	}
	return m, true, nil
}

// WriteMeta formats a log directory.
func WriteMeta(fsys vfs.FS, dir string, m MetaProperties) error {
	lines := []string{
		"cluster.id=" + m.ClusterID,
		"node.id=" + strconv.Itoa(int(m.NodeID)),
		"version=1",
	}
	if !m.DirectoryID.IsZero() {
		lines = append(lines, "directory.id="+m.DirectoryID.String())
	}
	sort.Strings(lines)
	return vfs.WriteFile(fsys, path.Join(dir, metaFile), []byte(strings.Join(lines, "\n")+"\n"))
}

// readTopicID reads partition.metadata; the zero id stands for a file that is absent or torn.
func readTopicID(fsys vfs.FS, dir string) (base.TopicID, error) {
	data, exists, err := readOptional(fsys, path.Join(dir, partitionMetadataFile), maxMetaBytes)
	if err != nil || !exists {
		return base.TopicID{}, err
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "topic_id: "); ok {
			if id, err := base.ParseTopicID(strings.TrimSpace(v)); err == nil {
				return id, nil
			}
		}
	}
	return base.TopicID{}, nil
}

// writeTopicID writes partition.metadata as Kafka does, without a final newline beyond its own. It
// is not synced here: the first flush of the log does that.
func writeTopicID(fsys vfs.FS, dir string, id base.TopicID) (err error) {
	f, err := fsys.Create(path.Join(dir, partitionMetadataFile))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = f.WriteAt([]byte("version: 0\ntopic_id: "+id.String()), 0)
	return err
}
