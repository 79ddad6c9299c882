package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// The classes behind Kafka's command-line tools.
const (
	topicsTool   = "org.apache.kafka.tools.TopicCommand"
	configsTool  = "kafka.admin.ConfigCommand"
	groupsTool   = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	offsetsTool  = "org.apache.kafka.tools.GetOffsetShell"
	deleteTool   = "org.apache.kafka.tools.DeleteRecordsCommand"
	logDirsTool  = "org.apache.kafka.tools.LogDirsCommand"
	txnTool      = "org.apache.kafka.tools.TransactionsCommand"
	featuresTool = "org.apache.kafka.tools.FeatureCommand"
	quorumTool   = "org.apache.kafka.tools.MetadataQuorumCommand"
	versionsTool = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	clusterTool  = "org.apache.kafka.tools.ClusterTool"
	aclTool      = "org.apache.kafka.tools.AclCommand"
	electTool    = "org.apache.kafka.tools.LeaderElectionCommand"
	reassignTool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	allGroups    = "org.apache.kafka.tools.GroupsCommand"
	producerTool = "org.apache.kafka.tools.ConsoleProducer"
	consumerTool = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	perfProducer = "org.apache.kafka.tools.ProducerPerformance"
	perfConsumer = "org.apache.kafka.tools.ConsumerPerformance"
	latencyTool  = "org.apache.kafka.tools.EndToEndLatency"
	verifyTool   = "org.apache.kafka.tools.VerifiableProducer"
	verifyReader = "org.apache.kafka.tools.VerifiableConsumer"
	metricsTool  = "org.apache.kafka.tools.ClientMetricsCommand"
	dumpTool     = "org.apache.kafka.tools.DumpLogSegments"
)

// toolRun is the state that one pass over the tools shares.
type toolRun struct {
	*Run
	topic, group string
}

// tools runs Kafka's own command-line tools. The steps build on each other in this order.
func tools(ctx context.Context, r *Run) {
	t := &toolRun{Run: r, topic: r.id + "-tools", group: r.id + "-tools-group"}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"kafka-topics", t.topics},
		{"kafka-configs", t.configs},
		{"kafka-console-producer/consumer", t.console},
		{"kafka-get-offsets", t.offsets},
		{"kafka-consumer-groups", t.groups},
		{"kafka-consumer-groups reset", t.reset},
		{"kafka-delete-records", t.deleteRecords},
		{"kafka-log-dirs", t.logDirs},
		{"kafka-producer-perf-test", t.producerPerf},
		{"kafka-consumer-perf-test", t.consumerPerf},
		{"kafka-e2e-latency", t.latency},
		{"kafka-verifiable-producer/consumer", t.verifiable},
		{"kafka-transactions", t.transactions},
		{"kafka-features", t.features},
		{"kafka-metadata-quorum", t.quorum},
		{"kafka-broker-api-versions", t.versions},
		{"kafka-cluster", t.cluster},
		{"kafka-acls", t.acls},
		{"kafka-leader-election", t.election},
		{"kafka-reassign-partitions", t.reassign},
		{"kafka-groups", t.listGroups},
		{"kafka-client-metrics", t.clientMetrics},
		{"kafka-topics delete", t.deleteTopic},
	}
	for _, s := range steps {
		r.check(ctx, "kafka-tools", s.name, 3*time.Minute, s.run)
	}
}

// expectTool runs a tool and checks its output for each of the texts.
func (t *toolRun) expectTool(ctx context.Context, texts []string, class string, args ...string) error {
	out, err := t.tool(ctx, class, args...)
	if err != nil {
		return err
	}
	if err := contains(out, texts...); err != nil {
		return fmt.Errorf("%s: %w", brief(append([]string{class}, args...)), err)
	}
	return nil
}

// failTool runs a tool that must say one of the texts, whether it exits with an error or not.
func (t *toolRun) failTool(ctx context.Context, text string, class string, args ...string) error {
	out, err := t.tool(ctx, class, args...)
	if err != nil {
		out += err.Error()
	}
	return contains(out, text)
}

func (t *toolRun) topics(ctx context.Context) error {
	return errors.Join(
		t.expectTool(ctx, []string{"Created topic " + t.topic}, topicsTool, "--create", "--topic", t.topic,
			"--partitions", "2", "--replication-factor", strconv.Itoa(t.target.replicas()), "--config", "retention.ms=7200000"),
		t.failTool(ctx, "already exists", topicsTool, "--create", "--topic", t.topic, "--partitions", "1"),
		t.expectTool(ctx, []string{t.topic}, topicsTool, "--list"),
		t.expectTool(ctx, nil, topicsTool, "--alter", "--topic", t.topic, "--partitions", "3"),
		t.described(ctx),
		t.expectTool(ctx, nil, topicsTool, "--describe", "--under-replicated-partitions"),
		t.expectTool(ctx, []string{t.topic}, topicsTool, "--describe", "--topics-with-overrides", "--topic", t.topic),
		t.failTool(ctx, "does not exist as expected", topicsTool, "--describe", "--topic", t.topic+"-none"),
	)
}

