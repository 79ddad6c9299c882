package controller

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// harness drives a Machine by script. Topic ids count up from 1.
type harness struct {
	m      *Machine
	static *conf.Static
	ids    byte
	offset int64
	now    time.Time
	out    strings.Builder
}

func newHarness(t *testing.T, properties string) *harness {
	t.Helper()
	s, err := conf.Load(conf.Source{
		File: "test.properties", ReadFile: func(string) ([]byte, error) { return []byte(properties), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{static: s}
	h.m = h.machine(meta.Empty("cluster"))
	return h
}

func (h *harness) machine(im *meta.Image) *Machine {
	return NewMachine(Config{NodeID: 1, Static: h.static, NewID: func() base.TopicID {
		h.ids++
		return base.TopicID{15: h.ids}
	}, NextOffset: func() int64 { return h.offset }, Random: rand.New(rand.NewPCG(1, 1))}, im)
}

// done prints the records of an operation and applies them.
func (h *harness) done(records []kmsg.Record, err error) {
	if err != nil {
		code, msg := Code(err)
		fmt.Fprintf(&h.out, "error %s: %s\n", kerr.ErrorForCode(code).(*kerr.Error).Message, *msg)
	}
	for _, r := range records {
		js, _ := json.Marshal(r)
		fmt.Fprintf(&h.out, "+ %s %s\n", strings.TrimPrefix(fmt.Sprintf("%T", r), "*kmsg."), js)
		if err := h.m.Apply(r); err != nil {
			fmt.Fprintf(&h.out, "cannot apply: %v\n", err)
		}
		h.offset++
	}
}

func (h *harness) item(what string, code int16, msg *string) {
	if code == 0 {
		fmt.Fprintf(&h.out, "%s: ok\n", what)
		return
	}
	text := "(no message)"
	if msg != nil {
		text = *msg
	}
	fmt.Fprintf(&h.out, "%s: %s: %s\n", what, kerr.ErrorForCode(code).(*kerr.Error).Message, text)
}

func numbersOf(s string) []int32 {
	if s == "" {
		return nil
	}
	var out []int32
	for _, p := range strings.Split(s, "/") {
		n, _ := strconv.Atoi(p)
		out = append(out, int32(n))
	}
	return out
}

func arg(d *datadriven.TestData, name, otherwise string) string {
	for _, a := range d.CmdArgs {
		if a.Key == name {
			return strings.Join(a.Vals, ",")
		}
	}
	return otherwise
}

func argInt(d *datadriven.TestData, name string, otherwise int) int {
	n, err := strconv.Atoi(arg(d, name, strconv.Itoa(otherwise)))
	if err != nil {
		return otherwise
	}
	return n
}

// pairs reads the lines of the input as key=value; "key" alone has no value.
func pairs(d *datadriven.TestData) (keys []string, values []*string) {
	for _, line := range strings.Split(d.Input, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		keys = append(keys, k)
		if ok {
			values = append(values, &v)
		} else {
			values = append(values, nil)
		}
	}
	return keys, values
}

func (h *harness) run(t *testing.T, d *datadriven.TestData) string {
	h.out.Reset()
	commands := map[string]func(*datadriven.TestData){
		"bootstrap": h.bootstrap, "register": h.register, "create": h.create, "auto": h.auto, "delete": h.delete,
		"partitions": h.partitions, "alter": h.alter, "replace": h.replace, "elect": h.elect, "reassign": h.reassign,
		"quota": h.quota, "feature": h.feature, "ids": h.idBlock, "scram": h.scram, "restart": h.restart, "apply": h.apply,
	}
	run := commands[d.Cmd]
	if run == nil {
		t.Fatalf("%s: no such command %s", d.Pos, d.Cmd)
	}
	run(d)
	if h.out.Len() == 0 {
		return "nothing\n"
	}
	return h.out.String()
}

func (h *harness) bootstrap(*datadriven.TestData) {
	first := bootstrapRecords(newestLevels())
	h.done(append(first, firstMinISR(first, h.m.cfg.Static)...), nil)
}

// restart replays everything into a new machine, as a start of the process would.
func (h *harness) restart(*datadriven.TestData) {
	im, _ := h.m.Cut(h.offset, 1)
	e := meta.Empty("cluster").Edit()
	n := 0
	for r := range im.Records {
		n++
		if err := e.Apply(r); err != nil {
			fmt.Fprintf(&h.out, "cannot apply: %v\n", err)
		}
	}
	replayed, _ := e.Image(im.Offset, im.Epoch)
	h.m = h.machine(replayed)
	fmt.Fprintf(&h.out, "%d records\n", n)
}

func (h *harness) register(d *datadriven.TestData) {
	h.done(h.m.Register(h.now, Registration{
		Incarnation: base.TopicID{0: 9}, LogDirs: []base.TopicID{{0: 7}}, Rack: arg(d, "rack", ""),
		Endpoints: []meta.Endpoint{{Listener: "PLAINTEXT", Host: "localhost", Port: 9092}},
	}))
}

// create name=NAME[,NAME] [n=N] [rf=N] [assign=1/2,1] [validate], configs as lines.
func (h *harness) create(d *datadriven.TestData) {
	req := kmsg.NewCreateTopicsRequest()
	_, req.ValidateOnly = map[bool]struct{}{d.HasArg("validate"): {}}[true]
	keys, values := pairs(d)
	for _, name := range strings.Split(arg(d, "name", ""), ",") {
		t := kmsg.NewCreateTopicsRequestCreatableTopic()
		t.Name, t.NumPartitions, t.ReplicationFactor = name, int32(argInt(d, "n", 1)), int16(argInt(d, "rf", 1))
		if a := arg(d, "assign", ""); a != "" {
			for i, replicas := range strings.Split(a, ",") {
				t.Assignments = append(t.Assignments, kmsg.CreateTopicsRequestCreatableReplicaAssignment{
					PartitionIndex: int32(i), BrokerIds: numbersOf(strings.TrimPrefix(replicas, "none")),
				})
			}
		}
		for i := range keys {
			t.Configs = append(t.Configs, kmsg.CreateTopicsRequestCreatableTopicConfig{Name: keys[i], Value: values[i]})
		}
		req.Topics = append(req.Topics, t)
	}
	records, resp := h.m.CreateTopics(h.request(d), &req)
	for _, r := range resp.Topics {
		h.item(r.Name, r.ErrorCode, r.ErrorMessage)
		if r.ErrorCode != 0 {
			continue
		}
		fmt.Fprintf(&h.out, "  id=%s partitions=%d replicas=%d configs=%d", r.TopicId, r.NumPartitions, r.ReplicationFactor,
			len(r.Configs))
		for _, c := range r.Configs {
			if c.ConfigSource != int8(conf.SourceDefault) && c.Value != nil {
				fmt.Fprintf(&h.out, " %s=%s(%d)", c.Name, *c.Value, c.ConfigSource)
			}
		}
		h.out.WriteByte('\n')
	}
	h.done(records, nil)
}

func (h *harness) request(d *datadriven.TestData) Request {
	quota := argInt(d, "quota", 1<<30)
	return Request{Charge: func(n int) error {
		if quota -= n; quota < 0 {
			return kerr.ThrottlingQuotaExceeded
		}
		return nil
	}}
}

func (h *harness) auto(d *datadriven.TestData) {
	b, _ := conf.NewLive(h.static, nil, nil).Broker().Capped(1)
	req := kmsg.NewCreateTopicsRequest()
	t := AutoTopic(arg(d, "name", ""), b)
	t.NumPartitions = min(t.NumPartitions, 1) // fifty lines say no more than one
	req.Topics = append(req.Topics, t)
	records, resp := h.m.CreateTopics(Request{}, &req)
	h.item(resp.Topics[0].Name, resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
	h.done(records, nil)
}

func (h *harness) delete(d *datadriven.TestData) {
	req := kmsg.NewDeleteTopicsRequest()
	if names := arg(d, "name", ""); names != "" {
		req.TopicNames = strings.Split(names, ",")
	}
	if d.HasArg("id") {
		id := base.TopicID{15: byte(argInt(d, "id", 0))}
		req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestDeleteTopicState{TopicId: id})
	}
	records, resp := h.m.DeleteTopics(h.request(d), &req)
	for _, r := range resp.Responses {
		name := "(nil)"
		if r.Name != nil {
			name = *r.Name
		}
		h.item(name, r.ErrorCode, r.ErrorMessage)
	}
	h.done(records, nil)
}

func (h *harness) partitions(d *datadriven.TestData) {
	req := kmsg.NewCreatePartitionsRequest()
	for _, name := range strings.Split(arg(d, "name", ""), ",") {
		t := kmsg.CreatePartitionsRequestCreatePartitionsTopic{Name: name, Count: int32(argInt(d, "n", 0))}
		for _, a := range strings.Split(arg(d, "assign", ""), ",") {
			if a != "" {
				t.Assignments = append(t.Assignments,
					kmsg.CreatePartitionsRequestCreatePartitionsAssignment{BrokerIds: numbersOf(a)})
			}
		}
		req.Topics = append(req.Topics, t)
	}
	records, resp := h.m.CreatePartitions(Request{}, &req)
	for _, r := range resp.Results {
		h.item(r.Name, r.ErrorCode, r.ErrorMessage)
	}
	h.done(records, nil)
}

var resourceTypes = map[string]int8{"topic": 2, "broker": 4, "logger": 8, "metrics": 16, "group": 32}

// alter RESOURCE [name=NAME] with lines "set k=v", "delete k", "append k=v", "subtract k=v".
func (h *harness) alter(d *datadriven.TestData) {
	r := kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{
		ResourceType: resourceTypes[d.CmdArgs[0].Key], ResourceName: arg(d, "name", ""),
	}
	for _, line := range strings.Split(d.Input, "\n") {
		verb, rest, _ := strings.Cut(line, " ")
		k, v, ok := strings.Cut(rest, "=")
		c := kmsg.IncrementalAlterConfigsRequestAlterableConfig{
			Name: k, ConfigOperation: int8(slices.Index([]string{"set", "delete", "append", "subtract"}, verb)),
		}
		if ok {
			c.Value = &v
		}
		r.Configs = append(r.Configs, c)
	}
	records, resp := h.m.IncrementalAlterConfigs(&kmsg.IncrementalAlterConfigsRequest{
		Resources: []kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{r},
	})
	h.item(d.CmdArgs[0].Key, resp.Responses[0].ErrorCode, resp.Responses[0].ErrorMessage)
	h.done(records, nil)
}

func (h *harness) replace(d *datadriven.TestData) {
	r := kmsg.AlterConfigsRequestAlterConfigsResource{
		ResourceType: resourceTypes[d.CmdArgs[0].Key], ResourceName: arg(d, "name", ""),
	}
	keys, values := pairs(d)
	for i := range keys {
		r.Configs = append(r.Configs, kmsg.AlterConfigsRequestAlterableConfig{Name: keys[i], Value: values[i]})
	}
	records, resp := h.m.AlterConfigs(&kmsg.AlterConfigsRequest{
		Resources: []kmsg.AlterConfigsRequestAlterConfigsResource{r},
	})
	h.item(d.CmdArgs[0].Key, resp.Responses[0].ErrorCode, resp.Responses[0].ErrorMessage)
	h.done(records, nil)
}

func (h *harness) elect(d *datadriven.TestData) {
	req := &kmsg.ElectLeadersRequest{ElectionType: int8(argInt(d, "type", 0))}
	if name := arg(d, "name", ""); name != "" {
		req.TopicPartitions = []kmsg.ElectLeadersRequestTopicPartitions{
			{Topic: name, Partitions: numbersOf(arg(d, "p", "0"))},
		}
	}
	records, resp := h.m.ElectLeaders(req)
	if resp.ErrorCode != 0 {
		h.item("request", resp.ErrorCode, nil)
	}
	for _, r := range resp.ReplicaElectionResults {
		for _, p := range r.PartitionResult {
			h.item(fmt.Sprintf("%s-%d", r.Topic, p.PartitionId), p.ErrorCode, p.ErrorMessage)
		}
	}
	h.done(records, nil)
}

func (h *harness) reassign(d *datadriven.TestData) {
	req := kmsg.NewAlterPartitionReassignmentsRequest()
	req.AllowReplicationFactorChange = !d.HasArg("keep-factor")
	req.Topics = []kmsg.AlterPartitionReassignmentsRequestReassignableTopic{{
		Name: arg(d, "name", ""), Partitions: []kmsg.AlterPartitionReassignmentsRequestReassignablePartition{
			{PartitionIndex: int32(argInt(d, "p", 0)), Replicas: numbersOf(arg(d, "to", ""))},
		},
	}}
	if d.HasArg("then") { // named once more by the same request
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.AlterPartitionReassignmentsRequestReassignablePartition{
			PartitionIndex: int32(argInt(d, "p", 0)), Replicas: numbersOf(arg(d, "then", "")),
		})
	}
	records, resp := h.m.AlterPartitionReassignments(&req)
	p := resp.Responses[0].Partitions[0]
	h.item(fmt.Sprintf("%s-%d", resp.Responses[0].Name, p.PartitionIndex), p.ErrorCode, p.ErrorMessage)
	h.done(records, nil)
}

// quota user=NAME client-id=NAME ip=NAME (default: the default entity) with lines "key=value" or "key".
func (h *harness) quota(d *datadriven.TestData) {
	e := kmsg.AlterClientQuotasRequestEntryData{}
	for _, a := range d.CmdArgs {
		part := kmsg.AlterClientQuotasRequestEntityData{EntityType: a.Key}
		if len(a.Vals) > 0 && a.Vals[0] != "default" {
			part.EntityName = &a.Vals[0]
		}
		e.Entity = append(e.Entity, part)
	}
	keys, values := pairs(d)
	for i := range keys {
		op := kmsg.AlterClientQuotasRequestOpData{Key: keys[i], Remove: values[i] == nil}
		if values[i] != nil {
			op.Value, _ = strconv.ParseFloat(*values[i], 64)
		}
		e.Ops = append(e.Ops, op)
	}
	records, resp := h.m.AlterClientQuotas(&kmsg.AlterClientQuotasRequest{
		Entries: []kmsg.AlterClientQuotasRequestEntryData{e},
	})
	h.item("quota", resp.Entries[0].ErrorCode, resp.Entries[0].ErrorMessage)
	h.done(records, nil)
}

func (h *harness) feature(d *datadriven.TestData) {
	u := kmsg.UpdateFeaturesRequestFeatureUpdateKey{
		Feature: arg(d, "name", ""), MaxVersionLevel: int16(argInt(d, "level", 0)), UpgradeType: int8(argInt(d, "type", 1)),
	}
	records, resp := h.m.UpdateFeatures(2, &kmsg.UpdateFeaturesRequest{
		FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdateKey{u},
	})
	h.item("features", resp.ErrorCode, resp.ErrorMessage)
	h.done(records, nil)
}

func (h *harness) idBlock(*datadriven.TestData) {
	records, first, count, err := h.m.allocateOwnProducerIDs()
	fmt.Fprintf(&h.out, "from %d, %d of them\n", first, count)
	h.done(records, err)
}

func (h *harness) scram(d *datadriven.TestData) {
	req := &kmsg.AlterUserScramCredentialsRequest{}
	for _, line := range strings.Split(d.Input, "\n") {
		f := strings.Fields(line)
		mechanism, _ := strconv.Atoi(f[2])
		if f[0] == "delete" {
			req.Deletions = append(req.Deletions,
				kmsg.AlterUserScramCredentialsRequestScramCredentialDeletion{Name: f[1], Mechanism: int8(mechanism)})
			continue
		}
		iterations, _ := strconv.Atoi(f[3])
		req.Upsertions = append(req.Upsertions, kmsg.AlterUserScramCredentialsRequestScramCredentialUpsertion{
			Name: f[1], Mechanism: int8(mechanism), Iterations: int32(iterations), Salt: []byte("salt"),
			SaltedPassword: []byte("salted"),
		})
	}
	records, resp := h.m.AlterUserScramCredentials(req)
	for _, r := range resp.Results {
		h.item(r.User, r.ErrorCode, r.ErrorMessage)
	}
	h.done(records, nil)
}

// apply puts the machine into a state that one node alone does not come to.
func (h *harness) apply(d *datadriven.TestData) {
	switch what := d.CmdArgs[0].Key; what {
	case "fence":
		h.done([]kmsg.Record{&kmsg.FenceBrokerRecord{Id: int32(argInt(d, "id", 1))}}, nil)
	case "unfence":
		h.done([]kmsg.Record{&kmsg.UnfenceBrokerRecord{Id: int32(argInt(d, "id", 1))}}, nil)
	case "other-broker":
		r := kmsg.NewRegisterBrokerRecord()
		r.BrokerId, r.Fenced = int32(argInt(d, "id", 2)), false
		h.done([]kmsg.Record{&r}, nil)
	case "no-leader":
		r := kmsg.NewPartitionChangeRecord()
		r.TopicId, r.PartitionId, r.Leader = h.m.image().Topic(arg(d, "name", "")).ID, int32(argInt(d, "p", 0)), -1
		h.done([]kmsg.Record{&r}, nil)
	}
}

func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		h := newHarness(t, "num.partitions=2\nlog.retention.hours=3\nmessage.max.bytes=2000000\n")
		datadriven.RunTest(t, path, h.run)
	})
}
