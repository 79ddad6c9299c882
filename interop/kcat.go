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

// kcat tries kcat, whose librdkafka (2.0) is the oldest that a stable distribution ships.
func kcat(ctx context.Context, r *Run) {
	topic := r.id + "-kcat"
	cat := func(ctx context.Context, stdin string, args ...string) (string, error) {
		return r.execIn(ctx, time.Minute, nil, stdin, append([]string{"kcat", "-q", "-b", r.target.addr}, args...)...)
	}
	r.check(ctx, "kcat", "produce with each codec", time.Minute, func(ctx context.Context) error {
		if err := r.createTopic(ctx, topic, 3); err != nil {
			return err
		}
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			if _, err := cat(ctx, lines(100), "-P", "-t", topic, "-K:", "-z", codec, "-X", "acks=all"); err != nil {
				return err
			}
		}
		return nil
	})
	r.check(ctx, "kcat", "consume", time.Minute, func(ctx context.Context) error {
		out, err := cat(ctx, "", "-C", "-t", topic, "-e", "-f", "%p %o %k:%s\n")
		return errors.Join(err, want("records", strings.Count(out, "\n"), 500))
	})
	r.check(ctx, "kcat", "consume in a group", time.Minute, func(ctx context.Context) error {
		out, err := cat(ctx, "", "-G", r.id+"-kcat-group", "-e", "-X", "auto.offset.reset=earliest", "-f", "%k:%s\n", topic)
		return errors.Join(err, want("records", strings.Count(out, "\n"), 500))
	})
	r.check(ctx, "kcat", "list", time.Minute, func(ctx context.Context) error {
		out, err := cat(ctx, "", "-L", "-J")
		return errors.Join(err, contains(out, topic, `"brokers":[`, r.target.addr))
	})
	r.check(ctx, "kcat", "query by time", time.Minute, func(ctx context.Context) error {
		out, err := cat(ctx, "", "-Q", "-t", topic+":0:1", "-t", topic+":1:-1")
		return errors.Join(err, contains(out, topic+" [0] offset 0", topic+" [1] offset"))
	})
	r.check(ctx, "kcat", "idempotent and transactional", time.Minute, func(ctx context.Context) error {
		if _, err := cat(ctx, lines(10), "-P", "-t", topic+"-i", "-X", "enable.idempotence=true"); err != nil {
			return err
		}
		if _, err := cat(ctx, lines(10), "-P", "-t", topic+"-i", "-X", "transactional.id="+r.id+"-kcat"); err != nil {
			return err
		}
		out, err := cat(ctx, "", "-C", "-t", topic+"-i", "-e", "-X", "isolation.level=read_committed")
		return errors.Join(err, want("records", strings.Count(out, "\n"), 20))
	})
}

// kaskade runs kaskade in a terminal and reads topics, groups and records from its screen.
func kaskade(ctx context.Context, r *Run) {
	topic := r.id + "-kaskade"
	r.check(ctx, "kaskade", "topics, groups and records", 2*time.Minute, func(ctx context.Context) error {
		if err := r.createTopic(ctx, topic, 2); err != nil {
			return err
		}
		python := filepath.Join(r.cache, "kaskade", "bin", "python")
		out, err := r.exec(ctx, 2*time.Minute, r.bootstrapEnv(), python, r.path("python", "kaskade_look.py"), topic)
		return errors.Join(err, contains(out, "kaskade ok"))
	})
}

// createTopic creates a topic and waits until each broker knows it and each partition answers.
func (r *Run) createTopic(ctx context.Context, name string, partitions int, configs ...string) error {
	adm, closeAdm, err := r.admin()
	if err != nil {
		return err
	}
	defer closeAdm()
	cfg := map[string]*string{}
	for _, c := range configs {
		k, v, _ := strings.Cut(c, "=")
		cfg[k] = &v
	}
	if _, err := adm.CreateTopic(ctx, int32(partitions), int16(r.target.replicas()), cfg, name); err != nil {
		return fmt.Errorf("create topic %s with %s partitions: %w", name, strconv.Itoa(partitions), err)
	}
	if err := r.target.settled(ctx); err != nil {
		return err
	}
	for {
		l, err := adm.ListEndOffsets(ctx, name)
		if err == nil && l.Error() == nil && len(l[name]) == partitions {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("topic %s is not served: %w", name, ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
}
