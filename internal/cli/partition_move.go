package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/logstead/logstead/internal/cluster/balance"
)

type moveTarget struct {
	replicas, from, to, file string
}

func partitionMoveCmd(a *App) *cobra.Command {
	var t moveTarget
	var fl moveFlags
	c := &cobra.Command{
		Use:   "move [TOPIC[:PARTITIONS]...]",
		Short: "Move partitions to other brokers",
		Long: `Move partitions to other brokers: to a list of replicas, from one broker to another, or as a plan of
kafka-reassign-partitions says. New replicas copy the partition first and join the in-sync set; then the
old ones are dropped. So many partitions move at once as --concurrent says, and --throttle limits what a
broker copies.

It waits for the end and then elects the preferred leaders. If it is interrupted, what is under way goes
on, and the same command takes up the rest.`,
		Example: examples(
			"one partition; the first broker is the preferred leader", "logstead partition move orders:0 --replicas 2,3,4",
			"every replica of a topic from broker 1 to broker 4", "logstead partition move orders --from 1 --to 4",
			"a plan, slowly", "logstead partition move --file plan.json --throttle 20MiB -y",
			"only look", "logstead partition move orders:0-5 --replicas 2,3,4 --dry-run"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.guardWrite(); err != nil {
				return err
			}
			if err := t.check(args); err != nil {
				return err
			}
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			l, err := cn.layout(true)
			if err != nil {
				return err
			}
			moves, err := t.moves(l, args)
			if err != nil {
				return err
			}
			return cn.carryOut(l, moves, fl, "Move these partitions?", "Every partition is there already.")
		},
	}
	c.Flags().StringVar(&t.replicas, "replicas", "", "the brokers to have the partitions, the preferred leader first, such as 2,3,4")
	c.Flags().StringVar(&t.from, "from", "", "the broker to take replicas from (with --to)")
	c.Flags().StringVar(&t.to, "to", "", "the broker to give them to (with --from)")
	c.Flags().StringVar(&t.file, "file", "", "a plan as kafka-reassign-partitions reads it")
	fl.add(c.Flags())
	a.completeFlagBrokers(c, "from", "to", "replicas")
	return c
}

func (t *moveTarget) check(args []string) error {
	ways := 0
	for _, set := range []bool{t.replicas != "", t.from != "" || t.to != "", t.file != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways != 1:
		return usagef("where to?").try("--replicas 2,3,4, or --from 1 --to 4, or --file plan.json")
	case (t.from == "") != (t.to == ""):
		return usagef("--from and --to go together").try("--from 1 --to 4")
	case t.file != "" && len(args) > 0:
		return usagef("--file names the partitions already").try("no TOPIC beside it")
	case t.replicas != "" && len(args) == 0:
		return usagef("which partitions?").try("logstead partition move orders:0 --replicas %s", t.replicas)
	}
	return nil
}

func (t *moveTarget) moves(l *layout, args []string) ([]balance.Move, error) {
	if t.file != "" {
		return l.movesOfPlan(t.file)
	}
	parts, err := l.choose(args)
	if err != nil {
		return nil, err
	}
	next, err := t.next(l)
	if err != nil {
		return nil, err
	}
	var out []balance.Move
	for _, p := range parts {
		replicas, err := next(p)
		if err != nil {
			return nil, err
		}
		m, err := l.moveTo(p.topic, p.partition, replicas)
		if err != nil {
			return nil, err
		}
		if m != nil {
			out = append(out, *m)
		}
	}
	return append(out, l.underWay(func(p *layoutPart) bool {
		return slices.Contains(parts, p) && !slices.ContainsFunc(out, func(m balance.Move) bool {
			return m.Topic == p.topic && m.Partition == p.partition
		})
	})...), nil
}

