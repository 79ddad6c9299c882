// Package meta is what the brokers of a cluster agree on: an immutable image of topics, partitions,
// configs, features, quotas, brokers and credentials, and how metadata records change it.
//
// It owns the meaning of Kafka's metadata records and nothing else. It must not know who writes
// records (package controller), where they are stored or who reads an image.
//
// Concurrency: an Image and everything reachable from it never changes once published; it may be
// read from any goroutine without a lock. An Edit belongs to one goroutine.
//
// Invariants:
//  1. The same records in the same order give the same image, live or replayed.
//  2. A topic's partitions are numbered 0 to n-1 without gaps.
//  3. Every topic in byName is in byID under its own id, and the reverse.
//  4. An image is never changed by the Edit that began with it.
package meta
