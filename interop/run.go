package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	suite, client, name string
	err                 error
	took                time.Duration
}

// Run is what every suite works with.
type Run struct {
	target *target
	// repo is the repository, cache what setup.sh filled, root a directory for this run alone, and work, in it, one for suites: those
	// that are tried again have another, without what they left.
	repo, cache, root, work string
	// id makes the names of this run's topics and groups its own on a broker that others use too.
	id    string
	start time.Time
	// suite is the one that runs.
	suite string
	rows  []row
}

func newRun() (*Run, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the repository with go list: %w", err)
	}
	cache := os.Getenv("INTEROP_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find the user's cache directory: %w", err)
		}
		cache = filepath.Join(user, "logstead-interop")
	}
	root, err := os.MkdirTemp("", "logstead-interop-")
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("io%x", time.Now().Unix()&0xffffff)
	return &Run{repo: strings.TrimSpace(string(out)), cache: cache, root: root, work: root, id: id, start: time.Now()}, nil
}

func (r *Run) close(keep bool) {
	if keep {
		fmt.Println("kept", r.root)
		return
	}
	os.RemoveAll(r.root)
}

// setup installs what the chosen suites need.
func (r *Run) setup(ctx context.Context, chosen []suite) error {
	var parts []string
	for _, s := range chosen {
		parts = append(parts, s.parts...)
	}
	slices.Sort(parts)
	parts = slices.Compact(parts)
	if len(parts) == 0 {
		return nil
	}
	_, err := r.exec(ctx, 15*time.Minute, nil, append([]string{r.path("setup.sh")}, parts...)...)
	return err
}

// path names a file beside this one.
func (r *Run) path(elem ...string) string {
	return filepath.Join(append([]string{r.repo, "interop"}, elem...)...)
}

// check runs one check and prints its row.
func (r *Run) check(ctx context.Context, client, name string, limit time.Duration, f func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	err := f(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done within %v: %w", limit, err)
	}
	r.row(client, name, time.Since(start), err)
	return err == nil
}

func (r *Run) row(client, name string, took time.Duration, err error) {
	r.rows = append(r.rows, row{r.suite, client, name, err, took})
	result := "ok"
	if err != nil {
		result = "FAIL"
	}
	fmt.Printf("%-16s %-34s %-6s %8.1f\n", client, name, result, took.Seconds())
}

// want compares what was found with what was expected.
func want[T comparable](what string, got, expected T) error {
	if got != expected {
		return fmt.Errorf("%s: expected %v, got %v", what, expected, got)
	}
	return nil
}

// contains checks that a program's output has each of the texts.
func contains(out string, texts ...string) error {
	for _, t := range texts {
		if !strings.Contains(out, t) {
			return fmt.Errorf("expected %q in the output, got:\n%s", t, tail(out, 2000))
		}
	}
	return nil
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}
