package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/broker/api/parity"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// asker is a client that never waits by itself, whatever throttle_time_ms says.
type asker struct {
	t *testing.T
	c *parity.Client
}

func newAsker(t *testing.T, addr, clientID string) *asker {
	t.Helper()
	c, err := parity.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	c.ClientID = clientID
	return &asker{t, c}
}

func ask[R kmsg.Response](a *asker, req kmsg.Request, version int16) R {
	a.t.Helper()
	resp, err := a.c.Do(req, version)
	if err != nil {
		a.t.Fatal(err)
	}
	r, ok := resp.(R)
	if !ok {
		a.t.Fatalf("answered with a %T", resp)
	}
	return r
}

// setQuota limits a client id; a limit below 0 takes the quota away.
func (a *asker) setQuota(clientID, key string, limit float64) {
	a.t.Helper()
	req := kmsg.NewAlterClientQuotasRequest()
	req.Entries = []kmsg.AlterClientQuotasRequestEntryData{{
		Entity: []kmsg.AlterClientQuotasRequestEntityData{{EntityType: "client-id", EntityName: &clientID}},
		Ops:    []kmsg.AlterClientQuotasRequestOpData{{Key: key, Value: max(limit, 0), Remove: limit < 0}},
	}}
	if resp := ask[*kmsg.AlterClientQuotasResponse](a, &req, 1); resp.Entries[0].ErrorCode != 0 {
		a.t.Fatalf("quota %s=%v: error %d", key, limit, resp.Entries[0].ErrorCode)
	}
}

func (a *asker) createTopics(version int16, partitions int32, names ...string) (codes []int16, throttle int32) {
	a.t.Helper()
	req := kmsg.NewCreateTopicsRequest()
	for _, name := range names {
		t := kmsg.CreateTopicsRequestCreatableTopic{Name: name, NumPartitions: partitions, ReplicationFactor: 1}
		req.Topics = append(req.Topics, t)
	}
	req.TimeoutMs = 60_000
	resp := ask[*kmsg.CreateTopicsResponse](a, &req, version)
	for _, t := range resp.Topics {
		codes = append(codes, t.ErrorCode)
	}
	return codes, resp.ThrottleTimeMs
}

// produce sends one batch with a value of n bytes; the whole frame has size bytes.
func (a *asker) produce(topic string, n int) (throttle int32, size int) {
	a.t.Helper()
	b := batch.NewBuilder(batch.Options{})
	b.Append(time.Now().UnixMilli(), nil, make([]byte, n))
	records, err := b.Build()
	if err != nil {
		a.t.Fatal(err)
	}
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMs = -1, 60_000
	req.TopicData = []kmsg.ProduceRequestTopicProduceData{{Name: topic, PartitionData: []kmsg.ProduceRequestPartitionProduceData{
		{Index: 0, Records: kmsg.Records{Bytes: records}},
	}}}
	const version = 9
	resp := ask[*kmsg.ProduceResponse](a, &req, version)
	if code := resp.Responses[0].PartitionResponses[0].ErrorCode; code != 0 {
		a.t.Fatalf("produce: error %d", code)
	}
	w := kmsg.Writer{}
	h := kmsg.RequestHeader{RequestApiKey: kmsg.KeyProduce, RequestApiVersion: version, ClientId: &a.c.ClientID}
	h.Append(&w, kmsg.RequestHeaderVersion(kmsg.KeyProduce, version))
	req.Append(&w, version)
	return resp.ThrottleTimeMs, len(w.Buf)
}

// fetch reads a topic's first partition from its start, in a full fetch that begins a session.
func (a *asker) fetch(topic string) *kmsg.FetchResponse {
	a.t.Helper()
	req := kmsg.NewFetchRequest()
	req.MaxWaitMs, req.MinBytes, req.MaxBytes, req.SessionEpoch = 1000, 1, 50<<20, 0
	part := kmsg.NewFetchRequestFetchPartition()
	part.PartitionMaxBytes = 50 << 20
	req.Topics = []kmsg.FetchRequestFetchTopic{{Topic: topic, Partitions: []kmsg.FetchRequestFetchPartition{part}}}
	return ask[*kmsg.FetchResponse](a, &req, 12)
}

// unread measures how long the connection is not read.
func (a *asker) unread() time.Duration {
	a.t.Helper()
	began := time.Now()
	req := kmsg.NewApiVersionsRequest()
	ask[*kmsg.ApiVersionsResponse](a, &req, 2)
	return time.Since(began)
}

