package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cliSteps try logstead's commands that move replicas, which speak Kafka's own requests. They begin with no topic
// of the user's and end with one node less.
var cliSteps = []step{
	{"cli: node list, quorum describe", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.awaitNodes(ctx, "three nodes that are up", func(n map[int]nodeRow) bool {
			return len(n) == 3 && n[1].State == "up" && n[2].State == "up" && n[3].State == "up"
		}); err != nil {
			return "", err
		}
		return c.until(ctx, patience, func() (string, error) {
			out, err := c.cli(ctx, "quorum", "describe", "-o", "csv")
			if err == nil && (strings.Count(out, ",leader,") != 1 || strings.Count(out, ",voter,") != 2) {
				err = fmt.Errorf("want a leader and two voters: %s", oneLine(out))
			}
			return "", err
		})
	}},
	{"cli: node drain refuses below the replication factor", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.cli(ctx, "topic", "create", "wide", "-p", "1", "-r", "3"); err != nil {
			return "", err
		}
		if err := c.known(ctx, "wide", 1); err != nil { // a broker that has not heard of it would let node 3 be drained
			return "", err
		}
		out, err := c.cli(ctx, "node", "drain", "3", "-y")
		if err == nil || !strings.Contains(err.Error(), "its replication factor of 3 would be broken") {
			return "", fmt.Errorf("it was not refused: %s (%w)", oneLine(out), err)
		}
		_, err = c.cli(ctx, "topic", "delete", "wide", "-y")
		return "", err
	}},
	{"cli: partition move with a throttle, which is taken off", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.cli(ctx, "topic", "create", "moves", "-p", "6", "-r", "2"); err != nil {
			return "", err
		}
		if err := c.known(ctx, "moves", 6); err != nil {
			return "", err
		}
		if err := c.fill(ctx, "moves", 3000); err != nil {
			return "", err
		}
		if _, err := c.cli(ctx, "partition", "move", "moves", "--replicas", "1,2", "--throttle", "50MiB", "-y"); err != nil {
			return "", err
		}
		return c.until(ctx, patience, func() (string, error) {
			if out, err := c.cli(ctx, "partition", "throttle", "-o", "json"); err != nil || strings.TrimSpace(out) != "[]" {
				return "", fmt.Errorf("the throttle is left: %s (%w)", oneLine(out), err)
			}
			out, err := c.admin(ctx, topics, "--describe", "--topic", "moves")
			if err == nil && strings.Count(out, "Replicas: 1,2") != 6 {
				err = fmt.Errorf("want six partitions on 1,2: %s", oneLine(out))
			}
			return "", err
		})
	}},
	{"cli: cluster balance fills the empty broker; Kafka's tool verifies its plan", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.placedEverywhere(ctx, "moves", 1, 2); err != nil { // a broker that has not heard of the move would make another plan
			return "", err
		}
		plan := filepath.Join(c.Dir, "balance.json")
		if _, err := c.cli(ctx, "cluster", "balance", "--execute", "--plan-file", plan, "-y"); err != nil {
			return "", err
		}
		if err := c.awaitNodes(ctx, "four replicas each", func(n map[int]nodeRow) bool {
			return n[1].Replicas == 4 && n[2].Replicas == 4 && n[3].Replicas == 4
		}); err != nil {
			return "", err
		}
		return c.until(ctx, patience, func() (string, error) {
			out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--verify")
			if err == nil && (!strings.Contains(out, "is completed") || strings.Contains(out, "still in progress")) {
				err = fmt.Errorf("not completed: %s", oneLine(out))
			}
			return "", err
		})
	}},
	{"cli: node drain empties a broker and cordons it", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.cli(ctx, "node", "drain", "2", "-y"); err != nil {
			return "", err
		}
		if err := c.awaitNodes(ctx, "node 2 empty and cordoned", func(n map[int]nodeRow) bool {
			return n[2].Replicas == 0 && n[2].Leaders == 0 && n[2].State == "cordoned"
		}); err != nil {
			return "", err
		}
		_, err := c.cli(ctx, "node", "uncordon", "2")
		return "", err
	}},
	{"cli: every record has come along", func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.cli(ctx, "consume", "moves", "-o", ":end", "-f", "%v\n")
		if n := strings.Count(out, "record-"); err == nil && n != 3000 {
			err = fmt.Errorf("%d records, want 3000", n)
		}
		return "", err
	}},
	{"cli: node decommission drains, waits for the stop, unregisters", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.decommission(ctx, 3); err != nil {
			return "", err
		}
		return "", c.awaitNodes(ctx, "node 3 gone, and twelve replicas on the others", func(n map[int]nodeRow) bool {
			return n[3].State != "up" && n[3].State != "down" && n[1].Replicas+n[2].Replicas == 12
		})
	}},
}

// nodeRow is what is checked of logstead node list -o json.
type nodeRow struct {
	ID       int    `json:"id"`
	State    string `json:"state"`
	Leaders  int    `json:"leaders"`
	Replicas int    `json:"replicas"`
}

// awaitNodes waits until node list shows what is wanted: it may ask a broker that has not heard of the last change yet.
func (c *cluster) awaitNodes(ctx context.Context, want string, ok func(map[int]nodeRow) bool) error {
	_, err := c.until(ctx, patience, func() (string, error) {
		nodes, err := c.nodeRows(ctx)
		if err == nil && !ok(nodes) {
			err = fmt.Errorf("want %s: %+v", want, nodes)
		}
		return "", err
	})
	return err
}

func (c *cluster) nodeRows(ctx context.Context) (map[int]nodeRow, error) {
	out, err := c.cli(ctx, "node", "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	var rows []nodeRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, fmt.Errorf("node list: %w: %s", err, out)
	}
	byID := map[int]nodeRow{}
	for _, r := range rows {
		byID[r.ID] = r
	}
	return byID, nil
}

// command is logstead's command line for the whole cluster.
func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Binary, append(args, "--timeout", "30s")...)
	cmd.Env = append(cmd.Environ(), "KAFKA_BOOTSTRAP_SERVERS="+c.Bootstrap())
	return cmd
}

// commandLimit bounds one command: it may wait for replicas that are copied, and for a node that is stopped.
const commandLimit = 5 * time.Minute

// cli runs logstead's command line and returns its output; an error carries what it said.
func (c *cluster) cli(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := c.command(ctx, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("logstead %s: %w: %s", strings.Join(args, " "), err, oneLine(said.String()))
	}
	return string(out), nil
}

// fill produces n records.
func (c *cluster) fill(ctx context.Context, topic string, n int) error {
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "record-%d\n", i)
	}
	cmd := c.command(ctx, "produce", topic)
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("produce: %w: %s", err, oneLine(string(out)))
	}
	return nil
}

// decommission takes a node out and stops it when the command asks for that.
func (c *cluster) decommission(ctx context.Context, id int) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := c.command(ctx, "node", "decommission", fmt.Sprint(id), "-y")
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var all []string
	for lines := bufio.NewScanner(said); lines.Scan(); {
		all = append(all, lines.Text())
		if strings.Contains(lines.Text(), "stop it now") {
			if err := c.End(id, syscall.SIGTERM); err != nil {
				return err
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("decommission: %w: %s", err, strings.Join(all, " | "))
	}
	return nil
}
