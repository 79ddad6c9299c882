package auth

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// MappingRules are ssl.principal.mapping.rules: the first that fits a certificate's distinguished name makes the name of the
// principal.
type MappingRules struct {
	text  string
	rules []mappingRule
}

type mappingRule struct {
	whole       *regexp.Regexp // nil for DEFAULT
	part        *regexp.Regexp
	emptyAtEnd  bool // part also matches nothing at the end of a text
	replacement string
	upper, low  bool
}

// The grammar is that of Kafka's SslPrincipalMapper.
var (
	mappingRuleText = `(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?)`
	mappingRuleForm = regexp.MustCompile(`^(?:` + mappingRuleText + `)$`)
	mappingRuleHead = regexp.MustCompile(`^\s*(` + mappingRuleText + `)[^,]*?\s*(?:,\s*|$)`)
)

// ParseMappingRules reads ssl.principal.mapping.rules: DEFAULT, and RULE:pattern/replacement/ with L or U behind it, in a list.
func ParseMappingRules(text string) (*MappingRules, error) {
	m := &MappingRules{text: text}
	for rest := strings.TrimSpace(text); rest != ""; {
		at := mappingRuleHead.FindStringSubmatchIndex(rest)
		if at == nil {
			return nil, badRule(rest)
		}
		whole := strings.TrimRight(strings.TrimRight(strings.TrimSpace(rest[:at[1]]), ","), " \t")
		f := mappingRuleForm.FindStringSubmatch(whole)
		if f == nil {
			return nil, badRule(whole)
		}
		rule, err := newMappingRule(f)
		if err != nil {
			return nil, err
		}
		m.rules = append(m.rules, rule)
		rest = rest[at[1]:]
	}
	if len(m.rules) == 0 {
		return nil, badRule(text)
	}
	return m, nil
}

func badRule(text string) error {
	return fmt.Errorf("ssl.principal.mapping.rules: %q is no rule: expected is DEFAULT, or RULE:pattern/replacement/ with L or U behind it", text)
}

func newMappingRule(form []string) (r mappingRule, err error) {
	if form[1] != "" {
		return r, nil
	}
	pattern := form[2]
	if r.part, err = regexp.Compile(pattern); err != nil {
		return r, fmt.Errorf("ssl.principal.mapping.rules: the pattern %q cannot be used: %w; look-around and back references of Java are not "+
			"served", pattern, err)
	}
	r.whole = regexp.MustCompile(`\A(?:` + pattern + `)\z`)
	r.emptyAtEnd = regexp.MustCompile(`\Ax(?:` + pattern + `)\z`).MatchString("x")
	r.replacement, r.low, r.upper = form[3], form[4] == "L", form[4] == "U"
	return r, nil
}

// Name is the principal's name for a distinguished name.
func (m *MappingRules) Name(dn string) (string, error) {
	for _, r := range m.rules {
		if name, ok := r.apply(dn); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("no rule of ssl.principal.mapping.rules (%s) fits the certificate's name %q: add one, or DEFAULT at the end", m.text, dn)
}

// OfCertificate is the principal of a certificate's owner.
func (m *MappingRules) OfCertificate(c *x509.Certificate) (Principal, error) {
	dn, err := DistinguishedName(c.RawSubject)
	if err != nil {
		return Principal{}, err
	}
	name, err := m.Name(dn)
	if err != nil {
		return Principal{}, err
	}
	return Principal{Type: UserType, Name: name}, nil
}

func (r *mappingRule) apply(dn string) (string, bool) {
	if r.whole == nil {
		return dn, true
	}
	if !r.whole.MatchString(dn) {
		return "", false
	}
	name := r.replaceAll(dn)
	switch {
	case r.low:
		name = strings.ToLower(name)
	case r.upper:
		name = strings.ToUpper(name)
	}
	return name, true
}

// replaceAll is that of Java's String: a match of nothing right behind another match counts, as the one of ".*" at the end.
func (r *mappingRule) replaceAll(dn string) string {
	var out strings.Builder
	at := 0
	for _, m := range r.part.FindAllStringSubmatchIndex(dn, -1) {
		out.WriteString(dn[at:m[0]])
		r.expand(&out, dn, m)
		at = m[1]
	}
	out.WriteString(dn[at:])
	if at == len(dn) && dn != "" && r.emptyAtEnd {
		r.expand(&out, "", make([]int, 2*(1+r.part.NumSubexp())))
	}
	return out.String()
}

// expand writes the replacement: $n is a group, where there is one of the number, and \ takes a character's meaning away.
func (r *mappingRule) expand(out *strings.Builder, dn string, m []int) {
	text := r.replacement
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			out.WriteByte(text[i])
		case text[i] == '$':
			group, digits := groupNumber(text[i+1:], len(m)/2-1)
			if digits == 0 {
				out.WriteByte('$')
				continue
			}
			if m[2*group] >= 0 {
				out.WriteString(dn[m[2*group]:m[2*group+1]])
			}
			i += digits
		default:
			out.WriteByte(text[i])
		}
	}
}

// groupNumber reads as many digits as name a group that there is; none of them where even the first does not.
func groupNumber(text string, most int) (group, digits int) {
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		n, err := strconv.Atoi(text[:digits+1])
		if err != nil || n > most {
			break
		}
		group, digits = n, digits+1
	}
	return group, digits
}
