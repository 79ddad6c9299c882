package conf

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// LoginModule is one entry of a JAAS text: a login module of Java's with its options, some of which are secrets.
type LoginModule struct {
	Class   string
	Flag    string // required, requisite, sufficient or optional, in lower case
	Options map[string]string
}

// String is the entry without what its options say.
func (m LoginModule) String() string { return m.Class + " " + m.Flag }

// maxJAASBytes bounds a JAAS text.
const maxJAASBytes = 1 << 20

// ParseJAAS reads `class flag key="value" ... ;` entries as Kafka's JaasConfig does: // and /* */ comments, single or
// double quotes with the escapes of Java. Where Kafka wants quotes around a value that begins with a digit, this one does
// not. Errors name places and options, and no value.
func ParseJAAS(text string) ([]LoginModule, error) {
	if len(text) > maxJAASBytes {
		return nil, ruleError(fmt.Sprintf("JAAS text of %d bytes: at most %d are read", len(text), maxJAASBytes))
	}
	l := &jaasLexer{text: text}
	var all []LoginModule
	for {
		t, err := l.next()
		switch {
		case err != nil:
			return nil, err
		case t.kind == jaasEnd && len(all) == 0:
			return nil, ruleError("Login module not specified in JAAS config")
		case t.kind == jaasEnd:
			return all, nil
		case t.kind != jaasWord:
			return nil, l.at(t, "a login module's class is wanted, in front of required")
		}
		m, err := l.entry(t)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
}

type jaasKind uint8

const (
	jaasEnd    jaasKind = iota
	jaasWord            // a bare word
	jaasQuoted          // what stood in quotes
	jaasSign            // = or ; or any other single character
)

type jaasToken struct {
	kind jaasKind
	text string
	at   int
}

type jaasLexer struct {
	text string
	i    int
}

// at is an error at a token's place.
func (l *jaasLexer) at(t jaasToken, format string, args ...any) error {
	before := l.text[:min(t.at, len(l.text))]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return ruleError(fmt.Sprintf("JAAS text, line %d, column %d: ", line, column) + fmt.Sprintf(format, args...))
}

// entry reads the rest of an entry whose class is read.
func (l *jaasLexer) entry(class jaasToken) (LoginModule, error) {
	m := LoginModule{Class: class.text, Options: map[string]string{}}
	flag, err := l.next()
	if err != nil {
		return m, err
	}
	m.Flag = strings.ToLower(flag.text)
	switch m.Flag {
	case "required", "requisite", "sufficient", "optional":
	default:
		return m, l.at(flag, "the control flag after %s must be required, requisite, sufficient or optional", class.text)
	}
	for {
		key, err := l.next()
		switch {
		case err != nil:
			return m, err
		case key.kind == jaasSign && key.text == ";":
			return m, nil
		case key.kind == jaasEnd:
			return m, l.at(key, "the entry of %s is not terminated by a semicolon", class.text)
		case key.kind == jaasSign:
			return m, l.at(key, "an option or a semicolon is wanted")
		}
		if err := l.option(&m, key); err != nil {
			return m, err
		}
	}
}

func (l *jaasLexer) option(m *LoginModule, key jaasToken) error {
	name := key.text
	if key.kind == jaasQuoted {
		name = "in quotes" // it may be a value that lost its key
	}
	equals, err := l.next()
	if err != nil {
		return err
	}
	if equals.kind != jaasSign || equals.text != "=" {
		return l.at(equals, "= is wanted behind the option %s", name)
	}
	value, err := l.next()
	if err != nil {
		return err
	}
	if value.kind != jaasWord && value.kind != jaasQuoted {
		return l.at(value, "the option %s has no value; put it into double quotes", name)
	}
	if _, twice := m.Options[key.text]; twice {
		return l.at(key, "the option %s stands there twice", name)
	}
	m.Options[key.text] = value.text
	return nil
}

// next is the next token.
func (l *jaasLexer) next() (jaasToken, error) {
	if err := l.skip(); err != nil {
		return jaasToken{}, err
	}
	t := jaasToken{at: l.i}
	if l.i == len(l.text) {
		return t, nil
	}
	c := l.text[l.i]
	switch {
	case c == '"' || c == '\'':
		return l.quoted(c)
	case isJAASWord(c):
		for l.i < len(l.text) && isJAASWord(l.text[l.i]) {
			l.i++
		}
		t.kind, t.text = jaasWord, l.text[t.at:l.i]
	default:
		l.i++
		t.kind, t.text = jaasSign, string(c)
	}
	return t, nil
}

func isJAASWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' ||
		c == '$' || c >= utf8.RuneSelf
}

// skip passes over blanks and comments.
func (l *jaasLexer) skip() error {
	for l.i < len(l.text) {
		rest := l.text[l.i:]
		switch {
		case rest[0] <= ' ':
			l.i++
		case strings.HasPrefix(rest, "//"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			l.i += end
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return l.at(jaasToken{at: l.i}, "a comment does not end")
			}
			l.i += 2 + end + 2
		default:
			return nil
		}
	}
	return nil
}

// quoted reads what stands between two quotes.
func (l *jaasLexer) quoted(quote byte) (jaasToken, error) {
	t := jaasToken{kind: jaasQuoted, at: l.i}
	var b strings.Builder
	for l.i++; l.i < len(l.text); l.i++ {
		switch c := l.text[l.i]; c {
		case quote:
			l.i++
			t.text = b.String()
			return t, nil
		case '\n', '\r':
			return t, l.at(t, "the quotes are not closed on their line")
		case '\\':
			if l.i+1 == len(l.text) {
				return t, l.at(t, "the quotes are not closed")
			}
			l.escape(&b)
		default:
			b.WriteByte(c)
		}
	}
	return t, l.at(t, "the quotes are not closed")
}

var jaasEscapes = map[byte]byte{'a': 7, 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// escape reads what a backslash begins, and leaves i on its last byte: a letter, up to three octal digits, or any
// character for itself.
func (l *jaasLexer) escape(b *strings.Builder) {
	l.i++
	c := l.text[l.i]
	if special, ok := jaasEscapes[c]; ok {
		b.WriteByte(special)
		return
	}
	if c < '0' || c > '7' {
		b.WriteByte(c)
		return
	}
	n, most := rune(c-'0'), 2
	if c > '3' {
		most = 1
	}
	for ; most > 0 && l.i+1 < len(l.text) && l.text[l.i+1] >= '0' && l.text[l.i+1] <= '7'; most-- {
		l.i++
		n = n*8 + rune(l.text[l.i]-'0')
	}
	b.WriteRune(n)
}
