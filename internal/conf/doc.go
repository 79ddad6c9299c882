// Package conf is the configuration of logstead: one table of every key, how a key gets its value,
// and immutable snapshots of the result.
//
// It owns the table (a row per key: type, default, rule, scope, how it may change), the reading of
// files, environment and flags, the precedence between levels, and the answers to DescribeConfigs
// and to requests that alter configs. It must not know topics, logs, sockets or the metadata log:
// dynamic values come in as plain maps, and what takes effect is read by others from a snapshot.
//
// Levels, the first that sets a key wins: topic or group > this broker (dynamic) > cluster default
// (dynamic) > flag > environment > file > built-in default.
//
// Concurrency: Static, Live, Broker, Topic and Group never change once made and may be shared.
//
// Invariants:
//  1. Every key of Apache Kafka 4.3.1 is in the table, under Kafka's name, type and default.
//  2. A value in a snapshot has passed its key's rule.
//  3. The value of a sensitive key is in no message, log line or description.
package conf
