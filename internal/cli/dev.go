package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/obs"
	"github.com/logstead/logstead/internal/node"
)

// devFlags are the flags of `logstead dev`.
type devFlags struct {
	data, host     string
	port, httpPort int
	nodes          int
	demo           bool
	set            []string
	topics         []string
	verbose        bool
}

func devCmd(a *App) *cobra.Command {
	var f devFlags
	c := &cobra.Command{
		Use:   "dev [-- COMMAND...]",
		Short: "Start a broker for development, with nothing to configure",
		Long: `Starts a whole broker in this process: in memory unless --data says where to keep it, on
127.0.0.1:9092 or the next free port.

With --nodes each node is a process of its own, and topics have three copies. In another terminal
"logstead dev nodes" lists them, and "logstead dev kill 2", "stop 2" and "start 2" do that to one.

With a command after --, the broker lives as long as the command runs: KAFKA_BOOTSTRAP_SERVERS is
set in its environment, and its exit code is returned. Off a terminal the first line of output is
BROKERS=HOST:PORT, for scripts.`,
		Example: examples(
			"a broker in memory, until ctrl-c", "logstead dev",
			"keep the data, and have something to look at", "logstead dev --data ./data --demo",
			"three nodes that replicate, one to be killed", "logstead dev --nodes 3",
			"run tests against a fresh broker", "logstead dev -- go test ./...",
		),
		Args: devArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.dev(cmd.Context(), f, args) },
	}
	c.AddCommand(devOrderCmds(a)...)
	fl := c.Flags()
	fl.IntVar(&f.nodes, "nodes", 1, "number of nodes; more than one are processes of their own")
	fl.StringVar(&f.data, "data", "", "keep the data in `DIR` (default: in memory, gone when it stops)")
	fl.StringVar(&f.host, "host", "127.0.0.1", "address to listen on")
	fl.IntVarP(&f.port, "port", "p", defaultPort, "port for Kafka clients; the next free one if it is taken")
	fl.IntVar(&f.httpPort, "http-port", 9644, "port for health and metrics; the next free one if it is taken")
	fl.BoolVar(&f.demo, "demo", false, "create topics with a live producer and a consumer group")
	fl.StringArrayVar(&f.set, "set", nil, "set a broker config: `KEY=VALUE`")
	fl.StringArrayVar(&f.topics, "topic", nil, "create a topic at the start: `NAME[:PARTITIONS]`")
	fl.BoolVar(&f.verbose, "log", false, "show the broker's log")
	return c
}

// maxDevNodes is as many processes as a machine of one's own stands.
const maxDevNodes = 9

// devArgs takes arguments only after --.
func devArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
		return usagef("unexpected argument %q", args[0]).try("logstead dev -- %s", strings.Join(args, " "))
	}
	return nil
}

// devDefaults are what a broker on one's own machine wants and a production one does not.
func devDefaults(f devFlags) map[string]string {
	d := map[string]string{
		"process.roles": "broker,controller", "node.id": "1",
		"listeners":                                "PLAINTEXT://" + net.JoinHostPort(f.host, strconv.Itoa(f.port)),
		"logstead.http.listeners":                  net.JoinHostPort(f.host, strconv.Itoa(f.httpPort)),
		"logstead.auto.format":                     "true",
		"group.initial.rebalance.delay.ms":         "0",
		"offsets.topic.replication.factor":         "1",
		"transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr":            "1",
		"log.dirs":                                 "/memory",
	}
	if f.data != "" {
		d["log.dirs"] = f.data
	}
	return d
}

