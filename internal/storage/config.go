package storage

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// Durability says when an appended record counts as stored.
type Durability int8

const (
	// Fsync: on stable storage. The default.
	Fsync Durability = iota
	// Replicated: in the page cache, as Apache Kafka acknowledges.
	Replicated
)

// Timestamp types of LogConfig, with their values in a batch's attributes.
const (
	CreateTime    int8 = 0
	LogAppendTime int8 = 1
)

// LogConfig is what a topic's settings mean for its logs. The zero value is not valid; begin with
// DefaultLogConfig.
type LogConfig struct {
	SegmentBytes       int32
	IndexBytes         int32 // most bytes of one .index or .timeindex file
	IndexIntervalBytes int32
	SegmentAge         time.Duration
	SegmentJitter      time.Duration

	RetentionBytes int64         // -1 = no limit
	Retention      time.Duration // -1 = no limit
	Compact        bool
	Delete         bool

	DeleteRetention        time.Duration
	MinCompactionLag       time.Duration
	MaxCompactionLag       time.Duration
	MinCleanableDirtyRatio float64
	FileDeleteDelay        time.Duration

	FlushMessages int64         // sync after so many records
	FlushInterval time.Duration // sync what is older than this

	Preallocate   bool
	TimestampType int8
	// MaxMessageBytes bounds one batch; a cleaner sizes its buffers by it.
	MaxMessageBytes int32

	ProducerExpiration time.Duration
	// VerifyTransactions refuses the first batch of a transaction that carries no guard from
	// StartVerification (transaction.partition.verification.enable).
	VerifyTransactions bool

	Durability Durability
}

// Forever stands for Kafka's Long.MAX_VALUE milliseconds.
const Forever = time.Duration(math.MaxInt64)

// DefaultLogConfig is Kafka's defaults, with our durability.
func DefaultLogConfig() LogConfig {
	return LogConfig{
		SegmentBytes:           1 << 30,
		IndexBytes:             10 << 20,
		IndexIntervalBytes:     4096,
		SegmentAge:             7 * 24 * time.Hour,
		RetentionBytes:         -1,
		Retention:              7 * 24 * time.Hour,
		Delete:                 true,
		DeleteRetention:        24 * time.Hour,
		MaxCompactionLag:       Forever,
		MinCleanableDirtyRatio: 0.5,
		FileDeleteDelay:        time.Minute,
		FlushMessages:          math.MaxInt64,
		FlushInterval:          Forever,
		MaxMessageBytes:        1048588,
		ProducerExpiration:     24 * time.Hour,
		Durability:             Fsync,
	}
}

// JournalOptions size the group commit of a log directory.
type JournalOptions struct {
	// Disabled syncs segments instead of writing a journal.
	Disabled bool
	// Inline says that syncing is free (files in memory): an append is synced when it returns.
	Inline bool
	// FileBytes is the size of one journal file; Files is how many there are at most.
	FileBytes int64
	Files     int
	// DirectBytes is the size from which an append is synced in its segment and not journaled: there
	// the second copy, its checksum and the second write cost more than a sync (docs/performance.md).
	// Batches that a follower appends at once take directRun times as much.
	DirectBytes int
	// TogetherLogs is from how many logs behind one journal file on the whole volume is synced
	// instead of each log's segments, where the file system can (together.go).
	TogetherLogs int
}

