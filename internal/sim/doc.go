// Package sim runs a whole cluster in one goroutine on a virtual clock, from one seed.
//
// What it drives is the real thing: the quorum (raft.Core), the controller with its Machine, storage on
// files in memory, partitions with their roles, in-sync sets and high watermarks, what decides whom to fetch and when
// (replica.Roster, Course and Fetcher), the fetch sessions that leaders have for it, and in half of the seeds the coordinators
// of groups and transactions (coord.Shards with their machines, and the sender of markers).
// Around it are played: a network that delays, loses, repeats and reorders, and is cut; nodes whose
// power fails between any two operations on their disk, whose disks fail or are full, and whose controllers lose their directories and are
// replaced; idempotent and transactional producers, consumers that are members of groups or read from followers, and one that
// commits; and what a node does to carry requests from one of these to the other (packages node and api), in short
// form. All of it is tests.
//
// A seed has one feature beside what all have (world_test.go: features), for instance that partitions move between
// brokers: so no run grows by more than one.
//
// Concurrency: none. Everything that happens is an event of one queue; chance comes from the seed
// alone, so that a seed is one history.
//
// Invariants of a run, checked after every event (check_test.go):
//  1. A record acknowledged with acks=all stays, at its offset, with its bytes.
//  2. What the high watermark of any replica has covered is the same on all, for ever.
//  3. A new leader has all that was committed, and so has every member of an in-sync set, in the metadata and in
//     the leader's mind; the high watermark does not go back in a leader epoch.
//  4. Two batches with the same offset and leader epoch are the same batch.
//  5. One incarnation of one broker leads a leader epoch. Offsets are dense.
//  6. Each record of an idempotent producer is committed once, in the order in which they were sent.
//  7. Of a transaction all is committed or nothing, its offsets included, and it is what its producer was told; each one
//     ends. An offset that was acknowledged is what the coordinator answers, until another is committed.
//  8. Replicas that were moved are in the end where it was asked that they be, and a reassignment has not ended before
//     all that were added were in sync.
//  9. A replica whose directory is lost does not count as complete: it does not lead with an empty log.
//  10. Who is eligible to lead beside an in-sync set (KIP-966) has all that is committed. Where a crash takes what is in the page
//     cache, nothing that is acknowledged is lost while fewer brokers than min.insync.replicas are so at a time.
//  11. What a consumer reads, from whatever replica, is committed and without gaps; of transactions it leaves out the aborted ones alone.
//  12. In a generation or with a member epoch a partition is given to one member. What is committed for a group does not go back and is
//     found again, nothing is skipped, and in the end each partition has one member that has committed all of it.
//  13. After an unclean election, where it is allowed, what is committed goes on from what the new leader has. It is the same
//     for all replicas of a leader epoch from there on, and leader epochs do not go back in a log.
//  14. The metadata at an offset is the same on all nodes, and one controller rules an epoch.
package sim
