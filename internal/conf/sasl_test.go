package conf

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule required "

// saslConfig loads a node with a SASL listener named LOGIN beside one for its controller.
func saslConfig(t *testing.T, set ...string) (*Broker, error) {
	t.Helper()
	s, err := Load(Source{Defaults: map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/d",
		"listeners":                      "PLAINTEXT://:9092,LOGIN://:9094",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
	}, Set: set})
	if err != nil {
		return nil, err
	}
	return NewLive(s, nil, nil).Broker(), nil
}

func TestSASLListener(t *testing.T) {
	b, err := saslConfig(t, "listener.name.login.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
		"listener.name.login.plain.sasl.jaas.config="+plainModule+`username="n" password="geheim" user_ana="a" user_="e";`,
		"connections.max.reauth.ms=5000", "listener.name.login.plain.connections.max.reauth.ms=7000")
	if err != nil {
		t.Fatal(err)
	}
	s := b.SASL.Listeners["LOGIN"]
	if len(b.SASL.Listeners) != 1 || s == nil || strings.Join(s.Mechanisms, ",") != "SCRAM-SHA-512,PLAIN" {
		t.Fatalf("listeners with SASL: %+v", b.SASL.Listeners)
	}
	if len(s.Users) != 2 || s.Users["ana"] != "a" {
		t.Errorf("%d users", len(s.Users))
	}
	if s.MaxReauth["PLAIN"] != 7*time.Second || s.MaxReauth["SCRAM-SHA-512"] != 5*time.Second {
		t.Errorf("reauthentication %v", s.MaxReauth)
	}
	if b.SASL.InterBroker != nil || b.SASL.MaxReceiveBytes != 524288 || b.SASL.FailedDelay != 100*time.Millisecond {
		t.Errorf("%+v", b.SASL)
	}
	if text := fmt.Sprintf("%v %+v %#v", s, *s, *s); strings.Contains(text, `"a"`) || strings.Contains(text, "ana:a") {
		t.Errorf("a password is shown: %s", text)
	}
}

// TestSASLTextForAll has one text of two modules serve every mechanism.
func TestSASLTextForAll(t *testing.T) {
	b, err := saslConfig(t, "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256", "inter.broker.listener.name=LOGIN",
		"controller.quorum.voters=1@a:1,2@b:1", "listeners=CONTROLLER://:9093,LOGIN://:9094", "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256",
		"sasl.jaas.config="+plainModule+`user_ana="a"; org.apache.kafka.common.security.scram.ScramLoginModule required username="n" password="p";`)
	if err != nil {
		t.Fatal(err)
	}
	if l := b.SASL.InterBroker; l == nil || l.Username != "n" || l.Password != "p" || l.Mechanism != "SCRAM-SHA-256" {
		t.Errorf("login at brokers: %+v", l)
	}
	if b.SASL.Controller != nil {
		t.Error("a login at controllers, whose listener is plain")
	}
}

func TestSASLRefused(t *testing.T) {
	cluster := []string{"controller.quorum.voters=1@a:1,2@b:1", "listeners=CONTROLLER://:9093,LOGIN://:9094", "inter.broker.listener.name=LOGIN"}
	users := "listener.name.login.plain.sasl.jaas.config=" + plainModule + `user_ana="geheim";`
	for _, c := range []struct {
		name string
		set  []string
		want []string
	}{
		{"the default", nil, []string{"sasl.enabled.mechanisms is GSSAPI: GSSAPI is not served", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", "listener LOGIN"}},
		{"OAUTHBEARER", []string{"sasl.enabled.mechanisms=PLAIN,OAUTHBEARER", users}, []string{"is PLAIN,OAUTHBEARER: OAUTHBEARER is not served"}},
		{"none", []string{"sasl.enabled.mechanisms="}, []string{"sasl.enabled.mechanisms is empty"}},
		{"PLAIN without users", []string{"sasl.enabled.mechanisms=PLAIN"}, []string{"set listener.name.login.plain.sasl.jaas.config to"}},
		{"another module", []string{"sasl.enabled.mechanisms=PLAIN", "listener.name.login.plain.sasl.jaas.config=com.example.Own required;"},
			[]string{"com.example.Own", "PlainLoginModule"}},
		{"a broken text", []string{"sasl.enabled.mechanisms=PLAIN", "listener.name.login.plain.sasl.jaas.config=" + plainModule + `user_ana="geheim"`},
			[]string{"listener.name.login.plain.sasl.jaas.config", "semicolon"}},
		{"a class", []string{"sasl.enabled.mechanisms=PLAIN", users, "listener.name.login.plain.sasl.server.callback.handler.class=com.example.H"},
			[]string{"com.example.H", "Java classes do not run here"}},
		{"no login", append(cluster, "sasl.enabled.mechanisms=PLAIN", users, "sasl.mechanism.inter.broker.protocol=PLAIN"),
			[]string{"nothing says who this node is", "username="}},
		{"login by the default", append(cluster, "sasl.enabled.mechanisms=PLAIN", users), []string{"sasl.mechanism.inter.broker.protocol is GSSAPI"}},
		{"login by what is off", append(cluster, "sasl.enabled.mechanisms=PLAIN", users, "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
			"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=a password=b;"), []string{"does not name"}},
		{"controllers by SCRAM", append(cluster, "sasl.enabled.mechanisms=SCRAM-SHA-256", "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256",
			"listener.security.protocol.map=LOGIN:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT", "sasl.mechanism.controller.protocol=SCRAM-SHA-256",
			"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=a password=b;"), []string{"use PLAIN"}},
	} {
		_, err := saslConfig(t, c.set...)
		if err == nil {
			t.Errorf("%s: taken", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %q", c.name, err, want)
			}
		}
		if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error tells a password: %v", c.name, err)
		}
	}
}

// TestSASLDynamic sets users of a listener while the node runs: what cannot work is refused, and what no longer goes
// together with the file at the next start is left out.
func TestSASLDynamic(t *testing.T) {
	key := "listener.name.login.plain.sasl.jaas.config"
	static, err := Load(Source{Defaults: map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/d", "listeners": "LOGIN://:9094",
		"listener.security.protocol.map": "LOGIN:SASL_PLAINTEXT", "sasl.enabled.mechanisms": "PLAIN",
		key: plainModule + `user_ana="a";`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	alter := func(value string) error {
		_, err := NewLive(static, nil, nil).Incremental(Target{Scope: ScopeBroker, Name: "1"}, []Op{{Kind: OpSet, Name: key, Value: &value}})
		return err
	}
	if err := alter(plainModule + `user_eva="geheim"`); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a broken text: %v", err)
	}
	if err := alter("com.example.Own required;"); err == nil {
		t.Error("a module that is not served was taken")
	}
	if err := alter(plainModule + `user_eva="e";`); err != nil {
		t.Error(err)
	}
	own := map[string]string{key: plainModule + `user_eva="e";`}
	live := NewLive(static, nil, own)
	if users := live.Broker().SASL.Listeners["LOGIN"].Users; len(users) != 1 || users["eva"] != "e" {
		t.Errorf("users are %d", len(users))
	}
	for _, e := range live.DescribeBroker() {
		if e.Name == key && (e.Value != nil || !e.Sensitive) {
			t.Error("the text is shown")
		}
	}
	stale := NewLive(static, nil, map[string]string{key: "com.example.Own required;"})
	if users := stale.Broker().SASL.Listeners["LOGIN"].Users; users["ana"] != "a" {
		t.Error("a dynamic text that does not fit is not left out")
	}
}
