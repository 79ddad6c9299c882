package cli

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/logstead/logstead/internal/cluster/controller"
)

func TestParseAddScram(t *testing.T) {
	for text, want := range map[string]controller.ScramCredential{
		"SCRAM-SHA-256=[name=ana,password=geheim]":                         {User: "ana", Mechanism: 1, Iterations: 4096, Password: []byte("geheim")},
		`SCRAM-SHA-512=[name="a,b", password="x]=y" ,iterations=8192]`:     {User: "a,b", Mechanism: 2, Iterations: 8192, Password: []byte("x]=y")},
		"SCRAM-SHA-256=[name=ana,salt=c2FsdA==,saltedpassword=cGFzcw==]":   {User: "ana", Mechanism: 1, Iterations: 4096, Salt: []byte("salt"), SaltedPassword: []byte("pass")},
		"SCRAM-SHA-512=[password=a=b,name=ana,iterations=16384,salt=c2E=]": {User: "ana", Mechanism: 2, Iterations: 16384, Salt: []byte("sa"), Password: []byte("a=b")},
	} {
		got, err := parseAddScram(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if len(got.Salt) < 2 || got.User != want.User || got.Mechanism != want.Mechanism || got.Iterations != want.Iterations ||
			!bytes.Equal(got.Password, want.Password) || !bytes.Equal(got.SaltedPassword, want.SaltedPassword) ||
			want.Salt != nil && !bytes.Equal(got.Salt, want.Salt) {
			t.Errorf("%s: %+v", text, got)
		}
	}
	for text, want := range map[string]string{
		"":                                      "want MECHANISM=",
		"PLAIN=[name=a,password=geheim]":        "SCRAM-SHA-256 or SCRAM-SHA-512",
		"SCRAM-SHA-256=name=a,password=geheim":  "want MECHANISM=",
		"SCRAM-SHA-256=[name=a,password=geheim": "want MECHANISM=",
		"SCRAM-SHA-256=[password=geheim]":       "name is missing",
		"SCRAM-SHA-256=[name=a]":                "one of password and saltedpassword",
		"SCRAM-SHA-256=[name=a,password=geheim,saltedpassword=cGFzcw==,salt=c2E=]": "one of password and saltedpassword",
		"SCRAM-SHA-256=[name=a,saltedpassword=cGFzcw==]":                           "needs the salt",
		"SCRAM-SHA-256=[name=a,password=geheim,iterations=100]":                    "4096 to 16384",
		"SCRAM-SHA-256=[name=a,password=geheim,iterations=many]":                   "no number",
		"SCRAM-SHA-256=[name=a,password=geheim,salt=?]":                            "not base64",
		"SCRAM-SHA-256=[name=a,password=geheim,color=red]":                         "none of name",
		"SCRAM-SHA-256=[name=a,name=b,password=geheim]":                            "twice",
		`SCRAM-SHA-256=[name=a,password="geheim]`:                                  "KEY=VALUE",
		`SCRAM-SHA-256=[name=a,password="geheim"x]`:                                "KEY=VALUE",
		"SCRAM-SHA-256=[geheim]":                                                   "KEY=VALUE",
	} {
		_, err := parseAddScram(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v, want %q and no password", text, err, want)
		}
	}
}

// freeAddress is one that nothing listens on, below those that outgoing connections take: one of these could be taken before the server
// comes to listen.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprint("127.0.0.1:", 30_000+rand.IntN(2_000)) // and above what other packages' tests draw from
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// TestFormattedUser formats a directory with a user, starts a server that asks for a login on it, and logs in.
func TestFormattedUser(t *testing.T) {
	dir := t.TempDir()
	address := freeAddress(t)
	set := []string{
		"--set", "log.dirs=" + dir, "--set", "listeners=CLIENTS://" + address, "--set", "listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT",
		"--set", "sasl.enabled.mechanisms=SCRAM-SHA-256", "--set", "inter.broker.listener.name=CLIENTS",
		"--set", "logstead.http.listeners=",
	}
	run := func(ctx context.Context, args ...string) (int, string) {
		var out bytes.Buffer
		app := &App{Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now}
		code := app.Run(ctx, args)
		return code, out.String()
	}
	if code, out := run(t.Context(), append([]string{"storage", "format", "--add-scram", "SCRAM-SHA-256=[name=ana,password=geheim]"}, set...)...); code != exitOK {
		t.Fatalf("format ends with %d: %s", code, out)
	}
	if code, out := run(t.Context(), append([]string{
		"storage", "format", "-r", "3.4", "--ignore-formatted", "--add-scram", "SCRAM-SHA-256=[name=ana,password=geheim]",
	}, set...)...); code != exitUsage || strings.Contains(out, "geheim") {
		t.Errorf("format at 3.4 ends with %d: %s", code, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan string, 1)
	go func() {
		_, out := run(ctx, append([]string{"server"}, set...)...)
		done <- out
	}()
	defer func() {
		cancel()
		if out := <-done; strings.Contains(out, "geheim") {
			t.Errorf("the server tells a password: %s", out)
		}
	}()
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.SASL(scram.Auth{User: "ana", Pass: "geheim"}.AsSha256Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ping, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := cl.Ping(ping)
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if code, out := run(t.Context(), "-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanism=SCRAM-SHA-256", "-X", "sasl.username=ana",
		"-X", "sasl.password=geheim", "-b", address, "doctor"); code != exitOK {
		t.Errorf("doctor ends with %d: %s", code, out)
	}
	if code, out := run(t.Context(), "-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanism=SCRAM-SHA-256", "-X", "sasl.username=ana",
		"-X", "sasl.password=wrong", "-b", address, "doctor"); code == exitOK || !strings.Contains(out, "login") {
		t.Errorf("doctor with a wrong password ends with %d: %s", code, out)
	}
	if code, out := run(t.Context(), "-b", address, "doctor"); code == exitOK || !strings.Contains(out, "SASL") {
		t.Errorf("doctor without a login ends with %d: %s", code, out)
	}
}
