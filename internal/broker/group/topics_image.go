package group

import (
	"iter"
	"slices"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
)

// ImageTopics is the metadata image as Topics.
func ImageTopics(im *meta.Image) Topics { return imageTopics{im} }

type imageTopics struct{ im *meta.Image }

func (t imageTopics) Version() int64 { return t.im.Offset }

func (t imageTopics) ByName(name string) (Topic, bool) { return imageTopic(t.im.Topic(name)) }

func (t imageTopics) ByID(id base.TopicID) (Topic, bool) { return imageTopic(t.im.TopicByID(id)) }

func imageTopic(t *meta.Topic) (Topic, bool) {
	if t == nil {
		return Topic{}, false
	}
	return Topic{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions))}, true
}

func (t imageTopics) Names() iter.Seq[string] { return slices.Values(t.im.TopicNames()) }

func (t imageTopics) Racks(id base.TopicID, partition int32) []string {
	var racks []string
	for _, r := range t.im.TopicByID(id).Partitions[partition].Replicas {
		if b := t.im.Broker(r); b != nil && b.Rack != nil {
			racks = append(racks, *b.Rack)
		}
	}
	return racks
}
