package group

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestScripts runs the scripts of testdata on a virtual clock. Answers are printed when they come,
// with the name of the request (its tag, else the command) in front.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			sc := &script{}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				return sc.run(t, d)
			})
			sc.finish(t)
		})
	}
}

// script interprets one file.
type script struct {
	s     *shell
	out   strings.Builder
	owing map[string]int // requests that have not been answered
	epoch map[string]int // of consumer group members, as they were last told
}

// args reads key=value arguments of a command.
type args struct {
	t *testing.T
	d *datadriven.TestData
}

func (a args) has(key string) bool { return a.d.HasArg(key) }

func (a args) str(key, def string) string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == key {
			return strings.Join(arg.Vals, ",")
		}
	}
	return def
}

func (a args) ptr(key string) *string {
	if !a.has(key) {
		return nil
	}
	v := a.str(key, "")
	return &v
}

func (a args) list(key string) []string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == key {
			return arg.Vals
		}
	}
	return nil
}

func (a args) num(key string, def int) int {
	if !a.has(key) {
		return def
	}
	n, err := strconv.Atoi(a.str(key, ""))
	if err != nil {
		a.d.Fatalf(a.t, "%s: %v", key, err)
	}
	return n
}

func (a args) dur(key string, def time.Duration) time.Duration {
	if !a.has(key) {
		return def
	}
	v, err := time.ParseDuration(a.str(key, ""))
	if err != nil {
		a.d.Fatalf(a.t, "%s: %v", key, err)
	}
	return v
}

