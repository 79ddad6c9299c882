package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/logstead/logstead/interop/local"
)

// Only Apache Kafka, and only beside logstead, has a second go, on new nodes; what it failed first counts no more.
func TestSecondGo(t *testing.T) {
	defer func(before []string) { failures = before }(failures)
	for _, c := range []struct {
		name, kind string
		beside     bool
		first      error
		failed     int
		goes       int
		failures   []string
	}{
		{"nothing fails", "kafka", true, nil, 0, 1, []string{"before"}},
		{"a step of Kafka", "kafka", true, nil, 1, 2, []string{"before"}},
		{"a start of Kafka", "kafka", true, errors.New("no port"), 0, 2, []string{"before"}},
		{"Kafka alone", "kafka", false, nil, 1, 1, []string{"before", "step"}},
		{"logstead", "logstead", true, nil, 1, 1, []string{"before", "step"}},
	} {
		failures = []string{"before"}
		var dirs []string
		failed, err := secondGo(context.Background(), c.kind, "d", c.beside, func(dir string) (int, error) {
			dirs = append(dirs, dir)
			if len(dirs) > 1 {
				return 0, nil
			}
			for range c.failed {
				failures = append(failures, "step")
			}
			return c.failed, c.first
		})
		again := c.goes > 1
		if len(dirs) != c.goes || again && dirs[0] == dirs[1] || !slices.Equal(failures, c.failures) || again && (failed != 0 || err != nil) || !again && failed != c.failed {
			t.Errorf("%s: went in %v with %d failed and error %v, failures %v; want %d goes and failures %v", c.name, dirs, failed, err, failures, c.goes, c.failures)
		}
	}
}

// What depends on time has three goes, what is final has one.
func TestGoes(t *testing.T) {
	miss := errors.New("late")
	for _, c := range []struct {
		name string
		errs []error
		ok   bool
	}{
		{"held at once", []error{nil}, true},
		{"held the second time", []error{miss, nil}, true},
		{"held the third time", []error{miss, miss, nil}, true},
		{"missed each time", []error{miss, miss, miss}, false},
		{"wrong", []error{&final{errors.New("lost")}}, false},
		{"wrong the second time", []error{miss, &final{errors.New("lost")}}, false},
	} {
		n := 0
		err := (&cluster{Cluster: &local.Cluster{Kind: "logstead"}}).goes(func(again bool) error {
			if again != (n > 0) {
				t.Errorf("%s: go %d is told that again is %v", c.name, n+1, again)
			}
			n++
			return c.errs[n-1]
		})
		if (err == nil) != c.ok || n != len(c.errs) {
			t.Errorf("%s: %v after %d goes, want %d", c.name, err, n, len(c.errs))
		}
	}
}
