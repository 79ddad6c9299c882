package parity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRecord asks the Kafka broker named by PARITY_RECORD and writes its answers down.
func TestRecord(t *testing.T) {
	addr := os.Getenv("PARITY_RECORD")
	if addr == "" {
		t.Skip("set PARITY_RECORD to the address of Apache Kafka to record its answers")
	}
	for _, s := range Scripts {
		t.Run(s.Name, func(t *testing.T) {
			got, err := Execute(s, addr, 200*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join("testdata", s.Name+".txt"), []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestParity compares this broker, or the one at PARITY_CHECK, with the records.
func TestParity(t *testing.T) {
	addr := os.Getenv("PARITY_CHECK")
	if addr == "" {
		addr = start(t)
	}
	format(t, addr)
	for _, s := range Scripts {
		t.Run(s.Name, func(t *testing.T) {
			got, err := Execute(s, addr, 0)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join("testdata", s.Name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range Differences(string(want), got) {
				if !isKnown(s.Name, d) {
					t.Error(d)
				}
			}
		})
	}
}

// known are the answers that differ from Kafka's on purpose, by script and step, with the reason.
var known = map[string]string{
	"create_topics/collides within the request":   "Kafka looks for collisions with existing topics only, and so makes both",
	"create_topics/config twice":                  "Kafka takes the last value in silence",
	"incremental_alter_configs/unknown operation": "Kafka answers UNKNOWN_SERVER_ERROR",
	"security/no password":                        "Kafka answers UNKNOWN_SERVER_ERROR",
	"quotas/type twice":                           "Kafka drops all but the last of the parts in silence",
	"quotas/remove third user":                    "what the step before made in Kafka",
}

func isKnown(script, difference string) bool {
	step, _, _ := strings.Cut(difference, ": ")
	return known[script+"/"+step] != ""
}