func (sc *script) run(t *testing.T, d *datadriven.TestData) string {
	sc.out.Reset()
	if d.Cmd == "new" {
		sc.finish(t)
	}
	if sc.s == nil {
		sc.s = newShell(func(c *Config) { configure(t, d, c) })
		sc.owing, sc.epoch = map[string]int{}, map[string]int{}
		if d.Cmd == "new" {
			return "ok"
		}
	}
	commands := map[string]func(args){
		"topic": sc.topic, "join": sc.join, "sync": sc.sync, "heartbeat": sc.heartbeat, "leave": sc.leave,
		"advance": sc.advance, "consumer": sc.consumer, "beat": sc.consumer, "commit": sc.commit, "fetch": sc.fetch,
		"txn-commit": sc.txnCommit, "end-txn": sc.endTxn, "delete-offsets": sc.deleteOffsets,
		"delete-group": sc.deleteGroup, "describe": sc.describe, "list": sc.list, "restart": sc.restart,
		"hold": sc.hold, "release": sc.release, "fail": sc.fail, "state": sc.state, "log": sc.logged,
		"wants": sc.wants, "legacy-topics": sc.legacyTopics, "views": sc.views,
	}
	run, ok := commands[d.Cmd]
	if !ok {
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	run(args{t, d})
	if sc.out.Len() == 0 {
		return "ok"
	}
	return sc.out.String()
}

// finish checks that the script's log replays to the state it ended in, and that every request is
// answered in the end, once.
func (sc *script) finish(t *testing.T) {
	if sc.s == nil {
		return
	}
	sc.s.release()
	if live, replayed := dump(sc.s.m), dump(sc.s.replayed()); live != replayed {
		t.Errorf("replay differs from live\nlive:\n%s\nreplayed:\n%s", live, replayed)
	}
	sc.s.m.Unload(kerr.NotCoordinator)
	for tag, n := range sc.owing {
		if n != 0 {
			t.Errorf("request %s is owed %d answers", tag, n)
		}
	}
	sc.s = nil
}

func configure(t *testing.T, d *datadriven.TestData, c *Config) {
	if d.Cmd != "new" {
		return
	}
	a := args{t, d}
	c.InitialRebalanceDelay = a.dur("delay", c.InitialRebalanceDelay)
	c.MaxSize = a.num("max", c.MaxSize)
	c.ConsumerMaxSize = a.num("consumer-max", c.ConsumerMaxSize)
	c.ConsumerMigration = MigrationPolicy(a.str("migration", string(c.ConsumerMigration)))
	c.ConsumerAssignmentInterval = a.dur("interval", 0)
	c.OffsetsRetention = a.dur("retention", c.OffsetsRetention)
	if a.has("assignors") {
		c.ConsumerAssignors = a.list("assignors")
	}
}

// said returns the callback of a request: it prints the answer and counts it.
func said[T any](sc *script, a args, show func(*T) string) func(*T) {
	tag := a.str("tag", a.d.Cmd)
	sc.owing[tag]++
	return func(v *T) {
		sc.owing[tag]--
		fmt.Fprintf(&sc.out, "%s: %s\n", tag, show(v))
	}
}

func (a args) context(version int) Context {
	c := Context{
		ClientID: a.str("client", "c"), ClientHost: "/127.0.0.1", Version: int16(a.num("v", version)),
	}
	if a.has("sees") {
		visible := a.list("sees")
		c.CanDescribe = func(topic string) bool { return slices.Contains(visible, topic) }
	}
	return c
}

func code(c int16) string {
	if c == 0 {
		return "ok"
	}
	return kerr.ErrorForCode(c).(*kerr.Error).Message
}

func (sc *script) topic(a args) {
	for _, arg := range a.d.CmdArgs {
		n, err := strconv.Atoi(arg.Vals[0])
		if err != nil {
			a.d.Fatalf(a.t, "%v", err)
		}
		old := sc.s.topics.set(arg.Key, int32(n))
		if n == 0 {
			sc.s.do(func() coord.Result { return sc.s.m.TopicsDeleted(sc.s.now, []Topic{old}) })
		}
	}
}

// subscription is the embedded metadata of a classic consumer; for other protocol types it is text.
func (a args) subscription() []byte {
	if a.has("meta") {
		return []byte(a.str("meta", ""))
	}
	s := kmsg.NewConsumerProtocolSubscription()
	s.Topics = a.list("topics")
	if a.has("rack") {
		s.RackId = a.ptr("rack")
	}
	version := int16(a.num("sub-v", 3))
	for _, o := range a.list("owned") {
		topic, ps, _ := strings.Cut(o, ":")
		s.OwnedPartitions = append(s.OwnedPartitions, kmsg.ConsumerProtocolSubscriptionTopicPartition{
			Topic: topic, Partitions: partitions(ps),
		})
	}
	return kmsg.AppendVersioned(nil, version, &s)
}

// partitions reads "0+1+2".
func partitions(s string) []int32 {
	var out []int32
	for _, f := range strings.Split(s, "+") {
		n, err := strconv.Atoi(f)
		if err != nil {
			panic(err)
		}
		out = append(out, int32(n))
	}
	return out
}

func (sc *script) join(a args) {
	req := &kmsg.JoinGroupRequest{
		GroupId: a.str("group", "g"), MemberId: a.str("member", ""), GroupInstanceId: a.ptr("instance"),
		SessionTimeoutMs:   int32(a.dur("session", 10*time.Second).Milliseconds()),
		RebalanceTimeoutMs: int32(a.dur("rebalance", 60*time.Second).Milliseconds()),
		ProtocolType:       a.str("type", "consumer"),
		Reason:             a.ptr("reason"),
	}
	protos := []string{"range"}
	if a.has("proto") {
		protos = a.list("proto")
	}
	for _, p := range protos {
		if p != "" {
			req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestJoinGroupRequestProtocol{
				Name: p, Metadata: a.subscription(),
			})
		}
	}
	answer := said(sc, a, showJoin)
	sc.s.do(func() coord.Result { return sc.s.m.JoinGroup(sc.s.now, a.context(9), req, answer) })
}

func showJoin(r *kmsg.JoinGroupResponse) string {
	out := code(r.ErrorCode)
	if r.MemberId != "" {
		out += " member=" + r.MemberId
	}
	if r.ErrorCode != 0 {
		return out
	}
	out += fmt.Sprintf(" generation=%d protocol=%s/%s", r.GenerationId, orNil(r.ProtocolType), orNil(r.ProtocolName))
	if r.Leader != "" {
		out += " leader=" + r.Leader
	}
	if r.SkipAssignment {
		out += " skip"
	}
	var members []string
	for _, m := range r.Members {
		s := m.MemberId
		if m.GroupInstanceId != nil {
			s += "(" + *m.GroupInstanceId + ")"
		}
		members = append(members, s)
	}
	if len(members) > 0 {
		out += " members=" + strings.Join(members, ",")
	}
	return out
}

