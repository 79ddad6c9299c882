package api_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// What the requests of the table are about.
const (
	aTopic = "a-topic"
	aGroup = "a-group"
	aTxn   = "a-txn"
	noSuch = "no-such-topic"
	// neverMade is a topic that cannot be created, whoever asks.
	neverMade = "never made"
)

// need is one permission.
type need struct {
	op   auth.Operation
	res  auth.Resource
	name string
}

func onTopic(op auth.Operation) need   { return need{op, auth.Topic, aTopic} }
func onGroup(op auth.Operation) need   { return need{op, auth.Group, aGroup} }
func onTxn(op auth.Operation) need     { return need{op, auth.TransactionalID, aTxn} }
func onCluster(op auth.Operation) need { return need{op, auth.Cluster, auth.ClusterName} }

// rule is what a request needs. Any of the lists will do; without one, nothing is needed.
type rule struct {
	what       string
	req        kmsg.Request
	version    int16 // 0 is the newest
	controller bool
	tweak      func(kmsg.Request)
	denied     int16 // the error for who may do nothing
	// silent is a name that the answer has only for who may know of it; there is no error.
	silent string
	needs  [][]need
}

func all(needs ...need) [][]need { return [][]need{needs} }

func either(needs ...need) (lists [][]need) {
	for _, n := range needs {
		lists = append(lists, []need{n})
	}
	return lists
}

// tweaked makes a tweak of a function of the request's own type.
func tweaked[T kmsg.Request](fn func(T)) func(kmsg.Request) {
	return func(r kmsg.Request) {
		if t, ok := r.(T); ok {
			fn(t)
		}
	}
}

const (
	topicDenied   int16 = 29
	groupDenied   int16 = 30
	clusterDenied int16 = 31
	txnDenied     int16 = 53
)

