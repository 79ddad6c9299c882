package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
)

// javaTraffic is the same traffic by Java clients: interop/java/Traffic.java, in a process of its own, with topics of
// its own. It counts what that prints; its errors are noted with those of the others.
type javaTraffic struct {
	acked, committed, aborted atomic.Int64
	read                      [2]atomic.Int64

	cmd   *exec.Cmd
	stdin io.WriteCloser
	// written is closed when the producers have ended, done when the program has.
	written, done chan struct{}
	err           error
}

const (
	javaOrdersTopic = "java-orders"
	javaCopiesTopic = "java-copies"
)

func (c *cluster) startJavaTraffic(ctx context.Context, t *traffic) error {
	for _, topic := range []string{javaOrdersTopic, javaCopiesTopic} {
		if _, err := kadm.NewClient(t.admin).CreateTopic(ctx, 3, 3, nil, topic); err != nil {
			return err
		}
	}
	classpath, err := exec.CommandContext(ctx, filepath.Join(c.root, "interop/kafka.sh"), "classpath").Output()
	if err != nil {
		return fmt.Errorf("class path of the Java clients: %w", err)
	}
	j := &javaTraffic{written: make(chan struct{}), done: make(chan struct{})}
	j.cmd = exec.CommandContext(ctx, "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", //nolint:gosec // our own program
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", strings.TrimSpace(string(classpath)),
		filepath.Join(c.root, "interop/java/Traffic.java"), strings.Join(t.seeds, ","), javaOrdersTopic, javaCopiesTopic)
	var stderr bytes.Buffer
	j.cmd.Stderr = &stderr
	stdout, err := j.cmd.StdoutPipe()
	if err == nil {
		j.stdin, err = j.cmd.StdinPipe()
	}
	if err == nil {
		err = j.cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start the Java clients: %w", err)
	}
	go func() {
		defer close(j.done)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			j.line(t, s.Text())
		}
		if j.err = j.cmd.Wait(); j.err != nil {
			j.err = fmt.Errorf("the Java clients ended: %w: %s", j.err, oneLine(stderr.String()))
			t.told("Java", j.err)
		}
	}()
	t.java = j
	return nil
}

// line takes one line that the program prints.
func (j *javaTraffic) line(t *traffic, line string) {
	if rest, ok := strings.CutPrefix(line, "error "); ok {
		t.told("Java", errors.New(rest))
		return
	}
	if line == "written" {
		close(j.written)
		return
	}
	var acked, committed, aborted, classic, consumer int64
	if _, err := fmt.Sscanf(line, "acked %d committed %d aborted %d classic %d consumer %d", &acked, &committed, &aborted, &classic, &consumer); err != nil {
		t.told("Java", fmt.Errorf("printed %q: %w", line, err))
		return
	}
	j.acked.Store(acked)
	j.committed.Store(committed)
	j.aborted.Store(aborted)
	j.read[0].Store(classic)
	j.read[1].Store(consumer)
}

// stopWriters ends the producers and waits until each record is answered.
func (j *javaTraffic) stopWriters(ctx context.Context) error {
	if _, err := io.WriteString(j.stdin, "\n"); err != nil {
		return fmt.Errorf("tell the Java producers to end: %w", err)
	}
	select {
	case <-j.written:
		return nil
	case <-j.done:
		return errors.Join(errors.New("the Java clients ended before their producers had"), j.err)
	case <-ctx.Done():
		return fmt.Errorf("the Java producers do not end: %w", ctx.Err())
	}
}

// stopReaders ends the consumers and the program.
func (j *javaTraffic) stopReaders(ctx context.Context) error {
	if err := j.stdin.Close(); err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return fmt.Errorf("the Java consumers do not end: %w", ctx.Err())
	}
}

// kill ends the program without asking.
func (j *javaTraffic) kill() {
	select {
	case <-j.done:
	default:
		_ = j.cmd.Process.Kill()
		<-j.done
	}
}
