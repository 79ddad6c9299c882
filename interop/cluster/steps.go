package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The classes behind Kafka's command-line tools.
const (
	topics   = "org.apache.kafka.tools.TopicCommand"
	configs  = "kafka.admin.ConfigCommand"
	logDirs  = "org.apache.kafka.tools.LogDirsCommand"
	features = "org.apache.kafka.tools.FeatureCommand"
	quorum   = "org.apache.kafka.tools.MetadataQuorumCommand"
	elect    = "org.apache.kafka.tools.LeaderElectionCommand"
	reassign = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	verify   = "org.apache.kafka.tools.VerifiableProducer"
	offsets  = "org.apache.kafka.tools.GetOffsetShell"
	replicas = "org.apache.kafka.tools.ReplicaVerificationTool"
	versions = "org.apache.kafka.tools.BrokerApiVersionsCommand"
)

// steps are those of Kafka's tools, then those of logstead's command line, whose last takes a node out.
var steps = append(slices.Clone(toolSteps), cliSteps...)

// step is one check. What it returns is compared between the two kinds of cluster.
type step struct {
	name string
	run  func(context.Context, *cluster) (string, error)
}

func stepNames() (names []string) {
	for _, s := range steps {
		names = append(names, s.name)
	}
	return names
}

// toolSteps build on each other in this order.
var toolSteps = []step{
	{"three brokers come up", func(ctx context.Context, c *cluster) (string, error) {
		return c.until(ctx, 60*time.Second, func() (string, error) {
			out, err := c.admin(ctx, versions)
			if err == nil && strings.Count(out, "-> (") != 3 {
				err = fmt.Errorf("want three brokers: %s", oneLine(out)[:min(200, len(oneLine(out)))])
			}
			return "", err
		})
	}},
	{"topics: create with replication factor 3", expect(topics, []string{"Created topic orders"},
		"--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "3")},
	{"topics: describe", func(ctx context.Context, c *cluster) (string, error) {
		return c.inSync(ctx, 3)
	}},
	{"topics: replication factor above the brokers", refuse(topics, "larger than available brokers|replication factor",
		"--create", "--topic", "large", "--partitions", "1", "--replication-factor", "4")},
	{"produce with acks=all", produce(500)},
	{"configs: cluster-wide and one broker's", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.admin(ctx, configs, "--alter", "--entity-type", "brokers", "--entity-default", "--add-config",
			"log.retention.ms=360000000"); err != nil {
			return "", err
		}
		if _, err := c.admin(ctx, configs, "--alter", "--entity-type", "brokers", "--entity-name", "2", "--add-config",
			"log.cleaner.threads=2"); err != nil {
			return "", err
		}
		out, err := c.admin(ctx, configs, "--describe", "--entity-type", "brokers", "--entity-name", "2", "--all")
		return has(out, err, "log.cleaner.threads=2", "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=360000000")
	}},
	{"metadata-quorum: status", func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, quorum, "describe", "--status")
		return has(out, err, "LeaderId:", "CurrentVoters:", `"id": 1`, `"id": 2`, `"id": 3`)
	}},
	{"metadata-quorum: replication", func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, quorum, "describe", "--replication")
		if err == nil && (strings.Count(out, "Leader") < 1 || strings.Count(out, "Follower") != 2) {
			err = fmt.Errorf("want a leader and two followers: %s", oneLine(out))
		}
		return "", err
	}},
	{"features: describe", func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, features, "describe")
		return has(out, err, "metadata.version", "transaction.version")
	}},
	{"log-dirs: of every broker", func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, logDirs, "--describe", "--topic-list", "orders")
		if err == nil && strings.Count(out, `"partition":"orders-0"`) != 3 {
			err = fmt.Errorf("want orders-0 on three brokers: %s", oneLine(out))
		}
		return "", err
	}},
	{"reassign-partitions: to two brokers, and verify", func(ctx context.Context, c *cluster) (string, error) {
		return c.reassign(ctx, "[1,2]", "[2,3]", "[3,1]")
	}},
	{"reassign-partitions: back to three", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.reassign(ctx, "[1,2,3]", "[2,3,1]", "[3,1,2]"); err != nil {
			return "", err
		}
		return c.inSync(ctx, 3)
	}},
	{"a node is killed: partitions get other leaders", func(ctx context.Context, c *cluster) (string, error) {
		c.end(2, os.Kill)
		return c.until(ctx, 20*time.Second, func() (string, error) {
			out, err := c.admin(ctx, topics, "--describe", "--topic", "orders")
			if err == nil && (strings.Contains(out, "Leader: 2") || strings.Contains(out, "Leader: none")) {
				err = fmt.Errorf("no other leader: %s", oneLine(out))
			}
			return "", err
		})
	}},
	{"produce with a node down", produce(500)},
	{"topics: under-replicated partitions", expect(topics, []string{"Topic: orders"}, "--describe", "--under-replicated-partitions")},
	{"the node comes back and catches up", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.start(2); err != nil {
			return "", err
		}
		return c.inSync(ctx, 3)
	}},
	{"leader-election: preferred", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.admin(ctx, elect, "--election-type", "preferred", "--all-topic-partitions"); err != nil {
			return "", err
		}
		out, err := c.admin(ctx, topics, "--describe", "--topic", "orders")
		return has(out, err, "Partition: 0 Leader: 1", "Partition: 1 Leader: 2", "Partition: 2 Leader: 3")
	}},
	{"replica-verification: no lag", func(ctx context.Context, c *cluster) (string, error) {
		return c.replicasAgree(ctx)
	}},
	{"a node is stopped in order: nothing is without a leader", func(ctx context.Context, c *cluster) (string, error) {
		c.end(3, syscall.SIGTERM)
		out, err := c.admin(ctx, topics, "--describe", "--unavailable-partitions")
		if err == nil && strings.Contains(out, "Topic: orders") {
			err = fmt.Errorf("unavailable: %s", oneLine(out))
		}
		return "", err
	}},
	{"produce while it is down", produce(500)},
	{"it comes back", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.start(3); err != nil {
			return "", err
		}
		return c.inSync(ctx, 3)
	}},
	{"get-offsets: every acknowledged record is there once", func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, offsets, "--topic", "orders")
		sum := 0
		for _, m := range regexp.MustCompile(`orders:\d+:(\d+)`).FindAllStringSubmatch(out, -1) {
			n := 0
			_, _ = fmt.Sscan(m[1], &n)
			sum += n
		}
		if err == nil && sum != 1500 {
			err = fmt.Errorf("%d records, want 1500: %s", sum, oneLine(out))
		}
		return fmt.Sprint(sum), err
	}},
	{"topics: delete", expect(topics, nil, "--delete", "--topic", "orders")},
}

