package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// replicationSteps are about what goes between brokers, and from followers to consumers. They leave no topic behind.
var replicationSteps = []step{
	{"reassign-partitions: at the rate of --throttle", throttledMove},
	{"reassign-partitions: --list shows a move, --cancel takes it back", canceledMove},
	{"consumers read from the replica in their rack", readFromRack},
}

const (
	pacedBytes = 24_000_000
	pacedRate  = 2_000_000 // bytes a second
	recordSize = 24_000
	// stepLimit bounds one step, which runs tools that may take ten seconds each on a busy machine.
	stepLimit = 6 * time.Minute
)

// filled makes a topic with these replicas and records.
func (c *cluster) filled(ctx context.Context, cl *kgo.Client, topic, replicas string) error {
	_, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", replicas)
	if err == nil {
		err = c.known(ctx, topic, 1)
	}
	if err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	for range pacedBytes / recordSize {
		cl.Produce(ctx, &kgo.Record{Topic: topic, Value: make([]byte, recordSize)}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	err = cl.Flush(ctx)
	if p := failed.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	return err
}

func (c *cluster) kgo(o ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.Bootstrap(), ",")...), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, o...)...)
}

// throttledMove adds a replica with a throttle, measures how fast it fills, and holds that --verify removes what
// --execute has set.
func throttledMove(ctx context.Context, c *cluster) (string, error) {
	cl, err := c.kgo()
	if err != nil {
		return "", err
	}
	defer cl.Close()
	n := 0
	return "", c.goes(func(bool) error {
		n++
		ctx, cancel := context.WithTimeout(ctx, stepLimit)
		defer cancel()
		return c.throttled(ctx, cl, fmt.Sprint("paced", n))
	})
}

// throttled is one go of throttledMove, with a topic of its own. Only a rate that is not that of the throttle is no final error.
func (c *cluster) throttled(ctx context.Context, cl *kgo.Client, topic string) error {
	adm := kadm.NewClient(cl)
	if err := c.filled(ctx, cl, topic, "1:2"); err != nil {
		return &final{err}
	}
	plan, err := c.planned(topic, fmt.Sprintf(`{"topic":%q,"partition":0,"replicas":[1,2,3]}`, topic))
	if err != nil {
		return &final{err}
	}
	executed := make(chan error, 1)
	go func() {
		_, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--execute", "--throttle", strconv.Itoa(pacedRate))
		executed <- err
	}()
	copied, took, missed := fillTime(ctx, adm, topic)
	if err := <-executed; err != nil {
		return &final{errors.Join(missed, err)}
	}
	if missed == nil {
		rate := float64(copied) / took.Seconds()
		fmt.Printf("         %-8s copied %.1f MB in %.1f s: %.2f MB a second, the throttle is %.1f\n",
			c.Kind, float64(copied)/1e6, took.Seconds(), rate/1e6, pacedRate/1e6)
		if rate > 1.4*pacedRate || rate < 0.4*pacedRate {
			missed = fmt.Errorf("copied at %.0f bytes a second, the throttle is %d", rate, pacedRate)
		}
	}
	if n, err := throttleConfigs(ctx, adm, topic); err != nil || n == 0 {
		return &final{fmt.Errorf("no throttle is set before --verify (%w)", errors.Join(err, missed))}
	}
	_, err = c.until(ctx, patience, func() (string, error) {
		out, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--verify")
		if err == nil && !strings.Contains(out, "is completed") {
			err = fmt.Errorf("not completed: %s", oneLine(out))
		}
		return "", err
	})
	if err != nil {
		return &final{errors.Join(err, missed)}
	}
	if err := c.unthrottled(ctx, adm, topic); err != nil {
		return &final{fmt.Errorf("after --verify: %w", errors.Join(err, missed))}
	}
	if _, err = c.admin(ctx, topics, "--delete", "--topic", topic); err != nil {
		return &final{errors.Join(err, missed)}
	}
	return missed
}

// unthrottled waits until a topic and the brokers have no throttle of their own.
func (c *cluster) unthrottled(ctx context.Context, adm *kadm.Client, topic string) error {
	_, err := c.until(ctx, patience, func() (string, error) {
		n, err := throttleConfigs(ctx, adm, topic)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d throttles are left", n)
		}
		return "", err
	})
	return err
}