// quotaScript uses more than its quotas in amounts that give the same throttle times everywhere: a
// rate counts over ten seconds at least, so what is above ten times the limit has to be waited for.
func quotaScript(t *testing.T, addr string) {
	name := fmt.Sprint("quota-", time.Now().UnixNano())
	admin := newAsker(t, addr, name+"-admin")
	if codes, _ := admin.createTopics(7, 1, name); codes[0] != 0 {
		t.Fatalf("create topic: error %d", codes[0])
	}
	unthrottled := func(what string, throttle int32) {
		t.Helper()
		if throttle != 0 {
			t.Errorf("%s was throttled for %d ms", what, throttle)
		}
	}
	muted := func(a *asker, throttle int32) {
		t.Helper()
		want := time.Duration(throttle) * time.Millisecond
		if got := a.unread(); got < want-50*time.Millisecond {
			t.Errorf("the connection was read after %v, throttled for %v", got, want)
		}
	}

	p := newAsker(t, addr, name+"-produce")
	admin.setQuota(p.c.ClientID, "producer_byte_rate", 1000)
	throttle, size := p.produce(name, 10_300)
	if want := int32(size - 10_000); throttle != want {
		t.Errorf("a produce of %d bytes was throttled for %d ms, want %d", size, throttle, want)
	}
	muted(p, throttle)
	throttle, _ = admin.produce(name, 10_300)
	unthrottled("a client without a quota", throttle)
	admin.setQuota(p.c.ClientID, "producer_byte_rate", -1)
	throttle, _ = p.produce(name, 10_300)
	unthrottled("a client whose quota was taken away", throttle)

	f := newAsker(t, addr, name+"-fetch")
	admin.setQuota(f.c.ClientID, "consumer_byte_rate", 1000)
	resp := f.fetch(name)
	w := kmsg.Writer{}
	whole := admin.fetch(name)
	if len(whole.Responses) != 1 || whole.SessionId == 0 || whole.ThrottleTimeMs != 0 {
		t.Fatalf("a client without a quota was answered %+v", whole)
	}
	// The quota lets one batch through at once, which is more than it allows in ten seconds.
	whole.Responses[0].Partitions[0].Records.Bytes = whole.Responses[0].Partitions[0].Records.Bytes[:len(
		whole.Responses[0].Partitions[0].Records.Bytes)/3]
	whole.Append(&w, 12)
	if want := int32(4 + len(w.Buf) - 10_000); len(resp.Responses) != 0 || resp.SessionId != 0 || resp.ThrottleTimeMs != want {
		t.Errorf("a throttled fetch gave %d topics in session %d and %d ms, want none, 0 and %d",
			len(resp.Responses), resp.SessionId, resp.ThrottleTimeMs, want)
	}
	muted(f, resp.ThrottleTimeMs)
	admin.setQuota(f.c.ClientID, "consumer_byte_rate", 1e6)
	if resp = f.fetch(name); len(resp.Responses) != 1 || resp.ThrottleTimeMs != 0 {
		t.Errorf("a fetch within its quota gave %d topics and %d ms", len(resp.Responses), resp.ThrottleTimeMs)
	}

	r := newAsker(t, addr, name+"-request")
	admin.setQuota(r.c.ClientID, "request_percentage", 1e-6)
	list := kmsg.NewListGroupsRequest()
	if got := ask[*kmsg.ListGroupsResponse](r, &list, 4).ThrottleTimeMs; got != 1000 {
		t.Errorf("a client without any time was throttled for %d ms, want one window", got)
	}
	muted(r, 1000)

	m := newAsker(t, addr, name+"-mutate")
	admin.setQuota(m.c.ClientID, "controller_mutation_rate", 1)
	// The bucket holds eleven. It may be overdrawn once, then it is refused, or waited for by old clients.
	// What time passes meanwhile it gains back.
	began := time.Now()
	gained := func() int32 { return int32(time.Since(began).Milliseconds()) + 5 } // both are rounded
	codes, throttle := m.createTopics(6, 6, name+"-a", name+"-b", name+"-c")
	if fmt.Sprint(codes) != fmt.Sprint([]int16{0, 0, kerr.ThrottlingQuotaExceeded.Code}) || throttle < 1000-gained() || throttle > 1000 {
		t.Errorf("three topics of six partitions: errors %v, throttled for %d ms, want the last one %d and a second less up to %d ms",
			codes, throttle, kerr.ThrottlingQuotaExceeded.Code, gained())
	}
	muted(m, throttle)
	codes, throttle = m.createTopics(5, 1, name+"-d")
	if codes[0] != 0 || throttle < 2000-gained() || throttle > 1000 {
		t.Errorf("an old client's topic: error %d, throttled for %d ms, want 0 and two seconds less up to %d ms", codes[0], throttle, gained())
	}
	admin.setQuota(m.c.ClientID, "controller_mutation_rate", -1)
	drop := kmsg.NewDeleteTopicsRequest()
	drop.TopicNames, drop.TimeoutMs = []string{name, name + "-a", name + "-b", name + "-d"}, 10_000
	ask[*kmsg.DeleteTopicsResponse](admin, &drop, 4)
	for key, id := range map[string]string{"consumer_byte_rate": f.c.ClientID, "request_percentage": r.c.ClientID} {
		admin.setQuota(id, key, -1)
	}
}

// TestClientQuotas holds throttle times, refusals and unread connections against what Apache Kafka
// answers to the same requests.
func TestClientQuotas(t *testing.T) { quotaScript(t, start(t, "").Bootstrap()) }

