package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// beat is a ConsumerGroupHeartbeat of the member kept under who, at its kept epoch.
func beat(group, who string, change ...func(*vars, *kmsg.ConsumerGroupHeartbeatRequest)) func(*vars, *kmsg.ConsumerGroupHeartbeatRequest) {
	return func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = exactOr(v, group), v.str(who), int32(v.i64(who+" epoch")), -1
		r.SubscribedTopicNames, r.Topics = nil, nil
		for _, c := range change {
			c(v, r)
		}
	}
}

// subscribe makes a heartbeat one that joins with topics.
func subscribe(topics ...string) func(*vars, *kmsg.ConsumerGroupHeartbeatRequest) {
	return func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.MemberEpoch, r.RebalanceTimeoutMillis, r.Topics = 0, never, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		r.SubscribedTopicNames = []string{}
		for _, t := range topics {
			r.SubscribedTopicNames = append(r.SubscribedTopicNames, v.name(t))
		}
	}
}

// owns says in a heartbeat which partitions of a topic the member has.
func owns(topic string, partitions ...int32) func(*vars, *kmsg.ConsumerGroupHeartbeatRequest) {
	return func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		t.TopicID, t.Partitions = v.id(topicIDKey(topic)), partitions
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{t}
	}
}

func atEpoch(epoch int32) func(*vars, *kmsg.ConsumerGroupHeartbeatRequest) {
	return func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = epoch }
}

// beaten keeps a member's id and epoch.
func beaten(who string, s step) step {
	return kept(s, func(v *vars, r *kmsg.ConsumerGroupHeartbeatResponse) {
		if r.ErrorCode == 0 {
			if r.MemberID != nil && *r.MemberID != "" {
				v.kept[who] = *r.MemberID
			}
			v.kept[who+" epoch"] = r.MemberEpoch
		}
	})
}

func describeConsumers(groups ...string) func(*vars, *kmsg.ConsumerGroupDescribeRequest) {
	return func(v *vars, r *kmsg.ConsumerGroupDescribeRequest) {
		for _, g := range groups {
			r.Groups = append(r.Groups, exactOr(v, g))
		}
	}
}

func consumerGroupScenarios() []scenario {
	hb := kmsg.NewPtrConsumerGroupHeartbeatRequest
	plain := func(change func(*kmsg.ConsumerGroupHeartbeatRequest)) func(*vars, *kmsg.ConsumerGroupHeartbeatRequest) {
		return func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { change(r) }
	}
	id := func(s string) func(*vars, *kmsg.ConsumerGroupHeartbeatRequest) {
		return plain(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = s })
	}
	var all []scenario
	for version := range int16(2) {
		all = append(all, scenario{fmt.Sprintf("consumer-group v%d", version), consumerGroupLife(version)})
	}
	return append(all, scenario{"consumer-group-errors", concat(makeTopic("cge", 3), []step{
		quietly(ask("coordinator", 4, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, "cge"))),
		both("an empty group id", hb, beat("=", "", id("m"), subscribe("cge"))),
		ask("no member id", 1, hb, beat("cge", "", subscribe("cge"))),
		both("epoch 5 on a group that is not there", hb, beat("cge", "", id("m"), atEpoch(5))),
		both("leave of a group that is not there", hb, beat("cge", "", id("m"), atEpoch(-1))),
		both("join without a rebalance time-out", hb, beat("cge", "", id("m"), subscribe("cge"), plain(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 }))),
		both("join without topics", hb, beat("cge", "", id("m"), subscribe("cge"), plain(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil }))),
		both("join with what it owns", hb, beat("cge", "", id("m"), subscribe("cge"), owns("cge", 0))),
		both("join with an assignor that is none", hb, beat("cge", "", id("m"), subscribe("cge"), plain(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("odd") }))),
		both("join with an empty instance id", hb, beat("cge", "", id("m"), subscribe("cge"), plain(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = ptr("") }))),
		both("join with an empty rack", hb, beat("cge", "", id("m"), subscribe("cge"), plain(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = ptr("") }))),
		ask("join with a bad regex", 1, hb, beat("cge", "", id("m"), subscribe(), plain(func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = ptr("[") }))),
		both("epoch -3", hb, beat("cge", "", id("m"), atEpoch(-3))),
		both("a static leave without an instance", hb, beat("cge", "", id("m"), atEpoch(-2))),
		both("describe a group that is not there", kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers("cge-none")),
		both("describe an empty group id", kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers("=")),
		both("describe nothing", kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers()),
		// A classic group by the name, with a live member of another protocol type.
		ask("a classic connect group", 3, kmsg.NewPtrJoinGroupRequest, join("cge-classic", "classic", func(_ *vars, r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })),
		both("join a connect group", hb, beat("cge-classic", "", id("m"), subscribe("cge"))),
		both("describe a classic group", kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers("cge-classic")),
	})})
}

