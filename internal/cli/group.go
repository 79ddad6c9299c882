package cli

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func groupCmd(a *App) *cobra.Command {
	c := family("group", "Consumer groups: lag, members, moving their place",
		groupListCmd(a), groupDescribeCmd(a), groupResetCmd(a), groupDeleteOffsetsCmd(a), groupDeleteCmd(a))
	c.Aliases = []string{"groups"}
	c.Example = examples(
		"who is behind, and how far", "logstead group list",
		"one group in detail", "logstead group describe billing",
		"read again from an hour ago: look, then do", "logstead group reset billing --to @-1h --dry-run",
		"", "logstead group reset billing --to @-1h -y")
	return c
}

// listedGroup is what the brokers' group lists say.
type listedGroup struct {
	name, state, kind, protocol string
	coordinator                 int32
}

// listGroups asks every broker for its groups. A broker that fails is a warning, not the end.
func (c *conn) listGroups(states, types []string) ([]listedGroup, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, types
	ctx, cancel := c.step()
	defer cancel()
	shards := c.cl.RequestSharded(ctx, req)
	var out []listedGroup
	var firstErr error
	failed := 0
	for _, s := range shards {
		if s.Err != nil {
			firstErr, failed = s.Err, failed+1
			continue
		}
		resp := s.Resp.(*kmsg.ListGroupsResponse)
		if err := errorForCode(resp.ErrorCode); err != nil {
			firstErr, failed = err, failed+1
			continue
		}
		out = append(out, groupsOf(resp, s.Meta)...)
	}
	if failed > 0 {
		f := c.fault("cannot list groups", firstErr)
		if failed == len(shards) {
			return nil, f
		}
		c.app.warn("the list is not complete: %v", f)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out, nil
}

func groupsOf(resp *kmsg.ListGroupsResponse, from kgo.BrokerMetadata) []listedGroup {
	var out []listedGroup
	for _, g := range resp.Groups {
		lg := listedGroup{name: g.Group, state: g.GroupState, kind: g.GroupType, protocol: g.ProtocolType,
			coordinator: from.NodeID}
		if lg.kind == "" {
			lg.kind = "classic"
		}
		lg.kind = strings.ToLower(lg.kind)
		out = append(out, lg)
	}
	return out
}

// findGroups returns the groups that args select; one that is absent is a fault with the nearest names.
func (c *conn) findGroups(args []string, regex bool) ([]listedGroup, error) {
	all, err := c.listGroups(nil, nil)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	byName := map[string]listedGroup{}
	for i, g := range all {
		names[i], byName[g.name] = g.name, g
	}
	picked, missing, err := pickNames(names, args, regex)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, noSuchGroup(missing[0], names)
	}
	out := make([]listedGroup, len(picked))
	for i, n := range picked {
		out[i] = byName[n]
	}
	return out, nil
}

func noSuchGroup(name string, all []string) error {
	f := &Fault{What: fmt.Sprintf("group %q does not exist", name), Why: "GROUP_ID_NOT_FOUND (69)", Kafka: 69,
		Exit: exitNotFound, Similar: similar(name, all)}
	return f.try("logstead group list")
}

// committed are a group's committed offsets by topic and partition.
type committed map[string]map[int32]commitAt

type commitAt struct {
	offset   int64
	epoch    int32
	metadata string
	err      error
}

// committedOffsets reads all committed offsets of a group.
func (c *conn) committedOffsets(group string) (committed, error) {
	resps, err := call(c, fmt.Sprintf("cannot read the offsets of group %q", group),
		func(ctx context.Context) (kadm.OffsetResponses, error) {
			return c.FetchOffsets(ctx, group)
		})
	if err != nil {
		return nil, err
	}
	out := committed{}
	for t, parts := range resps {
		for p, r := range parts {
			if r.At < 0 && r.Err == nil {
				continue
			}
			if out[t] == nil {
				out[t] = map[int32]commitAt{}
			}
			out[t][p] = commitAt{offset: r.At, epoch: r.LeaderEpoch, metadata: r.Metadata, err: r.Err}
		}
	}
	return out, nil
}

// lagOf is how many records are left to read; it is never negative. A reader whose place was removed
// by retention has what is left of the log before it.
func lagOf(commit int64, le logEnds) int64 {
	return max(0, le.end-max(commit, le.start))
}
