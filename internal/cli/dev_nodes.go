package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// devReady bounds how long the nodes of a development cluster may take to find each other, devStop how
// long one may take to stop before it is killed.
const (
	devReady = 60 * time.Second
	devStop  = 15 * time.Second
)

// devCluster is `logstead dev --nodes N`: N child processes, each a whole node.
type devCluster struct {
	a     *App
	f     devFlags
	dir   string // holds node-N and node-N.log
	own   bool   // dir is temporary
	nodes []*devNode
}

// devNode is one child process and what it is started with.
type devNode struct {
	id                 int
	kafka, ctl, http   string // host:port
	dir, config, logTo string

	mu   sync.Mutex
	cmd  *exec.Cmd
	life io.Closer     // the child ends when this is closed
	done chan struct{} // closed when the child has ended
}

// devNodes runs a cluster until ctx ends or the command has run.
func (a *App) devNodes(ctx context.Context, f devFlags, command []string) (err error) {
	c := &devCluster{a: a, f: f}
	began := time.Now()
	if err := c.prepare(); err != nil {
		return err
	}
	defer func() {
		c.stopAll()
		if c.own {
			err = errors.Join(err, os.RemoveAll(c.dir))
		}
	}()
	control, err := c.openControl()
	if err != nil {
		return err
	}
	defer control.close()
	for _, n := range c.nodes {
		if err := c.start(n); err != nil {
			return err
		}
	}
	if err := c.awaitAll(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it is asked to stop
		}
		return err
	}
	if err := a.devTopics(ctx, c.bootstrap(), f.topics); err != nil {
		return err
	}
	if len(command) > 0 {
		return a.devRun(ctx, c.bootstrap(), command)
	}
	c.banner(time.Since(began))
	if f.demo {
		go a.demo(ctx, c.bootstrap())
	}
	<-ctx.Done()
	a.say("stopping %d nodes", len(c.nodes))
	return nil
}

func (c *devCluster) bootstrap() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.kafka)
	}
	return strings.Join(all, ",")
}

// prepare takes ports, formats the directories and writes the configurations.
func (c *devCluster) prepare() error {
	c.dir = c.f.data
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "logstead-dev-")
		if err != nil {
			return asFault("cannot make a directory for the nodes", err)
		}
		c.dir, c.own = dir, true
	}
	kafka, err := freePorts(c.f.host, c.f.port, c.f.nodes)
	if err != nil {
		return err
	}
	http, err := freePorts(c.f.host, c.f.httpPort, c.f.nodes)
	if err != nil {
		return err
	}
	ctl, err := freePorts(c.f.host, c.f.port+10_000, c.f.nodes)
	if err != nil {
		return err
	}
	var voters []string
	for i := range c.f.nodes {
		n := &devNode{id: i + 1, kafka: kafka[i], ctl: ctl[i], http: http[i]}
		name := "node-" + strconv.Itoa(n.id)
		n.dir = filepath.Join(c.dir, name)
		n.config, n.logTo = filepath.Join(c.dir, name+".properties"), filepath.Join(c.dir, name+".log")
		c.nodes = append(c.nodes, n)
		voters = append(voters, strconv.Itoa(n.id)+"@"+n.ctl)
	}
	cluster := base.NewTopicID().String()
	for _, n := range c.nodes {
		if err := c.write(n, strings.Join(voters, ",")); err != nil {
			return err
		}
		if id, err := c.format(n, cluster); err != nil {
			return err
		} else if id != "" {
			cluster = id
		}
	}
	return nil
}

// freePorts finds n addresses from a port on that nothing listens on.
func freePorts(host string, from, n int) ([]string, error) {
	var out []string
	for port := from; port < from+1000 && port < 65536; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			continue
		}
		_ = l.Close()
		if out = append(out, net.JoinHostPort(host, strconv.Itoa(port))); len(out) == n {
			return out, nil
		}
	}
	return nil, usagef("no %d free ports on %s from %d on", n, host, from).try("--port with another number")
}

// write makes the node's server.properties: what a cluster of one's own machine wants.
func (c *devCluster) write(n *devNode, voters string) error {
	props := map[string]string{
		"node.id": strconv.Itoa(n.id), "process.roles": "broker,controller", "controller.quorum.voters": voters,
		"listeners":                 "PLAINTEXT://" + n.kafka + ",CONTROLLER://" + n.ctl,
		"controller.listener.names": "CONTROLLER", "log.dirs": n.dir, "logstead.http.listeners": n.http,
		"default.replication.factor":       strconv.Itoa(min(3, c.f.nodes)),
		"min.insync.replicas":              strconv.Itoa(max(1, min(3, c.f.nodes)-1)),
		"group.initial.rebalance.delay.ms": "0",
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(props)) {
		fmt.Fprintf(&text, "%s=%s\n", key, props[key])
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return asFault("cannot make "+c.dir, err)
	}
	if err := os.WriteFile(n.config, []byte(text.String()), 0o644); err != nil {
		return asFault("cannot write "+n.config, err)
	}
	return nil
}

