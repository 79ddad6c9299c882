// Command goclients holds the drivers of the Go client libraries: franz-go, sarama and segmentio/kafka-go. It is a
// module of its own so that the clients it tries are no dependencies of logstead. interop/drivers.go describes the
// commands.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	bootstrap = os.Getenv("BOOTSTRAP")
	nodes     = count("NODES")
	replicas  = count("REPLICAS")
	args      = map[string]string{}
	mechanism = os.Getenv("SASL_MECHANISM") // to log in by; empty for none
	user      = os.Getenv("SASL_USER")
	password  = os.Getenv("SASL_PASSWORD")
	codecs    = []string{"none", "gzip", "snappy", "lz4", "zstd"}
)

// tlsConfig is nil without TLS_CA, which names who signed the broker's certificate; TLS_KEY is a file with the client's key and
// certificate.
func tlsConfig() *tls.Config {
	ca := os.Getenv("TLS_CA")
	if ca == "" {
		return nil
	}
	text, err := os.ReadFile(ca)
	must(err)
	pair, err := tls.LoadX509KeyPair(os.Getenv("TLS_KEY"), os.Getenv("TLS_KEY"))
	must(err)
	c := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{pair}}
	c.RootCAs.AppendCertsFromPEM(text)
	return c
}

// count reads a count from the environment, 1 where it says nothing.
func count(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return 1
	}
	return n
}

// client is what each library's file implements.
type client interface {
	produce(ctx context.Context) error
	consume(ctx context.Context) error
	smoke()
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: goclients franz|sarama|segmentio COMMAND key=value...")
		os.Exit(2)
	}
	for _, a := range os.Args[3:] {
		k, v, _ := strings.Cut(a, "=")
		args[k] = v
	}
	clients := map[string]client{"franz": franz{}, "sarama": saramaClient{}, "segmentio": segmentio{}}
	c, ok := clients[os.Args[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "goclients: no client", os.Args[1])
		os.Exit(2)
	}
	var err error
	switch os.Args[2] {
	case "produce":
		err = c.produce(context.Background())
	case "consume":
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for {
				if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
					cancel()
					return
				}
			}
		}()
		err = c.consume(ctx)
	case "move":
		m, ok := c.(interface{ move(context.Context) error })
		if !ok {
			err = errors.New("this client has no transactions of consumed offsets")
			break
		}
		err = m.move(context.Background())
	case "smoke":
		c.smoke()
		if failed.Load() {
			os.Exit(1)
		}
	default:
		err = fmt.Errorf("unknown command %s", os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func arg(name, def string) string {
	if v, ok := args[name]; ok {
		return v
	}
	return def
}

func number(name string, def int) int {
	n, err := strconv.Atoi(arg(name, strconv.Itoa(def)))
	if err != nil {
		panic(err)
	}
	return n
}

// input returns the slice of the file that the command names.
func input() ([][2]string, error) {
	f, err := os.Open(args["file"])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows [][2]string
	s := bufio.NewScanner(f)
	for s.Scan() {
		k, v, _ := strings.Cut(s.Text(), "\t")
		rows = append(rows, [2]string{k, v})
	}
	from := number("from", 0)
	return rows[from:min(len(rows), from+number("count", len(rows)))], s.Err()
}

var (
	failed atomic.Bool
	stdout = bufio.NewWriterSize(os.Stdout, 1<<20)
	outMu  sync.Mutex
)

// printRecord prints a consumed record's line; flush sends what was printed on.
func printRecord(partition int32, offset int64, key, value []byte) {
	outMu.Lock()
	defer outMu.Unlock()
	fmt.Fprintf(stdout, "%d\t%d\t%s\t%s\n", partition, offset, key, value)
}

func flush() {
	outMu.Lock()
	defer outMu.Unlock()
	stdout.Flush()
}

// check runs one check under a time limit and prints its line. A check fails by panicking, through must and want.
func check(name string, body func(ctx context.Context)) {
	if only := args["only"]; only != "" && only != name {
		return
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan string, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Sprint(p) + where()
				return
			}
			done <- ""
		}()
		body(ctx)
	}()
	var problem string
	select {
	case problem = <-done:
	case <-time.After(65 * time.Second):
		problem = "no end within 65 s"
	}
	took := time.Since(start).Seconds()
	if problem == "" {
		fmt.Printf("PASS\t%s\t%.1f\n", name, took)
		return
	}
	failed.Store(true)
	fmt.Printf("FAIL\t%s\t%.1f\t%s\n", name, took, strings.NewReplacer("\n", " ", "\t", " ").Replace(problem))
}

// where names the check's line that a panic being recovered came from.
func where() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if strings.Contains(f.File, "goclients") && !strings.HasSuffix(f.File, "main.go") {
			return fmt.Sprintf(" at line %d", f.Line)
		}
		if !more {
			return ""
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}

func want[T comparable](what string, got, expected T) {
	if got != expected {
		panic(fmt.Sprintf("%s: expected %v, got %v", what, expected, got))
	}
}

func wantAll[T comparable](what string, got, expected []T) {
	if !slices.Equal(got, expected) {
		panic(fmt.Sprintf("%s: expected %d values, got %d (first %v)", what, len(expected), len(got), got[:min(len(got), 5)]))
	}
}

// settled returns when every broker has acted on what was decided, see interop/drivers.go.
func settled() {
	at := os.Getenv("SETTLE")
	if at == "" {
		return
	}
	c := must1(net.Dial("tcp", at))
	defer c.Close()
	want("what keeps the brokers from settling", string(must1(io.ReadAll(c))), "\n")
}

// until waits for a condition.
func until(what string, done func() bool) {
	end := time.Now().Add(40 * time.Second)
	for !done() {
		if time.Now().After(end) {
			panic("gave up waiting for " + what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}
