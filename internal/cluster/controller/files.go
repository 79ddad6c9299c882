package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// The metadata log and the files beside it, as Kafka names them.
const (
	MetadataTopic     = "__cluster_metadata"
	bootstrapFile     = "bootstrap.checkpoint"
	quorumStateFile   = "quorum-state"
	snapshotSuffix    = ".checkpoint"
	maxSnapshotBytes  = 1 << 30
	maxStateBytes     = 1 << 20
	snapshotBatchSize = 1 << 20
)

// metadataTopicID is the id that Kafka gives the metadata topic.
var metadataTopicID = base.TopicID{15: 1}

// snapshotID names a snapshot: the offset after its last record, and that record's epoch.
type snapshotID struct {
	end   int64
	epoch int32
}

func (id snapshotID) fileName() string {
	return fmt.Sprintf("%020d-%010d%s", id.end, id.epoch, snapshotSuffix)
}

func parseSnapshotName(name string) (snapshotID, bool) {
	text, ok := strings.CutSuffix(name, snapshotSuffix)
	end, epoch, cut := strings.Cut(text, "-")
	if !ok || !cut || len(end) != 20 || len(epoch) != 10 {
		return snapshotID{}, false
	}
	n, err1 := strconv.ParseInt(end, 10, 64)
	e, err2 := strconv.ParseInt(epoch, 10, 32)
	return snapshotID{n, int32(e)}, err1 == nil && err2 == nil && n >= 0 && e >= 0
}

// listSnapshots lists the snapshots of a directory, the newest first.
func listSnapshots(fsys vfs.FS, dir string) ([]snapshotID, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list metadata snapshots: %w", err)
	}
	var ids []snapshotID
	for _, e := range entries {
		if id, ok := parseSnapshotName(e.Name()); ok {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b snapshotID) int {
		if a.end != b.end {
			return int(min(max(b.end-a.end, -1), 1))
		}
		return int(b.epoch - a.epoch)
	})
	return ids, nil
}

// encodeSnapshot is a snapshot in Kafka's format: a header, batches of records, a footer. The voters stand
// behind the header where they can change (KIP-853).
func encodeSnapshot(
	records func(func(kmsg.Record) bool), metadataVersion int16, voters []raft.Voter, epoch int32, now time.Time,
) ([]byte, error) {
	ms := now.UnixMilli()
	header := kmsg.SnapshotHeaderRecord{LastContainedLogTimestamp: ms}
	head := []control{{batch.SnapshotHeader, &header}}
	if raft.Dynamic(voters) {
		head = append(head, control{batch.KRaftVersion, &kmsg.KRaftVersionRecord{KRaftVersion: 1}},
			control{batch.KRaftVoters, raft.Record(voters)})
	}
	out := append([]byte(nil), controlBatch(0, epoch, ms, head...)...)
	offset := int64(len(head))
	b := batch.NewBuilder(batch.Options{BaseOffset: offset, LeaderEpoch: epoch})
	flush := func() error {
		if b.Count() == 0 {
			return nil
		}
		offset += int64(b.Count())
		whole, err := b.Build()
		out = append(out, whole...)
		b.Reset(batch.Options{BaseOffset: offset, LeaderEpoch: epoch})
		return err
	}
	var buf []byte
	var failed error
	records(func(rec kmsg.Record) bool {
		buf = kmsg.AppendMetadataRecord(buf[:0], rec, recordVersion(rec, metadataVersion))
		b.Append(ms, nil, buf)
		if b.Size() >= snapshotBatchSize {
			failed = flush()
		}
		return failed == nil
	})
	if failed == nil {
		failed = flush()
	}
	return append(out, controlBatch(offset, epoch, ms, control{batch.SnapshotFooter, &kmsg.SnapshotFooterRecord{}})...), failed
}

// control is one control record.
type control struct {
	kind  batch.ControlKind
	value kmsg.Message
}

