package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

// The ports of a node with a network of its own.
const (
	brokerPort     = "9092"
	controllerPort = "9093"
)

const (
	// maxVoters is how many nodes are voters at first; the others are brokers only, or controllers that can be added.
	maxVoters  = 3
	clusterID  = "bG9nc3RlYWQtY2hhb3MtMQ"
	startLimit = 90 * time.Second
)

// rival is one of the products that the schedule can run against.
type rival interface {
	// format makes a node's directory one of the cluster; command is how its server is started.
	format(ctx context.Context, properties string, args ...string) error
	command(properties string) *exec.Cmd
	// settings are those that only this product has.
	settings(nd *node) []string
	// watches says whether it reads files of certificates again by itself.
	watches() bool
}

// node is one broker, and controller if it is one of the first or the quorum is dynamic.
type node struct {
	id   int32
	host *host
	dir  string
	vol  *local.Volume // nil where this machine has none: faults of disks are left out
	// voter is one with which the quorum begins, and directory its id there.
	voter     bool
	directory string
	// Its ports, different ones for each node where they share an address.
	port, controllerPort, httpPort string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	paused bool
}

// cluster is all of them, and a client to ask them who does what.
type cluster struct {
	dynamic bool // the voters are those of the metadata, and change
	fabric  *fabric
	rival   rival
	noDisk  error // why the nodes have no volumes
	nodes   []*node
	client  *kgo.Client
	adm     *kadm.Client
	secured *security // nil where everybody is let in, in the clear
}

// newCluster makes and starts n nodes, each with a volume of its own under dir.
func newCluster(ctx context.Context, f *fabric, r rival, dir string, n int, dynamic bool, s *security) (*cluster, error) {
	c := &cluster{fabric: f, rival: r, dynamic: dynamic, secured: s}
	for i := range n {
		nd := &node{id: int32(i + 1), host: f.hosts[i+1], dir: filepath.Join(dir, "node"+strconv.Itoa(i+1)), voter: i < maxVoters}
		nd.directory = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "chaos-directory%d", nd.id))
		c.nodes = append(c.nodes, nd)
		if err := nd.pickPorts(f); err != nil {
			return c, err
		}
	}
	for _, nd := range c.nodes {
		if err := c.prepare(ctx, nd); err != nil {
			return c, err
		}
	}
	for _, nd := range c.nodes {
		if err := c.start(nd); err != nil {
			return c, err
		}
	}
	for _, nd := range c.nodes {
		if err := c.awaitPort(ctx, nd); err != nil {
			return c, err
		}
	}
	var err error
	if c.client, err = c.newClient(admin); err != nil {
		return c, err
	}
	c.adm = kadm.NewClient(c.client)
	if s != nil {
		return c, c.admit(ctx)
	}
	return c, nil
}

const volumeBytes = 1 << 30

// pickPorts gives a node its ports.
func (nd *node) pickPorts(f *fabric) error {
	nd.port, nd.controllerPort, nd.httpPort = brokerPort, controllerPort, "9644"
	if f.missing == nil {
		return nil
	}
	for _, to := range []*string{&nd.port, &nd.controllerPort, &nd.httpPort} {
		addr, err := local.FreeAddr()
		if err != nil {
			return err
		}
		_, *to, _ = net.SplitHostPort(addr)
	}
	return nil
}

func (c *cluster) prepare(ctx context.Context, nd *node) error {
	if err := os.MkdirAll(nd.dir, 0o755); err != nil {
		return err
	}
	var err error
	var no *local.NotHere
	if nd.vol, err = local.NewVolume(ctx, nd.dir, volumeBytes); errors.As(err, &no) {
		nd.vol, c.noDisk = nil, err
	} else if err != nil {
		return err
	}
	if c.secured != nil {
		if err := c.secured.equip(nd); err != nil {
			return err
		}
	}
	if err := os.WriteFile(nd.properties(), []byte(c.properties(nd)), 0o600); err != nil {
		return err
	}
	return c.format(ctx, nd, false)
}

// format makes a node's directory; anew says that the quorum is there already.
func (c *cluster) format(ctx context.Context, nd *node, anew bool) error {
	var args []string
	switch {
	case !c.dynamic:
	case nd.voter && !anew:
		var all []string
		for _, v := range c.initial() {
			all = append(all, v.quorumAddr()+":"+v.directory)
		}
		args = []string{"--initial-controllers", strings.Join(all, ",")}
	default:
		args = []string{"--no-initial-controllers"}
	}
	if c.secured != nil && !anew {
		args = append(args, c.secured.formatArgs()...)
	}
	return c.rival.format(ctx, nd.properties(), args...)
}

