package auth

import (
	"bufio"
	"encoding/asn1"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"
)

// cases are the lines of a file in testdata, cut at blanks outside of quotes.
func cases(t *testing.T, path string, fields int) (out [][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		var row []string
		for range fields {
			line = strings.TrimLeft(line, " ")
			if quoted, err := strconv.QuotedPrefix(line); err == nil {
				text, err := strconv.Unquote(quoted)
				if err != nil {
					t.Fatal(err)
				}
				row, line = append(row, text), line[len(quoted):]
				continue
			}
			word, rest, _ := strings.Cut(line, " ")
			row, line = append(row, word), rest
		}
		out = append(out, row)
	}
	if len(out) < 20 {
		t.Fatalf("%s has %d cases", path, len(out))
	}
	return out
}

func TestDistinguishedNamesAreJavas(t *testing.T) {
	for _, c := range cases(t, "testdata/distinguished-names.txt", 2) {
		der, err := hex.DecodeString(c[0])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DistinguishedName(der); err != nil || got != c[1] {
			t.Errorf("%s: %q, %v, want %q", c[0], got, err, c[1])
		}
	}
}

// TestOldStringTypes: what Java reads as it is meant since JDK 21.
func TestOldStringTypes(t *testing.T) {
	for want, value := range map[string]asn1.RawValue{
		"CN=caf\u00e9":        {Tag: asn1.TagT61String, Bytes: []byte("caf\xe9")},
		"CN=caf\u00e9 \u4e16": {Tag: asn1.TagBMPString, Bytes: []byte("\x00c\x00a\x00f\x00\xe9\x00 \x4e\x16")},
	} {
		der, err := asn1.Marshal([]relativeNameSET{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value}}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DistinguishedName(der); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := DistinguishedName([]byte{0x30, 5}); err == nil {
		t.Error("a name that is cut is read")
	}
}

func TestMappingRulesAreKafkas(t *testing.T) {
	for _, c := range cases(t, "testdata/mapping-rules.txt", 3) {
		rules, err := ParseMappingRules(c[0])
		if (err != nil) != (c[2] == "invalid") {
			t.Errorf("rules %q: error %v, with Kafka they are %s", c[0], err, c[2])
		}
		if err != nil {
			continue
		}
		got, err := rules.Name(c[1])
		if err != nil {
			got = "none"
		}
		if got != c[2] {
			t.Errorf("rules %q of %q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// TestRulesOfJavaAlone: a pattern that Go's engine has no means for is refused and not read otherwise.
func TestRulesOfJavaAlone(t *testing.T) {
	for _, rule := range []string{`RULE:(?=CN)(.*)/$1/`, `RULE:(a)\1/x/`} {
		if _, err := ParseMappingRules(rule); err == nil || !strings.Contains(err.Error(), "not served") {
			t.Errorf("%s: error %v", rule, err)
		}
	}
}

func FuzzDistinguishedName(f *testing.F) {
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(_ *testing.T, der []byte) {
		_, _ = DistinguishedName(der) // must not panic
	})
}