// described checks that each partition has a leader and all its replicas in sync.
func (t *toolRun) described(ctx context.Context) error {
	out, err := t.tool(ctx, topicsTool, "--describe", "--topic", t.topic)
	if err != nil {
		return err
	}
	inSync := regexp.MustCompile(fmt.Sprintf(`Partition: \d\s+Leader: \d\s.*Isr: \d(,\d){%d}\s`, t.target.replicas()-1))
	return errors.Join(
		contains(out, "PartitionCount: 3", fmt.Sprintf("ReplicationFactor: %d", t.target.replicas()), "retention.ms=7200000", "Partition: 2"),
		want("partitions in sync in\n"+out, len(inSync.FindAllString(out, -1)), 3),
	)
}

func (t *toolRun) configs(ctx context.Context) error {
	topic := []string{"--entity-type", "topics", "--entity-name", t.topic}
	return errors.Join(
		t.expectTool(ctx, []string{"Completed updating config"}, configsTool,
			append(topic, "--alter", "--add-config", "max.message.bytes=2000000,cleanup.policy=[compact,delete]")...),
		t.expectTool(ctx, []string{"max.message.bytes=2000000", "cleanup.policy=compact,delete"}, configsTool, append(topic, "--describe")...),
		t.expectTool(ctx, []string{"segment.bytes=1073741824", "DEFAULT_CONFIG"}, configsTool, append(topic, "--describe", "--all")...),
		t.expectTool(ctx, []string{"Completed updating config"}, configsTool,
			append(topic, "--alter", "--delete-config", "cleanup.policy")...),
		t.failTool(ctx, "InvalidConfigurationException", configsTool, append(topic, "--alter", "--add-config", "retention.ms=soon")...),
		t.expectTool(ctx, []string{"log.retention.hours"}, configsTool, "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"),
		t.expectTool(ctx, []string{"Completed updating"}, configsTool, "--entity-type", "brokers", "--entity-default", "--alter",
			"--add-config", "log.cleaner.threads=2"),
		t.expectTool(ctx, []string{"log.cleaner.threads=2"}, configsTool, "--entity-type", "brokers", "--entity-default", "--describe"),
		t.expectTool(ctx, []string{"Completed updating"}, configsTool, "--entity-type", "brokers", "--entity-default", "--alter",
			"--delete-config", "log.cleaner.threads"),
		t.expectTool(ctx, []string{"Completed updating"}, configsTool, "--entity-type", "clients", "--entity-name", t.id, "--alter",
			"--add-config", "producer_byte_rate=100000000"),
		t.expectTool(ctx, []string{"producer_byte_rate=1.0E8"}, configsTool, "--entity-type", "clients", "--entity-name", t.id, "--describe"),
		t.expectTool(ctx, []string{"Completed updating"}, configsTool, "--entity-type", "groups", "--entity-name", t.group, "--alter",
			"--add-config", "consumer.session.timeout.ms=50000"),
		t.expectTool(ctx, []string{"consumer.session.timeout.ms=50000"}, configsTool, "--entity-type", "groups", "--entity-name", t.group, "--describe"),
	)
}

// lines are n records for the console producer, "kN:vN".
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d:v%d\n", i, i)
	}
	return b.String()
}

func (t *toolRun) console(ctx context.Context) error {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		_, err := t.toolIn(ctx, lines(20), producerTool, "--topic", t.topic, "--compression-codec", codec,
			"--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
		if err != nil {
			return err
		}
	}
	out, err := t.tool(ctx, consumerTool, "--topic", t.topic, "--from-beginning", "--max-messages", "100", "--group", t.group,
		"--formatter-property", "print.key=true", "--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true",
		"--timeout-ms", "30000")
	if err != nil {
		return err
	}
	if err := want("records", strings.Count(out, "\tk"), 100); err != nil {
		return err
	}
	_, err = t.tool(ctx, consumerTool, "--topic", t.topic, "--partition", "0", "--offset", "1", "--max-messages", "1", "--timeout-ms", "30000",
		"--isolation-level", "read_committed")
	return err
}

