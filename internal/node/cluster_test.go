package node

import (
	"net"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// freePort is a port that nothing listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// TestNodeThatReportsToItself is the server.properties that Kafka ships: one node of a dynamic quorum,
// which registers over its own controller listener, sends heartbeats and hands over when it stops.
func TestNodeThatReportsToItself(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	set := []string{
		"listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:" + port,
		"controller.quorum.bootstrap.servers=127.0.0.1:" + port, "broker.heartbeat.interval.ms=20",
	}
	for run := range 2 {
		n := start(t, dir, set...)
		if n.uplink == nil || n.uplink.Fenced() || n.uplink.Epoch() < 0 {
			t.Fatal("the node serves without having been let in")
		}
		ctx := deadline(t)
		cl := client(t, n, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		readAll(t, ctx, cl, run+1)
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