func (sc *script) sync(a args) {
	req := &kmsg.SyncGroupRequest{
		GroupId: a.str("group", "g"), MemberId: a.str("member", ""), GroupInstanceId: a.ptr("instance"),
		GenerationId: int32(a.num("generation", 1)),
	}
	protocolType, protocolName := a.str("type", "consumer"), a.str("proto", "range")
	if !a.has("no-proto") {
		req.ProtocolType, req.ProtocolName = &protocolType, &protocolName
	}
	for _, as := range a.list("assign") { // member:text or member:topic/0+1
		member, what, _ := strings.Cut(as, ":")
		req.Assignments = append(req.Assignments, kmsg.SyncGroupRequestSyncGroupRequestAssignment{
			MemberId: member, Assignment: a.assignment(what),
		})
	}
	answer := said(sc, a, showSync)
	sc.s.do(func() coord.Result { return sc.s.m.SyncGroup(sc.s.now, a.context(5), req, answer) })
}

func (a args) assignment(what string) []byte {
	topic, ps, ok := strings.Cut(what, "/")
	if !ok {
		return []byte(what)
	}
	v := kmsg.NewConsumerProtocolAssignment()
	v.AssignedPartitions = []kmsg.ConsumerProtocolAssignmentTopicPartition{{Topic: topic, Partitions: partitions(ps)}}
	v.UserData = []byte(a.str("userdata", ""))
	return kmsg.AppendVersioned(nil, 3, &v)
}

func showSync(r *kmsg.SyncGroupResponse) string {
	if r.ErrorCode != 0 {
		return code(r.ErrorCode)
	}
	return fmt.Sprintf("ok protocol=%s/%s assignment=%s",
		orNil(r.ProtocolType), orNil(r.ProtocolName), showAssigned(r.Assignment))
}

func showAssigned(b []byte) string {
	a, err := readAssignment(b)
	if err != nil || bytes.IndexByte(b, 0) != 0 {
		return strconv.Quote(string(b))
	}
	out := []string{}
	for _, tp := range a.AssignedPartitions {
		out = append(out, fmt.Sprintf("%s:%v", tp.Topic, tp.Partitions))
	}
	return strings.Join(out, " ")
}

func (sc *script) heartbeat(a args) {
	req := &kmsg.HeartbeatRequest{
		GroupId: a.str("group", "g"), MemberId: a.str("member", ""), GroupInstanceId: a.ptr("instance"),
		GenerationId: int32(a.num("generation", 1)),
	}
	answer := said(sc, a, func(r *kmsg.HeartbeatResponse) string { return code(r.ErrorCode) })
	sc.s.do(func() coord.Result { return sc.s.m.Heartbeat(sc.s.now, a.context(4), req, answer) })
}

func (sc *script) leave(a args) {
	req := &kmsg.LeaveGroupRequest{GroupId: a.str("group", "g")}
	for _, m := range a.list("members") { // member or member/instance
		id, instance, static := strings.Cut(m, "/")
		who := kmsg.LeaveGroupRequestMemberIdentity{MemberId: id}
		if static {
			who.GroupInstanceId = &instance
		}
		req.Members = append(req.Members, who)
	}
	answer := said(sc, a, func(r *kmsg.LeaveGroupResponse) string {
		out := []string{code(r.ErrorCode)}
		for _, m := range r.Members {
			out = append(out, fmt.Sprintf("%s/%s=%s", m.MemberId, orNil(m.GroupInstanceId), code(m.ErrorCode)))
		}
		return strings.Join(out, " ")
	})
	sc.s.do(func() coord.Result { return sc.s.m.LeaveGroup(sc.s.now, a.context(5), req, answer) })
}

func (sc *script) advance(a args) {
	d, err := time.ParseDuration(a.d.CmdArgs[0].Key)
	if err != nil {
		a.d.Fatalf(a.t, "%v", err)
	}
	sc.s.advance(d)
}

