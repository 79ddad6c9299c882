package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/vfs"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("internal/poll.runtime_pollWait"))
}

// running is a node under test.
type running struct {
	*Node
	stop func() error
}

// start runs a node with the given configuration on free ports. With dir "" it is in memory.
func start(t *testing.T, dir string, set ...string) *running {
	t.Helper()
	return startOn(t, nil, dir, set...)
}

// loadConfig is the configuration of a node alone, with what is set beside.
func loadConfig(t *testing.T, dir string, set ...string) *conf.Static {
	t.Helper()
	defaults := map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": dir, "logstead.auto.format": "true",
		"listeners": "PLAINTEXT://127.0.0.1:0", "logstead.http.listeners": "127.0.0.1:0",
		"group.initial.rebalance.delay.ms": "0",
	}
	if dir == "" {
		defaults["log.dirs"] = "/memory"
	}
	static, err := conf.Load(conf.Source{Defaults: defaults, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return static
}

// startOn runs a node on a file system of the test's; nil is the machine's.
func startOn(t *testing.T, fs vfs.FS, dir string, set ...string) *running {
	t.Helper()
	return startWith(t, Options{fs: fs}, dir, set...)
}

// startWith runs a node with seams of the test's.
func startWith(t *testing.T, o Options, dir string, set ...string) *running {
	t.Helper()
	var level slog.LevelVar
	level.Set(slog.LevelWarn)
	o.Config, o.Version, o.Level, o.Memory = loadConfig(t, dir, set...), "test", &level, dir == ""
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: &level}))
	n, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	r := &running{Node: n, stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	select {
	case <-n.Serving():
	case err := <-done:
		t.Fatalf("the node ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the node does not come up")
	}
	return r
}

