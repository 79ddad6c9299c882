package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

type partitionRow struct {
	Topic     string  `json:"topic" col:"TOPIC"`
	Partition int32   `json:"partition" col:"PARTITION,left"`
	Leader    int32   `json:"leader" col:"LEADER,left"`
	Replicas  []int32 `json:"replicas" col:"REPLICAS"`
	ISR       []int32 `json:"in_sync" col:"IN-SYNC"`
	Adding    []int32 `json:"adding" col:"ADDING"`
	Removing  []int32 `json:"removing" col:"REMOVING"`
	Offline   []int32 `json:"offline" col:"OFFLINE,wide"`
	Bytes     *int64  `json:"bytes,omitempty" col:"SIZE,wide,bytes"`
	Copied    *int64  `json:"copied_bytes,omitempty" col:"COPIED,wide,bytes"`
	Status    string  `json:"status" col:"STATUS"`
}

type partitionFilter struct {
	moving, trouble, leaderless, under, notPreferred, internal bool
	broker                                                     string
}

func partitionListCmd(a *App) *cobra.Command {
	var f partitionFilter
	c := &cobra.Command{
		Use:     "list [TOPIC[:PARTITIONS]...]",
		Aliases: []string{"ls"},
		Short:   "List partitions with leader, replicas, and what is moving",
		Long: `List partitions. The first of REPLICAS is the preferred leader. ADDING and REMOVING show a reassignment
that is under way; with -o wide, COPIED is what the new replicas have so far and SIZE what they will have.`,
		Example: examples(
			"", "logstead partition list orders",
			"what is being moved, and how far it is", "logstead partition list --moving -o wide",
			"without leader, under-replicated or not led by the preferred leader", "logstead partition list --trouble",
			"what a broker holds", "logstead partition list --broker 3"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(a, cmd, func(cn *conn) ([]partitionRow, error) { return cn.partitionRows(args, f) })
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.moving, "moving", false, "only those with a reassignment under way")
	fl.BoolVar(&f.trouble, "trouble", false, "only those whose status is not ok")
	fl.BoolVar(&f.leaderless, "leaderless", false, "only those without a leader")
	fl.BoolVar(&f.under, "under-replicated", false, "only those with a replica that is not in sync")
	fl.BoolVar(&f.notPreferred, "not-preferred", false, "only those not led by their preferred leader")
	fl.StringVar(&f.broker, "broker", "", "only those with a replica on this broker")
	fl.BoolVarP(&f.internal, "internal", "i", false, "also those of internal topics")
	a.completeFlagBrokers(c, "broker")
	return c
}

func (c *conn) partitionRows(args []string, f partitionFilter) ([]partitionRow, error) {
	on := int32(-1)
	if f.broker != "" {
		id, err := parseBroker(f.broker)
		if err != nil {
			return nil, err
		}
		on = id
	}
	l, err := c.layout(c.app.format() != "table" && c.app.format() != "name")
	if err != nil {
		return nil, err
	}
	parts, err := l.choose(args)
	if err != nil {
		return nil, err
	}
	rows := []partitionRow{}
	for _, p := range parts {
		if p.internal && len(args) == 0 && !f.internal && f == (partitionFilter{}) {
			continue // a plain list is about the user's topics; a filter asks for trouble anywhere
		}
		if f.keeps(p) && (on < 0 || slices.Contains(p.replicas, on)) {
			rows = append(rows, rowOfPartition(p))
		}
	}
	return rows, nil
}

func (f *partitionFilter) keeps(p *layoutPart) bool {
	return (!f.moving || p.moving()) && (!f.trouble || p.status() != "ok") && (!f.leaderless || p.leader < 0) &&
		(!f.under || len(p.isr) < len(p.replicas)) && (!f.notPreferred || p.leader != p.replicas[0])
}

func rowOfPartition(p *layoutPart) partitionRow {
	row := partitionRow{
		Topic: p.topic, Partition: p.partition, Leader: p.leader, Replicas: p.replicas, ISR: sorted(p.isr),
		Adding: p.adding, Removing: p.removing, Offline: p.offline, Status: p.status(),
	}
	if len(p.sizes) > 0 {
		n := p.bytes()
		row.Bytes = &n
	}
	for _, id := range p.adding {
		row.Copied = addTo(row.Copied, p.sizes[id])
	}
	return row
}

// status says in words what is up with a partition, the worst first.
func (p *layoutPart) status() string {
	var s []string
	if p.leader < 0 {
		s = append(s, "no leader")
	}
	behind := 0
	for _, id := range p.replicas {
		if !slices.Contains(p.isr, id) && !slices.Contains(p.adding, id) {
			behind++
		}
	}
	if behind > 0 {
		s = append(s, "under-replicated")
	}
	if p.moving() {
		s = append(s, "moving")
	} else if p.leader >= 0 && len(p.replicas) > 0 && p.leader != p.replicas[0] {
		s = append(s, "not the preferred leader")
	}
	if len(s) == 0 {
		return "ok"
	}
	return strings.Join(s, ", ")
}
