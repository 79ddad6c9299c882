// Package obs is how logstead tells what it does: structured logs, and metrics in the Prometheus
// text format.
//
// It knows nothing of Kafka: names and values come from the caller. It must not hold state of its
// own beyond the log level.
//
// Concurrency: a logger and a Level may be used from any goroutine; an Exposition belongs to one.
//
// Invariants:
//  1. A family is announced with HELP and TYPE exactly once, before its samples.
//  2. Label values are escaped, so that no topic name breaks the format.
package obs
