// Package replica has the followers on this broker fetch from their leaders.
//
// It owns when a follower asks its leader for what, and what is done with the answer: append, truncate, begin
// anew, or come again later. It must not know how a leader is reached (Leader) nor the metadata: who
// follows whom is said by Follow.
//
// What is decided is decided without a goroutine, clock or connection: by a Roster which loop fetches which replica, by the Course of
// a loop when it takes that up and when it gives up a request, by its Fetcher what it asks for. Fetchers drive them, as the simulator
// does; a loop is for partitions with one leader and one durability, num.replica.fetchers of them share what one leader has.
// Partitions that answer only for what is synced have loops of their own, so that the others never wait for a
// disk.
//
// Concurrency: a Roster, a Course and a Fetcher are used by one goroutine at a time. Fetchers may be used from any.
//
// Invariants:
//  1. The offset that a fetch names is stored: it tells the leader what this follower may be counted for.
//  2. One request of a fetcher is under way at a time, and its answer counts only for partitions that
//     were part of it and have the leader epoch that they had then.
//  3. A session's next request says of every partition that the leader knows it wrong where it is.
//  4. What fails for one partition holds up no other.
package replica
