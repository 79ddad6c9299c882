// Package quota measures what clients use and says how long those that use too much have to wait.
//
// It owns the rates and token buckets per client entity, in Kafka's arithmetic, and the precedence
// of quotas. It does not know requests nor connections: whoever asks answers the client first, with
// the time to wait, and then leaves its connection unread for as long (KIP-219). It reads no clock.
//
// Concurrency: every method of Manager may be called from any goroutine. While no quota of a kind is
// set, a call for it costs one atomic load.
//
// Invariants:
//  1. Clients that share an entity share its sensor, and with it the quota.
//  2. A change of limits keeps what was measured.
//  3. The number of sensors is bounded, whatever client ids there are.
package quota
