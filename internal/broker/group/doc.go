// Package group is the group coordinator's machine: classic groups, consumer groups (KIP-848) and
// the offsets that groups commit, for one partition of __consumer_offsets.
//
// It owns what the records of that partition mean and every rule of joining, assigning, fencing,
// committing and expiring. It must not know sockets, listeners, the log, other shards or who may do
// what: package api authorises and resolves topic ids, package coord appends and replays.
//
// A handler reads the state, changes soft state (sessions, parked replies, the join phase of a
// classic group) and returns records. State that records keep changes only in Replay. A classic
// group lives in memory between two generations, as in Apache Kafka, so it has both: the group that
// members see and, in saved, what the log says of it.
//
// Concurrency: a Machine belongs to one goroutine at a time. Replies are called on it, from the
// handler, from a Done of a Result, from Tick or from Unload.
//
// Invariants:
//  1. Every reply handed to a handler is called exactly once, unless the runtime fails its Done.
//  2. Replaying the records of a shard gives the same state as having produced them.
//  3. A partition has at most one owner in a consumer group (owners), and an owner's epoch only rises.
//  4. A member of a consumer group never has an epoch above the group's assignment epoch.
//  5. A group id names one group: classic or consumer, never both.
package group
