package conf

import (
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseJAAS(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []LoginModule
	}{
		"plain": {
			`org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="a b" user_ana="=;\"";`,
			[]LoginModule{{"org.apache.kafka.common.security.plain.PlainLoginModule", "required", map[string]string{
				"username": "admin", "password": "a b", "user_ana": `=;"`,
			}}},
		},
		"two entries, comments and lines": {
			"// users\na.B REQUIRED /* x */ k='v' ;\n c.D optional;",
			[]LoginModule{{"a.B", "required", map[string]string{"k": "v"}}, {"c.D", "optional", map[string]string{}}},
		},
		"escapes": {
			`m required a="\t\101\60x\\" b=bare-word_1.0;`,
			[]LoginModule{{"m", "required", map[string]string{"a": "\tA0x\\", "b": "bare-word_1.0"}}},
		},
		"another alphabet": {`m required пароль="ключ";`, []LoginModule{{"m", "required", map[string]string{"пароль": "ключ"}}}},
	} {
		got, err := ParseJAAS(c.text)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		for i := range got {
			if got[i].Class != c.want[i].Class || got[i].Flag != c.want[i].Flag || !maps.Equal(got[i].Options, c.want[i].Options) {
				t.Errorf("%s: entry %d is %+v, want %+v", name, i, got[i], c.want[i])
			}
		}
	}
}

func TestParseJAASRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "Login module not specified",
		"  // nothing":                      "Login module not specified",
		"m":                                 "control flag after m",
		"m always;":                         "control flag after m",
		"m required":                        "not terminated by a semicolon",
		"m required k":                      "= is wanted behind the option k",
		"m required k=;":                    "the option k has no value",
		"m required k=":                     "the option k has no value",
		"m required\n  k=\"geheim":          "line 2, column 5: the quotes are not closed",
		"m required k=\"geheim\nx\";":       "quotes are not closed on their line",
		`m required k="geheim" k="geheim";`: "the option k stands there twice",
		`m required "geheim";`:              "= is wanted behind the option in quotes",
		"m required = ;":                    "an option or a semicolon is wanted",
		"m required /* k=1;":                "a comment does not end",
		"; m required;":                     "a login module's class is wanted",
		`m required k="a\`:                  "quotes are not closed",
	} {
		_, err := ParseJAAS(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: the error tells a secret: %v", text, err)
		}
	}
}

// FuzzParseJAAS holds that any text is read or refused, and that what was read comes out the same when it is written
// with quotes around every value.
func FuzzParseJAAS(f *testing.F) {
	f.Add(`a.B required username="u" password='p' user_x="\"\\\101";`)
	f.Add("m required k=v; // c\nn optional;")
	f.Add("m required /* */ k=\"\\\n\";")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseJAAS(text)
		if err != nil {
			return
		}
		var b strings.Builder
		quote := func(s string) string {
			return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
		}
		for _, m := range all {
			if !utf8.ValidString(m.Class) {
				return
			}
			b.WriteString(m.Class + " " + m.Flag)
			for k, v := range m.Options {
				b.WriteString(" " + quote(k) + "=" + quote(v))
			}
			b.WriteString(";\n")
		}
		again, err := ParseJAAS(b.String())
		if err != nil || len(again) != len(all) {
			t.Fatalf("%q was read and is refused as %q: %v", text, b.String(), err)
		}
		for i := range all {
			if all[i].Class != again[i].Class || !maps.Equal(all[i].Options, again[i].Options) {
				t.Fatalf("%+v comes back as %+v", all[i], again[i])
			}
		}
	})
}
