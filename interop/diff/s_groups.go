package main

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// subscription is the embedded metadata of a member of a classic consumer group.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	return m.AppendTo(nil)
}

// assignment is what a leader gives a member.
func assignment(topic string, partitions ...int32) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	t := kmsg.NewConsumerMemberAssignmentTopic()
	t.Topic, t.Partitions = topic, partitions
	a.Topics = append(a.Topics, t)
	return a.AppendTo(nil)
}

// join asks to join a group as the member whose id is kept under who, or as a new one.
func join(group, who string, change ...func(*vars, *kmsg.JoinGroupRequest)) func(*vars, *kmsg.JoinGroupRequest) {
	return func(v *vars, r *kmsg.JoinGroupRequest) {
		r.Group, r.MemberID = exactOr(v, group), v.str(who)
		r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = never, never, "consumer"
		for _, name := range []string{"range", "roundrobin"} {
			p := kmsg.NewJoinGroupRequestProtocol()
			p.Name, p.Metadata = name, subscription("t")
			r.Protocols = append(r.Protocols, p)
		}
		for _, c := range change {
			c(v, r)
		}
	}
}

// joined keeps a member's id and its generation.
func joined(who string, s step) step {
	return kept(s, func(v *vars, r *kmsg.JoinGroupResponse) { v.kept[who], v.kept["generation"] = r.MemberID, r.Generation })
}

// enter are the steps by which a member joins: from version 4 the first gives it an id.
func enter(group, who string, version int16, change ...func(*vars, *kmsg.JoinGroupRequest)) []step {
	if version < 4 {
		return []step{joined(who, ask("join", version, kmsg.NewPtrJoinGroupRequest, join(group, who, change...)))}
	}
	return []step{
		kept(ask("join for an id", version, kmsg.NewPtrJoinGroupRequest, join(group, who, change...)),
			func(v *vars, r *kmsg.JoinGroupResponse) { v.kept[who] = r.MemberID }),
		joined(who, ask("join with it", version, kmsg.NewPtrJoinGroupRequest, join(group, who, change...))),
	}
}

func instance(id string) func(*vars, *kmsg.JoinGroupRequest) {
	return func(_ *vars, r *kmsg.JoinGroupRequest) { r.InstanceID = &id }
}

// syncGroup sends a SyncGroup; the ids under members get assignments, which only a leader gives.
func syncGroup(group, who string, members ...string) func(*vars, *kmsg.SyncGroupRequest) {
	return func(v *vars, r *kmsg.SyncGroupRequest) {
		r.Group, r.MemberID, r.Generation = exactOr(v, group), v.str(who), int32(v.i64("generation"))
		r.ProtocolType, r.Protocol = ptr("consumer"), ptr("range")
		for i, m := range members {
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = v.str(m), assignment("t", int32(i))
			r.GroupAssignment = append(r.GroupAssignment, a)
		}
	}
}

// heartbeat beats in the kept generation plus by.
func heartbeat(group, who string, by int32) func(*vars, *kmsg.HeartbeatRequest) {
	return func(v *vars, r *kmsg.HeartbeatRequest) {
		r.Group, r.MemberID, r.Generation = exactOr(v, group), v.str(who), int32(v.i64("generation"))+by
	}
}

func leave(group string, who ...string) func(*vars, *kmsg.LeaveGroupRequest) {
	return func(v *vars, r *kmsg.LeaveGroupRequest) {
		r.Group = exactOr(v, group)
		for _, w := range who {
			r.MemberID = v.str(w)
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = v.str(w)
			r.Members = append(r.Members, m)
		}
	}
}

func describeGroup(groups ...string) func(*vars, *kmsg.DescribeGroupsRequest) {
	return func(v *vars, r *kmsg.DescribeGroupsRequest) {
		for _, g := range groups {
			r.Groups = append(r.Groups, exactOr(v, g))
		}
	}
}

// commit commits an offset of partition 0 of a topic, as the member under who in the kept generation, or as nobody.
func commit(group, who, topic string, partition int32, offset int64, change ...func(*vars, *kmsg.OffsetCommitRequest)) func(*vars, *kmsg.OffsetCommitRequest) {
	return func(v *vars, r *kmsg.OffsetCommitRequest) {
		r.Group, r.Generation, r.RetentionTimeMillis = exactOr(v, group), -1, -1
		if who != "" {
			r.MemberID, r.Generation = v.str(who), int32(v.i64("generation"))
		}
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = v.name(topic), v.id(topicIDKey(topic))
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, offset, 0, ptr("note")
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
		for _, c := range change {
			c(v, r)
		}
	}
}

