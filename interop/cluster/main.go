// Command cluster starts three nodes, of logstead or of Apache Kafka, and runs Kafka's own admin tools
// and logstead's command line against them, some of them while a node is down.
//
//	go run ./interop/cluster              three nodes of logstead
//	go run ./interop/cluster kafka        three nodes of Apache Kafka
//	go run ./interop/cluster both         both, and what they answer side by side
//
// It prints one line a check and ends with 1 if one failed. -port is the first of nine ports.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	port := flag.Int("port", 28100, "first of nine ports")
	keep := flag.Bool("keep", false, "leave the directories of the nodes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	which := flag.Arg(0)
	if which == "" {
		which = "logstead"
	}
	failed, err := run(ctx, which, *port, *keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, which string, port int, keep bool) (failed int, err error) {
	root, err := filepath.Abs(".")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "logstead-cluster-")
	if err != nil {
		return 0, err
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	var answers []map[string]string
	for _, kind := range []string{"logstead", "kafka"} {
		if which != kind && which != "both" {
			continue
		}
		c := &cluster{kind: kind, root: root, dir: filepath.Join(dir, kind), port: port}
		answered, bad, err := c.check(ctx)
		if err != nil {
			return failed, fmt.Errorf("%s: %w", kind, err)
		}
		failed += bad
		answers = append(answers, answered)
	}
	if len(answers) == 2 {
		for _, name := range stepNames() {
			if answers[0][name] != answers[1][name] {
				fmt.Printf("differs  %s\n  logstead: %s\n  kafka:    %s\n", name, oneLine(answers[0][name]), oneLine(answers[1][name]))
			}
		}
	}
	return failed, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// cluster is three nodes of one kind.
type cluster struct {
	kind, root, dir string
	port            int
	binary          string
	nodes           [4]*exec.Cmd // by id
}

func (c *cluster) kafka(id int) string { return fmt.Sprintf("127.0.0.1:%d", c.port+id-1) }
func (c *cluster) ctl(id int) string   { return fmt.Sprintf("127.0.0.1:%d", c.port+id+2) }

func (c *cluster) bootstrap() string {
	return c.kafka(1) + "," + c.kafka(2) + "," + c.kafka(3)
}

const clusterID = "bG9nc3RlYWQtaW50ZXJvcA"

// format writes the three server.properties, the same for both kinds, and formats the directories.
func (c *cluster) format(ctx context.Context) error {
	c.binary = filepath.Join(c.dir, "logstead") // its command line is tried against both kinds
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", c.binary, "./cmd/logstead").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	for id := 1; id <= 3; id++ {
		if err := os.MkdirAll(c.nodeDir(id), 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=1@%s,2@%s,3@%s
listeners=PLAINTEXT://%s,CONTROLLER://%s
controller.listener.names=CONTROLLER
log.dirs=%s
default.replication.factor=3
min.insync.replicas=2
offsets.topic.num.partitions=5
broker.session.timeout.ms=6000
replica.lag.time.max.ms=5000
`, id, c.ctl(1), c.ctl(2), c.ctl(3), c.kafka(id), c.ctl(id), filepath.Join(c.nodeDir(id), "data"))
		if c.kind == "logstead" {
			text += "logstead.http.listeners=\n"
		}
		if err := os.WriteFile(c.properties(id), []byte(text), 0o644); err != nil {
			return err
		}
		argv := []string{c.binary, "storage", "format", "--cluster-id", clusterID, "--config", c.properties(id)}
		if c.kind == "kafka" {
			argv = []string{
				filepath.Join(c.root, "interop/kafka.sh"), "tool", "kafka.tools.StorageTool", "format", "-t", clusterID,
				"-c", c.properties(id),
			}
		}
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("format node %d: %w: %s", id, err, out)
		}
	}
	return nil
}

func (c *cluster) nodeDir(id int) string    { return filepath.Join(c.dir, fmt.Sprintf("node-%d", id)) }
func (c *cluster) properties(id int) string { return filepath.Join(c.nodeDir(id), "server.properties") }

func (c *cluster) start(id int) error {
	argv := []string{c.binary, "server", "--config", c.properties(id)}
	if c.kind == "kafka" {
		argv = []string{filepath.Join(c.root, "interop/kafka.sh"), "exec", c.properties(id)}
	}
	log, err := os.OpenFile(filepath.Join(c.nodeDir(id), "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it is stopped by signal
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.nodes[id] = cmd
	return nil
}

// end signals a node and waits until it is gone.
func (c *cluster) end(id int, sig os.Signal) {
	cmd := c.nodes[id]
	if cmd == nil {
		return
	}
	c.nodes[id] = nil
	_ = cmd.Process.Signal(sig)
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(40 * time.Second):
		_ = cmd.Process.Kill()
		<-gone
	}
}

// tool runs one of Kafka's tools and returns everything that it says.
func (c *cluster) tool(ctx context.Context, class string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	argv := append([]string{"tool", class}, args...)
	out, err := exec.CommandContext(ctx, filepath.Join(c.root, "interop/kafka.sh"), argv...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", class, strings.Join(args, " "), err, oneLine(string(out)))
	}
	return string(out), nil
}

// check runs the steps; answered is what each came to, with what changes from run to run left out.
func (c *cluster) check(ctx context.Context) (answered map[string]string, failed int, err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, 0, err
	}
	if err := c.format(ctx); err != nil {
		return nil, 0, err
	}
	defer func() {
		for id := 1; id <= 3; id++ {
			c.end(id, os.Kill)
		}
	}()
	for id := 1; id <= 3; id++ {
		if err := c.start(id); err != nil {
			return nil, 0, err
		}
	}
	answered = map[string]string{}
	for _, s := range steps {
		began := time.Now()
		out, err := s.run(ctx, c)
		answered[s.name] = out
		word := "ok"
		if err != nil {
			word = "FAILED"
			failed++
		}
		fmt.Printf("%-8s %-8s %-52s %5.1f s\n", word, c.kind, s.name, time.Since(began).Seconds())
		if err != nil {
			fmt.Println("        ", oneLine(err.Error()))
		}
		if ctx.Err() != nil {
			return answered, failed, ctx.Err()
		}
	}
	return answered, failed, nil
}
