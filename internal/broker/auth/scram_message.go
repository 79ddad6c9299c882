package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// clientFirst is the message that a login begins with:
// gs2-header [reserved-mext ","] "n=" name ",r=" nonce ["," extensions].
type clientFirst struct {
	gs2     string // with the comma behind it
	bare    []byte // all behind that
	authzid string
	user    string
	nonce   string
	token   bool // the extension tokenauth=true: the name is that of a delegation token
}

// clientFinal ends it: "c=" channel-binding ",r=" nonce ["," extensions] ",p=" proof.
type clientFinal struct {
	binding, proof []byte
	nonce          string
	withoutProof   []byte
}

var errMessage = errors.New("the message does not have the form of RFC 5802")

// parseClientFirst reads the first message.
func parseClientFirst(b []byte) (m clientFirst, err error) {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return m, errMessage
	}
	flag, rest, ok := strings.Cut(string(b), ",")
	if !ok {
		return m, errMessage
	}
	switch {
	case flag == "n" || flag == "y": // y: the client could bind and knows that we cannot
	case strings.HasPrefix(flag, "p="):
		return m, errors.New("the client wants channel binding, which no SCRAM mechanism of Kafka has")
	default:
		return m, errMessage
	}
	authzid, rest, ok := strings.Cut(rest, ",")
	if !ok {
		return m, errMessage
	}
	if authzid != "" {
		name, ok := strings.CutPrefix(authzid, "a=")
		if m.authzid, err = unescapeName(name); !ok || err != nil {
			return m, errMessage
		}
	}
	m.gs2 = flag + "," + authzid + ","
	m.bare = []byte(rest)
	parts := strings.Split(rest, ",")
	if strings.HasPrefix(parts[0], "m=") { // nobody may use what is reserved here, and a server must refuse what it does not know
		return m, fmt.Errorf("mandatory extension: %w", errMessage)
	}
	if len(parts) < 2 {
		return m, errMessage
	}
	name, okName := strings.CutPrefix(parts[0], "n=")
	nonce, okNonce := strings.CutPrefix(parts[1], "r=")
	if m.user, err = unescapeName(name); !okName || !okNonce || err != nil || !isNonce(nonce) {
		return m, errMessage
	}
	m.nonce = nonce
	for _, extension := range parts[2:] {
		if !isExtension(extension) {
			return m, errMessage
		}
		if strings.EqualFold(extension, "tokenauth=true") {
			m.token = true
		}
	}
	return m, nil
}

// parseClientFinal reads the final message.
func parseClientFinal(b []byte) (m clientFinal, err error) {
	i := bytes.LastIndex(b, []byte(",p="))
	if i < 0 || !utf8.Valid(b) {
		return m, errMessage
	}
	m.withoutProof = b[:i]
	parts := strings.Split(string(b[:i]), ",")
	if len(parts) < 2 {
		return m, errMessage
	}
	binding, okBinding := strings.CutPrefix(parts[0], "c=")
	nonce, okNonce := strings.CutPrefix(parts[1], "r=")
	if !okBinding || !okNonce || !isNonce(nonce) {
		return m, errMessage
	}
	for _, extension := range parts[2:] {
		if !isExtension(extension) {
			return m, errMessage
		}
	}
	m.nonce = nonce
	if m.binding, err = base64.StdEncoding.Strict().DecodeString(binding); err != nil {
		return m, errMessage
	}
	if m.proof, err = base64.StdEncoding.Strict().DecodeString(string(b[i+3:])); err != nil {
		return m, errMessage
	}
	return m, nil
}

// unescapeName reads a saslname, in which =2C is a comma and =3D an equals sign.
func unescapeName(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, ",") {
		return "", errMessage
	}
	if !strings.Contains(s, "=") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '=':
			b.WriteByte(s[i])
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
			i += 2
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
			i += 2
		default:
			return "", errMessage
		}
	}
	return b.String(), nil
}

// isNonce says whether a text is printable ASCII without a comma, and not empty.
func isNonce(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

// isExtension says whether a text is letters, an equals sign and a value.
func isExtension(s string) bool {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" || value == "" {
		return false
	}
	for i := range len(key) {
		if c := key[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
