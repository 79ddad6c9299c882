//go:build !linux

package local

import (
	"context"
	"errors"
)

// Volume exists on Linux only.
type Volume struct{ Mount string }

// NewVolume says so.
func NewVolume(context.Context, string, int64) (*Volume, error) {
	return nil, &NotHere{errors.New("loop volumes and their shutdown are Linux's")}
}

// Up does nothing: there is no volume.
func (v *Volume) Up(context.Context) error { return nil }

// Down does nothing: there is no volume.
func (v *Volume) Down() error { return nil }

// Cut does nothing: there is no volume.
func (v *Volume) Cut() error { return nil }
