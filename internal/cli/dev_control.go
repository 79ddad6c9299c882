package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// devControl takes the orders of `logstead dev stop|start|kill|nodes` for a cluster of this machine.
type devControl struct {
	c    *devCluster
	l    net.Listener
	file string
	wg   sync.WaitGroup
}

// devAddress is what is found in the file of a running cluster.
type devAddress struct {
	Control string `json:"control"`
	Secret  string `json:"secret"`
}

// devNodeRow is one node as `dev nodes` lists it.
type devNodeRow struct {
	Node  int    `json:"node" col:"NODE"`
	State string `json:"state" col:"STATE"`
	PID   int    `json:"pid,omitempty" col:"PID"`
	Kafka string `json:"kafka" col:"KAFKA"`
	HTTP  string `json:"http" col:"METRICS"`
	Log   string `json:"log" col:"LOG,wide"`
}

// devOrder is one order, devAnswer what came of it.
type devOrder struct {
	Secret string `json:"secret"`
	Verb   string `json:"verb"`
	Node   int    `json:"node"`
}

type devAnswer struct {
	Error string       `json:"error,omitempty"`
	Nodes []devNodeRow `json:"nodes"`
}

// devFile is where the cluster on a port is found; only its owner can read it.
func devFile(port int) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("logstead-dev-%d", os.Getuid()), strconv.Itoa(port)+".json")
}

func (c *devCluster) openControl() (*devControl, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, asFault("cannot listen for dev stop and dev start", err)
	}
	_, port, _ := net.SplitHostPort(c.nodes[0].kafka)
	n, _ := strconv.Atoi(port)
	d := &devControl{c: c, l: l, file: devFile(n)}
	address := devAddress{l.Addr().String(), newDevSecret()}
	data, err := json.Marshal(address)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(d.file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(d.file, data, 0o600)
	}
	if err != nil {
		_ = l.Close()
		return nil, asFault("cannot write "+d.file, err)
	}
	d.wg.Go(func() { d.serve(address.Secret) })
	return d, nil
}

func (d *devControl) close() {
	_ = d.l.Close()
	_ = os.Remove(d.file)
	d.wg.Wait()
}

func (d *devControl) serve(secret string) {
	for {
		nc, err := d.l.Accept()
		if err != nil {
			return
		}
		d.wg.Go(func() {
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(devReady + devStop))
			var order devOrder
			if json.NewDecoder(bufio.NewReader(nc)).Decode(&order) != nil || order.Secret != secret {
				return
			}
			_ = json.NewEncoder(nc).Encode(d.carryOut(order))
		})
	}
}

func (d *devControl) carryOut(o devOrder) devAnswer {
	var n *devNode
	for _, x := range d.c.nodes {
		if x.id == o.Node {
			n = x
		}
	}
	answer := devAnswer{}
	var err error
	switch {
	case o.Verb == "nodes":
	case n == nil:
		answer.Error = fmt.Sprintf("there is no node %d: the nodes are 1 to %d", o.Node, len(d.c.nodes))
	case o.Verb == "start":
		if err = d.c.start(n); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), devReady)
			err = d.c.await(ctx, n, 1)
			cancel()
		}
	default:
		d.c.stop(n, o.Verb == "kill")
	}
	if err != nil {
		answer.Error = err.Error()
	}
	for _, x := range d.c.nodes {
		row := devNodeRow{Node: x.id, State: "stopped", PID: x.pid(), Kafka: x.kafka, HTTP: "http://" + x.http + "/metrics", Log: x.logTo}
		if row.PID != 0 {
			row.State = "running"
		}
		answer.Nodes = append(answer.Nodes, row)
	}
	return answer
}

// devOrderCmds are the commands that talk to a running cluster.
func devOrderCmds(a *App) []*cobra.Command {
	port := defaultPort
	order := func(verb, use, short, example, what string, args cobra.PositionalArgs) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Example: examples(what, example), Args: args, Hidden: true,
			RunE: func(_ *cobra.Command, args []string) error { return a.devOrder(port, verb, args) },
		}
		c.Flags().IntVarP(&port, "port", "p", defaultPort, "port of the cluster's first node")
		return c
	}
	return []*cobra.Command{
		order("nodes", "nodes", "List the nodes of a cluster that dev --nodes runs", "logstead dev nodes", "", noArgs),
		order("stop", "stop NODE", "Stop one node of a cluster that dev --nodes runs", "logstead dev stop 2",
			"in order: it hands over first", cobra.ExactArgs(1)),
		order("kill", "kill NODE", "Kill one node of a cluster that dev --nodes runs", "logstead dev kill 2",
			"without a warning, as kill -9 does", cobra.ExactArgs(1)),
		order("start", "start NODE", "Start a node that was stopped or killed", "logstead dev start 2",
			"on the data it had", cobra.ExactArgs(1)),
	}
}

func (a *App) devOrder(port int, verb string, args []string) error {
	o := devOrder{Verb: verb}
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return usagef("node %q: want a number", args[0]).try("logstead dev nodes")
		}
		o.Node = n
	}
	data, err := os.ReadFile(devFile(port))
	if err != nil {
		return usagef("no cluster of logstead dev --nodes runs on port %d", port).try("logstead dev --nodes 3, or --port")
	}
	var at devAddress
	if err := json.Unmarshal(data, &at); err != nil {
		return asFault("cannot read "+devFile(port), err)
	}
	nc, err := net.DialTimeout("tcp", at.Control, 2*time.Second) //nolint:noctx // it has a time-out
	if err != nil {
		return usagef("the cluster on port %d is gone", port).try("logstead dev --nodes 3")
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(devReady + devStop))
	o.Secret = at.Secret
	if err := json.NewEncoder(nc).Encode(o); err != nil {
		return asFault("cannot reach the cluster on port "+strconv.Itoa(port), err)
	}
	var answer devAnswer
	if err := json.NewDecoder(nc).Decode(&answer); err != nil {
		return asFault("no answer from the cluster on port "+strconv.Itoa(port), err)
	}
	if answer.Error != "" {
		return &Fault{What: "cannot " + strings.Join(append([]string{verb}, args...), " "), Why: answer.Error, Exit: exitFailed}
	}
	return a.emit(answer.Nodes)
}