func client(t *testing.T, n *running, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(n.Bootstrap()), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(-1)}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// patience is how long a test waits for what comes about by itself: seconds on a machine that is free, many times that on one whose
// cores are taken and whose disk stands for a second now and then.
const patience = 3 * time.Minute

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestLifeOfABroker goes through what a first user does: produce, read in a group, commit, stop,
// start again, and find everything where it was.
func TestLifeOfABroker(t *testing.T) {
	dir := t.TempDir()
	ctx := deadline(t)
	n := start(t, dir)
	const records = 500
	p := client(t, n)
	for i := range records {
		p.Produce(ctx, &kgo.Record{Topic: "orders", Key: fmt.Append(nil, i%7), Value: fmt.Append(nil, i)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	c := client(t, n, kgo.ConsumerGroup("shipping"), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	readAll(t, ctx, c, records)
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	if n.groupEvents.rebalances.Load() == 0 {
		t.Error("a group formed and no rebalance was counted")
	}
	id, cluster := n.image().Topic("orders").ID, n.store.ClusterID()
	c.Close()
	p.Close()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}

	n = start(t, dir)
	if again := n.image().Topic("orders"); again == nil || again.ID != id || n.store.ClusterID() != cluster {
		t.Errorf("after a restart: topic %+v in cluster %s, want id %s in %s", again, n.store.ClusterID(), id, cluster)
	}
	lags, err := kadm.NewClient(client(t, n)).Lag(ctx, "shipping")
	if err != nil {
		t.Fatal(err)
	}
	if lag := lags["shipping"].Lag.Total(); lag != 0 {
		t.Errorf("lag after a restart is %d, want 0", lag)
	}
	all := client(t, n, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	readAll(t, ctx, all, records)
}

func readAll(t *testing.T, ctx context.Context, c *kgo.Client, want int) {
	t.Helper()
	for got := 0; got < want; {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", got, want, err)
		}
		got += f.NumRecords()
	}
}

// TestTransactions moves records in transactions, every other one aborted.
func TestTransactions(t *testing.T) {
	ctx := deadline(t)
	n := start(t, "")
	p := client(t, n, kgo.TransactionalID("mover"))
	for i := range 10 {
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: "moved", Value: fmt.Append(nil, i)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := p.EndTransaction(ctx, kgo.TransactionEndTry(i%2 == 0)); err != nil {
			t.Fatal(err)
		}
	}
	c := client(t, n, kgo.ConsumeTopics("moved"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var got []string
	for len(got) < 5 {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		f.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if want := "0 2 4 6 8"; strings.Join(got, " ") != want {
		t.Errorf("read committed %v, want %s", got, want)
	}
}

// TestHTTP reads health and metrics as a Prometheus server does.
func TestHTTP(t *testing.T) {
	ctx := deadline(t)
	n := start(t, "")
	p := client(t, n)
	if err := p.ProduceSync(ctx, &kgo.Record{Topic: `t`, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTPAddress()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read to its end
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	defer http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{"/livez", "/readyz", "/readyz?verbose", "/"} {
		if code, body := get(path); code != http.StatusOK {
			t.Errorf("%s answers %d: %s", path, code, body)
		}
	}
	code, body := get("/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	found, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if code != http.StatusOK || err != nil {
		t.Fatalf("/metrics answers %d, and parses with %v", code, err)
	}
	without := []string{ // a value as long as nobody has connected, balancing has made no plan, or no listener asks for a login or
		// is encrypted
		"logstead_server_tls_certificate_expiry_seconds",
		"kafka_server_socket_server_metrics_connections_software", "logstead_balance_deviation",
		"kafka_server_socket_server_metrics_successful_authentication_total",
		"kafka_server_socket_server_metrics_failed_authentication_total",
		"kafka_server_socket_server_metrics_successful_reauthentication_total",
		"kafka_server_socket_server_metrics_failed_reauthentication_total",
		"kafka_server_socket_server_metrics_expired_connections_killed_total",
		"logstead_server_logins_waiting", "logstead_server_logins_late_total",
	}
	for _, f := range families {
		if _, there := found[f.name]; !there && !strings.HasPrefix(f.name, "kafka_consumergroup_") && !slices.Contains(without, f.name) {
			t.Errorf("/metrics has no %s", f.name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if found[name] == nil {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

// TestStartErrors names what keeps a broker from starting.
func TestStartErrors(t *testing.T) {
	open := func(set ...string) error {
		static, err := conf.Load(conf.Source{Set: set, Defaults: map[string]string{
			"process.roles": "broker,controller", "node.id": "1", "logstead.http.listeners": "",
		}})
		if err != nil {
			t.Fatal(err)
		}
		n, err := Open(t.Context(), Options{Config: static, Logger: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}})
		if err == nil {
			n.closeListeners()
			_ = n.store.Close()
		}
		return err
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // nothing depends on it
	unformatted := t.TempDir()
	for name, c := range map[string]struct {
		set  []string
		want string
	}{
		"port taken": {
			[]string{"listeners=PLAINTEXT://" + taken.Addr().String(), "log.dirs=" + unformatted}, "another process has the port",
		},
		"not formatted": {
			[]string{"listeners=PLAINTEXT://127.0.0.1:0", "log.dirs=" + unformatted}, "is not formatted",
		},
	} {
		if err := open(c.set...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

// TestMetadataApart keeps the metadata log in a directory of its own, as metadata.log.dir asks.
func TestMetadataApart(t *testing.T) {
	dir, apart := t.TempDir(), t.TempDir()
	ctx := deadline(t)
	n := start(t, dir, "metadata.log.dir="+apart)
	if err := client(t, n).ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]bool{dir: false, apart: true} {
		_, err := os.Stat(filepath.Join(where, "__cluster_metadata-0"))
		if (err == nil) != want {
			t.Errorf("metadata log in %s: %v, want %v", where, err == nil, want)
		}
	}
	n = start(t, dir, "metadata.log.dir="+apart)
	if n.image().Topic("t") == nil {
		t.Error("the topic is gone after a restart")
	}
}
