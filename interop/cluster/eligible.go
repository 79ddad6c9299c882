package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// eligibleSteps are about eligible leader replicas (KIP-966). They leave no topic behind.
var eligibleSteps = []step{
	{"topics: describe shows the last known leader, which leads again", lastKnownLeads},
	{"an eligible replica leads when the last one in sync is killed", eligibleLeads},
}

// shows waits until Kafka's tool describes a topic like this, and logstead's command line shows the same eligible replicas.
func (c *cluster) shows(ctx context.Context, topic, want, elr, last string) error {
	_, err := c.until(ctx, patience, func() (string, error) {
		out, err := c.admin(ctx, topics, "--describe", "--topic", topic)
		if err == nil && !regexp.MustCompile(want).MatchString(oneLine(out)) {
			err = fmt.Errorf("no %q in: %s", want, oneLine(out))
		}
		if err != nil {
			return "", err
		}
		out, err = c.cli(ctx, "topic", "describe", topic, "-o", "json")
		if ours := fmt.Sprintf(`"eligible_leader_replicas": [%s], "last_known_elr": [%s]`, elr, last); err == nil && !strings.Contains(spaceless(out), spaceless(ours)) {
			err = fmt.Errorf("no %s in: %s", ours, oneLine(out))
		}
		return "", err
	})
	return err
}

func spaceless(s string) string { return strings.Join(strings.Fields(s), "") }

// lastKnownLeads kills the only replica of a partition, which leads again when it is back.
func lastKnownLeads(ctx context.Context, c *cluster) (string, error) {
	const topic = "lone"
	if _, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", "1"); err != nil {
		return "", err
	}
	if err := c.fill(ctx, topic, 100); err != nil {
		return "", err
	}
	if err := c.shows(ctx, topic, "Leader: 1 Replicas: 1 Isr: 1 Elr: LastKnownElr:", "", ""); err != nil {
		return "", err
	}
	if err := c.End(1, os.Kill); err != nil {
		return "", err
	}
	if err := c.shows(ctx, topic, "Leader: none Replicas: 1 Isr: Elr: 1 LastKnownElr: 1", "1", "1"); err != nil {
		return "", err
	}
	if err := c.Start(1); err != nil {
		return "", err
	}
	if err := c.shows(ctx, topic, "Leader: 1 Replicas: 1 Isr: 1 Elr: LastKnownElr:", "", ""); err != nil {
		return "", err
	}
	return c.holds(ctx, topic, 100)
}

// holds wants so many records of fill in a topic, each once, and deletes it.
func (c *cluster) holds(ctx context.Context, topic string, n int) (string, error) {
	out, err := c.cli(ctx, "consume", topic, "-o", ":end", "-f", "%v\n")
	if err != nil {
		return "", err
	}
	if got := strings.Count(out, "record-"); got != n {
		return "", fmt.Errorf("%d records, want the %d that were acknowledged", got, n)
	}
	_, err = c.admin(ctx, topics, "--delete", "--topic", topic)
	return fmt.Sprint(n), err
}

// eligibleLeads kills one follower, stops the other in order, which makes it eligible, and kills the leader, the last one
// in sync. With the two back the eligible one leads, and everything that was acknowledged is there.
func eligibleLeads(ctx context.Context, c *cluster) (string, error) {
	const topic = "eligible"
	if _, err := c.admin(ctx, topics, "--create", "--topic", topic, "--replica-assignment", "1:2:3"); err != nil {
		return "", err
	}
	if err := c.shows(ctx, topic, `Leader: 1 Replicas: 1,2,3 Isr: \d,\d,\d Elr: LastKnownElr:`, "", ""); err != nil {
		return "", err
	}
	if err := c.fill(ctx, topic, 500); err != nil {
		return "", err
	}
	if err := c.End(3, os.Kill); err != nil {
		return "", err
	}
	if err := c.shows(ctx, topic, "Leader: 1 Replicas: 1,2,3 Isr: (1,2|2,1) Elr: LastKnownElr:", "", ""); err != nil {
		return "", err
	}
	if err := c.fill(ctx, topic, 500); err != nil {
		return "", err
	}
	// The quorum ends with this, after it has decided that the broker leaves the set.
	if err := c.End(2, syscall.SIGTERM); err != nil {
		return "", err
	}
	if err := c.shows(ctx, topic, "Leader: 1 Replicas: 1,2,3 Isr: 1 Elr: 2 LastKnownElr:", "2", ""); err != nil {
		return "", err
	}
	if err := c.refused(ctx, topic); err != nil {
		return "", err
	}
	if err := c.End(1, os.Kill); err != nil {
		return "", err
	}
	for _, id := range []int{3, 2} {
		if err := c.Start(id); err != nil {
			return "", err
		}
	}
	if err := c.shows(ctx, topic, "Leader: 2 Replicas: 1,2,3 Isr: (2,3|3,2) Elr: LastKnownElr:", "", ""); err != nil {
		return "", err
	}
	if err := c.Start(1); err != nil {
		return "", err
	}
	if err := c.shows(ctx, topic, `Leader: [12] Replicas: 1,2,3 Isr: \d,\d,\d Elr: LastKnownElr:`, "", ""); err != nil {
		return "", err
	}
	return c.holds(ctx, topic, 1000)
}

// refused wants that nothing is acknowledged with acks=all below min.insync.replicas.
func (c *cluster) refused(ctx context.Context, topic string) error {
	cl, err := c.kgo(kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = c.until(ctx, patience, func() (string, error) { // two of the three nodes that the client may ask are not there
		err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("refused")}).FirstErr()
		switch {
		case err == nil:
			return "", &final{errors.New("a record with one replica in sync is acknowledged, want NOT_ENOUGH_REPLICAS")}
		case !errors.Is(err, kerr.NotEnoughReplicas):
			return "", fmt.Errorf("a record with one replica in sync: %w, want NOT_ENOUGH_REPLICAS", err)
		}
		return "", nil
	})
	return err
}
