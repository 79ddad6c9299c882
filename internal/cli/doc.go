// Package cli is logstead's command line: a tree of commands, one file each, of which nearly all
// are plain Kafka clients and work against any Kafka cluster.
//
// It owns what a person at a terminal meets: arguments, contexts, output formats, exit codes, the
// wording of errors, and the previews before anything dangerous. It must not know how a broker
// works; client commands see only kgo, kadm and kmsg, and the commands that start a node hand over
// to package node.
//
// Concurrency: one App serves one command line and is used by one goroutine. Client callbacks
// (progress, connection notes) touch only fields behind a mutex.
//
// Invariants:
//  1. stdout carries data and nothing else; every remark, prompt and error goes to stderr.
//  2. The exit code says what happened (exit.go), also when the output is JSON.
//  3. A table and its JSON come from the same struct; JSON arrays are never null.
//  4. Nothing waits for ever: every request carries the deadline of --timeout.
//  5. Nothing is deleted, overwritten or moved without a preview and a yes (-y off a terminal).
package cli
