package parity

import (
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// The resource types.
const (
	resTopic   int8 = 2
	resBroker  int8 = 4
	resLogger  int8 = 8
	resMetrics int8 = 16
	resGroup   int8 = 32
)

func describeConfigs(name string, kind int8, resource func(*Run) string, keys ...string) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request {
		req := kmsg.NewDescribeConfigsRequest()
		req.IncludeSynonyms = r.Version >= 1
		req.IncludeDocumentation = r.Version >= 3
		req.Resources = []kmsg.DescribeConfigsRequestDescribeConfigsResource{{
			ResourceType: kind, ResourceName: resource(r), ConfigurationKeys: keys,
		}}
		return &req
	}}
}

func unique(name string) func(*Run) string { return func(r *Run) string { return r.Name(name) } }
func plain(name string) func(*Run) string  { return func(*Run) string { return name } }

var someBrokerKeys = []string{
	"broker.id", "auto.create.topics.enable", "compression.type", "log.retention.ms", "log.retention.hours",
	"message.max.bytes", "ssl.keystore.password", "min.insync.replicas", "num.network.threads", "no.such.key",
}

var describeConfigsScript = Script{Name: "describe_configs", Steps: []Step{
	create(named("t", 1, "retention.ms", "123", "cleanup.policy", "compact,delete")),
	describeConfigs("topic", resTopic, unique("t")),
	describeConfigs("topic, some keys", resTopic, unique("t"), "retention.ms", "segment.ms", "no.such.key"),
	describeConfigs("unknown topic", resTopic, unique("none")),
	describeConfigs("invalid topic", resTopic, plain("a b")),
	describeConfigs("empty topic", resTopic, plain("")),
	describeConfigs("broker", resBroker, plain("1"), someBrokerKeys...),
	describeConfigs("other broker", resBroker, plain("77")),
	describeConfigs("bad broker", resBroker, plain("x")),
	describeConfigs("logger", resLogger, plain("1"), "no.such.logger"),
	describeConfigs("other logger", resLogger, plain("77")),
	describeConfigs("empty logger", resLogger, plain("")),
	describeConfigs("group", resGroup, unique("g"), "consumer.session.timeout.ms", "share.auto.offset.reset"),
	describeConfigs("empty group", resGroup, plain("")),
	describeConfigs("metrics", resMetrics, unique("m")),
	describeConfigs("empty metrics", resMetrics, plain("")),
	describeConfigs("unknown type", 3, plain("a")),
	describeConfigs("type 0", 0, plain("a")),
	{Name: "same resource twice", Req: func(r *Run) kmsg.Request {
		req := kmsg.NewDescribeConfigsRequest()
		res := kmsg.DescribeConfigsRequestDescribeConfigsResource{
			ResourceType: resTopic, ResourceName: r.Name("t"), ConfigurationKeys: []string{"retention.ms"},
		}
		req.Resources = append(req.Resources, res, res)
		return &req
	}},
	{Name: "nothing", Req: func(*Run) kmsg.Request { return new(kmsg.NewDescribeConfigsRequest()) }},
}}

func alterConfigs(name string, kind int8, resource func(*Run) string, validate bool, kv ...*string) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request {
		req := kmsg.NewAlterConfigsRequest()
		req.ValidateOnly = validate
		res := kmsg.AlterConfigsRequestAlterConfigsResource{ResourceType: kind, ResourceName: resource(r)}
		for i := 0; i < len(kv); i += 2 {
			res.Configs = append(res.Configs, kmsg.AlterConfigsRequestAlterableConfig{Name: *kv[i], Value: kv[i+1]})
		}
		req.Resources = []kmsg.AlterConfigsRequestAlterConfigsResource{res}
		return &req
	}}
}