// fetchOffsets asks for a group's offsets; topic "" asks for all.
func fetchOffsets(group, topic string, partitions ...int32) func(*vars, *kmsg.OffsetFetchRequest) {
	return func(v *vars, r *kmsg.OffsetFetchRequest) {
		g := kmsg.NewOffsetFetchRequestGroup()
		r.Group, g.Group, g.MemberEpoch = exactOr(v, group), exactOr(v, group), -1
		if topic != "" {
			t := kmsg.NewOffsetFetchRequestTopic()
			t.Topic, t.Partitions = v.name(topic), partitions
			r.Topics = append(r.Topics, t)
			gt := kmsg.NewOffsetFetchRequestGroupTopic()
			gt.Topic, gt.TopicID, gt.Partitions = v.name(topic), v.id(topicIDKey(topic)), partitions
			g.Topics = append(g.Topics, gt)
		}
		r.Groups = append(r.Groups, g)
	}
}

func findCoordinator(kind int8, keys ...string) func(*vars, *kmsg.FindCoordinatorRequest) {
	return func(v *vars, r *kmsg.FindCoordinatorRequest) {
		r.CoordinatorType = kind
		for _, k := range keys {
			r.CoordinatorKey = exactOr(v, k)
			r.CoordinatorKeys = append(r.CoordinatorKeys, exactOr(v, k))
		}
	}
}

// classicLife is a group's life with one member, at one version of each API.
func classicLife(version int16) []step {
	g, m := fmt.Sprint("life", version), "member"
	upTo := func(most int16) int16 { return min(version, most) }
	return concat([]step{ask("coordinator", upTo(6), kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, g))}, enter(g, m, version), []step{
		ask("heartbeat before the assignment", upTo(4), kmsg.NewPtrHeartbeatRequest, heartbeat(g, m, 0)),
		ask("describe before the assignment", upTo(6), kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		ask("sync", upTo(5), kmsg.NewPtrSyncGroupRequest, syncGroup(g, m, m)),
		ask("sync again", upTo(5), kmsg.NewPtrSyncGroupRequest, syncGroup(g, m)),
		ask("heartbeat", upTo(4), kmsg.NewPtrHeartbeatRequest, heartbeat(g, m, 0)),
		ask("describe", upTo(6), kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		ask("commit", max(2, version), kmsg.NewPtrOffsetCommitRequest, commit(g, m, "life", 0, 5)),
		ask("fetch", max(1, version), kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, "life", 0, 1)),
		ask("delete a live group", upTo(2), kmsg.NewPtrDeleteGroupsRequest, deleteGroups(g)),
		joined(m, ask("the only member joins again", version, kmsg.NewPtrJoinGroupRequest, join(g, m))),
		ask("leave", upTo(5), kmsg.NewPtrLeaveGroupRequest, leave(g, m)),
		ask("leave again", upTo(5), kmsg.NewPtrLeaveGroupRequest, leave(g, m)),
		ask("describe when empty", upTo(6), kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		ask("delete", upTo(2), kmsg.NewPtrDeleteGroupsRequest, deleteGroups(g)),
		ask("delete again", upTo(2), kmsg.NewPtrDeleteGroupsRequest, deleteGroups(g)),
		ask("fetch of a deleted group", max(1, version), kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, "life", 0)),
	})
}

func deleteGroups(groups ...string) func(*vars, *kmsg.DeleteGroupsRequest) {
	return func(v *vars, r *kmsg.DeleteGroupsRequest) {
		for _, g := range groups {
			r.Groups = append(r.Groups, exactOr(v, g))
		}
	}
}