func (sc *script) consumer(a args) {
	req := kmsg.NewConsumerGroupHeartbeatRequest()
	req.GroupId, req.MemberId = a.str("group", "g"), a.str("member", "")
	req.MemberEpoch = int32(a.num("epoch", 0))
	if a.d.Cmd == "beat" { // at the epoch that the member knows
		req.MemberEpoch = int32(sc.epoch[req.MemberId])
	}
	req.InstanceId, req.RackId, req.ServerAssignor = a.ptr("instance"), a.ptr("rack"), a.ptr("assignor")
	req.SubscribedTopicRegex = a.ptr("regex")
	if req.MemberEpoch == 0 {
		req.RebalanceTimeoutMs = 60_000
		req.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
	}
	if a.has("rebalance") {
		req.RebalanceTimeoutMs = int32(a.dur("rebalance", 0).Milliseconds())
	}
	if a.has("topics") {
		req.SubscribedTopicNames = []string{}
		for _, name := range a.list("topics") {
			if name != "" {
				req.SubscribedTopicNames = append(req.SubscribedTopicNames, name)
			}
		}
	}
	if a.has("owned") {
		req.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
		for _, o := range a.list("owned") {
			if name, ps, ok := strings.Cut(o, ":"); ok {
				t, _ := sc.s.topics.ByName(name)
				req.TopicPartitions = append(req.TopicPartitions, kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{
					TopicId: t.ID, Partitions: partitions(ps),
				})
			}
		}
	}
	if a.has("unowned") {
		req.TopicPartitions = nil
	}
	answer := said(sc, a, sc.showConsumer)
	sc.s.do(func() coord.Result { return sc.s.m.ConsumerGroupHeartbeat(sc.s.now, a.context(1), &req, answer) })
}

func (sc *script) showConsumer(r *kmsg.ConsumerGroupHeartbeatResponse) string {
	if r.ErrorCode != 0 {
		return code(r.ErrorCode) + ": " + *r.ErrorMessage
	}
	out := fmt.Sprintf("ok member=%s epoch=%d", *r.MemberId, r.MemberEpoch)
	sc.epoch[*r.MemberId] = int(r.MemberEpoch)
	if r.HeartbeatIntervalMs != 5000 {
		out += fmt.Sprintf(" interval=%d", r.HeartbeatIntervalMs)
	}
	if r.Assignment != nil {
		a := assignment{}
		for _, tp := range r.Assignment.TopicPartitions {
			a[tp.TopicId] = tp.Partitions
		}
		out += " assignment=" + sc.named(a)
	}
	return out
}

// named shows an assignment with topic names.
func (sc *script) named(a assignment) string {
	var out []string
	for _, id := range a.topics() {
		name := "?"
		if t, ok := sc.s.topics.ByID(id); ok {
			name = t.Name
		}
		out = append(out, fmt.Sprintf("%s:%v", name, a[id]))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}

// offsetArgs reads "topic/partition=offset" arguments.
func (a args) offsetArgs(f func(tp base.TopicPartition, offset int64)) {
	for _, o := range a.list("offsets") {
		tp, offset, _ := strings.Cut(o, "@")
		topic, p, _ := strings.Cut(tp, "/")
		n, err := strconv.ParseInt(offset, 10, 64)
		if err != nil && offset != "" {
			panic(err)
		}
		f(base.TopicPartition{Topic: topic, Partition: partitions(p)[0]}, n)
	}
}

func (sc *script) commit(a args) {
	req := kmsg.NewOffsetCommitRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId = a.str("group", "g"), a.str("member", ""), a.ptr("instance")
	req.GenerationIdOrMemberEpoch = int32(a.num("generation", -1))
	if a.has("retention") {
		req.RetentionTimeMs = a.dur("retention", 0).Milliseconds()
	}
	a.offsetArgs(func(tp base.TopicPartition, offset int64) {
		t, _ := sc.s.topics.ByName(tp.Topic)
		req.Topics = append(req.Topics, kmsg.OffsetCommitRequestOffsetCommitRequestTopic{
			Name: tp.Topic, TopicId: t.ID,
			Partitions: []kmsg.OffsetCommitRequestOffsetCommitRequestPartition{{
				PartitionIndex: tp.Partition, CommittedOffset: offset,
				CommittedLeaderEpoch: int32(a.num("leader-epoch", -1)), CommittedMetadata: a.metadata(),
			}},
		})
	})
	answer := said(sc, a, func(r *kmsg.OffsetCommitResponse) string {
		var out []string
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				out = append(out, fmt.Sprintf("%s/%d=%s", t.Name, p.PartitionIndex, code(p.ErrorCode)))
			}
		}
		return strings.Join(out, " ")
	})
	sc.s.do(func() coord.Result { return sc.s.m.OffsetCommit(sc.s.now, a.context(9), &req, answer) })
}

func (a args) metadata() *string {
	if a.has("metadata-size") {
		s := strings.Repeat("ü", a.num("metadata-size", 0))
		return &s
	}
	return a.ptr("metadata")
}

