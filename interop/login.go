package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

// loginRun is a broker of its own with a listener beside its plain one that asks for a login.
type loginRun struct {
	*Run
	plain, addr string
	admin       *kadm.Client
	acked       string // what a driver prints that produced the file
	file        string
}

// login has every client log in by every mechanism, produce, and fail to with another password; and Kafka's tool make a user.
func login(ctx context.Context, r *Run) {
	l := &loginRun{Run: r, acked: "acked 20", file: filepath.Join(r.work, "login.tsv")}
	start := time.Now()
	stop, err := l.start(ctx)
	if err != nil {
		r.row("broker", "listener with SASL", time.Since(start), err)
		return
	}
	defer stop()
	for _, d := range drivers() {
		if d.long { // librdkafka, which another driver is of too
			continue
		}
		for _, m := range local.LoginMechanisms {
			r.check(ctx, d.name, "login by "+m, time.Minute, func(ctx context.Context) error { return l.produces(ctx, d, m) })
		}
		r.check(ctx, d.name, "wrong password", time.Minute, func(ctx context.Context) error { return l.refused(ctx, d) })
	}
	r.check(ctx, "kcat", "login by PLAIN", time.Minute, l.kcat)
	r.check(ctx, "kafka-tools", "kafka-configs --entity-type users", 2*time.Minute, l.users)
}

// start runs the broker and gives it topics and users.
func (l *loginRun) start(ctx context.Context) (stop func(), err error) {
	if l.addr, err = local.FreeAddr(); err != nil {
		return nil, err
	}
	var end func() error
	dir := filepath.Join(l.work, "login")
	if l.target.name == "kafka" {
		k, err := local.NewKafka(ctx, dir)
		if err != nil {
			return nil, err
		}
		extra := filepath.Join(l.work, "login.properties")
		text := strings.Join(local.LoginSettings(k.Listeners(), l.addr), "\n") + "\n"
		if err := os.WriteFile(extra, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if err := os.Setenv("KAFKA_EXTRA", extra); err != nil {
			return nil, err
		}
		defer os.Unsetenv("KAFKA_EXTRA")
		l.plain, end, err = k.Addr, k.Stop, k.Start(ctx)
		if err != nil {
			return nil, errors.Join(err, k.Stop())
		}
	} else {
		n, err := local.New(ctx, dir)
		if err != nil {
			return nil, err
		}
		n.Set = local.LoginSettings(n.Listeners(), l.addr)
		l.plain, end, err = n.Addr, n.Stop, n.Start(ctx)
		if err != nil {
			return nil, errors.Join(err, n.Stop())
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.plain), kgo.RetryTimeout(30*time.Second))
	if err != nil {
		return nil, errors.Join(err, end())
	}
	l.admin = kadm.NewClient(cl)
	stop = func() {
		cl.Close()
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, "interop: stop the broker with logins:", err)
		}
	}
	if err := errors.Join(l.prepare(ctx)); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

func (l *loginRun) prepare(ctx context.Context) error {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "k%d\tv%d\n", i, i)
	}
	if err := os.WriteFile(l.file, []byte(b.String()), 0o600); err != nil {
		return err
	}
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		resp, err := l.admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: local.LoginUser, Mechanism: m, Iterations: 4096, Password: local.LoginPassword}})
		if err := errors.Join(err, resp.Error()); err != nil {
			return fmt.Errorf("create a user: %w", err)
		}
	}
	return nil
}

func (l *loginRun) env(mechanism, user, password string) []string {
	return []string{"BOOTSTRAP=" + l.addr, "NODES=1", "REPLICAS=1", "SASL_MECHANISM=" + mechanism, "SASL_USER=" + user, "SASL_PASSWORD=" + password}
}

func (l *loginRun) topic(ctx context.Context, name string) (string, error) {
	topic := l.id + "-login-" + name
	_, err := l.admin.CreateTopic(ctx, 1, 1, nil, topic)
	return topic, err
}

func (l *loginRun) records(ctx context.Context, topic string) (int64, error) {
	ends, err := l.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	o, _ := ends.Lookup(topic, 0)
	return o.Offset, o.Err
}

