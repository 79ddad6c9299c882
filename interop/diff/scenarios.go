package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scenarios are all scenarios for so many nodes, one function for each family of APIs.
func scenarios(nodes int, long bool) []scenario {
	var all []scenario
	for _, family := range [][]scenario{
		connectionScenarios(), metadataScenarios(), topicScenarios(), configScenarios(), produceScenarios(), fetchScenarios(),
		offsetScenarios(), groupScenarios(), consumerGroupScenarios(), txnScenarios(), clusterScenarios(), securityScenarios(),
	} {
		all = append(all, family...)
	}
	if nodes == 1 {
		all = append(all, loginScenarios()...)
	}
	if nodes > 1 {
		all = append(all, nodeScenarios()...)
		if long {
			all = append(all, moveScenarios()...)
			all = append(all, haltScenarios()...) // last, as nodes stop
		}
	}
	return all
}

// ask makes a step of a request that needs nothing kept.
func ask[R kmsg.Request](name string, version int16, newReq func() R, set ...func(v *vars, r R)) step {
	return step{name: name, version: version, req: func(v *vars) kmsg.Request {
		r := newReq()
		for _, s := range set {
			s(v, r)
		}
		return r
	}}
}

// set is shorthand for a field-setting function's type.
func set[R any](f func(v *vars, r R)) func(v *vars, r R) { return f }

// with returns the step changed.
func (s step) with(change func(*step)) step {
	change(&s)
	return s
}

// kept returns the step with a keep function for its response type.
func kept[R kmsg.Response](s step, keep func(v *vars, r R)) step {
	s.keep = func(v *vars, r kmsg.Response) { keep(v, r.(R)) }
	return s
}

// quietly returns the step not compared, asked until it succeeds.
func quietly(s step) step {
	s.quiet = true
	return s
}

// placed returns the step whose answer shows what the broker itself has placed.
func placed(s step) step {
	s.placed = true
	return s
}

// settled returns the step asked again while the broker is still at what came before.
func settled(s step) step {
	s.settle = true
	return s
}

// on returns the step on another connection.
func on(conn string, s step) step {
	s.conn = conn
	return s
}

func ptr[T any](v T) *T { return &v }

// topicIDKey is where makeTopic keeps a topic's id.
func topicIDKey(name string) string { return "id of " + name }

// makeTopic are quiet steps that create a topic and wait until each partition answers.
func makeTopic(name string, partitions int32, configs ...string) []step {
	create := quietly(ask("create "+name, 7, kmsg.NewPtrCreateTopicsRequest, func(v *vars, r *kmsg.CreateTopicsRequest) {
		r.TimeoutMillis = enough
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = v.name(name), partitions, 1
		if v.nodes > 1 {
			t.NumPartitions, t.ReplicationFactor = -1, -1
			for p := range partitions {
				assign(p, v.replicas(v.replication)...)(&t)
			}
		}
		for i := 0; i+1 < len(configs); i += 2 {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = configs[i], &configs[i+1]
			t.Configs = append(t.Configs, c)
		}
		r.Topics = append(r.Topics, t)
	}))
	create.keep = func(v *vars, r kmsg.Response) {
		v.kept[topicIDKey(name)] = r.(*kmsg.CreateTopicsResponse).Topics[0].TopicID
	}
	served := quietly(ask("serve "+name, 4, kmsg.NewPtrListOffsetsRequest, func(v *vars, r *kmsg.ListOffsetsRequest) {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = v.name(name)
		for i := range partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = i, -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		r.ReplicaID = -1
		r.Topics = append(r.Topics, t)
	}))
	return []step{create, served}
}

// concat joins lists of steps.
func concat(lists ...[]step) []step {
	var all []step
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// both makes a step at the lowest and one at the highest version.
func both[R kmsg.Request](name string, newReq func() R, set ...func(v *vars, r R)) step {
	return ask(name, ends, newReq, set...)
}
