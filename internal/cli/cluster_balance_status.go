package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balanceStatus is what the active controller says of balancing.
type balanceStatus struct {
	Enabled    bool                `json:"enabled"`
	Controller int32               `json:"controller"`
	State      string              `json:"state"`
	Goals      []string            `json:"goals"`
	Deviation  map[string]float64  `json:"deviation"`
	Moving     []balanceMoving     `json:"moving"`
	LeftAlone  int                 `json:"left_alone"`
	Rounds     int64               `json:"rounds"`
	Moves      int64               `json:"moves"`
	Leaders    int64               `json:"leader_changes"`
	Bytes      int64               `json:"copied_bytes"`
	Overridden int64               `json:"overridden"`
	Brokers    []balanceBrokerLoad `json:"brokers"`
}

type balanceMoving struct {
	Topic     string  `json:"topic" col:"TOPIC"`
	Partition int32   `json:"partition" col:"PARTITION,left"`
	From      []int32 `json:"from" col:"FROM"`
	To        []int32 `json:"to" col:"TO"`
	Copy      int64   `json:"copy_bytes" col:"COPY,bytes"`
	Why       string  `json:"why" col:"WHY"`
}

type balanceBrokerLoad struct {
	Broker   int32 `json:"broker" col:"BROKER,left"`
	Replicas int   `json:"replicas" col:"REPLICAS"`
	Leaders  int   `json:"preferred_leaders" col:"LEADERS"`
	Bytes    int64 `json:"bytes" col:"SIZE,bytes"`
	In       int64 `json:"bytes_in_per_second" col:"IN/S,bytes"`
	Out      int64 `json:"bytes_out_per_second" col:"OUT/S,bytes"`
	Free     int64 `json:"free_bytes" col:"FREE,bytes"`
	Closed   bool  `json:"takes_no_replicas" col:"CLOSED"`
	Age      int64 `json:"report_age_ms" col:"REPORTED,ms"`
}

func (s balanceStatus) sections(bool) []section {
	on := "off: logstead config set broker default logstead.balance.enable=true switches it on"
	if s.Enabled {
		on = "on"
	}
	var far []string
	for _, g := range slices.Sorted(maps.Keys(s.Deviation)) {
		far = append(far, fmt.Sprintf("%s %.0f%%", g, 100*s.Deviation[g]))
	}
	out := []section{{facts: []fact{
		{"Balancing", on},
		{"State", s.State},
		{"Controller", fmt.Sprintf("node %d", s.Controller)},
		{"Goals", strings.Join(s.Goals, ", ")},
		{"Farthest from the mean", strings.Join(far, ", ")},
		{"Done", fmt.Sprintf("%s, %s and %s of leaders in %s", countOf(int(s.Moves), "move"), humanBytes(s.Bytes),
			countOf(int(s.Leaders), "change"), countOf(int(s.Rounds), "round"))},
		{"Given way to others", fmt.Sprintf("%d, and %s left alone now", s.Overridden, countOf(s.LeftAlone, "partition"))},
	}}}
	if len(s.Moving) > 0 {
		out = append(out, section{rows: s.Moving})
	}
	return append(out, section{rows: s.Brokers})
}

func balanceStatusCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what the active controller does for balance by itself",
		Long: `Show whether continuous balancing is on (logstead.balance.enable), what it does or waits for, what it has
done since this controller is the active one, and what each broker holds and carries, as it has reported.
Apache Kafka has nothing of the kind.`,
		Example: examples("", "logstead cluster balance status", "", "logstead cluster balance status -o json"),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(a, cmd, (*conn).balanceStatus)
		},
	}
}

func (c *conn) balanceStatus() (s balanceStatus, err error) {
	err = c.balanceAnswer("cannot tell the state of balancing", 0, &s)
	return s, err
}

// balanceAnswer reads what the active controller of logstead tells beside the quorum: its state (0) or the traffic of
// partitions (1).
func (c *conn) balanceAnswer(what string, partition int32, into any) error {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t, p := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	p.Partition = partition
	t.Topic, t.Partitions = "__logstead_balance", []kmsg.DescribeQuorumRequestTopicPartition{p}
	req.Topics = append(req.Topics, t)
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.DescribeQuorumResponse, error) { return req.RequestWith(ctx, c.cl) })
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return kafkaFault(what, err, deref(resp.ErrorMessage))
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		return &Fault{What: what, Why: "the active controller is none of logstead's, or of an earlier version", Exit: exitConflict}
	}
	text := deref(resp.Topics[0].Partitions[0].ErrorMessage)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return &Fault{What: what, Why: "the answer is not understood: " + err.Error()}
	}
	return nil
}

// layoutLoads fills what partitions carry, where the cluster tells it.
func (c *conn) layoutLoads(l *layout) {
	var loads map[string][][4]int64 // partition, bytes, bytes in and out a second
	if c.balanceAnswer("cannot tell the traffic of partitions", 1, &loads) != nil {
		return // Apache Kafka knows none: the plan goes by what it tells
	}
	for topic, rows := range loads {
		for _, r := range rows {
			if p := l.part(topic, int32(r[0])); p != nil {
				p.in, p.out = r[2], r[3]
			}
		}
	}
}