func groupScenarios() []scenario {
	life := makeTopic("life", 2)
	for version := range int16(10) {
		steps := classicLife(version)
		for i := range steps {
			steps[i].name = fmt.Sprintf("%s at v%d", steps[i].name, version)
		}
		life = append(life, steps...)
	}
	errs := func(set func(*kmsg.JoinGroupRequest)) func(*vars, *kmsg.JoinGroupRequest) {
		return func(_ *vars, r *kmsg.JoinGroupRequest) { set(r) }
	}
	badJoin := func(name, group string, set func(*kmsg.JoinGroupRequest)) step {
		return both(name, kmsg.NewPtrJoinGroupRequest, join(group, "", errs(set)))
	}
	return []scenario{
		{"group-life", life},
		{"find-coordinator", []step{
			both("of a group", kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, "fc")),
			both("of a transaction", kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, "fc")).with(func(s *step) { s.version = 4 }),
			ask("of a transaction", 1, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(1, "fc")),
			both("of an empty group", kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, "=")),
			ask("of several", 4, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, "fc", "fc2", "fc")),
			ask("of none", high, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0)),
			ask("of a kind that is none", 1, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(9, "fc")),
			ask("of a kind that is none", high, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(9, "fc")),
			ask("of a share at a version without", 4, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(2, "fc")),
		}},
		{"group-errors", concat(makeTopic("ge", 1), []step{
			badJoin("an empty group id", "=", func(*kmsg.JoinGroupRequest) {}),
			badJoin("a session of 1 ms", "ge", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 }),
			badJoin("a session of an hour", "ge", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 3_600_000 }),
			badJoin("an unknown member id", "ge", func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" }),
			ask("no protocols", high, kmsg.NewPtrJoinGroupRequest, join("ge", "", errs(func(r *kmsg.JoinGroupRequest) { r.Protocols = nil; r.MemberID = "nobody" }))),
			ask("no protocols of a new member", low, kmsg.NewPtrJoinGroupRequest, join("ge", "", errs(func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }))),
			ask("an empty protocol type of a new member", low, kmsg.NewPtrJoinGroupRequest, join("ge", "", errs(func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }))),
			both("heartbeat of an unknown group", kmsg.NewPtrHeartbeatRequest, heartbeat("ge-none", "nobody", 0)),
			both("heartbeat of an empty group id", kmsg.NewPtrHeartbeatRequest, heartbeat("=", "nobody", 0)),
			both("sync of an unknown group", kmsg.NewPtrSyncGroupRequest, syncGroup("ge-none", "nobody")),
			both("leave of an unknown group", kmsg.NewPtrLeaveGroupRequest, leave("ge-none", "nobody")),
			both("describe an unknown group", kmsg.NewPtrDescribeGroupsRequest, describeGroup("ge-none")),
			both("describe an empty group id", kmsg.NewPtrDescribeGroupsRequest, describeGroup("=")),
			both("describe nothing", kmsg.NewPtrDescribeGroupsRequest, describeGroup()),
			both("delete an unknown group", kmsg.NewPtrDeleteGroupsRequest, deleteGroups("ge-none")),
			both("delete an empty group id", kmsg.NewPtrDeleteGroupsRequest, deleteGroups("=")),
			both("delete twice in one request", kmsg.NewPtrDeleteGroupsRequest, deleteGroups("ge-none", "ge-none")),
		})},
		{"group-rebalance", rebalance()},
		{"group-static", static()},
		{"offset-commit", offsetCommit()},
		{"list-groups", listGroups()},
	}
}