func (sc *script) txnCommit(a args) {
	req := kmsg.NewTxnOffsetCommitRequest()
	req.GroupId, req.MemberId, req.GroupInstanceId = a.str("group", "g"), a.str("member", ""), a.ptr("instance")
	req.GenerationId = int32(a.num("generation", -1))
	req.ProducerId, req.ProducerEpoch = int64(a.num("producer", 7)), 0
	a.offsetArgs(func(tp base.TopicPartition, offset int64) {
		req.Topics = append(req.Topics, kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestTopic{
			Name: tp.Topic,
			Partitions: []kmsg.TxnOffsetCommitRequestTxnOffsetCommitRequestPartition{{
				PartitionIndex: tp.Partition, CommittedOffset: offset, CommittedLeaderEpoch: -1,
				CommittedMetadata: a.metadata(),
			}},
		})
	})
	answer := said(sc, a, func(r *kmsg.TxnOffsetCommitResponse) string {
		var out []string
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				out = append(out, fmt.Sprintf("%s/%d=%s", t.Name, p.PartitionIndex, code(p.ErrorCode)))
			}
		}
		return strings.Join(out, " ")
	})
	sc.s.do(func() coord.Result { return sc.s.m.TxnOffsetCommit(sc.s.now, a.context(5), &req, answer) })
}

func (sc *script) endTxn(a args) {
	mk := coord.Marker{
		Txn: coord.Txn{ProducerID: int64(a.num("producer", 7))}, Commit: !a.has("abort"), TransactionVersion: 2,
	}
	answer := said(sc, a, func(err *error) string { return fmt.Sprint(*err) })
	sc.s.do(func() coord.Result {
		return coord.Result{Marker: &mk, Done: []func(error){func(err error) { answer(&err) }}}
	})
}

func (sc *script) fetch(a args) {
	req := kmsg.NewOffsetFetchRequestOffsetFetchRequestGroup()
	req.GroupId, req.MemberId = a.str("group", "g"), a.ptr("member")
	req.MemberEpoch = int32(a.num("epoch", -1))
	req.Topics = nil
	a.offsetArgs(func(tp base.TopicPartition, _ int64) {
		t := kmsg.OffsetFetchRequestOffsetFetchRequestTopics{Name: tp.Topic, PartitionIndexes: []int32{tp.Partition}}
		if a.has("ids") {
			known, _ := sc.s.topics.ByName(tp.Topic)
			t.TopicId = known.ID
		}
		req.Topics = append(req.Topics, t)
	})
	answer := said(sc, a, func(r *FetchedGroup) string {
		out := []string{code(r.ErrorCode)}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s := fmt.Sprintf("%s/%d=%d", t.Name, p.PartitionIndex, p.CommittedOffset)
				if p.CommittedLeaderEpoch >= 0 || *p.Metadata != "" {
					s += fmt.Sprintf("(epoch %d, %q)", p.CommittedLeaderEpoch, *p.Metadata)
				}
				if p.ErrorCode != 0 {
					s += " " + code(p.ErrorCode)
				}
				out = append(out, s)
			}
		}
		return strings.Join(out, " ")
	})
	sc.s.do(func() coord.Result { return sc.s.m.OffsetFetch(sc.s.now, &req, a.has("stable"), answer) })
}

func (sc *script) deleteOffsets(a args) {
	req := &kmsg.OffsetDeleteRequest{GroupId: a.str("group", "g")}
	a.offsetArgs(func(tp base.TopicPartition, _ int64) {
		req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestOffsetDeleteRequestTopic{
			Name:       tp.Topic,
			Partitions: []kmsg.OffsetDeleteRequestOffsetDeleteRequestPartition{{PartitionIndex: tp.Partition}},
		})
	})
	answer := said(sc, a, func(r *kmsg.OffsetDeleteResponse) string {
		out := []string{code(r.ErrorCode)}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				out = append(out, fmt.Sprintf("%s/%d=%s", t.Name, p.PartitionIndex, code(p.ErrorCode)))
			}
		}
		return strings.Join(out, " ")
	})
	sc.s.do(func() coord.Result { return sc.s.m.OffsetDelete(sc.s.now, req, answer) })
}

