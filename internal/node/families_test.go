package node

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

const metricsDoc = "../../docs/metrics.md"

// TestMetricsDoc keeps docs/metrics.md equal to the table of families.
func TestMetricsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Metrics
Everything at ` + "`/metrics`" + ` on the HTTP port (` + "`logstead.http.listeners`" + `), in the Prometheus text format. The names that
begin with ` + "`kafka_`" + ` are those of the JMX exporter's sample configuration and of kafka_exporter, so that dashboards made
for them work. Made from the table in ` + "`internal/node/families.go`" + ` by ` + "`go test ./internal/node -run MetricsDoc -update`" + `.

Besides these, the Go runtime's (` + "`go_*`" + `), the process's (` + "`process_*`" + `) and the coordinators' (` + "`logstead_coord_*`" + `) are there.

| name | type | labels | what it is |
|---|---|---|---|
`)
	seen := map[string]bool{}
	for _, f := range families {
		if seen[f.name] {
			t.Errorf("family %s is there twice", f.name)
		}
		seen[f.name] = true
		if f.help == "" || f.write == nil {
			t.Errorf("family %s has no help or no writer", f.name)
		}
		if f.typ == "counter" != strings.HasSuffix(f.name, "_total") {
			t.Errorf("family %s is a %s: counters and only they end in _total", f.name, f.typ)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.typ, f.labels, f.help)
	}
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(metricsDoc)
	if err != nil || string(have) != b.String() {
		t.Errorf("docs/metrics.md is not fresh (%v): run go test ./internal/node -run MetricsDoc -update", err)
	}
}
