package conf

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// OpKind is what IncrementalAlterConfigs does to a value, numbered as it does.
type OpKind int8

// The operations.
const (
	OpSet      OpKind = 0
	OpDelete   OpKind = 1
	OpAppend   OpKind = 2
	OpSubtract OpKind = 3
)

// Op is a change of one config.
type Op struct {
	Kind  OpKind
	Name  string
	Value *string
}

// Change is a config's new value, nil to remove it.
type Change struct {
	Name  string
	Value *string
}

// Target is the resource whose configs are to change.
type Target struct {
	Scope   Scope
	Name    string            // empty for the cluster-wide broker default
	Current map[string]string // what it sets now
}

// Incremental checks the operations and returns what they change, in their order. An error is an
// *Error with the code and message of Apache Kafka.
func (l *Live) Incremental(t Target, ops []Op) ([]Change, error) {
	if err := checkOps(ops); err != nil {
		return nil, err
	}
	next := maps.Clone(t.Current)
	if next == nil {
		next = map[string]string{}
	}
	var changes []Change
	for _, op := range ops {
		value, err := applyOp(t.Scope, next, op)
		if err != nil {
			return nil, err
		}
		old, had := t.Current[op.Name]
		unchanged := value == nil && !had || value != nil && had && *value == old
		if !unchanged || t.Scope == ScopeBroker { // a broker takes an unchanged value as "read it again"
			changes = append(changes, Change{op.Name, value})
		}
		if value == nil {
			delete(next, op.Name)
		} else {
			next[op.Name] = *value
		}
	}
	return changes, l.validate(t, next)
}

// Replace is the old AlterConfigs: the resource gets exactly the given configs, and what is not
// among them is removed.
func (l *Live) Replace(t Target, ops []Op) ([]Change, error) {
	for i := range ops {
		ops[i].Kind = OpSet
	}
	if err := checkOps(ops); err != nil {
		return nil, err
	}
	next := make(map[string]string, len(ops))
	var changes []Change
	for _, op := range ops {
		next[op.Name] = *op.Value
		if old, had := t.Current[op.Name]; !had || old != *op.Value || t.Scope == ScopeBroker {
			changes = append(changes, Change{op.Name, op.Value})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Current)) {
		if _, kept := next[name]; !kept {
			changes = append(changes, Change{name, nil})
		}
	}
	return changes, l.validate(t, next)
}

// CheckOps says what is wrong with operations whatever they are to change: one key twice, a value missing. Kafka asks for that first.
func CheckOps(ops []Op) error {
	seen := map[string]bool{}
	var missing []string
	for _, op := range ops {
		if seen[op.Name] {
			return invalidRequest("Error due to duplicate config keys")
		}
		seen[op.Name] = true
		if op.Value == nil && op.Kind != OpDelete {
			missing = append(missing, op.Name)
		}
	}
	if len(missing) > 0 {
		return invalidRequest("Null value not supported for : %s", strings.Join(missing, ", "))
	}
	return nil
}

func checkOps(ops []Op) error {
	if err := CheckOps(ops); err != nil {
		return err
	}
	for _, op := range ops {
		if op.Kind < OpSet || op.Kind > OpSubtract {
			return invalidRequest("Unknown operations type %d", op.Kind)
		}
	}
	return nil
}

// applyOp is the value after the operation; nil for none.
func applyOp(scope Scope, current map[string]string, op Op) (*string, error) {
	switch op.Kind {
	case OpSet:
		return op.Value, nil
	case OpDelete:
		return nil, nil
	}
	k, ok := Lookup(scope, op.Name)
	if !ok || k.Type != List {
		return nil, invalidConfig("Can't %s to key %s because its type is not LIST.",
			map[OpKind]string{OpAppend: "APPEND", OpSubtract: "SUBTRACT"}[op.Kind], op.Name)
	}
	text, set := current[op.Name]
	if !set {
		text, _ = k.Default()
	}
	parts := slices.DeleteFunc(splitList(text), func(s string) bool { return s == "" })
	for _, v := range strings.Split(*op.Value, ",") {
		i := slices.Index(parts, v)
		switch {
		case op.Kind == OpAppend && i < 0:
			parts = append(parts, v)
		case op.Kind == OpSubtract && i >= 0:
			parts = slices.Delete(parts, i, i+1)
		}
	}
	joined := strings.Join(parts, ",")
	return &joined, nil
}

