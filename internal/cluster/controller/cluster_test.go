package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestManyElections changes a bounded number of leaders at a time, and goes on at once.
func TestManyElections(t *testing.T) {
	c := newCluster(t, "")
	for id := int32(1); id <= 2; id++ {
		records, _, err := c.m.RegisterBroker(c.now, c.registration(id, false, 1, -1))
		if err != nil {
			t.Fatal(err)
		}
		c.take(records)
		c.take(c.m.unfence(c.m.image().Broker(id)))
	}
	c.take([]kmsg.Record{&kmsg.TopicRecord{Name: "t", TopicId: base.TopicID{15: 9}}})
	const partitions = 2*maxElections + 5
	for i := range int32(partitions) {
		r := c.m.newPartition(base.TopicID{15: 9}, i, []int32{1, 2})
		r.Leader = 2
		c.take([]kmsg.Record{r})
	}
	c.now = c.now.Add(300 * time.Second)
	for _, want := range []int{maxElections, maxElections, 5, 0} {
		for id := int32(1); id <= 2; id++ {
			c.m.sessionOf(c.now, id).contact = c.now
		}
		records, next := c.m.Tick(c.now)
		if len(records) != want {
			t.Fatalf("%d elections, want %d", len(records), want)
		}
		if soon := !next.After(c.now); soon != (want == maxElections || want == 5) {
			t.Errorf("after %d elections the next look is in %v", want, next.Sub(c.now))
		}
		c.take(records)
	}
}

// TestCluster runs the scripts about many brokers. What is printed is the answer, and how the image
// is after it, where that has changed.
func TestCluster(t *testing.T) {
	datadriven.Walk(t, "testdata/cluster", func(t *testing.T, path string) {
		c := newCluster(t, "")
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			return c.command(t, d)
		})
	})
}

// clusterHarness drives a Machine as an active controller with brokers that are played.
type clusterHarness struct {
	*harness
	incarnations map[int32]byte
}

func newCluster(t *testing.T, properties string) *clusterHarness {
	t.Helper()
	c := &clusterHarness{harness: newHarness(t, properties), incarnations: map[int32]byte{}}
	c.now = time.Unix(1_000_000, 0)
	levels := newestLevels()
	levels[elrVersion] = 0 // until the command elr
	c.done(bootstrapRecords(levels), nil)
	c.m.Begin(c.now)
	return c
}

func (c *clusterHarness) command(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	c.out.Reset()
	before := c.picture()
	commands := map[string]func(*datadriven.TestData){
		"register": c.cmdRegister, "beat": c.cmdBeat, "create": c.cmdCreate, "isr": c.cmdISR, "ids": c.cmdIDs,
		"wait": c.cmdWait, "keep": c.cmdKeep, "suspect": c.cmdSuspect, "fail-over": c.cmdFailOver, "elr": c.cmdELR, "elect": c.quiet(c.elect), "reassign": c.quiet(c.cmdReassign), "unregister": c.cmdUnregister,
		"dirs": c.cmdDirs, "config": c.cmdConfig, "alter": c.quiet(c.alter), "feature": c.quiet(c.feature),
	}
	run := commands[d.Cmd]
	if run == nil {
		t.Fatalf("%s: no such command %s", d.Pos, d.Cmd)
	}
	run(d)
	after := c.picture()
	for _, line := range after {
		if !contains(before, line) {
			c.out.WriteString(line + "\n")
		}
	}
	if c.out.Len() == 0 {
		return "nothing\n"
	}
	return c.out.String()
}

func contains(lines []string, line string) bool {
	for _, l := range lines {
		if l == line {
			return true
		}
	}
	return false
}

// picture is the image, a line for each broker and partition.
func (c *clusterHarness) picture() []string {
	var out []string
	im := c.m.image()
	for _, b := range im.Brokers() {
		line := fmt.Sprintf("  broker %d epoch=%d", b.ID, b.Epoch)
		if b.Fenced {
			line += " fenced"
		}
		if b.InControlledShutdown {
			line += " stopping"
		}
		if len(b.LogDirs) != 1 {
			line += fmt.Sprintf(" dirs=%d", len(b.LogDirs))
		}
		if len(b.CordonedDirs) > 0 {
			line += fmt.Sprintf(" cordoned=%d", len(b.CordonedDirs))
		}
		out = append(out, line)
	}
	for _, name := range im.TopicNames() {
		for i, p := range im.Topic(name).Partitions {
			line := fmt.Sprintf("  %s-%d leader=%d isr=%v replicas=%v epochs=%d/%d", name, i, p.Leader, p.ISR, p.Replicas,
				p.LeaderEpoch, p.PartitionEpoch)
			for _, set := range []struct {
				name string
				ids  []int32
			}{{"elr", p.ELR}, {"last", p.LastELR}, {"adding", p.Adding}, {"removing", p.Removing}} {
				if len(set.ids) > 0 {
					line += fmt.Sprintf(" %s=%v", set.name, set.ids)
				}
			}
			if p.RecoveryState == recovering {
				line += " recovering"
			}
			for at, id := range p.Replicas {
				if at < len(p.Directories) && p.Directories[at] == meta.DirLost {
					line += fmt.Sprintf(" lost=%d", id)
				}
			}
			out = append(out, line)
		}
	}
	return out
}

