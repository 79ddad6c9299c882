package cli

import (
	"context"
	"path"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type topicRow struct {
	Name       string `json:"name" col:"TOPIC"`
	Partitions int    `json:"partitions" col:"PARTITIONS"`
	Replicas   int    `json:"replication_factor" col:"REPLICAS"`
	Health     string `json:"health" col:"HEALTH"`
	Records    *int64 `json:"records,omitempty" col:"RECORDS,wide,count"`
	Bytes      *int64 `json:"bytes,omitempty" col:"SIZE,wide,bytes"`
	Internal   bool   `json:"internal" col:"INTERNAL,wide"`
	ID         string `json:"id" col:"ID,wide"`
}

func topicListCmd(a *App) *cobra.Command {
	var internal, regex, sizes bool
	c := &cobra.Command{
		Use:     "list [PATTERN...]",
		Aliases: []string{"ls"},
		Short:   "List topics",
		Long: `List topics with their partitions, copies and health. Health is "ok", or says how many partitions
lack a leader or an in-sync copy. RECORDS is the distance between the first and last offset, which
counts removed records of compacted topics too; SIZE is the space of all copies.`,
		Example: examples(
			"", "logstead topic list",
			"with record counts and sizes", "logstead topic list -o wide",
			"only names that match", "logstead topic list 'orders*' -o name"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(a, cmd, func(cn *conn) ([]topicRow, error) {
				return cn.topicRows(args, regex, internal, sizes || a.format() == "wide")
			})
		},
	}
	c.Flags().BoolVarP(&internal, "internal", "i", false, "also list internal topics, such as __consumer_offsets")
	c.Flags().BoolVarP(&regex, "regex", "r", false, "take PATTERN as a regular expression")
	c.Flags().BoolVar(&sizes, "sizes", false, "ask for records and bytes (on with -o wide)")
	return c
}

// topicRows lists topics. Unlike topics, a pattern that matches nothing gives no rows and no error.
func (c *conn) topicRows(args []string, regex, internal, sizes bool) ([]topicRow, error) {
	all, err := call(c, "cannot list topics", func(ctx context.Context) (kadm.TopicDetails, error) {
		return c.ListTopicsWithInternal(ctx)
	})
	if err != nil {
		return nil, err
	}
	names := all.Names()
	if len(args) > 0 {
		if names, _, err = pickNames(names, args, regex); err != nil {
			return nil, err
		}
	}
	rows := make([]topicRow, 0, len(names))
	for _, n := range names {
		d := all[n]
		if d.IsInternal && !internal && len(args) == 0 {
			continue
		}
		rows = append(rows, rowOfTopic(d))
	}
	if sizes {
		c.addSizes(rows)
	}
	return rows, nil
}

func rowOfTopic(d kadm.TopicDetail) topicRow {
	return topicRow{
		Name: d.Topic, Partitions: len(d.Partitions), Replicas: d.Partitions.NumReplicas(),
		Health: topicHealth(d), Internal: d.IsInternal, ID: topicIDText(d.ID),
	}
}

// topicIDText is Kafka's text form of a topic id.
func topicIDText(id kadm.TopicID) string { return strings.TrimRight(base64URL(id[:]), "=") }

// topicHealth says in a few words what is wrong with a topic.
func topicHealth(d kadm.TopicDetail) string {
	if d.Err != nil {
		if kafkaCode(d.Err) == 29 {
			return "no access"
		}
		return errorName(d.Err)
	}
	var leaderless, behind int
	for _, p := range d.Partitions {
		if p.Leader < 0 {
			leaderless++
		} else if len(p.ISR) < len(p.Replicas) {
			behind++
		}
	}
	switch {
	case leaderless > 0:
		return countOf(leaderless, "partition") + " without leader"
	case behind > 0:
		return countOf(behind, "partition") + " under-replicated"
	}
	return "ok"
}

// addSizes fills records and bytes; what may not be read stays empty, the list does not fail for it.
func (c *conn) addSizes(rows []topicRow) {
	if len(rows) == 0 {
		return
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
	}
	e, err := c.listEnds(names, nil, false)
	if err != nil {
		c.app.warn("record counts are missing: %v", err)
	}
	bytes, err := c.topicBytes(names)
	if err != nil {
		c.app.warn("sizes are missing: %v", err)
	}
	for i := range rows {
		if n, ok := e.records(rows[i].Name); ok {
			rows[i].Records = &n
		}
		if n, ok := bytes[rows[i].Name]; ok {
			rows[i].Bytes = &n
		}
	}
}

// records sums the offsets held by a topic's partitions.
func (e ends) records(topic string) (sum int64, ok bool) {
	for p := range e.end[topic] {
		le, err := e.of(topic, p)
		if err != nil {
			return 0, false
		}
		sum += le.end - le.start
		ok = true
	}
	return sum, ok
}

// topicBytes sums the log sizes of all copies by topic.
func (c *conn) topicBytes(names []string) (map[string]int64, error) {
	perPartition, err := c.partitionBytes(names)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for t, parts := range perPartition {
		for _, replicas := range parts {
			for _, n := range replicas {
				out[t] += n
			}
		}
	}
	return out, nil
}

// partitionBytes gives log sizes by topic, partition and broker.
func (c *conn) partitionBytes(names []string) (map[string]map[int32]map[int32]int64, error) {
	set := kadm.TopicsSet{}
	for _, n := range names {
		set.Add(n)
	}
	all, err := c.topicPartitionsOf(set)
	if err != nil {
		return nil, err
	}
	dirs, err := call(c, "cannot read log directories", func(ctx context.Context) (kadm.DescribedAllLogDirs, error) {
		return c.DescribeAllLogDirs(ctx, all)
	})
	if len(dirs) == 0 && err != nil {
		return nil, err
	}
	if err != nil { // of some brokers: what the others hold is told
		c.app.debug("sizes are missing: %v", err)
	}
	out := map[string]map[int32]map[int32]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if out[p.Topic] == nil {
				out[p.Topic] = map[int32]map[int32]int64{}
			}
			if out[p.Topic][p.Partition] == nil {
				out[p.Topic][p.Partition] = map[int32]int64{}
			}
			out[p.Topic][p.Partition][p.Broker] += p.Size
		})
	})
	return out, nil
}

// topicPartitionsOf completes a set of topics with all their partitions.
func (c *conn) topicPartitionsOf(set kadm.TopicsSet) (kadm.TopicsSet, error) {
	td, err := call(c, "cannot list topics", func(ctx context.Context) (kadm.TopicDetails, error) {
		return c.ListTopicsWithInternal(ctx, set.Topics()...)
	})
	if err != nil {
		return nil, err
	}
	return td.TopicsSet(), nil
}

// matchesAny says whether name matches one of the globs; no glob matches all.
func matchesAny(name string, globs []string) bool {
	for _, g := range globs {
		if ok, err := path.Match(g, name); (err == nil && ok) || g == name {
			return true
		}
	}
	return len(globs) == 0
}
