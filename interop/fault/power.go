package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/logstead/logstead/interop/local"
)

const powerBytes = 1 << 30

// power cuts the power of the broker's volume in a loop under load.
func (f *fault) power(ctx context.Context) error {
	n, err := f.newNode(ctx, "power")
	if err != nil {
		return err
	}
	v, err := local.NewVolume(ctx, n.Dir, powerBytes)
	if err != nil {
		return err
	}
	defer func() { f.report.Check("power: volume can be unmounted", errors.Join(n.Kill(), v.Down())) }()
	n.Data = filepath.Join(v.Mount, "data")
	return f.repeat(ctx, "power cut", n, func(ctx context.Context) error { return cutPower(ctx, n, v) })
}

// cutPower takes the power from the volume of a broker, which ends, and mounts what is left.
func cutPower(ctx context.Context, n *local.Node, v *local.Volume) error {
	// The process may end by itself once nothing can be written: that is no error here.
	if err := v.Cut(); err != nil {
		return err
	}
	if !n.Exited() {
		if err := n.Kill(); err != nil && !n.Exited() {
			return err
		}
	}
	if err := v.Down(); err != nil {
		return err
	}
	return v.Up(ctx)
}
