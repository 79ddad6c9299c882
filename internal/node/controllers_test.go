package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// registered says whether an image has all controllers as they run now.
func (c *trio) registered(im *meta.Image) bool {
	return !slices.ContainsFunc(c.up(), func(n *running) bool {
		e := im.Controller(n.api.NodeID)
		return e == nil || e.Incarnation != n.incarnation || len(e.Features) != len(controller.Features())
	})
}

func (c *trio) awaitRegistered() {
	c.t.Helper()
	c.eventually("every controller known to every node", func() bool {
		return !slices.ContainsFunc(c.up(), func(n *running) bool { return !c.registered(n.image()) })
	})
}

// endpoints are the controllers that a controller's listener tells of.
func (c *trio) endpoints(id int) string {
	c.t.Helper()
	cl := peer.New(peer.Options{ClientID: "test", Address: func() (string, error) { return "127.0.0.1:" + c.ctl[id], nil }})
	defer cl.Close()
	req := kmsg.NewDescribeClusterRequest()
	req.EndpointType = 2
	resp, err := peer.Request[kmsg.DescribeClusterResponse](deadline(c.t), cl, &req)
	if err != nil || resp.ErrorCode != 0 {
		c.t.Fatalf("%+v, %v", resp, err)
	}
	var list []string
	for _, b := range resp.Brokers {
		list = append(list, fmt.Sprintf("%d@%s:%d", b.BrokerId, b.Host, b.Port))
	}
	return strings.Join(list, ",")
}

// TestControllersRegister has every controller enter itself, and again after a restart, whoever leads.
func TestControllersRegister(t *testing.T) {
	c := startTrio(t)
	c.awaitRegistered()
	want := "1@127.0.0.1:" + c.ctl[1] + ",2@127.0.0.1:" + c.ctl[2] + ",3@127.0.0.1:" + c.ctl[3]
	for id := 1; id <= 3; id++ {
		if got := c.endpoints(id); got != want {
			t.Errorf("node %d tells of %s, want %s", id, got, want)
		}
	}
	leader, _ := c.active()
	before := c.nodes[leader].incarnation
	c.stop(leader)
	other := leader%3 + 1
	if got := c.endpoints(other); got != want {
		t.Errorf("with one stopped it tells of %s, want %s", got, want)
	}
	c.startAll(leader)
	c.awaitRegistered()
	if now := c.nodes[other].image().Controller(int32(leader)).Incarnation; now == before {
		t.Error("the registration is that of the run before")
	}
}

// TestControllerAloneRegisters is a node that reports to no other.
func TestControllerAloneRegisters(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		n := start(t, dir, "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0")
		seen := make(chan struct{}, 1)
		n.ctl.Subscribe(func(_, _ *meta.Image, d meta.Delta) {
			if d.Controllers {
				select {
				case seen <- struct{}{}:
				default:
				}
			}
		})
		in := func() bool {
			e := n.image().Controller(n.api.NodeID)
			return e != nil && e.Incarnation == n.incarnation && e.Endpoints[0].Port > 0
		}
		for ctx := deadline(t); !in(); {
			select {
			case <-seen:
			case <-ctx.Done():
				t.Fatal(context.Cause(ctx))
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
