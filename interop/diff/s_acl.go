package main

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The scenario of access control runs with -authorizer alone: both brokers then have Kafka's StandardAuthorizer, whose super
// user is who comes without a login, and a listener on which ana logs in. She asks everything, first with no permission,
// then with more and more of them, at last with some denied again.

const (
	saslListener = "LOGIN"
	aclUser      = "ana"
	aclPassword  = "ana-secret"
)

// withAuthorizer are the settings of a broker that listens at addr, with logins at login.
func withAuthorizer(addr, login, more string) []string {
	listeners, protocols := "PLAINTEXT://"+addr+","+saslListener+"://"+login, "PLAINTEXT:PLAINTEXT,"+saslListener+":SASL_PLAINTEXT"
	if more != "" {
		listeners, protocols = listeners+",CONTROLLER://"+more, protocols+",CONTROLLER:PLAINTEXT"
	}
	return []string{
		"listeners=" + listeners, "listener.security.protocol.map=" + protocols, "inter.broker.listener.name=PLAINTEXT",
		"sasl.enabled.mechanisms=PLAIN",
		fmt.Sprintf("listener.name.%s.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=\"%s\";",
			strings.ToLower(saslListener), aclUser, aclPassword),
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS",
	}
}

// login authenticates a connection by SASL PLAIN.
func login(c *conn) error {
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Version, hello.Mechanism = 1, "PLAIN"
	proof := kmsg.NewPtrSASLAuthenticateRequest()
	proof.Version, proof.SASLAuthBytes = 2, []byte("\x00"+aclUser+"\x00"+aclPassword)
	for _, req := range []kmsg.Request{hello, proof} {
		if err := c.send(c.frame(req, "diff")); err != nil {
			return err
		}
		b, err := c.receive()
		if err != nil {
			return err
		}
		resp, _, err := c.decode(req, b)
		if err != nil {
			return err
		}
		if hasError(resp, nil) {
			return fmt.Errorf("login of %s refused: %T", aclUser, resp)
		}
	}
	return nil
}

// grantStep has the authorizer know one more entry about ana; n is how many there are then.
func grantStep(n int, resource kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, name string, op kmsg.ACLOperation, p kmsg.ACLPermissionType) []step {
	return []step{
		quietly(ask("grant", 3, kmsg.NewPtrCreateACLsRequest, func(v *vars, r *kmsg.CreateACLsRequest) {
			c := kmsg.NewCreateACLsRequestCreation()
			c.ResourceType, c.ResourceName, c.ResourcePatternType = resource, exactOr(v, name), pattern
			c.Principal, c.Host, c.Operation, c.PermissionType = "User:"+aclUser, "*", op, p
			r.Creations = append(r.Creations, c)
		})),
		quietly(ask("granted", 3, kmsg.NewPtrDescribeACLsRequest, func(_ *vars, r *kmsg.DescribeACLsRequest) {
			r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = 1, 1, 1, 1
			r.Principal = ptr("User:" + aclUser)
		})).with(func(s *step) {
			s.until = func(r kmsg.Response) bool {
				found := 0
				for _, res := range r.(*kmsg.DescribeACLsResponse).Resources {
					found += len(res.ACLs)
				}
				return found >= n
			}
		}),
	}
}

// probe is a request of ana's, with one of everything in it.
func probe(key int16, what string, tweak func(v *vars, r kmsg.Request)) step {
	name := strings.TrimSpace(kmsg.NameForKey(key) + " " + what)
	return step{name: name, version: ends, login: true, firm: true, once: true, own: "t", req: func(v *vars) kmsg.Request {
		r := kmsg.RequestForKey(key)
		fillOne(v, reflect.ValueOf(r).Elem())
		if tweak != nil {
			tweak(v, r)
		}
		return r
	}}
}

