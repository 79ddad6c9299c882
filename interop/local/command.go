package local

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// NotHere is something that this machine cannot do.
type NotHere struct{ Why error }

func (e *NotHere) Error() string { return e.Why.Error() }
func (e *NotHere) Unwrap() error { return e.Why }

// Command runs a program and puts what it says into the error.
func Command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