// take applies the records of an operation.
func (c *clusterHarness) take(records []kmsg.Record) {
	for _, r := range records {
		if err := c.m.Apply(r); err != nil {
			fmt.Fprintf(&c.out, "cannot apply: %v\n", err)
		}
		c.offset++
	}
}

func (c *clusterHarness) answer(code int16) {
	if code != 0 {
		fmt.Fprintf(&c.out, "%s\n", kerr.ErrorForCode(code).(*kerr.Error).Message)
	}
}

func dirOf(id int32, n int) base.TopicID { return base.TopicID{0: 0xd, 1: byte(id), 2: byte(n)} }

func (c *clusterHarness) registration(id int32, again bool, dirs int, previous int64) *kmsg.BrokerRegistrationRequest {
	if !again {
		c.incarnations[id]++
	}
	req := kmsg.NewBrokerRegistrationRequest()
	req.BrokerId, req.ClusterId, req.PreviousBrokerEpoch = id, "cluster", previous
	req.IncarnationId = base.TopicID{0: byte(id), 1: c.incarnations[id]}
	for n := range dirs {
		req.LogDirs = append(req.LogDirs, dirOf(id, n))
	}
	for _, f := range Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	return &req
}

// register id=ID/ID [rack=NAME] [dirs=N] [again] [clean] [cluster=ID] [steal=ID] [features=none] [only]:
// afterwards, unless only is said, a heartbeat unfences each.
func (c *clusterHarness) cmdRegister(d *datadriven.TestData) {
	for _, id := range numbersOf(arg(d, "id", "")) {
		previous := int64(-1)
		if b := c.m.image().Broker(id); b != nil && d.HasArg("clean") {
			previous = b.Epoch
		}
		req := c.registration(id, d.HasArg("again"), argInt(d, "dirs", 1), previous)
		req.ClusterId = arg(d, "cluster", "cluster")
		if rack := arg(d, "rack", ""); rack != "" {
			req.Rack = &rack
		}
		if d.HasArg("steal") {
			req.LogDirs = []base.TopicID{dirOf(int32(argInt(d, "steal", 0)), 0)}
		}
		if d.HasArg("features") {
			req.Features = nil
		}
		records, resp, err := c.m.RegisterBroker(c.now, req)
		if err != nil {
			if !d.HasArg("again") {
				c.incarnations[id]--
			}
			code, msg := Code(err)
			fmt.Fprintf(&c.out, "%s: %s\n", kerr.ErrorForCode(code).(*kerr.Error).Message, *msg)
			continue
		}
		c.take(records)
		if !d.HasArg("only") {
			beat := kmsg.NewBrokerHeartbeatRequest()
			beat.BrokerId, beat.BrokerEpoch, beat.CurrentMetadataOffset = id, resp.BrokerEpoch, c.offset
			records, _ := c.m.Heartbeat(c.now, &beat)
			c.take(records)
		}
	}
}

// beat id=ID [epoch=N] [offset=N] [fence] [stop] [offline=N] [cordoned=N].
func (c *clusterHarness) cmdBeat(d *datadriven.TestData) {
	for _, id := range numbersOf(arg(d, "id", "")) {
		req := kmsg.NewBrokerHeartbeatRequest()
		req.BrokerId, req.BrokerEpoch = id, -1
		if b := c.m.image().Broker(id); b != nil {
			req.BrokerEpoch = b.Epoch
		}
		req.BrokerEpoch = int64(argInt(d, "epoch", int(req.BrokerEpoch)))
		req.CurrentMetadataOffset = int64(argInt(d, "offset", int(c.offset)-1))
		req.WantFence, req.WantShutDown = d.HasArg("fence"), d.HasArg("stop")
		if d.HasArg("offline") {
			req.OfflineLogDirs = []base.TopicID{dirOf(id, argInt(d, "offline", 0))}
		}
		if d.HasArg("cordoned") {
			req.CordonedLogDirs = []base.TopicID{}
			for n := range argInt(d, "cordoned", 0) {
				req.CordonedLogDirs = append(req.CordonedLogDirs, dirOf(id, n))
			}
		}
		records, resp := c.m.Heartbeat(c.now, &req)
		c.answer(resp.ErrorCode)
		if resp.ErrorCode == 0 {
			fmt.Fprintf(&c.out, "%d: caught-up=%t fenced=%t may-stop=%t\n", id, resp.IsCaughtUp, resp.IsFenced, resp.ShouldShutDown)
		}
		c.take(records)
	}
}