func (sc *script) deleteGroup(a args) {
	answer := said(sc, a, func(r *[]DeletedGroup) string {
		var out []string
		for _, g := range *r {
			out = append(out, fmt.Sprintf("%s=%s", g.GroupId, code(g.ErrorCode)))
		}
		return strings.Join(out, " ")
	})
	groups := []string{"g"}
	if a.has("groups") {
		groups = a.list("groups")
	}
	sc.s.do(func() coord.Result {
		return sc.s.m.DeleteGroups(sc.s.now, groups, func(r []DeletedGroup, _ error) { answer(&r) })
	})
}

func (sc *script) describe(a args) {
	id := a.str("group", "g")
	if a.has("consumer") {
		answer := said(sc, a, func(r *[]DescribedConsumerGroup) string { return sc.showDescribedConsumer((*r)[0]) })
		sc.s.do(func() coord.Result {
			return sc.s.m.ConsumerGroupDescribe(sc.s.now, []string{id}, func(r []DescribedConsumerGroup, _ error) { answer(&r) })
		})
		return
	}
	answer := said(sc, a, func(r *[]DescribedGroup) string { return showDescribed((*r)[0]) })
	sc.s.do(func() coord.Result {
		return sc.s.m.DescribeGroups(sc.s.now, a.context(6), []string{id}, func(r []DescribedGroup, _ error) { answer(&r) })
	})
}

func showDescribed(d DescribedGroup) string {
	out := fmt.Sprintf("%s %s type=%q protocol=%q", code(d.ErrorCode), d.GroupState, d.ProtocolType, d.ProtocolData)
	for _, m := range d.Members {
		out += fmt.Sprintf("\n  %s instance=%s %s%s metadata=%d bytes assignment=%s", m.MemberId,
			orNil(m.GroupInstanceId), m.ClientId, m.ClientHost, len(m.MemberMetadata), showAssigned(m.MemberAssignment))
	}
	return out
}

func (sc *script) showDescribedConsumer(d DescribedConsumerGroup) string {
	out := fmt.Sprintf("%s %s epoch=%d assigned=%d assignor=%s", code(d.ErrorCode), d.GroupState, d.GroupEpoch,
		d.AssignmentEpoch, d.AssignorName)
	if d.ErrorMessage != nil {
		return code(d.ErrorCode) + ": " + *d.ErrorMessage
	}
	show := func(tps []describedPartitions) string {
		var s []string
		for _, tp := range tps {
			s = append(s, fmt.Sprintf("%s:%v", tp.TopicName, tp.Partitions))
		}
		return strings.Join(s, " ")
	}
	for _, m := range d.Members {
		out += fmt.Sprintf("\n  %s instance=%s epoch=%d topics=%v regex=%q type=%d has=%s target=%s", m.MemberId,
			orNil(m.InstanceId), m.MemberEpoch, m.SubscribedTopicNames, *m.SubscribedTopicRegex, m.MemberType,
			show(m.Assignment.TopicPartitions), show(m.TargetAssignment.TopicPartitions))
	}
	return out
}

func (sc *script) list(a args) {
	answer := said(sc, a, func(r *[]ListedGroup) string {
		var out []string
		for _, g := range *r {
			out = append(out, fmt.Sprintf("%s(%s %s %q)", g.GroupId, g.GroupType, g.GroupState, g.ProtocolType))
		}
		return strings.Join(out, " ")
	})
	sc.s.do(func() coord.Result {
		return sc.s.m.ListGroups(sc.s.now, a.list("states"), a.list("types"), func(r []ListedGroup, _ error) { answer(&r) })
	})
}

// restart fails over to another node, and checks that it knows the same.
func (sc *script) restart(a args) {
	before := dump(sc.s.m)
	sc.s.restart()
	if after := dump(sc.s.m); after != before {
		a.t.Errorf("%s: restart changed the state\nbefore:\n%s\nafter:\n%s", a.d.Pos, before, after)
	}
}

func (sc *script) hold(args)    { sc.s.held = true }
func (sc *script) release(args) { sc.s.held = false; sc.s.release(); sc.s.tick() }

func (sc *script) fail(a args) {
	n, _ := strconv.Atoi(a.d.CmdArgs[0].Key)
	sc.s.failure = kerr.ErrorForCode(int16(n)).(*kerr.Error)
}

func (sc *script) state(args) { sc.out.WriteString(dump(sc.s.m)) }

func (sc *script) views(a args) {
	answer := said(sc, a, func(v *[]View) string { return fmt.Sprintf("%+v", *v) })
	sc.s.do(func() coord.Result { return sc.s.m.Views(sc.s.now, func(v []View, _ error) { answer(&v) }) })
}

