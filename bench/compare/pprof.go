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
	go func() { taken <- fetchProfile(ctx, r.http, r.pprof) }()
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

// printTop shows where the time of a profile went, by function and by what it called.
func printTop(ctx context.Context, file string) error {
	if file == "" {
		return nil
	}
	for _, order := range []string{"-flat", "-cum"} {
		cmd := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", order, fmt.Sprintf("-nodecount=%d", topNodes), file)
		fmt.Printf("\n%s %s\n", file, order)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go tool pprof %s: %w", file, err)
		}
	}
	return nil
}
