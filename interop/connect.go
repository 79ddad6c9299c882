package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// properties writes a Java properties file of sorted lines.
func properties(path string, lines ...string) error {
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// connect runs a stand-alone Connect worker and a distributed one: file to topic to file.
func connect(ctx context.Context, r *Run) {
	r.check(ctx, "kafka-connect", "stand-alone file source and sink", 2*time.Minute, func(ctx context.Context) error {
		return connectStandalone(ctx, r)
	})
	r.check(ctx, "kafka-connect", "distributed worker, killed and resumed", 4*time.Minute, func(ctx context.Context) error {
		return connectDistributed(ctx, r)
	})
}

func (r *Run) worker(lines ...string) []string {
	return append([]string{
		"bootstrap.servers=" + r.target.addr,
		"key.converter=org.apache.kafka.connect.storage.StringConverter",
		"value.converter=org.apache.kafka.connect.storage.StringConverter",
		"offset.flush.interval.ms=1000",
	}, lines...)
}

func connectStandalone(ctx context.Context, r *Run) error {
	dir, topic := filepath.Join(r.work, "connect"), r.id+"-connect"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	in, out := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out.txt")
	input := lines(1000)
	port, err := restPort()
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(in, []byte(input), 0o644),
		properties(filepath.Join(dir, "worker.properties"), r.worker(
			"offset.storage.file.filename="+filepath.Join(dir, "offsets"), fmt.Sprintf("listeners=http://127.0.0.1:%d", port))...),
		properties(filepath.Join(dir, "source.properties"), "name=source", "connector.class=FileStreamSource", "tasks.max=1", "file="+in, "topic="+topic),
		properties(filepath.Join(dir, "sink.properties"), "name=sink", "connector.class=FileStreamSink", "tasks.max=1", "file="+out, "topics="+topic,
			"consumer.override.metadata.max.age.ms=1000"),
	); err != nil {
		return err
	}
	m, err := startMember(ctx, nil, func(string) {}, r.java("org.apache.kafka.connect.cli.ConnectStandalone",
		filepath.Join(dir, "worker.properties"), filepath.Join(dir, "source.properties"), filepath.Join(dir, "sink.properties"))...)
	if err != nil {
		return err
	}
	defer m.kill()
	return m.awaitFile(ctx, out, input)
}

// awaitFile waits until a file holds exactly text, or the program ends.
func (m *member) awaitFile(ctx context.Context, path, text string) error {
	for {
		got, err := os.ReadFile(path)
		if err == nil && string(got) == text {
			return nil
		}
		select {
		case <-m.done:
			return fmt.Errorf("%s ended: %v\nstderr: %s", brief(m.argv), m.err, tail(m.errs.String(), 3000))
		case <-ctx.Done():
			return fmt.Errorf("%s holds %d of %d bytes\nstderr: %s", filepath.Base(path), len(got), len(text), tail(m.errs.String(), 3000))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill ends a program that has no way to be asked.
func (m *member) kill() {
	m.cancel()
	<-m.done
}

func connectDistributed(ctx context.Context, r *Run) error {
	dir, topic := filepath.Join(r.work, "connect-distributed"), r.id+"-connect-distributed"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	in, out := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out.txt")
	port, err := restPort()
	if err != nil {
		return err
	}
	id, replicas := r.id+"-connect", strconv.Itoa(r.target.replicas())
	if err := errors.Join(os.WriteFile(in, []byte(lines(500)), 0o644), properties(filepath.Join(dir, "worker.properties"), r.worker(
		"group.id="+id, "config.storage.topic="+id+"-configs", "offset.storage.topic="+id+"-offsets", "status.storage.topic="+id+"-status",
		"config.storage.replication.factor="+replicas, "offset.storage.replication.factor="+replicas, "status.storage.replication.factor="+replicas,
		"offset.storage.partitions=5", "status.storage.partitions=2", "exactly.once.source.support=enabled",
		"session.timeout.ms=6000", "heartbeat.interval.ms=1000", "scheduled.rebalance.max.delay.ms=1000", fmt.Sprintf("listeners=http://127.0.0.1:%d", port))...)); err != nil {
		return err
	}
	start := func() (*member, error) {
		return startMember(ctx, nil, func(string) {}, r.java("org.apache.kafka.connect.cli.ConnectDistributed", filepath.Join(dir, "worker.properties"))...)
	}
	m, err := start()
	if err != nil {
		return err
	}
	defer func() { m.kill() }()
	base := "http://127.0.0.1:" + strconv.Itoa(port)
	source := fmt.Sprintf(`{"connector.class":"FileStreamSource","file":%q,"topic":%q}`, in, topic)
	sink := fmt.Sprintf(`{"connector.class":"FileStreamSink","file":%q,"topics":%q,"consumer.override.metadata.max.age.ms":"1000"}`, out, topic)
	if err := errors.Join(m.put(ctx, base+"/connectors/"+id+"-source/config", source), m.put(ctx, base+"/connectors/"+id+"-sink/config", sink)); err != nil {
		return err
	}
	if err := m.awaitFile(ctx, out, lines(500)); err != nil {
		return err
	}
	// The flush of the sink's offsets must be over, or it delivers again after the kill, as it may.
	if err := r.awaitCommitted(ctx, "connect-"+id+"-sink", topic, 500); err != nil {
		return err
	}
	m.kill()
	if err := os.WriteFile(in, []byte(lines(800)), 0o644); err != nil {
		return err
	}
	if m, err = start(); err != nil {
		return err
	}
	return m.awaitFile(ctx, out, lines(800))
}

// put sends a connector's configuration until the worker takes it.
func (m *member) put(ctx context.Context, url, body string) error {
	var last error
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader([]byte(body)))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode < 300 {
				return nil
			}
			err = fmt.Errorf("%s: %s", resp.Status, text)
		}
		last = err
		select {
		case <-m.done:
			return fmt.Errorf("the worker ended: %v\nstderr: %s", m.err, tail(m.errs.String(), 3000))
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("PUT %s: %w\nstderr: %s", url, last, tail(m.errs.String(), 3000))
}

// awaitCommitted waits until a group has committed offset in partition 0 of a topic.
func (r *Run) awaitCommitted(ctx context.Context, group, topic string, offset int64) error {
	adm, closeAdm, err := r.admin()
	if err != nil {
		return err
	}
	defer closeAdm()
	for {
		got, err := adm.FetchOffsets(ctx, group)
		if err == nil {
			if o, ok := got.Lookup(topic, 0); ok && o.At >= offset {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("group %s has not committed offset %d of %s: %v %v", group, offset, topic, got, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// restPort asks the kernel for a port that is free now.
func restPort() (int, error) {
	addr, err := local.FreeAddr()
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
