package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const clockShift = time.Hour

// shift moves the wall clock of a node until it is healed.
func (x *injection) shift(nd *node, by time.Duration) error {
	back, err := setClock(nd.pid(), by)
	if back != nil {
		x.onHeal(func(context.Context) error { return back() })
	}
	return err
}

// clockJump has the clock of a leader or of the active controller jump an hour, as far in the other direction, and back.
func clockJump(ctx context.Context, x *injection) error {
	pick, by := theLeader, clockShift
	if x.rng.IntN(2) == 0 {
		pick = theController
	}
	if x.rng.IntN(2) == 0 {
		by = -by
	}
	nd, err := pick(ctx, x)
	if err != nil {
		return err
	}
	x.what = fmt.Sprintf("of node %d by %v", nd.id, by)
	if err := x.shift(nd, by); err != nil {
		return err
	}
	if err := x.mustRead(ctx, nd, by); err != nil {
		return err
	}
	if err := wait(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := x.shift(nd, -by); err != nil {
		return err
	}
	return x.mustRead(ctx, nd, -by)
}

// clockSkew gives every node a time of its own, up to an hour from that of the others.
func clockSkew(ctx context.Context, x *injection) error {
	for _, nd := range x.c.nodes {
		by := time.Duration(x.rng.Int64N(int64(2*clockShift))) - clockShift
		by = by.Truncate(time.Second)
		x.what += fmt.Sprintf("of node %d by %v ", nd.id, by)
		if err := x.shift(nd, by); err != nil {
			return err
		}
		if err := x.mustRead(ctx, nd, by); err != nil {
			return err
		}
	}
	return nil
}

// mustRead checks that a node's clock is off by so much: it stamps a record with its time.
func (x *injection) mustRead(ctx context.Context, nd *node, by time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	topic := fmt.Sprintf("clock-%d", nd.id)
	one, stamp := "1", "LogAppendTime"
	cfg := map[string]*string{"min.insync.replicas": &one, "message.timestamp.type": &stamp}
	if err := x.c.createOn(ctx, topic, cfg, []int32{nd.id}); err != nil {
		return err
	}
	cl, err := x.c.newClient(admin, kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, kgo.SliceRecord([]byte("tick"))).FirstErr(); err != nil {
		return fmt.Errorf("write to %s: %w", topic, err)
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtEnd().Relative(-1)}})
	fs := cl.PollFetches(ctx)
	if err := errors.Join(ctx.Err(), fs.Err()); err != nil || fs.NumRecords() == 0 {
		return fmt.Errorf("%s: %d records: %w", topic, fs.NumRecords(), err)
	}
	off := fs.Records()[0].Timestamp.Sub(time.Now())
	if d := off - by; d.Abs() > clockShift/100 {
		return fmt.Errorf("the clock of node %d is off by %v, want %v", nd.id, off.Round(time.Second), by)
	}
	return nil
}
