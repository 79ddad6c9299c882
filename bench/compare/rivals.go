package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rival is one running broker, or a cluster of them that answers as one.
type rival struct {
	name     string
	addr     string
	http     string // of logstead: where its metrics are
	pid      int
	jvm      bool
	attached bool   // somebody else's process: it is left alone
	floor    bool   // the bare loop, which can run only some of the cases
	tlsAddr  string // where it speaks TLS; empty: nowhere
	tls      *tls.Config
	profile  string // file for the profile of the case that runs, by perf; empty: none
	pprof    string // the same, by Go's own profiler

	// nodes are the brokers of a cluster, by id - 1; addr is that of the first. A lone broker has none.
	nodes []*rival
	// dir is what the nodes of a cluster have their directories in.
	dir string

	// start runs another one like it on an empty directory, for the figures of a start.
	start func(ctx context.Context, dir string) (*rival, error)
	// stop ends the process in order, kill at once; again starts it on what it left.
	stop, kill func() error
	again      func(ctx context.Context) error
	end        func() error
}

// field is all the rivals of a run.
type field struct {
	rivals  []*rival
	version string
}

func (f *field) stop() {
	for _, r := range f.rivals {
		if err := r.end(); err != nil {
			fmt.Fprintf(os.Stderr, "compare: stopping %s: %v\n", r.name, err)
		}
	}
}

func startAll(ctx context.Context, o options, dir string) (*field, error) {
	f := &field{}
	bin := filepath.Join(dir, "logstead")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", dir, "./cmd/logstead", "./bench/floor").CombinedOutput(); err != nil {
		return f, fmt.Errorf("go build: %w\n%s", err, out)
	}
	keys, err := makeKeys(dir)
	if err != nil {
		return f, err
	}
	starts := map[string]func(context.Context, string) (*rival, error){
		"fsync": func(ctx context.Context, d string) (*rival, error) {
			return startLogstead(ctx, bin, "fsync", d, keys, o.set)
		},
		"replicated": func(ctx context.Context, d string) (*rival, error) {
			return startLogstead(ctx, bin, "replicated", d, keys, o.set)
		},
		"kafka": func(ctx context.Context, d string) (*rival, error) { return startKafka(ctx, o.kafka, d, keys) },
		"floor": func(ctx context.Context, d string) (*rival, error) {
			return startFloor(ctx, filepath.Join(dir, "floor"), d)
		},
	}
	if o.before != "" {
		for _, durability := range []string{"fsync", "replicated"} {
			starts[durability+"-before"] = func(ctx context.Context, d string) (*rival, error) {
				return startLogstead(ctx, o.before, durability, d, keys, nil)
			}
		}
	}
	if o.nodes > 1 {
		starts = clusterStarts(o, bin)
	}
	for _, name := range o.rivals {
		start := starts[name]
		if start == nil {
			return f, fmt.Errorf("rival %q: want fsync, replicated, floor, kafka, or with -before fsync-before, replicated-before", name)
		}
		r, err := (*rival)(nil), error(nil)
		if name == "kafka" && o.attach != "" {
			r, err = attach(o.attach)
		} else {
			r, err = start(ctx, filepath.Join(dir, name))
		}
		if err != nil {
			return f, fmt.Errorf("start %s: %w", name, err)
		}
		r.name, r.start = name, start
		f.rivals = append(f.rivals, r)
	}
	return f, nil
}

func attach(spec string) (*rival, error) {
	addr, pid, ok := strings.Cut(spec, ",")
	n, err := strconv.Atoi(pid)
	if !ok || err != nil {
		return nil, fmt.Errorf("-attach %q: want HOST:PORT,PID", spec)
	}
	return &rival{addr: addr, pid: n, jvm: true, attached: true, end: func() error { return nil }}, nil
}

// freePort is a port that is free now, with the one after it.
func freePort() (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		next, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+1))
		if err == nil {
			_ = next.Close()
			return port, nil
		}
	}
	return 0, errors.New("no two free ports in a row on 127.0.0.1")
}