// validate checks the configs that a resource is to have.
func (l *Live) validate(t Target, next map[string]string) error {
	for _, value := range next {
		if len(value) > math.MaxInt16 {
			return invalidConfig("The configuration value exceeds the maximum value size of %d bytes.", math.MaxInt16)
		}
	}
	switch t.Scope {
	case ScopeTopic:
		return l.ValidateTopic(next)
	case ScopeGroup:
		return l.validateGroup(t.Name, next)
	case ScopeClientMetrics:
		return validateClientMetrics(t.Name, next)
	default:
		return as(kerr.InvalidRequest, l.validateBroker(t.Name != "", next))
	}
}

// ValidateTopic checks the overrides of a topic, new or altered.
func (l *Live) ValidateTopic(overrides map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		k, ok := Lookup(ScopeTopic, name)
		if !ok {
			return invalidConfig("Unknown topic config name: %s%s", name, hint(ScopeTopic, name))
		}
		if _, err := k.parse(overrides[name]); err != nil {
			return as(kerr.InvalidConfig, err)
		}
	}
	t := l.Topic(overrides)
	if t.MinCompactionLag > t.MaxCompactionLag {
		return invalidConfig("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)",
			t.MinCompactionLag.Milliseconds(), t.MaxCompactionLag.Milliseconds())
	}
	if remote := overrides["remote.storage.enable"]; strings.EqualFold(strings.TrimSpace(remote), "true") {
		return invalidConfig("Tiered Storage functionality is disabled in the broker. " +
			"Topic cannot be configured with remote log storage.")
	}
	return nil
}

func hint(scope Scope, name string) string {
	if near := nearest(scope, name); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
}

// boundedGroupKeys lie between a broker's own limits: consumer.x between group.consumer.min.x and
// group.consumer.max.x.
var boundedGroupKeys = []string{
	"consumer.heartbeat.interval.ms", "consumer.session.timeout.ms", "consumer.assignment.interval.ms",
	"share.heartbeat.interval.ms", "share.session.timeout.ms", "share.record.lock.duration.ms",
	"share.delivery.count.limit", "share.partition.max.record.locks", "share.assignment.interval.ms",
	"streams.heartbeat.interval.ms", "streams.session.timeout.ms", "streams.assignment.interval.ms",
}

func (l *Live) validateGroup(name string, next map[string]string) error {
	if name == "" {
		return invalidRequest("Default group resources are not allowed.")
	}
	for _, key := range slices.Sorted(maps.Keys(next)) {
		k, ok := Lookup(ScopeGroup, key)
		if !ok {
			return invalidConfig("Unknown group config name: %s%s", key, hint(ScopeGroup, key))
		}
		if _, err := k.parse(next[key]); err != nil {
			return as(kerr.InvalidConfig, err)
		}
	}
	value := func(key string) int64 {
		k, _ := Lookup(ScopeGroup, key)
		return l.resolve(k, next).num
	}
	for _, key := range boundedGroupKeys {
		kind, rest, _ := strings.Cut(key, ".")
		low, high := "group."+kind+".min."+rest, "group."+kind+".max."+rest
		if value(key) < l.Long(low) {
			return invalidConfig("%s must be greater than or equal to %s", key, low)
		}
		if value(key) > l.Long(high) {
			return invalidConfig("%s must be less than or equal to %s", key, high)
		}
	}
	if value("streams.num.standby.replicas") > l.Long("group.streams.max.standby.replicas") {
		return invalidConfig("streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas")
	}
	for _, kind := range []string{"consumer", "share", "streams"} {
		session, beat := kind+".session.timeout.ms", kind+".heartbeat.interval.ms"
		if value(session) <= value(beat) {
			return invalidConfig("%s must be greater than %s", session, beat)
		}
	}
	return nil
}