// authRules is the table: for each API what it needs, as Kafka's KafkaApis and ControllerApis ask for it.
func authRules(topic base.TopicID) []rule {
	config := func(kind meta.ResourceType, name string) func(kmsg.Request) {
		return func(r kmsg.Request) {
			switch r := r.(type) {
			case *kmsg.DescribeConfigsRequest:
				r.Resources[0].ResourceType, r.Resources[0].ResourceName = int8(kind), name
			case *kmsg.AlterConfigsRequest:
				r.Resources[0].ResourceType, r.Resources[0].ResourceName, r.Resources[0].Configs, r.ValidateOnly = int8(kind), name, nil, true
			case *kmsg.IncrementalAlterConfigsRequest:
				r.Resources[0].ResourceType, r.Resources[0].ResourceName, r.Resources[0].Configs, r.ValidateOnly = int8(kind), name, nil, true
			}
		}
	}
	rules := []rule{
		{req: &kmsg.ProduceRequest{}, version: 12, tweak: tweaked(func(r *kmsg.ProduceRequest) { r.Acks, r.TransactionalId = 1, nil }),
			denied: topicDenied, needs: all(onTopic(auth.Write))},
		{what: "by id", req: &kmsg.ProduceRequest{}, tweak: tweaked(func(r *kmsg.ProduceRequest) {
			r.Acks, r.TransactionalId, r.TopicData[0].TopicId = 1, nil, topic
		}), denied: topicDenied, needs: all(onTopic(auth.Write))},
		{what: "transactional", req: &kmsg.ProduceRequest{}, version: 12, tweak: tweaked(func(r *kmsg.ProduceRequest) {
			r.Acks, r.TopicData[0].PartitionData[0].Records.Bytes = 1, transactionalBatch()
		}), denied: txnDenied, needs: all(onTxn(auth.Write), onTopic(auth.Write))},
		{req: &kmsg.FetchRequest{}, version: 12, denied: topicDenied, needs: all(onTopic(auth.Read))},
		{what: "by id", req: &kmsg.FetchRequest{}, tweak: tweaked(func(r *kmsg.FetchRequest) { r.Topics[0].TopicId = topic }),
			denied: topicDenied, needs: all(onTopic(auth.Read))},
		{what: "of a follower", req: &kmsg.FetchRequest{}, version: 12, tweak: tweaked(func(r *kmsg.FetchRequest) { r.ReplicaId = 2 }),
			denied: topicDenied, needs: all(onCluster(auth.ClusterAction))},
		{what: "of the metadata", req: &kmsg.FetchRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.ListOffsetsRequest{}, denied: topicDenied, needs: all(onTopic(auth.Describe))},
		{req: &kmsg.MetadataRequest{}, denied: topicDenied, needs: all(onTopic(auth.Describe))},
		{what: "by id", req: &kmsg.MetadataRequest{}, tweak: tweaked(func(r *kmsg.MetadataRequest) {
			r.Topics[0].Name, r.Topics[0].TopicId = nil, topic
		}), denied: topicDenied, needs: all(onTopic(auth.Describe))},
		{what: "of all", req: &kmsg.MetadataRequest{}, tweak: tweaked(func(r *kmsg.MetadataRequest) { r.Topics = nil }),
			silent: aTopic, needs: all(onTopic(auth.Describe))},
		{what: "that makes it", req: &kmsg.MetadataRequest{}, tweak: tweaked(func(r *kmsg.MetadataRequest) {
			r.AllowAutoTopicCreation, r.Topics[0].Name = true, new(neverMade)
		}), denied: topicDenied, needs: [][]need{
			{{auth.Describe, auth.Topic, neverMade}, {auth.Create, auth.Topic, neverMade}},
			{{auth.Describe, auth.Topic, neverMade}, onCluster(auth.Create)},
		}},
		{req: &kmsg.OffsetCommitRequest{}, version: 9, denied: groupDenied, needs: all(onGroup(auth.Read), onTopic(auth.Read))},
		{what: "by id", req: &kmsg.OffsetCommitRequest{}, tweak: tweaked(func(r *kmsg.OffsetCommitRequest) { r.Topics[0].TopicId = topic }),
			denied: groupDenied, needs: all(onGroup(auth.Read), onTopic(auth.Read))},
		{req: &kmsg.OffsetFetchRequest{}, version: 9, denied: groupDenied, needs: all(onGroup(auth.Describe), onTopic(auth.Describe))},
		{what: "of one group", req: &kmsg.OffsetFetchRequest{}, version: 7, denied: groupDenied,
			needs: all(onGroup(auth.Describe), onTopic(auth.Describe))},
		{what: "by id", req: &kmsg.OffsetFetchRequest{}, tweak: tweaked(func(r *kmsg.OffsetFetchRequest) { r.Groups[0].Topics[0].TopicId = topic }),
			denied: groupDenied, needs: all(onGroup(auth.Describe), onTopic(auth.Describe))},
		{req: &kmsg.FindCoordinatorRequest{}, tweak: tweaked(func(r *kmsg.FindCoordinatorRequest) { r.CoordinatorKeys = []string{aGroup} }),
			denied: groupDenied, needs: all(onGroup(auth.Describe))},
		{what: "of a group", req: &kmsg.FindCoordinatorRequest{}, version: 2, tweak: tweaked(func(r *kmsg.FindCoordinatorRequest) { r.CoordinatorKey = aGroup }),
			denied: groupDenied, needs: all(onGroup(auth.Describe))},
		{what: "of a transaction", req: &kmsg.FindCoordinatorRequest{}, tweak: tweaked(func(r *kmsg.FindCoordinatorRequest) {
			r.KeyType, r.CoordinatorKeys = 1, []string{aTxn}
		}), denied: txnDenied, needs: all(onTxn(auth.Describe))},
		{what: "of share state", req: &kmsg.FindCoordinatorRequest{}, tweak: tweaked(func(r *kmsg.FindCoordinatorRequest) {
			r.KeyType, r.CoordinatorKeys = 2, []string{"g:AAAAAAAAAAAAAAAAAAAAAA:0"}
		}), denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.JoinGroupRequest{}, denied: groupDenied, needs: all(onGroup(auth.Read))},
		{req: &kmsg.HeartbeatRequest{}, denied: groupDenied, needs: all(onGroup(auth.Read))},
		{req: &kmsg.LeaveGroupRequest{}, denied: groupDenied, needs: all(onGroup(auth.Read))},
		{req: &kmsg.SyncGroupRequest{}, tweak: tweaked(func(r *kmsg.SyncGroupRequest) { r.ProtocolType, r.ProtocolName = new("consumer"), new("range") }),
			denied: groupDenied, needs: all(onGroup(auth.Read))},
		{req: &kmsg.DescribeGroupsRequest{}, denied: groupDenied, needs: all(onGroup(auth.Describe))},
		{req: &kmsg.ListGroupsRequest{}, tweak: tweaked(func(r *kmsg.ListGroupsRequest) { r.StatesFilter, r.TypesFilter = nil, nil }),
			silent: aGroup, needs: either(onGroup(auth.Describe), onCluster(auth.Describe))},
		{req: &kmsg.SaslHandshakeRequest{}},
		{req: &kmsg.SaslAuthenticateRequest{}},
		{req: &kmsg.ApiVersionsRequest{}},
		{req: &kmsg.CreateTopicsRequest{}, tweak: tweaked(func(r *kmsg.CreateTopicsRequest) { r.ValidateOnly, r.TimeoutMs = true, 5000 }),
			denied: topicDenied, needs: either(onTopic(auth.Create), onCluster(auth.Create))},
		{req: &kmsg.DeleteTopicsRequest{}, tweak: tweaked(func(r *kmsg.DeleteTopicsRequest) {
			// By name and by id, which is refused once the client may delete it at all.
			r.TimeoutMs, r.TopicNames = 5000, nil
			r.Topics = []kmsg.DeleteTopicsRequestDeleteTopicState{{Name: new(aTopic)}, {TopicId: topic}}
		}), denied: topicDenied, needs: either(onTopic(auth.Delete), onCluster(auth.Delete))},
		{what: "of none", req: &kmsg.DeleteTopicsRequest{}, tweak: tweaked(func(r *kmsg.DeleteTopicsRequest) {
			r.TimeoutMs, r.TopicNames = 5000, nil
			r.Topics = []kmsg.DeleteTopicsRequestDeleteTopicState{{Name: new(noSuch)}}
		}), denied: topicDenied, needs: either(need{auth.Describe, auth.Topic, noSuch}, onCluster(auth.Delete))},
		{req: &kmsg.DeleteRecordsRequest{}, denied: topicDenied, needs: all(onTopic(auth.Delete))},
		{req: &kmsg.InitProducerIdRequest{}, denied: txnDenied, needs: all(onTxn(auth.Write))},
		{what: "idempotent", req: &kmsg.InitProducerIdRequest{}, tweak: tweaked(func(r *kmsg.InitProducerIdRequest) { r.TransactionalId = nil }),
			denied: clusterDenied, needs: either(onCluster(auth.IdempotentWrite), onTopic(auth.Write))},
		{req: &kmsg.OffsetForLeaderEpochRequest{}, denied: topicDenied, needs: either(onTopic(auth.Describe), onCluster(auth.ClusterAction))},
		{req: &kmsg.AddPartitionsToTxnRequest{}, version: 3, denied: txnDenied, needs: all(onTxn(auth.Write), onTopic(auth.Write))},
		{what: "of a broker", req: &kmsg.AddPartitionsToTxnRequest{}, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.AddOffsetsToTxnRequest{}, denied: txnDenied, needs: all(onTxn(auth.Write), onGroup(auth.Read))},
		{req: &kmsg.EndTxnRequest{}, denied: txnDenied, needs: all(onTxn(auth.Write))},
		{req: &kmsg.WriteTxnMarkersRequest{}, denied: clusterDenied, needs: either(onCluster(auth.Alter), onCluster(auth.ClusterAction))},
		{req: &kmsg.TxnOffsetCommitRequest{}, version: 5, denied: txnDenied, needs: all(onTxn(auth.Write), onGroup(auth.Read), onTopic(auth.Read))},
		{req: &kmsg.DescribeAclsRequest{}, tweak: tweaked(func(r *kmsg.DescribeAclsRequest) {
			r.ResourceTypeFilter, r.Operation, r.PermissionType = 1, 1, 1
		}), denied: clusterDenied, needs: all(onCluster(auth.Describe))},
		{req: &kmsg.CreateAclsRequest{}, tweak: tweaked(func(r *kmsg.CreateAclsRequest) {
			a := &r.Creations[0]
			a.ResourceType, a.ResourcePatternType, a.ResourceName, a.Operation, a.PermissionType = 2, 1, aTopic, 3, 3
		}), denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.DeleteAclsRequest{}, tweak: tweaked(func(r *kmsg.DeleteAclsRequest) {
			f := &r.Filters[0]
			f.ResourceTypeFilter, f.PatternTypeFilter, f.Operation, f.PermissionType = 2, 3, 3, 3
		}), denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.AlterReplicaLogDirsRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.DescribeLogDirsRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Describe))},
		{req: &kmsg.CreatePartitionsRequest{}, tweak: tweaked(func(r *kmsg.CreatePartitionsRequest) { r.ValidateOnly, r.TimeoutMs = true, 5000 }),
			denied: topicDenied, needs: all(onTopic(auth.Alter))},
		{req: &kmsg.CreateDelegationTokenRequest{}}, // tokens are refused to everybody
		{req: &kmsg.RenewDelegationTokenRequest{}},
		{req: &kmsg.ExpireDelegationTokenRequest{}},
		{req: &kmsg.DescribeDelegationTokenRequest{}},
		{req: &kmsg.DeleteGroupsRequest{}, tweak: tweaked(func(r *kmsg.DeleteGroupsRequest) { r.GroupsNames = []string{noSuch} }),
			denied: groupDenied, needs: all(need{auth.Delete, auth.Group, noSuch})},
		{req: &kmsg.ElectLeadersRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.AlterPartitionReassignmentsRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.ListPartitionReassignmentsRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Describe))},
		{req: &kmsg.OffsetDeleteRequest{}, tweak: tweaked(func(r *kmsg.OffsetDeleteRequest) { r.Topics[0].Partitions[0].PartitionIndex = 99 }),
			denied: groupDenied, needs: all(onGroup(auth.Delete), onTopic(auth.Read))},
		{req: &kmsg.DescribeClientQuotasRequest{}, denied: clusterDenied, needs: all(onCluster(auth.DescribeConfigs))},
		{req: &kmsg.AlterClientQuotasRequest{}, denied: clusterDenied, needs: all(onCluster(auth.AlterConfigs))},
		{req: &kmsg.DescribeUserScramCredentialsRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Describe))},
		{req: &kmsg.AlterUserScramCredentialsRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.DescribeQuorumRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Describe))},
		{req: &kmsg.AlterPartitionRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.UpdateFeaturesRequest{}, tweak: tweaked(func(r *kmsg.UpdateFeaturesRequest) { r.ValidateOnly = true }),
			denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.EnvelopeRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.FetchSnapshotRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.DescribeClusterRequest{}},
		{what: "of a controller", req: &kmsg.DescribeClusterRequest{}, controller: true, tweak: tweaked(func(r *kmsg.DescribeClusterRequest) {
			r.EndpointType = 2
		}), denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.DescribeProducersRequest{}, denied: topicDenied, needs: all(onTopic(auth.Read))},
		{req: &kmsg.BrokerRegistrationRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.BrokerHeartbeatRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.UnregisterBrokerRequest{}, tweak: tweaked(func(r *kmsg.UnregisterBrokerRequest) { r.BrokerId = 77 }),
			denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.DescribeTransactionsRequest{}, denied: txnDenied, needs: all(onTxn(auth.Describe))},
		{req: &kmsg.ListTransactionsRequest{}, tweak: tweaked(func(r *kmsg.ListTransactionsRequest) {
			r.StateFilters, r.ProducerIdFilters, r.TransactionalIdPattern = nil, nil, nil
		}), silent: aTxn, needs: all(onTxn(auth.Describe))},
		{req: &kmsg.AllocateProducerIdsRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.ConsumerGroupHeartbeatRequest{}, tweak: tweaked(func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberEpoch, r.SubscribedTopicNames, r.SubscribedTopicRegex = 5, []string{aTopic}, nil
		}), denied: groupDenied, needs: all(onGroup(auth.Read), onTopic(auth.Describe))},
		{req: &kmsg.ConsumerGroupDescribeRequest{}, denied: groupDenied, needs: all(onGroup(auth.Describe))},
		{req: &kmsg.ControllerRegistrationRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.GetTelemetrySubscriptionsRequest{}},
		{req: &kmsg.PushTelemetryRequest{}},
		{req: &kmsg.AssignReplicasToDirsRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
		{req: &kmsg.ListConfigResourcesRequest{}, denied: clusterDenied, needs: all(onCluster(auth.DescribeConfigs))},
		{req: &kmsg.DescribeTopicPartitionsRequest{}, denied: topicDenied, needs: all(onTopic(auth.Describe))},
		{what: "of all", req: &kmsg.DescribeTopicPartitionsRequest{}, tweak: tweaked(func(r *kmsg.DescribeTopicPartitionsRequest) {
			r.Topics, r.ResponsePartitionLimit = nil, 2000
		}), silent: aTopic, needs: all(onTopic(auth.Describe))},
		{req: &kmsg.AddRaftVoterRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.RemoveRaftVoterRequest{}, denied: clusterDenied, needs: all(onCluster(auth.Alter))},
		{req: &kmsg.UpdateRaftVoterRequest{}, controller: true, denied: clusterDenied, needs: all(onCluster(auth.ClusterAction))},
	}
	for _, of := range []struct {
		kind   meta.ResourceType
		name   string
		res    auth.Resource
		on     string
		denied int16
	}{
		{meta.ResourceTopic, aTopic, auth.Topic, aTopic, topicDenied},
		{meta.ResourceGroup, aGroup, auth.Group, aGroup, groupDenied},
		{meta.ResourceBroker, "1", auth.Cluster, auth.ClusterName, clusterDenied},
		{meta.ResourceClientMetrics, "m", auth.Cluster, auth.ClusterName, clusterDenied},
		{meta.ResourceBrokerLogger, "1", auth.Cluster, auth.ClusterName, clusterDenied},
	} {
		what := fmt.Sprint("of resource type ", of.kind)
		describe, alter := need{auth.DescribeConfigs, of.res, of.on}, need{auth.AlterConfigs, of.res, of.on}
		rules = append(rules,
			rule{what: what, req: &kmsg.DescribeConfigsRequest{}, tweak: config(of.kind, of.name), denied: of.denied, needs: all(describe)},
			rule{what: what, req: &kmsg.IncrementalAlterConfigsRequest{}, tweak: config(of.kind, of.name), denied: of.denied, needs: all(alter)})
		if of.kind != meta.ResourceBrokerLogger {
			rules = append(rules, rule{what: what, req: &kmsg.AlterConfigsRequest{}, tweak: config(of.kind, of.name), denied: of.denied, needs: all(alter)})
		}
	}
	return append(rules, rule{
		what: "of a controller's loggers", req: &kmsg.IncrementalAlterConfigsRequest{}, controller: true,
		tweak: config(meta.ResourceBrokerLogger, "1"), denied: clusterDenied, needs: all(onCluster(auth.ClusterAction)),
	})
}