// next is the function from a partition to the replicas that it shall have.
func (t *moveTarget) next(l *layout) (func(*layoutPart) ([]int32, error), error) {
	if t.replicas != "" {
		ids, err := parseBrokers(t.replicas)
		return func(*layoutPart) ([]int32, error) { return ids, nil }, err
	}
	from, err := parseBroker(t.from)
	if err != nil {
		return nil, err
	}
	to, err := parseBroker(t.to)
	if err != nil {
		return nil, err
	}
	if err := l.needBroker(to); err != nil {
		return nil, err
	}
	return func(p *layoutPart) ([]int32, error) {
		now := p.target()
		i := slices.Index(now, from)
		if i < 0 {
			return now, nil
		}
		if slices.Contains(now, to) {
			f := usagef("partition %s is on brokers %s already: two replicas on one broker are none the safer", p.name(), joinInts(now))
			return nil, f.try("another broker with --to, or --replicas for this partition")
		}
		now[i] = to
		return now, nil
	}, nil
}

func (l *layout) movesOfPlan(path string) ([]balance.Move, error) {
	f, err := readPlan(path)
	if err != nil {
		return nil, err
	}
	var out []balance.Move
	for _, p := range f.Partitions {
		m, err := l.moveTo(p.Topic, p.Partition, p.Replicas)
		if err != nil {
			return nil, err
		}
		if m != nil {
			out = append(out, *m)
		}
	}
	return append(out, l.underWay(func(p *layoutPart) bool {
		return slices.ContainsFunc(f.Partitions, func(want reassignmentFilePart) bool {
			return want.Topic == p.topic && want.Partition == p.partition && slices.Equal(want.Replicas, p.target())
		})
	})...), nil
}

func partitionCancelCmd(a *App) *cobra.Command {
	var danger dangerFlags
	c := &cobra.Command{
		Use:   "cancel [TOPIC[:PARTITIONS]...]",
		Short: "Stop reassignments that are under way; partitions stay where they were",
		Example: examples(
			"all of them", "logstead partition cancel",
			"", "logstead partition cancel orders:0 -y"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			cn, err := a.dialToWrite(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			return cn.cancelMoves(args, danger)
		},
	}
	danger.add(c.Flags())
	return c
}

func (c *conn) cancelMoves(args []string, danger dangerFlags) error {
	l, err := c.layout(true)
	if err != nil {
		return err
	}
	parts, err := l.choose(args)
	if err != nil {
		return err
	}
	moves := l.underWay(func(p *layoutPart) bool { return slices.Contains(parts, p) })
	rows := planOf(l, moves, "").Moves
	for i := range rows {
		rows[i].Status = "would be cancelled"
	}
	if danger.dryRun || len(rows) == 0 {
		return c.app.emit(rows)
	}
	if err := c.app.preview(danger, rows); err != nil {
		return err
	}
	if err := c.app.confirm(danger, "Cancel these moves?", 1); err != nil {
		return err
	}
	var req kadm.AlterPartitionAssignmentsReq
	for _, m := range moves {
		req.CancelAssign(m.Topic, m.Partition)
	}
	resps, err := call(c, "cannot cancel moves", func(ctx context.Context) (kadm.AlterPartitionAssignmentsResponses, error) {
		return c.AlterPartitionAssignments(ctx, req)
	})
	if err != nil {
		return err
	}
	results := make([]itemResult, len(rows))
	for i := range rows {
		results[i].Name = fmt.Sprintf("%s-%d", rows[i].Topic, rows[i].Partition)
		rows[i].Status = "cancelled"
		r := resps[rows[i].Topic][rows[i].Partition]
		switch {
		case kafkaCode(r.Err) == 85: // it has ended meanwhile
			rows[i].Status = "ended before"
		case r.Err != nil:
			results[i].fail(kafkaFault("cannot cancel the move of "+results[i].Name, r.Err, r.ErrMessage))
			rows[i].Status, rows[i].Error = moveFailed, results[i].Error
		}
	}
	if err := c.app.emit(rows); err != nil {
		return err
	}
	return finish("cannot cancel every move", results)
}
