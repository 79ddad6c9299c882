package auth

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
)

// rfc2253Keywords are the attributes that RFC 2253 has a word for; every other is its number.
var rfc2253Keywords = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// The set tag is told by the suffix of the type's name.
type relativeNameSET []attribute

// DistinguishedName is an X.501 name in DER as Java's X500Principal.getName() writes it, which is what Kafka's rules and access
// control entries hold: RFC 2253, the last attribute first. crypto/x509 writes other names and other escapes.
func DistinguishedName(der []byte) (string, error) {
	var names []relativeNameSET
	rest, err := asn1.Unmarshal(der, &names)
	if err != nil || len(rest) > 0 {
		return "", fmt.Errorf("a distinguished name of %d bytes cannot be read: %w", len(der), err)
	}
	var out []string
	for i := len(names) - 1; i >= 0; i-- {
		var together []string
		for _, a := range names[i] {
			text, err := a.rfc2253()
			if err != nil {
				return "", err
			}
			together = append(together, text)
		}
		out = append(out, strings.Join(together, "+"))
	}
	return strings.Join(out, ","), nil
}

func (a attribute) rfc2253() (string, error) {
	keyword, known := rfc2253Keywords[a.Type.String()]
	if !known {
		keyword = a.Type.String()
	}
	text, isText := decodeText(a.Value)
	if !known || !isText {
		return keyword + "=#" + hex.EncodeToString(a.Value.FullBytes), nil
	}
	return keyword + "=" + escapeRFC2253(text), nil
}

// decodeText is the text of the kinds of strings that Java takes for text.
func decodeText(v asn1.RawValue) (string, bool) {
	const tagGeneralString = 27
	if v.Class != asn1.ClassUniversal {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String:
		return string([]rune(string(v.Bytes))), true // a byte that is no UTF-8 becomes U+FFFD
	case asn1.TagPrintableString, asn1.TagIA5String, tagGeneralString:
		return ascii(v.Bytes), true
	case asn1.TagT61String:
		runes := make([]rune, len(v.Bytes))
		for i, b := range v.Bytes {
			runes[i] = rune(b)
		}
		return string(runes), true
	case asn1.TagBMPString:
		units := make([]uint16, len(v.Bytes)/2)
		for i := range units {
			units[i] = uint16(v.Bytes[2*i])<<8 | uint16(v.Bytes[2*i+1])
		}
		return string(utf16.Decode(units)), true
	}
	return "", false
}

func ascii(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		if runes[i] = rune(c); c >= 0x80 {
			runes[i] = '\uFFFD'
		}
	}
	return string(runes)
}

// escapeRFC2253 escapes as Java does: what has a meaning in a name, NUL, and blanks at the ends.
func escapeRFC2253(text string) string {
	var escaped []rune
	for _, r := range text {
		switch {
		case r == 0:
			escaped = append(escaped, []rune(`\00`)...)
			continue
		case strings.ContainsRune(",=+<>#;\"\\", r):
			escaped = append(escaped, '\\')
		}
		escaped = append(escaped, r)
	}
	blank := func(r rune) bool { return r == ' ' || r == '\r' }
	first, last := 0, len(escaped)-1
	for first < len(escaped) && blank(escaped[first]) {
		first++
	}
	for last >= 0 && blank(escaped[last]) {
		last--
	}
	var out strings.Builder
	for i, r := range escaped {
		if i < first || i > last {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}
