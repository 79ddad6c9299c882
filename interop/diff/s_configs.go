package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeConfig(kind kmsg.ConfigResourceType, name string, keys ...string) func(*vars, *kmsg.DescribeConfigsRequest) {
	return func(v *vars, r *kmsg.DescribeConfigsRequest) {
		d := kmsg.NewDescribeConfigsRequestResource()
		d.ResourceType, d.ResourceName = kind, exactOr(v, name)
		d.ConfigNames = keys
		r.Resources = append(r.Resources, d)
	}
}

// alterOp is one operation of IncrementalAlterConfigs: 0 set, 1 delete, 2 append, 3 subtract.
type alterOp struct {
	op    kmsg.IncrementalAlterConfigOp
	key   string
	value *string
}

func alterIncrementally(kind kmsg.ConfigResourceType, name string, ops ...alterOp) func(*vars, *kmsg.IncrementalAlterConfigsRequest) {
	return func(v *vars, r *kmsg.IncrementalAlterConfigsRequest) {
		d := kmsg.NewIncrementalAlterConfigsRequestResource()
		d.ResourceType, d.ResourceName = kind, exactOr(v, name)
		for _, o := range ops {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Op, c.Name, c.Value = o.op, o.key, o.value
			d.Configs = append(d.Configs, c)
		}
		r.Resources = append(r.Resources, d)
	}
}

func alterWhole(kind kmsg.ConfigResourceType, name string, kv ...string) func(*vars, *kmsg.AlterConfigsRequest) {
	return func(v *vars, r *kmsg.AlterConfigsRequest) {
		d := kmsg.NewAlterConfigsRequestResource()
		d.ResourceType, d.ResourceName = kind, exactOr(v, name)
		for i := 0; i < len(kv); i += 2 {
			c := kmsg.NewAlterConfigsRequestResourceConfig()
			c.Name, c.Value = kv[i], ptr(kv[i+1])
			d.Configs = append(d.Configs, c)
		}
		r.Resources = append(r.Resources, d)
	}
}

const (
	topicResource   = kmsg.ConfigResourceTypeTopic
	brokerResource  = kmsg.ConfigResourceTypeBroker
	loggerResource  = kmsg.ConfigResourceTypeBrokerLogger
	metricsResource = kmsg.ConfigResourceType(16)
	groupResource   = kmsg.ConfigResourceType(32)
)

// brokerKeys are broker settings that mean the same to any broker.
var brokerKeys = []string{
	"log.retention.ms", "log.retention.hours", "log.retention.bytes", "log.segment.bytes", "log.cleanup.policy", "message.max.bytes",
	"compression.type", "num.partitions", "default.replication.factor", "min.insync.replicas", "auto.create.topics.enable",
	"delete.topic.enable", "offsets.retention.minutes", "offsets.topic.num.partitions", "transaction.max.timeout.ms",
	"transactional.id.expiration.ms", "group.min.session.timeout.ms", "group.max.session.timeout.ms", "group.max.size",
	"socket.request.max.bytes", "connections.max.idle.ms", "max.connections", "max.connections.per.ip", "fetch.max.bytes",
	"log.message.timestamp.type", "log.message.timestamp.before.max.ms", "log.message.timestamp.after.max.ms", "log.roll.ms",
	"log.cleaner.min.cleanable.ratio", "log.cleaner.delete.retention.ms", "unclean.leader.election.enable", "node.id", "background.threads",
}

// valueIs makes a step ask until a config has a value, for Kafka answers before a change has reached all of it.
func valueIs(key, want string) func(*step) {
	return func(s *step) {
		s.until = func(r kmsg.Response) bool {
			for _, c := range r.(*kmsg.DescribeConfigsResponse).Resources[0].Configs {
				if c.Name == key {
					return c.Value != nil && *c.Value == want
				}
			}
			return false
		}
	}
}