func startLogstead(ctx context.Context, bin, durability, dir string, keys *keys, set []string) (*rival, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	tlsPort, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &rival{addr: fmt.Sprintf("127.0.0.1:%d", port), http: fmt.Sprintf("127.0.0.1:%d", port+1),
		tlsAddr: fmt.Sprintf("127.0.0.1:%d", tlsPort), tls: keys.client}
	args := []string{
		"server", "--auto-format",
		"--set", "log.dirs=" + filepath.Join(dir, "data"),
		"--set", "listeners=PLAINTEXT://" + r.addr + ",SSL://" + r.tlsAddr, "--set", "logstead.http.listeners=" + r.http,
		"--set", "logstead.durability=" + durability, "--set", "group.initial.rebalance.delay.ms=0",
		"--set", "offsets.topic.replication.factor=1", "--set", "transaction.state.log.replication.factor=1",
		"--set", "transaction.state.log.min.isr=1", "--set", "log.segment.delete.delay.ms=100",
	}
	for _, kv := range append(keys.settings(), set...) {
		args = append(args, "--set", kv)
	}
	r.again = func(ctx context.Context) error { return r.runProcess(ctx, append([]string{bin}, args...)) }
	r.end = func() error { return errors.Join(r.stop(), os.RemoveAll(dir)) }
	if err := r.again(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// startFloor starts the bare loop.
func startFloor(ctx context.Context, bin, dir string) (*rival, error) {
	dir += ".d" // the program has the name of the rival
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &rival{addr: fmt.Sprintf("127.0.0.1:%d", port), floor: true}
	r.again = func(ctx context.Context) error {
		return r.runProcess(ctx, []string{bin, "-listen", r.addr, "-dir", dir})
	}
	r.end = func() error { return errors.Join(r.stop(), os.RemoveAll(dir)) }
	if err := r.again(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// runProcess starts the process and waits until it takes connections.
func (r *rival) runProcess(ctx context.Context, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	r.pid = cmd.Process.Pid
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is known to who ended it
		close(gone)
	}()
	signal := func(s syscall.Signal) func() error {
		return func() error {
			_ = cmd.Process.Signal(s)
			<-gone
			return nil
		}
	}
	r.stop, r.kill = signal(syscall.SIGTERM), signal(syscall.SIGKILL)
	for {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-gone:
			return fmt.Errorf("it ended at its start: %s", log.String())
		case <-ctx.Done():
			return errors.Join(r.stop(), ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func startKafka(ctx context.Context, script, dir string, keys *keys) (*rival, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	tlsPort, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &rival{addr: fmt.Sprintf("127.0.0.1:%d", port), jvm: true, tlsAddr: fmt.Sprintf("127.0.0.1:%d", tlsPort), tls: keys.client}
	extra := filepath.Join(dir, "extra.properties")
	lines := append(keys.settings(), "log.segment.delete.delay.ms=100", "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT",
		fmt.Sprintf("listeners=PLAINTEXT://%s,SSL://%s,CONTROLLER://127.0.0.1:%d", r.addr, r.tlsAddr, port+1))
	if err := os.WriteFile(extra, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, args ...string) error {
		cmd := exec.CommandContext(ctx, script, args...)
		cmd.Env = append(os.Environ(), "KAFKA_EXTRA="+extra)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w\n%s", script, args[0], err, out)
		}
		return nil
	}
	run := func(ctx context.Context, verb string) error {
		if err := call(ctx, verb, dir, strconv.Itoa(port)); err != nil {
			return err
		}
		pid, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err == nil {
			r.pid, err = strconv.Atoi(strings.TrimSpace(string(pid)))
		}
		return err
	}
	r.stop = func() error { return call(context.Background(), "stop", dir) }
	r.kill = func() error { return call(context.Background(), "kill", dir) }
	r.again = func(ctx context.Context) error { return run(ctx, "restart") }
	r.end = func() error { return errors.Join(r.stop(), os.RemoveAll(dir)) }
	if err := run(ctx, "start"); err != nil {
		return nil, err
	}
	return r, nil
}

// dropCaches writes everything to disk and empties the page cache.
func dropCaches() error {
	if out, err := exec.Command("sync").CombinedOutput(); err != nil {
		return fmt.Errorf("sync: %w: %s", err, out)
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0o200); err != nil {
		return fmt.Errorf("empty the page cache (needs root on Linux): %w", err)
	}
	return nil
}

// each is the rival itself, or the nodes of a cluster.
func (r *rival) each() []*rival {
	if r.nodes == nil {
		return []*rival{r}
	}
	return r.nodes
}

// cpu is the processor time that the processes have used.
func (r *rival) cpu() (sum time.Duration, err error) {
	for _, n := range r.each() {
		used, err := n.ownCPU()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// idleCPU is what it takes with nothing to do, in ms a second.
func (r *rival) idleCPU() (float64, error) {
	const watched = 5 * time.Second
	before, err := r.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(watched)
	after, err := r.cpu()
	return float64((after - before).Milliseconds()) / watched.Seconds(), err
}

func (r *rival) ownCPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid))
	if err != nil {
		return 0, err
	}
	at := bytes.LastIndexByte(b, ')') // the name may hold anything
	fields := strings.Fields(string(b[at+1:]))
	const utime, stime = 11, 12 // counted from the state
	var ticks int64
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// profiled begins to profile the process with perf, if that is asked for, and returns what ends it.
func (r *rival) profiled(ctx context.Context) (stop func(), err error) {
	if r.profile == "" {
		return func() {}, nil
	}
	var pids []string
	for _, n := range r.each() {
		pids = append(pids, strconv.Itoa(n.pid))
	}
	cmd := exec.CommandContext(ctx, "perf", "record", "-q", "-g", "-o", r.profile, "-p", strings.Join(pids, ","))
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("perf record: %w", err)
	}
	time.Sleep(perfAttach)
	return func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // it reports the interrupt
	}, nil
}

// perfAttach is the time that perf takes to attach; nothing tells when it has.
const perfAttach = 300 * time.Millisecond

// memory is the resident and the greatest resident size so far, in bytes; of a cluster, the sums.
func (r *rival) memory() (now, peak int64, err error) {
	for _, n := range r.each() {
		a, b, err := n.ownMemory()
		if err != nil {
			return 0, 0, err
		}
		now, peak = now+a, peak+b
	}
	return now, peak, nil
}

func (r *rival) ownMemory() (now, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			now = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			peak = kib << 10
		}
	}
	return now, peak, nil
}

// mallocs is how many objects a logstead has allocated; ok is false for others.
func (r *rival) mallocs(ctx context.Context) (sum float64, ok bool) {
	for _, n := range r.each() {
		own, ok := n.ownMallocs(ctx)
		if !ok {
			return 0, false
		}
		sum += own
	}
	return sum, true
}

func (r *rival) ownMallocs(ctx context.Context) (n float64, ok bool) {
	if r.http == "" {
		return 0, false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.http+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if v, found := strings.CutPrefix(line, "go_memstats_mallocs_total "); found {
			n, err = strconv.ParseFloat(strings.TrimSpace(v), 64)
			return n, err == nil
		}
	}
	return 0, false
}

// loadAverage is how busy the machine is.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}
