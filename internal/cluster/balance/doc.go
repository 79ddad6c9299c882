// Package balance plans where replicas go: it takes the state of a cluster and gives the moves that empty a
// broker or even out disks, traffic, replicas and leaders.
//
// It is pure: no clock, no network, no goroutine, no randomness. The same state gives the same plan. Who
// carries a plan out, and how much at once, is another's business; so is where the state comes from. The
// form in which brokers report traffic (Report), and what is kept of it (Traffic), are here too, with the
// time passed in.
//
// Invariants of every plan:
//  1. A partition keeps its replication factor, and no broker holds two of its replicas.
//  2. A replica goes only to a broker that is in the state, alive and open for replicas, and that has room.
//  3. The racks of a partition never become fewer, if a broker could be found that keeps them; Balance never
//     makes them fewer at all.
//  4. Balance ends: each step gives a partition more racks, or makes the sum of squares smaller that it works
//     on; and a plan that was carried out leaves nothing to plan.
//  5. Balance moves no replica between two brokers that are both within the tolerance of every goal.
package balance
