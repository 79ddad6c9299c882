package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Mark is a quota of nobody's: left behind what a controller has decided, it shows on a broker when what was decided before does.
type Mark struct {
	Name string // the client id; no client has it
	Left int64  // how often it was left
}

// Asker asks a node; 0 is any.
type Asker func(ctx context.Context, node int, req kmsg.Request) (kmsg.Response, error)

// Settle leaves the mark and waits until it shows on the nodes. A node may have read it at once with what was decided before and
// be at work on both, so a second one follows, which it reads when it is done with the first.
func (m *Mark) Settle(ctx context.Context, nodes []int, ask Asker) error {
	for range 2 {
		m.Left++
		if err := Again(ctx, func() error { return m.leave(ctx, ask) }); err != nil {
			return fmt.Errorf("leave a mark in the metadata: %w", err)
		}
		for _, node := range nodes {
			if err := Again(ctx, func() error { return m.see(ctx, node, ask) }); err != nil {
				return fmt.Errorf("node %d has not acted on what the controller decided: %w", node, err)
			}
		}
	}
	return nil
}

func (m *Mark) leave(ctx context.Context, ask Asker) error {
	alter := kmsg.NewPtrAlterClientQuotasRequest()
	e, en, op := kmsg.NewAlterClientQuotasRequestEntry(), kmsg.NewAlterClientQuotasRequestEntryEntity(), kmsg.NewAlterClientQuotasRequestEntryOp()
	en.Type, en.Name = "client-id", &m.Name
	op.Key, op.Value = "request_percentage", float64(m.Left)
	e.Entity, e.Ops = append(e.Entity, en), append(e.Ops, op)
	alter.Entries = append(alter.Entries, e)
	resp, err := ask(ctx, 0, alter)
	if err != nil {
		return err
	}
	for _, e := range resp.(*kmsg.AlterClientQuotasResponse).Entries {
		err = errors.Join(err, kerr.ErrorForCode(e.ErrorCode))
	}
	return err
}

func (m *Mark) see(ctx context.Context, node int, ask Asker) error {
	describe := kmsg.NewPtrDescribeClientQuotasRequest()
	c := kmsg.NewDescribeClientQuotasRequestComponent()
	c.EntityType, c.MatchType, c.Match = "client-id", kmsg.QuotasMatchTypeExact, &m.Name
	describe.Components, describe.Strict = append(describe.Components, c), true
	resp, err := ask(ctx, node, describe)
	if err != nil {
		return err
	}
	entries := resp.(*kmsg.DescribeClientQuotasResponse).Entries
	if len(entries) != 1 || len(entries[0].Values) != 1 || entries[0].Values[0].Value != float64(m.Left) {
		return fmt.Errorf("mark %d is not there yet", m.Left)
	}
	return nil
}

// againPause is between two goes of Again.
const againPause = 2 * time.Millisecond

// Again does something until it is done or the time is up: nodes may just have been started again.
func Again(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(againPause):
		}
	}
}
