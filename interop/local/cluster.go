package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cluster is nodes of one kind with the ids 1 to N, each broker and controller. Addresses and directories stay the
// same over restarts; nodes are started and ended one by one.
type Cluster struct {
	// Kind is logstead or kafka.
	Kind string
	// Dir holds a folder for each node, and the binary.
	Dir string
	// Binary is the logstead that is run and whose command line is tried. Each may be set until a node is started.
	Binary string
	// Set are further settings of every node, of the form key=value; {id} is the node's id.
	Set []string
	// LogDirs is how many log directories each node has; 0 is one. It is set before Format.
	LogDirs int
	// MetadataVersion is what the directories are formatted with, as the command line names it; empty is the newest.
	MetadataVersion string
	// FormatArgs are further arguments of the command that formats, which both kinds take.
	FormatArgs []string

	script string
	nodes  []clusterNode
}

type clusterNode struct {
	dir, addr, controller string
	cmd                   *exec.Cmd
	exited                chan struct{}
}

// NewCluster builds what the kind needs and picks addresses; nothing runs yet.
func NewCluster(ctx context.Context, kind, dir string, nodes int) (*Cluster, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Kind: kind, Dir: dir, Binary: os.Getenv("LOGSTEAD_BIN"), script: filepath.Join(root, "interop", "kafka.sh")}
	if kind != "logstead" && kind != "kafka" {
		return nil, fmt.Errorf("%q is neither logstead nor kafka", kind)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if c.Binary == "" {
		c.Binary = filepath.Join(dir, "logstead")
		if err := Build(ctx, c.Binary); err != nil {
			return nil, err
		}
	}
	taken := map[string]bool{}
	for id := 1; id <= nodes; id++ {
		addr, controller, err := lowAddrs(taken)
		if err != nil {
			return nil, err
		}
		taken[addr], taken[controller] = true, true
		c.nodes = append(c.nodes, clusterNode{dir: filepath.Join(dir, fmt.Sprintf("node-%d", id)), addr: addr, controller: controller})
	}
	return c, nil
}

// lowPort is a port below those of outgoing connections. One of these could take another one while a node is down, even a client that
// tries to reach the node.
func lowPort() int { return 12_000 + rand.IntN(18_000) }

// lowAddrs are two addresses that nothing listens on and that are not taken.
func lowAddrs(taken map[string]bool) (a, b string, err error) {
	for range 200 {
		port := lowPort()
		var free int
		for i := range 2 {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i)))
			if err != nil {
				break
			}
			free++
			l.Close()
		}
		a, b = fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+1)
		if free == 2 && !taken[a] && !taken[b] {
			return a, b, nil
		}
	}
	return "", "", errors.New("no two free ports side by side")
}

func (c *Cluster) node(id int) *clusterNode { return &c.nodes[id-1] }

// Nodes is how many there are.
func (c *Cluster) Nodes() int { return len(c.nodes) }

// Addr is where a node serves clients, Controller where it serves controllers.
func (c *Cluster) Addr(id int) string       { return c.node(id).addr }
func (c *Cluster) Controller(id int) string { return c.node(id).controller }

// Bootstrap names every node, as clients take it.
func (c *Cluster) Bootstrap() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.addr)
	}
	return strings.Join(all, ",")
}

// LogPath is the file with what a node printed in all its runs.
func (c *Cluster) LogPath(id int) string { return filepath.Join(c.node(id).dir, "server.log") }

// LogTail is the end of what a node printed.
func (c *Cluster) LogTail(id, bytes int) string {
	text, err := os.ReadFile(c.LogPath(id))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-bytes):])
}

// Exited says whether a node that was started and not ended is gone.
func (c *Cluster) Exited(id int) bool {
	if !c.Running(id) {
		return false
	}
	select {
	case <-c.node(id).exited:
		return true
	default:
		return false
	}
}

// Running says whether a node was started and not ended.
func (c *Cluster) Running(id int) bool { return c.node(id).cmd != nil }

// LogDirsOf are the log directories of a node.
func (c *Cluster) LogDirsOf(id int) []string {
	dirs := []string{filepath.Join(c.node(id).dir, "data")}
	for i := 2; i <= c.LogDirs; i++ {
		dirs = append(dirs, fmt.Sprintf("%s-%d", dirs[0], i))
	}
	return dirs
}

const clusterID = "bG9nc3RlYWQtaW50ZXJvcA"

// Format writes the settings of every node, the same for both kinds, and formats the directories.
func (c *Cluster) Format(ctx context.Context) error {
	var voters []string
	for i, n := range c.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, n.controller))
	}
	for i, n := range c.nodes {
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return err
		}
		set := strings.ReplaceAll(strings.Join(c.Set, "\n"), "{id}", strconv.Itoa(i+1))
		text := strings.Join([]string{
			"process.roles=broker,controller",
			"node.id=" + strconv.Itoa(i+1),
			"controller.quorum.voters=" + strings.Join(voters, ","),
			"listeners=PLAINTEXT://" + n.addr + ",CONTROLLER://" + n.controller,
			"controller.listener.names=CONTROLLER",
			"log.dirs=" + strings.Join(c.LogDirsOf(i+1), ","),
			"broker.session.timeout.ms=6000",
			"replica.lag.time.max.ms=5000",
			set,
		}, "\n") + "\n"
		if c.Kind != "kafka" {
			text += "logstead.http.listeners=\n"
		}
		if err := os.WriteFile(c.properties(i+1), []byte(text), 0o644); err != nil {
			return err
		}
		if err := c.FormatNode(ctx, i+1); err != nil {
			return err
		}
	}
	return nil
}

