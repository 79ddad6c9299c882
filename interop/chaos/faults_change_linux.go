package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rollingRestart stops and starts each node in order; what clients see of it is the gap.
func rollingRestart(ctx context.Context, x *injection) error {
	for _, nd := range x.c.nodes {
		x.onHeal(x.restart(nd))
		if err := nd.stop(time.Minute); err != nil {
			return err
		}
		if err := x.restart(nd)(ctx); err != nil {
			return err
		}
		if err := x.c.awaitWhole(ctx, wholeLimit, x.c.topics()...); err != nil {
			return err
		}
	}
	return nil
}

// reassignAndKill moves the leader of a partition to the end of its replicas, and kills a node meanwhile.
func reassignAndKill(ctx context.Context, x *injection) error {
	var req kadm.AlterPartitionAssignmentsReq
	for p := range int32(partitions) {
		order := []int32{1, 2, 3}
		x.rng.Shuffle(3, func(i, j int) { order[i], order[j] = order[j], order[i] })
		if n := len(x.c.nodes); n > 3 {
			for i := range order {
				order[i] = int32((int(p)+i*2)%n + 1)
			}
		}
		req.Assign(plainTopic, p, order)
	}
	err := x.c.insist(ctx, func(ctx context.Context) error {
		res, err := x.c.adm.AlterPartitionAssignments(ctx, req)
		if err == nil {
			err = res.Error()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reassign: %w", err)
	}
	return killOf(theLeader)(ctx, x)
}

// wipe kills a node that is no voter, takes all it has and has it begin anew under its id.
func wipe(ctx context.Context, x *injection) error {
	q, err := x.c.quorum(ctx)
	if err != nil {
		return err
	}
	var rest []*node
	for _, nd := range x.c.nodes {
		if _, ok := q.voters[nd.id]; !ok {
			rest = append(rest, nd)
		}
	}
	if len(rest) == 0 {
		return fmt.Errorf("every node is a voter: %v", q.voters)
	}
	nd := rest[x.rng.IntN(len(rest))]
	x.what = fmt.Sprintf("node %d", nd.id)
	x.onHeal(x.restart(nd))
	x.onHeal(func(ctx context.Context) error { return x.c.format(ctx, nd, true) })
	if err := nd.kill(); err != nil {
		return err
	}
	return os.RemoveAll(nd.data())
}

// recreateAndKill deletes a topic with records and makes it anew, while a node is killed: of the old records none is in
// the new one.
func recreateAndKill(ctx context.Context, x *injection) error {
	const topic = "churn"
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for round := range 2 {
		if err := x.c.createAnew(ctx, topic); err != nil {
			return fmt.Errorf("create %s: %w", topic, err)
		}
		if err := x.c.awaitWhole(ctx, wholeLimit, topic); err != nil {
			return err
		}
		if err := x.fill(ctx, topic, fmt.Sprintf("round %d", round)); err != nil {
			return err
		}
		if round == 0 {
			if err := x.c.deleteTopic(ctx, topic); err != nil {
				return fmt.Errorf("delete %s: %w", topic, err)
			}
		}
	}
	if err := killOf(theLeader)(ctx, x); err != nil {
		return err
	}
	x.onHeal(func(ctx context.Context) error { return x.c.deleteTopic(ctx, topic) })
	return nil
}

// fill writes 20 records into an empty topic and reads them back: exactly these.
func (x *injection) fill(ctx context.Context, topic, value string) error {
	const n = 20
	cl, err := x.c.newClient(admin, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for range n {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
			return fmt.Errorf("write to %s: %w", topic, err)
		}
	}
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %d of %d records: %w", topic, got, n, err)
		}
		for _, r := range fs.Records() {
			if string(r.Value) != value || r.Offset != int64(got) {
				return fmt.Errorf("%s: at %d stands %q, want %q at %d", topic, r.Offset, r.Value, value, got)
			}
			got++
		}
	}
	return nil
}

// voters makes an observer a voter and takes a voter out, while a node is killed.
func voters(ctx context.Context, x *injection) error {
	q, err := x.c.quorum(ctx)
	if err != nil {
		return err
	}
	var in, out []*node
	for _, nd := range x.c.nodes {
		if _, ok := q.voters[nd.id]; ok {
			out = append(out, nd)
		} else if _, ok := q.observers[nd.id]; ok {
			in = append(in, nd)
		}
	}
	if len(in) == 0 || len(out) < maxVoters {
		return fmt.Errorf("voters %v, observers %v: nobody can be exchanged", q.voters, q.observers)
	}
	add, remove := in[x.rng.IntN(len(in))], out[x.rng.IntN(len(out))]
	dead := x.other(add, remove)
	x.what = fmt.Sprintf("node %d in, %d killed, %d out (the leader is %d)", add.id, dead.id, remove.id, q.leader)
	if err := x.c.addVoter(ctx, add, q.observers[add.id]); err != nil {
		return fmt.Errorf("%s: add: %w", x.what, err)
	}
	if err := x.kill(dead); err != nil {
		return err
	}
	if err := x.c.removeVoter(ctx, remove, q.voters[remove.id]); err != nil {
		return fmt.Errorf("%s: remove: %w", x.what, err)
	}
	return x.c.insist(ctx, func(ctx context.Context) error { // who is asked may not have heard of it
		q, err := x.c.quorum(ctx)
		_, is := q.voters[add.id]
		if _, still := q.voters[remove.id]; err == nil && (!is || still) {
			err = fmt.Errorf("%s: the voters are %v", x.what, q.voters)
		}
		return err
	})
}
