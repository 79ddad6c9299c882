package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/logstead/logstead/bench/raw"
)

const (
	// pprofSeconds is how long a profile lasts; a load is repeated until it is over.
	pprofSeconds = 5
	// topNodes is how many lines of a profile are printed.
	topNodes = 30
)

// sampled runs fn; where a Go profile of the rival is wanted it runs it again and again until the
// profile has been taken, and adds up what the loads did.
func (r *rival) sampled(ctx context.Context, fn func() (raw.Result, error)) (sum raw.Result, err error) {
	if r.pprof == "" {
		return fn()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	taken := make(chan error, 1)
	go func() { taken <- r.fetchProfiles(ctx) }()
	for {
		res, err := fn()
		if err != nil {
			cancel()
			return sum, errors.Join(err, <-taken)
		}
		sum.Requests += res.Requests
		sum.Records += res.Records
		sum.Bytes += res.Bytes
		sum.Elapsed += res.Elapsed
		select {
		case err := <-taken:
			return sum, err
		default:
		}
	}
}

// fetchProfiles takes a profile of each node at the same time.
func (r *rival) fetchProfiles(ctx context.Context) error {
	files := r.pprofFiles()
	errs := make([]error, len(files))
	var wg sync.WaitGroup
	for i, n := range r.each() {
		wg.Go(func() { errs[i] = fetchProfile(ctx, n.http, files[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// pprofFiles are the files of the profiles, one a node; none where none is wanted.
func (r *rival) pprofFiles() (files []string) {
	if r.pprof == "" {
		return nil
	}
	for i := range r.each() {
		file := r.pprof
		if r.nodes != nil {
			file = fmt.Sprintf("%s.node-%d", file, i+1)
		}
		files = append(files, file)
	}
	return files
}

// fetchProfile has the broker profile itself, through its switch logstead.http.pprof.
func fetchProfile(ctx context.Context, addr, file string) (err error) {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", addr, pprofSeconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	if err = os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

// printTop shows where the time went, of all nodes together, by function and by what it called.
func printTop(ctx context.Context, files []string) error {
	if len(files) == 0 {
		return nil
	}
	for _, order := range []string{"-flat", "-cum"} {
		args := append([]string{"tool", "pprof", "-top", order, fmt.Sprintf("-nodecount=%d", topNodes)}, files...)
		cmd := exec.CommandContext(ctx, "go", args...)
		fmt.Printf("\n%s %s\n", strings.Join(files, " "), order)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go tool pprof %s: %w", strings.Join(files, " "), err)
		}
	}
	return nil
}
