package conf

import (
	"maps"
	"slices"
)

// SourceLevel is the level that a described value comes from, numbered as DescribeConfigs does.
type SourceLevel int8

// The levels.
const (
	SourceTopic          SourceLevel = 1
	SourceDynamicBroker  SourceLevel = 2
	SourceDynamicDefault SourceLevel = 3
	SourceStaticBroker   SourceLevel = 4
	SourceDefault        SourceLevel = 5
	SourceBrokerLogger   SourceLevel = 6
	SourceClientMetrics  SourceLevel = 7
	SourceGroup          SourceLevel = 8
)

// Entry is one config of a DescribeConfigs answer.
type Entry struct {
	Name      string
	Value     *string // nil for none, and for what is sensitive
	Source    SourceLevel
	ReadOnly  bool
	Sensitive bool
	Synonyms  []Synonym // every level that sets the value, the one that wins first
	Type      Type
	Doc       string
}

// Synonym is one level that sets a value.
type Synonym struct {
	Name   string
	Value  *string
	Source SourceLevel
}

// DescribeTopic describes every config of a topic with these overrides.
func (l *Live) DescribeTopic(overrides map[string]string) []Entry {
	return l.describeResource(ScopeTopic, SourceTopic, overrides)
}

// DescribeGroup describes every config of a group with these overrides.
func (l *Live) DescribeGroup(overrides map[string]string) []Entry {
	return l.describeResource(ScopeGroup, SourceGroup, overrides)
}

// DescribeClientMetrics describes a client metrics subscription.
func (l *Live) DescribeClientMetrics(overrides map[string]string) []Entry {
	return l.describeResource(ScopeClientMetrics, SourceClientMetrics, overrides)
}

// DescribeNewTopic describes a topic as CreateTopics answers it: without synonyms, and with a key's
// source also where it was set in another unit (log.retention.hours), which DescribeConfigs of
// Apache Kafka passes over.
func (l *Live) DescribeNewTopic(overrides map[string]string) []Entry {
	entries := l.DescribeTopic(overrides)
	for i := range entries {
		e := &entries[i]
		if e.Source != SourceTopic {
			k, _ := Lookup(ScopeTopic, e.Name)
			e.Source = l.highest(k.synonyms)
		}
		e.Synonyms = nil
	}
	return entries
}

// highest is the level that sets one of the synonyms, the highest if several do.
func (l *Live) highest(synonyms []synonym) SourceLevel {
	levels := []struct {
		source SourceLevel
		get    func(string) (string, bool)
	}{
		{SourceDynamicBroker, func(n string) (string, bool) { v, ok := l.own[n]; return v, ok }},
		{SourceDynamicDefault, func(n string) (string, bool) { v, ok := l.cluster[n]; return v, ok }},
		{SourceStaticBroker, l.staticText},
	}
	for _, level := range levels {
		for _, s := range synonyms {
			if _, ok := level.get(s.name); ok {
				return level.source
			}
		}
	}
	return SourceDefault
}

func (l *Live) describeResource(scope Scope, level SourceLevel, overrides map[string]string) []Entry {
	var out []Entry
	for _, k := range tables()[scope].sorted {
		_, set := overrides[k.Name]
		if k.Importance == Hidden && !set {
			continue
		}
		e := Entry{Name: k.Name, Type: k.Type, Sensitive: k.Sensitive(), Doc: k.Doc, Source: SourceDefault}
		e.Value = shown(k, l.resolve(k, overrides).String())
		if len(k.synonyms) > 0 {
			e.Synonyms = l.levels(k.synonyms[0].name, k.Sensitive())
		} else if text, ok := k.Default(); ok && scope == ScopeGroup {
			e.Synonyms = []Synonym{{k.Name, shown(k, text), SourceDefault}}
		}
		if set {
			e.Synonyms = append([]Synonym{{k.Name, e.Value, level}}, e.Synonyms...)
		}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		out = append(out, e)
	}
	return out
}

func shown(k *Key, text string) *string {
	if k.Sensitive() {
		return nil
	}
	return &text
}

