//go:build !linux

package vfs

import "errors"

// openVolume: there is no call that syncs one volume and tells what failed.
func openVolume(string) (Volume, error) { return nil, errors.ErrUnsupported }