func (t *toolRun) offsets(ctx context.Context) error {
	sum := func(time string) (int, error) {
		out, err := t.tool(ctx, offsetsTool, "--topic", t.topic, "--time", time)
		if err != nil {
			return 0, err
		}
		total := 0
		for _, line := range strings.Fields(out) {
			var part, offset int
			if _, err := fmt.Sscanf(strings.TrimPrefix(line, t.topic), ":%d:%d", &part, &offset); err != nil {
				return 0, fmt.Errorf("line %q: %w", line, err)
			}
			total += offset
		}
		return total, nil
	}
	for _, c := range []struct {
		time   string
		expect int
	}{{"latest", 100}, {"earliest", 0}, {"-1", 100}, {"0", 0}} {
		got, err := sum(c.time)
		if err != nil {
			return err
		}
		if err := want("sum of offsets at "+c.time, got, c.expect); err != nil {
			return err
		}
	}
	return t.expectTool(ctx, []string{t.topic + ":"}, offsetsTool, "--topic", t.topic, "--time", "max-timestamp")
}

func (t *toolRun) groups(ctx context.Context) error {
	return errors.Join(
		t.expectTool(ctx, []string{t.group}, groupsTool, "--list"),
		t.expectTool(ctx, []string{t.group, "Empty"}, groupsTool, "--list", "--state"),
		t.expectTool(ctx, []string{t.topic, "CURRENT-OFFSET", "LOG-END-OFFSET"}, groupsTool, "--describe", "--group", t.group),
		t.expectTool(ctx, []string{"Empty"}, groupsTool, "--describe", "--group", t.group, "--state"),
		t.expectTool(ctx, nil, groupsTool, "--describe", "--group", t.group, "--members", "--verbose"),
		t.expectTool(ctx, nil, groupsTool, "--describe", "--all-groups"),
		t.failTool(ctx, "not found", groupsTool, "--describe", "--group", t.group+"-none"),
	)
}

func (t *toolRun) reset(ctx context.Context) error {
	reset := func(texts []string, how ...string) error {
		return t.expectTool(ctx, texts, groupsTool, append([]string{"--group", t.group, "--reset-offsets"}, how...)...)
	}
	file := filepath.Join(t.work, "offsets.csv")
	csv := t.topic + ",0,2\n" + t.topic + ",1,3\n"
	if err := os.WriteFile(file, []byte(csv), 0o644); err != nil {
		return err
	}
	return errors.Join(
		reset([]string{t.topic}, "--topic", t.topic, "--to-earliest", "--dry-run"),
		reset([]string{t.topic}, "--topic", t.topic, "--to-earliest", "--execute"),
		reset([]string{t.topic}, "--topic", t.topic, "--shift-by", "5", "--execute"),
		reset([]string{t.topic}, "--topic", t.topic+":0,1", "--to-offset", "3", "--execute"),
		reset([]string{t.topic}, "--all-topics", "--to-datetime", "2020-01-01T00:00:00.000", "--execute"),
		reset([]string{t.topic}, "--all-topics", "--by-duration", "PT1H", "--execute"),
		reset([]string{t.topic}, "--all-topics", "--to-latest", "--export", "--dry-run"),
		reset([]string{t.topic}, "--from-file", file, "--execute"),
		t.expectTool(ctx, []string{t.topic}, groupsTool, "--describe", "--group", t.group),
		t.expectTool(ctx, nil, groupsTool, "--delete-offsets", "--group", t.group, "--topic", t.topic),
		t.expectTool(ctx, []string{"successful"}, groupsTool, "--delete", "--group", t.group),
		t.failTool(ctx, "GroupIdNotFoundException", groupsTool, "--delete", "--group", t.group),
	)
}

func (t *toolRun) deleteRecords(ctx context.Context) error {
	file := filepath.Join(t.work, "delete.json")
	json := fmt.Sprintf(`{"version":1,"partitions":[{"topic":%q,"partition":0,"offset":3}]}`, t.topic)
	if err := os.WriteFile(file, []byte(json), 0o644); err != nil {
		return err
	}
	return errors.Join(
		t.expectTool(ctx, []string{"low_watermark: 3"}, deleteTool, "--offset-json-file", file),
		t.expectTool(ctx, []string{t.topic + ":0:3"}, offsetsTool, "--topic", t.topic, "--time", "earliest"),
	)
}

func (t *toolRun) logDirs(ctx context.Context) error {
	return t.expectTool(ctx, []string{`"logDir"`, t.topic + "-0", `"size"`, `"error":null`}, logDirsTool, "--describe", "--topic-list", t.topic)
}