// canceledMove begins a move that takes long, and cancels it: replicas and throttles are as before.
func canceledMove(ctx context.Context, c *cluster) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	cl, err := c.kgo()
	if err != nil {
		return "", err
	}
	defer cl.Close()
	const topic = "canceled"
	if err := c.filled(ctx, cl, topic, "1:2"); err != nil {
		return "", err
	}
	plan := filepath.Join(c.Dir, "canceled.json")
	text := `{"version":1,"partitions":[{"topic":"canceled","partition":0,"replicas":[1,3]}]}`
	if err := os.WriteFile(plan, []byte(text), 0o644); err != nil {
		return "", err
	}
	said, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--execute", "--throttle", "200000")
	if _, err = has(said, err, "Successfully started partition reassignment for canceled-0"); err != nil {
		return "", err
	}
	listed, err := c.admin(ctx, reassign, "--list")
	if _, err = has(listed, err, "canceled-0: replicas: 1,3,2. adding: 3. removing: 2."); err != nil {
		return "", err
	}
	canceled, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--cancel")
	if _, err = has(canceled, err, "Successfully cancelled partition reassignment for: canceled-0"); err != nil {
		return "", err
	}
	if _, err := eventually(expect(topics, []string{"Replicas: 1,2 Isr: "}, "--describe", "--topic", topic))(ctx, c); err != nil {
		return "", err
	}
	if err := c.unthrottled(ctx, kadm.NewClient(cl), topic); err != nil {
		return "", fmt.Errorf("after --cancel: %w", err)
	}
	again, err := c.admin(ctx, reassign, "--reassignment-json-file", plan, "--cancel")
	if err != nil {
		return "", err
	}
	_, err = c.admin(ctx, topics, "--delete", "--topic", topic)
	return oneLine(listed + canceled + again), err
}

// fillTime is how long the new replica took for so many bytes: from those that it was first seen to have, to all of them.
func fillTime(ctx context.Context, adm *kadm.Client, topic string) (copied int64, took time.Duration, err error) {
	var first time.Time
	var had int64
	for {
		dirs, err := adm.DescribeBrokerLogDirs(ctx, 3, kadm.TopicsSet{topic: {0: {}}})
		if err != nil {
			return 0, 0, err
		}
		var size int64
		for _, d := range dirs {
			if p, ok := d.Topics.Lookup(topic, 0); ok {
				size = p.Size
			}
		}
		switch {
		case size >= pacedBytes && first.IsZero():
			return 0, 0, fmt.Errorf("broker 3 has all %d bytes at the first look at it", size)
		case size >= pacedBytes:
			return size - had, time.Since(first), nil
		case size > 0 && first.IsZero():
			first, had = time.Now(), size
		}
		select {
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("broker 3 has %d of %d bytes: %w", size, pacedBytes, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// throttleConfigs counts the throttles that a topic and the brokers have of their own.
func throttleConfigs(ctx context.Context, adm *kadm.Client, name string) (n int, err error) {
	topic, err := adm.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return 0, err
	}
	brokers, err := adm.DescribeBrokerConfigs(ctx, 1, 2, 3)
	if err != nil {
		return 0, err
	}
	for _, rc := range append(topic, brokers...) {
		for _, cf := range rc.Configs {
			own := cf.Source == 1 || cf.Source == 2 // the topic's, or this broker's
			if own && strings.Contains(cf.Key, "replication.throttled") && cf.MaybeValue() != "" {
				n++
			}
		}
	}
	return n, nil
}

// served counts the bytes of answers to fetches, by node. An empty answer is far below a record.
type served [4]atomic.Int64

func (s *served) OnBrokerRead(meta kgo.BrokerMetadata, key int16, n int, _, _ time.Duration, _ error) {
	if key == 1 && meta.NodeID >= 1 && meta.NodeID <= 3 {
		s[meta.NodeID].Add(int64(n))
	}
}

// readFromRack has franz-go and the Java consumer read a topic with the rack of a follower.
func readFromRack(ctx context.Context, c *cluster) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	producer, err := c.kgo()
	if err != nil {
		return "", err
	}
	defer producer.Close()
	if err := c.filled(ctx, producer, "near", "1:2:3"); err != nil {
		return "", err
	}
	var s served
	cl, err := c.kgo(kgo.Rack("rack-3"), kgo.WithHooks(&s), kgo.ConsumeTopics("near"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return "", err
	}
	defer cl.Close()
	for n := 0; n < pacedBytes/recordSize; {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return "", fmt.Errorf("%d of %d records: %w", n, pacedBytes/recordSize, ctx.Err())
		}
		n += f.NumRecords()
	}
	fmt.Printf("         %-8s franz-go in the rack of broker 3 got %d, %d and %d bytes from brokers 1 to 3\n",
		c.Kind, s[1].Load(), s[2].Load(), s[3].Load())
	if s[3].Load() < pacedBytes*9/10 {
		return "", fmt.Errorf("the replica in the rack gave %d of %d bytes", s[3].Load(), pacedBytes)
	}
	out, err := c.admin(ctx, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic", "near",
		"--partition", "0", "--offset", "earliest", // without a group, whose topic the steps that follow would count
		"--max-messages", strconv.Itoa(pacedBytes/recordSize), "--timeout-ms", "30000",
		"--formatter-property", "print.value=false", "--formatter-property", "print.partition=true",
		"--command-property", "client.rack=rack-3")
	if err != nil {
		return "", err
	}
	if want := fmt.Sprintf("Processed a total of %d messages", pacedBytes/recordSize); !strings.Contains(out, want) {
		return "", fmt.Errorf("no %q: %s", want, oneLine(out[max(0, len(out)-300):]))
	}
	_, err = c.admin(ctx, topics, "--delete", "--topic", "near")
	return "", err
}
