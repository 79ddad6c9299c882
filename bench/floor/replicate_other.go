//go:build !linux

package main

import (
	"context"
	"errors"
)

func replicate(context.Context, string) error { return errors.New("-replicate: only on Linux") }

func playRole(string, string) error { return errors.New("-role: only on Linux") }
