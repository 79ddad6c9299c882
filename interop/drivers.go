package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// driver is a client library with a small program around it. Every such program knows the same commands, given as
// COMMAND key=value..., and finds the broker in the environment variable BOOTSTRAP; NODES says how many brokers there
// are, REPLICAS how many replicas its topics get; with several, who connects to SETTLE reads a line once all of them have
// acted on what was decided before, empty or with what went wrong:
//
//	produce topic= file= codec= [from= count=]  sends the lines KEY TAB VALUE of a file in order, keyed, with the
//	                                            murmur2 partitioner and acks=all; prints "acked N"
//	consume topic= group= [protocol= isolation=] prints PARTITION TAB OFFSET TAB KEY TAB VALUE for each record until
//	                                            its standard input ends, then commits and leaves the group
//	move from= to= group= txid= abort= expect=  copies records in transactions together with the group's offsets,
//	                                            aborts every abort-th and does it again; prints "moved N aborted N"
//	smoke prefix= [only=]                       tries the client's features and prints for each
//	                                            PASS|FAIL TAB NAME TAB SECONDS [TAB ERROR]
//
// Not every client can do everything; can says which of the first three there are.
type driver struct {
	name, part string
	can        string
	// limit is how long a smoke run may take.
	limit time.Duration
	// long and extra are the suite's.
	long, extra bool
	// argv is the program, with the cache directory given.
	argv func(r *Run) []string
}

// cdsFlags make a short-lived Java program start fast and stay small.
var javaFlags = []string{
	"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m",
	"-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
}

func drivers() []driver {
	java := func(major string) func(*Run) []string {
		return func(r *Run) []string {
			classes := filepath.Join(r.cache, "java", "driver-"+major)
			return append(append([]string{"java"}, javaFlags...), "-cp", classes+":"+r.classpath("clients-"+major), "Driver")
		}
	}
	python := func(file string) func(*Run) []string {
		return func(r *Run) []string {
			return []string{filepath.Join(r.cache, "python", "bin", "python"), r.path("python", file)}
		}
	}
	node := func(file string) func(*Run) []string {
		return func(r *Run) []string {
			return []string{filepath.Join(r.cache, "node", "node"), filepath.Join(r.cache, "node", file)}
		}
	}
	goclient := func(name string) func(*Run) []string {
		return func(r *Run) []string { return []string{filepath.Join(r.cache, "goclients"), name} }
	}
	return []driver{
		{name: "java-4.3", part: "java", can: "produce consume move", limit: 6 * time.Minute, argv: java("4")},
		{name: "java-3.9", part: "java", extra: true, can: "produce consume move", limit: 5 * time.Minute, argv: java("3")},
		{name: "java-2.8", part: "java", extra: true, can: "produce consume move", limit: 5 * time.Minute, argv: java("2")},
		{name: "confluent-python", part: "python", can: "produce consume move", limit: 5 * time.Minute, argv: python("confluent.py")},
		{name: "aiokafka", part: "python", can: "produce consume", limit: 4 * time.Minute, argv: python("aio.py")},
		{name: "kafka-python", part: "python", can: "produce consume", limit: 4 * time.Minute, argv: python("kpython.py")},
		{name: "franz-go", part: "go", can: "produce consume move", limit: 5 * time.Minute, argv: goclient("franz")},
		{name: "sarama", part: "go", can: "produce consume", limit: 4 * time.Minute, argv: goclient("sarama")},
		{name: "kafka-go", part: "go", can: "produce consume", limit: 4 * time.Minute, argv: goclient("segmentio")},
		{name: "kafkajs", part: "node", can: "produce consume", limit: 4 * time.Minute, argv: node("kafkajs.js")},
		{name: "platformatic", part: "node", can: "produce consume", limit: 4 * time.Minute, argv: node("platformatic.js")},
		{name: "rdkafka-rust", part: "rust", can: "produce consume", limit: 4 * time.Minute, long: true, argv: func(r *Run) []string {
			return []string{filepath.Join(r.cache, "rust", "target", "release", "driver")}
		}},
	}
}

// driverNamed returns the driver of that name; asking for one that is not there is a mistake in a suite.
func driverNamed(name string) driver {
	for _, d := range drivers() {
		if d.name == name {
			return d
		}
	}
	panic("interop: no driver " + name)
}

// command is the driver's command line.
func (d driver) command(r *Run, verb string, kv ...string) []string {
	return append(append(d.argv(r), verb), kv...)
}

func (r *Run) bootstrapEnv() []string {
	env := []string{
		"BOOTSTRAP=" + r.target.addr, "NODES=" + strconv.Itoa(r.target.nodes), "REPLICAS=" + strconv.Itoa(r.target.replicas()),
		"TARGET=" + r.target.kind,
	}
	if r.target.settler != nil {
		env = append(env, "SETTLE="+r.target.settler.listener.Addr().String())
	}
	return env
}

// smoke runs a client's own checks and turns the lines it prints into rows.
func smoke(d driver) func(context.Context, *Run) {
	return func(ctx context.Context, r *Run) {
		ctx, cancel := context.WithTimeout(ctx, d.limit)
		defer cancel()
		start := time.Now()
		var checks []string
		m, err := startMember(ctx, r.bootstrapEnv(), func(line string) {
			if name, took, err, ok := parseSmoke(line); ok {
				checks = append(checks, name)
				r.row(d.name, name, took, err)
			}
		}, d.command(r, "smoke", "prefix="+r.id+"-"+d.name)...)
		if err != nil {
			r.row(d.name, "start", time.Since(start), err)
			return
		}
		<-m.done
		// The program's exit code repeats its rows; only an end without any, or before its last, says something new.
		var failed int
		for _, row := range r.rows[len(r.rows)-len(checks):] {
			if row.err != nil {
				failed++
			}
		}
		err = m.stop()
		switch {
		case ctx.Err() != nil:
			err = fmt.Errorf("not done within %v", d.limit)
		case len(checks) == 0 && err == nil:
			err = errors.New("printed no result")
		case failed > 0:
			err = nil
		}
		if err != nil {
			r.row(d.name, "run to the end", time.Since(start), err)
			return
		}
		r.demandAll(d.name, checks)
	}
}

func parseSmoke(line string) (name string, took time.Duration, err error, ok bool) {
	f := strings.SplitN(line, "\t", 4)
	if len(f) < 3 || f[0] != "PASS" && f[0] != "FAIL" {
		return "", 0, nil, false
	}
	seconds, perr := strconv.ParseFloat(f[2], 64)
	if perr != nil {
		return "", 0, nil, false
	}
	if f[0] == "FAIL" {
		err = errors.New("failed without saying why")
		if len(f) == 4 {
			err = errors.New(f[3])
		}
	}
	return f[1], time.Duration(seconds * float64(time.Second)), err, true
}
