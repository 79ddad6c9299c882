package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeFlags struct {
	offset      string
	partitions  string
	num         int64
	untilEnd    bool
	group       string
	format      string
	output      []string
	where       []string
	decode      string
	regex       bool
	uncommitted bool
	noCommit    bool
	instance    string
	protocol    string
}

func consumeCmd(a *App) *cobra.Command {
	fl := consumeFlags{}
	c := &cobra.Command{
		Use:     "consume TOPIC...",
		Aliases: []string{"tail", "sub"},
		Short:   "Read records from topics",
		Long: `Read records and print them. On a terminal they are laid out for eyes, in a pipe they are one JSON
object a line. Reading starts at the end, so that new records are shown; -o says otherwise, and with
-e everything up to now is read. Records of open or aborted transactions are left out.

-o takes an offset (see logstead help offsets) or an output format; --offset and --output are the
same, each for itself.`,
		Example: examples(
			"new records as they come", "logstead consume orders",
			"from the start", "logstead consume orders -o start",
			"the last ten of each partition, and stop", "logstead consume orders -o -10 -e",
			"an hour, as JSON, for jq", "logstead consume orders -o @-1h:end | jq -r .value",
			"only some records", "logstead consume orders -o start -e --where 'value.amount > 10' --where 'key=a*'",
			"a layout of your own", "logstead consume orders -f '%p/%o %k: %v\\n'",
			"as a member of a group, which remembers its place", "logstead consume orders -g billing -e"),
		Args:              minArgs("TOPIC"),
		Annotations:       map[string]string{"own-output": "yes"},
		ValidArgsFunction: a.completeTopics,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.consume(cmd, args, fl) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVarP(&fl.output, "output", "o", nil,
		"where to read (`OFFSET`) or how to print (json, ndjson, csv, name, ...)")
	f.StringVar(&fl.offset, "offset", "",
		"where to read: start, end, -10, 4711:4720, @-1h, ... (logstead help offsets)")
	f.StringVarP(&fl.partitions, "partitions", "p", "", "only these partitions, such as 0,2,5-8")
	f.Int64VarP(&fl.num, "num", "n", 0, "stop after this many records")
	f.BoolVarP(&fl.untilEnd, "until-end", "e", false, "stop at what is the end when the command starts")
	f.StringVarP(&fl.format, "format", "f", "",
		"print `FORMAT`: json, raw, pretty, or a layout with % (logstead help formats)")
	f.StringArrayVarP(&fl.where, "where", "w", nil,
		"print only records for which this holds, such as 'key=a*' (may be repeated)")
	f.StringVar(&fl.decode, "decode", "", "json: put values that are JSON into the output as JSON, not as text")
	f.StringVarP(&fl.group, "group", "g", "", "read as a member of this group and commit what was printed")
	f.BoolVar(&fl.noCommit, "no-commit", false, "with --group: do not commit")
	f.StringVar(&fl.instance, "group-instance", "", "with --group: a fixed member name (static membership)")
	f.StringVar(&fl.protocol, "group-protocol", "", "with --group: classic or consumer (KIP-848)")
	f.BoolVarP(&fl.regex, "regex", "r", false, "take TOPIC as a regular expression")
	f.BoolVar(&fl.uncommitted, "read-uncommitted", false, "also read records of open and aborted transactions")
	return c
}

func (a *App) consume(cmd *cobra.Command, args []string, fl consumeFlags) error {
	if err := fl.sortOutput(&a.flags.output); err != nil {
		return err
	}
	s, err := a.settings()
	if err != nil {
		return err
	}
	if fl.group == "" {
		fl.group = s.props.group
	}
	if s.props.isolation == "read_uncommitted" {
		fl.uncommitted = true
	}
	filters, err := parseFilters(fl.where)
	if err != nil {
		return err
	}
	out, err := a.newPrinter(fl)
	if err != nil {
		return err
	}
	rng, err := a.consumeRange(fl, s)
	if err != nil {
		return err
	}
	want, err := parsePartitions(fl.partitions)
	if err != nil {
		return err
	}
	if fl.group != "" && want != nil {
		return usagef("--group and --partitions exclude each other: a group divides the partitions itself")
	}
	plan, err := a.planConsume(cmd, args, fl, rng, want)
	if err != nil {
		return err
	}
	return a.runConsume(cmd, fl, plan, filters, out)
}

// sortOutput takes apart -o, which is an offset or a format.
func (fl *consumeFlags) sortOutput(global *string) error {
	for _, v := range fl.output {
		if looksLikeOffsets(v) {
			if fl.offset != "" && fl.offset != v {
				return usagef("two offsets were given: %s and %s", fl.offset, v)
			}
			fl.offset = v
			continue
		}
		if *global != "" && *global != v {
			return usagef("two output formats were given: %s and %s", *global, v)
		}
		*global = v
	}
	return nil
}

func parseFilters(exprs []string) ([]*filter, error) {
	var out []*filter
	for _, e := range exprs {
		f, err := parseWhere(e)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// consumeRange is the range asked for: --offset, else auto.offset.reset, else the end; with -e the
// default start is the start, for at the end there would be nothing to read.
func (a *App) consumeRange(fl consumeFlags, s *settings) (offsetRange, error) {
	expr := firstOf(fl.offset, s.props.offsetReset)
	if expr == "" {
		expr = "end"
		if fl.untilEnd {
			expr = "start"
		}
	}
	r, err := parseOffsets(expr, a.Now())
	if err != nil {
		return r, err
	}
	if fl.untilEnd && r.to.kind == boundNone {
		r.to = offsetBound{kind: boundEnd}
	}
	if fl.group != "" && r.to.kind != boundNone && r.to.kind != boundEnd {
		return r, usagef("with --group only the start can be given, and -e for the end")
	}
	return r, nil
}

// consumePlan is what will be read: a span for each partition.
type consumePlan struct {
	topics  []string
	spans   map[string]map[int32]span
	bounded bool
	rng     offsetRange
}

func (p *consumePlan) partitions() (n int) {
	for _, t := range p.spans {
		n += len(t)
	}
	return n
}

// planConsume resolves topics and offsets.
func (a *App) planConsume(cmd *cobra.Command, args []string, fl consumeFlags, rng offsetRange, want []int32) (
	*consumePlan, error) {
	cn, err := a.dial(cmd)
	if err != nil {
		return nil, err
	}
	defer cn.close()
	details, err := cn.topics(args, fl.regex)
	if err != nil {
		return nil, err
	}
	e, err := cn.awaitEnds(details.Names(), rng.times(), !fl.uncommitted)
	late, canWait := rng.onceLed()
	if err != nil {
		if !canWait || !cn.awaitsLeader(err) {
			return nil, err
		}
		if details, err = cn.topics(args, fl.regex); err != nil { // who has no leader now
			return nil, err
		}
	}
	plan := &consumePlan{topics: details.Names(), spans: map[string]map[int32]span{},
		bounded: rng.to.kind != boundNone, rng: rng}
	for _, d := range details.Sorted() {
		if d.Err != nil {
			return nil, asFault(fmt.Sprintf("cannot read topic %q", d.Topic), d.Err)
		}
		parts, err := checkPartitions(d, want)
		if err != nil {
			return nil, err
		}
		plan.spans[d.Topic] = map[int32]span{}
		for _, p := range parts {
			le, err := e.of(d.Topic, p)
			if err != nil && canWait && d.Partitions[p].Leader < 0 {
				a.warn("%s-%d has no leader; it is read once it has one", d.Topic, p)
				plan.spans[d.Topic][p] = late
				continue
			}
			if err != nil {
				return nil, asFault(fmt.Sprintf("cannot read the offsets of %s-%d", d.Topic, p), err)
			}
			plan.spans[d.Topic][p] = rng.resolve(le)
		}
	}
	if fl.group != "" {
		err = cn.startAtCommits(plan, fl.group)
	}
	return plan, err
}

// startAtCommits moves the plan of a group to its committed offsets.
func (c *conn) startAtCommits(plan *consumePlan, group string) error {
	commits, err := call(c, fmt.Sprintf("cannot read the offsets of group %q", group),
		func(ctx context.Context) (kadm.OffsetResponses, error) {
			return c.FetchOffsets(ctx, group)
		})
	if err != nil {
		if kafkaCode(err) == 69 {
			return nil // a new group has no commits
		}
		return err
	}
	for t, parts := range plan.spans {
		for p, s := range parts {
			if o, ok := commits.Lookup(t, p); ok && o.Err == nil && o.At >= 0 {
				s.first, s.position = o.At, o.At
				parts[p] = s
			}
		}
	}
	return nil
}

// consumeOptions are the client's options for the plan.
func (a *App) consumeOptions(fl consumeFlags, plan *consumePlan) ([]kgo.Opt, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	level := kgo.ReadCommitted()
	if fl.uncommitted {
		level = kgo.ReadUncommitted()
	}
	opts := []kgo.Opt{kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
	p := s.props
	if p.fetchMinBytes > 0 {
		opts = append(opts, kgo.FetchMinBytes(int32(p.fetchMinBytes)))
	}
	if p.fetchMaxBytes > 0 {
		opts = append(opts, kgo.FetchMaxBytes(int32(p.fetchMaxBytes)))
	}
	if p.fetchMaxWait > 0 {
		opts = append(opts, kgo.FetchMaxWait(p.fetchMaxWait))
	}
	if p.partitionMax > 0 {
		opts = append(opts, kgo.FetchMaxPartitionBytes(int32(p.partitionMax)))
	}
	if fl.group == "" {
		return append(opts, kgo.ConsumePartitions(plan.startOffsets())), nil
	}
	opts = append(opts, kgo.ConsumerGroup(fl.group), kgo.ConsumeTopics(plan.topics...), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.AdjustFetchOffsetsFn(plan.adjust))
	if fl.instance != "" {
		opts = append(opts, kgo.InstanceID(fl.instance))
	}
	switch fl.protocol {
	case "", "classic":
	case "consumer":
		// The client asks for the brokers' uniform assignor when its own balancer is the sticky one.
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	default:
		return nil, usagef("--group-protocol %q is not classic or consumer", fl.protocol)
	}
	return opts, nil
}

// startOffsets are the positions to read from, of the partitions that can hold anything.
func (p *consumePlan) startOffsets() map[string]map[int32]kgo.Offset {
	out := map[string]map[int32]kgo.Offset{}
	for t, parts := range p.spans {
		out[t] = map[int32]kgo.Offset{}
		for n, s := range parts {
			if !s.empty() {
				out[t][n] = kgo.NewOffset().At(s.position)
			}
		}
	}
	return out
}

// adjust places partitions without a commit at the start of the plan's range.
func (p *consumePlan) adjust(_ context.Context, fetched map[string]map[int32]kgo.Offset) (
	map[string]map[int32]kgo.Offset, error) {
	for t, parts := range fetched {
		for n, o := range parts {
			if s, ok := p.spans[t][n]; ok && o.EpochOffset().Offset < 0 {
				parts[n] = kgo.NewOffset().At(s.position)
			}
		}
	}
	return fetched, nil
}

// describePlan says in a line what is being waited for.
func (p *consumePlan) describe() string {
	names := p.topics
	if len(names) > 3 {
		names = append(slices.Clone(names[:3]), "...")
	}
	from := "the end; -o start reads from the beginning"
	if p.rng.from.kind != boundEnd {
		from = "the place asked for"
		if p.rng.from.kind == boundStart {
			from = "the start"
		}
	}
	return fmt.Sprintf("reading %s, %s, from %s (ctrl-c stops)", strings.Join(names, ", "),
		countOf(p.partitions(), "partition"), from)
}
