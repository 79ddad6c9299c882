package conf

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Origin tells where a value was given.
type Origin struct {
	Kind OriginKind
	Name string // of the file, variable or flag
	Line int    // in the file, 0 if it has none
}

// OriginKind ranks the places where a value can be given; the higher wins.
type OriginKind uint8

// The kinds of origin.
const (
	FromDefault OriginKind = iota
	FromFile
	FromEnv
	FromFlag
	FromClusterDefault
	FromBroker
	FromResource
)

// String is the place in words a user can find it by.
func (o Origin) String() string {
	switch o.Kind {
	case FromFile:
		if o.Line == 0 {
			return o.Name
		}
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	case FromEnv:
		return "environment variable " + o.Name
	case FromFlag:
		return o.Name
	case FromClusterDefault:
		return "cluster-wide dynamic config"
	case FromBroker:
		return "dynamic config of this broker"
	case FromResource:
		return "config of the " + o.Name
	default:
		return "default"
	}
}

// Setting is one value as it was given.
type Setting struct {
	Name   string
	Value  string
	Origin Origin
	human  bool // the place allows 7d and 1GiB
}

// Source is everything that the static configuration is read from.
type Source struct {
	File     string                            // a .properties, .yaml or .yml file; empty for none
	ReadFile func(name string) ([]byte, error) // nil is os.ReadFile
	Env      []string                          // NAME=value, as os.Environ gives them
	Set      []string                          // key=value, from --set
	Defaults map[string]string                 // values of the caller that stand below the file
}

// Static is the configuration that the broker was started with. It never changes.
type Static struct {
	settings map[string]Setting
	warnings []string
}

// Load reads the file, the environment and the flags, in this order of increasing precedence. An
// error lists everything that is wrong, one line each.
func Load(src Source) (*Static, error) {
	var all []Setting
	for _, name := range slices.Sorted(maps.Keys(src.Defaults)) {
		all = append(all, Setting{Name: name, Value: src.Defaults[name]})
	}
	if src.File != "" {
		fromFile, err := readFile(src)
		if err != nil {
			return nil, err
		}
		all = append(all, fromFile...)
	}
	fromEnv, warnings := readEnv(src.Env)
	all = append(all, fromEnv...)
	fromFlags, err := readFlags(src.Set)
	if err != nil {
		return nil, err
	}
	return newStatic(append(all, fromFlags...), warnings)
}

func readFlags(set []string) ([]Setting, error) {
	var out []Setting
	for _, s := range set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--set %s: want key=value", s)
		}
		out = append(out, Setting{strings.TrimSpace(name), value, Origin{Kind: FromFlag, Name: "--set " + name}, true})
	}
	return out, nil
}

func readFile(src Source) ([]Setting, error) {
	read := src.ReadFile
	if read == nil {
		read = os.ReadFile
	}
	data, err := read(src.File)
	if err != nil {
		return nil, fmt.Errorf("read config file: %w", err)
	}
	if strings.HasSuffix(src.File, ".yaml") || strings.HasSuffix(src.File, ".yml") {
		return parseYAML(src.File, data)
	}
	return parseProperties(src.File, data)
}

// newStatic checks each setting on its own and then those that depend on each other.
func newStatic(all []Setting, warnings []string) (*Static, error) {
	s := &Static{settings: map[string]Setting{}, warnings: warnings}
	var errs []error
	for _, set := range all {
		checked, err := checkSetting(set)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.settings[set.Name] = checked
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s.warnings = append(s.warnings, s.withoutEffect()...)
	live := NewLive(s, nil, nil)
	b, err := newBroker(live)
	if err != nil {
		return nil, err
	}
	if err := b.checkTLS(live); err != nil {
		return nil, err
	}
	return s, nil
}

// checkSetting refuses unknown keys and wrong values, and turns 7d or 1GiB into a number.
func checkSetting(set Setting) (Setting, error) {
	k, ok := lookupBroker(set.Name)
	if !ok {
		return set, unknownKey(set)
	}
	if k == nil {
		return set, nil
	}
	if set.human {
		set.Value = fromHuman(k, set.Value)
	}
	if _, err := k.parse(set.Value); err != nil {
		return set, fmt.Errorf("%s: %w", set.Origin, err)
	}
	return set, nil
}

func unknownKey(set Setting) error {
	if k, ok := Lookup(ScopeTopic, set.Name); ok {
		if names := k.Synonyms(); len(names) > 0 {
			return fmt.Errorf("%s: unknown key %s: it is a topic config; its default for all topics is %s",
				set.Origin, set.Name, names[0])
		}
		return fmt.Errorf("%s: unknown key %s: it is a topic config, set it on a topic", set.Origin, set.Name)
	}
	if near := nearest(ScopeBroker, set.Name); near != "" {
		return fmt.Errorf("%s: unknown key %s: did you mean %s?", set.Origin, set.Name, near)
	}
	return fmt.Errorf("%s: unknown key %s: see docs/config.md for all keys", set.Origin, set.Name)
}

// withoutEffect gives one warning for each reason why keys that were set change nothing.
func (s *Static) withoutEffect() []string {
	byReason := map[Effect][]string{}
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		k, ok := lookupBroker(name)
		if !ok || k == nil || k.Effect == Honoured {
			continue
		}
		if v, _ := k.parse(s.settings[name].Value); k.def == null || v.String() != k.def {
			byReason[k.Effect] = append(byReason[k.Effect], name)
		}
	}
	var warnings []string
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		names := strings.Join(byReason[reason], ", ")
		warnings = append(warnings, fmt.Sprintf("set but without effect (%s): %s", reason, names))
	}
	return warnings
}

// Warnings are lines to log once at the start.
func (s *Static) Warnings() []string { return slices.Clone(s.warnings) }

// Settings lists what was given, in the order of the names.
func (s *Static) Settings() []Setting {
	out := slices.Collect(maps.Values(s.settings))
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out
}
