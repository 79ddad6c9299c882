package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"
)

// check is one line of /readyz?verbose.
type check struct {
	name string
	err  error
}

// checks says what a broker must have done before clients may come.
func (n *Node) checks() []check {
	all := []check{
		{"log_recovery", n.notYet(&n.recovered)},
		{"metadata", n.notYet(&n.registered)},
		{"listeners", n.notYet(&n.listening)},
		{"log_dirs", n.logDirs()},
	}
	return all
}

var errNotYet = errors.New("not yet")

// handler serves health and metrics.
func (n *Node) handler() http.Handler {
	mux := http.NewServeMux()
	live := func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }
	mux.HandleFunc("GET /livez", live)
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.HandleFunc("GET /healthz", n.serveReady)
	mux.HandleFunc("GET /startupz", n.serveReady)
	mux.HandleFunc("GET /v1/status/ready", n.serveReady)
	mux.HandleFunc("GET /metrics", n.serveMetrics)
	if n.live.Load().broker.HTTPProfiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "logstead %s\n\n/livez\n/readyz?verbose\n/metrics\n", n.o.Version)
	})
	return mux
}

// serveReady answers 200 once every check passes, and 503 before. ?verbose lists the checks,
// ?exclude=NAME leaves one out.
func (n *Node) serveReady(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	status := http.StatusOK
	exclude := r.URL.Query()["exclude"]
	for _, c := range n.checks() {
		mark, note := "+", "ok"
		switch {
		case contains(exclude, c.name):
			note = "excluded"
		case c.err != nil:
			mark, note, status = "-", c.err.Error(), http.StatusServiceUnavailable
		}
		fmt.Fprintf(&b, "[%s]%s %s\n", mark, c.name, note)
	}
	verbose := r.URL.Query().Has("verbose") || status != http.StatusOK
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if verbose {
		_, _ = w.Write([]byte(b.String()))
	}
	if status == http.StatusOK {
		_, _ = fmt.Fprintln(w, "ok")
	} else {
		_, _ = fmt.Fprintln(w, "not ready")
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// serveHTTP serves on every address until ctx ends.
func (n *Node) serveHTTP(ctx context.Context, listeners []net.Listener) error {
	srv := &http.Server{Handler: n.handler(), ReadHeaderTimeout: httpTimeout, IdleTimeout: time.Minute}
	stopped := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	})
	defer stopped()
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { errs <- srv.Serve(l) }()
	}
	var first error
	for range listeners {
		if err := <-errs; err != nil && !errors.Is(err, http.ErrServerClosed) && first == nil {
			first = fmt.Errorf("http: %w", err)
		}
	}
	return first
}

const httpTimeout = 10 * time.Second
