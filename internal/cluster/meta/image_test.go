package meta

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

func topicID(n int) base.TopicID { return base.TopicID{14: byte(n >> 8), 15: byte(n)} }

func partitionRecord(topic, index int) *kmsg.PartitionRecord {
	p := kmsg.NewPartitionRecord()
	p.TopicId, p.PartitionId, p.Leader, p.LeaderEpoch, p.PartitionEpoch = topicID(topic), int32(index), 1, 0, 0
	p.Replicas, p.Isr, p.Directories = []int32{1}, []int32{1}, []base.TopicID{{1}}
	return &p
}

// draw makes a record that fits the image.
func draw(t *rapid.T, im *Image, next *int) []kmsg.Record {
	names := im.TopicNames()
	pick := func() *Topic { return im.Topic(rapid.SampledFrom(names).Draw(t, "topic")) }
	kind := rapid.IntRange(0, 8).Draw(t, "kind")
	if len(names) == 0 {
		kind = min(kind, 0)
	}
	switch kind {
	case 0:
		*next++
		return []kmsg.Record{
			&kmsg.TopicRecord{Name: "t" + strconv.Itoa(*next), TopicId: topicID(*next)},
			partitionRecord(*next, 0), partitionRecord(*next, 1),
		}
	case 1:
		topic := pick()
		p := partitionRecord(0, len(topic.Partitions))
		p.TopicId = topic.ID
		return []kmsg.Record{p}
	case 2:
		topic := pick()
		r := kmsg.NewPartitionChangeRecord()
		r.TopicId, r.PartitionId, r.Leader = topic.ID, 0, int32(rapid.IntRange(-1, 3).Draw(t, "leader"))
		return []kmsg.Record{&r}
	case 3:
		return []kmsg.Record{&kmsg.RemoveTopicRecord{TopicId: pick().ID}}
	case 4, 5:
		r := &kmsg.ConfigRecord{
			ResourceType: int8(ResourceTopic), ResourceName: pick().Name,
			Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"),
		}
		if rapid.Bool().Draw(t, "set") {
			v := rapid.StringN(1, 3, -1).Draw(t, "value")
			r.Value = &v
		}
		return []kmsg.Record{r}
	case 6:
		name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "user")
		return []kmsg.Record{&kmsg.ClientQuotaRecord{
			Entity: []kmsg.ClientQuotaRecordEntityData{{EntityType: "user", EntityName: &name}},
			Key:    "producer_byte_rate", Value: 7, Remove: rapid.Bool().Draw(t, "remove"),
		}}
	case 7:
		return []kmsg.Record{&kmsg.RegisterControllerRecord{
			ControllerId: int32(rapid.IntRange(1, 3).Draw(t, "controller")), IncarnationId: topicID(*next),
			EndPoints: []kmsg.RegisterControllerRecordControllerEndpoint{{Name: "CONTROLLER", Host: "h", Port: uint16(*next)}},
			Features:  []kmsg.RegisterControllerRecordControllerFeature{{Name: metadataVersion, MinSupportedVersion: 7, MaxSupportedVersion: 30}},
		}}
	default:
		r := kmsg.NewRegisterBrokerRecord()
		r.BrokerId, r.Fenced, r.BrokerEpoch = int32(rapid.IntRange(1, 3).Draw(t, "broker")), false, int64(*next)
		return []kmsg.Record{&r}
	}
}

func text(im *Image) string {
	var s string
	for r := range im.Records {
		js, _ := json.Marshal(r)
		s += fmt.Sprintf("%T %s\n", r, js)
	}
	return s + fmt.Sprint(im.TopicCount(), im.PartitionCount())
}

// However records are cut into edits, the image is the same; an image that was published stays as
// it was; and its own records give it again.
func TestEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		im := Empty("c")
		whole := im.Edit()
		next := 0
		type seen struct {
			im   *Image
			text string
		}
		var published []seen
		e := im.Edit()
		for i := range rapid.IntRange(1, 40).Draw(t, "ops") {
			for _, r := range draw(t, e.Peek(), &next) {
				if err := e.Apply(r); err != nil {
					t.Fatal(err)
				}
				if err := whole.Apply(r); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.Bool().Draw(t, "cut") {
				im, _ = e.Image(int64(i), 1)
				published = append(published, seen{im, text(im)})
				e = im.Edit()
			}
		}
		im, _ = e.Image(99, 1)
		all, _ := whole.Image(99, 1)
		if text(im) != text(all) {
			t.Fatalf("in pieces:\n%s\nat once:\n%s", text(im), text(all))
		}
		for _, p := range published {
			if text(p.im) != p.text {
				t.Fatal("a published image changed")
			}
		}
		again := Empty("c").Edit()
		for r := range im.Records {
			if err := again.Apply(r); err != nil {
				t.Fatal(err)
			}
		}
		if copied, _ := again.Image(99, 1); text(copied) != text(im) {
			t.Fatalf("from its own records:\n%s\nwant:\n%s", text(copied), text(im))
		}
	})
}

