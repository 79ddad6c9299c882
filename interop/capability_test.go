package main

import (
	"os"
	"strings"
	"testing"
)

func TestMatrixStandsInTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), matrix()) {
		t.Errorf("docs/testing.md does not have the table of `go run ./interop -matrix`, which is now:\n%s", matrix())
	}
}

func TestWhatIsLackingIsACapability(t *testing.T) {
	known := map[string]bool{}
	for _, c := range capabilities {
		known[c.check] = true
	}
	for _, d := range drivers() {
		for check := range lacks(d.name) {
			if !known[check] {
				t.Errorf("%s is said to lack %s, which is no capability", d.name, check)
			}
		}
	}
}

func TestUntried(t *testing.T) {
	var all []string
	for _, c := range capabilities {
		all = append(all, c.check)
	}
	if got := untried("java-4.3", all); len(got) != 0 {
		t.Errorf("a client that shows everything: %v", got)
	}
	if got := untried("java-4.3", all[1:]); len(got) != 1 || got[all[0]] == nil {
		t.Errorf("a client that leaves out %s: %v", all[0], got)
	}
	if got := untried("sarama", all); got["regex-subscription"] == nil || got["codecs"] != nil {
		t.Errorf("a client that shows what it is said to lack: %v", got)
	}
}
