// Package replica has the followers on this broker fetch from their leaders.
//
// It owns when a follower asks its leader for what, and what is done with the answer: append, truncate, begin
// anew, or come again later. It must not know how a leader is reached (Leader) nor the metadata: who
// follows whom is said by Follow.
//
// A Fetcher decides and has no goroutine, clock or connection of its own; a loop of Fetchers drives one,
// for partitions with one leader and one durability; num.replica.fetchers of them share what one leader has.
// Partitions that answer only for what is synced have loops of their own, so that the others never wait for a
// disk.
//
// Concurrency: a Fetcher is used by one goroutine. Fetchers may be used from any.
//
// Invariants:
//  1. The offset that a fetch names is stored: it tells the leader what this follower may be counted for.
//  2. One request of a fetcher is under way at a time, and its answer counts only for partitions that
//     were part of it and have the leader epoch that they had then.
//  3. A session's next request says of every partition that the leader knows it wrong where it is.
//  4. What fails for one partition holds up no other.
package replica