// fillOne gives every list one element, and what names a topic, a group or a transaction the name of one.
func fillOne(v *vars, s reflect.Value) {
	if d, ok := s.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	for i := range s.NumField() {
		f, field := s.Field(i), s.Type().Field(i).Name
		name := map[string]string{
			"Topic": "t", "TopicNames": "t", "Group": "t-group", "Groups": "t-group", "TransactionalID": "t-txn", "TransactionalIDs": "t-txn",
		}[field]
		switch {
		case f.Kind() == reflect.String && name != "":
			f.SetString(v.name(name))
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.String && name != "":
			f.Set(reflect.ValueOf(ptr(v.name(name))))
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String && name != "":
			f.Set(reflect.ValueOf([]string{v.name(name)}))
		case field == "Partitions" && f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Int32:
			f.Set(reflect.ValueOf([]int32{0}))
		case field == "TimeoutMillis" && f.Kind() == reflect.Int32:
			f.SetInt(enough)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			fillOne(v, f.Index(0))
		}
	}
}

// probes are requests of every API that a broker's listener serves.
func probes() []step {
	config := func(kind kmsg.ConfigResourceType, name string) func(*vars, kmsg.Request) {
		return func(v *vars, r kmsg.Request) {
			switch r := r.(type) {
			case *kmsg.DescribeConfigsRequest:
				r.Resources[0].ResourceType, r.Resources[0].ResourceName = kind, exactOr(v, name)
				r.Resources[0].ConfigNames = []string{"cleanup.policy", "log.cleaner.threads"}
			case *kmsg.AlterConfigsRequest:
				r.Resources[0].ResourceType, r.Resources[0].ResourceName, r.Resources[0].Configs, r.ValidateOnly = kind, exactOr(v, name), nil, true
			case *kmsg.IncrementalAlterConfigsRequest:
				r.Resources[0].ResourceType, r.Resources[0].ResourceName, r.Resources[0].Configs, r.ValidateOnly = kind, exactOr(v, name), nil, true
			}
		}
	}
	id := func(v *vars) [16]byte { return v.id(topicIDKey("t")) }
	steps := []step{
		probe(0, "", func(_ *vars, r kmsg.Request) {
			p := r.(*kmsg.ProduceRequest)
			p.Acks, p.TransactionID, p.Topics[0].Partitions[0].Records = -1, nil, numbered(1).bytes()
		}).with(func(s *step) { s.version = 9 }),
		probe(0, "by id", func(v *vars, r kmsg.Request) {
			p := r.(*kmsg.ProduceRequest)
			p.Acks, p.TransactionID, p.Topics[0].TopicID, p.Topics[0].Partitions[0].Records = -1, nil, id(v), numbered(1).bytes()
		}).with(func(s *step) { s.version = high }),
		probe(1, "", nil).with(func(s *step) { s.version = low }),
		probe(1, "by id", func(v *vars, r kmsg.Request) { r.(*kmsg.FetchRequest).Topics[0].TopicID = id(v) }).with(func(s *step) { s.version = high }),
		probe(1, "of a follower", func(_ *vars, r kmsg.Request) { r.(*kmsg.FetchRequest).ReplicaID = 77 }).with(func(s *step) { s.version = low }),
		probe(2, "", nil),
		probe(3, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.MetadataRequest).IncludeTopicAuthorizedOperations = true }),
		probe(3, "by id", func(v *vars, r kmsg.Request) {
			r.(*kmsg.MetadataRequest).Topics[0].Topic, r.(*kmsg.MetadataRequest).Topics[0].TopicID = nil, id(v)
		}).with(func(s *step) { s.version = high }),
		probe(3, "of all", func(_ *vars, r kmsg.Request) { r.(*kmsg.MetadataRequest).Topics = nil }).with(func(s *step) { s.version = high }),
		probe(3, "of none", func(v *vars, r kmsg.Request) {
			r.(*kmsg.MetadataRequest).Topics[0].Topic = ptr(v.name("t-none"))
			r.(*kmsg.MetadataRequest).IncludeClusterAuthorizedOperations = true
		}).with(func(s *step) { s.version = 8 }),
		probe(3, "that would make one", func(v *vars, r kmsg.Request) {
			r.(*kmsg.MetadataRequest).Topics[0].Topic = ptr(v.name("t-not made"))
			r.(*kmsg.MetadataRequest).AllowAutoTopicCreation = true
		}).with(func(s *step) { s.version = high }),
		probe(8, "", nil).with(func(s *step) { s.version = 9 }),
		probe(8, "by id", func(v *vars, r kmsg.Request) { r.(*kmsg.OffsetCommitRequest).Topics[0].TopicID = id(v) }).with(func(s *step) { s.version = high }),
		probe(9, "", nil).with(func(s *step) { s.version = low }),
		probe(9, "of all topics", func(_ *vars, r kmsg.Request) { r.(*kmsg.OffsetFetchRequest).Groups[0].Topics = nil }).with(func(s *step) { s.version = 9 }),
		probe(9, "by id", func(v *vars, r kmsg.Request) { r.(*kmsg.OffsetFetchRequest).Groups[0].Topics[0].TopicID = id(v) }).with(func(s *step) { s.version = high }),
		probe(10, "of a group", func(v *vars, r kmsg.Request) {
			r.(*kmsg.FindCoordinatorRequest).CoordinatorKey, r.(*kmsg.FindCoordinatorRequest).CoordinatorKeys = v.name("t-group"), []string{v.name("t-group")}
		}),
		probe(10, "of a transaction", func(v *vars, r kmsg.Request) {
			f := r.(*kmsg.FindCoordinatorRequest)
			f.CoordinatorType, f.CoordinatorKey, f.CoordinatorKeys = 1, v.name("t-txn"), []string{v.name("t-txn")}
		}).with(func(s *step) { s.version = high }),
		probe(11, "", nil), probe(12, "", nil), probe(13, "", nil),
		probe(14, "", func(_ *vars, r kmsg.Request) {
			r.(*kmsg.SyncGroupRequest).ProtocolType, r.(*kmsg.SyncGroupRequest).Protocol = ptr("consumer"), ptr("range")
		}),
		probe(14, "without a protocol", nil).with(func(s *step) { s.version = high }),
		probe(15, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.DescribeGroupsRequest).IncludeAuthorizedOperations = true }),
		probe(16, "", nil),
		probe(19, "", func(v *vars, r kmsg.Request) {
			c := r.(*kmsg.CreateTopicsRequest)
			c.ValidateOnly = true
			c.Topics[0].Topic, c.Topics[0].NumPartitions, c.Topics[0].ReplicationFactor = v.name("t-new"), 1, 1
			c.Topics[0].Configs, c.Topics[0].ReplicaAssignment = nil, nil
		}),
		probe(20, "of none", func(v *vars, r kmsg.Request) {
			d := r.(*kmsg.DeleteTopicsRequest)
			d.TopicNames, d.Topics[0].Topic = []string{v.name("t-none")}, ptr(v.name("t-none"))
		}),
		probe(20, "", func(_ *vars, r kmsg.Request) {}).with(func(s *step) { s.version = low }),
		probe(20, "by id", func(v *vars, r kmsg.Request) {
			r.(*kmsg.DeleteTopicsRequest).Topics[0].Topic, r.(*kmsg.DeleteTopicsRequest).Topics[0].TopicID = nil, id(v)
		}).with(func(s *step) { s.version = high }),
		probe(21, "", nil),
		probe(22, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.InitProducerIDRequest).TransactionTimeoutMillis = enough }),
		probe(22, "idempotent", func(_ *vars, r kmsg.Request) { r.(*kmsg.InitProducerIDRequest).TransactionalID = nil }),
		probe(23, "", nil),
		probe(24, "", nil), // the highest is a broker's
		probe(25, "", nil), probe(26, "", nil), probe(27, "", nil), probe(28, "", nil),
		probe(29, "", func(_ *vars, r kmsg.Request) {
			d := r.(*kmsg.DescribeACLsRequest)
			d.ResourceType, d.ResourcePatternType, d.Operation, d.PermissionType = 1, 1, 1, 1
			d.Principal = ptr("User:" + aclUser)
		}),
		probe(30, "", func(v *vars, r kmsg.Request) {
			c := &r.(*kmsg.CreateACLsRequest).Creations[0]
			c.ResourceType, c.ResourceName, c.ResourcePatternType = 2, v.name("t"), 3
			c.Principal, c.Host, c.Operation, c.PermissionType = "User:zoe", "*", 3, 3
		}),
		probe(31, "", func(_ *vars, r kmsg.Request) {
			f := &r.(*kmsg.DeleteACLsRequest).Filters[0]
			f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 2, 1, 1, 1
			f.Principal = ptr("User:zoe")
		}),
		probe(34, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.AlterReplicaLogDirsRequest).Dirs[0].Dir = "/no/such/directory" }),
		probe(37, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.CreatePartitionsRequest).ValidateOnly = true }),
		probe(42, "", func(v *vars, r kmsg.Request) { r.(*kmsg.DeleteGroupsRequest).Groups = []string{v.name("t-no-group")} }),
		probe(43, "", nil),
		probe(46, "", nil),
		probe(47, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.OffsetDeleteRequest).Topics[0].Partitions[0].Partition = 99 }),
		probe(48, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.DescribeClientQuotasRequest).Components = nil }),
		probe(49, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.AlterClientQuotasRequest).ValidateOnly = true }),
		probe(50, "", func(v *vars, r kmsg.Request) {
			r.(*kmsg.DescribeUserSCRAMCredentialsRequest).Users[0].Name = v.name("nobody")
		}),
		probe(51, "", func(v *vars, r kmsg.Request) {
			a := r.(*kmsg.AlterUserSCRAMCredentialsRequest)
			a.Upsertions, a.Deletions[0].Name, a.Deletions[0].Mechanism = nil, v.name("nobody"), 1
		}),
		probe(57, "", func(_ *vars, r kmsg.Request) {
			u := r.(*kmsg.UpdateFeaturesRequest)
			u.ValidateOnly, u.FeatureUpdates[0].Feature, u.FeatureUpdates[0].MaxVersionLevel, u.FeatureUpdates[0].UpgradeType = true, "no.such.version", 1, 1
		}).with(func(s *step) { s.version = high }),
		probe(60, "", func(_ *vars, r kmsg.Request) {
			r.(*kmsg.DescribeClusterRequest).IncludeClusterAuthorizedOperations = true
		}).with(func(s *step) { s.version = low }),
		probe(61, "", nil),
		probe(64, "", func(_ *vars, r kmsg.Request) { r.(*kmsg.UnregisterBrokerRequest).BrokerID = 77 }),
		probe(65, "", nil),
		probe(66, "", func(_ *vars, r kmsg.Request) {}),
		probe(68, "", func(v *vars, r kmsg.Request) {
			h := r.(*kmsg.ConsumerGroupHeartbeatRequest)
			h.MemberID, h.MemberEpoch, h.SubscribedTopicNames = "m", 5, []string{v.name("t"), v.name("t")}
		}),
		probe(69, "", func(_ *vars, r kmsg.Request) {
			r.(*kmsg.ConsumerGroupDescribeRequest).IncludeAuthorizedOperations = true
		}),
		probe(74, "", func(_ *vars, r kmsg.Request) {}).with(func(s *step) { s.version = low }),
		probe(75, "", nil),
		probe(75, "of all", func(_ *vars, r kmsg.Request) { r.(*kmsg.DescribeTopicPartitionsRequest).Topics = nil }),
	}
	for _, c := range []struct {
		kind kmsg.ConfigResourceType
		name string
	}{{2, "t"}, {2, "t-none"}, {4, "=1"}, {32, "t-group"}} {
		what := fmt.Sprintf("of %d %s", c.kind, strings.TrimPrefix(c.name, "="))
		steps = append(steps, probe(32, what, config(c.kind, c.name)), probe(33, what, config(c.kind, c.name)), probe(44, what, config(c.kind, c.name)))
	}
	// These are refused before anybody asks who may.
	for _, keys := range [][]string{{"a", "a"}, {"a"}} {
		value := ptr("1")
		if len(keys) == 1 {
			value = nil
		}
		with := func(of func(*vars, kmsg.Request)) func(*vars, kmsg.Request) {
			return func(v *vars, r kmsg.Request) {
				of(v, r)
				for _, k := range keys {
					switch r := r.(type) {
					case *kmsg.AlterConfigsRequest:
						r.Resources[0].Configs = append(r.Resources[0].Configs, kmsg.AlterConfigsRequestResourceConfig{Name: k, Value: value})
					case *kmsg.IncrementalAlterConfigsRequest:
						r.Resources[0].Configs = append(r.Resources[0].Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: k, Value: value})
					}
				}
			}
		}
		what := fmt.Sprintf("with %d keys, value: %v", len(keys), value != nil)
		steps = append(steps,
			probe(33, what, with(config(topicResource, "t"))), probe(44, what, with(config(topicResource, "t"))),
			probe(33, "of broker 77 "+what, with(config(brokerResource, "=77"))), probe(44, "of the brokers "+what, with(config(brokerResource, "="))))
	}
	steps = append(steps, probe(32, "of super users", func(v *vars, r kmsg.Request) {
		config(brokerResource, "=1")(v, r)
		r.(*kmsg.DescribeConfigsRequest).Resources[0].ConfigNames = []string{"super.users", "allow.everyone.if.no.acl.found"}
	}))
	return steps
}

