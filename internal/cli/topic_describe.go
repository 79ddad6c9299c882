package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/kit/base"
)

type topicDescription struct {
	Name       string           `json:"name"`
	ID         string           `json:"id"`
	Internal   bool             `json:"internal"`
	Replicas   int              `json:"replication_factor"`
	Health     string           `json:"health"`
	Records    int64            `json:"records"`
	Bytes      int64            `json:"bytes"` // of all copies; -1 when the brokers do not tell
	Partitions []topicPartition `json:"partitions"`
	Configs    []configRow      `json:"configs"`
	configNote string
}

type topicPartition struct {
	Partition int32   `json:"partition" col:"PARTITION"`
	Leader    int32   `json:"leader" col:"LEADER"`
	Epoch     int32   `json:"leader_epoch" col:"EPOCH"`
	Replicas  []int32 `json:"replicas" col:"REPLICAS"`
	ISR       []int32 `json:"in_sync" col:"IN-SYNC"`
	ELR       []int32 `json:"eligible_leader_replicas" col:"ELR,wide"` // nil where the brokers do not tell
	LastELR   []int32 `json:"last_known_elr" col:"LAST-KNOWN-ELR,wide"`
	Offline   []int32 `json:"offline" col:"OFFLINE,wide"`
	Start     *int64  `json:"start_offset" col:"START"`
	End       *int64  `json:"end_offset" col:"END"`
	Records   *int64  `json:"records" col:"RECORDS"`
	Bytes     *int64  `json:"bytes" col:"SIZE,bytes"`
	Status    string  `json:"status" col:"STATUS"`
}

// topicDescriptions is what topic describe prints.
type topicDescriptions []topicDescription

func (ds topicDescriptions) names() []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.Name
	}
	return out
}

// eligible is a partition in whose in-sync set too few are left (KIP-966).
type eligible struct {
	Partition int32   `col:"PARTITION"`
	ELR       []int32 `col:"ELR"`
	LastELR   []int32 `col:"LAST-KNOWN-ELR"`
}

func (d *topicDescription) eligible() (rows []eligible) {
	for _, p := range d.Partitions {
		if len(p.ELR)+len(p.LastELR) > 0 {
			rows = append(rows, eligible{p.Partition, p.ELR, p.LastELR})
		}
	}
	return rows
}

func (ds topicDescriptions) sections(wide bool) []section {
	var out []section
	for _, d := range ds {
		facts := []fact{
			{"Topic", d.Name}, {"Id", d.ID}, {"Health", d.Health},
			{"Partitions", fmt.Sprint(len(d.Partitions))}, {"Copies", fmt.Sprint(d.Replicas)},
			{"Records", humanCount(d.Records)},
		}
		if d.Bytes >= 0 {
			facts = append(facts, fact{"Size", humanBytes(d.Bytes)})
		}
		if d.Internal {
			facts = append(facts, fact{"Internal", "yes"})
		}
		out = append(out, section{facts: facts}, section{rows: d.Partitions})
		if rows := d.eligible(); len(rows) > 0 && !wide {
			out = append(out, section{title: "Who may lead when nobody is in sync", rows: rows})
		}
		if len(d.Configs) > 0 {
			out = append(out, section{title: "Settings of its own", rows: d.Configs})
		} else {
			out = append(out, section{text: d.configNote})
		}
	}
	return out
}

func topicDescribeCmd(a *App) *cobra.Command {
	var regex bool
	c := &cobra.Command{
		Use:   "describe TOPIC...",
		Short: "Show a topic: partitions, leaders, copies, offsets, size and settings",
		Example: examples(
			"", "logstead topic describe orders",
			"the partitions as a spreadsheet", "logstead topic describe orders -o csv",
			"leaders, with jq", "logstead topic describe orders -o json | jq '.[0].partitions[].leader'"),
		Args:              minArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(a, cmd, func(cn *conn) (topicDescriptions, error) { return cn.describeTopics(args, regex) })
		},
	}
	c.Flags().BoolVarP(&regex, "regex", "r", false, "take TOPIC as a regular expression")
	return c
}

