package storage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/kit/base"
)

// File names in a partition's directory.
const (
	logSuffix      = ".log"
	indexSuffix    = ".index"
	timeSuffix     = ".timeindex"
	txnSuffix      = ".txnindex"
	snapshotSuffix = ".snapshot"

	deletedSuffix = ".deleted" // waits for file.delete.delay.ms
	cleanedSuffix = ".cleaned" // a compaction in progress
	swapSuffix    = ".swap"    // a finished compaction about to take its place
	damagedInfix  = ".damaged-"

	partitionMetadataFile = "partition.metadata"
	epochCheckpointFile   = "leader-epoch-checkpoint"
)

// File names in a log directory.
const (
	lockFile               = ".lock"
	metaFile               = "meta.properties"
	cleanShutdownFile      = ".kafka_cleanshutdown"
	recoveryCheckpointFile = "recovery-point-offset-checkpoint"
	hwCheckpointFile       = "replication-offset-checkpoint"
	startCheckpointFile    = "log-start-offset-checkpoint"
	cleanerCheckpointFile  = "cleaner-offset-checkpoint"
	manifestFile           = "logstead-manifest"
	journalPrefix          = "logstead-journal-"
)

// Suffixes of directory names.
const (
	deleteDirSuffix = "-delete"
	futureDirSuffix = "-future"
	strayDirSuffix  = "-stray"
)

const maxNameBytes = 255

// segmentName is the 20-digit name that all files of a segment begin with.
func segmentName(base int64) string { return fmt.Sprintf("%020d", base) }

// parseOffsetName reads "<offset><suffix>"; ok is false for any other name.
func parseOffsetName(name, suffix string) (offset int64, ok bool) {
	digits, found := strings.CutSuffix(name, suffix)
	if !found || len(digits) != 20 {
		return 0, false
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	return offset, err == nil && offset >= 0
}

// parsePartitionDir reads "<topic>-<partition>"; ok is false for any other name.
func parsePartitionDir(name string) (tp base.TopicPartition, ok bool) {
	for _, s := range [...]string{deleteDirSuffix, futureDirSuffix, strayDirSuffix} {
		if strings.HasSuffix(name, s) {
			return tp, false
		}
	}
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 {
		return tp, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || n < 0 {
		return tp, false
	}
	return base.TopicPartition{Topic: name[:i], Partition: int32(n)}, true
}

// deleteDirName is Kafka's name for a partition directory on its way out, capped at 255 bytes.
func deleteDirName(tp base.TopicPartition) string { return suffixedDirName(tp, deleteDirSuffix) }

// futureDirName is Kafka's name for a partition directory that is being copied to another log directory.
func futureDirName(tp base.TopicPartition) string { return suffixedDirName(tp, futureDirSuffix) }

// parseFutureDir reads a name of futureDirName; ok is false for any other, also where the topic's name was cut.
func parseFutureDir(name string) (tp base.TopicPartition, ok bool) {
	name, found := strings.CutSuffix(name, futureDirSuffix)
	i := strings.LastIndexByte(name, '.')
	if !found || i < 0 {
		return tp, false
	}
	return parsePartitionDir(name[:i])
}

func suffixedDirName(tp base.TopicPartition, suffix string) string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	tail := fmt.Sprintf("-%d.%s%s", tp.Partition, hex.EncodeToString(id[:]), suffix)
	topic := tp.Topic
	if len(topic)+len(tail) > maxNameBytes {
		topic = topic[:maxNameBytes-len(tail)]
	}
	return topic + tail
}
