package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type resetRow struct {
	Topic     string `json:"topic" col:"TOPIC"`
	Partition int32  `json:"partition" col:"PARTITION"`
	Current   *int64 `json:"current" col:"CURRENT"`
	New       int64  `json:"new" col:"NEW"`
	Delta     *int64 `json:"delta" col:"DELTA"`
	Reread    int64  `json:"records_to_reread" col:"RECORDS-TO-REREAD"`
	Start     int64  `json:"log_start" col:"LOG-START"`
	End       int64  `json:"log_end" col:"LOG-END"`
	Error     string `json:"error,omitempty" col:"ERROR,wide"`
}

// resetPlan is the preview and the result of a reset; every logstead tool shows this table.
type resetPlan struct {
	Group   string     `json:"group"`
	Status  string     `json:"status"`
	Reread  int64      `json:"records_to_reread"`
	Skipped int64      `json:"records_skipped"`
	Rows    []resetRow `json:"partitions"`
}

func (p resetPlan) sections(bool) []section {
	total := fmt.Sprintf("%s: %s, %s records to read again, %s skipped", p.Status, countOf(len(p.Rows), "partition"),
		humanCount(p.Reread), humanCount(p.Skipped))
	return []section{{rows: p.Rows, text: total}}
}

type resetFlags struct {
	to, toGroup, toFile string
	shift               int64
	topics              []string
	danger              dangerFlags
	shiftSet            bool
}

func groupResetCmd(a *App) *cobra.Command {
	fl := resetFlags{}
	c := &cobra.Command{
		Use:     "reset GROUP",
		Aliases: []string{"seek"},
		Short:   "Move a group to another place: read again, or skip",
		Long: `Move the committed offsets of a group that has no running members. What will change is shown first.

  --to start | end         the oldest record, or only new ones
  --to 4711                an offset      --to -100   100 before the end     --to +100   100 after the start
  --to @-1h                a time (logstead help offsets)
  --shift -50              from where each partition is now
  --to-group OTHER         to where another group is
  --to-file FILE           lines of topic,partition,offset

A target outside the log is moved to its nearest end. Without --topic all topics of the group move;
a group that is new needs --topic.`,
		Example: examples(
			"look first", "logstead group reset billing --to @-1h --dry-run",
			"read everything again", "logstead group reset billing --to start",
			"one topic, two partitions", "logstead group reset billing --topic orders:0,3 --to 4711 -y",
			"make a new group start where another is", "logstead group reset billing-v2 --to-group billing -y",
			"save the place, and come back to it", "logstead group describe billing -o csv > place.csv",
			"", "logstead group reset billing --to-file place.csv"),
		Args:              exactArgs("GROUP"),
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			fl.shiftSet = cmd.Flags().Changed("shift")
			return a.groupReset(cmd, args[0], fl)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&fl.to, "to", "", "the new `PLACE`: start, end, N, +N, -N or @TIME")
	f.Int64Var(&fl.shift, "shift", 0, "move by this many records, back if negative")
	f.StringVar(&fl.toGroup, "to-group", "", "take the offsets of another `GROUP`")
	f.StringVar(&fl.toFile, "to-file", "", "take the offsets from a `FILE` (- is stdin)")
	f.StringSliceVarP(&fl.topics, "topic", "t", nil, "only this `TOPIC` or TOPIC:PARTITIONS (may be repeated)")
	fl.danger.add(f)
	return c
}

