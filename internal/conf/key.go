package conf

// Type is the type of a key's value. The numbers are those of DescribeConfigs.
type Type int8

// The types of config values, as the Kafka protocol numbers them.
const (
	Unknown Type = iota
	Boolean
	String
	Int
	Short
	Long
	Double
	List
	Class
	Password
)

// String is the type's name as Kafka's documentation writes it.
func (t Type) String() string {
	return [...]string{"unknown", "boolean", "string", "int", "short", "long", "double", "list", "class", "password"}[t]
}

// Scope is the kind of resource that a key belongs to.
type Scope uint8

// The scopes.
const (
	ScopeBroker Scope = iota
	ScopeTopic
	ScopeGroup
	ScopeClientMetrics
)

// String is the scope's name as kafka-configs writes it.
func (s Scope) String() string {
	return [...]string{"broker", "topic", "group", "client-metrics"}[s]
}

// Dynamic tells whether a key can be changed while the broker runs, and for whom.
type Dynamic uint8

// The update modes of Kafka. A cluster-wide key can also be set for one broker.
const (
	ReadOnly Dynamic = iota
	PerBroker
	ClusterWide
)

// String is the mode's name as Kafka's documentation writes it.
func (d Dynamic) String() string { return [...]string{"read-only", "per-broker", "cluster-wide"}[d] }

// Importance ranks a key for a reader. Hidden keys are Kafka's internal ones: they work, and
// DescribeConfigs shows them only where they are set.
type Importance uint8

// The importances.
const (
	Hidden Importance = iota
	Low
	Medium
	High
)

// String is the importance's name.
func (i Importance) String() string { return [...]string{"hidden", "low", "medium", "high"}[i] }

// Effect says what setting a key does here.
type Effect uint8

// The effects. All but Honoured are known and checked, and change nothing: setting one to another
// value than its default gives one warning.
const (
	Honoured      Effect = iota
	IgnoredJVM           // sizes a thread pool, names a Java class or tunes Java code
	LaterCluster         // for more than one node
	LaterSecurity        // TLS, SASL, authorization
	LaterTiered          // remote storage
	LaterGroups          // share groups and streams groups
)

// String says why a key has no effect, for a warning; empty if it has one.
func (e Effect) String() string {
	return [...]string{
		"", "belongs to Kafka's Java code", "is for clusters of several nodes", "is for TLS, SASL and ACLs",
		"is for tiered storage", "is for share and streams groups",
	}[e]
}

// null stands for "no default": the value is absent until somebody sets it.
const null = "\x00"

// Key is one row of the table: everything there is to know about one config key.
type Key struct {
	Name       string
	Type       Type
	def        string // null for none
	check      validator
	Dynamic    Dynamic
	Importance Importance
	Effect     Effect
	Doc        string
	Scope      Scope
	synonyms   []synonym // of a topic or group key: the broker keys that stand in for it, the first that is set wins
}

// Default is the built-in value; ok is false where there is none.
func (k *Key) Default() (value string, ok bool) {
	if k.def == null {
		return "", false
	}
	return k.def, true
}

// Sensitive reports whether the value must never be shown.
func (k *Key) Sensitive() bool { return k.Type == Password }

// Valid describes the values allowed, empty if the type says it all.
func (k *Key) Valid() string { return k.check.valid }

// Synonyms are the broker keys that give a topic or group key its value where the resource does
// not set it, the first that is set going before the others.
func (k *Key) Synonyms() []string {
	names := make([]string, len(k.synonyms))
	for i, s := range k.synonyms {
		names[i] = s.name
	}
	return names
}
