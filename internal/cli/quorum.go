package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func quorumCmd(a *App) *cobra.Command {
	c := family("quorum", "The controllers that agree on the metadata",
		quorumDescribeCmd(a), quorumAddCmd(a), quorumRemoveCmd(a))
	c.Example = examples(
		"", "logstead quorum describe",
		"", "logstead quorum add 4 --directory-id Hf9lXOqrSZyQ3lw0XpT5dw --controller 10.0.0.4:9093")
	return c
}

type quorumInfo struct {
	Leader        int32        `json:"leader"`
	Epoch         int32        `json:"epoch"`
	HighWatermark int64        `json:"high_watermark"`
	Nodes         []quorumNode `json:"nodes"`
}

type quorumNode struct {
	ID        int32  `json:"id" col:"NODE,left"`
	Role      string `json:"role" col:"ROLE"` // leader, voter or observer
	End       int64  `json:"log_end_offset" col:"END,count"`
	Lag       int64  `json:"lag" col:"LAG,count"`
	Behind    *int64 `json:"behind_ms" col:"BEHIND,ms"`
	Fetched   *int64 `json:"last_fetch_ms" col:"LAST-FETCH,ms"`
	Directory string `json:"directory_id,omitempty" col:"DIRECTORY"`
	Endpoint  string `json:"endpoint,omitempty" col:"ENDPOINT"`
}

func (q quorumInfo) sections(bool) []section {
	return []section{
		{facts: []fact{
			{"Leader", fmt.Sprintf("node %d, epoch %d", q.Leader, q.Epoch)},
			{"High watermark", humanCount(q.HighWatermark)},
			{"Voters", fmt.Sprintf("%d, of which %d can fail", q.voters(), (q.voters()-1)/2)},
		}},
		{rows: q.Nodes},
	}
}

func (q quorumInfo) voters() (n int) {
	for _, v := range q.Nodes {
		if v.Role != "observer" {
			n++
		}
	}
	return n
}

// dynamic says whether voters can come and go (KIP-853): they are known by their directories then.
func (q quorumInfo) dynamic() bool {
	return slices.ContainsFunc(q.Nodes, func(n quorumNode) bool { return n.Role != "observer" && n.Directory != "" })
}

func (q quorumInfo) node(id int32) *quorumNode {
	i := slices.IndexFunc(q.Nodes, func(n quorumNode) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return &q.Nodes[i]
}

func quorumDescribeCmd(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "describe",
		Aliases: []string{"info", "list"},
		Short:   "Show the leader, the voters and observers, and how far each is",
		Long: `Show the quorum of controllers. LAG counts records of the metadata log that a node lacks; BEHIND is how
long ago it last had everything, LAST-FETCH how long ago it was heard of. Voters elect the leader; observers,
which brokers are, only follow.
DIRECTORY names the log directory of a node: one that was wiped has another, and is another voter.`,
		Example: examples("", "logstead quorum describe", "", "logstead quorum describe -o json"),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(a, cmd, (*conn).quorum)
		},
	}
}

const metadataTopic = "__cluster_metadata"

func (c *conn) quorum() (quorumInfo, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic, t.Partitions = metadataTopic, []kmsg.DescribeQuorumRequestTopicPartition{kmsg.NewDescribeQuorumRequestTopicPartition()}
	req.Topics = append(req.Topics, t)
	const what = "cannot describe the quorum"
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.DescribeQuorumResponse, error) { return req.RequestWith(ctx, c.cl) })
	if err != nil {
		return quorumInfo{}, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return quorumInfo{}, kafkaFault(what, err, deref(resp.ErrorMessage))
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return quorumInfo{}, &Fault{What: what, Why: "the answer names no quorum"}
	}
	p := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return quorumInfo{}, kafkaFault(what, err, deref(p.ErrorMessage))
	}
	return quorumOf(p, resp.Nodes, c.app.Now()), nil
}

func quorumOf(p kmsg.DescribeQuorumResponseTopicPartition, nodes []kmsg.DescribeQuorumResponseNode, now time.Time) quorumInfo {
	q := quorumInfo{Leader: p.LeaderID, Epoch: p.LeaderEpoch, HighWatermark: p.HighWatermark}
	end := int64(-1)
	for _, v := range p.CurrentVoters {
		if v.ReplicaID == p.LeaderID {
			end = v.LogEndOffset
		}
	}
	add := func(role string, states []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) {
		for _, s := range states {
			n := quorumNode{ID: s.ReplicaID, Role: role, End: s.LogEndOffset, Lag: -1}
			if s.LogEndOffset >= 0 && end >= 0 {
				n.Lag = max(0, end-s.LogEndOffset)
			}
			if s.ReplicaID == p.LeaderID {
				n.Role = "leader"
			} else {
				n.since(s, now)
			}
			if s.ReplicaDirectoryID != [16]byte{} {
				n.Directory = base64.RawURLEncoding.EncodeToString(s.ReplicaDirectoryID[:])
			}
			n.Endpoint = endpointOf(s.ReplicaID, nodes)
			q.Nodes = append(q.Nodes, n)
		}
	}
	add("voter", p.CurrentVoters)
	add("observer", p.Observers)
	return q
}