// FormatNode formats the directories of one node, with further arguments that both kinds take.
func (c *Cluster) FormatNode(ctx context.Context, id int, args ...string) error {
	argv := []string{c.Binary, "storage", "format", "--cluster-id", clusterID, "--config", c.properties(id)}
	if c.Kind == "kafka" {
		argv = []string{c.script, "tool", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", c.properties(id)}
	}
	if c.MetadataVersion != "" {
		argv = append(argv, "--release-version", c.MetadataVersion)
	}
	argv = append(append(argv, c.FormatArgs...), args...)
	if err := Command(ctx, argv[0], argv[1:]...); err != nil {
		return fmt.Errorf("format node %d: %w", id, err)
	}
	return nil
}

// FormatDynamic formats logstead's nodes as a quorum of node 1, to which the others can be added.
func (c *Cluster) FormatDynamic(ctx context.Context, args ...string) error {
	var servers []string
	for _, n := range c.nodes {
		servers = append(servers, n.controller)
	}
	for i, n := range c.nodes {
		id, kind := i+1, "--no-initial-controllers"
		if id == 1 {
			kind = "--standalone"
		}
		text := strings.Join([]string{
			"process.roles=broker,controller",
			"node.id=" + strconv.Itoa(id),
			"controller.quorum.bootstrap.servers=" + strings.Join(servers, ","),
			"listeners=PLAINTEXT://" + n.addr + ",CONTROLLER://" + n.controller,
			"controller.listener.names=CONTROLLER",
			"log.dirs=" + filepath.Join(n.dir, "data"),
			"logstead.http.listeners=",
			strings.Join(c.Set, "\n"),
		}, "\n") + "\n"
		if err := errors.Join(os.MkdirAll(n.dir, 0o755), os.WriteFile(c.Properties(id), []byte(text), 0o644)); err != nil {
			return err
		}
		argv := append([]string{"storage", "format", "--cluster-id", clusterID, "--config", c.Properties(id), kind}, args...)
		if err := Command(ctx, c.Binary, argv...); err != nil {
			return fmt.Errorf("format node %d: %w", id, err)
		}
	}
	return nil
}

// Properties is the file with a node's settings.
func (c *Cluster) Properties(id int) string { return c.properties(id) }

func (c *Cluster) properties(id int) string {
	return filepath.Join(c.node(id).dir, "server.properties")
}

// Start runs a node and does not wait for it.
func (c *Cluster) Start(id int) error {
	n := c.node(id)
	argv := []string{c.Binary, "server", "--config", c.properties(id)}
	if c.Kind == "kafka" {
		argv = []string{c.script, "exec", c.properties(id)}
	}
	log, err := os.OpenFile(c.LogPath(id), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it is stopped by signal
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.cmd, n.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(n.exited)
	return nil
}

// StartAll runs every node and waits until each port answers.
func (c *Cluster) StartAll(ctx context.Context) error {
	for id := range c.nodes {
		if err := c.Start(id + 1); err != nil {
			return err
		}
	}
	for id := range c.nodes {
		if err := c.Await(ctx, id+1); err != nil {
			return err
		}
	}
	return nil
}

// Await returns when a node's port answers, or with the end of its log when it ended instead.
func (c *Cluster) Await(ctx context.Context, id int) error {
	n := c.node(id)
	var d net.Dialer
	for {
		if conn, err := d.DialContext(ctx, "tcp", n.addr); err == nil {
			return conn.Close()
		}
		select {
		case <-n.exited:
			return fmt.Errorf("node %d ended at its start: %s", id, c.LogTail(id, 6000))
		case <-ctx.Done():
			return fmt.Errorf("node %d does not answer at %s: %w", id, n.addr, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// endLimit is how long a node may take to stop, on a machine that does other things.
const endLimit = 2 * time.Minute

// End signals a node and waits until it is gone; one that does not go in time is killed, which is an error.
func (c *Cluster) End(id int, sig os.Signal) error {
	n := c.node(id)
	if n.cmd == nil {
		return nil
	}
	cmd := n.cmd
	n.cmd = nil
	_ = cmd.Process.Signal(sig)
	select {
	case <-n.exited:
		return nil
	case <-time.After(endLimit):
		_ = cmd.Process.Kill()
		<-n.exited
		return fmt.Errorf("node %d did not end within %v of %v", id, endLimit, sig)
	}
}

// Signal sends a signal to a node that goes on.
func (c *Cluster) Signal(id int, sig syscall.Signal) error {
	if !c.Running(id) {
		return fmt.Errorf("node %d does not run", id)
	}
	return c.node(id).cmd.Process.Signal(sig)
}

// Close kills what runs.
func (c *Cluster) Close() {
	for id := range c.nodes {
		_ = c.End(id+1, os.Kill)
	}
}
