package cli

import (
	"bytes"
	"context"
	"testing"
	"time"
)

// TestStopBeforeReady tells a broker to stop before it is ready: it stops, and that is no failure. A
// command that was to run beside it did not.
func TestStopBeforeReady(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{
			"server", "--auto-format", "--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set", "logstead.http.listeners=127.0.0.1:0",
			"--set", "log.dirs=" + t.TempDir(),
		}, exitOK},
		{[]string{"dev", "--port", "0", "--http-port", "0"}, exitOK},
		{[]string{"dev", "--port", "0", "--http-port", "0", "--", "true"}, exitInterrupted},
	} {
		var out bytes.Buffer
		app := &App{
			Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now,
		}
		if code := app.Run(ctx, c.args); code != c.want {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, code, c.want, out.String())
		}
	}
}
