package api_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/broker/api/parity"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

const groupsRecord = "testdata/groups.txt"

// TestRecordGroups asks the Kafka broker named by GROUPS_RECORD and writes its answers down.
func TestRecordGroups(t *testing.T) {
	addr := os.Getenv("GROUPS_RECORD")
	if addr == "" {
		t.Skip("set GROUPS_RECORD to the address of Apache Kafka to record its answers")
	}
	if err := os.WriteFile(groupsRecord, []byte(askGroups(t, addr)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGroupsAsKafka asks this broker, or the one at GROUPS_CHECK, what Apache Kafka was asked.
func TestGroupsAsKafka(t *testing.T) {
	addr := os.Getenv("GROUPS_CHECK")
	if addr == "" {
		b, _ := startTxnBroker(t, "")
		addr = b.addr
		newAsker(t, addr).createTopic("__consumer_offsets", 5)
	}
	want, err := os.ReadFile(groupsRecord)
	if err != nil {
		t.Fatal(err)
	}
	wants, gots := strings.Split(string(want), "\n== "), strings.Split(askGroups(t, addr), "\n== ")
	if len(wants) != len(gots) {
		t.Errorf("%d answers, want %d", len(gots), len(wants))
	}
	for i := range min(len(wants), len(gots)) {
		if wants[i] != gots[i] {
			t.Errorf("answer %d\n got  %s\n want %s", i+1, gots[i], wants[i])
		}
	}
}

// groupAsker sends one run's requests and keeps what is answered.
type groupAsker struct {
	*asker
	addr  string
	topic string
	id    base.TopicID
	names map[string]string // ids that the broker made, by what they are called in the record
}

// askGroups goes through the group APIs: what they refuse, and a life of a group of each kind.
func askGroups(t *testing.T, addr string) string {
	t.Helper()
	k := &groupAsker{asker: newAsker(t, addr), addr: addr, names: map[string]string{}}
	k.run = fmt.Sprintf("%9s", k.run)
	k.run = strings.ReplaceAll(k.run, " ", "0") // sizes of answers depend on its length
	k.topic = "grp-" + k.run
	k.createTopic(k.topic, 4)
	k.createTopic(k.topic+"-two", 4)
	req := kmsg.NewMetadataRequest()
	req.Topics = []kmsg.MetadataRequestMetadataRequestTopic{{Name: &k.topic}}
	k.id = ask[*kmsg.MetadataResponse](k.asker, &req, 12).Topics[0].TopicId
	k.asker.findCoordinator(0, k.group("x"))
	k.find()
	k.refusedClassic()
	k.classicLife()
	k.static()
	k.simpleOffsets()
	k.refusedConsumer()
	k.consumerLife()
	k.consumerStatic()
	k.migrate()
	k.list()
	return k.out.String()
}

func (k *groupAsker) group(s string) string { return "grp-" + k.run + "-" + s }

var madeID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|"[A-Za-z0-9_-]{22}"`)

// note writes an answer down, without what differs from run to run.
func (k *groupAsker) note(name string, version int16, resp kmsg.Response) {
	s := strings.ReplaceAll(parity.Dump(resp), k.run, "RUN")
	s = madeID.ReplaceAllStringFunc(s, func(id string) string {
		if k.names[id] == "" {
			k.names[id] = fmt.Sprintf("<id%d>", len(k.names))
		}
		return k.names[id]
	})
	fmt.Fprintf(&k.out, "== %s v%d\n%s", name, version, s)
}

// tell asks and writes the answer down.
func (k *groupAsker) tell(name string, version int16, req kmsg.Request) kmsg.Response {
	k.t.Helper()
	resp := ask[kmsg.Response](k.asker, req, version)
	k.note(name, version, resp)
	return resp
}

// all asks in every version.
func (k *groupAsker) all(name string, make func() kmsg.Request) {
	k.t.Helper()
	api := kmsg.ByKey(make().Key())
	for v := api.Min; v <= api.Max; v++ {
		k.tell(name, v, make())
	}
}

// parked sends a request on a connection of its own; its answer comes later.
func (k *groupAsker) parked(version int16, req kmsg.Request) <-chan kmsg.Response {
	other := newAsker(k.t, k.addr)
	got := make(chan kmsg.Response, 1)
	go func() {
		resp, err := other.c.Do(req, version)
		if err != nil {
			k.t.Error(err)
		}
		got <- resp
	}()
	return got
}

func (k *groupAsker) find() {
	for _, kind := range []int8{0, 7} {
		k.all(fmt.Sprintf("find type %d", kind), func() kmsg.Request {
			req := kmsg.NewFindCoordinatorRequest()
			req.KeyType, req.CoordinatorKey, req.CoordinatorKeys = kind, k.group("x"), []string{k.group("x"), ""}
			return &req
		})
	}
}

func (k *groupAsker) join(group, member string, instance *string, protocols ...string) *kmsg.JoinGroupRequest {
	sub := kmsg.NewConsumerProtocolSubscription()
	sub.Topics = []string{k.topic}
	req := &kmsg.JoinGroupRequest{
		GroupId: group, MemberId: member, GroupInstanceId: instance,
		SessionTimeoutMs: 120_000, RebalanceTimeoutMs: 120_000, ProtocolType: "consumer",
	}
	for _, p := range protocols {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestJoinGroupRequestProtocol{
			Name: p, Metadata: kmsg.AppendVersioned(nil, 3, &sub),
		})
	}
	return req
}

func (k *groupAsker) sync(group, member string, generation int32, assigned map[string][]int32) *kmsg.SyncGroupRequest {
	req := &kmsg.SyncGroupRequest{
		GroupId: group, MemberId: member, GenerationId: generation,
		ProtocolType: new("consumer"), ProtocolName: new("range"),
	}
	for member, ps := range assigned {
		a := kmsg.NewConsumerProtocolAssignment()
		a.AssignedPartitions = []kmsg.ConsumerProtocolAssignmentTopicPartition{{Topic: k.topic, Partitions: ps}}
		req.Assignments = append(req.Assignments, kmsg.SyncGroupRequestSyncGroupRequestAssignment{
			MemberId: member, Assignment: kmsg.AppendVersioned(nil, 3, &a),
		})
	}
	return req
}

func beat(group, member string, generation int32, instance *string) *kmsg.HeartbeatRequest {
	return &kmsg.HeartbeatRequest{GroupId: group, MemberId: member, GenerationId: generation, GroupInstanceId: instance}
}

func leave(group string, members ...kmsg.LeaveGroupRequestMemberIdentity) *kmsg.LeaveGroupRequest {
	req := &kmsg.LeaveGroupRequest{GroupId: group, Members: members}
	if len(members) > 0 {
		req.MemberId = members[0].MemberId
	}
	return req
}

func (k *groupAsker) refusedClassic() {
	g := k.group("refused")
	for v := range int16(10) {
		g := fmt.Sprintf("%s%d", g, v)
		k.tell("join no group", v, k.join("", "", nil, "range"))
		short := k.join(g, "", nil, "range")
		short.SessionTimeoutMs = 1
		k.tell("join session", v, short)
		k.tell("join unknown member", v, k.join(g, "nobody", nil, "range"))
		k.tell("join no protocols", v, k.join(g, "", nil))
		untyped := k.join(g, "", nil, "range")
		untyped.ProtocolType = ""
		k.tell("join no type", v, untyped)
		k.tell("join unknown member of a group", v, k.join(g, "nobody", nil, "range"))
	}
	for _, id := range []string{"", k.group("none"), g + "9"} {
		name := strings.TrimPrefix(id, "grp-"+k.run)
		k.all("heartbeat "+name, func() kmsg.Request { return beat(id, "x", 1, nil) })
		k.all("sync "+name, func() kmsg.Request { return k.sync(id, "x", 1, nil) })
		k.all("leave "+name, func() kmsg.Request {
			return leave(id, kmsg.LeaveGroupRequestMemberIdentity{MemberId: "x"},
				kmsg.LeaveGroupRequestMemberIdentity{GroupInstanceId: new("i")},
				kmsg.LeaveGroupRequestMemberIdentity{MemberId: "x", GroupInstanceId: new("i")})
		})
		k.all("describe "+name, func() kmsg.Request {
			return &kmsg.DescribeGroupsRequest{Groups: []string{id}, IncludeAuthorizedOperations: true}
		})
	}
	unnamed := k.sync(k.group("none"), "x", 1, nil)
	unnamed.ProtocolName = nil
	k.all("sync no protocol", func() kmsg.Request { return unnamed })
	k.tell("describe nothing", 6, &kmsg.DescribeGroupsRequest{})
}

func (k *groupAsker) describe(name, group string) {
	k.tell(name, 6, &kmsg.DescribeGroupsRequest{Groups: []string{group}, IncludeAuthorizedOperations: true})
}

// membersOf waits until a classic group has n members and none of them waits any more than that.
func (k *groupAsker) membersOf(group string, n int) {
	k.until("waiting for members of "+group, func() bool {
		r := ask[*kmsg.DescribeGroupsResponse](k.asker, &kmsg.DescribeGroupsRequest{Groups: []string{group}}, 5)
		return len(r.Groups[0].Members) == n
	})
}

func (k *groupAsker) classicLife() {
	g := k.group("classic")
	first, _ := k.tell("first join", 9, k.join(g, "", nil, "range", "sticky")).(*kmsg.JoinGroupResponse)
	m := first.MemberId
	k.tell("joined", 9, k.join(g, m, nil, "range", "sticky"))
	k.tell("heartbeat completing", 4, beat(g, m, 1, nil))
	k.commit("commit completing", g, m, 1)
	k.describe("completing", g)
	wrong := k.sync(g, m, 1, nil)
	wrong.ProtocolName = new("sticky")
	k.tell("sync wrong protocol", 5, wrong)
	k.tell("sync wrong generation", 5, k.sync(g, m, 3, nil))
	k.tell("sync", 5, k.sync(g, m, 1, map[string][]int32{m: {0, 1, 2, 3}, "zombie": {1}}))
	k.all("sync again", func() kmsg.Request { return k.sync(g, m, 1, nil) })
	k.all("describe stable", func() kmsg.Request {
		return &kmsg.DescribeGroupsRequest{Groups: []string{g, k.group("none")}, IncludeAuthorizedOperations: true}
	})
	k.commit("commit", g, m, 1)
	k.rebalance(g, m)
	k.commit("commit wrong generation", g, m, 7)
	k.commit("commit unknown member", g, "nobody", 3)
	k.commit("commit no member", g, "", -1)
	k.fetch("fetch", g, nil, -1)
	k.all("delete groups", func() kmsg.Request {
		return &kmsg.DeleteGroupsRequest{GroupsNames: []string{g, k.group("none"), g}}
	})
	k.offsetDelete("offset delete", g)
	k.offsetDelete("offset delete no group", "")
	k.offsetDelete("offset delete unknown group", k.group("none"))
	k.tell("leader rejoins", 9, k.join(g, m, nil, "range", "sticky"))
	k.tell("follow-up", 5, k.sync(g, m, 4, nil))
	k.tell("leave", 2, leave(g, kmsg.LeaveGroupRequestMemberIdentity{MemberId: m}))
	k.describe("left", g)
	k.offsetDelete("offset delete when empty", g)
	k.tell("delete", 2, &kmsg.DeleteGroupsRequest{GroupsNames: []string{g}})
}

// rebalance lets a second member in and out again: generations 2 and 3.
func (k *groupAsker) rebalance(g, m string) {
	joined := k.parked(9, k.join(g, "", new("second"), "range"))
	k.membersOf(g, 2)
	k.describe("preparing", g)
	k.tell("heartbeat preparing", 4, beat(g, m, 1, nil))
	k.tell("heartbeat preparing, wrong generation", 4, beat(g, m, 5, nil))
	k.tell("sync preparing", 5, k.sync(g, m, 1, nil))
	k.commit("commit preparing", g, m, 1)
	k.tell("rejoin", 9, k.join(g, m, nil, "range", "sticky"))
	second, _ := (<-joined).(*kmsg.JoinGroupResponse)
	k.note("second joined", 9, second)
	synced := k.parked(5, k.sync(g, second.MemberId, 2, nil))
	k.tell("sync for both", 5, k.sync(g, m, 2, map[string][]int32{m: {0, 1}, second.MemberId: {2, 3}}))
	k.note("second synced", 5, <-synced)
	k.describe("both", g)
	k.tell("second leaves", 5, leave(g, kmsg.LeaveGroupRequestMemberIdentity{GroupInstanceId: new("second")}))
	k.tell("heartbeat after", 4, beat(g, m, 2, nil))
	k.tell("rejoin alone", 9, k.join(g, m, nil, "range", "sticky"))
	k.tell("sync alone", 5, k.sync(g, m, 3, map[string][]int32{m: {0, 1, 2, 3}}))
}

// testUUID is a random UUID in its 36-character form.
func testUUID() string {
	b := base.NewTopicID()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (k *groupAsker) static() {
	g, in := k.group("static"), "inst"
	first, _ := k.tell("static join", 9, k.join(g, "", &in, "range")).(*kmsg.JoinGroupResponse)
	m := first.MemberId
	k.tell("static sync", 5, k.staticSync(g, m, map[string][]int32{m: {0, 1, 2, 3}}))
	for v := int16(5); v <= 9; v++ {
		again, _ := k.tell("static again", v, k.join(g, "", &in, "range")).(*kmsg.JoinGroupResponse)
		k.tell("old heartbeat", 4, beat(g, m, 1, &in))
		m = again.MemberId
		k.tell("new sync", 5, k.staticSync(g, m, nil))
	}
	k.describe("static group", g)
	k.tell("leave static", 5, leave(g, kmsg.LeaveGroupRequestMemberIdentity{MemberId: "bad", GroupInstanceId: &in},
		kmsg.LeaveGroupRequestMemberIdentity{GroupInstanceId: &in}, kmsg.LeaveGroupRequestMemberIdentity{MemberId: "nobody"}))
}

func (k *groupAsker) staticSync(group, member string, assigned map[string][]int32) *kmsg.SyncGroupRequest {
	req := k.sync(group, member, 1, assigned)
	req.GroupInstanceId = new("inst")
	return req
}

// commit commits to partitions that exist and not, with metadata that is too long and not.
func (k *groupAsker) commit(name, group, member string, generation int32) {
	for _, v := range []int16{2, 8, 9, 10} {
		req := kmsg.NewOffsetCommitRequest()
		req.GroupId, req.MemberId, req.GenerationIdOrMemberEpoch = group, member, generation
		req.Topics = []kmsg.OffsetCommitRequestOffsetCommitRequestTopic{{
			Name: k.topic, TopicId: k.id,
			Partitions: []kmsg.OffsetCommitRequestOffsetCommitRequestPartition{
				{CommittedOffset: 5, CommittedMetadata: new("note")},
				{PartitionIndex: 77, CommittedOffset: 6},
				{PartitionIndex: 1, CommittedOffset: 7, CommittedMetadata: new(strings.Repeat("x", 4097))},
			},
		}, {
			Name: "nothing", TopicId: base.TopicID{1},
			Partitions: []kmsg.OffsetCommitRequestOffsetCommitRequestPartition{{CommittedOffset: 5}},
		}}
		k.tell(name, v, &req)
	}
}

func (k *groupAsker) fetch(name, group string, member *string, epoch int32) {
	one := func(g string, all bool) kmsg.OffsetFetchRequestOffsetFetchRequestGroup {
		f := kmsg.OffsetFetchRequestOffsetFetchRequestGroup{GroupId: g, MemberId: member, MemberEpoch: epoch}
		if !all {
			f.Topics = []kmsg.OffsetFetchRequestOffsetFetchRequestTopics{
				{Name: k.topic, TopicId: k.id, PartitionIndexes: []int32{0, 1, 99}},
				{Name: "nothing", TopicId: base.TopicID{1}, PartitionIndexes: []int32{0}},
			}
		}
		return f
	}
	k.all(name, func() kmsg.Request {
		req := kmsg.NewOffsetFetchRequest()
		req.GroupId, req.RequireStable = group, true
		req.Topics = []kmsg.OffsetFetchRequestOffsetFetchRequestTopic{
			{Name: k.topic, PartitionIndexes: []int32{0, 1, 99}}, {Name: "nothing", PartitionIndexes: []int32{0}},
		}
		req.Groups = []kmsg.OffsetFetchRequestOffsetFetchRequestGroup{
			one(group, false), one(group, true), one(k.group("none"), false), one(k.group("none"), true),
		}
		return &req
	})
	for v := int16(2); v < 8; v++ {
		req := kmsg.NewOffsetFetchRequest()
		req.GroupId, req.Topics = group, nil
		k.tell(name+" all", v, &req)
	}
}

func (k *groupAsker) offsetDelete(name, group string) {
	req := &kmsg.OffsetDeleteRequest{GroupId: group}
	for topic, ps := range map[string][]int32{k.topic: {0, 99}, k.topic + "-two": {0}, "nothing": {0}} {
		t := kmsg.OffsetDeleteRequestOffsetDeleteRequestTopic{Name: topic}
		for _, p := range ps {
			t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestOffsetDeleteRequestPartition{PartitionIndex: p})
		}
		req.Topics = append(req.Topics, t)
	}
	slices.SortFunc(req.Topics, func(a, b kmsg.OffsetDeleteRequestOffsetDeleteRequestTopic) int {
		return strings.Compare(a.Name, b.Name)
	})
	k.tell(name, 0, req)
}

func (k *groupAsker) simpleOffsets() {
	g := k.group("simple")
	k.commit("simple commit", g, "", -1)
	k.commit("simple commit with generation", g, "", 1)
	k.commit("simple commit with member", g, "m", -1)
	k.commit("commit to no group", k.group("none"), "m", 1)
	k.fetch("simple fetch", g, nil, -1)
	k.fetch("simple fetch by a member", g, new("m"), 3)
}

// memberBeat is a ConsumerGroupHeartbeat; epoch 0 joins.
func memberBeat(group, member string, epoch int32, change func(*kmsg.ConsumerGroupHeartbeatRequest),
) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewConsumerGroupHeartbeatRequest()
	req.GroupId, req.MemberId, req.MemberEpoch = group, member, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMs = 60_000
		req.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
	}
	if change != nil {
		change(&req)
	}
	return &req
}

func to(topics ...string) func(*kmsg.ConsumerGroupHeartbeatRequest) {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = topics }
}

func (k *groupAsker) owns(ps ...int32) func(*kmsg.ConsumerGroupHeartbeatRequest) {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
		if len(ps) > 0 {
			r.TopicPartitions = append(r.TopicPartitions,
				kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{TopicId: k.id, Partitions: ps})
		}
	}
}

func both(fs ...func(*kmsg.ConsumerGroupHeartbeatRequest)) func(*kmsg.ConsumerGroupHeartbeatRequest) {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		for _, f := range fs {
			f(r)
		}
	}
}

func (k *groupAsker) consumers(name, group string) {
	k.tell(name, 1, &kmsg.ConsumerGroupDescribeRequest{GroupIds: []string{group}, IncludeAuthorizedOperations: true})
}

func (k *groupAsker) refusedConsumer() {
	type hb = kmsg.ConsumerGroupHeartbeatRequest
	for v := range int16(2) {
		g := fmt.Sprintf("%s%d", k.group("refused-c"), v)
		k.tell("c no member", v, memberBeat(g, "", 0, to(k.topic)))
		k.tell("c no group", v, memberBeat("", "m", 0, to(k.topic)))
		k.tell("c blank instance", v, memberBeat(g, "m", 0, both(to(k.topic), func(r *hb) { r.InstanceId = new("") })))
		k.tell("c blank rack", v, memberBeat(g, "m", 0, both(to(k.topic), func(r *hb) { r.RackId = new("") })))
		k.tell("c no timeout", v, memberBeat(g, "m", 0, both(to(k.topic), func(r *hb) { r.RebalanceTimeoutMs = -1 })))
		k.tell("c owns", v, memberBeat(g, "m", 0, both(to(k.topic), k.owns(1))))
		k.tell("c owns null", v, memberBeat(g, "m", 0, both(to(k.topic), func(r *hb) { r.TopicPartitions = nil })))
		k.tell("c no topics", v, memberBeat(g, "m", 0, nil))
		k.tell("c assignor", v, memberBeat(g, "m", 0, both(to(k.topic), func(r *hb) { r.ServerAssignor = new("none") })))
		k.tell("c epoch -3", v, memberBeat(g, "m", -3, nil))
		k.tell("c epoch -2", v, memberBeat(g, "m", -2, nil))
		k.tell("c leaves no group", v, memberBeat(k.group("none"), "m", -1, nil))
		k.tell("c epoch 5 of no group", v, memberBeat(k.group("none"), "m", 5, nil))
		if v == 1 {
			k.tell("c bad regex", v, memberBeat(g, "m", 0, func(r *hb) { r.SubscribedTopicRegex = new("(") }))
		}
		for _, id := range []string{k.group("none"), k.group("static"), ""} {
			k.tell("c describe", v, &kmsg.ConsumerGroupDescribeRequest{GroupIds: []string{id}})
		}
	}
}

// promptly has a group's partitions shared out with every change, not at most once a second.
func (k *groupAsker) promptly(group string) {
	req := kmsg.NewIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{{
		ResourceType: 32, ResourceName: group,
		Configs: []kmsg.IncrementalAlterConfigsRequestAlterableConfig{
			{Name: "consumer.assignment.interval.ms", Value: new("0")},
		},
	}}
	ask[*kmsg.IncrementalAlterConfigsResponse](k.asker, &req, 1)
}

func (k *groupAsker) consumerLife() {
	g := k.group("consumer")
	k.promptly(g)
	k.tell("A joins", 1, memberBeat(g, "A", 0, to(k.topic)))
	k.consumers("one member", g)
	k.tell("A", 1, memberBeat(g, "A", 2, nil))
	k.tell("A says all", 1, memberBeat(g, "A", 2, both(to(k.topic), k.owns(0, 1, 2, 3),
		func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMs = 60_000 })))
	k.tell("A too high", 1, memberBeat(g, "A", 3, nil))
	k.tell("A too low", 1, memberBeat(g, "A", 1, nil))
	k.tell("nobody", 1, memberBeat(g, "Z", 2, nil))
	k.tell("nobody leaves", 1, memberBeat(g, "Z", -1, nil))
	k.tell("B joins", 1, memberBeat(g, "B", 0, to(k.topic)))
	k.consumers("two members", g)
	k.tell("A is to revoke", 1, memberBeat(g, "A", 2, nil))
	k.tell("A has not", 1, memberBeat(g, "A", 2, k.owns(0, 1, 2, 3)))
	k.tell("B waits", 1, memberBeat(g, "B", 3, nil))
	k.tell("A has", 1, memberBeat(g, "A", 2, k.owns(0, 1)))
	k.tell("A missed that", 1, memberBeat(g, "A", 2, k.owns(0, 1)))
	k.tell("A missed that and has more", 1, memberBeat(g, "A", 2, k.owns(0, 1, 2)))
	k.tell("B gets", 1, memberBeat(g, "B", 3, nil))
	k.consumers("two members in peace", g)
	for _, c := range []struct {
		name, member string
		epoch        int32
	}{
		{"current", "A", 3}, {"old", "A", 2}, {"older", "A", 1}, {"other's old", "B", 2}, {"newer", "A", 4},
		{"nobody", "Z", 3}, {"no member", "", -1},
	} {
		k.commit("c commit "+c.name, g, c.member, c.epoch)
	}
	k.fetch("c fetch", g, new("A"), 3)
	k.fetch("c fetch stale", g, new("A"), 2)
	k.all("classic describe", func() kmsg.Request { return &kmsg.DescribeGroupsRequest{Groups: []string{g}} })
	k.tell("classic heartbeat", 4, beat(g, "A", 3, nil))
	k.tell("classic sync", 5, k.sync(g, "A", 3, nil))
	connect := k.join(g, "", nil, "range")
	connect.ProtocolType = "connect"
	k.tell("connect join", 9, connect)
	k.tell("c delete", 2, &kmsg.DeleteGroupsRequest{GroupsNames: []string{g}})
	k.offsetDelete("c offset delete", g)
	k.tell("A resubscribes", 1, memberBeat(g, "A", 3, to(k.topic+"-two")))
	k.tell("A lets go", 1, memberBeat(g, "A", 3, k.owns()))
	k.tell("B", 1, memberBeat(g, "B", 3, nil))
	k.consumers("different subscriptions", g)
	k.tell("A leaves", 1, memberBeat(g, "A", -1, nil))
	k.tell("B leaves", 1, memberBeat(g, "B", -1, nil))
	k.consumers("nobody left", g)
	k.commit("c commit empty", g, "", -1)
	k.tell("c delete empty", 2, &kmsg.DeleteGroupsRequest{GroupsNames: []string{g}})
	k.consumers("deleted", g)
}

func (k *groupAsker) consumerStatic() {
	type hb = kmsg.ConsumerGroupHeartbeatRequest
	g := k.group("c-static")
	k.promptly(g)
	as := func(in string) func(*hb) { return func(r *hb) { r.InstanceId = &in } }
	k.tell("S joins", 1, memberBeat(g, "S", 0, both(to(k.topic), as("i"), func(r *hb) { r.RackId = new("r") })))
	k.tell("S2 joins", 1, memberBeat(g, "S2", 0, both(to(k.topic), as("i"))))
	k.tell("S2", 1, memberBeat(g, "S2", 2, as("i")))
	k.tell("S2 as another", 1, memberBeat(g, "S2", 2, as("j")))
	k.tell("S goes away", 1, memberBeat(g, "S", -2, as("i")))
	k.consumers("away", g)
	k.tell("S2 takes over", 1, memberBeat(g, "S2", 0, both(to(k.topic), as("i"))))
	k.consumers("taken over", g)
	k.tell("admin leave", 5, leave(g, kmsg.LeaveGroupRequestMemberIdentity{MemberId: "nobody"},
		kmsg.LeaveGroupRequestMemberIdentity{GroupInstanceId: new("i")},
		kmsg.LeaveGroupRequestMemberIdentity{GroupInstanceId: new("j")}))
	k.consumers("left", g)

	g = k.group("c-regex")
	k.tell("R joins", 1, memberBeat(g, "R", 0, func(r *hb) { r.SubscribedTopicRegex = new(k.topic + ".*") }))
	k.until("looking up the regular expression", func() bool {
		r := ask[*kmsg.ConsumerGroupDescribeResponse](k.asker, &kmsg.ConsumerGroupDescribeRequest{GroupIds: []string{g}}, 1)
		return r.Groups[0].GroupEpoch == 2
	})
	k.promptly(g)
	k.until("sharing out its topics", func() bool {
		r := ask[*kmsg.ConsumerGroupHeartbeatResponse](k.asker, memberBeat(g, "R", 1, nil), 1)
		return r.MemberEpoch == 2
	})
	k.consumers("regex", g)
}

func (k *groupAsker) migrate() {
	g := k.group("migrate")
	k.promptly(g)
	first, _ := k.tell("M asks", 9, k.join(g, "", nil, "range")).(*kmsg.JoinGroupResponse)
	m := first.MemberId
	k.tell("M joins", 9, k.join(g, m, nil, "range"))
	k.tell("M syncs", 5, k.sync(g, m, 1, map[string][]int32{m: {0, 1, 2, 3}}))
	k.tell("N upgrades", 1, memberBeat(g, "aN", 0, to(k.topic)))
	k.consumers("upgraded", g)
	k.describe("upgraded, classic", g)
	k.commit("M commits", g, m, 1)
	k.tell("M beats", 4, beat(g, m, 1, nil))
	k.tell("M beats wrong", 4, beat(g, m, 5, nil))
	k.tell("N beats classic", 4, beat(g, "aN", 2, nil))
	k.tell("M syncs early", 5, k.sync(g, m, 1, nil))
	k.tell("M rejoins", 9, k.join(g, m, nil, "range"))
	k.tell("M syncs again", 5, k.sync(g, m, 2, nil))
	wrong := k.sync(g, m, 2, nil)
	wrong.ProtocolName = new("sticky")
	k.tell("M syncs wrong", 5, wrong)
	k.tell("N gets", 1, memberBeat(g, "aN", 2, nil))
	k.tell("M beats on", 4, beat(g, m, 2, nil))
	k.consumers("mixed", g)
	k.tell("P asks", 9, k.join(g, "", nil, "range"))
	k.tell("P offers another protocol", 9, k.join(g, "", nil, "sticky"))
	k.tell("N leaves", 1, memberBeat(g, "aN", -1, nil))
	k.tell("M beats at last", 4, beat(g, m, 2, nil))
	k.describe("downgraded", g)
	k.consumers("downgraded, consumer", g)
	k.tell("M leaves", 5, leave(g, kmsg.LeaveGroupRequestMemberIdentity{MemberId: m}))
	k.describe("all gone", g)
}

func (k *groupAsker) list() {
	for _, f := range []kmsg.ListGroupsRequest{
		{}, {StatesFilter: []string{"EMPTY"}}, {TypesFilter: []string{"Consumer"}}, {TypesFilter: []string{"bogus"}},
		{TypesFilter: []string{"classic"}, StatesFilter: []string{"Stable", " empty "}},
	} {
		for v := range int16(6) {
			resp := ask[*kmsg.ListGroupsResponse](k.asker, &f, v)
			resp.Groups = slices.DeleteFunc(resp.Groups, func(g kmsg.ListGroupsResponseListedGroup) bool {
				return !strings.HasPrefix(g.GroupId, k.group(""))
			})
			k.note(fmt.Sprintf("list %v %v", f.StatesFilter, f.TypesFilter), v, resp)
		}
	}
}
