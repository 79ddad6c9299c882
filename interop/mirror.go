package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

// mirror runs MirrorMaker 2 between the target and an Apache Kafka of its own, both ways: topics with their configs,
// records, and the committed offsets of groups.
func mirror(ctx context.Context, r *Run) {
	r.check(ctx, "mirrormaker2", "both ways with Apache Kafka", 6*time.Minute, func(ctx context.Context) error {
		dir := filepath.Join(r.work, "mirror")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		other, err := local.NewKafka(ctx, filepath.Join(dir, "kafka"))
		if err != nil {
			return err
		}
		if err := other.Start(ctx); err != nil {
			return err
		}
		defer other.Stop()
		return mirrorWith(ctx, r, dir, other.Addr)
	})
}

func mirrorWith(ctx context.Context, r *Run, dir, other string) error {
	a, b := r.id+"-mirror-a", r.id+"-mirror-b"
	here, err := kgo.NewClient(kgo.SeedBrokers(r.target.addr))
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := kgo.NewClient(kgo.SeedBrokers(other))
	if err != nil {
		return err
	}
	defer there.Close()
	retention := "5400000"
	for topic, cl := range map[string]*kgo.Client{a: here, b: there} {
		adm := kadm.NewClient(cl)
		if _, err := adm.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, topic); err != nil {
			return fmt.Errorf("create %s: %w", topic, err)
		}
		for i := range 500 {
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: strconv.AppendInt(nil, int64(i), 10), Value: []byte("v")}).FirstErr(); err != nil {
				return err
			}
		}
		group := kadm.Offsets{topic: {0: {Topic: topic, Partition: 0, At: 100, LeaderEpoch: -1}}}
		if _, err := adm.CommitOffsets(ctx, topic+"-group", group); err != nil {
			return err
		}
	}
	file := filepath.Join(dir, "mm2.properties")
	if err := properties(file, "clusters=here,there", "here.bootstrap.servers="+r.target.addr, "there.bootstrap.servers="+other,
		"here->there.enabled=true", "there->here.enabled=true", "topics="+r.id+"-mirror-.*", "groups="+r.id+"-mirror-.*",
		"replication.factor=1", "checkpoints.topic.replication.factor=1", "heartbeats.topic.replication.factor=1",
		"offset-syncs.topic.replication.factor=1", "offset.storage.replication.factor=1", "status.storage.replication.factor=1",
		"config.storage.replication.factor=1", "refresh.topics.interval.seconds=2", "refresh.groups.interval.seconds=2",
		"emit.checkpoints.interval.seconds=2", "sync.group.offsets.enabled=true", "sync.group.offsets.interval.seconds=2",
		"sync.topic.configs.enabled=true", "offset.lag.max=10"); err != nil {
		return err
	}
	m, err := startMember(ctx, nil, func(string) {}, r.java("org.apache.kafka.connect.mirror.MirrorMaker", file)...)
	if err != nil {
		return err
	}
	defer m.kill()
	return errors.Join(mirrored(ctx, m, there, "here."+a, a+"-group"), mirrored(ctx, m, here, "there."+b, b+"-group"))
}

// mirrored waits until a topic has arrived whole, with its config and its group's position.
func mirrored(ctx context.Context, m *member, cl *kgo.Client, topic, group string) error {
	adm := kadm.NewClient(cl)
	var state string
	for {
		var records, committed int64
		retention := ""
		if ends, err := adm.ListEndOffsets(ctx, topic); err == nil && ends.Error() == nil {
			ends.Each(func(o kadm.ListedOffset) { records += o.Offset })
		}
		if cfgs, err := adm.DescribeTopicConfigs(ctx, topic); err == nil && len(cfgs) == 1 {
			for _, c := range cfgs[0].Configs {
				if c.Key == "retention.ms" {
					retention = c.MaybeValue()
				}
			}
		}
		if offs, err := adm.FetchOffsets(ctx, group); err == nil {
			if o, ok := offs.Lookup(topic, 0); ok {
				committed = o.At
			}
		}
		state = fmt.Sprintf("%s: %d records, retention.ms %s, %s at %d", topic, records, retention, group, committed)
		if records == 500 && retention == "5400000" && committed > 0 {
			return nil
		}
		select {
		case <-m.done:
			return fmt.Errorf("%s; MirrorMaker ended: %v\nstderr: %s", state, m.err, tail(m.errs.String(), 3000))
		case <-ctx.Done():
			return fmt.Errorf("%s\nstderr: %s", state, tail(m.errs.String(), 3000))
		case <-time.After(500 * time.Millisecond):
		}
	}
}
