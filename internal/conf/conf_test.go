package conf

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

var rewrite = flag.Bool("rewrite", false, "write the generated documents anew")

func load(t *testing.T, src Source) *Static {
	t.Helper()
	s, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func file(name, text string) Source {
	return Source{File: name, ReadFile: func(string) ([]byte, error) { return []byte(text), nil }}
}

func TestDocsAreFresh(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "config.md")
	want := Markdown()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/config.md is stale: run go generate ./internal/conf")
	}
}

func TestTableIsSound(t *testing.T) {
	counts := map[Scope]int{ScopeBroker: 363, ScopeTopic: 34, ScopeGroup: 17, ScopeClientMetrics: 3}
	for scope, want := range counts {
		kafka := 0
		for _, k := range Keys(scope) {
			if !strings.HasPrefix(k.Name, "logstead.") && !authorizerKeys[k.Name] {
				kafka++
			}
			if def, ok := k.Default(); ok {
				if got, err := k.Parse(def); err != nil || got != def {
					t.Errorf("%s: default %q reads back as %q, %v", k.Name, def, got, err)
				}
			}
			if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("%s: doc %q is no sentence", k.Name, k.Doc)
			}
			for _, s := range k.Synonyms() {
				if _, ok := Lookup(ScopeBroker, s); !ok {
					t.Errorf("%s: synonym %s is no broker key", k.Name, s)
				}
			}
		}
		if kafka != want {
			t.Errorf("%s: %d keys of Kafka, want %d", scope, kafka, want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	src := file("server.properties", "num.partitions=2\nlog.retention.hours=5\nlog.segment.bytes=2097152\n")
	src.Env = []string{"KAFKA_NUM_PARTITIONS=3", "KAFKA_LOG_SEGMENT_BYTES=3145728"}
	src.Set = []string{"num.partitions=4"}
	s := load(t, src)
	l := NewLive(s, nil, nil)
	if b := l.Broker(); b.NumPartitions != 4 {
		t.Errorf("num.partitions = %d, want the flag's 4", b.NumPartitions)
	}
	topic := l.Topic(nil)
	if topic.SegmentBytes != 3145728 || topic.Retention != 5*time.Hour {
		t.Errorf("topic = %+v", topic)
	}
	x, err := l.Explain("log.retention.hours")
	if err != nil || x.Value != "5" || x.Origin.String() != "server.properties:2" {
		t.Errorf("explain = %+v, %v", x, err)
	}
	if x, _ := l.Explain("num.partitions"); x.Origin.String() != "--set num.partitions" {
		t.Errorf("origin = %s", x.Origin)
	}

	// A dynamic hours hides a static ms; the broker's own goes before the cluster's.
	l = NewLive(load(t, file("x.properties", "log.retention.ms=1000")),
		map[string]string{"log.retention.ms": "2000", "min.insync.replicas": "2"},
		map[string]string{"log.retention.ms": "3000"})
	if got := l.Topic(nil).Retention; got != 3*time.Second {
		t.Errorf("retention = %s, want 3s", got)
	}
	if got := l.Topic(map[string]string{"retention.ms": "-1"}).Retention; got != -1 {
		t.Errorf("retention = %s, want none", got)
	}
}

func TestFiles(t *testing.T) {
	for name, text := range map[string]string{
		"a.properties": "# comment \\\nlog.dirs = /a,\\\n  /b\nlog.retention.ms:604800000\nlog.segment.bytes=1073741824\n" +
			"message.max.bytes 2000\n",
		"nested.yaml": "log:\n  dirs: [/a, /b]\n  retention:\n    ms: 7d\n  segment.bytes: 1GiB\nmessage.max.bytes: 2kb\n",
		"dotted.yml":  "log.dirs: /a,/b\nlog.retention.ms: 168h\nlog.segment.bytes: 1024MiB\nmessage.max.bytes: 2000\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLive(load(t, file(name, text)), nil, nil)
			topic := l.Topic(nil)
			if !slices.Equal(l.Broker().LogDirs, []string{"/a", "/b"}) || topic.Retention != 7*24*time.Hour ||
				topic.SegmentBytes != 1<<30 || topic.MaxMessageBytes != 2000 {
				t.Errorf("dirs %v, topic %+v", l.Broker().LogDirs, topic)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"num.partition=3", "f.properties:1: unknown key num.partition: did you mean num.partitions?"},
		{"\nlog.dirrs=3", "f.properties:2: unknown key log.dirrs: did you mean log.dirs?"},
		{"retention.ms=3", "its default for all topics is log.retention.ms"},
		{"num.partitions=0", "f.properties:1: Invalid value 0 for configuration num.partitions: Value must be at least 1"},
		{"num.partitions=x", "Not a number of type INT"},
		{"num.partitions=7d", "Not a number of type INT"},
		{"log.cleanup.policy=shred", "List elements must be among: compact, delete"},
		{"listeners=PLAINTEXT://:70000", "port 70000 is not within 0 and 65535"},
		{"listeners=WEB://:1", "add WEB:PLAINTEXT to listener.security.protocol.map"},
		{"listeners=PLAINTEXT://:1,PLAINTEXT://:2", "names must differ"},
		{"advertised.listeners=PLAINTEXT://0.0.0.0:1", "no address that a client can connect to"},
		{"node.id=1\nbroker.id=2", "must be equal"},
		{"controller.quorum.voters=1@a:1,1@b:1", "names node 1 twice"},
		{"controller.quorum.voters=1@a:1,2@b:1", "controller.listener.names (CONTROLLER) must name one of the listeners"},
		{"node.id=3\ncontroller.quorum.voters=1@a:1,2@b:1\nlisteners=PLAINTEXT://:1,CONTROLLER://:2", "does not name node.id 3"},
		{"process.roles=controller", "must name one of the listeners"},
		{"process.roles=controller\nlisteners=PLAINTEXT://:1,CONTROLLER://:2", "PLAINTEXT://:1 is none of controller.listener.names"},
		{"process.roles=broker\ncontroller.listener.names=CONTROLLER", "set controller.quorum.bootstrap.servers or"},
		{"process.roles=broker\ncontroller.quorum.voters=2@b:1", "controller.listener.names must name the listener"},
		{"process.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=1@b:1", "add the controller role"},
		{"process.roles=broker\ncontroller.listener.names=C\ncontroller.quorum.voters=2@b:1\nlisteners=PLAINTEXT://:1,C://:2", "which process.roles=broker does not run"},
		{"inter.broker.listener.name=CONTROLLER", "belongs to the controller"},
		{"inter.broker.listener.name=WEB", "must be one of the listeners (PLAINTEXT)"},
		{"listeners=A://:1,CONTROLLER://:2\nlistener.security.protocol.map=A:PLAINTEXT,CONTROLLER:PLAINTEXT\ncontroller.quorum.voters=1@a:1,2@b:1", "set inter.broker.listener.name"},
		{"process.roles=broker\nlisteners=A://:1\ncontroller.listener.names=C\ncontroller.quorum.voters=2@b:1\nlistener.security.protocol.map=A:PLAINTEXT",
			"controller.listener.names: C has no security protocol: as listener.security.protocol.map is set, each listener of the controllers must be in listener.security.protocol.map; add C:PLAINTEXT"},
		{"listeners=PLAINTEXT://:1,CONTROLLER://:2\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT", "add CONTROLLER:PLAINTEXT to listener.security.protocol.map"},
		{"listeners=SASL_SSL://:1,C://:2\ncontroller.listener.names=C", "C has no security protocol: as a listener speaks SASL_SSL"},
		{"authorizer.class.name=x.Y", "use org.apache.kafka.metadata.authorizer.StandardAuthorizer"},
		{"super.users=User:a;bob", `super.users: "bob" is no principal`},
		{"ssl.keystore.type=JKS\nsasl.enabled.mechanisms=PLAIN,PLAIN", "must not be duplicated"},
		{"replica.selector.class=x.Near", "use org.apache.kafka.common.replica.RackAwareReplicaSelector"},
		{"max.connections.per.ip.overrides=a", "is not host:count"},
	} {
		_, err := Load(file("f.properties", tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: error %v, want %q in it", tc.text, err, tc.want)
		}
	}
}

func TestQuorum(t *testing.T) {
	for _, tc := range []struct {
		text, roles, interBroker string
		alone                    bool
		clients, controllers     []string
	}{
		{"node.id=1", "broker,controller", "PLAINTEXT", true, []string{"PLAINTEXT://:9092"}, nil},
		{"listeners=L://:1,C://:2\ncontroller.listener.names=C\nlistener.security.protocol.map=L:PLAINTEXT,C:PLAINTEXT\n" +
			"controller.quorum.voters=1@h:2", "broker,controller", "L", true, []string{"L://:1"}, []string{"C://:2"}},
		{"listeners=PLAINTEXT://:1,CONTROLLER://:2\ncontroller.quorum.voters=1@h:2,2@i:2,3@j:2",
			"broker,controller", "PLAINTEXT", false, []string{"PLAINTEXT://:1"}, []string{"CONTROLLER://:2"}},
		{"listeners=PLAINTEXT://:1,CONTROLLER://:2\ncontroller.quorum.bootstrap.servers=h:2",
			"broker,controller", "PLAINTEXT", false, []string{"PLAINTEXT://:1"}, []string{"CONTROLLER://:2"}},
		{"process.roles=controller\nlisteners=C://:2\ncontroller.listener.names=C\ncontroller.quorum.bootstrap.servers=h:2",
			"controller", "", false, nil, []string{"C://:2"}},
		{"process.roles=broker\nnode.id=7\nlisteners=A://:1,B://:2\ninter.broker.listener.name=b\n" +
			"listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,c:SSL\ncontroller.listener.names=C\n" +
			"controller.quorum.voters=1@h:2", "broker", "B", false, []string{"A://:1", "B://:2"}, nil},
	} {
		b := NewLive(load(t, file("f.properties", tc.text)), nil, nil).Broker()
		var clients, controllers []string
		for _, x := range b.Listeners {
			clients = append(clients, x.String())
		}
		for _, x := range b.Quorum.Listeners {
			controllers = append(controllers, x.String())
		}
		if b.Roles.String() != tc.roles || b.Quorum.Alone(b.NodeID) != tc.alone || b.InterBrokerListener != tc.interBroker ||
			!slices.Equal(clients, tc.clients) || !slices.Equal(controllers, tc.controllers) {
			t.Errorf("%q: roles %s, alone %t, inter broker %s, listeners %v, controllers %v", tc.text, b.Roles,
				b.Quorum.Alone(b.NodeID), b.InterBrokerListener, clients, controllers)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	s := load(t, file("f.properties", "ssl.key.password=hush"))
	l := NewLive(s, nil, nil)
	x, err := l.Explain("ssl.key.password")
	if err != nil || strings.Contains(x.String(), "hush") {
		t.Errorf("explain shows %q, %v", x.String(), err)
	}
	for _, e := range l.DescribeBroker() {
		if e.Name != "ssl.key.password" {
			continue
		}
		if e.Value != nil || !e.Sensitive || len(e.Synonyms) != 1 || e.Synonyms[0].Value != nil {
			t.Errorf("described as %+v", e)
		}
	}
	if got := (&InvalidError{mustKey(t, "ssl.key.password"), "hush", "no"}).Error(); strings.Contains(got, "hush") {
		t.Error(got)
	}
}

// TestSuperUsersAreNotShown: what Kafka's authorizer takes is no key of its brokers, which show nothing of what they do not know.
func TestSuperUsersAreNotShown(t *testing.T) {
	l := NewLive(load(t, file("f.properties", "super.users=User:admin")), nil, nil)
	for _, e := range l.DescribeBroker() {
		if e.Name == "super.users" {
			if e.Value != nil || !e.Sensitive || !e.ReadOnly || e.Type != Unknown || len(e.Synonyms) != 1 || e.Synonyms[0].Value != nil {
				t.Errorf("described as %+v", e)
			}
			return
		}
	}
	t.Error("super.users is not described though it is set")
}

func mustKey(t *testing.T, name string) *Key {
	t.Helper()
	k, ok := Lookup(ScopeBroker, name)
	if !ok {
		t.Fatal(name)
	}
	return k
}

func TestEnvironment(t *testing.T) {
	s := load(t, Source{Env: []string{
		"KAFKA_HEAP_OPTS=-Xmx1g", "KAFKA_HOME=/opt", "KAFKA_PORT_9092_TCP=x", "KAFKA_SERVICE_HOST=x", "PATH=/bin",
		"KAFKA_LISTENERS=PLAINTEXT://:1", "LOGSTEAD_DURABILITY=replicated", "KAFKA_NUM_PARTITIONS=2",
		"LOGSTEAD_NUM_PARTITIONS=3", "KAFKA_NUM_PARTITION=5", "LOGSTEAD_LOG_RETENTION_MS=2h",
		"KAFKA_LISTENER_NAME_SASL__SSL_MAX_CONNECTIONS=7",
	}})
	l := NewLive(s, nil, nil)
	if topic := l.Topic(nil); topic.Durability != "replicated" || topic.Retention != 2*time.Hour {
		t.Errorf("topic = %+v", topic)
	}
	if got := l.Broker().NumPartitions; got != 3 {
		t.Errorf("num.partitions = %d", got)
	}
	if _, ok := s.settings["listener.name.sasl_ssl.max.connections"]; !ok {
		t.Errorf("settings = %v", s.Settings())
	}
	w := s.Warnings()
	if len(w) != 1 || !strings.Contains(w[0], "did you mean KAFKA_NUM_PARTITIONS") {
		t.Errorf("warnings = %q", w)
	}
}

func TestSampleFile(t *testing.T) {
	s := load(t, Source{File: filepath.Join("..", "..", "docs", "server.properties.sample")})
	if len(s.Settings()) < 8 || len(s.Warnings()) != 0 {
		t.Errorf("%d settings, warnings %q", len(s.Settings()), s.Warnings())
	}
}

func TestWarnings(t *testing.T) {
	s := load(t, file("f.properties",
		"num.io.threads=4\nnum.network.threads=3\nbackground.threads=2\nremote.log.reader.threads=3"))
	want := []string{
		"set but without effect (belongs to Kafka's Java code): background.threads, num.io.threads",
		"set but without effect (is for tiered storage): remote.log.reader.threads",
	}
	if got := s.Warnings(); !slices.Equal(got, want) {
		t.Errorf("warnings = %q", got)
	}
}

func TestListeners(t *testing.T) {
	b := NewLive(load(t, file("f.properties", "listeners=PLAINTEXT://[::1]:9092,in://h:0,CONTROLLER://:9093\n"+
		"controller.listener.names=CONTROLLER\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,IN:plaintext,CONTROLLER:plaintext\n"+
		"advertised.listeners=IN://example.com:1")), nil, nil).Broker()
	if len(b.Listeners) != 2 || b.Listeners[0].Address() != "[::1]:9092" || b.Listeners[1].Name != "IN" ||
		len(b.Advertised) != 1 || b.Advertised[0].String() != "IN://example.com:1" {
		t.Errorf("listeners %v, advertised %v", b.Listeners, b.Advertised)
	}
}

func TestCapped(t *testing.T) {
	b, notes := NewLive(load(t, Source{}), nil, nil).Broker().Capped(1)
	if b.OffsetsTopic.ReplicationFactor != 1 || b.TransactionsTopic.ReplicationFactor != 1 ||
		b.TransactionsTopic.MinInsync != 1 || len(notes) != 3 {
		t.Errorf("%+v, notes %q", b, notes)
	}
}

func str(s string) *string { return &s }

func TestAlter(t *testing.T) {
	l := NewLive(load(t, Source{}), nil, nil)
	for _, tc := range []struct {
		name   string
		target Target
		ops    []Op
		code   *kerr.Error
		msg    string
		want   map[string]string // "" for removed
	}{
		{"set", Target{Scope: ScopeTopic, Name: "t"}, []Op{{OpSet, "retention.ms", str("5")}}, nil, "",
			map[string]string{"retention.ms": "5"}},
		{"unchanged", Target{ScopeTopic, "t", map[string]string{"retention.ms": "5"}},
			[]Op{{OpSet, "retention.ms", str("5")}}, nil, "", map[string]string{}},
		{"append to default", Target{Scope: ScopeTopic, Name: "t"},
			[]Op{{OpAppend, "cleanup.policy", str("compact")}}, nil, "",
			map[string]string{"cleanup.policy": "delete,compact"}},
		{"subtract to empty", Target{Scope: ScopeTopic, Name: "t"},
			[]Op{{OpSubtract, "cleanup.policy", str("delete")}}, nil, "",
			map[string]string{"cleanup.policy": ""}},
		{"append to a number", Target{Scope: ScopeTopic, Name: "t"}, []Op{{OpAppend, "retention.ms", str("1")}},
			kerr.InvalidConfig, "its type is not LIST", nil},
		{"unknown", Target{Scope: ScopeTopic, Name: "t"}, []Op{{OpSet, "retention.mz", str("1")}},
			kerr.InvalidConfig, "Unknown topic config name: retention.mz (did you mean retention.ms?)", nil},
		{"bad value", Target{Scope: ScopeTopic, Name: "t"}, []Op{{OpSet, "segment.bytes", str("1")}},
			kerr.InvalidConfig, "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576", nil},
		{"lag conflict", Target{Scope: ScopeTopic, Name: "t"},
			[]Op{{OpSet, "min.compaction.lag.ms", str("9")}, {OpSet, "max.compaction.lag.ms", str("3")}},
			kerr.InvalidConfig, "min.compaction.lag.ms (9) > max.compaction.lag.ms (3)", nil},
		{"null", Target{Scope: ScopeTopic, Name: "t"}, []Op{{OpSet, "retention.ms", nil}},
			kerr.InvalidRequest, "Null value not supported", nil},
		{"twice", Target{Scope: ScopeTopic, Name: "t"},
			[]Op{{OpDelete, "retention.ms", nil}, {OpDelete, "retention.ms", nil}},
			kerr.InvalidRequest, "duplicate", nil},
		{"bad op", Target{Scope: ScopeTopic, Name: "t"}, []Op{{9, "retention.ms", str("1")}},
			kerr.InvalidRequest, "Unknown operations type 9", nil},
		{"read-only broker key", Target{Scope: ScopeBroker, Name: "1"}, []Op{{OpSet, "num.partitions", str("2")}},
			kerr.InvalidRequest, "Cannot update these configs dynamically", nil},
		{"broker value", Target{Scope: ScopeBroker}, []Op{{OpSet, "log.retention.ms", str("x")}},
			kerr.InvalidRequest, "Not a number of type LONG", nil},
		{"per-broker key for all", Target{Scope: ScopeBroker}, []Op{{OpSet, "cordoned.log.dirs", str("*")}},
			kerr.InvalidRequest, "broker id must be specified", nil},
		{"same broker value again", Target{ScopeBroker, "1", map[string]string{"max.connections": "5"}},
			[]Op{{OpSet, "max.connections", str("5")}}, nil, "", map[string]string{"max.connections": "5"}},
		{"group bound", Target{Scope: ScopeGroup, Name: "g"}, []Op{{OpSet, "consumer.session.timeout.ms", str("1000")}},
			kerr.InvalidConfig, "must be greater than or equal to group.consumer.min.session.timeout.ms", nil},
		{"metrics interval", Target{Scope: ScopeClientMetrics, Name: "m"}, []Op{{OpSet, "interval.ms", str("5")}},
			kerr.InvalidRequest, "between 100 and 3600000", nil},
		{"metrics match", Target{Scope: ScopeClientMetrics, Name: "m"}, []Op{{OpSet, "match", str("color=red")}},
			kerr.InvalidConfig, "Illegal client matching pattern", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changes, err := l.Incremental(tc.target, tc.ops)
			if tc.code != nil {
				if !errors.Is(err, tc.code) || !strings.Contains(err.Error(), tc.msg) {
					t.Fatalf("error %v, want %v %q", err, tc.code, tc.msg)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(changes) != len(tc.want) {
				t.Fatalf("changes %+v, want %v", changes, tc.want)
			}
			for _, c := range changes {
				if want, ok := tc.want[c.Name]; !ok || c.Value == nil || *c.Value != want {
					t.Errorf("%s = %v, want %q", c.Name, c.Value, want)
				}
			}
		})
	}
}

func TestReplaceRemovesTheRest(t *testing.T) {
	l := NewLive(load(t, Source{}), nil, nil)
	changes, err := l.Replace(Target{ScopeTopic, "t", map[string]string{"flush.ms": "1", "retention.ms": "5"}},
		[]Op{{Name: "retention.ms", Value: str("6")}})
	if err != nil || len(changes) != 2 || changes[0].Name != "retention.ms" || changes[1].Name != "flush.ms" ||
		changes[1].Value != nil {
		t.Errorf("changes %+v, %v", changes, err)
	}
}

func TestDescribeSourcesAndSynonyms(t *testing.T) {
	l := NewLive(load(t, file("f.properties", "message.max.bytes=5000")),
		map[string]string{"log.retention.ms": "2000"}, map[string]string{"log.retention.ms": "3000"})
	find := func(entries []Entry, name string) Entry {
		i := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name })
		if i < 0 {
			t.Fatalf("no %s", name)
		}
		return entries[i]
	}
	e := find(l.DescribeTopic(map[string]string{"retention.ms": "4000"}), "retention.ms")
	var got []string
	for _, s := range e.Synonyms {
		got = append(got, s.Name+"="+*s.Value)
	}
	want := []string{"retention.ms=4000", "log.retention.ms=3000", "log.retention.ms=2000", "log.retention.hours=168"}
	if *e.Value != "4000" || e.Source != SourceTopic || !slices.Equal(got, want) {
		t.Errorf("%+v, synonyms %v", e, got)
	}
	if e := find(l.DescribeTopic(nil), "max.message.bytes"); *e.Value != "5000" || e.Source != SourceStaticBroker {
		t.Errorf("%+v", e)
	}
	if e := l.DescribeClusterDefault(); len(e) != 1 || *e[0].Value != "2000" || e[0].Source != SourceDynamicDefault {
		t.Errorf("%+v", e)
	}
	if e := find(l.DescribeBroker(), "num.partitions"); !e.ReadOnly || e.Source != SourceDefault || e.Type != Int {
		t.Errorf("%+v", e)
	}
}

func TestJavaDouble(t *testing.T) {
	for in, want := range map[float64]string{
		0: "0.0", 0.5: "0.5", 5: "5.0", 1e7: "1.0E7", 1e-4: "1.0E-4", 12345.5: "12345.5",
		1.7976931348623157e308: "1.7976931348623157E308",
	} {
		if got := javaDouble(in); got != want {
			t.Errorf("%g: %s, want %s", in, got, want)
		}
	}
}

func FuzzFiles(f *testing.F) {
	f.Add("a: 1\nb:\n  c: [1, 2]\n", true)
	f.Add("a=b\\\nc\n", false)
	f.Fuzz(func(t *testing.T, text string, yaml bool) {
		name := "f.properties"
		if yaml {
			name = "f.yaml"
		}
		_, _ = Load(file(name, text)) // must not panic
	})
}

// FuzzEnvironment: variables of any name and value give settings of keys that exist, warnings or an error.
func FuzzEnvironment(f *testing.F) {
	f.Add("KAFKA_LOG_DIRS", "/a,/b")
	f.Add("LOGSTEAD_DURABILITY", "never")
	f.Add("KAFKA_", "")
	f.Fuzz(func(t *testing.T, name, value string) {
		settings, _ := readEnv([]string{name + "=" + value})
		for _, s := range settings {
			if s.Name == "" || s.Origin.Kind != FromEnv {
				t.Fatalf("%q gives the setting %+v", name, s)
			}
		}
		_, _ = Load(Source{Env: []string{name + "=" + value}}) // must not panic
	})
}