var alterConfigsScript = Script{Name: "alter_configs", Steps: []Step{
	create(named("t", 1, "retention.ms", "123")),
	alterConfigs("validate", resTopic, unique("t"), true, new("cleanup.policy"), new("compact")),
	describeConfigs("after validate", resTopic, unique("t"), "retention.ms", "cleanup.policy"),
	alterConfigs("replace", resTopic, unique("t"), false, new("cleanup.policy"), new("compact")),
	describeConfigs("after replace", resTopic, unique("t"), "retention.ms", "cleanup.policy"),
	alterConfigs("unknown key", resTopic, unique("t"), false, new("no.such.key"), new("compact")),
	alterConfigs("bad value", resTopic, unique("t"), false, new("cleanup.policy"), new("keep")),
	alterConfigs("null value", resTopic, unique("t"), false, new("cleanup.policy"), nil),
	alterConfigs("unknown topic", resTopic, unique("none"), false, new("cleanup.policy"), new("compact")),
	alterConfigs("key twice", resTopic, unique("t"), false,
		new("cleanup.policy"), new("compact"), new("cleanup.policy"), new("delete")),
	alterConfigs("empty", resTopic, unique("t"), false),
	describeConfigs("after empty", resTopic, unique("t"), "retention.ms", "cleanup.policy"),
	alterConfigs("other broker", resBroker, plain("77"), true, new("log.retention.ms"), new("1")),
	alterConfigs("bad broker", resBroker, plain("x"), true, new("log.retention.ms"), new("1")),
	alterConfigs("broker read-only", resBroker, plain("1"), true, new("broker.id"), new("1")),
	alterConfigs("broker unknown key", resBroker, plain("1"), true, new("no.such.key"), new("1")),
	alterConfigs("broker default", resBroker, plain(""), true,
		new("log.retention.ms"), new("1"), new("min.insync.replicas"), new("1")),
	alterConfigs("broker bad value", resBroker, plain(""), true, new("log.retention.ms"), new("x")),
	alterConfigs("logger", resLogger, plain("1"), true, new("kafka"), new("INFO")),
	alterConfigs("group", resGroup, unique("g"), true, new("consumer.session.timeout.ms"), new("50000")),
	alterConfigs("metrics", resMetrics, unique("m"), true, new("interval.ms"), new("50000")),
	alterConfigs("unknown type", 3, plain("a"), true),
	alterConfigs("type 0", 0, plain("a"), true),
}}

// op is one incremental change.
type op struct {
	key   string
	op    int8
	value *string
}

func incremental(name string, kind int8, resource func(*Run) string, validate bool, ops ...op) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request {
		req := kmsg.NewIncrementalAlterConfigsRequest()
		req.ValidateOnly = validate
		res := kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{ResourceType: kind, ResourceName: resource(r)}
		for _, o := range ops {
			res.Configs = append(res.Configs, kmsg.IncrementalAlterConfigsRequestAlterableConfig{
				Name: o.key, ConfigOperation: o.op, Value: o.value,
			})
		}
		req.Resources = []kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{res}
		return &req
	}}
}

// The incremental operations.
const (
	opSet int8 = iota
	opDelete
	opAppend
	opSubtract
)

