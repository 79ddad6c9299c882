package node

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClusterWithAuthorizer has three nodes, whose own principals are super users, decide about clients: whichever broker is
// asked, what the controller does for a client is decided for that client, entries are known everywhere, and replication,
// transactions and elections go on.
func TestClusterWithAuthorizer(t *testing.T) {
	c := startSASLTrio(t,
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users=User:nodes; User:node-1;User:node-2;User:node-3;User:admin",
		"listener.name.plaintext.plain.sasl.jaas.config="+plainModule+`user_ana="geheim" user_admin="alles";`)
	admin := c.client(kgo.SASL(plainText("admin", "alles")))
	ana := c.client(kgo.SASL(plainText("ana", "geheim")), kgo.DefaultProduceTopic("team-1"))
	create := func(cl *kgo.Client, broker int, topic string) int16 {
		t.Helper()
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 60_000
		topics := kmsg.NewCreateTopicsRequestTopic()
		topics.Topic, topics.NumPartitions, topics.ReplicationFactor = topic, 3, 3
		req.Topics = append(req.Topics, topics)
		var code int16
		c.eventually("an answer", func() bool { // the connection may be one to an earlier run
			resp, err := cl.Broker(broker).Request(deadline(t), req)
			if err == nil {
				code = resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode
			}
			return err == nil
		})
		return code
	}
	for id := 1; id <= 3; id++ {
		if code := create(ana, id, "team-1"); code != kerr.TopicAuthorizationFailed.Code {
			t.Errorf("broker %d creates a topic for who may not: code %d", id, code)
		}
	}
	active, _ := c.active()
	other := active%3 + 1
	grantAll := func(kind kmsg.ACLResourceType, name string, ops ...kmsg.ACLOperation) {
		t.Helper()
		req := kmsg.NewPtrCreateACLsRequest()
		for _, op := range ops {
			a := kmsg.NewCreateACLsRequestCreation()
			a.ResourceType, a.ResourceName, a.ResourcePatternType = kind, name, kmsg.ACLResourcePatternTypePrefixed
			a.Principal, a.Host, a.Operation, a.PermissionType = "User:ana", "*", op, kmsg.ACLPermissionTypeAllow
			req.Creations = append(req.Creations, a)
		}
		resp, err := admin.Broker(other).Request(deadline(t), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.(*kmsg.CreateACLsResponse).Results {
			if r.ErrorCode != 0 {
				t.Fatalf("an entry is refused with code %d: %v", r.ErrorCode, r.ErrorMessage)
			}
		}
	}
	grantAll(kmsg.ACLResourceTypeTopic, "team-", kmsg.ACLOperationCreate, kmsg.ACLOperationRead, kmsg.ACLOperationWrite)
	grantAll(kmsg.ACLResourceTypeGroup, "g", kmsg.ACLOperationRead)
	grantAll(kmsg.ACLResourceTypeTransactionalId, "tx", kmsg.ACLOperationWrite)
	c.eventually("the entries are known", func() bool {
		for _, n := range c.up() {
			if n.api.Authorizer.ACLs() != 5 {
				return false
			}
		}
		return true
	})
	for id, topic := range []string{1: "team-1", 2: "team-2", 3: "team-3"} {
		if id > 0 {
			if code := create(ana, id, topic); code != 0 {
				t.Errorf("broker %d does not create %s for who may: code %d", id, topic, code)
			}
			if code := create(ana, id, "else"); code != kerr.TopicAuthorizationFailed.Code {
				t.Errorf("broker %d creates a topic for who may not: code %d", id, code)
			}
		}
	}
	txn := c.client(kgo.SASL(plainText("ana", "geheim")), kgo.TransactionalID("tx-1"), kgo.DefaultProduceTopic("team-1"))
	for range 5 {
		if err := txn.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := txn.ProduceSync(deadline(t), kgo.StringRecord("a"), kgo.StringRecord("b"), kgo.StringRecord("c")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := txn.EndTransaction(deadline(t), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	reader := c.client(kgo.SASL(plainText("ana", "geheim")), kgo.ConsumeTopics("team-1"), kgo.ConsumerGroup("g"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	readAll(t, deadline(t), reader, 15)
	c.crash(active)
	c.active()
	if err := ana.ProduceSync(deadline(t), kgo.StringRecord("after")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c.startAll(active)
	c.eventually("all replicas in sync", func() bool {
		for _, p := range c.up()[0].image().Topic("team-1").Partitions {
			if len(p.ISR) != 3 {
				return false
			}
		}
		return true
	})
	if code := create(ana, active, "else"); code != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("a node that has started again creates a topic for who may not: code %d", code)
	}
	// Who is no node does not speak to controllers, though it can log in there; and does not pass requests on.
	x := call(t, "127.0.0.1:"+c.ctl[1])
	x.handshake("PLAIN", 1)
	if a := x.authenticate("\x00ana\x00geheim", 2); a.ErrorCode != kerr.SaslAuthenticationFailed.Code {
		t.Errorf("a client's login at a controller: %+v", a)
	}
}
