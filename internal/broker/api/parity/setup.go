package parity

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// createAndFill makes a topic of one partition with n records that have keys.
func createAndFill(r *Run, name string, n int, configs ...string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cfg := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		cfg[configs[i]] = &configs[i+1]
	}
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, cfg, name); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	for i := range n {
		rec := &kgo.Record{Topic: name, Key: fmt.Append(nil, i), Value: []byte("value")}
		if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
			return fmt.Errorf("produce to %s: %w", name, err)
		}
	}
	return nil
}