var incrementalScript = Script{Name: "incremental_alter_configs", Steps: []Step{
	create(named("t", 1)),
	incremental("set", resTopic, unique("t"), false, op{"retention.ms", opSet, new("5")}),
	incremental("set to default", resTopic, unique("t"), false, op{"segment.ms", opSet, new("604800000")}),
	incremental("append", resTopic, unique("t"), false, op{"cleanup.policy", opAppend, new("compact")}),
	incremental("append again", resTopic, unique("t"), false, op{"cleanup.policy", opAppend, new("compact")}),
	describeConfigs("after append", resTopic, unique("t"), "retention.ms", "cleanup.policy", "segment.ms"),
	incremental("subtract", resTopic, unique("t"), false, op{"cleanup.policy", opSubtract, new("delete")}),
	describeConfigs("after subtract", resTopic, unique("t"), "cleanup.policy"),
	incremental("subtract absent", resTopic, unique("t"), false, op{"cleanup.policy", opSubtract, new("delete")}),
	incremental("subtract last", resTopic, unique("t"), false, op{"cleanup.policy", opSubtract, new("compact")}),
	describeConfigs("after subtract last", resTopic, unique("t"), "cleanup.policy"),
	incremental("delete", resTopic, unique("t"), false, op{"retention.ms", opDelete, nil}),
	incremental("delete again", resTopic, unique("t"), false, op{"retention.ms", opDelete, nil}),
	incremental("delete with value", resTopic, unique("t"), false, op{"segment.ms", opDelete, new("1")}),
	describeConfigs("after delete", resTopic, unique("t"), "retention.ms", "segment.ms"),
	incremental("append to a number", resTopic, unique("t"), false, op{"retention.ms", opAppend, new("5")}),
	incremental("unknown key", resTopic, unique("t"), false, op{"no.such.key", opSet, new("5")}),
	incremental("delete unknown key", resTopic, unique("t"), false, op{"no.such.key", opDelete, nil}),
	incremental("bad value", resTopic, unique("t"), false, op{"retention.ms", opSet, new("soon")}),
	incremental("null value", resTopic, unique("t"), false, op{"retention.ms", opSet, nil}),
	incremental("unknown operation", resTopic, unique("t"), false, op{"retention.ms", 9, new("1")}),
	incremental("key twice", resTopic, unique("t"), false,
		op{"retention.ms", opSet, new("1")}, op{"retention.ms", opSet, new("2")}),
	incremental("unknown topic", resTopic, unique("none"), false, op{"retention.ms", opSet, new("1")}),
	incremental("nothing to change", resTopic, unique("t"), false),
	incremental("broker read-only", resBroker, plain("1"), true, op{"broker.id", opSet, new("1")}),
	incremental("broker unknown key", resBroker, plain("1"), true, op{"no.such.key", opSet, new("1")}),
	incremental("broker bad value", resBroker, plain("1"), true, op{"log.retention.ms", opSet, new("x")}),
	incremental("broker good value", resBroker, plain("1"), true, op{"log.retention.ms", opSet, new("9")}),
	incremental("broker default", resBroker, plain(""), true, op{"log.retention.ms", opSet, new("9")}),
	incremental("broker default, per broker key", resBroker, plain(""), true, op{"listeners", opSet, new("A://:1")}),
	incremental("other broker", resBroker, plain("77"), true, op{"log.retention.ms", opSet, new("9")}),
	incremental("bad broker", resBroker, plain("x"), true, op{"log.retention.ms", opSet, new("9")}),
	incremental("logger", resLogger, plain("1"), true, op{"kafka", opSet, new("INFO")}),
	incremental("logger bad level", resLogger, plain("1"), true, op{"kafka", opSet, new("LOUD")}),
	incremental("root logger", resLogger, plain("1"), true, op{"root", opSet, new("DEBUG")}),
	incremental("root logger, lower case", resLogger, plain("1"), true, op{"root", opSet, new("debug")}),
	incremental("root logger, null", resLogger, plain("1"), true, op{"root", opSet, nil}),
	incremental("root logger, delete", resLogger, plain("1"), true, op{"root", opDelete, nil}),
	incremental("root logger, append", resLogger, plain("1"), true, op{"root", opAppend, new("DEBUG")}),
	describeConfigs("root logger described", resLogger, plain("1"), "root"),
	incremental("other logger", resLogger, plain("77"), true, op{"kafka", opSet, new("INFO")}),
	incremental("group", resGroup, unique("g"), false, op{"consumer.session.timeout.ms", opSet, new("50000")}),
	incremental("group out of range", resGroup, unique("g"), false, op{"consumer.session.timeout.ms", opSet, new("1")}),
	incremental("group unknown key", resGroup, unique("g"), false, op{"no.such.key", opSet, new("1")}),
	incremental("empty group", resGroup, plain(""), false, op{"consumer.session.timeout.ms", opSet, new("50000")}),
	describeConfigs("after group", resGroup, unique("g"), "consumer.session.timeout.ms"),
	incremental("metrics", resMetrics, unique("m"), false, op{"interval.ms", opSet, new("50000")}),
	incremental("metrics out of range", resMetrics, unique("m"), false, op{"interval.ms", opSet, new("5")}),
	incremental("metrics unknown key", resMetrics, unique("m"), false, op{"no.such.key", opSet, new("5")}),
	incremental("empty metrics", resMetrics, plain(""), false, op{"interval.ms", opSet, new("50000")}),
	describeConfigs("after metrics", resMetrics, unique("m")),
	incremental("unknown type", 3, plain("a"), true),
	{Name: "same resource twice", Req: func(r *Run) kmsg.Request {
		req := kmsg.NewIncrementalAlterConfigsRequest()
		res := kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{ResourceType: resTopic, ResourceName: r.Name("t")}
		req.Resources = append(req.Resources, res, res)
		return &req
	}},
	listConfigs("list metrics"),
	{Name: "list by type", From: 1, To: -1, Req: listRequest(resTopic, resGroup, resMetrics), Keep: keepListed},
	{Name: "list everything", From: 1, To: -1, Req: listRequest(), Keep: keepListed},
	{Name: "list brokers", From: 1, To: -1, Req: listRequest(resBroker, resLogger), Keep: keepListed},
	{Name: "list unknown type", From: 1, To: -1, Req: listRequest(3), Keep: keepListed},
	incremental("metrics away", resMetrics, unique("m"), false, op{"interval.ms", opDelete, nil}),
	listConfigs("list metrics again"),
}}

func listConfigs(name string) Step {
	return Step{Name: name, Req: func(r *Run) kmsg.Request {
		if r.Version == 0 {
			return listRequest()(r)
		}
		return listRequest(resMetrics)(r)
	}, Keep: keepListed}
}

func listRequest(types ...int8) func(*Run) kmsg.Request {
	return func(*Run) kmsg.Request {
		req := kmsg.NewListConfigResourcesRequest()
		req.ResourceTypes = types
		return &req
	}
}

func keepListed(r *Run, resp kmsg.Response) {
	m, ok := resp.(*kmsg.ListConfigResourcesResponse)
	if !ok {
		return
	}
	m.ConfigResources = slices.DeleteFunc(m.ConfigResources,
		func(c kmsg.ListConfigResourcesResponseConfigResource) bool {
			broker := c.ResourceType == resBroker || c.ResourceType == resLogger
			return !broker && !strings.HasPrefix(c.ResourceName, r.prefix)
		})
}