func configScenarios() []scenario {
	set, del, add, sub := kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	describe := func(name string, s ...func(*vars, *kmsg.DescribeConfigsRequest)) step {
		return both(name, kmsg.NewPtrDescribeConfigsRequest, s...)
	}
	synonyms := func(_ *vars, r *kmsg.DescribeConfigsRequest) { r.IncludeSynonyms = true }
	docs := func(_ *vars, r *kmsg.DescribeConfigsRequest) { r.IncludeDocumentation = true }
	alter := func(name string, s ...func(*vars, *kmsg.IncrementalAlterConfigsRequest)) step {
		return both(name, kmsg.NewPtrIncrementalAlterConfigsRequest, s...)
	}
	whole := func(name string, s ...func(*vars, *kmsg.AlterConfigsRequest)) step {
		return both(name, kmsg.NewPtrAlterConfigsRequest, s...)
	}
	now := func(name, topic string, keys ...string) step {
		return settled(ask(name, high, kmsg.NewPtrDescribeConfigsRequest, describeConfig(topicResource, topic, keys...), synonyms))
	}
	return []scenario{
		{"describe-configs", concat(makeTopic("dc", 1, "retention.ms", "1000", "cleanup.policy", "compact,delete", "min.insync.replicas", "1"), []step{
			ask("a topic, every version", each, kmsg.NewPtrDescribeConfigsRequest, describeConfig(topicResource, "dc")),
			describe("with synonyms", describeConfig(topicResource, "dc"), synonyms),
			ask("with documentation", high, kmsg.NewPtrDescribeConfigsRequest, describeConfig(topicResource, "dc"), docs),
			describe("two keys and an unknown one", describeConfig(topicResource, "dc", "retention.ms", "segment.bytes", "no.such.key")),
			describe("an unknown topic", describeConfig(topicResource, "dc-none")),
			describe("an invalid topic name", describeConfig(topicResource, "=a b")),
			describe("an empty topic name", describeConfig(topicResource, "=")),
			describe("broker 1, chosen keys", describeConfig(brokerResource, "=1", brokerKeys...), synonyms),
			describe("the brokers' default", describeConfig(brokerResource, "=")),
			describe("broker 77", describeConfig(brokerResource, "=77")),
			describe("a broker that is no number", describeConfig(brokerResource, "=one")),
			describe("a group", describeConfig(groupResource, "dc-group"), synonyms),
			describe("client metrics that are not there", describeConfig(metricsResource, "dc-metrics")),
			describe("loggers of broker 77", describeConfig(loggerResource, "=77")),
			describe("a resource type that is none", describeConfig(99, "dc")),
			describe("type unknown", describeConfig(0, "dc")),
			describe("the same resource twice", describeConfig(topicResource, "dc"), describeConfig(topicResource, "dc")),
			describe("nothing"),
		})},
		{"incremental-alter-configs", concat(makeTopic("iac", 1), []step{
			alter("set", alterIncrementally(topicResource, "iac", alterOp{set, "retention.ms", ptr("5000")}, alterOp{set, "segment.bytes", ptr("2000000")})),
			now("after set", "iac").with(valueIs("retention.ms", "5000")),
			alter("append and subtract", alterIncrementally(topicResource, "iac", alterOp{add, "cleanup.policy", ptr("compact")})),
			now("after append", "iac", "cleanup.policy").with(valueIs("cleanup.policy", "delete,compact")),
			alter("append again", alterIncrementally(topicResource, "iac", alterOp{add, "cleanup.policy", ptr("compact")})),
			alter("subtract", alterIncrementally(topicResource, "iac", alterOp{sub, "cleanup.policy", ptr("delete")})),
			now("after subtract", "iac", "cleanup.policy").with(valueIs("cleanup.policy", "compact")),
			alter("delete", alterIncrementally(topicResource, "iac", alterOp{del, "retention.ms", nil})),
			now("after delete", "iac", "retention.ms", "segment.bytes").with(valueIs("retention.ms", "604800000")),
			alter("delete what is not set", alterIncrementally(topicResource, "iac", alterOp{del, "flush.ms", nil})),
			alter("set to the default", alterIncrementally(topicResource, "iac", alterOp{set, "retention.ms", ptr("604800000")})),
			now("after setting the default", "iac", "retention.ms").with(func(s *step) {
				s.until = func(r kmsg.Response) bool {
					return r.(*kmsg.DescribeConfigsResponse).Resources[0].Configs[0].Source == kmsg.ConfigSourceDynamicTopicConfig
				}
			}),
			alter("null value", alterIncrementally(topicResource, "iac", alterOp{set, "retention.ms", nil})),
			alter("append to what is no list", alterIncrementally(topicResource, "iac", alterOp{add, "retention.ms", ptr("1")})),
			alter("subtract from what is no list", alterIncrementally(topicResource, "iac", alterOp{sub, "retention.ms", ptr("1")})),
			alter("an operation that is none", alterIncrementally(topicResource, "iac", alterOp{9, "retention.ms", ptr("1")})),
			alter("the same key twice", alterIncrementally(topicResource, "iac", alterOp{set, "retention.ms", ptr("1")}, alterOp{set, "retention.ms", ptr("2")})),
			alter("unknown key", alterIncrementally(topicResource, "iac", alterOp{set, "no.such.key", ptr("1")})),
			alter("bad value", alterIncrementally(topicResource, "iac", alterOp{set, "retention.ms", ptr("soon")})),
			alter("value out of range", alterIncrementally(topicResource, "iac", alterOp{set, "min.cleanable.dirty.ratio", ptr("2")})),
			alter("unknown topic", alterIncrementally(topicResource, "iac-none", alterOp{set, "retention.ms", ptr("1")})),
			alter("invalid topic", alterIncrementally(topicResource, "=a b", alterOp{set, "retention.ms", ptr("1")})),
			alter("validate only", alterIncrementally(topicResource, "iac", alterOp{set, "flush.ms", ptr("1")}), func(_ *vars, r *kmsg.IncrementalAlterConfigsRequest) { r.ValidateOnly = true }),
			now("after validating", "iac", "flush.ms"),
			alter("the same resource twice", alterIncrementally(topicResource, "iac", alterOp{set, "flush.ms", ptr("1")}), alterIncrementally(topicResource, "iac", alterOp{set, "flush.ms", ptr("2")})),
			alter("a resource type that is none", alterIncrementally(99, "iac", alterOp{set, "retention.ms", ptr("1")})),
			alter("a read-only broker key", alterIncrementally(brokerResource, "=1", alterOp{set, "node.id", ptr("2")})),
			alter("a broker key with a bad value", alterIncrementally(brokerResource, "=1", alterOp{set, "log.cleaner.threads", ptr("x")})),
			alter("broker 77", alterIncrementally(brokerResource, "=77", alterOp{set, "log.cleaner.threads", ptr("2")})),
			alter("a broker that is no number", alterIncrementally(brokerResource, "=one", alterOp{set, "log.cleaner.threads", ptr("2")})),
			alter("a broker", alterIncrementally(brokerResource, "=1", alterOp{set, "log.retention.bytes", ptr("123456789")})),
			ask("after the broker", high, kmsg.NewPtrDescribeConfigsRequest, describeConfig(brokerResource, "=1", "log.retention.bytes"), synonyms).with(valueIs("log.retention.bytes", "123456789")),
			now("a topic that inherits it", "iac", "retention.bytes").with(valueIs("retention.bytes", "123456789")),
			alter("the brokers' default", alterIncrementally(brokerResource, "=", alterOp{set, "log.flush.interval.messages", ptr("77777")})),
			ask("after the brokers' default", high, kmsg.NewPtrDescribeConfigsRequest, describeConfig(brokerResource, "="), synonyms).with(valueIs("log.flush.interval.messages", "77777")),
			alter("undo the broker", alterIncrementally(brokerResource, "=1", alterOp{del, "log.retention.bytes", nil})),
			alter("undo the brokers' default", alterIncrementally(brokerResource, "=", alterOp{del, "log.flush.interval.messages", nil})),
			alter("a group", alterIncrementally(groupResource, "iac-group", alterOp{set, "consumer.session.timeout.ms", ptr("50000")})),
			ask("after the group", high, kmsg.NewPtrDescribeConfigsRequest, describeConfig(groupResource, "iac-group", "consumer.session.timeout.ms"), synonyms).with(valueIs("consumer.session.timeout.ms", "50000")),
			alter("a group value out of range", alterIncrementally(groupResource, "iac-group", alterOp{set, "consumer.session.timeout.ms", ptr("1")})),
			alter("an empty group name", alterIncrementally(groupResource, "=", alterOp{set, "consumer.session.timeout.ms", ptr("50000")})),
			alter("client metrics", alterIncrementally(metricsResource, "iac-metrics", alterOp{set, "interval.ms", ptr("5000")})),
			alter("client metrics with a bad value", alterIncrementally(metricsResource, "iac-metrics", alterOp{set, "interval.ms", ptr("1")})),
			alter("client metrics gone", alterIncrementally(metricsResource, "iac-metrics", alterOp{del, "interval.ms", nil})),
			alter("a logger's unknown level", alterIncrementally(loggerResource, "=1", alterOp{set, "no.such.logger", ptr("LOUD")})),
		})},
		{"alter-configs", concat(makeTopic("ac", 1, "retention.ms", "1000"), []step{
			whole("set", alterWhole(topicResource, "ac", "segment.bytes", "2000000")),
			now("what is not sent is reset", "ac", "segment.bytes", "retention.ms").with(valueIs("segment.bytes", "2000000")),
			whole("nothing", alterWhole(topicResource, "ac")),
			now("all reset", "ac", "segment.bytes").with(valueIs("segment.bytes", "1073741824")),
			whole("unknown key", alterWhole(topicResource, "ac", "no.such.key", "1")),
			whole("bad value", alterWhole(topicResource, "ac", "retention.ms", "x")),
			whole("unknown topic", alterWhole(topicResource, "ac-none", "retention.ms", "1")),
			whole("validate only", alterWhole(topicResource, "ac", "retention.ms", "77"), func(_ *vars, r *kmsg.AlterConfigsRequest) { r.ValidateOnly = true }),
			now("after validating", "ac", "retention.ms"),
			whole("a read-only broker key", alterWhole(brokerResource, "=1", "node.id", "2")),
		})},
		{"list-config-resources", []step{
			ask("client metrics", 0, kmsg.NewPtrListConfigResourcesRequest),
			ask("brokers", high, kmsg.NewPtrListConfigResourcesRequest, func(_ *vars, r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{4} }),
			ask("loggers", high, kmsg.NewPtrListConfigResourcesRequest, func(_ *vars, r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{8} }),
			ask("a type that is none", high, kmsg.NewPtrListConfigResourcesRequest, func(_ *vars, r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{99} }),
		}},
	}
}
