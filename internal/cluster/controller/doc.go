// Package controller decides every change of the cluster's metadata.
//
// Machine is the deciding part and pure: it checks a request against the image and returns the
// records that carry it out and the answer. Controller is its shell: it owns the metadata log
// (__cluster_metadata-0) and the snapshots beside it, in the formats of Apache Kafka, replicates the
// log with the other controllers of the quorum (package raft), and publishes images. The machine of
// the active controller is ahead of the image by one round of operations, which ends when the quorum
// has committed it; every other machine, and one that lost its leadership, holds what is committed.
// Neither knows requests' transport, who may do what, or what brokers do with an image.
//
// Concurrency: a Machine belongs to one goroutine. Controller's methods may be called from any
// goroutine; operations run one after the other on the goroutine of Run. Beside it one goroutine writes
// the log, one a snapshot while there is one to write, and one tells subscribers of images and gives the answers that wait for that: what a broker
// does with new metadata takes long at times, and the quorum must not. A subscriber must not wait for
// the answer to a change.
//
// Invariants:
//  1. Nobody sees a change, in an image or an answer, before its records are committed.
//  2. State changes only in Apply: a log that is replayed gives the image that was live.
//  3. The records of one operation are one batch: after a crash all of them are there, or none. A large
//     one that is right without its end, as when a broker of many partitions is fenced, is several.
//  4. Images are published in the order of their offsets, each to every subscriber before the
//     answers to the operations whose records it holds.
//  5. A block of producer ids is given out once.
//  6. A fenced broker leads nothing; a leader is in the in-sync set, and that set among the replicas.
//  7. Each change of a partition raises its partition epoch by one; its leader epoch never goes back.
//  8. What the active controller knows of brokers beside the metadata (sessions) begins anew with
//     Begin: nothing that must survive depends on it.
package controller