// aclScenarios are those of -authorizer.
func aclScenarios() []scenario {
	steps := makeTopic("t", 1)
	for kind, key := range []string{"t-group", "t-txn"} { // with their coordinators
		steps = append(steps, quietly(ask("coordinator of "+key, 2, kmsg.NewPtrFindCoordinatorRequest, func(v *vars, r *kmsg.FindCoordinatorRequest) {
			r.CoordinatorType, r.CoordinatorKey = int8(kind), v.name(key)
		})))
	}
	steps = append(steps, quietly(ask("a group", 8, kmsg.NewPtrOffsetCommitRequest, func(v *vars, r *kmsg.OffsetCommitRequest) {
		r.Group = v.name("t-group")
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = v.name("t")
		t.Partitions = append(t.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
		r.Topics = append(r.Topics, t)
	})), quietly(ask("a transactional id", 4, kmsg.NewPtrInitProducerIDRequest, func(v *vars, r *kmsg.InitProducerIDRequest) {
		r.TransactionalID, r.TransactionTimeoutMillis = ptr(v.name("t-txn")), enough
	})))
	for _, name := range []string{"__consumer_offsets", "__transaction_state"} { // whose ids are then named in one order
		steps = append(steps, quietly(ask("id of "+name, 12, kmsg.NewPtrMetadataRequest, func(_ *vars, r *kmsg.MetadataRequest) {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = ptr(name)
			r.Topics = append(r.Topics, t)
		})))
	}
	const topic, group, cluster, txn = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeCluster, kmsg.ACLResourceTypeTransactionalId
	const literal, prefixed = kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed
	type entry struct {
		res     kmsg.ACLResourceType
		pattern kmsg.ACLResourcePatternType
		name    string
		op      kmsg.ACLOperation
		deny    bool
	}
	entries := 0
	for i, stage := range [][]entry{
		nil,
		{{topic, literal, "t", kmsg.ACLOperationDescribe, false}, {group, literal, "t-group", kmsg.ACLOperationDescribe, false}, {cluster, literal, "=kafka-cluster", kmsg.ACLOperationDescribe, false}},
		{{topic, prefixed, "t", kmsg.ACLOperationRead, false}, {group, prefixed, "t-", kmsg.ACLOperationRead, false}, {txn, literal, "=*", kmsg.ACLOperationDescribe, false}},
		{{topic, literal, "=*", kmsg.ACLOperationWrite, false}, {topic, prefixed, "t-n", kmsg.ACLOperationCreate, false}, {txn, prefixed, "t-", kmsg.ACLOperationWrite, false}},
		{{cluster, literal, "=kafka-cluster", kmsg.ACLOperationDescribeConfigs, false}, {topic, literal, "t", kmsg.ACLOperationAlterConfigs, false}, {group, literal, "=*", kmsg.ACLOperationAll, false}},
		{{cluster, literal, "=kafka-cluster", kmsg.ACLOperationAlter, false}, {cluster, literal, "=kafka-cluster", kmsg.ACLOperationIdempotentWrite, false}, {topic, literal, "t", kmsg.ACLOperationAlter, false}},
		{{topic, prefixed, "t", kmsg.ACLOperationRead, true}, {topic, prefixed, "t", kmsg.ACLOperationWrite, true}, {group, literal, "=*", kmsg.ACLOperationRead, true}},
		{{topic, literal, "=*", kmsg.ACLOperationAll, true}, {txn, prefixed, "t-", kmsg.ACLOperationAll, true}, {cluster, literal, "=kafka-cluster", kmsg.ACLOperationAll, true}},
	} {
		for _, e := range stage {
			entries++
			permission := kmsg.ACLPermissionTypeAllow
			if e.deny {
				permission = kmsg.ACLPermissionTypeDeny
			}
			steps = append(steps, grantStep(entries, e.res, e.pattern, e.name, e.op, permission)...)
		}
		for _, p := range probes() {
			p.name = fmt.Sprintf("stage %d: %s", i, p.name)
			steps = append(steps, p)
		}
	}
	return []scenario{{"authorizer", steps}, {"acl-requests", aclRequests()}}
}

// aclRequests are what the super user asks about entries, right and wrong.
func aclRequests() []step {
	create := func(name string, change func(v *vars, c *kmsg.CreateACLsRequestCreation)) step {
		return both(name, kmsg.NewPtrCreateACLsRequest, func(v *vars, r *kmsg.CreateACLsRequest) {
			c := kmsg.NewCreateACLsRequestCreation()
			c.ResourceType, c.ResourceName, c.ResourcePatternType = 2, v.name("x"), 3
			c.Principal, c.Host, c.Operation, c.PermissionType = "User:zoe", "*", 3, 3
			change(v, &c)
			r.Creations = append(r.Creations, c, c)
		})
	}
	filter := func(change func(v *vars, f *kmsg.DeleteACLsRequestFilter)) (func(v *vars, r *kmsg.DescribeACLsRequest), func(v *vars, r *kmsg.DeleteACLsRequest)) {
		of := func(v *vars) kmsg.DeleteACLsRequestFilter {
			f := kmsg.NewDeleteACLsRequestFilter()
			f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
			f.Principal = ptr("User:zoe")
			change(v, &f)
			return f
		}
		return func(v *vars, r *kmsg.DescribeACLsRequest) {
				f := of(v)
				r.ResourceType, r.ResourceName, r.ResourcePatternType = f.ResourceType, f.ResourceName, f.ResourcePatternType
				r.Principal, r.Host, r.Operation, r.PermissionType = f.Principal, f.Host, f.Operation, f.PermissionType
			}, func(v *vars, r *kmsg.DeleteACLsRequest) {
				r.Filters = append(r.Filters, of(v))
			}
	}
	var steps []step
	for name, change := range map[string]func(v *vars, c *kmsg.CreateACLsRequestCreation){
		"1 plain":              func(*vars, *kmsg.CreateACLsRequestCreation) {},
		"2 prefixed":           func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourcePatternType = 4 },
		"3 of all":             func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourceName = "*" },
		"4 denied":             func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.PermissionType, c.Host = 2, "10.0.0.1" },
		"5 of a group":         func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourceType = 3 },
		"a match pattern":      func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourcePatternType = 2 },
		"any pattern":          func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourcePatternType = 1 },
		"pattern 77":           func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourcePatternType = 77 },
		"pattern 0":            func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourcePatternType = 0 },
		"any resource":         func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourceType = 1 },
		"resource 77":          func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourceType = 77 },
		"any operation":        func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.Operation = 1 },
		"operation 77":         func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.Operation = 77 },
		"any permission":       func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.PermissionType = 1 },
		"permission 77":        func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.PermissionType = 77 },
		"no name":              func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourceName = "" },
		"another cluster":      func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourceType = 4 },
		"the cluster":          func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.ResourceType, c.ResourceName = 4, "kafka-cluster" },
		"no type of principal": func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.Principal = "zoe" },
		"an empty principal":   func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.Principal = "" },
		"a host name":          func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.Host = "example.org" },
		"no host":              func(_ *vars, c *kmsg.CreateACLsRequestCreation) { c.Host = "" },
	} {
		steps = append(steps, create("create "+name, change))
	}
	sortSteps(steps)
	var asked []step
	for name, change := range map[string]func(v *vars, f *kmsg.DeleteACLsRequestFilter){
		"1 match": func(v *vars, f *kmsg.DeleteACLsRequestFilter) {
			f.ResourcePatternType, f.ResourceName = 2, ptr(v.name("x"))
		},
		"2 match more": func(v *vars, f *kmsg.DeleteACLsRequestFilter) {
			f.ResourcePatternType, f.ResourceName = 2, ptr(v.name("xy"))
		},
		"3 literal": func(v *vars, f *kmsg.DeleteACLsRequestFilter) {
			f.ResourcePatternType, f.ResourceName = 3, ptr(v.name("x"))
		},
		"4 any pattern":     func(v *vars, f *kmsg.DeleteACLsRequestFilter) { f.ResourceName = ptr(v.name("x")) },
		"5 a host":          func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.Host = ptr("10.0.0.1") },
		"6 every host":      func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.Host = ptr("*") },
		"7 denied":          func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.PermissionType = 2 },
		"8 an operation":    func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.Operation = 4 },
		"9 of groups":       func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.ResourceType = 3 },
		"an unknown type":   func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.ResourceType = 77 },
		"an unknown number": func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.Operation = 77 },
		"zero":              func(_ *vars, f *kmsg.DeleteACLsRequestFilter) { f.PermissionType = 0 },
		"zz all":            func(*vars, *kmsg.DeleteACLsRequestFilter) {},
	} {
		describe, remove := filter(change)
		asked = append(asked, both("describe "+name, kmsg.NewPtrDescribeACLsRequest, describe), both("remove "+name, kmsg.NewPtrDeleteACLsRequest, remove))
	}
	sortSteps(asked) // all are described before any is removed
	return append(steps, asked...)
}