// consumerGroupLife walks two members through joins, reconciliation, fencing, commits and leaves.
func consumerGroupLife(version int16) []step {
	hb := kmsg.NewPtrConsumerGroupHeartbeatRequest
	g := fmt.Sprint("cg", version)
	// The members' ids decide who gets which partition, so they are the same on both sides where the client makes them.
	first := func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
		if version > 0 {
			r.MemberID = "AAAAAAAAAAAAAAAAAAAAA1"
		}
	}
	second := func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
		if version > 0 {
			r.MemberID = "BBBBBBBBBBBBBBBBBBBBB2"
		}
	}
	b := func(name, who string, change ...func(*vars, *kmsg.ConsumerGroupHeartbeatRequest)) step {
		return beaten(who, ask(name, version, hb, beat(g, who, change...)))
	}
	steps := concat(makeTopic(g, 4), []step{
		quietly(ask("coordinator", 4, kmsg.NewPtrFindCoordinatorRequest, findCoordinator(0, g))),
		// Kafka's coordinator learns of a new topic a little later than clients do, and each partition of it for itself.
		quietly(ask("a group of its own sees the topic", 1, hb, beat(g, "", subscribe(g), func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.Group, r.MemberID = v.name(v.coordinatedWith(g)), "WWWWWWWWWWWWWWWWWWWWW7"
		}))).with(func(s *step) {
			s.until = func(r kmsg.Response) bool {
				a := r.(*kmsg.ConsumerGroupHeartbeatResponse).Assignment
				return a != nil && len(a.Topics) > 0
			}
		}),
		b("the first joins", "a", subscribe(g), first),
		b("its heartbeat", "a", owns(g, 0, 1, 2, 3)),
		b("another", "a"),
		ask("describe one member", version, kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers(g)),
		ask("describe as a classic group", high, kmsg.NewPtrDescribeGroupsRequest, describeGroup(g)),
		ask("a heartbeat an epoch ahead", version, hb, beat(g, "a", func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch += 5 })),
		ask("a heartbeat of nobody", version, hb, beat(g, "a", func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "nobody" })),
		ask("a classic heartbeat", high, kmsg.NewPtrHeartbeatRequest, func(v *vars, r *kmsg.HeartbeatRequest) {
			r.Group, r.MemberID, r.Generation = v.name(g), v.str("a"), int32(v.i64("a epoch"))
		}),
		ask("commit", 9, kmsg.NewPtrOffsetCommitRequest, commitEpoch(g, "a", 0, 4)),
		ask("commit by ids", high, kmsg.NewPtrOffsetCommitRequest, commitEpoch(g, "a", 0, 5)),
		ask("commit an epoch ahead", high, kmsg.NewPtrOffsetCommitRequest, commitEpoch(g, "a", 3, 6)),
		ask("commit an epoch behind", high, kmsg.NewPtrOffsetCommitRequest, commitEpoch(g, "a", -1, 6)),
		ask("commit by an old version", 8, kmsg.NewPtrOffsetCommitRequest, commitEpoch(g, "a", 0, 6)),
		ask("commit of nobody", 9, kmsg.NewPtrOffsetCommitRequest, commitEpoch(g, "nobody", 0, 6)),
		ask("fetch the offset as the member", 9, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, g, 0), func(v *vars, r *kmsg.OffsetFetchRequest) {
			r.Groups[0].MemberID, r.Groups[0].MemberEpoch = ptr(v.str("a")), int32(v.i64("a epoch"))
		}),
		ask("fetch the offset as the member an epoch ahead", 9, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, g, 0), func(v *vars, r *kmsg.OffsetFetchRequest) {
			r.Groups[0].MemberID, r.Groups[0].MemberEpoch = ptr(v.str("a")), int32(v.i64("a epoch"))+4
		}),
		ask("fetch the offset as nobody", 9, kmsg.NewPtrOffsetFetchRequest, fetchOffsets(g, g, 0)),
		b("the second joins", "b", subscribe(g), second),
		b("the first must give up two", "a"),
		ask("describe while it does", version, kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers(g)),
	})
	if version == 0 {
		// Which two depends on the ids that the broker made; the rest is told with ids of our own in version 1.
		return append(steps,
			b("the first leaves", "a", atEpoch(-1)),
			b("the second has all", "b"),
			b("the second leaves", "b", atEpoch(-1)),
			ask("a heartbeat after leaving", version, hb, beat(g, "b")),
			ask("describe empty", version, kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers(g)),
			ask("delete", high, kmsg.NewPtrDeleteGroupsRequest, deleteGroups(g)),
		)
	}
	return append(steps,
		b("the first has given up two", "a", owns(g, 0, 1)),
		b("the second gets them", "b"),
		b("the second has them", "b", owns(g, 2, 3)),
		ask("describe two members", version, kmsg.NewPtrConsumerGroupDescribeRequest, describeConsumers(g)),
		b("the first wants nothing else", "a", func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{v.name(g)} }),
		b("the first changes to range", "a", func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("range") }),
		b("the second as before", "b"),
		b("the first joins again at epoch 0", "a", subscribe(g)),
		b("a static member joins", "s", subscribe(g), func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberID, r.InstanceID = "CCCCCCCCCCCCCCCCCCCCC3", ptr("inst")
		}),
		ask("another member with its instance", version, hb, beat(g, "", subscribe(g), func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberID, r.InstanceID = "DDDDDDDDDDDDDDDDDDDDD4", ptr("inst")
		})),
		b("the static member goes away for a while", "s", func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch, r.InstanceID = -2, ptr("inst") }),
		ask("it comes back under another id", version, hb, beat(g, "", subscribe(g), func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberID, r.InstanceID = "EEEEEEEEEEEEEEEEEEEEE5", ptr("inst")
		})),
		ask("the old id of the instance", version, hb, beat(g, "s", func(_ *vars, r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch, r.InstanceID = 1, ptr("inst") })),
		b("a member with a regex joins", "r", subscribe(), func(v *vars, r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberID, r.SubscribedTopicRegex = "FFFFFFFFFFFFFFFFFFFFF6", ptr(v.name(g)+".*")
		}),
		ask("delete a live group", high, kmsg.NewPtrDeleteGroupsRequest, deleteGroups(g)),
		ask("list it", high, kmsg.NewPtrListGroupsRequest, func(_ *vars, r *kmsg.ListGroupsRequest) { r.TypesFilter = []string{"consumer"} }).with(func(s *step) {
			// Kafka's coordinator looks up what a regex matches beside its other work, and only then is there something to assign.
			s.until = func(r kmsg.Response) bool {
				return slices.ContainsFunc(r.(*kmsg.ListGroupsResponse).Groups, func(l kmsg.ListGroupsResponseGroup) bool {
					return strings.HasSuffix(l.Group, g) && l.GroupState == "Assigning"
				})
			}
		}),
		b("the second leaves", "b", atEpoch(-1)),
		ask("a heartbeat after leaving", version, hb, beat(g, "b", atEpoch(3))),
	)
}

// commitEpoch commits as a member at its epoch plus by.
func commitEpoch(group, who string, by int32, offset int64) func(*vars, *kmsg.OffsetCommitRequest) {
	return commit(group, "", group, 0, offset, func(v *vars, r *kmsg.OffsetCommitRequest) {
		r.MemberID, r.Generation = v.str(who), int32(v.i64(who+" epoch"))+by
	})
}
