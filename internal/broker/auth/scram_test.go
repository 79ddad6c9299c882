package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
)

// images makes an image with credentials.
func images(t testing.TB, creds ...controller.ScramCredential) func() *meta.Image {
	t.Helper()
	edit := meta.Empty("test").Edit()
	for i := range creds {
		r, err := creds[i].Record()
		if err != nil {
			t.Fatal(err)
		}
		if err := edit.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	im, _ := edit.Image(0, 0)
	return func() *meta.Image { return im }
}

func credential(user string, mechanism int8, password string) controller.ScramCredential {
	return controller.ScramCredential{
		User: user, Mechanism: mechanism, Iterations: 4096, Salt: []byte("a salt of its own"), Password: []byte(password),
	}
}

// TestScramVectorOfRFC7677 plays the exchange that the RFC prints.
func TestScramVectorOfRFC7677(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	s := NewScram(Scram256Name, images(t, controller.ScramCredential{
		User: "user", Mechanism: 1, Iterations: 4096, Salt: salt, Password: []byte("pencil"),
	}))
	s.nonce = func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" }
	e := s.Start()
	answer, done, err := e.Step([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	if want := "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"; string(answer) != want || done || err != nil {
		t.Fatalf("first answer %s, %v, %v", answer, done, err)
	}
	answer, done, err = e.Step([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	if want := "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="; string(answer) != want || !done || err != nil {
		t.Fatalf("last answer %s, %v, %v", answer, done, err)
	}
	if e.User() != "user" {
		t.Errorf("user %q", e.User())
	}
	if _, done, err := e.Step([]byte("c=biws")); err == nil || done {
		t.Error("a token after the end was taken")
	}
}

// login plays franz-go's client against an exchange; change may falsify what the client says.
func login(t *testing.T, s *Scram, user, password string, change func(step int, token []byte) []byte) (Exchange, error) {
	t.Helper()
	a := scram.Auth{User: user, Pass: password}
	m := a.AsSha256Mechanism()
	if s.Name() == Scram512Name {
		m = a.AsSha512Mechanism()
	}
	session, token, err := m.Authenticate(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	e := s.Start()
	for step := 1; ; step++ {
		if change != nil {
			token = change(step, token)
		}
		answer, done, err := e.Step(token)
		if err != nil {
			return e, err
		}
		over, next, err := session.Challenge(answer)
		if err != nil {
			return e, err
		}
		if over != done {
			t.Fatalf("step %d: the client is done: %v, the server: %v", step, over, done)
		}
		if done {
			return e, nil
		}
		token = next
	}
}

func TestScramWithAnotherClient(t *testing.T) {
	users := images(t, credential("ana", 1, "geheim"), credential("ana", 2, "anders"), credential("a,b=c", 2, "x"), credential("jürgen", 1, "ü"))
	sha256, sha512 := NewScram(Scram256Name, users), NewScram(Scram512Name, users)
	for _, c := range []struct {
		s              *Scram
		user, password string
		in             bool
	}{
		{sha256, "ana", "geheim", true},
		{sha512, "ana", "anders", true},
		{sha512, "a,b=c", "x", true},
		{sha256, "jürgen", "ü", true},
		{sha256, "ana", "anders", false},
		{sha512, "jürgen", "ü", false},
		{sha256, "nobody", "geheim", false},
	} {
		e, err := login(t, c.s, c.user, c.password, nil)
		switch {
		case c.in && (err != nil || e.User() != c.user):
			t.Errorf("%s %s: %q, %v", c.s.Name(), c.user, e.User(), err)
		case !c.in && (!errors.Is(err, errProof) || e.User() != ""):
			t.Errorf("%s %s: in as %q, %v", c.s.Name(), c.user, e.User(), err)
		}
	}
}

// TestScramNonce holds that a final message counts only with the nonce that this login was given: one that was overheard
// must not be played again.
func TestScramNonce(t *testing.T) {
	s := NewScram(Scram256Name, images(t, credential("ana", 1, "geheim")))
	a := scram.Auth{User: "ana", Pass: "geheim", Nonce: []byte("same")}
	session, first, err := a.AsSha256Mechanism().Authenticate(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	e := s.Start()
	answer, _, err := e.Step(first)
	if err != nil {
		t.Fatal(err)
	}
	_, final, err := session.Challenge(answer)
	if err != nil {
		t.Fatal(err)
	}
	if _, done, err := e.Step(final); err != nil || !done {
		t.Fatal(err)
	}
	again := s.Start()
	second, _, err := again.Step(first)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(second, answer) {
		t.Fatal("two logins were given the same nonce")
	}
	if _, done, err := again.Step(final); done || !errors.Is(err, errNonce) {
		t.Errorf("an overheard final message: done %v, %v; want it refused for its nonce", done, err)
	}
	// A client that holds the password, and another nonce than the server's, is refused for that alone.
	for name, change := range map[string]func(string) string{
		"the client's own half": func(n string) string { return n[:len("same")] },
		"a byte more":           func(n string) string { return n + "x" },
		"another beginning":     func(n string) string { return "x" + n[1:] },
		"its own half twice":    func(n string) string { return "same" + n },
	} {
		e := s.Start()
		answer, _, err := e.Step(first)
		if err != nil {
			t.Fatal(err)
		}
		nonce, rest, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
		final, err := proof(s, "ana", first, answer, "c=biws,r="+change(nonce))
		if err != nil {
			t.Fatal(err, rest)
		}
		if _, done, err := e.Step(final); done || !errors.Is(err, errNonce) {
			t.Errorf("%s: done %v, %v; want it refused for its nonce", name, done, err)
		}
	}
}

// proof is the final message of somebody who knows the password "geheim".
func proof(s *Scram, user string, first, answer []byte, withoutProof string) ([]byte, error) {
	cred := s.image().Scram(meta.ScramKey{User: user, Mechanism: s.number})
	salted, err := controller.SaltPassword(s.number, "geheim", cred.Salt, int(cred.Iterations))
	if err != nil {
		return nil, err
	}
	key := s.hmac(salted, []byte("Client Key"))
	message := bytes.Join([][]byte{bytes.TrimPrefix(first, []byte("n,,")), answer, []byte(withoutProof)}, []byte{','})
	for i, b := range s.hmac(cred.StoredKey, message) {
		key[i] ^= b
	}
	return base64.StdEncoding.AppendEncode([]byte(withoutProof+",p="), key), nil
}

func TestScramChannelBinding(t *testing.T) {
	s := NewScram(Scram256Name, images(t, credential("ana", 1, "geheim")))
	first := []byte("n,,n=ana,r=abc")
	for binding, want := range map[string]error{
		"biws": nil,
		base64.StdEncoding.EncodeToString([]byte("y,,")):      errBinding,
		base64.StdEncoding.EncodeToString([]byte("n,a=ana,")): errBinding,
		"": errBinding,
	} {
		e := s.Start()
		answer, _, err := e.Step(first)
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
		final, err := proof(s, "ana", first, answer, "c="+binding+",r="+nonce)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.Step(final); !errors.Is(err, want) {
			t.Errorf("binding %q: %v, want %v", binding, err, want)
		}
	}
	if _, _, err := s.Start().Step([]byte("p=tls-unique,,n=ana,r=abc")); err == nil {
		t.Error("channel binding was agreed to")
	}
}

// TestScramTellsNothing holds that who does not know a password does not learn which names exist.
func TestScramTellsNothing(t *testing.T) {
	users := images(t, credential("ana", 1, "geheim"))
	s := NewScram(Scram256Name, users)
	form := func(user string) string {
		answer, done, err := s.Start().Step([]byte("n,,n=" + user + ",r=abc"))
		if err != nil || done {
			t.Fatalf("%s: %v", user, err)
		}
		parts := strings.Split(string(answer), ",")
		if len(parts) != 3 {
			t.Fatalf("%s: %s", user, answer)
		}
		return parts[1] + "," + parts[2]
	}
	known, unknown := form("ana"), form("eva")
	if len(known) != len(unknown) || known[strings.LastIndex(known, ","):] != unknown[strings.LastIndex(unknown, ","):] {
		t.Errorf("a user that exists is answered %s, one that does not %s", known, unknown)
	}
	if again := form("eva"); again != unknown {
		t.Errorf("a user that does not exist has salt %s, and then %s", unknown, again)
	}
	if other := form("eve"); other == unknown {
		t.Error("two users that do not exist have one salt")
	}
	_, wrong := login(t, s, "ana", "wrong", nil)
	_, nobody := login(t, s, "eva", "wrong", nil)
	if wrong == nil || nobody == nil || wrong.Error() != nobody.Error() {
		t.Errorf("a wrong password is refused with %v, an unknown user with %v", wrong, nobody)
	}
}

func TestScramMessages(t *testing.T) {
	s := NewScram(Scram256Name, images(t, credential("ana", 1, "geheim")))
	for _, bad := range []string{
		"", "n", "n,", "n,,", "n,,n=ana", "n,,r=abc,n=ana", "x,,n=ana,r=abc", "n,,n=,r=abc", "n,,n=ana,r=", "n,,n=ana,r=a c",
		"n,,n=a=b,r=abc", "n,,n=a=2c,r=abc", "n,,m=x,n=ana,r=abc", "n,b=ana,n=ana,r=abc", "n,a=,n=ana,r=abc", "n,,n=ana,r=abc,",
		"n,,n=ana,r=abc,1=x", "n,,n=\xff,r=abc", "n,,n=a\x00a,r=abc", "n,,n=ana,r=ab\x7f",
	} {
		if _, _, err := s.Start().Step([]byte(bad)); err == nil {
			t.Errorf("first message %q was taken", bad)
		}
	}
	for _, good := range []string{"n,a=ana,n=ana,r=abc", "y,,n=ana,r=abc", "n,,n=ana,r=abc,x=y", "n,,n=a=2Cb=3D,r=abc"} {
		if _, _, err := s.Start().Step([]byte(good)); err != nil {
			t.Errorf("first message %q: %v", good, err)
		}
	}
	if _, _, err := s.Start().Step([]byte("n,a=eva,n=ana,r=abc")); err == nil || !strings.Contains(err.Error(), "authorization id") {
		t.Errorf("another authorization id: %v", err)
	}
	for _, bad := range []string{
		"", "c=biws", "c=biws,r=abc", "c=biws,p=AAAA", "r=abc,c=biws,p=AAAA", "c=bi ws,r=abc,p=AAAA", "c=biws,r=abc,p=AAA", "c=biws,r=,p=AAAA",
		"c=biws,r=abc,=x,p=AAAA",
	} {
		e := s.Start()
		if _, _, err := e.Step([]byte("n,,n=ana,r=abc")); err != nil {
			t.Fatal(err)
		}
		if _, done, err := e.Step([]byte(bad)); err == nil || done {
			t.Errorf("final message %q was taken", bad)
		}
	}
	// A proof of another length is a wrong one.
	e := s.Start()
	answer, _, err := e.Step([]byte("n,,n=ana,r=abc"))
	if err != nil {
		t.Fatal(err)
	}
	nonce, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
	if _, _, err := e.Step([]byte("c=biws,r=" + nonce + ",p=AAAA")); !errors.Is(err, errProof) {
		t.Errorf("a short proof: %v", err)
	}
}

// FuzzScram holds that whatever comes as the two messages is refused or read, that nobody gets in without the password,
// and that a name comes out of its escapes as it went in.
func FuzzScram(f *testing.F) {
	s := NewScram(Scram256Name, images(f, credential("ana", 1, "geheim")))
	f.Add([]byte("n,,n=ana,r=abc"), []byte("c=biws,r=abc,p=AAAA"))
	f.Add([]byte("n,a=a=2Cb,n=a=2Cb,r=abc,x=y"), []byte("c=biws,r=abc,x=y,p="))
	f.Add([]byte("y,,n=\xc3\xbc,r=~,tokenauth=true"), []byte("c=,r=~,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		if m, err := parseClientFirst(first); err == nil {
			if !bytes.Equal(append([]byte(m.gs2), m.bare...), first) {
				t.Fatalf("%q is cut into %q and %q", first, m.gs2, m.bare)
			}
			escaped := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(m.user)
			if again, err := unescapeName(escaped); err != nil || again != m.user {
				t.Fatalf("user %q comes back as %q, %v", m.user, again, err)
			}
		}
		if m, err := parseClientFinal(final); err == nil && !bytes.HasPrefix(final, m.withoutProof) {
			t.Fatalf("%q is not what %q begins with", m.withoutProof, final)
		}
		e := s.Start()
		answer, done, err := e.Step(first)
		if done {
			t.Fatal("in after one message")
		}
		if err != nil {
			return
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
		final = bytes.ReplaceAll(final, []byte("abc"), []byte(nonce))
		if _, done, err := e.Step(final); done || err == nil {
			t.Fatalf("in with %q and %q", first, final)
		}
	})
}

// FuzzPlain holds that nothing but the password lets a user in.
func FuzzPlain(f *testing.F) {
	p := NewPlain(map[string]string{"ana": "geheim"})
	f.Add([]byte("\x00ana\x00geheim"))
	f.Add([]byte("eva\x00ana\x00geheim"))
	f.Add([]byte("\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, token []byte) {
		e := p.Start()
		_, done, err := e.Step(token)
		in := string(token) == "\x00ana\x00geheim" || string(token) == "ana\x00ana\x00geheim"
		if done != in || done == (err != nil) || (e.User() == "ana") != in {
			t.Fatalf("%q: done %v, user %q, %v", token, done, e.User(), err)
		}
	})
}

func TestPlain(t *testing.T) {
	p := NewPlain(map[string]string{"ana": "geheim", "empty": ""})
	for token, want := range map[string]string{
		"\x00ana\x00geheim":         "",
		"ana\x00ana\x00geheim":      "",
		"":                          "Invalid SASL/PLAIN response: expected 3 tokens, got 1",
		"ana\x00geheim":             "Invalid SASL/PLAIN response: expected 3 tokens, got 2",
		"\x00ana\x00geheim\x00":     "Invalid SASL/PLAIN response: expected 3 tokens, got 4",
		"\x00a\x00b\x00c\x00d\x00e": "Invalid SASL/PLAIN response: expected 3 tokens, got 4",
		"\x00\x00geheim":            "Authentication failed: username not specified",
		"\x00ana\x00":               "Authentication failed: password not specified",
		"\x00empty\x00":             "Authentication failed: password not specified",
		"\x00ana\x00Geheim":         "Authentication failed: Invalid username or password",
		"\x00eva\x00geheim":         "Authentication failed: Invalid username or password",
		"eva\x00ana\x00geheim":      "Authentication failed: Client requested an authorization id that is different from username",
	} {
		e := p.Start()
		_, done, err := e.Step([]byte(token))
		var r *Refusal
		switch {
		case want == "" && (err != nil || !done || e.User() != "ana"):
			t.Errorf("%q: %v", token, err)
		case want != "" && (done || !errors.As(err, &r) || r.Text != want):
			t.Errorf("%q: done %v, %v, want %q", token, done, err, want)
		}
	}
}
