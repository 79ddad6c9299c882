package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a client waits for cannot be told from its side alone, and minutes later it is gone: once a writer has had no
// answer for stallAfter, every node is asked at that moment what it knows, and the logs are kept.

const (
	stallAfter = 40 * time.Second
	askLimit   = 5 * time.Second // for what one node is asked
)

// watchStalls waits for the first writer that gets no answer, and writes down how the cluster looks.
func (l *load) watchStalls(ctx context.Context) {
	for wait(ctx, time.Second) == nil {
		for _, w := range writers() {
			d, what := l.h.Waiting(w, time.Now())
			if d < stallAfter {
				continue
			}
			l.look(ctx, fmt.Sprintf("writer %d has waited %v for an answer to %s", w, d.Round(time.Second), what))
			return
		}
	}
}

// look writes what each node says of the partitions, its metrics and its goroutines.
func (l *load) look(ctx context.Context, why string) {
	_ = os.WriteFile(filepath.Join(l.dir, "stall.txt"), []byte(time.Now().Format(time.RFC3339Nano)+" "+why+"\n"), 0o600)
	for round := range 2 { // what moves between the two does not stand
		for _, nd := range l.c.nodes {
			each, cancel := context.WithTimeout(ctx, 4*askLimit)
			text := l.c.describe(each, nd)
			cancel()
			_ = os.WriteFile(filepath.Join(l.dir, fmt.Sprintf("stall-node%d-%d.txt", nd.id, round)), []byte(text), 0o600)
		}
		_ = wait(ctx, 2*time.Second)
	}
	l.stalled.Store(true)
}

// describe is what one node says of itself.
func (c *cluster) describe(ctx context.Context, nd *node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %d, %s\n\n", nd.id, time.Now().Format("15:04:05.000"))
	part := func(title string, fn func(context.Context, io.Writer) error) {
		each, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		fmt.Fprintf(&b, "== %s\n", title)
		if err := fn(each, &b); err != nil {
			fmt.Fprintf(&b, "%v\n", err)
		}
	}
	cl, err := c.newClient(admin, kgo.SeedBrokers(nd.addr()), kgo.RequestRetries(0))
	if err != nil {
		return err.Error()
	}
	defer cl.Close()
	one := cl.SeedBrokers()[0]
	part("metadata", func(ctx context.Context, w io.Writer) error { return describeMetadata(ctx, one, c.topics(), w) })
	part("offsets", func(ctx context.Context, w io.Writer) error { return describeOffsets(ctx, one, c.topics(), w) })
	part("producers", func(ctx context.Context, w io.Writer) error { return describeProducers(ctx, one, c.topics(), w) })
	part("ends of logs", func(ctx context.Context, w io.Writer) error { return describeLogs(ctx, one, w) })
	part("metrics", func(ctx context.Context, w io.Writer) error { return c.page(ctx, nd, "/metrics", w) })
	part("goroutines", func(ctx context.Context, w io.Writer) error {
		return c.page(ctx, nd, "/debug/pprof/goroutine?debug=2", w)
	})
	return b.String()
}

// describeMetadata writes who leads what, as this node has it.
func describeMetadata(ctx context.Context, b *kgo.Broker, topics []string, w io.Writer) error {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, b)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 {
			fmt.Fprintf(w, "%s: error %d\n", *t.Topic, t.ErrorCode)
		}
		slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition - b.Partition) })
		for _, p := range t.Partitions {
			fmt.Fprintf(w, "%s-%d: error %d, leader %d, epoch %d, replicas %v, in sync %v, offline %v\n",
				*t.Topic, p.Partition, p.ErrorCode, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, p.OfflineReplicas)
		}
	}
	return nil
}

// describeOffsets writes the high watermarks of what this node leads.
func describeOffsets(ctx context.Context, b *kgo.Broker, topics []string, w io.Writer) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for _, name := range topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for i := range int32(partitions) {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = i, -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, b)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			fmt.Fprintf(w, "%s-%d: error %d, high watermark %d, epoch %d\n", t.Topic, p.Partition, p.ErrorCode, p.Offset, p.LeaderEpoch)
		}
	}
	return nil
}

// describeProducers writes the last sequence of each producer, as this node has it.
func describeProducers(ctx context.Context, b *kgo.Broker, topics []string, w io.Writer) error {
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, name := range topics {
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic = name
		for i := range int32(partitions) {
			t.Partitions = append(t.Partitions, i)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, b)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			fmt.Fprintf(w, "%s-%d: error %d\n", t.Topic, p.Partition, p.ErrorCode)
			for _, a := range p.ActiveProducers {
				fmt.Fprintf(w, "  producer %d epoch %d: last sequence %d, at %d\n", a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp)
			}
		}
	}
	return nil
}

// describeLogs writes the sizes of this node's replicas, and how far they lag.
func describeLogs(ctx context.Context, b *kgo.Broker, w io.Writer) error {
	resp, err := kmsg.NewPtrDescribeLogDirsRequest().RequestWith(ctx, b)
	if err != nil {
		return err
	}
	for _, d := range resp.Dirs {
		fmt.Fprintf(w, "%s: error %d\n", d.Dir, d.ErrorCode)
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(w, "  %s-%d: %d bytes, lag %d\n", t.Topic, p.Partition, p.Size, p.OffsetLag)
			}
		}
	}
	return nil
}

// page writes what a node serves over HTTP, asked inside its namespace.
func (c *cluster) page(ctx context.Context, nd *node, path string, w io.Writer) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			d := net.Dialer{FallbackDelay: -1}
			err = c.fabric.inside(nd.host, func() error { conn, err = d.DialContext(ctx, network, addr); return err })
			return conn, err
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+nd.httpPort+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// keepLogs copies what was written during a stall, and all logs, to a directory that stays.
func (l *load) keepLogs() (string, error) {
	to, err := os.MkdirTemp("", "logstead-stall-")
	if err != nil {
		return "", err
	}
	var errs []error
	for _, pattern := range []string{"stall*.txt", "java.log", "node*/server.log"} {
		names, _ := filepath.Glob(filepath.Join(l.dir, pattern))
		for _, name := range names {
			rel, _ := filepath.Rel(l.dir, name)
			b, err := os.ReadFile(name)
			errs = append(errs, err, os.WriteFile(filepath.Join(to, strings.ReplaceAll(rel, "/", "-")), b, 0o600))
		}
	}
	return to, errors.Join(errs...)
}
