// Package batch reads, checks, builds and rewrites record batches of the Kafka format (magic 2),
// the unit in which records travel, are stored and are replicated.
//
// It owns the layout of a batch and of the records in it, the codecs, and the rules that a batch
// from a producer must keep. It knows nothing of requests, partitions, producers' state or files.
//
// A Batch is a view over bytes that somebody else owns. Nothing on the way from the socket to the
// file copies it; only a change of codec makes a new one.
//
// Concurrency: functions may be called from any goroutine; a Batch, Reader, Builder, Filter and
// Sampler is used by one at a time.
//
// Invariants:
//  1. No input makes a function panic, and none makes it allocate more than its Limits plus a
//     small multiple of the input.
//  2. A Batch that Next returned is complete: its length field says len(batch), and it holds a
//     whole header.
//  3. Base offset and leader epoch lie outside of the CRC; every other setter leaves the CRC stale
//     until UpdateCRC.
//  4. What Build, Filter and Validate return has a right CRC.
package batch