func (t *toolRun) producerPerf(ctx context.Context) error {
	for _, more := range [][]string{{}, {"--transactional-id", t.id + "-perf", "--transaction-duration-ms", "100"}} {
		args := append([]string{"--topic", t.topic, "--num-records", "20000", "--record-size", "200", "--throughput", "-1",
			"--command-property", "acks=all"}, more...)
		if err := t.expectTool(ctx, []string{"20000 records sent"}, perfProducer, args...); err != nil {
			return err
		}
	}
	return nil
}

func (t *toolRun) consumerPerf(ctx context.Context) error {
	return t.expectTool(ctx, []string{"data.consumed.in.MB"}, perfConsumer, "--topic", t.topic, "--num-records", "20000",
		"--group", t.id+"-perf-group", "--timeout", "30000")
}

func (t *toolRun) latency(ctx context.Context) error {
	return t.expectTool(ctx, []string{"Avg latency"}, latencyTool, "--topic", t.topic+"-latency", "--num-records", "200",
		"--producer-acks", "all", "--record-size", "100")
}

func (t *toolRun) verifiable(ctx context.Context) error {
	return errors.Join(
		t.expectTool(ctx, []string{`"sent":500`, `"acked":500`}, verifyTool, "--topic", t.topic+"-v", "--max-messages", "500", "--throughput", "-1"),
		t.expectTool(ctx, []string{"partitions_assigned", "shutdown_complete"}, verifyReader, "--topic", t.topic+"-v",
			"--group-id", t.id+"-verifiable", "--max-messages", "500"),
	)
}

func (t *toolRun) transactions(ctx context.Context) error {
	id := t.id + "-perf"
	if err := errors.Join(
		t.expectTool(ctx, []string{id, "CompleteCommit"}, txnTool, "list"),
		t.expectTool(ctx, []string{id, "CompleteCommit"}, txnTool, "describe", "--transactional-id", id),
		t.expectTool(ctx, []string{"ProducerId"}, txnTool, "describe-producers", "--topic", t.topic, "--partition", "0"),
		t.expectTool(ctx, nil, txnTool, "find-hanging", "--broker-id", "1"),
		t.failTool(ctx, "could not be found", txnTool, "describe", "--transactional-id", id+"-none"),
	); err != nil {
		return err
	}
	// It says nothing; what it does is give the id a new epoch.
	return errors.Join(
		t.expectTool(ctx, nil, txnTool, "forceTerminateTransaction", "--transactionalId", id),
		t.expectTool(ctx, []string{id, "Empty"}, txnTool, "describe", "--transactional-id", id),
	)
}

func (t *toolRun) features(ctx context.Context) error {
	return t.expectTool(ctx, []string{"metadata.version", "group.version", "transaction.version", "FinalizedVersionLevel: 4.3"}, featuresTool, "describe")
}

func (t *toolRun) quorum(ctx context.Context) error {
	return errors.Join(
		t.expectTool(ctx, []string{"ClusterId:", "LeaderId:", "HighWatermark:"}, quorumTool, "describe", "--status"),
		t.expectTool(ctx, []string{"NodeId", "Leader"}, quorumTool, "describe", "--replication"),
	)
}

func (t *toolRun) versions(ctx context.Context) error {
	return t.expectTool(ctx, []string{"Produce(0): 0 to 13 [usable: 13]", "Fetch(1): 4 to 18 [usable: 18]", "Metadata(3): 0 to 13 [usable: 13]"}, versionsTool)
}

func (t *toolRun) cluster(ctx context.Context) error {
	run := func(text string, args ...string) error {
		args = append(args, "--bootstrap-server", t.target.addr)
		out, err := t.exec(ctx, toolLimit, nil, t.java(clusterTool, args...)...)
		return errors.Join(err, contains(out, text))
	}
	return errors.Join(run("Cluster ID:", "cluster-id"), run("127.0.0.1", "list-endpoints"))
}

func (t *toolRun) acls(ctx context.Context) error {
	if err := t.failTool(ctx, "SecurityDisabledException", aclTool, "--list"); err != nil {
		return err
	}
	return t.withAuthorizer(ctx)
}

