package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/logstead/logstead/interop/local"
)

// logstead is the server of this repository.
type logstead struct{ bin string }

func (l logstead) format(ctx context.Context, properties string, args ...string) error {
	return local.Command(ctx, l.bin, append([]string{"storage", "format", "--cluster-id", clusterID, "--config", properties}, args...)...)
}

func (l logstead) command(properties string) *exec.Cmd {
	return exec.Command(l.bin, "server", "--config", properties)
}

func (l logstead) settings(nd *node) []string {
	return []string{"logstead.http.listeners=127.0.0.1:" + nd.httpPort, "logstead.http.pprof=true"}
}

func (l logstead) watches() bool { return true }

// kafka is Apache Kafka, started by kafka.sh.
type kafka struct{ script string }

func (k kafka) format(ctx context.Context, properties string, args ...string) error {
	return local.Command(ctx, k.script, append([]string{"tool", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", properties}, args...)...)
}

func (k kafka) command(properties string) *exec.Cmd {
	return exec.Command(k.script, "exec", properties)
}

func (k kafka) settings(*node) []string { return nil }

func (k kafka) watches() bool { return false }

// kafkaScript is kafka.sh of this repository.
func kafkaScript(ctx context.Context) (string, error) {
	root, err := local.Root(ctx)
	return filepath.Join(root, "interop", "kafka.sh"), err
}

// kafkaClasspath is the class path of Kafka's tools.
func kafkaClasspath(ctx context.Context) (string, error) {
	script, err := kafkaScript(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, script, "classpath")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
