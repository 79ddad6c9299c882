package main

// testTables emits what the tests of kmsg need to know: every message, and per field the versions
// that have it and the versions in which it may be null.
func testTables(ms []*message) *printer {
	p := &printer{}
	p.f("var allMessages = []messageInfo{")
	for _, m := range ms {
		flex := m.flexible
		if flex.empty() {
			flex = versions{-1, -1}
		}
		p.f("{%q, func() Message { return new(%s) }, %d, %d, %d},", m.Name, m.Name, m.valid.lo, m.valid.hi, flex.lo)
	}
	p.f("}\n")
	p.f("var allFields = map[string]fieldInfo{")
	for _, m := range ms {
		for _, s := range m.structs {
			for _, f := range s.Fields {
				p.f("%q: {%d, %d, %d, %d},", s.goName+"."+f.goName,
					f.versions.lo, f.versions.hi, f.nullable.lo, f.nullable.hi)
			}
		}
	}
	p.f("}")
	return p
}
