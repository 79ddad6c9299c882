package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// advertisedMin are the APIs whose range begins lower in ApiVersions than what is served: librdkafka
// reads Produce's range to learn which features there are (KAFKA-18659).
var advertisedMin = map[string]int{"Produce": 0}

// tables emits the API list and the constructors by key.
func tables(ms []*message) *printer {
	p := &printer{}
	var reqs []*message
	for _, m := range ms {
		if m.Type == "request" {
			reqs = append(reqs, m)
		}
	}
	slices.SortFunc(reqs, func(a, b *message) int { return cmp.Compare(*a.APIKey, *b.APIKey) })
	p.f("// The API keys.\nconst (")
	for _, m := range reqs {
		p.f("Key%s int16 = %d", m.apiName(), *m.APIKey)
	}
	p.f(")\n")
	p.f("// APIs lists every API, by key.\nvar APIs = []API{")
	for _, m := range reqs {
		p.api(m)
	}
	p.f("}\n")
	p.constructor("NewRequest", "Request", "a request of this API", "Key%s", reqs, "Request")
	p.constructor("NewResponse", "Response", "a response of this API", "Key%s", reqs, "Response")
	p.records("NewMetadataRecord", "a metadata record", ms, func(m *message) bool {
		return m.Type == "metadata" && m.Artifact == "kafka-metadata"
	})
	for _, c := range []struct{ fn, artifact, what string }{
		{"NewGroupKey", "kafka-group-coordinator", "a key of __consumer_offsets"},
		{"NewShareKey", "kafka-share-coordinator", "a key of __share_group_state"},
		{"NewTransactionKey", "kafka-transaction-coordinator", "a key of __transaction_state"},
	} {
		p.records(c.fn, c.what, ms, func(m *message) bool {
			return m.Type == "coordinator-key" && m.Artifact == c.artifact
		})
	}
	for _, c := range []struct{ fn, artifact, what string }{
		{"NewGroupValue", "kafka-group-coordinator", "a value of __consumer_offsets"},
		{"NewShareValue", "kafka-share-coordinator", "a value of __share_group_state"},
		{"NewTransactionValue", "kafka-transaction-coordinator", "a value of __transaction_state"},
	} {
		p.records(c.fn, c.what, ms, func(m *message) bool {
			return m.Type == "coordinator-value" && m.Artifact == c.artifact
		})
	}
	return p
}

func (p *printer) api(m *message) {
	lo, hi := m.valid.lo, m.valid.hi
	if m.Unstable {
		hi--
	}
	adv := lo
	if a, ok := advertisedMin[m.apiName()]; ok {
		adv = a
	}
	flex := -1
	if !m.flexible.empty() {
		flex = m.flexible.lo
	}
	var ls []string
	for _, l := range m.Listeners {
		ls = append(ls, "Listener"+strings.ToUpper(l[:1])+l[1:])
	}
	slices.Sort(ls)
	unstable := ""
	if m.Unstable {
		unstable = ", LatestUnstable: true"
	}
	p.f("{Key: Key%s, Name: %q, Min: %d, Max: %d, AdvertisedMin: %d, FlexibleFrom: %d, Listeners: %s%s},",
		m.apiName(), m.apiName(), lo, hi, adv, flex, strings.Join(ls, "|"), unstable)
}

func (p *printer) constructor(fn, typ, what, constant string, ms []*message, suffix string) {
	p.f("// %s returns %s with defaults, nil if the key is unknown.", fn, what)
	p.f("func %s(key int16) %s {", fn, typ)
	p.f("switch key {")
	for _, m := range ms {
		p.f("case %s:\nm := New%s%s()\nreturn &m", fmt.Sprintf(constant, m.apiName()), m.apiName(), suffix)
	}
	p.f("}\nreturn nil\n}\n")
}

// records emits a constructor by record type.
func (p *printer) records(fn, what string, ms []*message, keep func(*message) bool) {
	var rs []*message
	for _, m := range ms {
		if keep(m) {
			rs = append(rs, m)
		}
	}
	slices.SortFunc(rs, func(a, b *message) int { return cmp.Compare(*a.APIKey, *b.APIKey) })
	p.f("// %s returns %s with defaults and its newest version, nil if the type is unknown.", fn, what)
	p.f("func %s(recordType int16) (Record, int16) {\nswitch recordType {", fn)
	for _, m := range rs {
		p.f("case %sType:\nm := New%s()\nreturn &m, %sMaxVersion", m.Name, m.Name, m.Name)
	}
	p.f("}\nreturn nil, 0\n}\n")
}
