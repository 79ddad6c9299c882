// Package txn is the transaction coordinator: who may produce under a transactional id, which
// partitions its transaction touches, and how that transaction ends.
//
// It owns the state machine over __transaction_state in Kafka's record formats, the sender that
// has control markers written until every partition has one, and the allocator of producer ids. It
// does not know requests' transport (package api), how a shard is loaded, appended to or committed
// (package coord), nor logs and offsets (package partition).
//
// Concurrency: a Machine belongs to the one goroutine of its shard. MarkerSender and ProducerIDs may
// be used from any goroutine and never make a caller wait.
//
// Invariants:
//  1. A transactional id has one producer id and epoch that may write; both only move forward.
//  2. Markers are sent only after the decision is committed, with the epoch that it was made under,
//     until each partition has taken them; a decision never changes.
//  3. A transaction that its producer leaves open is aborted after its time-out, and the producer's
//     epoch is fenced.
//  4. State changes only in Replay: a machine that was loaded equals one that was live.
//  5. A producer id is handed out at most once.
package txn
