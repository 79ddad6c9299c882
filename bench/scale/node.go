package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/node"
)

// measureNode fills a node with partitions by way of its socket, stops it and starts it again.
func measureNode(dir string, n int) error {
	fmt.Printf("one node, %d partitions in topics of 1000\n", n)
	before := heap()
	r, err := startNode(dir)
	if err != nil {
		return err
	}
	row("start of an empty node", "%s", r.took)
	took, err := take(func() error { return createTopics(r.n.Bootstrap(), n, 1000) })
	if err != nil {
		return errors.Join(err, r.stop())
	}
	row("create all topics", "%s", took)
	used := heap() - before
	row("memory", "%.0f MiB, %d bytes a partition", mib(used), used/int64(n))
	if took, err = take(r.stop); err != nil {
		return err
	}
	row("stop", "%s", took)
	if r, err = startNode(dir); err != nil {
		return err
	}
	row("start with all of them", "%s", r.took)
	used = heap() - before
	row("memory", "%.0f MiB, %d bytes a partition", mib(used), used/int64(n))
	return r.stop()
}

type runningNode struct {
	n    *node.Node
	took cost // until it served
	stop func() error
}

func startNode(dir string) (*runningNode, error) {
	static, err := conf.Load(conf.Source{Defaults: map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": dir + "/data", "logstead.auto.format": "true",
		"listeners": "PLAINTEXT://127.0.0.1:0",
	}})
	if err != nil {
		return nil, err
	}
	var level slog.LevelVar
	level.Set(slog.LevelError)
	r := &runningNode{}
	r.took, err = take(func() error {
		n, err := node.Open(context.Background(), node.Options{
			Config: static, Version: "scale", Level: &level, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		r.n, r.stop = n, func() error { cancel(); return <-done }
		select {
		case <-n.Serving():
			return nil
		case err := <-done:
			cancel()
			return fmt.Errorf("the node ended: %w", err)
		}
	})
	return r, err
}

// createTopics creates topics, as many in a request as Kafka allows.
func createTopics(bootstrap string, n, perTopic int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(120_000)
	for made := 0; made < n; {
		var names []string
		for len(names)*perTopic < maxPerRequest && made < n {
			names = append(names, fmt.Sprintf("topic-%07d", made))
			made += perTopic
		}
		resp, err := adm.CreateTopics(ctx, int32(min(perTopic, n)), 1, nil, names...)
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			return fmt.Errorf("create topics up to partition %d: %w", made, err)
		}
	}
	return nil
}
