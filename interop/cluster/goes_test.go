package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/logstead/logstead/interop/local"
)

// Only Apache Kafka, and only beside logstead, has more goes, on new nodes; what it failed before the last counts no more.
func TestMoreGoes(t *testing.T) {
	defer func(before []string) { failures = before }(failures)
	port := errors.New("no port")
	for _, c := range []struct {
		name, kind string
		beside     bool
		errs       []error // of the goes: port is one of the start, another one of a step
		failures   []string
	}{
		{"nothing fails", "kafka", true, []error{nil}, []string{"before"}},
		{"a step of Kafka", "kafka", true, []error{errors.New("step 1"), nil}, []string{"before"}},
		{"a start of Kafka", "kafka", true, []error{port, nil}, []string{"before"}},
		{"Kafka, twice", "kafka", true, []error{port, errors.New("step 2"), nil}, []string{"before"}},
		{"Kafka, each time", "kafka", true, []error{errors.New("step 1"), errors.New("step 2"), errors.New("step 3")}, []string{"before", "step 3"}},
		{"Kafka alone", "kafka", false, []error{errors.New("step 1")}, []string{"before", "step 1"}},
		{"logstead", "logstead", true, []error{errors.New("step 1")}, []string{"before", "step 1"}},
	} {
		failures = []string{"before"}
		dirs := map[string]bool{}
		goes := 0
		failed, err := moreGoes(context.Background(), c.kind, "d", c.beside, func(dir string) (int, error) {
			dirs[dir] = true
			goes++
			switch err := c.errs[goes-1]; err {
			case nil, port:
				return 0, err
			default:
				failures = append(failures, err.Error())
				return 1, nil
			}
		})
		ok := c.errs[len(c.errs)-1] == nil
		if goes != len(c.errs) || len(dirs) != goes || !slices.Equal(failures, c.failures) || ok != (failed == 0 && err == nil) {
			t.Errorf("%s: %d goes in %v with %d failed and error %v, failures %v; want %d goes and failures %v", c.name, goes, dirs, failed, err, failures, len(c.errs), c.failures)
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
