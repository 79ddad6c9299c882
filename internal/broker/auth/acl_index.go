package auth

import (
	"net/netip"
	"slices"

	"github.com/logstead/logstead/internal/cluster/meta"
)

// Index finds the entries that concern a question, without allocating. It never changes.
type Index struct {
	types [User + 1]patterns
	count int
}

// patterns are the entries about one type of resource.
type patterns struct {
	literal, prefixed map[string]rules
	lengths           []int // of the prefixes, ascending, each once
}

// rules are what the entries of one pattern give and take, by principal.
type rules map[Principal][]rule

// rule is what the entries of one pattern, principal and host say, as bits by operation.
type rule struct {
	host        netip.Addr // the zero value is every host
	allow, deny uint32
}

// NewIndex is the index over an image's entries.
func NewIndex(im *meta.Image) *Index {
	x := &Index{}
	for a := range im.ACLs() {
		x.add(a)
	}
	for i := range x.types {
		slices.Sort(x.types[i].lengths)
	}
	return x
}

// Count is how many entries there are.
func (x *Index) Count() int { return x.count }

func (x *Index) add(a *meta.ACL) {
	x.count++
	if a.ResourceType <= 0 || int(a.ResourceType) >= len(x.types) {
		return
	}
	t := &x.types[a.ResourceType]
	names := &t.literal
	if a.PatternType == meta.ACLPrefixed {
		names = &t.prefixed
		if n := len(a.ResourceName); !slices.Contains(t.lengths, n) {
			t.lengths = append(t.lengths, n)
		}
	}
	if *names == nil {
		*names = map[string]rules{}
	}
	of := (*names)[a.ResourceName]
	if of == nil { // also for an entry that fits nobody: there is one for the resource
		of = rules{}
		(*names)[a.ResourceName] = of
	}
	r := rule{}
	if a.Host != meta.ACLWildcard {
		host, err := netip.ParseAddr(a.Host)
		if err != nil {
			return // clients come from addresses: no other host is ever met
		}
		r.host = host.Unmap()
	}
	if a.PermissionType == meta.ACLAllow {
		r.allow = bit(a.Operation)
	} else {
		r.deny = bit(a.Operation)
	}
	who, _ := ParsePrincipal(a.Principal)
	of[who] = merge(of[who], r)
}

func merge(all []rule, r rule) []rule {
	for i := range all {
		if all[i].host == r.host {
			all[i].allow |= r.allow
			all[i].deny |= r.deny
			return all
		}
	}
	return append(all, r)
}

// answer is what the entries say.
type answer uint8

const (
	noEntry answer = iota // no entry is about the resource
	nothing               // none of those about it is about the question
	denied
	allowed
)

// look collects what the entries that fit a resource say to a principal from a host.
type look struct {
	who         Principal
	host        netip.Addr
	allow, deny uint32
	found       bool
}

func (l *look) at(of rules) {
	if of == nil {
		return
	}
	l.found = true
	l.take(of[l.who])
	l.take(of[everybody])
}

func (l *look) take(all []rule) {
	for i := range all {
		if r := &all[i]; !r.host.IsValid() || r.host == l.host {
			l.allow |= r.allow
			l.deny |= r.deny
		}
	}
}

// find is what the entries say to one question. What any of them denies is denied.
func (x *Index) find(who Principal, host netip.Addr, op Operation, res Resource, name string) answer {
	t := &x.types[res]
	l := look{who: who, host: host}
	l.at(t.literal[name])
	if name != meta.ACLWildcard {
		l.at(t.literal[meta.ACLWildcard])
	}
	for _, n := range t.lengths {
		if n > len(name) {
			break
		}
		l.at(t.prefixed[name[:n]])
	}
	switch {
	case l.deny&(bit(op)|bit(meta.ACLAll)) != 0:
		return denied
	case l.allow&given(op) != 0:
		return allowed
	case l.found:
		return nothing
	}
	return noEntry
}

// anywhere says whether the entries allow the operation on any resource of a type: on one whose name none of them denies
// as a whole.
func (x *Index) anywhere(who Principal, host netip.Addr, op Operation, res Resource) bool {
	t, bits := &x.types[res], bit(op)|bit(meta.ACLAll)
	says := func(of rules) (allows, denies bool) {
		l := look{who: who, host: host}
		l.at(of)
		return l.allow&bits != 0, l.deny&bits != 0
	}
	all, none := says(t.literal[meta.ACLWildcard])
	if all || none {
		return !none
	}
	dominated := func(name string) bool {
		for _, n := range t.lengths {
			if n > len(name) {
				break
			}
			if n == 0 {
				continue
			}
			if _, denies := says(t.prefixed[name[:n]]); denies {
				return true
			}
		}
		return false
	}
	for name, of := range t.literal {
		if allows, denies := says(of); allows && !denies && !dominated(name) {
			return true
		}
	}
	for name, of := range t.prefixed {
		if allows, _ := says(of); allows && !dominated(name) {
			return true
		}
	}
	return false
}
