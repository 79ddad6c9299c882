// Package auth says who a connection is and what it may do: principals, the ways to prove one, and access control.
//
// It knows neither sockets nor requests: server and api bring the bytes and the questions. It reads credentials and
// access control entries from a meta.Image and keeps no state of its own that a restart would miss.
package auth
