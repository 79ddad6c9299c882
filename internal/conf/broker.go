package conf

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Broker is the broker-wide configuration in the types that the code uses. Keys that it does not
// name are read through Live.
type Broker struct {
	NodeID int32
	Rack   string
	Roles  Roles
	Quorum Quorum
	SASL   SASL

	Listeners           []Listener // of clients; those of the controller are in Quorum
	Advertised          []Listener // only what is set; others are inferred per connection
	InterBrokerListener string     // the one that brokers speak to each other on

	LogDirs         []string
	MetadataDir     string
	CordonedDirs    []string
	RecoveryThreads int

	NumPartitions            int32
	DefaultReplicationFactor int16
	AutoCreateTopics         bool
	DeleteTopics             bool

	SocketRequestMaxBytes int32
	SocketSendBuffer      int32
	SocketReceiveBuffer   int32
	ConnectionsMaxIdle    time.Duration
	MaxConnections        int32
	MaxConnectionsPerIP   int32
	PerIPOverrides        map[string]int32 // host to count
	MaxConnectionRate     int32            // accepted in a second
	ConnectionBudgetBytes int64
	MemoryBudgetBytes     int64 // 0 is a quarter of the machine's memory
	FetchMaxBytes         int32
	ReadFromRack          bool // replica.selector.class sends consumers to replicas of their rack
	FetchSessions         int32
	MaxRequestPartitions  int32

	OffsetsTopic      InternalTopic
	TransactionsTopic InternalTopic

	Authorizer      bool     // requests are checked against access control entries
	SuperUsers      []string // each type:name
	AllowWithoutACL bool     // of resources that no entry is about

	HTTPListeners []string
	HTTPProfiles  bool
	LogFormat     string
	LogLevel      string
	AutoFormat    bool
	MaxOpenFiles  int32
	StopTimeout   time.Duration
}

// InternalTopic is what a coordinator's topic is created with.
type InternalTopic struct {
	Partitions        int32
	ReplicationFactor int16
	MinInsync         int32 // 0 follows the broker's min.insync.replicas
	SegmentBytes      int32
}

// Broker is the typed form of the configuration. Dynamic configs that do not go together with what the node was started
// with, which may have changed since they were set, are left out.
func (l *Live) Broker() *Broker {
	b, err := newBroker(l)
	if err != nil && len(l.cluster)+len(l.own) > 0 {
		b, err = newBroker(NewLive(l.static, nil, nil))
	}
	if err != nil {
		panic("conf: unchecked configuration: " + err.Error())
	}
	return b
}

// newBroker reads the typed form and checks what no single key's rule can.
func newBroker(l *Live) (*Broker, error) {
	b := &Broker{
		NodeID: l.Int("node.id"), Rack: l.String("broker.rack"), InterBrokerListener: l.String("inter.broker.listener.name"),
		CordonedDirs: l.List("cordoned.log.dirs"), RecoveryThreads: int(l.Int("num.recovery.threads.per.data.dir")),
		NumPartitions: l.Int("num.partitions"), DefaultReplicationFactor: int16(l.Int("default.replication.factor")),
		AutoCreateTopics: l.Bool("auto.create.topics.enable"), DeleteTopics: l.Bool("delete.topic.enable"),
		SocketRequestMaxBytes: l.Int("socket.request.max.bytes"), SocketSendBuffer: l.Int("socket.send.buffer.bytes"),
		SocketReceiveBuffer: l.Int("socket.receive.buffer.bytes"), ConnectionsMaxIdle: l.Duration("connections.max.idle.ms"),
		MaxConnections: l.Int("max.connections"), MaxConnectionsPerIP: l.Int("max.connections.per.ip"),
		MaxConnectionRate:     l.Int("max.connection.creation.rate"),
		ConnectionBudgetBytes: l.Long("logstead.connection.budget.bytes"), MemoryBudgetBytes: l.memoryBudget(),
		FetchMaxBytes: l.Int("fetch.max.bytes"), FetchSessions: l.Int("max.incremental.fetch.session.cache.slots"),
		MaxRequestPartitions: l.Int("max.request.partition.size.limit"),
		HTTPProfiles:         l.Bool("logstead.http.pprof"),
		HTTPListeners:        l.List("logstead.http.listeners"), LogFormat: l.String("logstead.log.format"),
		LogLevel: l.String("logstead.log.level"), AutoFormat: l.Bool("logstead.auto.format"),
		MaxOpenFiles: l.Int("logstead.max.open.files"), StopTimeout: l.Duration("logstead.shutdown.timeout.ms"),
		OffsetsTopic: InternalTopic{
			l.Int("offsets.topic.num.partitions"), int16(l.Int("offsets.topic.replication.factor")), 0,
			l.Int("offsets.topic.segment.bytes"),
		},
		TransactionsTopic: InternalTopic{
			l.Int("transaction.state.log.num.partitions"), int16(l.Int("transaction.state.log.replication.factor")),
			l.Int("transaction.state.log.min.isr"), l.Int("transaction.state.log.segment.bytes"),
		},
	}
	if err := errors.Join(b.readIdentity(l), b.readRoles(l), b.readDirs(l), b.readListeners(l), b.readPerIP(l),
		b.readSelector(l), b.readAuthorizer(l), refuseUnserved(l)); err != nil {
		return b, err
	}
	if err := errors.Join(b.checkQuorum(l), b.readSASL(l)); err != nil {
		return b, err
	}
	return b, b.readLogins(l)
}

