package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/storage"
)

// TestStorageFormatQuorum formats the directories of controllers, and refuses what cannot be one.
func TestStorageFormatQuorum(t *testing.T) {
	const dirID = "JFmxrqdHSz-JSj0DsJ1MXQ"
	listeners := "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
	initial := "1@127.0.0.1:9093:" + dirID + ",2@127.0.0.1:9193:VV6_X6sZTaajSRfEo63ZcQ"
	for _, c := range []struct {
		name, file string
		args       []string
		want       int
	}{
		{"standalone", "00000000000000000000-0000000000.checkpoint", []string{"--standalone", "--set", listeners}, exitOK},
		{"initial", "00000000000000000000-0000000000.checkpoint", []string{"-I", initial, "--set", listeners}, exitOK},
		{"joiner", "raft-state", []string{"-N", "--set", listeners}, exitOK},
		{"two kinds", "", []string{"-N", "--standalone", "--set", listeners}, exitUsage},
		{"no listener", "", []string{"--standalone"}, exitUsage},
		{"static", "", []string{"--standalone", "--set", listeners, "--set", "controller.quorum.voters=1@127.0.0.1:9093"}, exitUsage},
		{"another node", "", []string{"-I", strings.TrimPrefix(initial, "1@127.0.0.1:9093:"+dirID+","), "--set", listeners}, exitUsage},
		{"no directory", "", []string{"-I", "1@127.0.0.1:9093", "--set", listeners}, exitUsage},
		{"older levels", "../bootstrap.checkpoint", []string{"--set", listeners, "-r", "3.9", "-f", "transaction.version=1"}, exitOK},
		{"no release", "", []string{"--set", listeners, "--release-version", "3.2"}, exitUsage},
		{"no level", "", []string{"--set", listeners, "-f", "transaction.version"}, exitUsage},
		{"unknown level", "", []string{"--set", listeners, "-f", "transaction.version=9"}, exitUsage},
		{"dynamic kraft.version of a static quorum", "", []string{"--set", listeners, "-f", "kraft.version=1"}, exitUsage},
		{"static at kraft.version 0", "../bootstrap.checkpoint", []string{"--set", listeners, "--set", "controller.quorum.voters=1@127.0.0.1:9093", "-f", "kraft.version=0"}, exitOK},
		{"static and no initial controllers", "../bootstrap.checkpoint", []string{"-N", "--set", listeners, "--set", "controller.quorum.voters=1@127.0.0.1:9093"}, exitOK},
		{"static at kraft.version 1", "", []string{"--set", listeners, "--set", "controller.quorum.voters=1@127.0.0.1:9093", "-f", "kraft.version=1"}, exitUsage},
		{"standalone at kraft.version 0", "", []string{"--standalone", "--set", listeners, "-f", "kraft.version=0"}, exitUsage},
		{"joiner at kraft.version 0", "", []string{"-N", "--set", listeners, "-f", "kraft.version=0"}, exitUsage},
		{"standalone at kraft.version 1", "00000000000000000000-0000000000.checkpoint", []string{"--standalone", "--set", listeners, "-f", "kraft.version=1"}, exitOK},
		{"kraft.version 2", "", []string{"--standalone", "--set", listeners, "-f", "kraft.version=2"}, exitUsage},
		{"twice", "", []string{"-I", initial + "," + initial, "--set", listeners}, exitUsage},
		{"no controller", "", []string{
			"-N", "--set", "process.roles=broker", "--set", "controller.quorum.bootstrap.servers=127.0.0.1:9093",
			"--set", "controller.listener.names=CONTROLLER",
		}, exitUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var out bytes.Buffer
			app := &App{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now}
			code := app.Run(context.Background(), append([]string{"storage", "format", "--set", "log.dirs=" + dir}, c.args...))
			if code != c.want {
				t.Fatalf("exit code %d, want %d: %s", code, c.want, out.String())
			}
			m, ok, err := storage.ReadMeta(vfs.OS{}, dir)
			if err != nil || ok != (c.want == exitOK) {
				t.Fatalf("formatted %v, %v", ok, err)
			}
			if c.want != exitOK {
				return
			}
			if _, err := os.Stat(filepath.Join(dir, "__cluster_metadata-0", c.file)); err != nil {
				t.Error(err)
			}
			if c.name == "initial" && m.DirectoryID.String() != dirID {
				t.Errorf("directory id %s, want that of the flag", m.DirectoryID)
			}
		})
	}
}