// cmdCreate: create name=NAME [n=N] [rf=N] [assign=1/2,2/3], configs as lines.
func (c *clusterHarness) cmdCreate(d *datadriven.TestData) {
	from := c.out.Len()
	c.create(d)
	var keep []string // the answer; the records are seen in the picture
	for _, line := range strings.Split(c.out.String()[from:], "\n") {
		if line != "" && !strings.HasPrefix(line, "+") && !strings.HasPrefix(line, "  id=") {
			keep = append(keep, line)
		}
	}
	c.out.Reset()
	fmt.Fprintln(&c.out, strings.Join(keep, "\n"))
}

// isr name=NAME p=N to=1/2 [by=LEADER] [leader-epoch=N] [epoch=N] [broker-epoch=N] [member-epoch=N] [state=N] [v=N].
func (c *clusterHarness) cmdISR(d *datadriven.TestData) {
	t, index := c.m.image().Topic(arg(d, "name", "t")), int32(argInt(d, "p", 0))
	p := t.Partitions[index]
	req := &kmsg.AlterPartitionRequest{BrokerId: int32(argInt(d, "by", int(p.Leader))), BrokerEpoch: -1}
	if b := c.m.image().Broker(req.BrokerId); b != nil {
		req.BrokerEpoch = b.Epoch
	}
	req.BrokerEpoch = int64(argInt(d, "broker-epoch", int(req.BrokerEpoch)))
	a := kmsg.AlterPartitionRequestPartitionData{
		PartitionIndex: int32(argInt(d, "p", 0)), LeaderEpoch: int32(argInt(d, "leader-epoch", int(p.LeaderEpoch))),
		PartitionEpoch: int32(argInt(d, "epoch", int(p.PartitionEpoch))), LeaderRecoveryState: int8(argInt(d, "state", 0)),
	}
	for _, id := range numbersOf(arg(d, "to", "")) {
		s := kmsg.AlterPartitionRequestBrokerState{BrokerId: id, BrokerEpoch: -1}
		if b := c.m.image().Broker(id); b != nil {
			s.BrokerEpoch = int64(argInt(d, "member-epoch", int(b.Epoch)))
		}
		a.NewIsrWithEpochs, a.NewIsr = append(a.NewIsrWithEpochs, s), append(a.NewIsr, id)
	}
	req.Topics = []kmsg.AlterPartitionRequestTopicData{{
		TopicId: t.ID, Partitions: []kmsg.AlterPartitionRequestPartitionData{a},
	}}
	records, resp := c.m.AlterPartition(int16(argInt(d, "v", 3)), req)
	c.answer(resp.ErrorCode)
	if resp.ErrorCode == 0 {
		out := resp.Topics[0].Partitions[0]
		if c.answer(out.ErrorCode); out.ErrorCode == 0 {
			fmt.Fprintf(&c.out, "leader=%d isr=%v epochs=%d/%d\n", out.LeaderId, out.Isr, out.LeaderEpoch, out.PartitionEpoch)
		}
	}
	c.take(records)
}

func (c *clusterHarness) cmdIDs(d *datadriven.TestData) {
	req := &kmsg.AllocateProducerIdsRequest{BrokerId: int32(argInt(d, "id", 1)), BrokerEpoch: int64(argInt(d, "epoch", -1))}
	if b := c.m.image().Broker(req.BrokerId); b != nil && !d.HasArg("epoch") {
		req.BrokerEpoch = b.Epoch
	}
	records, resp := c.m.AllocateProducerIDs(req)
	if c.answer(resp.ErrorCode); resp.ErrorCode == 0 {
		fmt.Fprintf(&c.out, "from %d, %d of them\n", resp.ProducerIdStart, resp.ProducerIdLen)
	}
	c.take(records)
}

// wait ms=N: time passes, and the machine is called when it wants to be.
func (c *clusterHarness) cmdWait(d *datadriven.TestData) {
	end := c.now.Add(time.Duration(argInt(d, "ms", 0)) * time.Millisecond)
	for {
		records, next := c.m.Tick(c.now)
		c.take(records)
		if next.IsZero() || next.After(end) {
			break
		}
		c.now = next
	}
	c.now = end
}