// withAuthorizer has the tool work on a broker that has an authorizer: a logstead of its own, whatever the target is.
func (t *toolRun) withAuthorizer(ctx context.Context) error {
	n, err := local.New(ctx, filepath.Join(t.work, "authorizer"))
	if err != nil {
		return err
	}
	n.Set = []string{
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS",
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	out := ""
	acls := func(texts []string, args ...string) error {
		var err error
		args = append([]string{"--bootstrap-server", n.Addr}, args...)
		if out, err = t.execIn(ctx, toolLimit, nil, "", t.java(aclTool, args...)...); err != nil {
			return err
		}
		return contains(out, texts...)
	}
	err = errors.Join(
		acls([]string{"User:ana", "operation=WRITE", "operation=DESCRIBE", "operation=CREATE", "permissionType=ALLOW"},
			"--add", "--allow-principal", "User:ana", "--producer", "--topic", "orders", "--transactional-id", "pay", "--idempotent"),
		acls([]string{"User:bob", "operation=READ"}, "--add", "--allow-principal", "User:bob", "--consumer", "--topic", "team-",
			"--group", "team-", "--resource-pattern-type", "prefixed"),
		acls([]string{"permissionType=DENY", "host=10.0.0.1"}, "--add", "--deny-principal", "User:eve", "--deny-host", "10.0.0.1",
			"--operation", "Read", "--topic", "*"),
		acls([]string{"User:ana", "IDEMPOTENT_WRITE", "TRANSACTIONAL_ID"}, "--list", "--principal", "User:ana"),
		acls([]string{"patternType=PREFIXED", "User:bob", "User:eve"}, "--list", "--topic", "team-1", "--resource-pattern-type", "match"),
		acls(nil, "--remove", "--topic", "team-", "--resource-pattern-type", "prefixed", "--force"),
		acls([]string{"User:eve"}, "--list", "--topic", "team-1", "--resource-pattern-type", "match"),
	)
	if err == nil && strings.Contains(out, "User:bob") {
		err = fmt.Errorf("entries that were removed are still in\n%s", out)
	}
	return errors.Join(err, n.Stop())
}

func (t *toolRun) election(ctx context.Context) error {
	out, err := t.tool(ctx, electTool, "--election-type", "preferred", "--topic", t.topic, "--partition", "0")
	if err != nil {
		return err
	}
	return contains(out, "Valid replica already elected")
}

func (t *toolRun) reassign(ctx context.Context) error {
	topics, plan := filepath.Join(t.work, "topics.json"), filepath.Join(t.work, "plan.json")
	if err := os.WriteFile(topics, []byte(fmt.Sprintf(`{"version":1,"topics":[{"topic":%q}]}`, t.topic)), 0o644); err != nil {
		return err
	}
	out, err := t.tool(ctx, reassignTool, "--generate", "--topics-to-move-json-file", topics, "--broker-list", t.target.ids())
	if err != nil {
		return err
	}
	proposed := regexp.MustCompile(`(?s)Proposed partition reassignment configuration\s*(\{.*\})`).FindStringSubmatch(out)
	if proposed == nil {
		return contains(out, "Proposed partition reassignment configuration")
	}
	if err := os.WriteFile(plan, []byte(proposed[1]), 0o644); err != nil {
		return err
	}
	if err := t.expectTool(ctx, []string{"Successfully started partition reassignments"}, reassignTool, "--execute", "--reassignment-json-file", plan); err != nil {
		return err
	}
	for { // on several nodes replicas may have to be copied
		out, err := t.tool(ctx, reassignTool, "--verify", "--reassignment-json-file", plan)
		if err != nil {
			return err
		}
		if strings.Contains(out, "is completed") && !strings.Contains(out, "in progress") {
			break
		}
	}
	return t.expectTool(ctx, []string{"No partition reassignments found"}, reassignTool, "--list")
}

func (t *toolRun) listGroups(ctx context.Context) error {
	return t.expectTool(ctx, []string{t.id + "-perf-group", "Classic", "consumer"}, allGroups, "--list")
}

func (t *toolRun) clientMetrics(ctx context.Context) error {
	name := t.id + "-metrics"
	return errors.Join(
		t.expectTool(ctx, nil, metricsTool, "--alter", "--name", name, "--metrics", "org.apache.kafka.producer.", "--interval", "60000"),
		t.expectTool(ctx, []string{name}, metricsTool, "--list"),
		t.expectTool(ctx, []string{"interval.ms=60000"}, metricsTool, "--describe", "--name", name),
		t.expectTool(ctx, nil, metricsTool, "--delete", "--name", name),
	)
}

func (t *toolRun) deleteTopic(ctx context.Context) error {
	if err := t.expectTool(ctx, nil, topicsTool, "--delete", "--topic", t.topic); err != nil {
		return err
	}
	out, err := t.tool(ctx, topicsTool, "--list")
	if err != nil {
		return err
	}
	for _, line := range strings.Fields(out) {
		if line == t.topic {
			return fmt.Errorf("%s is still listed after its deletion", t.topic)
		}
	}
	return nil
}
