package quota

// Kind is what a quota limits.
type Kind uint8

// The kinds of client quotas.
const (
	Produce  Kind = iota // bytes a second into the broker
	Fetch                // bytes a second out of it
	Request              // share of one processor, in percent
	Mutation             // partitions created or deleted a second
	kinds

	connection  = kinds // of addresses, which are no entity of Limits
	sensorKinds = kinds + 1
)

// keys are the names of the kinds in the metadata.
var keys = [kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"}

// String is the quota's key.
func (k Kind) String() string { return keys[k] }

// Entity is whom a quota is for. A nil part is not named; "" in Default is the default of its type.
type Entity struct {
	User     Part
	ClientID Part
}

// Part is one half of an entity.
type Part struct {
	Set     bool // named at all
	Default bool // the default of its type, else Name
	Name    string
}

// Named is the part of an entity that names one user or client.
func Named(name string) Part { return Part{Set: true, Name: name} }

// AnyOther is the part of an entity that stands for those without a quota of their own.
func AnyOther() Part { return Part{Set: true, Default: true} }

// Limits is an immutable table of quotas.
type Limits struct {
	byKind [kinds]map[Entity]float64
	any    bool
}

// NewLimits makes a table; values are by Kafka's quota keys, unknown ones are ignored.
func NewLimits(quotas map[Entity]map[string]float64) *Limits {
	l := &Limits{}
	for entity, values := range quotas {
		for k, key := range keys {
			v, ok := values[key]
			if !ok {
				continue
			}
			if l.byKind[k] == nil {
				l.byKind[k] = map[Entity]float64{}
			}
			l.byKind[k][entity], l.any = v, true
		}
	}
	return l
}

// sensorKey is whom a sensor measures: "" is a half that the quota does not tell apart.
type sensorKey struct {
	user, clientID string
}

// find is the quota that applies to a client, and whom it shares it with. The order is Kafka's: the
// user's own quotas, then those of users without their own, then the client id's.
func (l *Limits) find(k Kind, user, clientID string) (limit float64, key sensorKey, ok bool) {
	quotas := l.byKind[k]
	if len(quotas) == 0 {
		return 0, key, false
	}
	both := sensorKey{user, clientID}
	for _, e := range [...]struct {
		entity Entity
		key    sensorKey
	}{
		{Entity{Named(user), Named(clientID)}, both},
		{Entity{Named(user), AnyOther()}, both},
		{Entity{Named(user), Part{}}, sensorKey{user, ""}},
		{Entity{AnyOther(), Named(clientID)}, both},
		{Entity{AnyOther(), AnyOther()}, both},
		{Entity{AnyOther(), Part{}}, sensorKey{user, ""}},
		{Entity{Part{}, Named(clientID)}, sensorKey{"", clientID}},
		{Entity{Part{}, AnyOther()}, sensorKey{"", clientID}},
	} {
		if limit, ok = quotas[e.entity]; ok {
			return limit, e.key, true
		}
	}
	return 0, key, false
}