// produces has a client log in and send the file.
func (l *loginRun) produces(ctx context.Context, d driver, mechanism string) error {
	topic, err := l.topic(ctx, d.name+"-"+mechanism)
	if err != nil {
		return err
	}
	out, err := l.exec(ctx, time.Minute, l.env(mechanism, local.LoginUser, local.LoginPassword), d.command(l.Run, "produce", "topic="+topic, "file="+l.file, "codec=none")...)
	if err != nil {
		return err
	}
	n, err := l.records(ctx, topic)
	return errors.Join(contains(out, l.acked), err, want("records", n, 20))
}

// refusedLimit is how long a client is waited for that may try again and again.
const refusedLimit = 10 * time.Second

// refused has a client try with another password; nothing of what it sends may arrive.
func (l *loginRun) refused(ctx context.Context, d driver) error {
	topic, err := l.topic(ctx, d.name+"-wrong")
	if err != nil {
		return err
	}
	out, err := l.exec(ctx, refusedLimit, l.env("SCRAM-SHA-512", local.LoginUser, local.LoginPassword+"x"), d.command(l.Run, "produce", "topic="+topic, "file="+l.file, "codec=none")...)
	if err == nil {
		return fmt.Errorf("the client says nothing of a wrong password: %s", out)
	}
	n, err := l.records(ctx, topic)
	if err == nil && n != 0 {
		err = &wrong{want("records", n, 0)}
	}
	return err
}

// kcat logs in by PLAIN alone: its librdkafka is older than 2.6.1 and repeats its nonce in SCRAM, which Kafka from 4.0 on refuses as well.
func (l *loginRun) kcat(ctx context.Context) error {
	topic, err := l.topic(ctx, "kcat")
	if err != nil {
		return err
	}
	args := []string{"kcat", "-q", "-b", l.addr, "-t", topic, "-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanism=PLAIN",
		"-X", "sasl.username=" + local.LoginUser, "-X", "sasl.password=" + local.LoginPassword}
	if _, err := l.execIn(ctx, time.Minute, nil, lines(20), append(args, "-P")...); err != nil {
		return err
	}
	out, err := l.execIn(ctx, time.Minute, nil, "", append(args, "-C", "-e")...)
	return errors.Join(err, want("records", strings.Count(out, "\n"), 20))
}

// users has kafka-configs make, list and remove a user over the listener, and that user log in.
func (l *loginRun) users(ctx context.Context) error {
	config := filepath.Join(l.work, "login-tool.properties")
	text := fmt.Sprintf("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=%s required username=\"%s\" password=\"%s\";\n",
		local.PlainModule, local.LoginUser, local.LoginPassword)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	tool := func(args ...string) (string, error) {
		args = append([]string{"--bootstrap-server", l.addr, "--command-config", config, "--entity-type", "users"}, args...)
		return l.execIn(ctx, toolLimit, nil, "", l.java(configsTool, args...)...)
	}
	out, err := tool("--alter", "--entity-name", "eva", "--add-config", "SCRAM-SHA-512=[iterations=8192,password=of-eva]")
	if err := errors.Join(err, contains(out, "Completed updating config for user eva")); err != nil {
		return err
	}
	out, err = tool("--describe", "--entity-name", "eva")
	if err := errors.Join(err, contains(out, "SCRAM-SHA-512=iterations=8192")); err != nil {
		return err
	}
	topic, err := l.topic(ctx, "eva")
	if err != nil {
		return err
	}
	by := driverNamed("franz-go")
	out, err = l.exec(ctx, time.Minute, l.env("SCRAM-SHA-512", "eva", "of-eva"), by.command(l.Run, "produce", "topic="+topic, "file="+l.file, "codec=none")...)
	if err := errors.Join(err, contains(out, l.acked)); err != nil {
		return err
	}
	out, err = tool("--alter", "--entity-name", "eva", "--delete-config", "SCRAM-SHA-512")
	if err := errors.Join(err, contains(out, "Completed updating config for user eva")); err != nil {
		return err
	}
	if _, err = l.exec(ctx, refusedLimit, l.env("SCRAM-SHA-512", "eva", "of-eva"), by.command(l.Run, "produce", "topic="+topic, "file="+l.file, "codec=none")...); err == nil {
		return errors.New("a user that was removed logs in")
	}
	return nil
}
