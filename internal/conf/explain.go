package conf

import (
	"errors"
	"fmt"
	"strings"
)

// Explanation is what there is to know about one key: what it is, and where its value comes from.
type Explanation struct {
	Key    *Key
	Value  string // *** for a secret that is set
	IsSet  bool   // false where there is neither a value nor a default
	Origin Origin
}

// Explain finds a broker key's value and the place it was given at.
func (l *Live) Explain(name string) (Explanation, error) {
	k, ok := lookupBroker(name)
	if !ok || k == nil {
		return Explanation{}, errors.New("unknown key " + name + hint(ScopeBroker, name))
	}
	x := Explanation{Key: k}
	x.Value, x.IsSet = l.brokerText(name, false)
	x.Origin = l.origin(name)
	if v, err := k.parse(x.Value); err == nil && x.IsSet {
		x.Value = v.String()
	}
	if k.Sensitive() && x.IsSet {
		x.Value = "***"
	}
	return x, nil
}

func (l *Live) origin(name string) Origin {
	if _, ok := l.own[name]; ok {
		return Origin{Kind: FromBroker}
	}
	if _, ok := l.cluster[name]; ok {
		return Origin{Kind: FromClusterDefault}
	}
	return l.static.settings[name].Origin
}

// String is the explanation for a reader.
func (x Explanation) String() string {
	var b strings.Builder
	value := x.Value
	if !x.IsSet {
		value = "(not set)"
	}
	fmt.Fprintf(&b, "%s = %s\n  from     %s\n", x.Key.Name, value, x.Origin)
	if def, ok := x.Key.Default(); ok {
		fmt.Fprintf(&b, "  default  %s\n", def)
	}
	fmt.Fprintf(&b, "  type     %s", x.Key.Type)
	if x.Key.Valid() != "" {
		fmt.Fprintf(&b, ", %s", x.Key.Valid())
	}
	fmt.Fprintf(&b, "\n  changes  %s\n  %s\n", x.Key.Dynamic, x.Key.Doc)
	if why := x.Key.Effect.String(); why != "" {
		fmt.Fprintf(&b, "  It has no effect in this version: it %s.\n", why)
	}
	return b.String()
}