func TestDelta(t *testing.T) {
	e := Empty("c").Edit()
	for _, r := range []kmsg.Record{
		&kmsg.TopicRecord{Name: "a", TopicId: topicID(1)}, partitionRecord(1, 0),
		&kmsg.TopicRecord{Name: "b", TopicId: topicID(2)}, partitionRecord(2, 0),
	} {
		if err := e.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	im, d := e.Image(3, 1)
	if len(d.Created) != 2 || d.Created[0].Name != "a" || len(d.Changed)+len(d.Deleted) != 0 {
		t.Errorf("%+v", d)
	}
	e = im.Edit()
	v := "1"
	for _, r := range []kmsg.Record{
		partitionRecord(1, 1), &kmsg.RemoveTopicRecord{TopicId: topicID(2)},
		&kmsg.ConfigRecord{ResourceType: int8(ResourceTopic), ResourceName: "a", Name: "k", Value: &v},
		&kmsg.TopicRecord{Name: "b", TopicId: topicID(3)}, partitionRecord(3, 0),
	} {
		if err := e.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	now, d := e.Image(8, 1)
	if len(d.Changed) != 1 || d.Changed[0].Name != "a" || len(d.Deleted) != 1 || d.Deleted[0].ID != topicID(2) ||
		len(d.Created) != 1 || d.Created[0].ID != topicID(3) || !slices.Equal(d.Configs, []Resource{{ResourceTopic, "a"}}) {
		t.Errorf("%+v", d)
	}
	if now.PartitionCount() != 3 || im.PartitionCount() != 2 {
		t.Errorf("%d partitions now, %d before", now.PartitionCount(), im.PartitionCount())
	}
}

func TestContradictions(t *testing.T) {
	gap := partitionRecord(1, 5)
	change := kmsg.NewPartitionChangeRecord()
	change.TopicId, change.PartitionId = topicID(1), 3
	for _, r := range []kmsg.Record{
		&kmsg.TopicRecord{Name: "a", TopicId: topicID(9)}, partitionRecord(7, 0), gap, &change,
		&kmsg.RemoveTopicRecord{TopicId: topicID(7)}, &kmsg.FenceBrokerRecord{Id: 4},
	} {
		e := Empty("c").Edit()
		if err := e.Apply(&kmsg.TopicRecord{Name: "a", TopicId: topicID(1)}); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(r); err == nil {
			t.Errorf("%T %+v was applied", r, r)
		}
	}
}

// Creating one topic beside ten thousand others.
func BenchmarkCreateTopic(b *testing.B) {
	e := Empty("c").Edit()
	for i := range 10_000 {
		_ = e.Apply(&kmsg.TopicRecord{Name: "t" + strconv.Itoa(i), TopicId: topicID(i)})
		_ = e.Apply(partitionRecord(i, 0))
	}
	im, _ := e.Image(1, 1)
	id := base.TopicID{1}
	b.ReportAllocs()
	for b.Loop() {
		e := im.Edit()
		_ = e.Apply(&kmsg.TopicRecord{Name: "new", TopicId: id})
		_, _ = e.Image(2, 1)
	}
}

// TestDirectoryIDs: an Apache Kafka that goes on with our metadata reads these ids, and takes a lost replica for one that may lead
// where they are not its own (DirectoryId of 4.3.1).
func TestDirectoryIDs(t *testing.T) {
	for id, want := range map[base.TopicID]string{
		DirMigrating: "AAAAAAAAAAAAAAAAAAAAAA", DirUnassigned: "AAAAAAAAAAAAAAAAAAAAAQ", DirLost: "AAAAAAAAAAAAAAAAAAAAAg",
	} {
		if got := id.String(); got != want {
			t.Errorf("id %s, want %s", got, want)
		}
	}
}
