package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// files lets Kafka's dump tool read every file of a data directory that has seen rolling, compaction, transactions and
// deletion, with the broker stopped; then the broker starts again on it.
func files(ctx context.Context, r *Run) {
	topic := r.id + "-files"
	if !r.check(ctx, "kafka-dump-log", "a log that has lived", 2*time.Minute, func(ctx context.Context) error { return r.livedLog(ctx, topic) }) {
		return
	}
	before := map[string]string{}
	r.check(ctx, "kafka-dump-log", "every file in the data directory", 5*time.Minute, func(ctx context.Context) error {
		var err error
		if before, err = r.readCommitted(ctx, topic); err != nil {
			return err
		}
		if err := r.target.node.Stop(); err != nil {
			return err
		}
		return r.dumpAll(ctx)
	})
	r.check(ctx, "kafka-dump-log", "start again, same records", 2*time.Minute, func(ctx context.Context) error {
		if err := r.target.node.Start(ctx); err != nil {
			return err
		}
		if err := r.target.ready(ctx); err != nil {
			return err
		}
		after, err := r.readCommitted(ctx, topic)
		if err != nil {
			return err
		}
		for k, v := range before {
			if after[k] != v {
				return fmt.Errorf("record %s was %q before the restart, is %q now", k, v, after[k])
			}
		}
		return want("records", len(after), len(before))
	})
}

// livedLog fills topics that roll, are compacted, hold committed and aborted transactions and have their start cut off.
func (r *Run) livedLog(ctx context.Context, topic string) error {
	if err := errors.Join(
		r.createTopic(ctx, topic, 2, "segment.bytes=1048576", "cleanup.policy=delete"),
		r.createTopic(ctx, topic+"-compact", 1, "segment.bytes=1048576", "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01",
			"max.compaction.lag.ms=1000", "segment.ms=1000"),
	); err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.target.addr), kgo.TransactionalID(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	value := []byte(strings.Repeat("0123456789abcdef", 64))
	for n := range 12 {
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		var rs []*kgo.Record
		for i := range 400 {
			rs = append(rs, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: append([]byte(fmt.Sprintf("%d-%d-", n, i)), value...)},
				&kgo.Record{Topic: topic + "-compact", Key: []byte(fmt.Sprintf("k%d", i%50)), Value: append([]byte(fmt.Sprintf("%d-%d-", n, i)), value...)})
		}
		if err := cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			return err
		}
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(n%4 != 1)); err != nil {
			return err
		}
	}
	adm := kadm.NewClient(cl)
	if _, err := adm.DeleteRecords(ctx, kadm.Offsets{topic: {0: {Topic: topic, At: 500}}}); err != nil {
		return err
	}
	if _, err := adm.CommitOffsets(ctx, topic+"-group", kadm.Offsets{topic: {0: {Topic: topic, At: 600, LeaderEpoch: -1}}}); err != nil {
		return err
	}
	return nil
}

// readCommitted reads what is committed of the lived topic, as "partition/offset" to value.
func (r *Run) readCommitted(ctx context.Context, topic string) (map[string]string, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.target.addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { left[o.Partition] = o.Offset })
	out := map[string]string{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s up to %v: %w", topic, left, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if !rec.Attrs.IsControl() {
				out[fmt.Sprint(rec.Partition, "/", rec.Offset)] = string(rec.Value)
			}
			if rec.Offset+1 >= left[rec.Partition] {
				delete(left, rec.Partition)
			}
		})
	}
	return out, nil
}

// dumpAll gives the dump tool every file that it knows, by kind, and fails on what it complains of.
func (r *Run) dumpAll(ctx context.Context) error {
	kinds := map[string][]string{}
	err := filepath.WalkDir(r.target.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		dir, name := filepath.Base(filepath.Dir(path)), filepath.Base(path)
		ext := filepath.Ext(name)
		if info, err := d.Info(); err != nil || info.Size() == 0 {
			return err
		}
		kind := ""
		switch {
		case dir == "__cluster_metadata-0" && (ext == ".log" || ext == ".checkpoint"):
			kind = "--cluster-metadata-decoder"
		case dir == "__cluster_metadata-0":
		case strings.HasPrefix(dir, "__consumer_offsets-") && ext == ".log":
			kind = "--offsets-decoder"
		case strings.HasPrefix(dir, "__transaction_state-") && ext == ".log":
			kind = "--transaction-log-decoder"
		case ext == ".log", ext == ".snapshot", ext == ".txnindex":
			kind = "--print-data-log"
		case ext == ".index", ext == ".timeindex":
			kind = "--index-sanity-check"
		}
		if kind != "" && strings.Contains(dir, "-") {
			kinds[kind] = append(kinds[kind], path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range []string{"--cluster-metadata-decoder", "--offsets-decoder", "--print-data-log", "--index-sanity-check"} {
		if len(kinds[kind]) == 0 {
			return fmt.Errorf("no file for %s in %s", kind, r.target.data)
		}
	}
	for kind, paths := range kinds {
		for group := range slices.Chunk(paths, 200) {
			args := []string{kind, "--files", strings.Join(group, ",")}
			if kind != "--index-sanity-check" {
				args = append(args, "--deep-iteration")
			}
			out, err := r.exec(ctx, 2*time.Minute, nil, r.java(dumpTool, args...)...)
			if err != nil {
				return err
			}
			if err := complaints(out); err != nil {
				file := filepath.Join(os.TempDir(), "dump"+strings.ReplaceAll(kind, "-", "")+".txt")
				return errors.Join(fmt.Errorf("%s over %d files: %w; its output is in %s", kind, len(group), err, file), os.WriteFile(file, []byte(out), 0o644))
			}
		}
	}
	return nil
}

// complaints finds what the dump tool prints when a file does not hold what it should.
func complaints(out string) error {
	for _, line := range strings.Split(out, "\n") {
		for _, bad := range []string{"isvalid: false", "Mismatches in", "mismatch", "Found timestamp", "Out of order", "out of order",
			"Exception", "non-consecutive", "Non-consecutive", "could not be", "Could not"} {
			if strings.Contains(line, bad) {
				return fmt.Errorf("the dump tool says %q", tail(line, 400))
			}
		}
	}
	return nil
}
