package cli

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

type groupDescription struct {
	Name        string           `json:"name"`
	Type        string           `json:"type"`
	State       string           `json:"state"`
	Coordinator int32            `json:"coordinator"`
	Protocol    string           `json:"protocol,omitempty"`
	Assignor    string           `json:"assignor,omitempty"`
	Epoch       *int32           `json:"epoch,omitempty"`
	Lag         int64            `json:"lag"`
	Topics      []groupTopicLag  `json:"topics"`
	Partitions  []groupPartition `json:"partitions"`
	Members     []groupMember    `json:"members"`
	Error       string           `json:"error,omitempty"`

	hasCommit, membersKnown bool
	view                    groupView
}

type groupTopicLag struct {
	Topic      string `json:"topic" col:"TOPIC"`
	Partitions int    `json:"partitions" col:"PARTITIONS"`
	Lag        int64  `json:"lag" col:"LAG"`
}

type groupPartition struct {
	Topic     string `json:"topic" col:"TOPIC"`
	Partition int32  `json:"partition" col:"PARTITION"`
	Committed *int64 `json:"committed" col:"COMMITTED"`
	Start     *int64 `json:"start_offset" col:"LOG-START,wide"`
	End       *int64 `json:"end_offset" col:"LOG-END"`
	Lag       *int64 `json:"lag" col:"LAG"`
	Member    string `json:"member_id,omitempty" col:"MEMBER,wide"`
	ClientID  string `json:"client_id,omitempty" col:"CLIENT"`
	Host      string `json:"host,omitempty" col:"HOST"`
	Metadata  string `json:"metadata,omitempty" col:"METADATA,wide"`
	Error     string `json:"error,omitempty" col:"ERROR,wide"`
}

type groupMember struct {
	Member     string   `json:"member_id" col:"MEMBER"`
	Instance   string   `json:"instance_id,omitempty" col:"INSTANCE"`
	ClientID   string   `json:"client_id" col:"CLIENT"`
	Host       string   `json:"host" col:"HOST"`
	Epoch      *int32   `json:"epoch,omitempty" col:"EPOCH,wide"`
	Count      int      `json:"partitions" col:"PARTITIONS"`
	Assigned   []string `json:"assigned" col:"ASSIGNED,wide"`
	Subscribed []string `json:"subscribed" col:"SUBSCRIBED,wide"`
	parts      kadm.TopicsSet
}

// groupView selects what the table shows; JSON has everything.
type groupView struct{ members, offsets bool }

type groupDescriptions []groupDescription

func (ds groupDescriptions) names() []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.Name
	}
	return out
}

func (ds groupDescriptions) sections(bool) []section {
	var out []section
	for _, d := range ds {
		out = append(out, d.factSection())
		if d.Error != "" {
			out = append(out, section{text: "not complete: " + d.Error})
		}
		if d.view.offsets && len(d.Partitions) > 0 {
			out = append(out, section{rows: d.Partitions})
		}
		if d.view.offsets && len(d.Topics) > 1 {
			out = append(out, section{title: "By topic", rows: d.Topics})
		}
		if d.view.members && len(d.Members) > 0 {
			out = append(out, section{title: "Members", rows: d.Members})
		}
	}
	return out
}

func (d groupDescription) factSection() section {
	facts := []fact{{"Group", d.Name}, {"Type", d.Type}, {"State", d.State}, {"Coordinator", fmt.Sprint(d.Coordinator)}}
	if d.Assignor != "" {
		facts = append(facts, fact{"Assignor", d.Assignor})
	}
	if d.Epoch != nil {
		facts = append(facts, fact{"Epoch", fmt.Sprint(*d.Epoch)})
	}
	lag := "nothing committed"
	if d.hasCommit {
		lag = humanCount(d.Lag)
	}
	facts = append(facts, fact{"Members", fmt.Sprint(len(d.Members))}, fact{"Lag", lag})
	return section{facts: facts}
}

func (d groupDescription) topicNames() []string {
	out := make([]string, len(d.Topics))
	for i, t := range d.Topics {
		out[i] = t.Topic
	}
	return out
}

