package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// toolLimit bounds one run of a Kafka tool; the slowest is a JVM start away from the answer.
const toolLimit = 90 * time.Second

// classpath returns a class path that setup.sh resolved.
func (r *Run) classpath(name string) string {
	b, err := os.ReadFile(filepath.Join(r.cache, "java", name+".cp"))
	if err != nil {
		return "missing class path: " + err.Error()
	}
	return string(b)
}

// java is the command line of a class on the class path of Kafka's tools, Streams and Connect.
func (r *Run) java(class string, args ...string) []string {
	cp := r.classpath("kafka") + ":" + filepath.Join(r.cache, "java", "streams")
	return append(append(append([]string{"java"}, javaFlags...), "-cp", cp, class), args...)
}

// tool runs one of Kafka's own tools with --bootstrap-server.
func (r *Run) tool(ctx context.Context, class string, args ...string) (string, error) {
	return r.toolIn(ctx, "", class, args...)
}

// toolIn is tool with text on standard input.
func (r *Run) toolIn(ctx context.Context, stdin, class string, args ...string) (string, error) {
	args = append([]string{"--bootstrap-server", r.target.addr}, args...)
	return r.execIn(ctx, toolLimit, nil, stdin, r.java(class, args...)...)
}