// levels lists every level at which a broker key or one of its synonyms is set, the highest first,
// beginning with the key's own name. A secret's values are left out.
func (l *Live) levels(name string, sensitive bool) []Synonym {
	names := brokerSynonyms(name)
	var out []Synonym
	add := func(level SourceLevel, get func(string) (string, bool)) {
		for _, n := range names {
			if text, ok := get(n); ok {
				s := Synonym{n, &text, level}
				if sensitive {
					s.Value = nil
				}
				out = append(out, s)
			}
		}
	}
	add(SourceDynamicBroker, func(n string) (string, bool) { v, ok := l.own[n]; return v, ok })
	add(SourceDynamicDefault, func(n string) (string, bool) { v, ok := l.cluster[n]; return v, ok })
	add(SourceStaticBroker, l.staticText)
	if !authorizerKeys[name] {
		add(SourceDefault, defaultText)
	}
	first := slices.IndexFunc(out, func(s Synonym) bool { return s.Name == name })
	if first < 0 {
		return nil
	}
	return out[first:]
}

// staticText is what the broker was started with. As in Kafka, node.id and broker.id are both
// static whichever of them was given.
func (l *Live) staticText(name string) (string, bool) {
	if set, ok := l.static.settings[name]; ok {
		return set.Value, true
	}
	switch name {
	case "broker.id":
		return l.identity("node.id")
	case "node.id":
		return l.identity("broker.id")
	}
	return "", false
}

func (l *Live) identity(other string) (string, bool) {
	if set, ok := l.static.settings[other]; ok {
		return set.Value, true
	}
	return defaultText("node.id")
}

func defaultText(name string) (string, bool) {
	k, ok := Lookup(ScopeBroker, name)
	if !ok {
		return "", false
	}
	return k.Default()
}

// DescribeBroker describes every config of this broker.
func (l *Live) DescribeBroker() []Entry {
	names := map[string]bool{}
	for _, k := range tables()[ScopeBroker].sorted {
		if k.Importance != Hidden && !isQuotaRate(k.Name) && !authorizerKeys[k.Name] {
			names[k.Name] = true
		}
	}
	for name := range l.effective {
		names[name] = true
	}
	var out []Entry
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, l.describeBrokerKey(name, false))
	}
	return out
}

// authorizerKeys belong to Kafka's authorizer and not to the broker: they are shown where they are set, without their values, as all
// that a broker of Kafka does not know.
var authorizerKeys = map[string]bool{"allow.everyone.if.no.acl.found": true, "super.users": true}

// isQuotaRate tells the keys that exist as dynamic ones only.
func isQuotaRate(name string) bool {
	switch name {
	case "leader.replication.throttled.rate", "follower.replication.throttled.rate",
		"replica.alter.log.dirs.io.max.bytes.per.second":
		return true
	}
	return false
}

// DescribeClusterDefault describes the cluster-wide dynamic configs: only what is set.
func (l *Live) DescribeClusterDefault() []Entry {
	var out []Entry
	for _, name := range slices.Sorted(maps.Keys(l.cluster)) {
		out = append(out, l.describeBrokerKey(name, true))
	}
	return out
}

func (l *Live) describeBrokerKey(name string, clusterOnly bool) Entry {
	k, _ := lookupBroker(name)
	if k == nil || authorizerKeys[name] {
		k = &Key{Name: name, def: null, Type: Unknown}
	}
	e := Entry{
		Name: name, Type: k.Type, Doc: k.Doc, Source: SourceDefault,
		Sensitive: k.Sensitive() || k.Type == Unknown, // what we know nothing of may be a secret
		ReadOnly:  k.Dynamic == ReadOnly,
	}
	if name != k.Name {
		e.ReadOnly = true // a listener's own setting: the dynamic names are the base ones
	}
	e.Synonyms = l.levels(name, e.Sensitive)
	if clusterOnly {
		e.Synonyms = slices.DeleteFunc(e.Synonyms, func(s Synonym) bool { return s.Source != SourceDynamicDefault })
	}
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
	if text, ok := l.brokerText(name, clusterOnly); ok && !e.Sensitive {
		if v, err := k.parse(text); err == nil {
			text = v.String()
		}
		e.Value = &text
	}
	return e
}

func (l *Live) brokerText(name string, clusterOnly bool) (string, bool) {
	if clusterOnly {
		text, ok := l.cluster[name]
		return text, ok
	}
	if text, ok := l.effective[name]; ok {
		return text, true
	}
	if text, ok := l.staticText(name); ok {
		return text, true
	}
	return defaultText(name)
}

// DescribeLoggers describes the levels of the broker's loggers.
func DescribeLoggers(levels map[string]string) []Entry {
	var out []Entry
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		level := levels[name]
		out = append(out, Entry{Name: name, Value: &level, Source: SourceBrokerLogger})
	}
	return out
}