func (a *App) groupReset(cmd *cobra.Command, group string, fl resetFlags) error {
	if err := fl.check(); err != nil {
		return err
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	plan, err := cn.planReset(group, fl)
	if err != nil {
		return err
	}
	blocked := cn.groupInUse(group)
	if fl.danger.dryRun {
		plan.Status = "would move"
		if blocked != nil {
			a.warn("it would be refused now: %s", blocked.Why)
		}
		return a.emit(plan)
	}
	if blocked != nil {
		return blocked
	}
	plan.Status = "to move"
	if err := a.preview(fl.danger, plan); err != nil {
		return err
	}
	if err := a.confirm(fl.danger, fmt.Sprintf("Move group %q?", group), 1); err != nil {
		return err
	}
	return cn.applyReset(plan)
}

func (fl *resetFlags) check() error {
	n := 0
	for _, set := range []bool{fl.to != "", fl.toGroup != "", fl.toFile != "", fl.shiftSet} {
		if set {
			n++
		}
	}
	if n == 1 {
		return nil
	}
	return usagef("say where to move the group, once").try("one of --to, --shift, --to-group, --to-file")
}

// groupInUse explains why a group cannot be moved now: it has members. Brokers refuse it too, but do
// not say who is in the way.
func (c *conn) groupInUse(group string) *Fault {
	listed, err := c.findGroups([]string{group}, false)
	if err != nil || len(listed) == 0 {
		return nil // a group without commits does not exist yet
	}
	d := c.describeGroups(listed)[0]
	if len(d.Members) == 0 {
		return nil
	}
	m := d.Members[0]
	why := fmt.Sprintf("the group is %s with %s: %s (client id %s, host %s)", strings.ToLower(d.State),
		countOf(len(d.Members), "member"),
		m.Member, m.ClientID, m.Host)
	if len(d.Members) > 1 {
		why += " and others"
	}
	return &Fault{What: fmt.Sprintf("cannot move group %q", group), Why: why, Exit: exitConflict, Kafka: 68,
		Try: "stop its members first; logstead group describe " + shellQuote(group)}
}

// planReset computes the new place of every partition concerned.
func (c *conn) planReset(group string, fl resetFlags) (resetPlan, error) {
	plan := resetPlan{Group: group}
	now, err := c.committedOffsets(group)
	if err != nil && kafkaCode(err) != 69 {
		return plan, err
	}
	wanted, given, err := c.resetTargets(group, fl, now)
	if err != nil {
		return plan, err
	}
	point, err := fl.point(c.app)
	if err != nil {
		return plan, err
	}
	e, err := c.endsOf(wanted.Topics())
	if err == nil && len(point.times()) > 0 {
		e, err = c.listEnds(wanted.Topics(), point.times(), false)
	}
	if err != nil {
		return plan, err
	}
	for _, t := range wanted.Sorted() {
		for _, p := range t.Partitions {
			le, err := e.of(t.Topic, p)
			if err != nil {
				return plan, asFault(fmt.Sprintf("cannot read the offsets of %s-%d", t.Topic, p), err)
			}
			row, ok := resetRowFor(partitionKey{t.Topic, p}, le, now, given, point, fl)
			if ok {
				plan.add(row)
			}
		}
	}
	if len(plan.Rows) == 0 {
		return plan, &Fault{What: fmt.Sprintf("there is nothing to move in group %q", group), Exit: exitNotFound,
			Why: "no partition matches", Try: "logstead group describe " + shellQuote(group)}
	}
	return plan, nil
}

func (fl *resetFlags) point(a *App) (offsetRange, error) {
	if fl.to == "" {
		return offsetRange{}, nil
	}
	r, err := parseOffsets(fl.to, a.Now())
	if err == nil && r.to.kind != boundNone {
		err = usagef("--to %s is a range: want one place", fl.to)
	}
	return r, err
}

func resetRowFor(k partitionKey, le logEnds, now committed, given map[partitionKey]int64, point offsetRange,
	fl resetFlags) (resetRow, bool) {
	row := resetRow{Topic: k.topic, Partition: k.partition, Start: le.start, End: le.end}
	if at, ok := now[k.topic][k.partition]; ok && at.err == nil {
		cur := at.offset
		row.Current = &cur
	}
	switch {
	case given != nil:
		to, ok := given[k]
		if !ok {
			return row, false
		}
		row.New = to
	case fl.shiftSet:
		if row.Current == nil {
			return row, false // nowhere to shift from
		}
		row.New = *row.Current + fl.shift
	default:
		row.New = point.from.resolve(le)
	}
	row.New = min(max(row.New, le.start), le.end)
	if row.Current != nil {
		d := row.New - *row.Current
		row.Delta = &d
		row.Reread = max(0, min(*row.Current, le.end)-row.New)
	}
	return row, true
}

func (p *resetPlan) add(r resetRow) {
	p.Rows = append(p.Rows, r)
	p.Reread += r.Reread
	if r.Delta != nil && *r.Delta > 0 {
		p.Skipped += r.New - max(*r.Current, r.Start)
	}
}

// resetTargets decides which partitions are concerned, and for --to-group and --to-file where each
// goes.
func (c *conn) resetTargets(group string, fl resetFlags, now committed) (kadm.TopicsSet, map[partitionKey]int64,
	error) {
	var given map[partitionKey]int64
	var err error
	switch {
	case fl.toGroup != "":
		given, err = c.offsetsOfGroup(fl.toGroup)
	case fl.toFile != "":
		given, err = c.app.offsetsOfFile(fl.toFile)
	}
	if err != nil {
		return nil, nil, err
	}
	wanted := kadm.TopicsSet{}
	if len(fl.topics) > 0 {
		wanted, err = c.parseTopicPartitions(fl.topics)
		return wanted, given, err
	}
	for k := range given {
		wanted.Add(k.topic, k.partition)
	}
	if given == nil {
		names := sortedKeys(now)
		if len(names) == 0 {
			return nil, nil, &Fault{What: fmt.Sprintf("group %q has committed nothing", group), Exit: exitNotFound,
				Why: "so it has no topics to move in", Try: "--topic TOPIC"}
		}
		all, err := c.topics(names, false)
		if err != nil {
			return nil, nil, err
		}
		wanted = all.TopicsSet()
	}
	return wanted, given, nil
}

func (c *conn) offsetsOfGroup(group string) (map[partitionKey]int64, error) {
	cm, err := c.committedOffsets(group)
	if err != nil {
		return nil, err
	}
	out := map[partitionKey]int64{}
	for t, parts := range cm {
		for p, at := range parts {
			if at.err == nil {
				out[partitionKey{t, p}] = at.offset
			}
		}
	}
	if len(out) == 0 {
		return nil, &Fault{What: fmt.Sprintf("group %q has committed nothing", group), Exit: exitNotFound,
			Try: "logstead group list"}
	}
	return out, nil
}

// parseTopicPartitions reads TOPIC or TOPIC:0,2-4. pflag splits at commas, so a bare number belongs
// to the topic before it.
func (c *conn) parseTopicPartitions(args []string) (kadm.TopicsSet, error) {
	lists := map[string]string{}
	var order []string
	last := ""
	for _, arg := range args {
		topic, parts, ok := strings.Cut(arg, ":")
		if _, err := parsePartitions(arg); err == nil && !ok && last != "" && lists[last] != "" {
			lists[last] += "," + arg
			continue
		}
		last = topic
		if !slices.Contains(order, topic) {
			order = append(order, topic)
		}
		lists[topic] = parts
	}
	out := kadm.TopicsSet{}
	for _, t := range order {
		details, err := c.topics([]string{t}, false)
		if err != nil {
			return nil, err
		}
		want, err := parsePartitions(lists[t])
		if err != nil {
			return nil, err
		}
		for _, d := range details.Sorted() {
			ps, err := checkPartitions(d, want)
			if err != nil {
				return nil, err
			}
			out.Add(d.Topic, ps...)
		}
	}
	return out, nil
}

// offsetsOfFile reads lines of "topic,partition,offset", the form of Kafka's own tools; spaces or tabs
// do as well. A header line may rename and add columns, so that the CSV of group describe works.
func (a *App) offsetsOfFile(path string) (map[partitionKey]int64, error) {
	in := a.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, &Fault{What: "cannot read " + path, Why: innermost(err), Exit: exitNotFound}
		}
		defer f.Close()
		in = f
	}
	out, err := parseOffsetFile(in)
	if err != nil {
		return nil, usagef("%s: %v", path, err).try("lines of topic,partition,offset")
	}
	return out, nil
}

