// Package raft replicates the metadata log between the controllers of a quorum.
//
// It owns the algorithm (go.etcd.io/raft, which nothing else imports but for the message type), the
// mapping of raft's entries to the batches of a storage.Log, and the file raft-state beside the log.
// It does not know what the records mean, and it has no sockets, goroutines or clocks.
//
// An entry is a record batch; its index is the ordinal of the batch, its term the leader epoch. Base
// offset and epoch are set by the leader that proposes it, so every node stores the same bytes. The
// entry by which a leader begins its term is Kafka's LeaderChange batch; a change of the voters is
// Kafka's VotersRecord, and raft's change is the difference to the voters before it.
//
// Concurrency: a Core belongs to one goroutine, except that Write may run on another between Ready
// and Advance.
//
// Invariants:
//  1. Term and vote, and every entry before it is acknowledged, are on stable storage before a message
//     that depends on them is handed out. A leader sends entries while it writes them and counts
//     itself when they are synced.
//  2. One Ready is in flight, and everything in it shares one sync.
//  3. An index, once committed, has the same bytes on every node.
//  4. A leader whose write takes longer than the election time-out steps down, unless it is the only voter.
//  5. A node votes and counts under its id and its directory's id: with another directory it is
//     another voter. In a static quorum (kraft.version 0) it does so under its id alone.
//  6. What a sync of the log has covered is there at the next start, or the start fails (mark.go).
package raft