// controlBatch is a batch of control records.
func controlBatch(offset int64, epoch int32, ms int64, records ...control) batch.Batch {
	b := batch.NewBuilder(batch.Options{BaseOffset: offset, LeaderEpoch: epoch, Control: true})
	for _, r := range records {
		w := kmsg.Writer{}
		r.value.Append(&w, 0)
		b.Append(ms, []byte{0, 0, 0, byte(r.kind)}, w.Buf)
	}
	whole, _ := b.Build() // without a codec it cannot fail
	return whole
}

// errNoFooter is a snapshot that ends too early.
var errNoFooter = errors.New("the snapshot ends without its footer")

// readSnapshot gives each record of a snapshot to apply.
func readSnapshot(fsys vfs.FS, name string, apply func(kmsg.Record) error) error {
	data, err := vfs.ReadFile(fsys, name, maxSnapshotBytes)
	if err != nil {
		return err
	}
	return eachSnapshotRecord(name, data, apply)
}

func eachSnapshotRecord(name string, data []byte, apply func(kmsg.Record) error) error {
	complete := false
	for rest := data; len(rest) > 0; {
		var b batch.Batch
		var err error
		if b, rest, err = batch.Next(rest); err != nil {
			return fmt.Errorf("%s: at byte %d of %d: %w", name, len(data)-len(rest), len(data), err)
		}
		if kind, _, ok := b.Control(); ok && kind == batch.SnapshotFooter {
			complete = true
		}
		if err := eachRecord(b, func(_ int64, rec kmsg.Record) error { return apply(rec) }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if !complete {
		return fmt.Errorf("%s: %w", name, errNoFooter)
	}
	return nil
}

// recordLimits bound what a batch of metadata may unpack to.
var recordLimits = batch.Limits{}

// eachRecord decodes the metadata records of a batch; a control batch has none.
func eachRecord(b batch.Batch, fn func(offset int64, rec kmsg.Record) error) error {
	if err := b.CheckCRC(); err != nil {
		return err
	}
	if b.IsControl() {
		return nil
	}
	for raw, err := range b.Records(recordLimits) {
		if err != nil {
			return err
		}
		offset := b.Offset(&raw)
		rec, _, err := kmsg.ReadMetadataRecord(raw.Value)
		if err != nil {
			return fmt.Errorf("metadata record at offset %d: %w", offset, err)
		}
		if err := fn(offset, rec); err != nil {
			return fmt.Errorf("metadata record at offset %d: %w", offset, err)
		}
	}
	return nil
}

// quorumState is Kafka's file of what a voter must not forget.
type quorumState struct {
	ClusterID     string        `json:"clusterId"`
	LeaderID      int32         `json:"leaderId"`
	LeaderEpoch   int32         `json:"leaderEpoch"`
	VotedID       int32         `json:"votedId"`
	AppliedOffset int64         `json:"appliedOffset"`
	CurrentVoters []quorumVoter `json:"currentVoters"`
	DataVersion   int16         `json:"data_version"`
}

type quorumVoter struct {
	VoterID int32 `json:"voterId"`
}

// readQuorumEpoch is the epoch of the quorum-state file, 0 without one.
func readQuorumEpoch(fsys vfs.FS, dir string) (int32, error) {
	name := path.Join(dir, quorumStateFile)
	data, err := vfs.ReadFile(fsys, name, maxStateBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var q quorumState
	if err := json.Unmarshal(data, &q); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return q.LeaderEpoch, nil
}

func writeQuorumState(fsys vfs.FS, dir string, node, epoch int32) error {
	data, err := json.Marshal(quorumState{
		LeaderID: node, LeaderEpoch: epoch, VotedID: -1, CurrentVoters: []quorumVoter{{node}},
	})
	if err != nil {
		return fmt.Errorf("encode quorum state: %w", err)
	}
	return vfs.WriteFile(fsys, path.Join(dir, quorumStateFile), data)
}

// FormatOptions say what to format log directories with.
type FormatOptions struct {
	Dirs      []string
	ClusterID string // empty for a new one
	NodeID    int32
	// Voters are the quorum that the cluster begins with, whose voters can change; this node's directory
	// id among them, where it has none, is filled in. Joiner makes this node one that is to be added
	// to a quorum. With neither it is a quorum of one, or of what controller.quorum.voters names.
	Voters []raft.Voter
	Joiner bool
	// Levels are those of the features that the cluster begins with, as the function Levels gives them; the newest
	// where there are none.
	Levels map[string]int16
	// MetadataDir is the one of Dirs that holds the metadata log; the first where it is empty.
	MetadataDir string
	// Scram are credentials that the cluster begins with (KIP-900).
	Scram []ScramCredential
}

// ErrFormatted is a directory that has a meta.properties already.
var ErrFormatted = errors.New("already formatted")

// Format makes empty log directories those of a new cluster, as kafka-storage format does, so that
// this broker or an Apache Kafka can start on them. It returns the cluster id.
func Format(fsys vfs.FS, o FormatOptions, now time.Time) (string, error) {
	if o.ClusterID == "" {
		o.ClusterID = base.NewTopicID().String()
	}
	if o.Levels == nil {
		o.Levels = newestLevels()
	}
	for _, dir := range o.Dirs {
		m, ok, err := storage.ReadMeta(fsys, dir)
		if err != nil {
			return "", err
		}
		if ok {
			return "", fmt.Errorf("format %s: it belongs to cluster %s: %w", dir, m.ClusterID, ErrFormatted)
		}
	}
	records := bootstrapRecords(o.Levels)
	for i := range o.Scram {
		r, err := o.Scram[i].Record()
		if err != nil {
			return "", fmt.Errorf("credential of %s: %w", o.Scram[i].User, err)
		}
		records = append(records, r)
	}
	first := func(yield func(kmsg.Record) bool) {
		for _, r := range records {
			if !yield(r) {
				return
			}
		}
	}
	bootstrap, err := encodeSnapshot(first, o.Levels[MetadataVersion], nil, 0, now)
	if err != nil {
		return "", err
	}
	for _, dir := range o.Dirs {
		if err := fsys.MkdirAll(dir); err != nil {
			return "", fmt.Errorf("format %s: %w", dir, err)
		}
		if err := vfs.WriteFile(fsys, path.Join(dir, bootstrapFile), bootstrap); err != nil {
			return "", fmt.Errorf("format %s: %w", dir, err)
		}
		meta := storage.MetaProperties{ClusterID: o.ClusterID, NodeID: o.NodeID, DirectoryID: base.NewTopicID()}
		if dir == o.metadataDir() {
			if err := o.formatQuorum(fsys, &meta, now); err != nil {
				return "", fmt.Errorf("format %s: %w", dir, err)
			}
		}
		if err := storage.WriteMeta(fsys, dir, meta); err != nil {
			return "", fmt.Errorf("format %s: %w", dir, err)
		}
	}
	return o.ClusterID, nil
}

func (o *FormatOptions) metadataDir() string {
	if o.MetadataDir == "" {
		return o.Dirs[0]
	}
	return o.MetadataDir
}

// formatQuorum writes what the metadata's directory is to know of the quorum.
func (o *FormatOptions) formatQuorum(fsys vfs.FS, meta *storage.MetaProperties, now time.Time) error {
	if o.Joiner {
		return formatJoiner(fsys, o.metadataDir())
	}
	if len(o.Voters) == 0 {
		return nil
	}
	voters := slices.Clone(o.Voters)
	i := slices.IndexFunc(voters, func(v raft.Voter) bool { return v.ID == o.NodeID })
	if i < 0 {
		return fmt.Errorf("node %d is none of the voters", o.NodeID)
	}
	if voters[i].DirectoryID.IsZero() {
		voters[i].DirectoryID = meta.DirectoryID
	}
	meta.DirectoryID = voters[i].DirectoryID
	return formatVoters(fsys, o.metadataDir(), voters, now)
}