// toWait adds up what a client is told to wait.
type toWait struct{ sum atomic.Int64 }

func (h *toWait) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) { h.sum.Add(int64(d)) }

func (h *toWait) total() time.Duration { return time.Duration(h.sum.Load()) }

// TestProducerIsSlowed holds what a producer gets through against its quota, beside a producer that has none. That it is not slowed
// more than it has to be shows in what it was told to wait: how long it takes depends on the machine too.
func TestProducerIsSlowed(t *testing.T) {
	ctx := deadline(t)
	n := start(t, "", "quota.window.num=2")
	const rate, value = 200_000, 10_000
	newAsker(t, n.Bootstrap(), "admin").setQuota("slow", "producer_byte_rate", rate)
	send := func(ctx context.Context, id string, bytes int, told *toWait) {
		p := client(t, n, kgo.ClientID(id), kgo.DefaultProduceTopic("t-"+id), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.WithHooks(told))
		for sent := 0; sent < bytes; sent += value {
			if err := p.ProduceSync(ctx, &kgo.Record{Value: make([]byte, value)}).FirstErr(); err != nil {
				t.Error(err)
				return
			}
		}
	}
	slow := make(chan time.Duration, 1)
	var slowed, free toWait
	began := time.Now()
	go func() {
		send(ctx, "slow", 4*rate, &slowed)
		slow <- time.Since(began)
	}()
	send(ctx, "free", 4*rate, &free)
	took := <-slow
	// One window's worth goes through at once, the rest at the rate.
	if want := 3 * time.Second; took < want*8/10 || slowed.total() > want*12/10 || slowed.total() == 0 {
		t.Errorf("%d bytes at %d a second took %v, and %v were to be waited; want %v", 4*rate, rate, took, slowed.total(), want)
	}
	if free.total() > 0 {
		t.Errorf("the client without a quota was told to wait for %v", free.total())
	}
}

// TestAddressesConnectSlowly sets a quota for an address: what is above it is closed without an answer.
func TestAddressesConnectSlowly(t *testing.T) {
	n := start(t, "", "quota.window.num=2")
	admin := newAsker(t, n.Bootstrap(), "admin")
	req, ip := kmsg.NewAlterClientQuotasRequest(), "127.0.0.1"
	req.Entries = []kmsg.AlterClientQuotasRequestEntryData{{
		Entity: []kmsg.AlterClientQuotasRequestEntityData{{EntityType: "ip", EntityName: &ip}},
		Ops:    []kmsg.AlterClientQuotasRequestOpData{{Key: "connection_creation_rate", Value: 1}},
	}}
	if resp := ask[*kmsg.AlterClientQuotasResponse](admin, &req, 1); resp.Entries[0].ErrorCode != 0 {
		t.Fatalf("error %d", resp.Entries[0].ErrorCode)
	}
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", n.Bootstrap())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return nc
	}
	await(t, "two connections within a second", func() bool { // which a machine that sleeps now and then may need some tries for
		began := time.Now()
		dial()
		second := dial()
		soon := time.Since(began) < time.Second
		_ = second.SetDeadline(time.Now().Add(5 * time.Second))
		_, err := second.Read(make([]byte, 1))
		if !errors.Is(err, io.EOF) && soon {
			t.Fatalf("the second connection in a second ended with %v, want it closed", err)
		}
		return errors.Is(err, io.EOF)
	})
}

// TestReplicationKnowsNoClientQuotas: what limits every client does not limit what replicates a partition, or tells the controller
// of it.
func TestReplicationKnowsNoClientQuotas(t *testing.T) {
	c := startTrio(t)
	c.replicated("orders", 1)
	c.inSync("orders", 3)
	req := kmsg.NewAlterClientQuotasRequest()
	req.Entries = []kmsg.AlterClientQuotasRequestEntryData{{
		Entity: []kmsg.AlterClientQuotasRequestEntityData{{EntityType: "user"}, {EntityType: "client-id"}},
		Ops:    []kmsg.AlterClientQuotasRequestOpData{{Key: "consumer_byte_rate", Value: 1}, {Key: "request_percentage", Value: 1}},
	}}
	for i, e := range ask[*kmsg.AlterClientQuotasResponse](newAsker(t, c.nodes[1].Bootstrap(), "admin"), &req, 1).Entries {
		if e.ErrorCode != 0 {
			t.Fatalf("quota %d: error %d", i, e.ErrorCode)
		}
	}
	c.eventually("quotas everywhere", func() bool {
		for _, n := range c.up() {
			if !n.api.Quotas.Enabled(quota.Fetch) || !n.api.Quotas.Enabled(quota.Request) {
				return false
			}
		}
		return true
	})
	leader := c.nodes[c.leader("orders", 0)]
	for range 20 { // which no follower could fetch within its quota
		newAsker(t, leader.Bootstrap(), "producer").produce("orders", 10_000)
	}
}
