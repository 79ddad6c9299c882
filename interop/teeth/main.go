// Command teeth breaks logstead on purpose, in many small ways, and shows that the suites notice each of them.
//
//	go run ./interop/teeth [-only NAME] [-jobs 2]
//
// It owns the list of broken builds (builds.go): a promise, a change of the source that breaks it, and the command
// that must fail, with the words it must fail with. A change is laid over the tree by `go -overlay`, so that the tree
// itself is never touched and everything that does not depend on the changed file comes from the build cache. It must
// not know how the suites work.
//
// Concurrency: as many commands at a time as -jobs says.
//
// Invariants:
//  1. every text to be replaced stands exactly once in its file: a tree that has moved on fails, it is not skipped
//  2. every command passes on the tree as it is
//  3. a broken build that does not compile, or that fails in other words than its own, is not caught
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// limit is how long a suite may take to notice.
const limit = 2 * time.Minute

func main() { os.Exit(run()) }

func run() int {
	only := flag.String("only", "", "only the broken builds whose name has this in it")
	jobs := flag.Int("jobs", 2, "how many commands run at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	var list []broken
	for _, b := range builds {
		if strings.Contains(b.name, *only) {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		fmt.Fprintf(os.Stderr, "teeth: no broken build has %q in its name: -only takes a part of a name from interop/teeth/builds.go\n", *only)
		return 2
	}
	t, err := newTeeth(ctx, *jobs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "teeth:", err)
		return 2
	}
	defer os.RemoveAll(t.dir)
	code := 0
	bad := t.sound(ctx, list)
	results := t.bite(ctx, list)
	caught := print(results)
	if len(bad) > 0 {
		fmt.Println(strings.Join(bad, "\n"))
		code = 1
	}
	fmt.Printf("%d of %d broken builds caught, %d commands pass on the tree as it is, in %.0f s\n",
		caught, len(list), t.passed, time.Since(began).Seconds())
	if caught < len(list) || len(list) == 0 {
		code = 1
	}
	return code
}

// teeth runs commands over the tree.
type teeth struct {
	root, dir string
	slots     chan struct{}
	passed    int
}

func newTeeth(ctx context.Context, jobs int) (*teeth, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the repository with go list: %w", err)
	}
	dir, err := os.MkdirTemp("", "logstead-teeth-")
	return &teeth{root: strings.TrimSpace(string(out)), dir: dir, slots: make(chan struct{}, max(jobs, 1))}, err
}

// sound runs every command once on the tree as it is and says which ones do not pass.
func (t *teeth) sound(ctx context.Context, list []broken) (bad []string) {
	seen := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, b := range list {
		if seen[b.command] {
			continue
		}
		seen[b.command] = true
		wg.Go(func() {
			out, _, err := t.command(ctx, b.command, "")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				bad = append(bad, fmt.Sprintf("NOT SOUND  %s on the tree as it is: %v\n%s", b.command, err, tail(out)))
				return
			}
			t.passed++
		})
	}
	wg.Wait()
	return bad
}

// result is what became of one broken build.
type result struct {
	broken
	took time.Duration
	err  error
}

func (t *teeth) bite(ctx context.Context, list []broken) []result {
	results := make([]result, len(list))
	var wg sync.WaitGroup
	for i, b := range list {
		wg.Go(func() {
			took, err := t.one(ctx, i, b)
			results[i] = result{b, took, err}
		})
	}
	wg.Wait()
	return results
}

// one runs the command of one broken build, which must fail in the right words.
func (t *teeth) one(ctx context.Context, i int, b broken) (time.Duration, error) {
	overlay, err := t.overlay(i, b)
	if err != nil {
		return 0, err
	}
	out, took, err := t.command(ctx, b.command, overlay)
	switch {
	case ctx.Err() != nil:
		return took, fmt.Errorf("teeth was told to end: %w", context.Cause(ctx))
	case err == nil:
		return took, fmt.Errorf("%s passes", b.command)
	case took > limit:
		return took, fmt.Errorf("%s took longer than %v", b.command, limit)
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return took, fmt.Errorf("the broken build does not compile\n%s", tail(out))
	case !regexp.MustCompile(b.words).MatchString(out):
		return took, fmt.Errorf("it fails, but not with %q\n%s", b.words, tail(out))
	}
	return took, nil
}

// overlay writes the changed files and the list that go lays over the tree.
func (t *teeth) overlay(i int, b broken) (string, error) {
	texts := map[string]string{}
	for _, e := range b.edits {
		name := filepath.Join(t.root, filepath.FromSlash(e.file))
		if _, ok := texts[name]; !ok {
			data, err := os.ReadFile(name)
			if err != nil {
				return "", err
			}
			texts[name] = string(data)
		}
		if n := strings.Count(texts[name], e.from); n != 1 {
			return "", fmt.Errorf("%s holds the text to be replaced %d times, want once: mend this build in interop/teeth/builds.go\n%s",
				e.file, n, e.from)
		}
		texts[name] = strings.Replace(texts[name], e.from, e.to, 1)
	}
	replace := map[string]string{}
	for name, text := range texts {
		to := filepath.Join(t.dir, fmt.Sprintf("%d-%d-%s", i, len(replace), filepath.Base(name)))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[name] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(t.dir, fmt.Sprintf("%d.json", i))
	return list, os.WriteFile(list, data, 0o644)
}

// command runs a go command with the overlay, when a slot is free; err says that it failed or took too long.
func (t *teeth) command(ctx context.Context, line, overlay string) (out string, took time.Duration, err error) {
	t.slots <- struct{}{}
	defer func() { <-t.slots }()
	ctx, cancel := context.WithTimeout(ctx, limit+time.Second)
	defer cancel()
	args := strings.Fields(line)[1:]
	args = append([]string{args[0], "-count=1", "-vet=off"}, args[1:]...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = t.root
	cmd.Env = os.Environ()
	if overlay != "" {
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	began := time.Now()
	data, err := cmd.CombinedOutput()
	return string(data), time.Since(began), err
}

// tail is the end of an output, indented.
func tail(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-15):], "\n    ")
}

// print writes the table and counts what was caught.
func print(results []result) (caught int) {
	fmt.Printf("%-44s | %-34s | %-16s | %4s | %-6s | %s\n", "promise", "broken build", "suite", "s", "caught", "command")
	for _, r := range results {
		word := "yes"
		if r.err != nil {
			word = "NO"
		} else {
			caught++
		}
		fmt.Printf("%-44s | %-34s | %-16s | %4.0f | %-6s | %s\n", r.promise, r.name, r.suite, r.took.Seconds(), word, r.command)
	}
	for _, r := range results {
		if r.err != nil {
			fmt.Printf("NOT CAUGHT  %s: %v\n", r.name, r.err)
		}
	}
	return caught
}