// wants prints how long it is until the next deadline.
func (sc *script) wants(args) {
	if t := sc.s.m.timers.first(); t != nil {
		fmt.Fprintf(&sc.out, "%v\n", t.at.Sub(sc.s.now))
	}
}

// legacyTopics writes the record in which Kafka before 4.1 kept a group's topics.
func (sc *script) legacyTopics(a args) {
	var out output
	out.put(&kmsg.ConsumerGroupPartitionMetadataKey{GroupId: a.str("group", "g")}, 0,
		&kmsg.ConsumerGroupPartitionMetadataValue{})
	sc.s.do(func() coord.Result { return out.result() })
}

// logged prints the records that were written since the last time.
func (sc *script) logged(args) {
	for i, e := range sc.s.log {
		if i >= sc.s.shown {
			fmt.Fprintf(&sc.out, "%s\n", showEntry(e))
		}
	}
	sc.s.shown = len(sc.s.log)
}

func showEntry(e logEntry) string {
	if e.marker != nil {
		return fmt.Sprintf("marker producer=%d commit=%v", e.marker.ProducerID, e.marker.Commit)
	}
	kind, err := kmsg.KeyType(e.rec.Key)
	if err != nil {
		return err.Error()
	}
	name := map[int16]string{
		recordOffset: "offset", recordClassic: "classic", recordConsumerEpoch: "epoch",
		recordConsumerTopics: "topics", recordConsumerMember: "member", recordConsumerTargets: "target-epoch",
		recordConsumerTarget: "target", recordConsumerCurrent: "current", recordConsumerRegex: "regex",
	}[kind]
	strs := strings.FieldsFunc(string(e.rec.Key[2:]), func(r rune) bool { return r < ' ' || r > '~' })
	out := name + " " + strings.Join(strs, " ")
	if e.rec.Value == nil {
		return out + " removed"
	}
	return out + showValue(kind, e.rec.Value)
}

func showValue(kind int16, b []byte) string {
	get := func(m kmsg.Message) {
		if _, err := kmsg.ReadVersioned(b, m); err != nil {
			panic(err)
		}
	}
	switch kind {
	case recordOffset:
		var v kmsg.OffsetCommitValue
		get(&v)
		return fmt.Sprintf(" offset=%d", v.Offset)
	case recordClassic:
		var v kmsg.GroupMetadataValue
		get(&v)
		return fmt.Sprintf(" generation=%d members=%d", v.Generation, len(v.Members))
	case recordConsumerEpoch:
		var v kmsg.ConsumerGroupMetadataValue
		get(&v)
		return fmt.Sprintf(" %d", v.Epoch)
	case recordConsumerTargets:
		var v kmsg.ConsumerGroupTargetAssignmentMetadataValue
		get(&v)
		return fmt.Sprintf(" %d", v.AssignmentEpoch)
	case recordConsumerTarget:
		var v kmsg.ConsumerGroupTargetAssignmentMemberValue
		get(&v)
		a := assignment{}
		for _, tp := range v.TopicPartitions {
			a[tp.TopicId] = tp.Partitions
		}
		return " " + showAssignment(a)
	case recordConsumerCurrent:
		var v kmsg.ConsumerGroupCurrentMemberAssignmentValue
		get(&v)
		return fmt.Sprintf(" epoch=%d/%d state=%d assigned=%s revoking=%s", v.MemberEpoch, v.PreviousMemberEpoch, v.State,
			showEpochs(epochsFromRecord(v.AssignedPartitions, 0)),
			showEpochs(epochsFromRecord(v.PartitionsPendingRevocation, 0)))
	case recordConsumerRegex:
		var v kmsg.ConsumerGroupRegularExpressionValue
		get(&v)
		return fmt.Sprintf(" %v", v.Topics)
	}
	return ""
}

// TestMemberIDs checks the form of ids that the coordinator makes for members of consumer groups.
func TestMemberIDs(t *testing.T) {
	ids := []string{"fbf00000-0000-4000-8000-000000000000", "0123aa00-0000-4000-8000-0000000000ff"}
	m := New(Options{NewID: func() string { id := ids[0]; ids = ids[1:]; return id }})
	if got, want := m.newMemberID(), "ASOqAAAAQACAAAAAAAAA_w"; got != want {
		t.Errorf("id %q, want %q", got, want)
	}
}