func (n *quorumNode) since(s kmsg.DescribeQuorumResponseTopicPartitionReplicaState, now time.Time) {
	if s.LastCaughtUpTimestamp >= 0 {
		ms := max(0, now.UnixMilli()-s.LastCaughtUpTimestamp)
		n.Behind = &ms
	}
	if s.LastFetchTimestamp >= 0 {
		ms := max(0, now.UnixMilli()-s.LastFetchTimestamp)
		n.Fetched = &ms
	}
}

func endpointOf(id int32, nodes []kmsg.DescribeQuorumResponseNode) string {
	for _, n := range nodes {
		if n.NodeID != id {
			continue
		}
		var out []string
		for _, l := range n.Listeners {
			out = append(out, fmt.Sprintf("%s://%s:%d", l.Name, l.Host, l.Port))
		}
		return strings.Join(out, ",")
	}
	return ""
}

type quorumChange struct {
	ID        int32  `json:"id" col:"NODE,left"`
	Directory string `json:"directory_id" col:"DIRECTORY"`
	Voters    int    `json:"voters" col:"VOTERS"`
	Status    string `json:"status" col:"STATUS"`
}

type quorumFlags struct {
	directory, controller, listener string
	danger                          dangerFlags
}

func quorumAddCmd(a *App) *cobra.Command {
	var fl quorumFlags
	c := &cobra.Command{
		Use:   "add NODE",
		Short: "Make a controller that follows a voter",
		Long: `Make a controller a voter. It must run and follow the quorum already: format its directory with
--no-initial-controllers, start it, and see it as an observer in logstead quorum describe, where its directory
id is taken from. The quorum tells no addresses of observers: --controller gives it.

Change one voter at a time. The cluster must have been formatted with --standalone or --initial-controllers.`,
		Example: examples(
			"", "logstead quorum add 4 --controller 10.0.0.4:9093",
			"with everything said", "logstead quorum add 4 --controller 10.0.0.4:9093 --listener CONTROLLER --directory-id Hf9lXOqrSZyQ3lw0XpT5dw -y"),
		Args:              exactArgs("NODE"),
		ValidArgsFunction: a.completeQuorum("observer"),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.changeQuorum(cmd, args[0], fl, true) },
	}
	fl.add(c)
	c.Flags().StringVar(&fl.controller, "controller", "", "HOST:PORT of its listener for controllers")
	c.Flags().StringVar(&fl.listener, "listener", "CONTROLLER", "the name of that listener")
	return c
}

func quorumRemoveCmd(a *App) *cobra.Command {
	var fl quorumFlags
	c := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a voter out of the quorum",
		Long: `Take a voter out of the quorum. It may be gone. If it runs, stop it after this: it would otherwise follow as
an observer. More than half of the voters that are left must run.`,
		Example: examples("", "logstead quorum remove 3",
			"one of two with the same id, of which one was wiped", "logstead quorum remove 3 --directory-id Hf9lXOqrSZyQ3lw0XpT5dw"),
		Args:              exactArgs("NODE"),
		ValidArgsFunction: a.completeQuorum("voter"),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.changeQuorum(cmd, args[0], fl, false) },
	}
	fl.add(c)
	return c
}

func (fl *quorumFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&fl.directory, "directory-id", "", "its directory id, where the quorum knows several")
	fl.danger.add(c.Flags())
}

