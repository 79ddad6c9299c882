//go:build !unix

package node

// descriptorLimit is a number that every system allows.
func descriptorLimit() int { return 1024 }
