package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/interop/local"
)

// system is one of the two that are compared: the addresses of its nodes, the first being node 1.
type system struct {
	addrs []string
	// login is where users log in, see s_acl.go.
	login string
	// gate is where clients have to log in by hand, see s_login.go; empty where there is none.
	gate string
	// mark is what caughtUp leaves in the metadata.
	mark local.Mark
	// cluster is what runs, when the suite started several nodes.
	cluster *local.Cluster
	// away are the nodes that are stopped or stand still, see halt.go.
	away map[int]bool
}

// ended prints which nodes have ended by themselves, with the end of what they printed.
func (s *system) ended(name string) {
	if s.cluster == nil {
		return
	}
	for id := range s.addrs {
		if s.cluster.Exited(id + 1) {
			fmt.Printf("node %d of %s has ended by itself; the end of its log:\n%s\n", id+1, name, s.cluster.LogTail(id+1, 2000))
		}
	}
}

// homes are the nodes of scenarios that speak of a broker by its id. Other scenarios are spread over the nodes.
var homes = map[string]int{"another-broker's-configs": 1, "cluster": 1, "incremental-alter-configs": 1}

// lone scenarios move and describe topics that have one replica.
var lone = map[string]bool{"cluster": true}

// several starts nodes of a kind whose internal topics have the same leaders on both sides: then coordinators are found
// on the same nodes, and node ids in answers can be compared as they are.
func several(ctx context.Context, kind string, nodes int) (*system, func(), error) {
	dir, err := os.MkdirTemp("", "logstead-diff-")
	if err != nil {
		return nil, nil, err
	}
	c, err := local.NewCluster(ctx, kind, filepath.Join(dir, kind), nodes)
	if err != nil {
		return nil, nil, err
	}
	// Nothing may be taken out of an in-sync set because the machine is busy, nor records because they are old. The session of
	// a broker is what Kafka has a stopped one wait for before it may register again.
	c.Set = append([]string{"group.initial.rebalance.delay.ms=0", "broker.session.timeout.ms=30000", "initial.broker.registration.timeout.ms=180000", "replica.lag.time.max.ms=300000",
		"auto.leader.rebalance.enable=false", "controller.quorum.fetch.timeout.ms=30000", "controller.quorum.request.timeout.ms=20000", "controller.quorum.election.timeout.ms=5000",
		"group.consumer.assignment.interval.ms=0", "broker.rack=rack{id}", "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector"}, calm...)
	stop := func() {
		c.Close()
		os.RemoveAll(dir)
	}
	s := &system{cluster: c, away: map[int]bool{}}
	for id := 1; id <= nodes; id++ {
		s.addrs = append(s.addrs, c.Addr(id))
	}
	err = errors.Join(c.Format(ctx), c.StartAll(ctx))
	for _, addr := range s.addrs {
		if err == nil {
			err = await(ctx, addr, nodes)
		}
	}
	if err == nil {
		err = s.placeInternalTopics(ctx)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

// internalPartitions is how many partitions the internal topics have where nothing is set.
const internalPartitions = 50

// placeInternalTopics makes the internal topics as a broker would, but says which node leads which partition.
func (s *system) placeInternalTopics(ctx context.Context) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = enough
	for name, configs := range map[string][]string{
		"__consumer_offsets":  {"cleanup.policy", "compact", "compression.type", "producer", "segment.bytes", "104857600"},
		"__transaction_state": {"cleanup.policy", "compact", "compression.type", "uncompressed", "segment.bytes", "104857600", "min.insync.replicas", "2", "unclean.leader.election.enable", "false"},
	} {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
		for p := range internalPartitions {
			assign(int32(p), (&vars{nodes: len(s.addrs), home: p%len(s.addrs) + 1}).replicas(3)...)(&t)
		}
		for i := 0; i < len(configs); i += 2 {
			topicConfig(configs[i], &configs[i+1])(&t)
		}
		req.Topics = append(req.Topics, t)
	}
	limited, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	err := local.Again(limited, func() error {
		resp, err := s.once(1, req, 7)
		if err != nil {
			return err
		}
		for _, t := range resp.(*kmsg.CreateTopicsResponse).Topics {
			// That it exists is the answer to a request that was made again.
			if t.ErrorCode != 0 && t.ErrorCode != kerr.TopicAlreadyExists.Code {
				return fmt.Errorf("create %s: error %d", t.Topic, t.ErrorCode)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.caughtUp(ctx, "diff")
}

// once asks a node on a connection of its own.
func (s *system) once(node int, req kmsg.Request, version int16) (kmsg.Response, error) {
	c, err := dial(s.addrs[node-1])
	if err != nil {
		return nil, err
	}
	defer c.c.Close()
	req.SetVersion(version)
	if err := c.send(c.frame(req, "diff")); err != nil {
		return nil, err
	}
	b, err := c.receive()
	if err != nil {
		return nil, err
	}
	resp, _, err := c.decode(req, b)
	return resp, err
}

// caughtUp returns when every node that is there has acted on all that the controller has decided so far.
func (s *system) caughtUp(ctx context.Context, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	s.mark.Name = prefix + "-mark"
	return s.mark.Settle(ctx, s.there(), func(_ context.Context, node int, req kmsg.Request) (kmsg.Response, error) {
		return s.once(cmp.Or(node, s.there()[0]), req, 1)
	})
}

// decides says whether a request changes what the controllers agree on.
func decides(req kmsg.Request) bool {
	switch r := req.(type) {
	case *kmsg.CreateTopicsRequest, *kmsg.DeleteTopicsRequest, *kmsg.CreatePartitionsRequest, *kmsg.AlterConfigsRequest,
		*kmsg.IncrementalAlterConfigsRequest, *kmsg.ElectLeadersRequest, *kmsg.AlterPartitionAssignmentsRequest,
		*kmsg.AlterClientQuotasRequest, *kmsg.UpdateFeaturesRequest:
		return true
	case *kmsg.MetadataRequest:
		return r.AllowAutoTopicCreation
	}
	return false
}

// nodeOf is the node that a request belongs to: a coordinator's, a broker's that it names, or the scenario's home,
// which leads what the scenario makes.
func (p *player) nodeOf(req kmsg.Request) int {
	if len(p.sys.addrs) == 1 {
		return 1
	}
	if key, ok := coordinated(req); ok {
		p.coordinator = coordinatorOf(key, len(p.sys.addrs))
		for p.sys.away[p.coordinator] { // the replica after it leads then
			p.coordinator = p.coordinator%len(p.sys.addrs) + 1
		}
		return p.coordinator
	}
	switch r := req.(type) {
	case *kmsg.ListGroupsRequest, *kmsg.ListTransactionsRequest:
		return p.coordinator
	case *kmsg.DescribeConfigsRequest:
		for _, c := range r.Resources {
			return p.named(c.ResourceType, c.ResourceName)
		}
	case *kmsg.IncrementalAlterConfigsRequest:
		for _, c := range r.Resources {
			return p.named(c.ResourceType, c.ResourceName)
		}
	case *kmsg.AlterConfigsRequest:
		for _, c := range r.Resources {
			return p.named(c.ResourceType, c.ResourceName)
		}
	}
	return p.vars.home
}

// named is the node that a resource is a broker of.
func (p *player) named(kind kmsg.ConfigResourceType, name string) int {
	id, err := strconv.Atoi(name)
	if err != nil || kind != brokerResource && kind != loggerResource || id < 1 || id > len(p.sys.addrs) {
		return p.vars.home
	}
	return id
}

// coordinated is the group or transactional id whose coordinator a request is for.
func coordinated(req kmsg.Request) (key string, ok bool) {
	first := func(all []string) (string, bool) {
		if len(all) == 0 {
			return "", false
		}
		return all[0], true
	}
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		return r.Group, true
	case *kmsg.SyncGroupRequest:
		return r.Group, true
	case *kmsg.HeartbeatRequest:
		return r.Group, true
	case *kmsg.LeaveGroupRequest:
		return r.Group, true
	case *kmsg.OffsetCommitRequest:
		return r.Group, true
	case *kmsg.OffsetDeleteRequest:
		return r.Group, true
	case *kmsg.TxnOffsetCommitRequest:
		return r.Group, true
	case *kmsg.ConsumerGroupHeartbeatRequest:
		return r.Group, true
	case *kmsg.OffsetFetchRequest:
		if len(r.Groups) > 0 {
			return r.Groups[0].Group, true
		}
		return r.Group, true
	case *kmsg.DescribeGroupsRequest:
		return first(r.Groups)
	case *kmsg.DeleteGroupsRequest:
		return first(r.Groups)
	case *kmsg.ConsumerGroupDescribeRequest:
		return first(r.Groups)
	case *kmsg.InitProducerIDRequest:
		if r.TransactionalID != nil {
			return *r.TransactionalID, true
		}
	case *kmsg.AddPartitionsToTxnRequest:
		return r.TransactionalID, true
	case *kmsg.AddOffsetsToTxnRequest:
		return r.TransactionalID, true
	case *kmsg.EndTxnRequest:
		return r.TransactionalID, true
	case *kmsg.DescribeTransactionsRequest:
		return first(r.TransactionalIDs)
	}
	return "", false
}

// coordinatorOf is the node that leads the partition of the internal topics which holds a key.
func coordinatorOf(key string, nodes int) int { return partitionOf(key)%nodes + 1 }

// partitionOf is the partition of the internal topics that holds a key: by Java's hash of it.
func partitionOf(key string) int {
	var hash int32
	for _, c := range []byte(key) {
		hash = 31*hash + int32(c)
	}
	at := max(int64(hash), -int64(hash))
	if hash == math.MinInt32 {
		at = 0
	}
	return int(at % internalPartitions)
}

// coordinatedWith is the name of another group that the same partition of the internal topic holds.
func (v *vars) coordinatedWith(group string) string {
	for i := 0; ; i++ {
		other := fmt.Sprint(group, "-warm", i)
		if partitionOf(v.name(other)) == partitionOf(v.name(group)) {
			return other
		}
	}
}

// replicas are up to n nodes from the home on.
func (v *vars) replicas(n int) []int32 {
	var all []int32
	for i := range min(n, v.nodes) {
		all = append(all, int32(v.node(i)))
	}
	return all
}

// node is the node past steps after the home.
func (v *vars) node(past int) int { return (v.home-1+past)%v.nodes + 1 }
