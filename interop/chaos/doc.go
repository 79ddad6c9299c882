// Command chaos runs a cluster of real processes, each in a network namespace and on a volume of its own, breaks it
// in every way that can be arranged, and checks afterwards that what clients were promised held.
//
//	go run ./interop/chaos [-nodes 3] [-quorum static|dynamic] [-faults N] [-duration D] [-only LIST] [-seed S] [-rival logstead|kafka] [-secure] [-keep]
//
// It owns the network between the nodes (a switch of TUN devices with rules for each direction of each pair), the
// volumes, the processes, the faults, the load and the history that the checkers read. It must not know the
// brokers' insides beyond the names of their files; the same schedule runs against Apache Kafka. It needs Linux,
// root, TUN devices and loop devices; without them it says so and checks nothing.
//
// Concurrency: faults come one after another, or in pairs; producers, transactions, probes and readers run beside
// them and write to one History.
//
// Invariants:
//  1. a fault counts only when it was seen to bite
//  2. everything that was broken is healed before the next fault and at the end, whatever fails in between
//  3. only what was acknowledged is demanded; an answer that leaves the outcome open demands nothing
//  4. no packet leaves the namespaces
package main
