//go:build race

package server

// underRace says that the race detector is on: pools then drop a part of what they are given, so that allocations tell nothing.
const underRace = true