// initial are the voters that the quorum begins with.
func (c *cluster) initial() (all []*node) {
	for _, nd := range c.nodes {
		if nd.voter {
			all = append(all, nd)
		}
	}
	return all
}

// quorumAddr is ID@HOST:PORT of its listener for controllers.
func (nd *node) quorumAddr() string {
	return fmt.Sprintf("%d@%s", nd.id, net.JoinHostPort(nd.host.addr(), nd.controllerPort))
}

func (nd *node) properties() string { return filepath.Join(nd.dir, "server.properties") }
func (nd *node) logPath() string    { return filepath.Join(nd.dir, "server.log") }
func (nd *node) addr() string       { return net.JoinHostPort(nd.host.addr(), nd.port) }

func (nd *node) data() string {
	if nd.vol == nil {
		return filepath.Join(nd.dir, "data")
	}
	return filepath.Join(nd.vol.Mount, "data")
}

// properties is a file that either rival takes.
func (c *cluster) properties(nd *node) string {
	var voters []string
	for _, v := range c.initial() {
		voters = append(voters, v.quorumAddr())
	}
	known := "controller.quorum.voters=" + strings.Join(voters, ",")
	if c.dynamic {
		for i, v := range voters {
			_, voters[i], _ = strings.Cut(v, "@")
		}
		known = "controller.quorum.bootstrap.servers=" + strings.Join(voters, ",")
	}
	name := "PLAINTEXT"
	if c.secured != nil {
		name = securedName
	}
	roles, listeners := "broker", name+"://"+nd.addr()
	if nd.voter || c.dynamic {
		roles += ",controller"
		listeners += ",CONTROLLER://" + net.JoinHostPort(nd.host.addr(), nd.controllerPort)
	}
	lines := []string{
		"process.roles=" + roles,
		fmt.Sprintf("node.id=%d", nd.id),
		known,
		"listeners=" + listeners,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=" + name,
		"log.dirs=" + nd.data(),
		"offsets.topic.num.partitions=4",
		"transaction.state.log.num.partitions=4",
		"offsets.topic.replication.factor=3",
		"transaction.state.log.replication.factor=3",
		"transaction.state.log.min.isr=2",
		"default.replication.factor=3",
		"min.insync.replicas=2",
		"group.initial.rebalance.delay.ms=0",
	}
	lines = append(lines, c.rival.settings(nd)...)
	if c.secured != nil {
		lines = append(lines, c.secured.settings(nd)...)
	}
	return strings.Join(lines, "\n") + "\n"
}

// start runs a node's process inside its namespace.
func (c *cluster) start(nd *node) error {
	log, err := os.OpenFile(nd.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.rival.command(nd.properties())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.fabric.inside(nd.host, cmd.Start); err != nil {
		return fmt.Errorf("start node %d: %w", nd.id, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	nd.mu.Lock()
	nd.cmd, nd.exited, nd.paused = cmd, exited, false
	nd.mu.Unlock()
	return nil
}

// awaitPort waits until a node takes connections.
func (c *cluster) awaitPort(ctx context.Context, nd *node) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if conn, err := c.fabric.dial(ctx, "tcp", nd.addr()); err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d does not answer at %s within %v; its log ends: %s", nd.id, nd.addr(), startLimit, nd.logTail())
		case <-nd.exitedChan():
			return fmt.Errorf("node %d ended at its start; its log ends: %s", nd.id, nd.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (nd *node) logTail() string {
	b, _ := os.ReadFile(nd.logPath())
	return string(b[max(0, len(b)-1500):])
}

func (nd *node) exitedChan() <-chan struct{} {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return nd.exited
}

// running says whether the process is there.
func (nd *node) running() bool {
	select {
	case <-nd.exitedChan():
		return false
	default:
		return nd.cmd != nil
	}
}

func (nd *node) pid() int {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.cmd == nil {
		return 0
	}
	return nd.cmd.Process.Pid
}

// signal sends one to the process.
func (nd *node) signal(s syscall.Signal) error {
	if err := syscall.Kill(nd.pid(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to node %d: %w", s, nd.id, err)
	}
	return nil
}

// kill ends the process at once and waits until it is gone.
func (nd *node) kill() error {
	if nd.pid() == 0 {
		return nil
	}
	if err := nd.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-nd.exitedChan()
	return nil
}

// stop ends the process in order.
func (nd *node) stop(limit time.Duration) error {
	if !nd.running() {
		return nil
	}
	if err := nd.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-nd.exitedChan():
		return nil
	case <-time.After(limit):
		return errors.Join(fmt.Errorf("node %d did not stop within %v", nd.id, limit), nd.kill())
	}
}

// state is the process's state letter, as /proc has it; 0 where there is none.
func (nd *node) state() byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", nd.pid()))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	if !ok || rest == "" {
		return 0
	}
	return rest[0]
}

func (c *cluster) bootstrap() []string {
	var all []string
	for _, nd := range c.nodes {
		all = append(all, nd.addr())
	}
	return all
}

// newClient is a client on the clients' host, logged in as a user where clients have to.
func (c *cluster) newClient(who user, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(append(c.login(who),
		kgo.SeedBrokers(c.bootstrap()...), kgo.RetryBackoffFn(retryPause),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.RequestTimeoutOverhead(time.Second), kgo.RequestRetries(1<<20),
	), opts...)...)
}

// login is how a client connects, and as whom.
func (c *cluster) login(who user) []kgo.Opt {
	opts := []kgo.Opt{kgo.Dialer(c.dial)}
	if c.secured != nil {
		opts = append(opts, kgo.SASL(c.secured.mechanism(who)))
	}
	return opts
}

// dial connects from the clients' host, with TLS where the nodes speak it.
func (c *cluster) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := c.fabric.dial(ctx, network, addr)
	if err != nil || c.secured == nil {
		return nc, err
	}
	return c.secured.begin(ctx, nc, addr, nil)
}

