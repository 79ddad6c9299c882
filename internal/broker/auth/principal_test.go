package auth

import "testing"

func TestPrincipalString(t *testing.T) {
	for want, p := range map[string]Principal{
		"User:ANONYMOUS": {},
		"User:ana":       {Type: UserType, Name: "ana"},
		"User:CN=a,O=b":  {Type: UserType, Name: "CN=a,O=b"},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v is written %s, want %s", p, got, want)
		}
	}
}
