package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type trimRow struct {
	Topic     string `json:"topic" col:"TOPIC"`
	Partition int32  `json:"partition" col:"PARTITION"`
	Start     int64  `json:"start_offset" col:"START"`
	NewStart  int64  `json:"new_start_offset" col:"NEW-START"`
	End       int64  `json:"end_offset" col:"END"`
	Removed   int64  `json:"removed" col:"REMOVED"`
	Status    string `json:"status" col:"STATUS"`
	Error     string `json:"error,omitempty" col:"ERROR,wide"`
	ErrorCode int16  `json:"kafka_code,omitempty"`
}

func topicTrimCmd(a *App) *cobra.Command {
	var danger dangerFlags
	var before, partitions string
	c := &cobra.Command{
		Use:   "trim TOPIC --before POINT",
		Short: "Remove the oldest records of a topic, up to an offset or a time",
		Long: `Remove records from the front of a topic's partitions. POINT is an offset, a time or "end":

  4711        everything below offset 4711      end     everything there is now
  -1000       all but the last 1000             +1000   the oldest 1000
  @-7d        everything older than 7 days      @2026-11-21T00:00:00Z

The space is freed when the segments concerned are removed, in whole.`,
		Example: examples(
			"", "logstead topic trim orders --before @-7d",
			"empty it", "logstead topic trim orders --before end -y",
			"one partition, look first", "logstead topic trim orders -p 3 --before 4711 --dry-run"),
		Args:              exactArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if before == "" {
				return usagef("--before is missing").try("--before end, --before 4711 or --before @-7d")
			}
			return a.topicTrim(cmd, args[0], partitions, before, danger)
		},
	}
	c.Flags().StringVar(&before, "before", "", "remove what is before this `POINT`")
	c.Flags().StringVarP(&partitions, "partitions", "p", "", "only these partitions, such as 0,2,5-8")
	danger.add(c.Flags())
	return c
}

func (a *App) topicTrim(cmd *cobra.Command, topic, partitions, before string, danger dangerFlags) error {
	point, err := parseOffsets(before, a.Now())
	if err != nil {
		return err
	}
	if point.to.kind != boundNone {
		return usagef("--before %s is a range: want one point", before)
	}
	want, err := parsePartitions(partitions)
	if err != nil {
		return err
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	plan, err := cn.planTrim(topic, want, point)
	if err != nil {
		return err
	}
	var removed int64
	for _, r := range plan {
		removed += r.Removed
	}
	if danger.dryRun || removed == 0 {
		return a.emit(plan)
	}
	if err := a.preview(danger, plan); err != nil {
		return err
	}
	question := fmt.Sprintf("Remove %s records from topic %q?", humanCount(removed), topic)
	if err := a.confirm(danger, question, 1); err != nil {
		return err
	}
	return cn.trim(plan)
}

func (c *conn) planTrim(topic string, want []int32, point offsetRange) ([]trimRow, error) {
	details, err := c.topics([]string{topic}, false)
	if err != nil {
		return nil, err
	}
	var plan []trimRow
	e, err := c.listEnds(details.Names(), point.times(), false)
	if err != nil {
		return nil, err
	}
	for _, d := range details.Sorted() {
		parts, err := checkPartitions(d, want)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			le, err := e.of(d.Topic, p)
			if err != nil {
				return nil, asFault(fmt.Sprintf("cannot read the offsets of %s-%d", d.Topic, p), err)
			}
			if point.from.kind == boundExact && point.from.n > le.end {
				return nil, &Fault{What: fmt.Sprintf("cannot trim %s-%d to offset %d", d.Topic, p, point.from.n),
					Why: fmt.Sprintf("OFFSET_OUT_OF_RANGE (1): it holds offsets %d to %d", le.start,
						le.end), Kafka: 1, Try: "--before end"}
			}
			to := point.resolve(le).position
			status := "would be trimmed"
			if to == le.start {
				status = "nothing to remove"
			}
			plan = append(plan, trimRow{Topic: d.Topic, Partition: p, Start: le.start, NewStart: to, End: le.end,
				Removed: to - le.start, Status: status})
		}
	}
	return plan, nil
}

func (c *conn) trim(plan []trimRow) error {
	offsets := kadm.Offsets{}
	for _, r := range plan {
		if r.Removed > 0 {
			offsets.AddOffset(r.Topic, r.Partition, r.NewStart, -1)
		}
	}
	resps, err := call(c, "cannot trim the topic", func(ctx context.Context) (kadm.DeleteRecordsResponses, error) {
		return c.DeleteRecords(ctx, offsets)
	})
	if err != nil {
		return err
	}
	var results []itemResult
	for i := range plan {
		row := &plan[i]
		if row.Removed == 0 {
			continue
		}
		res := itemResult{Name: fmt.Sprintf("%s-%d", row.Topic, row.Partition)}
		r, ok := resps.Lookup(row.Topic, row.Partition)
		switch {
		case !ok:
			res.fail(&Fault{What: "cannot trim " + res.Name, Why: "the broker did not answer for it"})
		case r.Err != nil:
			res.fail(asFault("cannot trim "+res.Name, r.Err))
		default:
			row.Status, row.NewStart, row.Removed = "trimmed", r.LowWatermark, r.LowWatermark-row.Start
		}
		if res.fault != nil {
			row.Status, row.Error, row.ErrorCode = "failed", res.Error, res.ErrorCode
			row.NewStart, row.Removed = row.Start, 0
		}
		results = append(results, res)
	}
	if err := c.app.emit(plan); err != nil {
		return err
	}
	return finish("cannot trim every partition", results)
}
