package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// The classes behind Kafka's command-line tools.
const (
	topics      = "org.apache.kafka.tools.TopicCommand"
	configs     = "kafka.admin.ConfigCommand"
	logDirs     = "org.apache.kafka.tools.LogDirsCommand"
	features    = "org.apache.kafka.tools.FeatureCommand"
	quorum      = "org.apache.kafka.tools.MetadataQuorumCommand"
	elect       = "org.apache.kafka.tools.LeaderElectionCommand"
	reassign    = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	verify      = "org.apache.kafka.tools.VerifiableProducer"
	offsets     = "org.apache.kafka.tools.GetOffsetShell"
	replicas    = "org.apache.kafka.tools.ReplicaVerificationTool"
	clusterTool = "org.apache.kafka.tools.ClusterTool"
	versions    = "org.apache.kafka.tools.BrokerApiVersionsCommand"
)

// steps are those of Kafka's tools, what goes between brokers, log directories, who may lead, then those of logstead's command
// line, whose last takes a node out.
var steps = slices.Concat(toolSteps, replicationSteps, directorySteps, eligibleSteps, cliSteps)

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
		return c.until(ctx, patience, func() (string, error) {
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
		return eventually(expect(configs, []string{"log.cleaner.threads=2", "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=360000000"},
			"--describe", "--entity-type", "brokers", "--entity-name", "2", "--all"))(ctx, c)
	}},
	{"configs: a topic's, and a client's", topicConfigs},
	{"metadata-quorum: status", eventually(expect(quorum, []string{"LeaderId:", "CurrentVoters:", `"id": 1`, `"id": 2`, `"id": 3`}, "describe", "--status"))},
	{"metadata-quorum: replication", eventually(func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, quorum, "describe", "--replication")
		if err == nil && (strings.Count(out, "Leader") < 1 || strings.Count(out, "Follower") != 2) {
			err = fmt.Errorf("want a leader and two followers: %s", oneLine(out))
		}
		return "", err
	})},
	{"features: describe", eventually(expect(features, []string{"metadata.version", "transaction.version"}, "describe"))},
	{"log-dirs: of every broker", eventually(func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.admin(ctx, logDirs, "--describe", "--topic-list", "orders")
		if err == nil && strings.Count(out, `"partition":"orders-0"`) != 3 {
			err = fmt.Errorf("want orders-0 on three brokers: %s", oneLine(out))
		}
		return "", err
	})},
	{"cluster: id, endpoints of brokers and of controllers", eventually(func(ctx context.Context, c *cluster) (string, error) {
		if out, err := c.tool(ctx, clusterTool, "cluster-id", "--bootstrap-server", c.Bootstrap()); err != nil || !strings.Contains(out, "Cluster ID: ") {
			return "", fmt.Errorf("no cluster id: %s (%w)", oneLine(out), err)
		}
		out, err := c.tool(ctx, clusterTool, "list-endpoints", "--bootstrap-server", c.Bootstrap())
		if err == nil && strings.Count(out, "127.0.0.1") != 3 {
			err = fmt.Errorf("want three endpoints: %s", oneLine(out))
		}
		if err != nil {
			return "", err
		}
		out, err = c.tool(ctx, clusterTool, "list-endpoints", "--bootstrap-controller", c.Controller(1))
		var want []string
		for id := 1; id <= c.Nodes(); id++ {
			want = append(want, fmt.Sprintf("%d %s null controller", id, strings.Replace(c.Controller(id), ":", " ", 1)))
		}
		return has(out, err, want...)
	})},
	{"metadata-quorum: asked at a controller", eventually(func(ctx context.Context, c *cluster) (string, error) {
		out, err := c.tool(ctx, quorum, "--bootstrap-controller", c.Controller(2), "describe", "--status")
		if _, err := has(out, err, "LeaderId:", `"id": 1`, `"id": 2`, `"id": 3`); err != nil {
			return "", err
		}
		out, err = c.tool(ctx, quorum, "--bootstrap-controller", c.Controller(3), "describe", "--replication")
		if err == nil && strings.Count(out, "Follower") != 2 {
			err = fmt.Errorf("want two followers: %s", oneLine(out))
		}
		return "", err
	})},
	{"features and configs: asked at a controller", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.until(ctx, patience, func() (string, error) {
			out, err := c.tool(ctx, features, "--bootstrap-controller", c.Controller(2), "describe")
			return has(out, err, "Feature: metadata.version SupportedMinVersion: 3.3-IV3 SupportedMaxVersion: 4.3-IV0 FinalizedVersionLevel: 4.3-IV0")
		}); err != nil {
			return "", err
		}
		// Another controller than the one that is told shows it, once it has heard.
		if _, err := c.tool(ctx, configs, "--bootstrap-controller", c.Controller(1), "--alter", "--entity-type", "brokers", "--entity-name", "3",
			"--add-config", "log.cleaner.threads=2"); err != nil {
			return "", err
		}
		return c.until(ctx, patience, func() (string, error) {
			out, err := c.tool(ctx, configs, "--bootstrap-controller", c.Controller(3), "--describe", "--entity-type", "brokers", "--entity-name", "3")
			return has(out, err, "log.cleaner.threads=2 sensitive=false")
		})
	}},
	{"features: one that no node knows is refused", refuse(features, `Invalid update version 1 for feature nosuch\.version\. `+
		`Local controller \d does not support this feature\.`, "upgrade", "--feature", "nosuch.version=1")},
	{"features: one down and up again, metadata.version not down", func(ctx context.Context, c *cluster) (string, error) {
		if out, err := refuse(features, "Refusing to perform the requested downgrade", "downgrade", "--metadata", "4.2-IV1")(ctx, c); err != nil {
			return out, err
		}
		for _, change := range [][]string{{"downgrade", "1"}, {"upgrade", "2"}} {
			if _, err := c.admin(ctx, features, change[0], "--feature", "transaction.version="+change[1]); err != nil {
				return "", err
			}
			if _, err := eventually(expect(features, []string{
				"Feature: transaction.version SupportedMinVersion: 0 SupportedMaxVersion: 2 FinalizedVersionLevel: " + change[1],
			}, "describe"))(ctx, c); err != nil {
				return "", err
			}
		}
		return "", nil
	}},
	{"reassign-partitions: generate and list", eventually(func(ctx context.Context, c *cluster) (string, error) {
		file := filepath.Join(c.Dir, "topics.json")
		if err := os.WriteFile(file, []byte(`{"version":1,"topics":[{"topic":"orders"}]}`), 0o644); err != nil {
			return "", err
		}
		out, err := c.admin(ctx, reassign, "--topics-to-move-json-file", file, "--broker-list", "1,2,3", "--generate")
		if err == nil && strings.Count(out, `"partition":2`) != 2 {
			err = fmt.Errorf("want a current and a proposed assignment: %s", oneLine(out))
		}
		if err != nil {
			return "", err
		}
		out, err = c.admin(ctx, reassign, "--list")
		return has(out, err, "No partition reassignments found.")
	})},
	{"reassign-partitions: to two brokers, and verify", func(ctx context.Context, c *cluster) (string, error) {
		return c.reassign(ctx, "[1,2]", "[2,3]", "[3,1]")
	}},
	{"reassign-partitions: back to three", func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.reassign(ctx, "[1,2,3]", "[2,3,1]", "[3,1,2]"); err != nil {
			return "", err
		}
		return c.inSync(ctx, 3)
	}},
	{"topics: more partitions", func(ctx context.Context, c *cluster) (string, error) {
		for _, s := range []func(context.Context, *cluster) (string, error){
			expect(topics, []string{"Created topic wider."}, "--create", "--topic", "wider", "--partitions", "2", "--config", "retention.ms=7200000"),
			refuse(topics, "Topic 'wider' already exists", "--create", "--topic", "wider", "--partitions", "2"),
			func(ctx context.Context, c *cluster) (string, error) { return "", c.known(ctx, "wider", 2) },
			expect(topics, nil, "--alter", "--topic", "wider", "--partitions", "5"),
			refuse(topics, "The topic wider currently has 5 partition\\(s\\); 4 would not be an increase", "--alter", "--topic", "wider", "--partitions", "4"),
			func(ctx context.Context, c *cluster) (string, error) { return "", c.known(ctx, "wider", 5) },
			expect(topics, []string{"PartitionCount: 5 ReplicationFactor: 3 Configs: ", "retention.ms=7200000", "Topic: wider Partition: 4"}, "--describe", "--topic", "wider"),
			expect(topics, []string{"wider"}, "--list", "--exclude-internal"),
			expect(topics, nil, "--delete", "--topic", "wider"),
		} {
			if out, err := s(ctx, c); err != nil {
				return out, err
			}
		}
		return "", nil
	}},
	{"a node is killed: partitions get other leaders", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.End(2, os.Kill); err != nil {
			return "", err
		}
		return c.until(ctx, patience, func() (string, error) {
			out, err := c.admin(ctx, topics, "--describe", "--topic", "orders")
			if err == nil && (strings.Contains(out, "Leader: 2") || strings.Contains(out, "Leader: none")) {
				err = fmt.Errorf("no other leader: %s", oneLine(out))
			}
			return "", err
		})
	}},
	{"produce with a node down", produce(500)},
	{"topics: under-replicated partitions", eventually(expect(topics, []string{"Topic: orders"}, "--describe", "--under-replicated-partitions"))},
	{"topics: at and under min.insync.replicas", eventually(func(ctx context.Context, c *cluster) (string, error) {
		if _, err := expect(topics, []string{"Topic: orders Partition: 0", "Topic: orders Partition: 1", "Topic: orders Partition: 2"},
			"--describe", "--at-min-isr-partitions")(ctx, c); err != nil {
			return "", err
		}
		out, err := c.admin(ctx, topics, "--describe", "--under-min-isr-partitions")
		if err == nil && strings.Contains(out, "Topic: orders") {
			err = fmt.Errorf("two of three in sync are not enough: %s", oneLine(out))
		}
		return "", err
	})},
	{"the node comes back and catches up", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.Start(2); err != nil {
			return "", err
		}
		return c.inSync(ctx, 3)
	}},
	{"leader-election: preferred", eventually(func(ctx context.Context, c *cluster) (string, error) {
		if _, err := c.admin(ctx, elect, "--election-type", "preferred", "--all-topic-partitions"); err != nil {
			return "", err
		}
		out, err := c.admin(ctx, topics, "--describe", "--topic", "orders")
		return has(out, err, "Partition: 0 Leader: 1", "Partition: 1 Leader: 2", "Partition: 2 Leader: 3")
	})},
	{"replica-verification: no lag", func(ctx context.Context, c *cluster) (string, error) {
		return c.replicasAgree(ctx)
	}},
	{"a node is stopped in order: nothing is without a leader", func(ctx context.Context, c *cluster) (string, error) {
		err := c.goes(func(again bool) error {
			if again {
				err := errors.Join(c.Start(3), c.Await(ctx, 3))
				if _, behind := c.inSync(ctx, 3); err != nil || behind != nil {
					return &final{errors.Join(err, behind)}
				}
			}
			if err := c.End(3, syscall.SIGTERM); err != nil {
				return &final{err}
			}
			return errors.Join(c.ledAt(ctx, 1, "orders", 3), c.ledAt(ctx, 2, "orders", 3))
		})
		if err != nil {
			return "", err
		}
		// The tool asks one broker who leads and another who is there.
		return c.until(ctx, patience, func() (string, error) {
			out, err := c.admin(ctx, topics, "--describe", "--unavailable-partitions")
			if err == nil && strings.Contains(out, "Topic: orders") {
				err = fmt.Errorf("unavailable: %s", oneLine(out))
			}
			return "", err
		})
	}},
	{"produce while it is down", produce(500)},
	{"it comes back", func(ctx context.Context, c *cluster) (string, error) {
		if err := c.Start(3); err != nil {
			return "", err
		}
		return c.inSync(ctx, 3)
	}},
	{"get-offsets: every acknowledged record is there once", eventually(func(ctx context.Context, c *cluster) (string, error) {
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
		if sum > 1500 {
			err = &final{err}
		}
		return fmt.Sprint(sum), err
	})},
	{"leader-election: unclean, where nothing in sync is left", func(ctx context.Context, c *cluster) (string, error) {
		return c.unclean(ctx)
	}},
	{"topics: delete", expect(topics, nil, "--delete", "--topic", "orders")},
}

