package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
)

// TestMissingReplicasAreToldOf: of replicas that do not come into sync a line is written when their number changes, now and then
// while it does not, and when there are none any more.
func TestMissingReplicasAreToldOf(t *testing.T) {
	var out bytes.Buffer
	m := missingReplicas{log: slog.New(slog.NewTextHandler(&out, nil))}
	round := func(n int, want string) {
		t.Helper()
		for i := range n {
			m.note(&partition.Partition{TP: base.TopicPartition{Topic: "orders", Partition: int32(i)}},
				[]partition.Missing{{ID: 2, Why: "it has not fetched for 40s"}})
		}
		m.tell()
		got := out.String()
		out.Reset()
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("after a round with %d: %q, want %q", n, got, want)
		}
	}
	round(0, "")
	round(1, `replicas=1 first="orders-0 on broker 2: it has not fetched for 40s"`)
	round(1, "")
	round(9, "replicas=9")
	for range missingRounds - 1 {
		round(9, "")
	}
	round(9, "replicas=9")
	round(0, "missing any more")
	round(0, "")
}