func groupDescribeCmd(a *App) *cobra.Command {
	var regex, byLag bool
	view := groupView{members: true, offsets: true}
	var only string
	c := &cobra.Command{
		Use:     "describe GROUP...",
		Aliases: []string{"lag"},
		Short:   "Show a group: state, members, place and lag in each partition",
		Long: `Show groups of the classic and of the consumer (KIP-848) protocol. COMMITTED is the next record the
group will read; LAG is how many are left, 0 at least.`,
		Example: examples(
			"", "logstead group describe billing",
			"the worst partitions first", "logstead group describe billing --by-lag",
			"total lag for a monitor", "logstead group describe billing -o json | jq '.[0].lag'",
			"as a spreadsheet", "logstead group describe billing -o csv"),
		Args:              minArgs("GROUP"),
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch only {
			case "":
			case "members":
				view.offsets = false
			case "offsets":
				view.members = false
			default:
				return usagef("--only %q is not members or offsets", only)
			}
			cn, err := a.dial(cmd)
			if err != nil {
				return err
			}
			defer cn.close()
			listed, err := cn.findGroups(args, regex)
			if err != nil {
				return err
			}
			ds := cn.describeGroups(listed)
			for i := range ds {
				ds[i].view = view
				if byLag {
					ds[i].sortByLag()
				}
			}
			if err := a.emit(groupDescriptions(ds)); err != nil {
				return err
			}
			return describeOutcome(ds)
		},
	}
	c.Flags().BoolVarP(&regex, "regex", "r", false, "take GROUP as a regular expression")
	c.Flags().BoolVar(&byLag, "by-lag", false, "partitions with the most lag first")
	c.Flags().StringVar(&only, "only", "", "show only `PART`: members or offsets")
	return c
}

func describeOutcome(ds []groupDescription) error {
	var results []itemResult
	for _, d := range ds {
		r := itemResult{Name: d.Name}
		if d.Error != "" {
			r.fail(&Fault{What: fmt.Sprintf("cannot describe group %q in full", d.Name), Why: d.Error})
		}
		results = append(results, r)
	}
	return finish("cannot describe every group in full", results)
}

func (d *groupDescription) sortByLag() {
	lag := func(p *int64) int64 {
		if p == nil {
			return -1
		}
		return *p
	}
	sort.SliceStable(d.Partitions, func(i, j int) bool { return lag(d.Partitions[i].Lag) > lag(d.Partitions[j].Lag) })
	sort.SliceStable(d.Topics, func(i, j int) bool { return d.Topics[i].Lag > d.Topics[j].Lag })
}

// describeGroups describes each group as far as it may; what is missing is told in Error.
func (c *conn) describeGroups(listed []listedGroup) []groupDescription {
	out := make([]groupDescription, len(listed))
	var classic, modern []string
	for i, g := range listed {
		out[i] = groupDescription{Name: g.name, Type: g.kind, State: g.state, Coordinator: g.coordinator,
			Protocol: g.protocol}
		switch g.kind {
		case "consumer":
			modern = append(modern, g.name)
		case "classic", "":
			classic = append(classic, g.name)
		default:
			out[i].Error = fmt.Sprintf("groups of type %s have no members or lag that this command can show", g.kind)
		}
	}
	old, oldErr := c.classicMembers(classic)
	new, newErr := c.modernMembers(modern)
	commits := map[string]committed{}
	topics := map[string]bool{}
	for i := range out {
		d := &out[i]
		switch d.Type {
		case "consumer":
			d.addModern(new[d.Name], newErr)
		case "classic":
			d.addClassic(old[d.Name], oldErr)
		default:
			continue
		}
		cm, err := c.committedOffsets(d.Name)
		if err != nil {
			d.Error = joinText(d.Error, err.Error())
		}
		commits[d.Name] = cm
		for t := range cm {
			topics[t] = true
		}
		for _, m := range d.Members {
			for t := range m.parts {
				topics[t] = true
			}
		}
	}
	e, err := c.endsOf(sortedKeys(topics))
	for i := range out {
		if err != nil {
			out[i].Error = joinText(out[i].Error, err.Error())
		}
		out[i].addPartitions(commits[out[i].Name], e)
	}
	return out
}

func joinText(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// endsOf is listEnds, but of no topics it asks nothing: an empty list would mean all of them.
func (c *conn) endsOf(topics []string) (ends, error) {
	if len(topics) == 0 {
		return ends{}, nil
	}
	return c.listEnds(topics, nil, false)
}

func (c *conn) classicMembers(names []string) (kadm.DescribedGroups, error) {
	if len(names) == 0 {
		return nil, nil
	}
	return call(c, "cannot describe groups", func(ctx context.Context) (kadm.DescribedGroups, error) {
		return c.DescribeGroups(ctx, names...)
	})
}

func (c *conn) modernMembers(names []string) (kadm.DescribedConsumerGroups, error) {
	if len(names) == 0 {
		return nil, nil
	}
	return call(c, "cannot describe groups", func(ctx context.Context) (kadm.DescribedConsumerGroups, error) {
		return c.DescribeConsumerGroups(ctx, names...)
	})
}

func (d *groupDescription) addClassic(g kadm.DescribedGroup, err error) {
	if err == nil {
		err = g.Err
	}
	if err != nil {
		d.Error = errorName(err)
		return
	}
	d.membersKnown = true
	d.State, d.Assignor = firstOf(g.State, d.State), g.Protocol
	for _, m := range g.Members {
		row := groupMember{Member: m.MemberID, Instance: deref(m.InstanceID), ClientID: m.ClientID,
			Host: trimHost(m.ClientHost)}
		if as, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range as.Topics {
				row.parts.Add(t.Topic, t.Partitions...)
			}
		}
		if sub, ok := m.Join.AsConsumer(); ok {
			row.Subscribed = sub.Topics
		}
		d.Members = append(d.Members, row.counted())
	}
	d.sortMembers()
}

