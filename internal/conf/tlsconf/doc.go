// Package tlsconf makes TLS configurations of Kafka's ssl.* keys.
//
// It owns the reading of key and trust stores (PEM, PKCS12, JKS), the names of protocols and cipher suites, and what may
// replace what while a broker runs. It knows no listener, no socket and no configuration file: conf resolves the keys,
// node holds what is in use.
//
// Concurrency: functions of values; a Material never changes.
//
// Invariants:
//  1. No error and no String of this package holds a password or a key.
//  2. A configuration never allows more than its keys do, but for the cipher suites of TLS 1.3, of which crypto/tls
//     always offers all: LooseSuites says where that is so.
package tlsconf