func (c *conn) describeTopics(args []string, regex bool) (topicDescriptions, error) {
	details, err := c.topics(args, regex)
	if err != nil {
		return nil, err
	}
	names := details.Names()
	e := c.listEndsOf(details)
	bytes, err := c.partitionBytes(names)
	if err != nil {
		c.app.debug("sizes are missing: %v", err)
	}
	elrs, err := c.eligibleLeaders(names)
	if err != nil {
		c.app.debug("eligible leader replicas are missing: %v", err)
	}
	configs, configErr := c.ownConfigs(names)
	var out topicDescriptions
	for _, d := range details.Sorted() {
		if d.Err != nil {
			return nil, asFault(fmt.Sprintf("cannot describe topic %q", d.Topic), d.Err)
		}
		desc := describeTopic(d, e, bytes[d.Topic])
		for i := range desc.Partitions {
			row := &desc.Partitions[i]
			e := elrs[base.TopicPartition{Topic: d.Topic, Partition: row.Partition}]
			row.ELR, row.LastELR = e.ELR, e.LastELR
		}
		desc.Configs = configs[d.Topic]
		desc.configNote = "No settings of its own: every setting is the broker's default."
		if configErr != nil {
			desc.configNote = "Settings: not shown, " + configErr.Error()
		}
		out = append(out, desc)
	}
	return out, nil
}

func describeTopic(d kadm.TopicDetail, e ends, sizes map[int32]map[int32]int64) topicDescription {
	out := topicDescription{
		Name: d.Topic, ID: topicIDText(d.ID), Internal: d.IsInternal, Replicas: d.Partitions.NumReplicas(),
		Health: topicHealth(d), Bytes: -1,
	}
	for _, p := range d.Partitions.Sorted() {
		row := topicPartition{
			Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch,
			Replicas: p.Replicas, ISR: sorted(p.ISR), Offline: p.OfflineReplicas, Status: partitionStatus(p),
		}
		if le, err := e.of(d.Topic, p.Partition); err == nil {
			n := le.end - le.start
			row.Start, row.End, row.Records = &le.start, &le.end, &n
			out.Records += n
		}
		if replicas, ok := sizes[p.Partition]; ok {
			leader := replicas[p.Leader]
			row.Bytes = &leader
			out.Bytes = max(out.Bytes, 0)
			for _, n := range replicas {
				out.Bytes += n
			}
		}
		out.Partitions = append(out.Partitions, row)
	}
	return out
}

// eligibleLeaders are the eligible leader replicas of every partition, which Metadata does not tell.
func (c *conn) eligibleLeaders(topics []string) (map[base.TopicPartition]eligible, error) {
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	for _, name := range topics {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	out := map[base.TopicPartition]eligible{}
	for {
		resp, err := call(c, "cannot read eligible leader replicas", func(ctx context.Context) (*kmsg.DescribeTopicPartitionsResponse, error) {
			return req.RequestWith(ctx, c.cl)
		})
		if err != nil {
			return nil, err
		}
		before := len(out)
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if t.Topic != nil && p.ErrorCode == 0 {
					out[base.TopicPartition{Topic: *t.Topic, Partition: p.Partition}] = eligible{
						p.Partition, append([]int32{}, sorted(p.EligibleLeaderReplicas)...), append([]int32{}, sorted(p.LastKnownELR)...),
					}
				}
			}
		}
		if resp.NextCursor == nil || len(out) == before {
			return out, nil
		}
		next := kmsg.NewDescribeTopicPartitionsRequestCursor()
		next.Topic, next.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
		req.Cursor = &next
	}
}

func sorted(ids []int32) []int32 {
	out := slices.Clone(ids)
	slices.Sort(out)
	return out
}

func partitionStatus(p kadm.PartitionDetail) string {
	switch {
	case p.Leader < 0:
		return "no leader"
	case p.Err != nil:
		return errorName(p.Err)
	case len(p.ISR) < len(p.Replicas):
		return "under-replicated"
	}
	return "ok"
}

// ownConfigs are the settings that the topics have themselves, by topic.
func (c *conn) ownConfigs(names []string) (map[string][]configRow, error) {
	all, err := call(c, "cannot read topic settings", func(ctx context.Context) (kadm.ResourceConfigs, error) {
		return c.DescribeTopicConfigs(ctx, names...)
	})
	if err != nil {
		return nil, err
	}
	out := map[string][]configRow{}
	for _, rc := range all {
		if rc.Err != nil {
			return nil, kafkaFault("cannot read topic settings", rc.Err, rc.ErrMessage)
		}
		out[rc.Name] = ownConfigRows(rc)
	}
	return out, nil
}

func base64URL(b []byte) string { return base64.URLEncoding.EncodeToString(b) }

// errorName is the Kafka name of an error, or its text.
func errorName(err error) string {
	if code := kafkaCode(err); code != 0 {
		return kafkaName(kerr.TypedErrorForCode(code))
	}
	return err.Error()
}