func (a *App) changeQuorum(cmd *cobra.Command, arg string, fl quorumFlags, add bool) error {
	if err := a.guardWrite(); err != nil {
		return err
	}
	id, err := parseBroker(arg)
	if err != nil {
		return err
	}
	cn, err := a.dial(cmd)
	if err != nil {
		return err
	}
	defer cn.close()
	q, err := cn.quorum()
	if err != nil {
		return err
	}
	dir, err := q.pick(id, fl.directory, add)
	if err != nil {
		return err
	}
	row := quorumChange{ID: id, Directory: dir, Voters: q.voters(), Status: "would be removed"}
	question := fmt.Sprintf("Take node %d out of the quorum?", id)
	if add {
		row.Status, question = "would be added", fmt.Sprintf("Make node %d a voter?", id)
	}
	if fl.danger.dryRun {
		return a.emit([]quorumChange{row})
	}
	if err := a.preview(fl.danger, q); err != nil {
		return err
	}
	if err := a.confirm(fl.danger, question, 1); err != nil {
		return err
	}
	if add {
		row.Status, row.Voters = "added", row.Voters+1
		err = cn.addVoter(id, dir, fl, q)
	} else {
		row.Status, row.Voters = "removed", row.Voters-1
		err = cn.removeVoter(id, dir)
	}
	if err != nil {
		return err
	}
	return a.emit([]quorumChange{row})
}

// pick finds the directory id of the node to add or remove.
func (q quorumInfo) pick(id int32, directory string, add bool) (string, error) {
	if !q.dynamic() {
		return "", &Fault{What: "cannot change the voters", Why: "kraft.version is 0: they are those that controller.quorum.voters lists",
			Try: "logstead cluster features upgrade --feature kraft.version=1", Exit: exitConflict}
	}
	role, other := "voter", "observer"
	if add {
		role, other = other, role
	}
	var found []string
	isOther := false
	for _, n := range q.Nodes {
		is := n.Role
		if is == "leader" {
			is = "voter"
		}
		if n.ID != id {
			continue
		}
		isOther = isOther || is == other
		if is == role && (directory == "" || n.Directory == directory) {
			found = append(found, n.Directory)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		f := usagef("node %d is there with several directories: %s", id, strings.Join(found, ", "))
		return "", f.try("--directory-id with the one that is meant")
	case isOther && directory == "":
		return "", &Fault{What: fmt.Sprintf("node %d is no %s", id, role), Why: "it is one of the " + other + "s already", Exit: exitConflict,
			Try: "logstead quorum describe"}
	}
	why := "the quorum does not know it"
	if add {
		why = "no node follows the quorum under this id and directory"
	}
	return "", &Fault{What: fmt.Sprintf("node %d is no %s", id, role), Why: why, Exit: exitNotFound, Try: "logstead quorum describe"}
}

func directoryBytes(s string) (id [16]byte, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, usagef("directory id %q: want 22 characters, as in meta.properties", s)
	}
	return [16]byte(b), nil
}

func (c *conn) addVoter(id int32, dir string, fl quorumFlags, q quorumInfo) error {
	req := kmsg.NewPtrAddRaftVoterRequest()
	var err error
	if req.VoterDirectoryID, err = directoryBytes(dir); err != nil {
		return err
	}
	if req.Listeners, err = fl.listeners(q.node(id)); err != nil {
		return err
	}
	req.VoterID, req.TimeoutMillis = id, int32(c.timeout.Milliseconds())
	what := fmt.Sprintf("cannot add voter %d", id)
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.AddRaftVoterResponse, error) { return req.RequestWith(ctx, c.cl) })
	if err != nil {
		return err
	}
	return quorumFault(what, resp.ErrorCode, resp.ErrorMessage)
}

// listeners is the address that the other voters shall use.
func (fl *quorumFlags) listeners(n *quorumNode) ([]kmsg.AddRaftVoterRequestListener, error) {
	name, addr := fl.listener, fl.controller
	if addr == "" && n != nil && n.Endpoint != "" {
		first, _, _ := strings.Cut(n.Endpoint, ",")
		name, addr, _ = strings.Cut(first, "://")
	}
	if addr == "" {
		return nil, usagef("the address of the new voter's listener for controllers is not known").try("--controller HOST:PORT")
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usagef("--controller %q: want HOST:PORT", addr)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return nil, usagef("--controller %q: %q is not a port", addr, text)
	}
	l := kmsg.NewAddRaftVoterRequestListener()
	l.Name, l.Host, l.Port = name, host, uint16(port)
	return []kmsg.AddRaftVoterRequestListener{l}, nil
}

func (c *conn) removeVoter(id int32, dir string) error {
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	var err error
	if req.VoterDirectoryID, err = directoryBytes(dir); err != nil {
		return err
	}
	req.VoterID = id
	what := fmt.Sprintf("cannot remove voter %d", id)
	resp, err := call(c, what, func(ctx context.Context) (*kmsg.RemoveRaftVoterResponse, error) { return req.RequestWith(ctx, c.cl) })
	if err != nil {
		return err
	}
	return quorumFault(what, resp.ErrorCode, resp.ErrorMessage)
}

func quorumFault(what string, code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil {
		return nil
	}
	return kafkaFault(what, err, deref(message))
}