func (a *App) dev(ctx context.Context, f devFlags, command []string) error {
	if f.nodes < 1 || f.nodes > maxDevNodes {
		return usagef("--nodes %d: want 1 to %d", f.nodes, maxDevNodes)
	}
	if f.nodes > 1 {
		return a.devNodes(ctx, f, command)
	}
	static, err := conf.Load(conf.Source{Set: f.set, Defaults: devDefaults(f)})
	if err != nil {
		return configFault(err)
	}
	var level slog.LevelVar
	logTo := a.Stderr
	if !f.verbose {
		level.Set(slog.LevelWarn)
	}
	logger, err := obs.NewLogger(logTo, obs.FormatText, &level)
	if err != nil {
		return err
	}
	n, err := node.Open(ctx, node.Options{
		Config: static, Version: readVersion().Version, Logger: logger, Level: &level, Memory: f.data == "", NextFreePort: true,
	})
	if err != nil {
		return devFault(ctx, err, command)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Serving():
	case err := <-done:
		return devFault(ctx, err, command)
	}
	if err := a.devTopics(ctx, n.Bootstrap(), f.topics); err != nil {
		cancel()
		<-done
		return err
	}
	if len(command) > 0 {
		return a.devCommand(ctx, cancel, done, n, command)
	}
	a.printDev(n, f)
	if f.demo {
		go a.demo(ctx, n.Bootstrap())
	}
	if err := <-done; err != nil {
		return err
	}
	a.say("stopped%s", a.devKept(f))
	return nil
}

// devFault is startFault where a command was to be run, which then was not.
func devFault(ctx context.Context, err error, command []string) error {
	if err = startFault(ctx, err); err == nil && len(command) > 0 {
		return ctx.Err()
	}
	return err
}

func (a *App) devKept(f devFlags) string {
	if f.data == "" {
		return "; what was in memory is gone"
	}
	return "; the data is in " + f.data
}

// devCommand runs a command beside the broker and ends with its exit code.
func (a *App) devCommand(ctx context.Context, cancel func(), done chan error, n *node.Node, command []string) error {
	err := a.devRun(ctx, n.Bootstrap(), command)
	cancel()
	if stopErr := <-done; stopErr != nil && err == nil {
		return stopErr
	}
	return err
}

// devRun runs a command that finds the brokers in its environment, and takes over its exit code.
func (a *App) devRun(ctx context.Context, bootstrap string, command []string) error {
	//nolint:gosec // running what the user asks for is the point
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = a.Stdin, a.Stdout, a.Stderr
	c.Env = append(os.Environ(), "KAFKA_BOOTSTRAP_SERVERS="+bootstrap, "KAFKA_BROKERS="+bootstrap)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		a.code = exit.ExitCode()
		return nil
	}
	if err != nil {
		return usagef("cannot run %s: %v", command[0], err)
	}
	return nil
}

// printDev is the banner on a terminal, and two lines for scripts elsewhere.
func (a *App) printDev(n *node.Node, f devFlags) {
	if !a.StdoutTTY {
		fmt.Fprintf(a.Stdout, "BROKERS=%s\n", n.Bootstrap())
		if http := n.HTTPAddress(); http != "" {
			fmt.Fprintf(a.Stdout, "METRICS=http://%s/metrics\n", http)
		}
	}
	where := "in memory (use --data DIR to keep it)"
	if f.data != "" {
		where = "in " + f.data
	}
	out := a.Stdout
	if !a.StdoutTTY {
		out = a.Stderr
	}
	if a.flags.quiet {
		return
	}
	name := "logstead dev"
	if v := readVersion().Version; v != "dev" {
		name = "logstead " + v + " dev"
	}
	fmt.Fprintf(out, "%s\n", a.paint(bold, fmt.Sprintf("%s, %-50s ready in %d ms", name, where, n.StartTook().Milliseconds())))
	fmt.Fprintf(out, "  %-10s %-22s export KAFKA_BOOTSTRAP_SERVERS=%s\n", "Kafka", n.Bootstrap(), n.Bootstrap())
	if http := n.HTTPAddress(); http != "" {
		fmt.Fprintf(out, "  %-10s http://%s/metrics\n", "Metrics", http)
	}
	for _, note := range n.Notes() {
		fmt.Fprintf(out, "  %s %s\n", a.paint(yellow, "note:"), note)
	}
	b := ""
	if n.Bootstrap() != defaultBootstrap {
		b = " -b " + n.Bootstrap()
	}
	fmt.Fprintf(out, "  try:       logstead produce orders -k 1 '{\"amount\":3}'%s\n", b)
	fmt.Fprintf(out, "             logstead consume orders -o start%s\n", b)
	fmt.Fprintf(out, "             logstead topic list%s\n", b)
	fmt.Fprintln(out, "  ctrl-c to stop")
}