// Options are what Open needs. Zero fields take the defaults named.
type Options struct {
	FS     vfs.FS
	Clock  clock.Clock  // default clock.System
	Logger *slog.Logger // default: none
	// Dirs are the log directories (log.dirs), in order. At least one must be usable.
	Dirs []string
	// NodeID is written to, or must agree with, meta.properties.
	NodeID int32
	// ClusterID is written to directories that are not formatted; empty takes the one found in
	// another directory, or a new one.
	ClusterID string
	// BrokerEpoch tells the epoch to note in the clean-shutdown mark; nil notes -1.
	BrokerEpoch func() int64

	// ByHand has the store keep no goroutines: what they would do waits for Work. It goes with a journal
	// that is disabled, and is for who drives everything from one goroutine, as a simulation does.
	ByHand bool

	// UncachedBytes is from how many bytes on what a replica that has fallen behind appends at once goes past the
	// page cache (uncached.go); default 256 KiB.
	UncachedBytes int

	RecoveryThreads int // per directory; default 2
	MaxOpenFiles    int // default 4096
	Journal         JournalOptions

	RetentionInterval  time.Duration // log.retention.check.interval.ms, default 5 min
	CheckpointInterval time.Duration // log.flush.offset.checkpoint.interval.ms, default 1 min
	FlushInterval      time.Duration // how often FlushInterval of logs is looked at, default 1 s
	ProducerInterval   time.Duration // producer.id.expiration.check.interval.ms, default 10 min
	CleanerInterval    time.Duration // log.cleaner.backoff.ms, default 15 s

	// MoveBytesPerSecond bounds moves between log directories, and may change at any time; nil or 0 is no bound.
	MoveBytesPerSecond func() float64

	Cleaner  CleanerOptions
	Scrub    ScrubOptions
	Defaults LogConfig
	Events   Events
}

// Events are told what others must act on. Each may be nil; none is called with a lock held, and
// none may block, for OnSynced callbacks run on the same goroutine.
type Events struct {
	// DirOffline: the directory failed and its logs answer KAFKA_STORAGE_ERROR from now on.
	DirOffline func(dir string, err error)
	// Damage: bytes that were once valid no longer are.
	Damage func(Damage)
	// Moved: a log takes the place of another one that was moved to a different directory. Appends wait
	// until it returns; it must not call the store.
	Moved func(*Log)
}

func (o *Options) setDefaults() {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.UncachedBytes, 256<<10)
	setDefault(&o.RecoveryThreads, 2)
	setDefault(&o.MaxOpenFiles, 4096)
	setDefault(&o.RetentionInterval, 5*time.Minute)
	setDefault(&o.CheckpointInterval, time.Minute)
	setDefault(&o.FlushInterval, time.Second)
	setDefault(&o.ProducerInterval, 10*time.Minute)
	setDefault(&o.CleanerInterval, 15*time.Second)
	setDefault(&o.Journal.FileBytes, 64<<20)
	setDefault(&o.Journal.Files, 4)
	setDefault(&o.Journal.DirectBytes, 256<<10)
	setDefault(&o.Journal.TogetherLogs, 128)
	if o.Defaults.SegmentBytes == 0 {
		o.Defaults = DefaultLogConfig()
	}
}

func setDefault[T ~int | ~int64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// validate names the first field that cannot work.
func (o *Options) validate() error {
	switch {
	case o.FS == nil:
		return fmt.Errorf("storage options: FS is missing")
	case len(o.Dirs) == 0:
		return fmt.Errorf("storage options: Dirs is empty; give at least one log directory")
	case o.NodeID < 0:
		return fmt.Errorf("storage options: NodeID is %d, want 0 or more", o.NodeID)
	case o.ByHand && !o.Journal.Disabled:
		return fmt.Errorf("storage options: ByHand goes with Journal.Disabled only: a journal has goroutines of its own")
	}
	return o.Defaults.validate()
}

// validate names the first field that cannot work.
func (c *LogConfig) validate() error {
	switch {
	case c.SegmentBytes < minBatchBytes:
		return fmt.Errorf("log config: SegmentBytes is %d, want at least %d", c.SegmentBytes, minBatchBytes)
	case c.IndexBytes < timeEntryBytes:
		return fmt.Errorf("log config: IndexBytes is %d, want at least %d", c.IndexBytes, timeEntryBytes)
	case c.IndexIntervalBytes < 0:
		return fmt.Errorf("log config: IndexIntervalBytes is %d, want 0 or more", c.IndexIntervalBytes)
	}
	return nil
}