func parseOffsetFile(in io.Reader) (map[partitionKey]int64, error) {
	out := map[partitionKey]int64{}
	sc := bufio.NewScanner(in)
	cols := [3]int{0, 1, 2}
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == '\t' || r == ' ' })
		if strings.Contains(line, ",") {
			fields = strings.Split(line, ",")
		}
		if n == 1 && fields[0] == "topic" {
			if cols = headerColumns(fields); cols[1] < 0 || cols[2] < 0 {
				return nil, errors.New("line 1: the header names no partition, or no offset")
			}
			continue
		}
		key, off, ok, err := offsetLine(fields, cols)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if ok {
			out[key] = off
		}
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("there are no offsets in it")
	}
	return out, nil
}

func headerColumns(fields []string) [3]int {
	cols := [3]int{0, slices.Index(fields, "partition"), -1}
	for _, name := range []string{"offset", "committed", "new"} {
		if i := slices.Index(fields, name); i >= 0 {
			cols[2] = i
			break
		}
	}
	return cols
}

func offsetLine(fields []string, cols [3]int) (key partitionKey, offset int64, ok bool, err error) {
	if len(fields) <= max(cols[1], cols[2]) {
		return key, 0, false, fmt.Errorf("want topic,partition,offset, found %d fields", len(fields))
	}
	p, err := parsePartition(fields[cols[1]])
	if err != nil {
		return key, 0, false, err
	}
	text := strings.TrimSpace(fields[cols[2]])
	if text == "" {
		return key, 0, false, nil // a partition without a commit
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return key, 0, false, fmt.Errorf("%q is not an offset", text)
	}
	return partitionKey{strings.TrimSpace(fields[cols[0]]), p}, n, true, nil
}

func (c *conn) applyReset(plan resetPlan) error {
	offsets := kadm.Offsets{}
	for _, r := range plan.Rows {
		offsets.AddOffset(r.Topic, r.Partition, r.New, -1)
	}
	what := fmt.Sprintf("cannot move group %q", plan.Group)
	resps, err := call(c, what, func(ctx context.Context) (kadm.OffsetResponses, error) {
		return c.CommitOffsets(ctx, plan.Group, offsets)
	})
	if err != nil {
		return err
	}
	var results []itemResult
	for i := range plan.Rows {
		row := &plan.Rows[i]
		res := itemResult{Name: fmt.Sprintf("%s-%d", row.Topic, row.Partition)}
		if r, ok := resps.Lookup(row.Topic, row.Partition); ok && r.Err != nil {
			res.fail(asFault(what, r.Err))
			row.Error = res.Error
		}
		results = append(results, res)
	}
	plan.Status = "moved"
	err = finish(what, results)
	if err != nil {
		plan.Status = "not moved everywhere"
	}
	sort.SliceStable(plan.Rows, func(i, j int) bool { return plan.Rows[i].Error > plan.Rows[j].Error })
	if eerr := c.app.emit(plan); eerr != nil {
		return eerr
	}
	return err
}
