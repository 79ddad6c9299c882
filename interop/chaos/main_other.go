//go:build !linux

package main

import (
	"context"

	"github.com/logstead/logstead/interop/local"
)

// runChaos says that there is nothing to run on.
func runChaos(context.Context, options) (int, error) {
	r := &local.Report{}
	r.NotRun("chaos", "network namespaces and TUN devices are Linux's")
	return r.Close(), nil
}