// impatientClient is a producer that gives up within a second, on a record as on a connection.
func (c *cluster) impatientClient(who user, opts ...kgo.Opt) (*kgo.Client, error) {
	dial := func(ctx context.Context, network, host string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		return c.dial(ctx, network, host)
	}
	return c.newClient(who, append([]kgo.Opt{
		kgo.Dialer(dial), kgo.RequestTimeoutOverhead(300 * time.Millisecond), kgo.ProduceRequestTimeout(500 * time.Millisecond),
		kgo.RecordRetries(0), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
}

func retryPause(int) time.Duration { return 50 * time.Millisecond }

func (c *cluster) node(id int32) *node {
	if id < 1 || int(id) > len(c.nodes) {
		return nil
	}
	return c.nodes[id-1]
}

// leader is the node that leads a partition.
func (c *cluster) leader(ctx context.Context, topic string, partition int32) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		md, err := c.adm.Metadata(ctx, topic)
		if err == nil {
			if nd := c.node(md.Topics[topic].Partitions[partition].Leader); nd != nil {
				return nd, nil
			}
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return nil, fmt.Errorf("leader of %s-%d: %w", topic, partition, err)
		}
	}
}

// controller is the node that leads the metadata quorum.
func (c *cluster) controller(ctx context.Context) (*node, error) {
	q, err := c.quorum(ctx)
	return c.node(q.leader), err
}

// awaitWhole waits until every partition has all its replicas in sync again.
func (c *cluster) awaitWhole(ctx context.Context, limit time.Duration, topics ...string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	missing := "no answer"
	for {
		if md, err := c.adm.Metadata(ctx, topics...); err == nil {
			if missing = notWhole(md, topics); missing == "" {
				return nil
			}
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("not every replica is in sync after %v: %s", limit, missing)
		}
	}
}

func notWhole(md kadm.Metadata, topics []string) string {
	for _, name := range topics {
		t, ok := md.Topics[name]
		if !ok || t.Err != nil {
			return fmt.Sprintf("topic %s: %v", name, t.Err)
		}
		for _, p := range t.Partitions.Sorted() {
			if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
				return fmt.Sprintf("%s-%d: leader %d, replicas %v, in sync %v", name, p.Partition, p.Leader, p.Replicas, p.ISR)
			}
		}
	}
	return ""
}

// wait is a pause that ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// close ends every process and unmounts every volume.
func (c *cluster) close() error {
	var errs []error
	if c.client != nil {
		c.client.Close()
	}
	for _, nd := range c.nodes {
		_ = nd.signal(syscall.SIGCONT)
		errs = append(errs, nd.kill())
		if nd.vol != nil {
			errs = append(errs, nd.vol.Down())
		}
	}
	return errors.Join(errs...)
}
