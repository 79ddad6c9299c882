package conf

import (
	"maps"
	"slices"
	"time"
)

// Live is the broker's whole configuration at one moment: what it was started with, the
// cluster-wide dynamic configs and its own. It never changes; a change makes a new one.
type Live struct {
	static    *Static
	cluster   map[string]string
	own       map[string]string
	effective map[string]string // what is set at any level, families and levels resolved
}

// NewLive puts the dynamic configs on top of the static ones. An entry that cannot be set
// dynamically, or whose value breaks its rule, is left out, as Kafka does: it must not keep a
// broker from running. The caller must not change the maps afterwards.
func NewLive(s *Static, clusterDefault, ownDynamic map[string]string) *Live {
	l := &Live{static: s, cluster: usable(clusterDefault, false), own: usable(ownDynamic, true)}
	l.effective = make(map[string]string, len(s.settings))
	for name, set := range s.settings {
		l.effective[name] = set.Value
	}
	override(l.effective, l.cluster)
	override(l.effective, l.own)
	return l
}

// usable is the entries of a dynamic level that may take effect.
func usable(configs map[string]string, perBroker bool) map[string]string {
	out := make(map[string]string, len(configs))
	for name, value := range configs {
		if checkDynamic(name, value, perBroker) == nil {
			out[name] = value
		}
	}
	return out
}

// override puts a higher level on top of a lower one. Setting one key of a family hides the others
// below: log.retention.hours set dynamically wins over a static log.retention.ms.
func override(below, above map[string]string) {
	for name := range above {
		for _, family := range brokerFamilies {
			if slices.Contains(family, name) {
				for _, n := range family {
					delete(below, n)
				}
			}
		}
	}
	maps.Copy(below, above)
}

// value is a broker key's value, parsed; ok is false where it is neither set nor has a default.
func (l *Live) value(name string) (v Value, ok bool) {
	k, known := Lookup(ScopeBroker, name)
	if !known {
		panic("conf: no such broker key: " + name)
	}
	text, set := l.effective[name]
	if !set {
		if text, set = k.Default(); !set {
			return Value{typ: k.Type}, false
		}
	}
	v, err := k.parse(text)
	if err != nil {
		panic("conf: unchecked value: " + err.Error())
	}
	return v, true
}

// Bool is the value of a boolean broker key. Like the other getters it panics on a name that is not
// in the table, for that is a mistake in the program.
func (l *Live) Bool(name string) bool { v, _ := l.value(name); return v.yes }

// Int is the value of an int or short broker key.
func (l *Live) Int(name string) int32 { v, _ := l.value(name); return int32(v.num) }

// Long is the value of a number.
func (l *Live) Long(name string) int64 { v, _ := l.value(name); return v.num }

// Double is the value of a double broker key.
func (l *Live) Double(name string) float64 { v, _ := l.value(name); return v.float }

// String is the value of a string broker key, empty if it is not set.
func (l *Live) String(name string) string { v, _ := l.value(name); return v.str }

// List is the value of a list broker key.
func (l *Live) List(name string) []string { v, _ := l.value(name); return v.list }

// IsSet reports whether the key is set at any level above its built-in default.
func (l *Live) IsSet(name string) bool { _, ok := l.effective[name]; return ok }

// Duration is the value of a time, whatever its unit. Values too large for a Duration, which Kafka
// uses for "for ever", are the largest one; negative values are -1.
func (l *Live) Duration(name string) time.Duration {
	return duration(l.Long(name), int64(msPerUnit(name)))
}

func duration(n, msPerUnit int64) time.Duration {
	unit := time.Duration(msPerUnit) * time.Millisecond
	switch {
	case n < 0:
		return -1
	case n > int64(1<<63-1)/int64(unit):
		return 1<<63 - 1
	}
	return time.Duration(n) * unit
}

// first is the value of the first of the synonyms that is set, times its factor.
func (l *Live) first(synonyms []synonym) (Value, bool) {
	for _, s := range synonyms {
		v, ok := l.valueIfSet(s.name)
		if !ok {
			continue
		}
		if s.factor != 1 && v.num > 0 {
			v.num *= s.factor
		}
		return v, true
	}
	return Value{}, false
}

func (l *Live) valueIfSet(name string) (Value, bool) {
	if _, set := l.effective[name]; !set {
		return Value{}, false
	}
	return l.value(name)
}

// resolve is the value of a topic or group key: the resource's own, the broker's, the default.
func (l *Live) resolve(k *Key, overrides map[string]string) Value {
	if text, set := overrides[k.Name]; set {
		if v, err := k.parse(text); err == nil {
			return v
		}
		// A value stored under other rules falls back to the broker's rather than stop the topic.
	}
	if v, ok := l.first(k.synonyms); ok {
		v.typ = k.Type
		return v
	}
	text, ok := k.Default()
	if !ok {
		return Value{typ: k.Type}
	}
	v, err := k.parse(text)
	if err != nil {
		panic("conf: default breaks its own rule: " + err.Error())
	}
	return v
}
