package conf

import (
	"slices"
	"strings"
	"sync"
)

// row is a Key as the tables write it down.
type row struct {
	name       string
	typ        Type
	def        string
	check      validator
	dynamic    Dynamic
	importance Importance
	effect     Effect
	doc        string
}

// scopes lists every table. What is read anywhere of a key comes from here.
var scopes = []struct {
	scope Scope
	rows  [][]row
}{
	{ScopeBroker, [][]row{
		clusterKeys, networkKeys, logKeys, groupsKeys, txnKeys, replicationKeys, otherKeys,
		securityKeys, tieredKeys, shareKeys, logsteadKeys,
	}},
	{ScopeTopic, [][]row{topicKeys, logsteadTopicKeys}},
	{ScopeGroup, [][]row{groupKeys}},
	{ScopeClientMetrics, [][]row{clientMetricsKeys}},
}

type table struct {
	byName map[string]*Key
	sorted []*Key
}

// tables builds the lookup tables on first use; they never change afterwards.
var tables = sync.OnceValue(func() map[Scope]table {
	all := map[Scope]table{}
	for _, s := range scopes {
		t := table{byName: map[string]*Key{}}
		for _, rows := range s.rows {
			for _, r := range rows {
				k := r.key(s.scope)
				t.byName[k.Name] = k
				t.sorted = append(t.sorted, k)
			}
		}
		slices.SortFunc(t.sorted, func(a, b *Key) int { return strings.Compare(a.Name, b.Name) })
		all[s.scope] = t
	}
	return all
})

func (r row) key(scope Scope) *Key {
	k := &Key{
		Name: r.name, Type: r.typ, def: r.def, check: r.check, Dynamic: r.dynamic,
		Importance: r.importance, Effect: r.effect, Doc: r.doc, Scope: scope,
	}
	switch scope {
	case ScopeTopic:
		k.synonyms = topicSynonyms[r.name]
	case ScopeGroup:
		k.synonyms = groupSynonyms[r.name]
	}
	return k
}

// Keys lists the keys of a scope in the order of their names.
func Keys(scope Scope) []*Key { return slices.Clone(tables()[scope].sorted) }

// Lookup finds a key by its exact name.
func Lookup(scope Scope, name string) (*Key, bool) {
	k, ok := tables()[scope].byName[name]
	return k, ok
}

// openPrefixes begin broker keys whose rest is free: settings of one listener, and of plug-ins.
var openPrefixes = []string{"listener.name.", "config.providers.", "rlmm.config.", "rsm.config."}

// lookupBroker finds a broker key; the settings of one listener ("listener.name.<listener>.<key>")
// are found as the key they override. A free-form key is (nil, true).
func lookupBroker(name string) (*Key, bool) {
	if k, ok := Lookup(ScopeBroker, name); ok {
		return k, true
	}
	if base, ok := listenerBase(name); ok {
		if k, ok := Lookup(ScopeBroker, base); ok {
			return k, true
		}
	}
	for _, p := range openPrefixes {
		if strings.HasPrefix(name, p) && len(name) > len(p) {
			return nil, true
		}
	}
	return nil, false
}

// mechanismKeys are set as listener.name.<listener>.<mechanism>.<key>.
var mechanismKeys = []string{
	"sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class",
	"sasl.server.callback.handler.class", "connections.max.reauth.ms",
}

// listenerBase is the key that a listener's own setting overrides.
func listenerBase(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return "", false
	}
	_, base, ok := strings.Cut(rest, ".")
	if !ok {
		return "", false
	}
	for _, k := range mechanismKeys {
		if strings.HasSuffix(base, k) {
			return k, true
		}
	}
	return base, true
}

// nearest is the known key of the scope that a mistyped name most likely means, empty if none is near.
func nearest(scope Scope, name string) string {
	best, limit := "", max(2, len(name)/4)
	for _, k := range tables()[scope].sorted {
		if d := distance(name, k.Name, limit); d <= limit && (best == "" || d < limit) {
			best, limit = k.Name, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours between a
// and b, or more than limit as soon as that is certain.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		if slices.Min(cur) > limit {
			return limit + 1
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