var clientMatchFields = []string{
	"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address",
	"client_source_port",
}

func validateClientMetrics(name string, next map[string]string) error {
	if name == "" {
		return invalidRequest("Subscription name can't be empty")
	}
	for _, key := range slices.Sorted(maps.Keys(next)) {
		k, ok := Lookup(ScopeClientMetrics, key)
		if !ok {
			return invalidRequest("Unknown client metrics configuration: %s%s", key, hint(ScopeClientMetrics, key))
		}
		v, err := k.parse(next[key])
		if err != nil {
			return as(kerr.InvalidConfig, err)
		}
		switch key {
		case "interval.ms":
			if v.num < 100 || v.num > 3600000 {
				return invalidRequest("Invalid value %d for interval.ms, interval must be between 100 and 3600000 (1 hour)", v.num)
			}
		case "match":
			if err := validateMatch(v.list); err != nil {
				return err
			}
		}
	}
	return nil
}

func validateMatch(patterns []string) error {
	for _, p := range patterns {
		field, pattern, ok := strings.Cut(p, "=")
		if !ok || strings.Contains(pattern, "=") || strings.TrimSpace(pattern) == "" ||
			!slices.Contains(clientMatchFields, strings.TrimSpace(field)) || !validPattern(pattern) {
			return invalidConfig("Illegal client matching pattern: %s", p)
		}
	}
	return nil
}

// checkDynamic says why a dynamic broker config cannot take effect, nil if it can.
func checkDynamic(name, value string, perBroker bool) error {
	k, ok := lookupBroker(name)
	if !ok || k == nil {
		return nil // Kafka keeps names it does not know, for plug-ins
	}
	prefixed := k.Name != name
	switch {
	case k.Dynamic == ReadOnly:
		return errors.New("Cannot update these configs dynamically: [" + name + "]")
	case !prefixed && strings.HasPrefix(name, "ssl.") && k.Dynamic == PerBroker:
		return errors.New("These security configs can be dynamically updated only per-listener using the listener prefix: [" +
			name + "]")
	}
	if _, err := k.parse(value); err != nil {
		return err
	}
	if !perBroker && (k.Dynamic == PerBroker || prefixed && !clusterListenerKey(k.Name)) {
		return errors.New("Cannot update these configs at default cluster level, broker id must be specified: [" + name + "]")
	}
	return nil
}

func clusterListenerKey(name string) bool {
	return name == "max.connections" || name == "max.connection.creation.rate" || name == "num.network.threads"
}

// validateBroker checks the dynamic configs of this broker or of the cluster default, each on its
// own and then in the place they would take.
func (l *Live) validateBroker(perBroker bool, next map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if err := checkDynamic(name, next[name], perBroker); err != nil {
			return err
		}
		if name == "listeners" || name == "listener.security.protocol.map" {
			if now, _ := l.staticText(name); now != next[name] {
				return errors.New(name + " cannot be changed while the broker runs; set it in its configuration and restart")
			}
		}
	}
	candidate := NewLive(l.static, next, l.own)
	if perBroker {
		candidate = NewLive(l.static, l.cluster, next)
	}
	if _, err := newBroker(candidate); err != nil {
		return err
	}
	if low, high := candidate.Topic(nil).MinCompactionLag, candidate.Topic(nil).MaxCompactionLag; low > high {
		return errors.New("log.cleaner.min.compaction.lag.ms is greater than log.cleaner.max.compaction.lag.ms")
	}
	return nil
}

// CheckBrokerName checks the name of a broker resource: empty, or the id of this node.
func CheckBrokerName(name string, nodeID int32) error {
	if name == "" {
		return nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return invalidRequest("Node id must be an integer, but it is: %s", name)
	}
	if int32(id) != nodeID {
		return invalidRequest("Unexpected broker id, expected %d, but received %s", nodeID, name)
	}
	return nil
}
