package parity

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRecord asks the Kafka broker named by PARITY_RECORD and writes its answers down.
func TestRecord(t *testing.T) {
	addr := os.Getenv("PARITY_RECORD")
	if addr == "" {
		t.Skip("set PARITY_RECORD to the address of Apache Kafka to record its answers")
	}
	for _, s := range Scripts {
		t.Run(s.Name, func(t *testing.T) {
			got, err := Execute(s, addr)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join("testdata", s.Name+".txt"), []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCheck compares the broker at PARITY_CHECK with the records.
func TestCheck(t *testing.T) {
	addr := os.Getenv("PARITY_CHECK")
	if addr == "" {
		t.Skip("set PARITY_CHECK to the address of a broker to compare it with the records")
	}
	for _, s := range Scripts {
		t.Run(s.Name, func(t *testing.T) {
			got, err := Execute(s, addr)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join("testdata", s.Name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range Differences(string(want), got) {
				t.Error(d)
			}
		})
	}
}
