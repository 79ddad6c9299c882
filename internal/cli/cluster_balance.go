package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/cluster/balance"
)

type balanceFlags struct {
	moveFlags
	execute   bool
	tolerance float64
	maxMoves  int
	maxBytes  string
	goals     []string
	minGain   int
	noLeaders bool
}

func clusterBalanceCmd(a *App) *cobra.Command {
	var fl balanceFlags
	c := &cobra.Command{
		Use:   "balance",
		Short: "Even out disks, traffic, replicas and leaders over the brokers",
		Long: `Plan moves that even out what brokers hold, and show the plan; nothing is moved without --execute. Replicas
of a partition that share a rack are spread first. Then what brokers hold and carry is brought within
--tolerance of the mean, with few moves, and preferred leaders are evened out, which copies nothing. WHY
names the goal that a move serves, with how far both brokers are from the mean before it.

Goals are disk, bytes-in, bytes-out, count (of replicas) and leaders. Bytes in and out are averages that
logstead's active controller knows; Apache Kafka tells none, and they are left out there. logstead cluster
balance status shows what the controller does by itself.

A plan never changes a replication factor, never gives a broker two replicas of a partition, never puts a
partition on fewer racks, and passes over brokers that are cordoned and partitions that are moving.`,
		Example: examples(
			"the plan", "logstead cluster balance",
			"carry it out, gently", "logstead cluster balance --execute --throttle 50MiB --concurrent 4",
			"a part of it", "logstead cluster balance --execute --max-moves 20 --max-bytes 100GiB",
			"for kafka-reassign-partitions", "logstead cluster balance --plan-file plan.json"),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := fl.options()
			if err != nil {
				return err
			}
			if fl.execute {
				if err := a.guardWrite(); err != nil {
					return err
				}
			}
			fl.danger.dryRun = fl.danger.dryRun || !fl.execute
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			l, err := cn.layout(true)
			if err != nil {
				return err
			}
			cn.layoutLoads(l)
			return cn.carryOut(l, balance.Balance(l.state(), o), fl.moveFlags, "Carry out this plan?", "Nothing to do: the brokers are even.")
		},
	}
	f := c.Flags()
	f.BoolVar(&fl.execute, "execute", false, "carry the plan out, not only show it")
	f.Float64Var(&fl.tolerance, "tolerance", balance.DefaultTolerance, "how far a broker may be from the mean, as a share of it")
	f.IntVar(&fl.maxMoves, "max-moves", 0, "partitions to copy at most (0: any number)")
	f.StringVar(&fl.maxBytes, "max-bytes", "", "bytes to copy at most, such as 100GiB")
	f.StringSliceVar(&fl.goals, "goals", balance.GoalNames(), "what to even out")
	f.IntVar(&fl.minGain, "min-gain", 0, "least improvement: hundredths of what a move shifts by which it must bring two brokers nearer")
	f.BoolVar(&fl.noLeaders, "no-leaders", false, "leave preferred leaders alone")
	fl.add(f)
	c.AddCommand(balanceStatusCmd(a))
	return c
}

func (fl *balanceFlags) options() (balance.Options, error) {
	o := balance.Options{Tolerance: fl.tolerance, MaxMoves: fl.maxMoves, NoLeaders: fl.noLeaders, MinGain: float64(fl.minGain) / 100, Goals: []balance.Goal{}}
	for _, name := range fl.goals {
		g, ok := balance.ParseGoal(name)
		if !ok {
			return o, usagef("--goals %s: want some of %s", name, strings.Join(balance.GoalNames(), ", "))
		}
		o.Goals = append(o.Goals, g)
	}
	if fl.minGain < 0 || fl.minGain > 100 {
		return o, usagef("--min-gain %d: want 0 to 100", fl.minGain)
	}
	if fl.tolerance <= 0 || fl.tolerance > 1 {
		return o, usagef("--tolerance %v: want a share of the mean, above 0 and up to 1", fl.tolerance)
	}
	if fl.maxMoves < 0 {
		return o, usagef("--max-moves %d: want 0 for any number, or more", fl.maxMoves)
	}
	if fl.maxBytes != "" {
		n, err := parseBytes(fl.maxBytes)
		if err != nil {
			return o, usagef("--max-bytes: %v", err)
		}
		o.MaxBytes = max(n, 1)
	}
	return o, nil
}