// topicConfigs sets, shows and deletes what a topic and a client have of their own.
func topicConfigs(ctx context.Context, c *cluster) (string, error) {
	topic := []string{"--entity-type", "topics", "--entity-name", "orders"}
	client := []string{"--entity-type", "clients", "--entity-name", "shop"}
	with := func(entity []string, args ...string) []string { return append(slices.Clone(entity), args...) }
	for _, s := range []struct {
		run  func(context.Context, *cluster) (string, error)
		what string
	}{
		{expect(configs, []string{"Completed updating config for topic orders."}, with(topic, "--alter", "--add-config", "max.message.bytes=2000000,flush.messages=9")...), "set"},
		{eventually(expect(configs, []string{"max.message.bytes=2000000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000, DEFAULT_CONFIG:message.max.bytes=1048588}",
			"flush.messages=9"}, with(topic, "--describe")...)), "describe"},
		{expect(configs, []string{"Completed updating config for topic orders."}, with(topic, "--alter", "--delete-config", "max.message.bytes,flush.messages")...), "delete"},
		{refuse(configs, "InvalidConfigurationException|Invalid config value", with(topic, "--alter", "--add-config", "min.insync.replicas=0")...), "refuse"},
		{expect(configs, []string{"Completed updating config for client shop."}, with(client, "--alter", "--add-config", "consumer_byte_rate=1000000")...), "quota"},
		{eventually(expect(configs, []string{"Quota configs for client-id 'shop' are consumer_byte_rate=1000000.0"}, with(client, "--describe")...)), "describe quota"},
		{expect(configs, []string{"Completed updating config for client shop."}, with(client, "--alter", "--delete-config", "consumer_byte_rate")...), "delete quota"},
	} {
		if _, err := s.run(ctx, c); err != nil {
			return "", fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return "", nil
}

// admin runs a tool against the whole cluster.
func (c *cluster) admin(ctx context.Context, class string, args ...string) (string, error) {
	return c.tool(ctx, class, append([]string{"--bootstrap-server", c.Bootstrap()}, args...)...)
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

// patience is how long something may take to come about on a busy machine: how long it does take is measured by other suites.
const patience = 3 * time.Minute

// eventually repeats what only asks, or does no more the second time: the broker that a tool asks may not have heard of the
// last change yet.
func eventually(run func(context.Context, *cluster) (string, error)) func(context.Context, *cluster) (string, error) {
	return func(ctx context.Context, c *cluster) (string, error) {
		return c.until(ctx, patience, func() (string, error) { return run(ctx, c) })
	}
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

// produce writes so many records. By itself the tool tries none again, which a broker refuses that has not heard yet who leads.
func produce(n int) func(context.Context, *cluster) (string, error) {
	return func(ctx context.Context, c *cluster) (string, error) {
		settings := filepath.Join(c.Dir, "producer.properties")
		if err := os.WriteFile(settings, []byte("retries=2147483647\nenable.idempotence=true\n"), 0o644); err != nil {
			return "", err
		}
		out, err := c.admin(ctx, verify, "--topic", "orders", "--max-messages", fmt.Sprint(n), "--acks", "-1", "--command-config", settings)
		return has(out, err, fmt.Sprintf(`"acked":%d`, n))
	}
}

// final is an error that trying again does not mend.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// until tries again until there is no error, or a final one.
func (c *cluster) until(ctx context.Context, limit time.Duration, try func() (string, error)) (string, error) {
	for end := time.Now().Add(limit); ; {
		out, err := try()
		var last *final
		if err == nil || errors.As(err, &last) || time.Now().After(end) || ctx.Err() != nil {
			return out, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// goes does something that depends on time up to three times, as long as it fails: a machine that stands still may make it miss once,
// and again is printed then. A final error has no second go.
func (c *cluster) goes(try func(again bool) error) error {
	var missed []error
	for {
		err := try(len(missed) > 0)
		var last *final
		if err == nil || errors.As(err, &last) {
			return err
		}
		if missed = append(missed, err); len(missed) == local.Goes {
			return fmt.Errorf("missed each time: %w", errors.Join(missed...))
		}
		fmt.Printf("again    %-8s %s\n", c.Kind, oneLine(err.Error()))
	}
}

// inSync waits until each of the three partitions has n in-sync replicas.
func (c *cluster) inSync(ctx context.Context, n int) (string, error) {
	isr := regexp.MustCompile(`Isr: ([\d,]+)`)
	return c.until(ctx, patience, func() (string, error) {
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
	plan := filepath.Join(c.Dir, "plan.json")
	text := `{"version":1,"partitions":[` + strings.Join(parts, ",") + `]}`
	if err := os.WriteFile(plan, []byte(text), 0o644); err != nil {
		return "", err
	}
	if out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--execute"); err != nil {
		return out, err
	}
	return c.until(ctx, patience, func() (string, error) {
		out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--verify")
		if err == nil && strings.Count(out, "is completed") != 3 {
			err = fmt.Errorf("not completed: %s", oneLine(out))
		}
		return "", err
	})
}

// replicasAgree runs the verification tool, which runs for ever, until it has reported.
func (c *cluster) replicasAgree(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := c.toolCommand(ctx, replicas, "--broker-list", c.Bootstrap(), "--topics-include", "orders", "--report-interval-ms", "1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var said []string
	found := false
	for lines := bufio.NewScanner(out); !found && lines.Scan(); {
		said = append(said, lines.Text())
		found = strings.Contains(lines.Text(), "max lag is 0 for partition")
	}
	cancel()
	_ = cmd.Wait() // it was killed
	if !found {
		return "", fmt.Errorf("no report of no lag: %s", strings.Join(said, " | "))
	}
	return "", nil
}

// unclean kills the two replicas of a partition one after the other and brings back the one that fell behind.
func (c *cluster) unclean(ctx context.Context) (string, error) {
	const topic = "risky"
	if _, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", "1:2"); err != nil {
		return "", err
	}
	line := func(want string) (string, error) {
		return c.until(ctx, patience, func() (string, error) {
			out, err := c.admin(ctx, topics, "--describe", "--topic", topic)
			if err == nil && !regexp.MustCompile(want).MatchString(oneLine(out)) {
				err = fmt.Errorf("no %q in: %s", want, oneLine(out))
			}
			return "", err
		})
	}
	if err := c.End(2, os.Kill); err != nil {
		return "", err
	}
	if _, err := line("Isr: 1 "); err != nil {
		return "", err
	}
	if out, err := c.cli(ctx, "produce", topic, "lost", "--acks", "1"); err != nil {
		return out, err
	}
	if err := c.End(1, os.Kill); err != nil {
		return "", err
	}
	if err := c.Start(2); err != nil {
		return "", err
	}
	if _, err := line("Leader: none"); err != nil {
		return "", err
	}
	// Broker 2 may not be back yet.
	if _, err := eventually(expect(elect, nil, "--election-type", "unclean", "--topic", topic, "--partition", "0"))(ctx, c); err != nil {
		return "", err
	}
	if _, err := line("Leader: 2"); err != nil {
		return "", err
	}
	if err := c.Start(1); err != nil {
		return "", err
	}
	if _, err := line("Isr: (2,1|1,2)"); err != nil {
		return "", err
	}
	_, err := c.admin(ctx, topics, "--delete", "--topic", topic)
	return "", err
}