// sortSteps puts steps that came out of a map in the order of their names.
func sortSteps(steps []step) {
	slices.SortFunc(steps, func(a, b step) int { return strings.Compare(a.name, b.name) })
}

// sortACLs puts the entries of an answer in one order: none is promised, and names alone do not tell them apart.
func sortACLs(r kmsg.Response) {
	switch r := r.(type) {
	case *kmsg.DescribeACLsResponse:
		slices.SortFunc(r.Resources, func(a, b kmsg.DescribeACLsResponseResource) int {
			return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName),
				cmp.Compare(a.ResourcePatternType, b.ResourcePatternType))
		})
		for _, res := range r.Resources {
			slices.SortFunc(res.ACLs, func(a, b kmsg.DescribeACLsResponseResourceACL) int {
				return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Operation, b.Operation),
					cmp.Compare(a.PermissionType, b.PermissionType))
			})
		}
	case *kmsg.DeleteACLsResponse:
		for _, res := range r.Results {
			slices.SortFunc(res.MatchingACLs, func(a, b kmsg.DeleteACLsResponseResultMatchingACL) int {
				return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName),
					cmp.Compare(a.ResourcePatternType, b.ResourcePatternType), cmp.Compare(a.Host, b.Host), cmp.Compare(a.PermissionType, b.PermissionType))
			})
		}
	}
}