// rebalance walks two members through joins, a stale generation and a leave.
func rebalance() []step {
	const g = "reb"
	asked := func(name string, s step) step { s.name = name; return s }
	b := "second"
	return concat(makeTopic(g, 2), enter(g, "first", 9), []step{
		ask("sync of the only member", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "first", "first")),
		on(b, kept(ask("an id for the second", 9, kmsg.NewPtrJoinGroupRequest, join(g, "second")), func(v *vars, r *kmsg.JoinGroupResponse) { v.kept["second"] = r.MemberID })),
		on(b, asked("the second joins", joined("second", ask("", 9, kmsg.NewPtrJoinGroupRequest, join(g, "second"))))).with(func(s *step) { s.start = true }),
		// The second's join is on its way on another connection: ask until it is felt.
		ask("the first is told to join", 4, kmsg.NewPtrHeartbeatRequest, heartbeat(g, "first", 0)).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return r.(*kmsg.HeartbeatResponse).ErrorCode == 27 }
		}),
		ask("a commit while the group prepares", high, kmsg.NewPtrOffsetCommitRequest, commit(g, "first", g, 0, 3)),
		ask("a sync while the group prepares", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "first")),
		ask("describe while the group prepares", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		asked("the first joins again", joined("first", ask("", 9, kmsg.NewPtrJoinGroupRequest, join(g, "first")))),
		on(b, asked("the second joins", joined("second", ask("", 9, kmsg.NewPtrJoinGroupRequest, join(g, "second"))))).with(func(s *step) { s.await = true }),
		ask("a commit before the sync", high, kmsg.NewPtrOffsetCommitRequest, commit(g, "first", g, 0, 3)),
		ask("a heartbeat before the sync", high, kmsg.NewPtrHeartbeatRequest, heartbeat(g, "first", 0)),
		on(b, ask("the second syncs", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "second"))).with(func(s *step) { s.start = true }),
		ask("the leader syncs", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "first", "first", "second")),
		on(b, ask("the second syncs", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "second"))).with(func(s *step) { s.await = true }),
		ask("describe two members", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		both("a heartbeat of the old generation", kmsg.NewPtrHeartbeatRequest, heartbeat(g, "first", -1)),
		both("a heartbeat of a generation to come", kmsg.NewPtrHeartbeatRequest, heartbeat(g, "first", 1)),
		both("a heartbeat of nobody", kmsg.NewPtrHeartbeatRequest, heartbeat(g, "nobody", 0)),
		both("a sync of nobody", kmsg.NewPtrSyncGroupRequest, syncGroup(g, "nobody")),
		ask("a sync of another protocol", high, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "first"), func(_ *vars, r *kmsg.SyncGroupRequest) { r.Protocol = ptr("roundrobin") }),
		ask("a sync of another protocol type", high, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "first"), func(_ *vars, r *kmsg.SyncGroupRequest) { r.ProtocolType = ptr("connect") }),
		ask("a sync of the old generation", high, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "first"), func(_ *vars, r *kmsg.SyncGroupRequest) { r.Generation-- }),
		both("a join with another protocol type", kmsg.NewPtrJoinGroupRequest, join(g, "second", func(_ *vars, r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })),
		both("a join with no protocol in common", kmsg.NewPtrJoinGroupRequest, join(g, "second", func(_ *vars, r *kmsg.JoinGroupRequest) { r.Protocols = r.Protocols[:1]; r.Protocols[0].Name = "odd" })),
		ask("the follower joins again unchanged", 9, kmsg.NewPtrJoinGroupRequest, join(g, "second")),
		both("a commit of the old generation", kmsg.NewPtrOffsetCommitRequest, commit(g, "first", g, 0, 3, func(_ *vars, r *kmsg.OffsetCommitRequest) { r.Generation-- })),
		both("a commit of nobody in a generation", kmsg.NewPtrOffsetCommitRequest, commit(g, "first", g, 0, 3, func(_ *vars, r *kmsg.OffsetCommitRequest) { r.MemberID = "nobody" })),
		both("a commit without a member on a live group", kmsg.NewPtrOffsetCommitRequest, commit(g, "", g, 0, 3)),
		both("a good commit", kmsg.NewPtrOffsetCommitRequest, commit(g, "second", g, 1, 7)),
		both("delete offsets of a live group", kmsg.NewPtrOffsetDeleteRequest, deleteOffsets(g, g, 0)),
		both("a heartbeat with an instance id that is none", kmsg.NewPtrHeartbeatRequest, heartbeat(g, "first", 0), func(_ *vars, r *kmsg.HeartbeatRequest) { r.InstanceID = ptr("inst") }),
		ask("two leave at once, and nobody", high, kmsg.NewPtrLeaveGroupRequest, leave(g, "second", "first", "nobody")),
		ask("describe empty", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		ask("its offsets", high, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, "")),
	})
}