// format makes an empty directory the node's; of one that has been used it returns the cluster id.
func (c *devCluster) format(n *devNode, cluster string) (string, error) {
	static, err := conf.Load(conf.Source{File: n.config})
	if err != nil {
		return "", configFault(err)
	}
	b := settingsOf(static)
	infos, err := dirInfos(b)
	if err != nil {
		return "", err
	}
	if infos[0].Formatted {
		return infos[0].ClusterID, nil
	}
	_, err = controller.Format(vfs.OS{}, controller.FormatOptions{
		Dirs: b.LogDirs, ClusterID: cluster, NodeID: b.NodeID,
	}, c.a.Now())
	if err != nil {
		return "", asFault("cannot format "+n.dir, err)
	}
	return cluster, nil
}

// start runs a node's process, unless it runs.
func (c *devCluster) start(n *devNode) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return asFault("cannot find this program", err)
	}
	args := []string{"server", "--config", n.config, "--log-format", "text", "--until-stdin-closes"}
	for _, s := range c.f.set {
		args = append(args, "--set", s)
	}
	cmd := exec.Command(self, args...) //nolint:gosec,noctx // this program; it ends with its stdin
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "KAFKA_") || strings.HasPrefix(kv, "LOGSTEAD_")
	})
	apart(cmd)
	logTo, err := os.OpenFile(n.logTo, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return asFault("cannot write "+n.logTo, err)
	}
	defer logTo.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = logTo, logTo
	if c.f.verbose {
		cmd.Stdout, cmd.Stderr = c.a.Stderr, c.a.Stderr
	}
	if n.life, err = cmd.StdinPipe(); err != nil {
		return asFault("cannot start node "+strconv.Itoa(n.id), err)
	}
	if err := cmd.Start(); err != nil {
		return asFault("cannot start node "+strconv.Itoa(n.id), err)
	}
	n.cmd, n.done = cmd, make(chan struct{})
	go func(done chan struct{}) { // ends with the child
		_ = cmd.Wait()
		n.mu.Lock()
		n.cmd = nil
		n.mu.Unlock()
		close(done)
	}(n.done)
	return nil
}

// stop ends a node's process: in order, or as a power cut would.
func (c *devCluster) stop(n *devNode, kill bool) {
	n.mu.Lock()
	cmd, life, done := n.cmd, n.life, n.done
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	if kill {
		_ = cmd.Process.Kill()
	} else {
		_ = life.Close()
	}
	limit := time.NewTimer(devStop)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		_ = cmd.Process.Kill()
		<-done
	}
	_ = life.Close()
}

// stopAll ends the nodes one after the other, so that each hands over to those that are left.
func (c *devCluster) stopAll() {
	for _, n := range c.nodes {
		c.stop(n, false)
	}
}

// pid is the node's process, 0 where it does not run.
func (n *devNode) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// awaitAll waits until every node knows of all.
func (c *devCluster) awaitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, devReady)
	defer cancel()
	for _, n := range c.nodes {
		if err := c.await(ctx, n, len(c.nodes)); err != nil {
			return err
		}
	}
	return nil
}

// brokersKnownTo asks one node, by a client of its own: one that is kept answers from what it learned first.
func brokersKnownTo(ctx context.Context, addr string) (int, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RetryTimeout(time.Second), kgo.DialTimeout(time.Second))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m, err := kadm.NewClient(cl).BrokerMetadata(ctx)
	return len(m.Brokers), err
}

// await waits until a node serves and knows of so many brokers.
func (c *devCluster) await(ctx context.Context, n *devNode, brokers int) error {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if count, err := brokersKnownTo(ctx, n.kafka); err == nil && count >= brokers {
			return nil
		}
		if n.pid() == 0 {
			f := &Fault{What: fmt.Sprintf("node %d did not start", n.id), Why: lastLine(n.logTo), Exit: exitFailed}
			return f.try("its log: %s", n.logTo)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			f := &Fault{What: fmt.Sprintf("node %d is not ready", n.id), Why: lastLine(n.logTo), Exit: exitFailed}
			return f.try("its log: %s", n.logTo)
		}
	}
}

func lastLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}

func (c *devCluster) banner(took time.Duration) {
	a, out := c.a, c.a.Stdout
	if !a.StdoutTTY {
		fmt.Fprintf(a.Stdout, "BROKERS=%s\n", c.bootstrap())
		out = a.Stderr
	}
	if a.flags.quiet {
		return
	}
	where := "in a temporary directory (use --data DIR to keep it)"
	if !c.own {
		where = "in " + c.dir
	}
	fmt.Fprintf(out, "%s\n", a.paint(bold, fmt.Sprintf("logstead dev, %d nodes %s, ready in %d ms", len(c.nodes), where, took.Milliseconds())))
	for _, n := range c.nodes {
		fmt.Fprintf(out, "  node %-5d %-22s http://%s/metrics   %s\n", n.id, n.kafka, n.http, n.logTo)
	}
	fmt.Fprintf(out, "  export KAFKA_BOOTSTRAP_SERVERS=%s\n", c.bootstrap())
	port := ""
	if _, p, _ := net.SplitHostPort(c.nodes[0].kafka); p != strconv.Itoa(defaultPort) {
		port = " --port " + p
	}
	fmt.Fprintf(out, "  try:       logstead dev kill 2%s     and look how clients go on\n", port)
	fmt.Fprintf(out, "             logstead dev start 2%s\n", port)
	fmt.Fprintf(out, "             logstead dev nodes%s\n", port)
	fmt.Fprintln(out, "  ctrl-c to stop")
}

// newDevSecret keeps other users of the machine from giving orders.
func newDevSecret() string { return base.NewTopicID().String() }