func transactionalBatch() []byte {
	b := batch.NewBuilder(batch.Options{LeaderEpoch: -1, Transactional: true, Producer: &batch.Producer{ID: 4711}})
	b.Append(time.Now().UnixMilli(), nil, []byte("value"))
	records, err := b.Build()
	if err != nil {
		panic(err)
	}
	return bytes.Clone(records)
}

// fillRequest gives every list one element and every field that names something the name of it.
func fillRequest(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillRequest(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f, name := v.Field(i), v.Type().Field(i).Name
			if !f.CanSet() {
				continue
			}
			if f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.String && nameFor(v.Type().Name(), name) != "" {
				f.Set(reflect.New(f.Type().Elem()))
				f = f.Elem()
			}
			switch {
			case f.Kind() == reflect.String && nameFor(v.Type().Name(), name) != "":
				f.SetString(nameFor(v.Type().Name(), name))
			case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String && nameFor(v.Type().Name(), name) != "":
				f.Set(reflect.ValueOf([]string{nameFor(v.Type().Name(), name)}))
			case f.Kind() == reflect.Slice && strings.Contains(name, "Partition") && f.Type().Elem().Kind() == reflect.Int32:
				f.Set(reflect.ValueOf([]int32{0}))
			case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && f.Len() == 0:
				f.Set(reflect.MakeSlice(f.Type(), 1, 1))
				fillRequest(f.Index(0))
			case f.Kind() == reflect.Struct:
				fillRequest(f)
			}
		}
	}
}