// memoryBudget lets Kafka's queued.max.request.bytes stand in for ours.
func (l *Live) memoryBudget() int64 {
	if n := l.Long("queued.max.request.bytes"); n > 0 && !l.IsSet("logstead.memory.budget.bytes") {
		return n
	}
	return l.Long("logstead.memory.budget.bytes")
}

func (b *Broker) readIdentity(l *Live) error {
	if old := l.Int("broker.id"); l.IsSet("broker.id") && old >= 0 {
		if l.IsSet("node.id") && old != b.NodeID {
			return fmt.Errorf("broker.id is %d and node.id is %d: they name the same thing and must be equal", old, b.NodeID)
		}
		b.NodeID = old
	}
	return nil
}

// The classes of Kafka's that choose a replica to read from.
const (
	leaderSelector    = "org.apache.kafka.common.replica.LeaderSelector"
	rackAwareSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
)

func (b *Broker) readSelector(l *Live) error {
	switch class := l.String("replica.selector.class"); class {
	case "", leaderSelector:
	case rackAwareSelector:
		b.ReadFromRack = true
	default:
		return fmt.Errorf("replica.selector.class is %q, and Java classes of others do not run here: use %s or %s, or leave it out",
			class, rackAwareSelector, leaderSelector)
	}
	return nil
}

// StandardAuthorizer is Kafka's class that keeps access control entries in the metadata.
const StandardAuthorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

func (b *Broker) readAuthorizer(l *Live) error {
	switch class := l.String("authorizer.class.name"); class {
	case "":
	case StandardAuthorizer:
		b.Authorizer = true
	default:
		return fmt.Errorf("authorizer.class.name is %s, and Java classes of others do not run here: use %s, or remove the key to start "+
			"without access control", class, StandardAuthorizer)
	}
	b.AllowWithoutACL = l.Bool("allow.everyone.if.no.acl.found")
	for s := range strings.SplitSeq(l.String("super.users"), ";") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if kind, _, ok := strings.Cut(s, ":"); !ok || kind == "" {
			return fmt.Errorf("super.users: %q is no principal: want type:name, such as User:admin, with ; between several", s)
		}
		b.SuperUsers = append(b.SuperUsers, s)
	}
	return nil
}

// Cordoned says whether a log directory takes no more replicas (KIP-1066).
func (b *Broker) Cordoned(dir string) bool {
	return slices.ContainsFunc(b.CordonedDirs, func(d string) bool { return d == "*" || filepath.Clean(d) == filepath.Clean(dir) })
}

func (b *Broker) readDirs(l *Live) error {
	b.LogDirs = l.List("log.dirs")
	if len(b.LogDirs) == 0 {
		b.LogDirs = l.List("log.dir")
	}
	if b.MetadataDir = l.String("metadata.log.dir"); b.MetadataDir == "" {
		b.MetadataDir = b.LogDirs[0]
	}
	for _, d := range b.CordonedDirs {
		if d != "*" && !slices.Contains(b.LogDirs, d) {
			return fmt.Errorf("cordoned.log.dirs names %s, which is not in log.dirs", d)
		}
	}
	return nil
}

