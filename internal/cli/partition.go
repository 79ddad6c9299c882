package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func partitionCmd(a *App) *cobra.Command {
	c := family("partition", "Where replicas are: list, move, elect leaders, throttle",
		partitionListCmd(a), partitionMoveCmd(a), partitionCancelCmd(a), partitionElectCmd(a), partitionThrottleCmd(a))
	c.Aliases = []string{"partitions"}
	c.Example = examples(
		"what is not as it should be", "logstead partition list --trouble",
		"", "logstead partition move orders:0 --replicas 2,3,4",
		"", "logstead partition elect orders")
	return c
}

// partitionArg is TOPIC or TOPIC:PARTITIONS from the command line.
type partitionArg struct {
	topic      string // or a pattern
	partitions []int32
}

func parsePartitionArgs(args []string) ([]partitionArg, error) {
	out := make([]partitionArg, 0, len(args))
	for _, arg := range args {
		topic, list, some := strings.Cut(arg, ":")
		pa := partitionArg{topic: topic}
		if some {
			ids, err := parsePartitions(list)
			if err != nil {
				return nil, err
			}
			if len(ids) == 0 {
				return nil, usagef("%q names no partition", arg).try("%s:0, or %s for all of it", topic, topic)
			}
			pa.partitions = ids
		}
		out = append(out, pa)
	}
	return out, nil
}

// choose selects partitions by TOPIC or TOPIC:PARTITIONS arguments; none selects all. What is not there is an error.
func (l *layout) choose(args []string) ([]*layoutPart, error) {
	wanted, err := parsePartitionArgs(args)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range l.parts {
		names = append(names, l.parts[i].topic)
	}
	names = slices.Compact(names)
	chosen := map[*layoutPart]bool{}
	for _, w := range wanted {
		topics, missing, err := pickNames(names, []string{w.topic}, false)
		if err != nil {
			return nil, err
		}
		if len(missing) > 0 {
			return nil, noSuchTopic(w.topic, names, isGlob(w.topic))
		}
		for i := range l.parts {
			p := &l.parts[i]
			if slices.Contains(topics, p.topic) && (w.partitions == nil || slices.Contains(w.partitions, p.partition)) {
				chosen[p] = true
			}
		}
		for _, t := range topics {
			for _, id := range w.partitions {
				if l.part(t, id) == nil {
					return nil, &Fault{What: fmt.Sprintf("topic %q has no partition %d", t, id), Exit: exitNotFound, Kafka: 3,
						Why: "UNKNOWN_TOPIC_OR_PARTITION (3)"}
				}
			}
		}
	}
	var out []*layoutPart
	for i := range l.parts {
		if len(args) == 0 || chosen[&l.parts[i]] {
			out = append(out, &l.parts[i])
		}
	}
	return out, nil
}

// parseBroker reads a broker's id.
func parseBroker(s string) (int32, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if err != nil || n < 0 {
		return 0, usagef("%q is not a broker's id: want a number", s).try("logstead node list")
	}
	return int32(n), nil
}

func parseBrokers(s string) ([]int32, error) {
	var out []int32
	for _, part := range splitList(s) {
		id, err := parseBroker(part)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// setOf is the partitions as kadm wants them.
func setOf(parts []*layoutPart) kadm.TopicsSet {
	set := kadm.TopicsSet{}
	for _, p := range parts {
		set.Add(p.topic, p.partition)
	}
	return set
}
