// Package dump decodes the files of a log directory for people: segments, their indexes, producer
// snapshots, checkpoints and properties, as logstead and Apache Kafka write them.
//
// It reads a file as it is and goes on where it can: a damaged batch or index entry is reported with
// its place, not refused. It is a second reader of the formats beside package storage, on purpose, so
// that one can be checked with the other. It must not know brokers, logs or clients, and writes no
// file.
//
// Concurrency: functions may be called from any goroutine; a visit runs on the caller's.
//
// Invariants:
//  1. Bytes of a file never cause a panic, nor memory beyond its size plus one decompressed batch.
//  2. Every item says the position in the file at which it begins.
package dump