func (d *groupDescription) addModern(g kadm.DescribedConsumerGroup, err error) {
	if err == nil {
		err = g.Err
	}
	if err != nil {
		d.Error = errorName(err)
		return
	}
	d.membersKnown = true
	epoch := g.Epoch
	d.State, d.Assignor, d.Epoch = firstOf(g.State, d.State), g.AssignorName, &epoch
	for _, m := range g.Members {
		e := m.MemberEpoch
		row := groupMember{Member: m.MemberID, Instance: deref(m.InstanceID), ClientID: m.ClientID,
			Host:  trimHost(m.ClientHost),
			Epoch: &e, parts: m.Assignment, Subscribed: m.SubscribedTopics}
		if re := deref(m.SubscribedTopicRegex); re != "" {
			row.Subscribed = append(row.Subscribed, "/"+re+"/")
		}
		d.Members = append(d.Members, row.counted())
	}
	d.sortMembers()
}

func trimHost(h string) string { return strings.TrimPrefix(h, "/") } // Java writes addresses as "/1.2.3.4"

func (m groupMember) counted() groupMember {
	for _, t := range m.parts.Sorted() {
		m.Count += len(t.Partitions)
		m.Assigned = append(m.Assigned, t.Topic+":"+rangeText(t.Partitions))
	}
	return m
}

// rangeText writes 0-3,5 for sorted partitions.
func rangeText(ps []int32) string {
	var parts []string
	for i := 0; i < len(ps); {
		j := i
		for j+1 < len(ps) && ps[j+1] == ps[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, fmt.Sprint(ps[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", ps[i], ps[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

func (d *groupDescription) sortMembers() {
	sort.Slice(d.Members, func(i, j int) bool { return d.Members[i].Member < d.Members[j].Member })
}

// addPartitions joins commits, log ends and owners.
func (d *groupDescription) addPartitions(cm committed, e ends) {
	owner := map[partitionKey]*groupMember{}
	keys := map[partitionKey]bool{}
	for i := range d.Members {
		d.Members[i].parts.Each(func(t string, p int32) {
			owner[partitionKey{t, p}] = &d.Members[i]
			keys[partitionKey{t, p}] = true
		})
	}
	for t, parts := range cm {
		for p := range parts {
			keys[partitionKey{t, p}] = true
		}
	}
	for k := range keys {
		d.Partitions = append(d.Partitions, d.partitionRow(k, cm, e, owner[k]))
	}
	sort.Slice(d.Partitions, func(i, j int) bool {
		a, b := d.Partitions[i], d.Partitions[j]
		if a.Topic != b.Topic {
			return a.Topic < b.Topic
		}
		return a.Partition < b.Partition
	})
	d.sumTopics()
}

func (d *groupDescription) partitionRow(k partitionKey, cm committed, e ends, owner *groupMember) groupPartition {
	row := groupPartition{Topic: k.topic, Partition: k.partition}
	if owner != nil {
		row.Member, row.ClientID, row.Host = owner.Member, owner.ClientID, owner.Host
	}
	le, err := e.of(k.topic, k.partition)
	if err == nil {
		row.Start, row.End = &le.start, &le.end
	} else {
		row.Error = errorName(err)
	}
	at, ok := cm[k.topic][k.partition]
	switch {
	case ok && at.err != nil:
		row.Error = errorName(at.err)
	case ok:
		row.Committed, row.Metadata = &at.offset, at.metadata
		d.hasCommit = true
		if err == nil {
			lag := lagOf(at.offset, le)
			row.Lag = &lag
		}
	}
	return row
}

func (d *groupDescription) sumTopics() {
	for _, p := range d.Partitions {
		n := len(d.Topics)
		if n == 0 || d.Topics[n-1].Topic != p.Topic {
			d.Topics = append(d.Topics, groupTopicLag{Topic: p.Topic})
			n++
		}
		t := &d.Topics[n-1]
		t.Partitions++
		if p.Lag != nil {
			t.Lag += *p.Lag
			d.Lag += *p.Lag
		}
	}
}