// keep id=ID/ID ms=N: time passes in which brokers send their heartbeats.
func (c *clusterHarness) cmdKeep(d *datadriven.TestData) {
	end := c.now.Add(time.Duration(argInt(d, "ms", 0)) * time.Millisecond)
	for {
		for _, id := range numbersOf(arg(d, "id", "")) {
			c.m.sessionOf(c.now, id).contact = c.now
		}
		records, next := c.m.Tick(c.now)
		c.take(records)
		if !c.now.Before(end) && next.After(c.now) {
			return
		}
		if c.now = c.now.Add(time.Second); next.Before(c.now) {
			c.now = next
		}
		if c.now.After(end) {
			c.now = end
		}
	}
}

func (c *clusterHarness) cmdSuspect(d *datadriven.TestData) {
	b := c.m.image().Broker(int32(argInt(d, "id", 1)))
	c.m.Suspect(c.now, b.ID, b.Epoch)
}

// fail-over [former=ID heard=MS]: another controller goes on from the image; it heard of the one before so long ago.
func (c *clusterHarness) cmdFailOver(d *datadriven.TestData) {
	im, _ := c.m.Cut(c.offset-1, 1)
	c.m = c.machine(im)
	c.take(c.m.Begin(c.now))
	if d.HasArg("former") {
		heard := c.now.Add(-time.Duration(argInt(d, "heard", 0)) * time.Millisecond)
		c.m.HeardBefore(c.now, int32(argInt(d, "former", 0)), heard)
	}
}

// quiet leaves out the records that a command prints: they are seen in the picture.
func (c *clusterHarness) quiet(run func(*datadriven.TestData)) func(*datadriven.TestData) {
	return func(d *datadriven.TestData) {
		run(d)
		var keep strings.Builder
		for _, line := range strings.SplitAfter(c.out.String(), "\n") {
			if !strings.HasPrefix(line, "+") {
				keep.WriteString(line)
			}
		}
		c.out.Reset()
		c.out.WriteString(keep.String())
	}
}

// reassign name=NAME p=N [to=1/2] [then=2/1]: without to it is cancelled; then is what the same request says of it once more.
func (c *clusterHarness) cmdReassign(d *datadriven.TestData) { c.reassign(d) }

func (c *clusterHarness) cmdUnregister(d *datadriven.TestData) {
	records, err := c.m.UnregisterBroker(c.now, int32(argInt(d, "id", 0)))
	if err != nil {
		code, msg := Code(err)
		c.item("unregister", code, msg)
	}
	c.take(records)
}

// dirs id=ID dir=N [name=NAME] [p=N]: a broker says where a replica lies.
func (c *clusterHarness) cmdDirs(d *datadriven.TestData) {
	id := int32(argInt(d, "id", 1))
	req := &kmsg.AssignReplicasToDirsRequest{BrokerId: id, BrokerEpoch: -1}
	if b := c.m.image().Broker(id); b != nil {
		req.BrokerEpoch = b.Epoch
	}
	topic := kmsg.AssignReplicasToDirsRequestTopicData{
		Partitions: []kmsg.AssignReplicasToDirsRequestPartitionData{{PartitionIndex: int32(argInt(d, "p", 0))}},
	}
	if t := c.m.image().Topic(arg(d, "name", "t")); t != nil {
		topic.TopicId = t.ID
	}
	req.Directories = []kmsg.AssignReplicasToDirsRequestDirectoryData{{
		Id: dirOf(id, argInt(d, "dir", 0)), Topics: []kmsg.AssignReplicasToDirsRequestTopicData{topic},
	}}
	records, resp := c.m.AssignReplicasToDirs(req)
	if c.answer(resp.ErrorCode); resp.ErrorCode == 0 {
		c.item("dirs", resp.Directories[0].Topics[0].Partitions[0].ErrorCode, nil)
	}
	c.take(records)
}

func (c *clusterHarness) cmdELR(*datadriven.TestData) {
	c.take([]kmsg.Record{&kmsg.FeatureLevelRecord{Name: elrVersion, FeatureLevel: 1}})
}

// config name=TOPIC with lines key=value.
func (c *clusterHarness) cmdConfig(d *datadriven.TestData) {
	keys, values := pairs(d)
	for i := range keys {
		c.take([]kmsg.Record{&kmsg.ConfigRecord{
			ResourceType: int8(meta.ResourceTopic), ResourceName: arg(d, "name", "t"), Name: keys[i], Value: values[i],
		}})
	}
}