// admin runs a tool against the whole cluster.
func (c *cluster) admin(ctx context.Context, class string, args ...string) (string, error) {
	return c.tool(ctx, class, append([]string{"--bootstrap-server", c.bootstrap()}, args...)...)
}

// has wants texts in an output whose white space does not matter.
func has(out string, err error, texts ...string) (string, error) {
	if err != nil {
		return "", err
	}
	for _, t := range texts {
		if !strings.Contains(oneLine(out), t) {
			return "", fmt.Errorf("no %q in: %s", t, oneLine(out))
		}
	}
	return "", nil
}

func expect(class string, texts []string, args ...string) func(context.Context, *cluster) (string, error) {
	return func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, class, args...)
		return has(out, err, texts...)
	}
}

// refuse wants the tool to fail with words that match.
func refuse(class, words string, args ...string) func(context.Context, *cluster) (string, error) {
	return func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, class, args...)
		if !regexp.MustCompile(words).MatchString(out) {
			return "", fmt.Errorf("want %q, got: %s (%w)", words, oneLine(out), err)
		}
		return "", nil
	}
}

func produce(n int) func(context.Context, *cluster) (string, error) {
	return func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, verify, "--topic", "orders", "--max-messages", fmt.Sprint(n), "--acks", "-1")
		return has(out, err, fmt.Sprintf(`"acked":%d`, n))
	}
}

// until tries again until there is no error.
func (c *cluster) until(ctx context.Context, limit time.Duration, try func() (string, error)) (string, error) {
	for end := time.Now().Add(limit); ; {
		out, err := try()
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			return out, err
		}
	}
}

// inSync waits until each of the three partitions has n in-sync replicas.
func (c *cluster) inSync(ctx context.Context, n int) (string, error) {
	isr := regexp.MustCompile(`Isr: ([\d,]+)`)
	return c.until(ctx, 60*time.Second, func() (string, error) {
		out, err := c.admin(ctx, topics, "--describe", "--topic", "orders")
		if err != nil {
			return "", err
		}
		all := isr.FindAllStringSubmatch(out, -1)
		for _, m := range all {
			if len(strings.Split(m[1], ",")) != n {
				err = fmt.Errorf("want %d in-sync replicas: %s", n, oneLine(out))
			}
		}
		if len(all) != 3 {
			err = fmt.Errorf("want three partitions: %s", oneLine(out))
		}
		return "", err
	})
}

// reassign moves the three partitions and waits until that is done.
func (c *cluster) reassign(ctx context.Context, to ...string) (string, error) {
	var parts []string
	for i, r := range to {
		parts = append(parts, fmt.Sprintf(`{"topic":"orders","partition":%d,"replicas":%s}`, i, r))
	}
	plan := filepath.Join(c.dir, "plan.json")
	text := `{"version":1,"partitions":[` + strings.Join(parts, ",") + `]}`
	if err := os.WriteFile(plan, []byte(text), 0o644); err != nil {
		return "", err
	}
	if out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--execute"); err != nil {
		return out, err
	}
	return c.until(ctx, 60*time.Second, func() (string, error) {
		out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--verify")
		if err == nil && strings.Count(out, "is completed") != 3 {
			err = fmt.Errorf("not completed: %s", oneLine(out))
		}
		return "", err
	})
}

// replicasAgree lets the verification tool, which runs for ever, look twice.
func (c *cluster) replicasAgree(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 12*time.Second)
	defer cancel()
	out, err := c.tool(ctx, replicas, "--broker-list", c.bootstrap(), "--topics-include", "orders",
		"--report-interval-ms", "2000")
	if !strings.Contains(out, "max lag is 0 for partition") {
		return "", fmt.Errorf("no report of no lag: %s (%w)", oneLine(out), err)
	}
	return "", nil
}
