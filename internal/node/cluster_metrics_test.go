package node

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/kit/obs"
)

// metric is the value of a family without labels on a node.
func (c *trio) metric(id int, name string) float64 {
	c.t.Helper()
	var out bytes.Buffer
	e := obs.NewExposition(&out)
	c.nodes[id].writeMetrics(e)
	if err := e.Flush(); err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return v
		}
	}
	c.t.Fatalf("node %d has no metric %s", id, name)
	return 0
}

// TestClusterMetrics reads on each of three nodes what Kafka counts for leaders, followers and the active controller apart.
func TestClusterMetrics(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	c.inSync("orders", 3)
	ctx := deadline(t)
	cl := c.client(kgo.DefaultProduceTopic("orders"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for range 3 {
		if err := cl.ProduceSync(ctx, kgo.StringRecord(strings.Repeat("x", 1000))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	values(t, ctx, cl, 3)
	const in, out = "kafka_server_brokertopicmetrics_replicationbytesin_total", "kafka_server_brokertopicmetrics_replicationbytesout_total"
	leader := c.leader("orders", 0)
	c.eventually("the followers have what was produced", func() bool {
		n := 0.0
		for id := 1; id <= 3; id++ {
			n += c.metric(id, in)
		}
		return n == 2*c.metric(leader, "kafka_server_brokertopicmetrics_bytesin_total")
	})
	c.steady("metrics", func(active int) (wrong []string) {
		for id := 1; id <= 3; id++ {
			for name, want := range map[string]float64{
				"kafka_server_replicamanager_leadercount":                 float64(bit(id == leader)),
				"kafka_server_replicamanager_partitioncount":              1,
				"kafka_controller_kafkacontroller_globalpartitioncount":   1,
				"kafka_controller_kafkacontroller_activecontrollercount":  float64(bit(id == active)),
				"kafka_server_raftmetrics_current_leader":                 float64(active),
				"kafka_controller_kafkacontroller_offlinepartitionscount": 0,
				"kafka_controller_kafkacontroller_activebrokercount":      3,
				"kafka_controller_kafkacontroller_fencedbrokercount":      0,
				"kafka_server_replicamanager_atminisrpartitioncount":      0,
				"kafka_server_replicamanager_reassigningpartitions":       0,
				"kafka_server_replicamanager_underreplicatedpartitions":   0,
				"kafka_server_brokertopicmetrics_bytesout_total":          c.metric(leader, "kafka_server_brokertopicmetrics_bytesin_total") * float64(bit(id == leader)),
				out: 2 * c.metric(leader, "kafka_server_brokertopicmetrics_bytesin_total") * float64(bit(id == leader)),
			} {
				if got := c.metric(id, name); got != want {
					wrong = append(wrong, fmt.Sprintf("node %d, which leads if it is %d, with controller %d: %s is %v, want %v", id, leader, active, name, got, want))
				}
			}
		}
		return wrong
	})
	c.crash(leader)
	next := 0
	c.eventually("another node leads alone", func() bool {
		next = c.leader("orders", 0)
		return next != leader && next > 0 && c.metric(next, "kafka_server_replicamanager_underreplicatedpartitions") == 1
	})
	c.eventually("two of three brokers serve, and the set is as small as it may be", func() bool {
		return c.metric(next, "kafka_controller_kafkacontroller_activebrokercount") == 2 &&
			c.metric(next, "kafka_controller_kafkacontroller_fencedbrokercount") == 1 &&
			c.metric(next, "kafka_server_replicamanager_atminisrpartitioncount") == 1 &&
			c.metric(next, "kafka_server_replicamanager_isrshrinks_total") == 1
	})
	for id := 1; id <= 3; id++ {
		if id != leader && id != next {
			if got := c.metric(id, "kafka_server_replicamanager_underreplicatedpartitions"); got != 0 {
				t.Errorf("node %d follows and says that %v of its partitions are under-replicated, want 0", id, got)
			}
		}
	}
}
