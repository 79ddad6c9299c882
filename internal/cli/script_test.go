package cli

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"logstead": func() { os.Exit(Main(os.Args[1:])) },
	})
}

// TestScripts runs each script against an in-process broker of its own that has no topics yet. It
// creates topics on demand, one partition each unless a script says otherwise.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":       cmdExits,
			"wait-stable": cmdWaitStable,
			"open-txn":    cmdOpenTxn,
		},
		Setup: func(env *testscript.Env) error {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("test-cluster"),
				kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(1))
			if err != nil {
				return err
			}
			env.Defer(cluster.Close)
			env.Setenv("KAFKA_BOOTSTRAP_SERVERS", cluster.ListenAddrs()[0])
			env.Setenv("BROKER", cluster.ListenAddrs()[0])
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/config")
			return nil
		},
	})
}

// cmdExits runs "exits CODE ARGS…": logstead must end with exactly that code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec("logstead", args[1:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("logstead %v: %v", args[1:], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("logstead %v ended with %d, want %d", args[1:], got, want)
	}
}

// cmdWaitStable waits until a group has a member and is stable.
func cmdWaitStable(ts *testscript.TestScript, _ bool, args []string) {
	cl, err := kadm.NewOptClient(kgo.SeedBrokers(ts.Getenv("BROKER")))
	ts.Check(err)
	defer cl.Close()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		gs, err := cl.DescribeGroups(context.Background(), args[0])
		if err == nil && gs[args[0]].State == "Stable" && len(gs[args[0]].Members) > 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("group %s did not become stable: %v %+v", args[0], err, gs)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

// cmdOpenTxn runs "open-txn ID TOPIC": it leaves a transaction open with one record in it.
func cmdOpenTxn(ts *testscript.TestScript, _ bool, args []string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("BROKER")), kgo.TransactionalID(args[0]),
		kgo.DefaultProduceTopic(args[1]))
	ts.Check(err)
	ts.Defer(cl.Close)
	ts.Check(cl.BeginTransaction())
	ts.Check(cl.ProduceSync(context.Background(), kgo.StringRecord("never")).FirstErr())
}