func nameFor(of, field string) string {
	switch field {
	case "Topic", "TopicName", "TopicNames":
		return aTopic
	case "Name":
		if strings.Contains(of, "Topic") && !strings.Contains(of, "Config") {
			return aTopic
		}
	case "GroupId", "GroupIds", "Groups", "GroupsNames":
		return aGroup
	case "TransactionalId", "V3AndBelowTransactionalId", "TransactionalIds":
		return aTxn
	}
	return ""
}

// heard takes the answer of one call.
type heard struct{ answer chan []byte }

func (h heard) Send(w *kmsg.Writer) { h.answer <- bytes.Clone(w.Buf[wire.SizeBytes:]) }
func (h heard) Drop()               { h.answer <- nil }
func (h heard) Close(string)        { h.answer <- nil }

// askAs asks the broker's handlers, without a socket.
func askAs(t *testing.T, b *api.Broker, who auth.Principal, r *rule) (resp kmsg.Response, answer []byte) {
	t.Helper()
	key := r.req.Key()
	req := kmsg.NewRequest(key)
	fillRequest(reflect.ValueOf(req))
	if r.tweak != nil {
		r.tweak(req)
	}
	version := r.version
	if version == 0 {
		version = kmsg.ByKey(key).Max
	}
	w := &kmsg.Writer{}
	h := kmsg.NewRequestHeader()
	h.RequestApiKey, h.RequestApiVersion, h.ClientId = key, version, new("test")
	h.Append(w, kmsg.RequestHeaderVersion(key, version))
	req.Append(w, version)
	closing := make(chan struct{})
	defer close(closing)
	conn := api.NewConn(1, "PLAINTEXT", netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.1:1"), closing, func() {})
	conn.Controller, conn.Principal = r.controller, who
	sink := heard{make(chan []byte, 1)}
	if err := b.Dispatch(conn, w.Buf, &api.Call{}, sink); err != nil {
		t.Fatalf("%T %s: %v", req, r.what, err)
	}
	select {
	case answer = <-sink.answer:
	case <-time.After(patience):
		t.Fatalf("%T %s: no answer", req, r.what)
	}
	if answer == nil {
		t.Fatalf("%T %s: the connection ends without an answer", req, r.what)
	}
	rd := kmsg.NewReader(answer)
	var rh kmsg.ResponseHeader
	if err := rh.Read(&rd, kmsg.ResponseHeaderVersion(key, version)); err != nil {
		t.Fatal(err)
	}
	resp = kmsg.NewResponse(key)
	body := kmsg.NewReader(rd.Rest())
	if err := resp.Read(&body, version); err != nil {
		t.Fatalf("%T %s: %v", req, r.what, err)
	}
	return resp, answer
}

// denials are the authorization errors of an answer.
func denials(v reflect.Value) (codes []int16) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return denials(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			codes = append(codes, denials(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if strings.HasSuffix(name, "ErrorCode") && name != "TopicConfigErrorCode" {
				if c := int16(v.Field(i).Int()); slices.Contains([]int16{topicDenied, groupDenied, clusterDenied, txnDenied}, c) {
					codes = append(codes, c)
				}
				continue
			}
			codes = append(codes, denials(v.Field(i))...)
		}
	}
	return codes
}

// met says whether some permissions are all of one list, or imply it.
func met(lists [][]need, given []need) bool {
	if len(lists) == 0 {
		return true
	}
	gives := func(n need) bool {
		return slices.ContainsFunc(given, func(g need) bool {
			if g.res != n.res || g.name != n.name {
				return false
			}
			switch {
			case g.op == n.op, g.op == meta.ACLAll:
				return true
			case n.op == auth.Describe:
				return slices.Contains([]auth.Operation{auth.Read, auth.Write, auth.Delete, auth.Alter}, g.op)
			}
			return n.op == auth.DescribeConfigs && g.op == auth.AlterConfigs
		})
	}
	return slices.ContainsFunc(lists, func(l []need) bool {
		return !slices.ContainsFunc(l, func(n need) bool { return !gives(n) })
	})
}

var ana = auth.Principal{Type: auth.UserType, Name: "ana"}

// grant has the authorizer know these permissions and no others; the last ones may deny.
func grant(t *testing.T, a *auth.Authorizer, allow, deny []need) {
	t.Helper()
	e := meta.Empty("").Edit()
	n := byte(0)
	add := func(all []need, permission meta.ACLPermission) {
		for _, p := range all {
			n++
			if err := e.Apply(&kmsg.AccessControlEntryRecord{
				Id: base.TopicID{15: n}, ResourceType: int8(p.res), ResourceName: p.name, PatternType: int8(meta.ACLLiteral),
				Principal: ana.String(), Host: "*", Operation: int8(p.op), PermissionType: int8(permission),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(allow, meta.ACLAllow)
	add(deny, meta.ACLDeny)
	im, _ := e.Image(0, 0)
	a.Update(im)
}

// TestAuthorizationOfEveryAPI: for each API that is served there is a rule, and it is enforced: who may do nothing is
// denied with the right error, who has exactly what the rule asks for is not, and any other operation in place of one
// of them helps only where it implies that one.
func TestAuthorizationOfEveryAPI(t *testing.T) {
	b, _ := startTxnBroker(t, "")
	k := newAsker(t, b.addr)
	k.createTopic(aTopic, 1)
	k.createTopic("__consumer_offsets", 1)
	k.createTopic("__transaction_state", 1)
	k.initRetry(4, new(aTxn), 60_000, -1, -1)
	commit := kmsg.NewOffsetCommitRequest()
	commit.GroupId, commit.GenerationIdOrMemberEpoch = aGroup, -1
	commit.Topics = []kmsg.OffsetCommitRequestOffsetCommitRequestTopic{{
		Name: aTopic, Partitions: []kmsg.OffsetCommitRequestOffsetCommitRequestPartition{{CommittedLeaderEpoch: -1, CommittedMetadata: new("")}},
	}}
	k.until("commit", func() bool {
		return ask[*kmsg.OffsetCommitResponse](k, &commit, 8).Topics[0].Partitions[0].ErrorCode == 0
	})
	a := auth.NewAuthorizer(auth.Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	b.api.Authorizer = a

	rules := authRules(b.ctl.Image().Topic(aTopic).ID)
	for _, key := range api.Registered() {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.req.Key() == key }) {
			t.Errorf("%s has no rule: who may use it?", kmsg.ByKey(key).Name)
		}
	}
	for i := range rules {
		r := &rules[i]
		t.Run(strings.TrimSpace(kmsg.ByKey(r.req.Key()).Name+" "+r.what), func(t *testing.T) { checkRule(t, b.api, a, r) })
	}
}

func checkRule(t *testing.T, b *api.Broker, a *auth.Authorizer, r *rule) {
	t.Helper()
	check := func(allow, deny []need, want bool) {
		t.Helper()
		grant(t, a, allow, deny)
		resp, answer := askAs(t, b, ana, r)
		codes := denials(reflect.ValueOf(resp))
		got := len(codes) == 0
		if r.silent != "" {
			if !got {
				t.Errorf("with %v, without %v: errors %v where the answer only leaves things out", allow, deny, codes)
			}
			got = bytes.Contains(answer, []byte(r.silent))
		}
		if got != want {
			t.Errorf("with %v, without %v: may is %v (errors %v), want %v", allow, deny, got, codes, want)
		}
		if len(allow) == 0 && r.denied != 0 && !slices.Contains(codes, r.denied) {
			t.Errorf("who may do nothing has errors %v, want %d", codes, r.denied)
		}
	}
	check(nil, nil, len(r.needs) == 0)
	for _, list := range r.needs {
		check(list, nil, true)
		for i, n := range list {
			check(list, []need{{meta.ACLAll, n.res, n.name}}, false)
			for _, op := range append(auth.Operations(n.res), meta.ACLAll) {
				other := slices.Clone(list)
				other[i].op = op
				check(other, nil, met(r.needs, other))
			}
			check(slices.Delete(slices.Clone(list), i, i+1), nil, met(r.needs, slices.Delete(slices.Clone(list), i, i+1)))
		}
	}
}

// TestEnvelopeAuthorizesItsClient: what a broker passes on is decided by the principal that it names, from the host that it
// names, and not by what the broker itself may do.
func TestEnvelopeAuthorizesItsClient(t *testing.T) {
	b, _ := startTxnBroker(t, "")
	newAsker(t, b.addr).createTopic(aTopic, 1)
	broker := auth.Principal{Type: auth.UserType, Name: "broker"}
	a := auth.NewAuthorizer(auth.Options{SuperUsers: []auth.Principal{broker}, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	b.api.Authorizer = a
	grant(t, a, []need{onTopic(auth.Alter)}, nil)

	pass := func(principal []byte) *kmsg.EnvelopeResponse {
		req := kmsg.NewCreatePartitionsRequest()
		req.ValidateOnly, req.TimeoutMs = true, 5000
		req.Topics = []kmsg.CreatePartitionsRequestCreatePartitionsTopic{{Name: aTopic, Count: 2}}
		w := &kmsg.Writer{}
		h := kmsg.NewRequestHeader()
		h.RequestApiKey, h.RequestApiVersion, h.ClientId = req.Key(), 3, new("client")
		h.Append(w, kmsg.RequestHeaderVersion(req.Key(), 3))
		req.Append(w, 3)
		resp, _ := askAs(t, b.api, broker, &rule{req: &kmsg.EnvelopeRequest{}, controller: true, tweak: tweaked(func(e *kmsg.EnvelopeRequest) {
			e.RequestData, e.RequestPrincipal, e.ClientHostAddress = w.Buf, principal, []byte{10, 0, 0, 9}
		})})
		env, _ := resp.(*kmsg.EnvelopeResponse)
		return env
	}
	inner := func(e *kmsg.EnvelopeResponse) int16 {
		t.Helper()
		if e.ErrorCode != 0 {
			t.Fatalf("the envelope has error %d", e.ErrorCode)
		}
		r := kmsg.NewReader(e.ResponseData)
		var h kmsg.ResponseHeader
		if err := h.Read(&r, kmsg.ResponseHeaderVersion(kmsg.KeyCreatePartitions, 3)); err != nil {
			t.Fatal(err)
		}
		var resp kmsg.CreatePartitionsResponse
		body := kmsg.NewReader(r.Rest())
		if err := resp.Read(&body, 3); err != nil {
			t.Fatal(err)
		}
		return resp.Results[0].ErrorCode
	}
	if code := inner(pass(ana.Marshal())); code != 0 {
		t.Errorf("who may add partitions gets error %d", code)
	}
	if code := inner(pass(auth.Principal{}.Marshal())); code != topicDenied {
		t.Errorf("who may not gets error %d, want %d", code, topicDenied)
	}
	if code := inner(pass(nil)); code != 0 {
		t.Errorf("the broker itself gets error %d", code)
	}
	if e := pass([]byte{0, 9, 1}); e.ErrorCode != 97 {
		t.Errorf("a principal that cannot be read gives error %d, want PRINCIPAL_DESERIALIZATION_FAILURE", e.ErrorCode)
	}
	_, answer := askAs(t, b.api, ana, &rule{req: &kmsg.EnvelopeRequest{}, controller: true})
	if !bytes.Contains(answer, []byte{0, byte(clusterDenied)}) {
		t.Error("who may not act for the cluster may pass requests on")
	}
}

// TestAlterConfigsChecksFirst: what no resource takes, and what this broker cannot have, is refused whoever asks; the rest by who may.
func TestAlterConfigsChecksFirst(t *testing.T) {
	b, _ := startTxnBroker(t, "")
	newAsker(t, b.addr).createTopic(aTopic, 1)
	a := auth.NewAuthorizer(auth.Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	b.api.Authorizer = a
	grant(t, a, nil, nil)
	type config struct {
		name  string
		value *string
	}
	for _, c := range []struct {
		what    string
		kind    meta.ResourceType
		of      string
		configs []config
		want    int16
	}{
		{"a key twice", meta.ResourceTopic, aTopic, []config{{"retention.ms", new("1")}, {"retention.ms", new("2")}}, 42},
		{"no value", meta.ResourceTopic, aTopic, []config{{"retention.ms", nil}}, 42},
		{"no value, in a topic that is none", meta.ResourceTopic, "none", []config{{"retention.ms", nil}}, 42},
		{"a key twice, in another's configs", meta.ResourceBroker, "77", []config{{"a", new("1")}, {"a", new("2")}}, 42},
		{"what cannot change while the broker runs", meta.ResourceBroker, "", []config{{"log.dirs", new("/x")}}, 42},
		{"a value that is none", meta.ResourceTopic, aTopic, []config{{"retention.ms", new("x")}}, topicDenied},
		{"a good one", meta.ResourceTopic, aTopic, []config{{"retention.ms", new("1")}}, topicDenied},
		{"a good one of the brokers", meta.ResourceBroker, "", []config{{"log.retention.ms", new("1")}}, clusterDenied},
	} {
		legacy := tweaked(func(r *kmsg.AlterConfigsRequest) {
			x := &r.Resources[0]
			x.ResourceType, x.ResourceName, x.Configs = int8(c.kind), c.of, nil
			for _, k := range c.configs {
				x.Configs = append(x.Configs, kmsg.AlterConfigsRequestAlterableConfig{Name: k.name, Value: k.value})
			}
		})
		incremental := tweaked(func(r *kmsg.IncrementalAlterConfigsRequest) {
			x := &r.Resources[0]
			x.ResourceType, x.ResourceName, x.Configs = int8(c.kind), c.of, nil
			for _, k := range c.configs {
				x.Configs = append(x.Configs, kmsg.IncrementalAlterConfigsRequestAlterableConfig{Name: k.name, Value: k.value})
			}
		})
		old, _ := askAs(t, b.api, ana, &rule{req: &kmsg.AlterConfigsRequest{}, tweak: legacy})
		now, _ := askAs(t, b.api, ana, &rule{req: &kmsg.IncrementalAlterConfigsRequest{}, tweak: incremental})
		if got := old.(*kmsg.AlterConfigsResponse).Responses[0].ErrorCode; got != c.want {
			t.Errorf("%s: AlterConfigs has error %d, want %d", c.what, got, c.want)
		}
		if got := now.(*kmsg.IncrementalAlterConfigsResponse).Responses[0].ErrorCode; got != c.want {
			t.Errorf("%s: IncrementalAlterConfigs has error %d, want %d", c.what, got, c.want)
		}
	}
}

// TestRegexStandsForWhatIsSeen: a regular expression that the broker resolves stands for topics that the member may describe,
// and for no others.
func TestRegexStandsForWhatIsSeen(t *testing.T) {
	b, _ := startTxnBroker(t, "")
	k := newAsker(t, b.addr)
	k.createTopic("__consumer_offsets", 1)
	k.createTopic("team-seen", 1)
	k.createTopic("team-hidden", 1)
	seen := b.ctl.Image().Topic("team-seen").ID
	a := auth.NewAuthorizer(auth.Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	b.api.Authorizer = a
	grant(t, a, []need{onGroup(auth.Read), {auth.Describe, auth.Topic, "team-seen"}}, nil)
	epoch := int32(0)
	k.until("an assignment", func() bool {
		resp, _ := askAs(t, b.api, ana, &rule{req: &kmsg.ConsumerGroupHeartbeatRequest{}, tweak: tweaked(func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberId, r.MemberEpoch, r.RebalanceTimeoutMs = "member", epoch, 60_000
			r.SubscribedTopicNames, r.SubscribedTopicRegex, r.TopicPartitions = nil, nil, nil
			if epoch == 0 {
				r.SubscribedTopicNames, r.SubscribedTopicRegex = []string{}, new("team-.*")
				r.TopicPartitions = []kmsg.ConsumerGroupHeartbeatRequestTopicPartitions{}
			}
		})})
		h, _ := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
		if notReady(h.ErrorCode) {
			return false
		}
		if h.ErrorCode != 0 {
			t.Fatalf("the heartbeat gets %s", code(h.ErrorCode))
		}
		epoch = h.MemberEpoch
		if h.Assignment == nil || len(h.Assignment.TopicPartitions) == 0 {
			return false
		}
		if got := h.Assignment.TopicPartitions; len(got) != 1 || got[0].TopicId != seen {
			t.Fatalf("the member has %v, want %s only", got, seen)
		}
		return true
	})
}