func (b *Broker) readListeners(l *Live) error {
	protocolOf, err := b.protocolMap(l)
	if err != nil {
		return err
	}
	var errs []error
	if b.Listeners, err = parseListeners(l.List("listeners"), protocolOf); err != nil {
		errs = append(errs, fmt.Errorf("listeners: %w", err))
	}
	if b.Advertised, err = parseListeners(l.List("advertised.listeners"), protocolOf); err != nil {
		errs = append(errs, fmt.Errorf("advertised.listeners: %w", err))
	}
	if names := b.Quorum.ListenerNames; len(names) > 0 {
		b.Quorum.Peers = Listener{Name: names[0], Protocol: protocolOf[names[0]]}
	}
	isController := func(x Listener) bool { return b.Quorum.IsListener(x.Name) }
	b.Listeners, b.Quorum.Listeners = split(b.Listeners, isController)
	b.Advertised, b.Quorum.Advertised = split(b.Advertised, isController)
	return errors.Join(append(errs, b.checkListeners()...)...)
}

func parseListeners(texts []string, protocolOf map[string]string) ([]Listener, error) {
	var out []Listener
	for _, s := range texts {
		x, err := parseListener(s, protocolOf)
		if err != nil {
			return nil, err
		}
		for _, other := range out {
			if other.Name == x.Name {
				return nil, fmt.Errorf("%s is the name of both %s and %s: names must differ", x.Name, other, x)
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// split takes those out of all for which is holds.
func split(all []Listener, is func(Listener) bool) (rest, taken []Listener) {
	for _, x := range all {
		if is(x) {
			taken = append(taken, x)
		} else {
			rest = append(rest, x)
		}
	}
	return rest, taken
}

func (b *Broker) checkListeners() []error {
	var errs []error
	listeners := append(slices.Clone(b.Listeners), b.Quorum.Listeners...)
	for i, x := range listeners {
		for _, other := range listeners[:i] {
			if x.Port != 0 && x.Port == other.Port && x.Host == other.Host {
				errs = append(errs, fmt.Errorf("listeners: %s and %s have the same address", other, x))
			}
		}
	}
	for _, a := range append(slices.Clone(b.Advertised), b.Quorum.Advertised...) {
		switch {
		case !slices.ContainsFunc(listeners, func(x Listener) bool { return x.Name == a.Name }):
			errs = append(errs, fmt.Errorf("advertised.listeners: %s has no listener named %s", a, a.Name))
		case a.Host == "0.0.0.0" || a.Host == "::":
			errs = append(errs, fmt.Errorf("advertised.listeners: %s is no address that a client can connect to", a))
		}
	}
	if len(b.Listeners) == 0 && b.Roles.Broker {
		errs = append(errs, errors.New("listeners: no listener is left for clients"))
	}
	return errs
}

func (b *Broker) readPerIP(l *Live) error {
	b.PerIPOverrides = map[string]int32{}
	for _, entry := range splitList(l.String("max.connections.per.ip.overrides")) {
		i := strings.LastIndexByte(entry, ':')
		n, err := strconv.ParseInt(entry[i+1:], 10, 32)
		if i <= 0 || err != nil || n < 0 {
			return fmt.Errorf("max.connections.per.ip.overrides: %q is not host:count", entry)
		}
		b.PerIPOverrides[strings.Trim(entry[:i], "[]")] = int32(n)
	}
	return nil
}

// refuseUnserved stops a start that would be less protected than its configuration says.
func refuseUnserved(l *Live) error {
	if l.Bool("remote.log.storage.system.enable") {
		return errors.New("remote.log.storage.system.enable is true: this version has no tiered storage; remove the key")
	}
	return nil
}

// Capped is the configuration with the internal topics' replication lowered to what so many
// brokers can hold, and a line for the log about each key that was lowered. Apache Kafka would wait
// for more brokers instead; on one node that is for ever. Once brokers join, the topics are given what was
// meant (node's growth). While a cluster comes up its voters count as brokers: what the first one makes must
// not stay on it alone.
func (b *Broker) Capped(brokers int) (*Broker, []string) {
	brokers = max(brokers, len(b.Quorum.Voters), len(b.Quorum.BootstrapServers))
	c := *b
	var notes []string
	note := func(key string, from, to int) {
		notes = append(notes, fmt.Sprintf("%s lowered from %d to %d, the number of brokers", key, from, to))
	}
	replicas := func(key string, v *int16) {
		if int(*v) > brokers {
			note(key, int(*v), brokers)
			*v = int16(brokers)
		}
	}
	replicas("offsets.topic.replication.factor", &c.OffsetsTopic.ReplicationFactor)
	replicas("transaction.state.log.replication.factor", &c.TransactionsTopic.ReplicationFactor)
	if isr := &c.TransactionsTopic.MinInsync; int(*isr) > brokers {
		note("transaction.state.log.min.isr", int(*isr), brokers)
		*isr = int32(brokers)
	}
	return &c, notes
}
