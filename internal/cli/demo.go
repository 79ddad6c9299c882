package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// demoTopics are what --demo creates.
var demoTopics = []struct {
	name       string
	partitions int32
}{{"orders", 3}, {"payments", 3}, {"clicks", 6}}

const (
	demoGroup = "demo-shipping"
	// demoRate is records a second over all topics.
	demoRate = 20
	// demoSlow is how long the group takes over an order, so that it has a lag to show.
	demoSlow = 250 * time.Millisecond
)

// devTopics creates the topics that --topic names.
func (a *App) devTopics(ctx context.Context, bootstrap string, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, t := range topics {
		name, count, found := strings.Cut(t, ":")
		n, err := strconv.ParseInt(count, 10, 32)
		if found && (err != nil || n < 1) {
			return usagef("--topic %q: want NAME or NAME:PARTITIONS with at least 1", t)
		}
		if !found {
			n = -1
		}
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, int32(n), -1, nil, name); err != nil {
			return asFault("cannot create topic "+name, err)
		}
	}
	return nil
}

// demo keeps a producer and a slow consumer group busy until ctx ends.
func (a *App) demo(ctx context.Context, bootstrap string) {
	if err := a.runDemo(ctx, bootstrap); err != nil && ctx.Err() == nil {
		a.warn("demo: %v", err)
	}
}

func (a *App) runDemo(ctx context.Context, bootstrap string) error {
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID("demo-shop"))
	if err != nil {
		return err
	}
	defer producer.Close()
	adm := kadm.NewClient(producer)
	for _, t := range demoTopics {
		if _, err := adm.CreateTopic(ctx, t.partitions, -1, nil, t.name); err != nil && !strings.Contains(err.Error(), "EXISTS") {
			return err
		}
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID(demoGroup),
		kgo.ConsumerGroup(demoGroup), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(time.Second))
	if err != nil {
		return err
	}
	defer consumer.Close()
	go demoConsume(ctx, consumer)
	tick := time.NewTicker(time.Second / demoRate)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			producer.Produce(ctx, demoRecord(n), nil)
		}
	}
}

func demoConsume(ctx context.Context, cl *kgo.Client) {
	for ctx.Err() == nil {
		fetches := cl.PollRecords(ctx, 1)
		if fetches.NumRecords() > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(demoSlow):
			}
		}
	}
}

func demoRecord(n int) *kgo.Record {
	customer := "c" + strconv.Itoa(rand.IntN(50))
	switch n % 4 {
	case 0:
		return &kgo.Record{Topic: "orders", Key: []byte(customer), Value: fmt.Appendf(nil,
			`{"order":%d,"customer":%q,"amount":%.2f}`, n, customer, 5+rand.Float64()*200)}
	case 1:
		return &kgo.Record{Topic: "payments", Key: []byte(customer), Value: fmt.Appendf(nil,
			`{"order":%d,"method":%q}`, n-1, []string{"card", "transfer", "voucher"}[rand.IntN(3)])}
	}
	return &kgo.Record{Topic: "clicks", Key: []byte(customer), Value: fmt.Appendf(nil,
		`{"customer":%q,"page":"/item/%d"}`, customer, rand.IntN(500))}
}