// static walks members with instance ids through restarts and fencing.
func static() []step {
	const g = "stat"
	entering := func(name, who string) step {
		s := joined(who, ask(name, 9, kmsg.NewPtrJoinGroupRequest, join(g, "new "+who, instance("one"))))
		return s
	}
	withInstance := func(_ *vars, r *kmsg.HeartbeatRequest) { r.InstanceID = ptr("one") }
	return []step{
		entering("a static member joins", "a"),
		ask("it syncs", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "a", "a"), func(_ *vars, r *kmsg.SyncGroupRequest) { r.InstanceID = ptr("one") }),
		ask("describe", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		entering("it comes back without its id", "b"),
		ask("the old id beats", 4, kmsg.NewPtrHeartbeatRequest, heartbeat(g, "a", 0), withInstance),
		ask("the new id beats", 4, kmsg.NewPtrHeartbeatRequest, heartbeat(g, "b", 0), withInstance),
		ask("the old id syncs", 5, kmsg.NewPtrSyncGroupRequest, syncGroup(g, "a"), func(_ *vars, r *kmsg.SyncGroupRequest) { r.InstanceID = ptr("one") }),
		ask("the old id joins", 9, kmsg.NewPtrJoinGroupRequest, join(g, "a", instance("one"))),
		ask("the old id commits", high, kmsg.NewPtrOffsetCommitRequest, commit(g, "a", "life", 0, 3, func(_ *vars, r *kmsg.OffsetCommitRequest) { r.InstanceID = ptr("one") })),
		ask("the old id beats without an instance", 4, kmsg.NewPtrHeartbeatRequest, heartbeat(g, "a", 0)),
		ask("an unknown instance beats", 4, kmsg.NewPtrHeartbeatRequest, heartbeat(g, "b", 0), func(_ *vars, r *kmsg.HeartbeatRequest) { r.InstanceID = ptr("two") }),
		ask("leave by an unknown instance", 5, kmsg.NewPtrLeaveGroupRequest, leaveInstance(g, "two", "")),
		ask("leave by the instance and a wrong id", 5, kmsg.NewPtrLeaveGroupRequest, leaveInstance(g, "one", "nobody")),
		ask("leave by the instance alone", 5, kmsg.NewPtrLeaveGroupRequest, leaveInstance(g, "one", "")),
		ask("describe empty", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
	}
}

func leaveInstance(group, instance, member string) func(*vars, *kmsg.LeaveGroupRequest) {
	return func(v *vars, r *kmsg.LeaveGroupRequest) {
		r.Group = v.name(group)
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = member, &instance
		r.Members = append(r.Members, m)
	}
}

func deleteOffsets(group, topic string, partitions ...int32) func(*vars, *kmsg.OffsetDeleteRequest) {
	return func(v *vars, r *kmsg.OffsetDeleteRequest) {
		r.Group = exactOr(v, group)
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = v.name(topic)
		for _, p := range partitions {
			tp := kmsg.NewOffsetDeleteRequestTopicPartition()
			tp.Partition = p
			t.Partitions = append(t.Partitions, tp)
		}
		r.Topics = append(r.Topics, t)
	}
}

// offsetCommit commits without members, as tools and simple consumers do.
func offsetCommit() []step {
	long := string(slices.Repeat([]byte("x"), 5000))
	note := func(s *string) func(*vars, *kmsg.OffsetCommitRequest) {
		return func(_ *vars, r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Metadata = s }
	}
	commits := func(name string, s ...func(*vars, *kmsg.OffsetCommitRequest)) step {
		return both(name, kmsg.NewPtrOffsetCommitRequest, s...)
	}
	fetches := func(name string, s ...func(*vars, *kmsg.OffsetFetchRequest)) step {
		return both(name, kmsg.NewPtrOffsetFetchRequest, s...)
	}
	return concat(makeTopic("oc", 2), makeTopic("oc-gone", 1), []step{
		ask("every version", each, kmsg.NewPtrOffsetCommitRequest, commit("oc", "", "oc", 0, 5)),
		ask("fetch, every version", each, kmsg.NewPtrOffsetFetchRequest, fetchOffsets("oc", "oc", 0, 1)),
		commits("null metadata", commit("oc", "", "oc", 0, 6, note(nil))),
		commits("empty metadata", commit("oc", "", "oc", 1, 6, note(ptr("")))),
		commits("metadata too long", commit("oc", "", "oc", 0, 6, note(&long))),
		commits("unknown topic", commit("oc", "", "oc-none", 0, 5)),
		commits("unknown partition", commit("oc", "", "oc", 9, 5)),
		ask("unknown id", high, kmsg.NewPtrOffsetCommitRequest, commit("oc", "", "oc", 0, 5), func(v *vars, r *kmsg.OffsetCommitRequest) { r.Topics[0].TopicID = unknownID(v) }),
		commits("a negative offset", commit("oc", "", "oc", 0, -1)),
		commits("an empty group id", commit("=", "", "oc", 0, 5)),
		commits("a generation on a group that is not there", commit("oc-new", "", "oc", 0, 5, func(_ *vars, r *kmsg.OffsetCommitRequest) { r.Generation = 3; r.MemberID = "m" })),
		commits("no topics", func(v *vars, r *kmsg.OffsetCommitRequest) { r.Group, r.Generation = v.name("oc"), -1 }),
		fetches("all topics", fetchOffsets("oc", "")).with(func(s *step) { s.version = 2 }),
		ask("all topics", high, kmsg.NewPtrOffsetFetchRequest, fetchOffsets("oc", "")),
		fetches("an unknown group", fetchOffsets("oc-none", "oc", 0)),
		fetches("an unknown topic", fetchOffsets("oc", "oc-none", 0)),
		fetches("an unknown partition", fetchOffsets("oc", "oc", 77)),
		fetches("an empty group id", fetchOffsets("=", "oc", 0)),
		ask("two groups", 8, kmsg.NewPtrOffsetFetchRequest, fetchOffsets("oc", "oc", 0), fetchOffsets("oc-none", "oc", 0)).with(func(s *step) { s.once = true }),
		ask("with a member that is none", 9, kmsg.NewPtrOffsetFetchRequest, fetchOffsets("oc", "oc", 0), func(_ *vars, r *kmsg.OffsetFetchRequest) {
			r.Groups[0].MemberID, r.Groups[0].MemberEpoch = ptr("nobody"), 3
		}),
		ask("stable offsets only", 7, kmsg.NewPtrOffsetFetchRequest, fetchOffsets("oc", "oc", 0), func(_ *vars, r *kmsg.OffsetFetchRequest) { r.RequireStable = true }),
		both("delete an offset", kmsg.NewPtrOffsetDeleteRequest, deleteOffsets("oc", "oc", 1)),
		both("delete one of an unknown partition", kmsg.NewPtrOffsetDeleteRequest, deleteOffsets("oc", "oc", 9)),
		both("delete one of an unknown topic", kmsg.NewPtrOffsetDeleteRequest, deleteOffsets("oc", "oc-none", 0)),
		both("delete one of an unknown group", kmsg.NewPtrOffsetDeleteRequest, deleteOffsets("oc-none", "oc", 0)),
		both("delete one of an empty group id", kmsg.NewPtrOffsetDeleteRequest, deleteOffsets("=", "oc", 0)),
		ask("fetch after the deletion", high, kmsg.NewPtrOffsetFetchRequest, fetchOffsets("oc", "oc", 0, 1)),
		quietly(ask("commit to a topic that goes", high, kmsg.NewPtrOffsetCommitRequest, commit("oc", "", "oc-gone", 0, 5))),
		quietly(ask("delete the topic", 4, kmsg.NewPtrDeleteTopicsRequest, func(v *vars, r *kmsg.DeleteTopicsRequest) {
			r.TimeoutMillis, r.TopicNames = enough, []string{v.name("oc-gone")}
		})),
		ask("fetch after the topic is gone", 8, kmsg.NewPtrOffsetFetchRequest, fetchOffsets("oc", "oc-gone", 0)).with(func(s *step) {
			s.until = func(r kmsg.Response) bool {
				return r.(*kmsg.OffsetFetchResponse).Groups[0].Topics[0].Partitions[0].Offset == -1
			}
		}),
		ask("describe a group of offsets only", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup("oc")),
	})
}

// listGroups lists; other scenarios' groups are there too, so what is compared is narrowed by filters that they do not
// meet, or by a group type of its own.
func listGroups() []step {
	filter := func(states, types []string) func(*vars, *kmsg.ListGroupsRequest) {
		return func(_ *vars, r *kmsg.ListGroupsRequest) { r.StatesFilter, r.TypesFilter = states, types }
	}
	return concat(enter("lg", "member", 9), []step{
		// Kafka lists what is committed, which a group that was just made may not be on several nodes.
		ask("completing", 4, kmsg.NewPtrListGroupsRequest, filter([]string{"CompletingRebalance"}, nil)).with(func(s *step) {
			s.until = func(r kmsg.Response) bool { return len(r.(*kmsg.ListGroupsResponse).Groups) > 0 }
		}),
		ask("sync", 5, kmsg.NewPtrSyncGroupRequest, syncGroup("lg", "member", "member")),
		ask("stable", 4, kmsg.NewPtrListGroupsRequest, filter([]string{"stable"}, nil)),
		ask("stable and classic", high, kmsg.NewPtrListGroupsRequest, filter([]string{"STABLE"}, []string{"classic"})),
		ask("a state that is none", 4, kmsg.NewPtrListGroupsRequest, filter([]string{"Odd"}, nil)),
		ask("a type that is none", high, kmsg.NewPtrListGroupsRequest, filter(nil, []string{"odd"})),
		ask("leave", 5, kmsg.NewPtrLeaveGroupRequest, leave("lg", "member")),
		ask("every version", each, kmsg.NewPtrListGroupsRequest),
	})
}
