package api

import (
	"maps"
	"slices"
)

// Registered are the keys of all APIs that are served.
func Registered() []int16 { return slices.Sorted(maps.Keys(table)) }
