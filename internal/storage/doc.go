// Package storage is the log engine: partitions as segmented, indexed, crash-safe files in one or
// more log directories.
//
// It owns every file below a log directory: segments (.log), their indexes (.index, .timeindex,
// .txnindex), producer snapshots, the leader-epoch checkpoint, partition.metadata, the offset
// checkpoints, meta.properties, the clean-shutdown mark, the manifest and the journal. The files
// that Apache Kafka also writes are byte-compatible with Kafka's; docs/format has a page for each.
// It does not know roles, replicas, requests or topics' settings beyond LogConfig, and it never
// calls upward but through Events and OnSynced.
//
// Store is the set of logs; Log is one partition. A Log that nobody uses holds no goroutine, no
// open file and no index: files are opened on first use and kept in a bounded set (files.go), and
// indexes are read on first use and dropped with the file.
//
// # Durability
//
// SyncedOffset is the end of what counts as stored under the log's durability. With Replicated that
// is the end of the log. With Fsync it rises when the bytes are on stable storage: small appends
// through the directory's journal (journal.go), large ones and all of them where the journal is off
// by a sync of the segment (commit.go), and at once where syncing is free (JournalOptions.Inline).
// OnSynced callbacks run on the goroutines of the store or inside Settle, never inside Append.
// What a replica appends that has fallen behind goes past the page cache (uncached.go), which changes nothing of that.
//
// # Compaction
//
// A cleaner takes sealedSegments, reads their batches with scanSegment and their aborted
// transactions with abortedIn, writes replacements with newCleaned (files with the suffix .cleaned),
// and hands both lists to replaceSegments, which swaps them so that a crash at any point leaves the
// old or the new segments, whole. How far a log has been cleaned is kept by CleanerOffset and
// SetCleanerOffset, in Kafka's cleaner-offset-checkpoint. See replace.go.
//
// # Damage
//
// Bytes that Open has found are in doubt (doubt.go) until they were checked: by recovery, by the first
// read of them, in pieces, or by the scrubber, which also reads again what was sound once (check.go,
// scrub.go). A checksum does not cover base offset, length and leader epoch of a batch; they are compared
// with the batches beside it. A damaged batch is refused with CORRUPT_MESSAGE and reported; those around
// it are given. What this cannot see: a base offset that moved within a gap that compaction left, and a
// leader epoch that rose in the last batch of a segment.
//
// Concurrency: every method of Store and Log may be called from any goroutine. Lock order:
// Log.flushMu, then Log.mu, then the leaves (file set, journal queue, commit queue, notifier). No
// callback runs with one of these held.
//
// Invariants:
//  1. logStart <= HW <= LEO, and SyncedOffset <= LEO.
//  2. Offsets in a log only rise; a segment's name is no larger than the first offset in it.
//  3. What is below SyncedOffset under Fsync survives a power cut.
//  4. Index entries point at the first byte of a batch, and to nothing above the log end.
//  5. A file that failed a write or a sync is not used again: its directory is offline until the
//     next start.
//  6. Damage inside a log is kept aside in a .damaged file and reported; it is never dropped silently.
package storage
