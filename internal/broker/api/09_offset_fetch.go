package api

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// OffsetFetch (key 9), versions 1 to 10.
//
// Reads offsets that groups committed. A partition without one answers offset -1 and no error,
// whether it exists or not.
//
//	v2   null topics mean all; errors of the group have a field
//	v7   RequireStable: UNSTABLE_OFFSET_COMMIT while a transaction's offsets are pending
//	v8   several groups
//	v9   member epochs of consumer groups (KIP-848)
//	v10  topic ids instead of names
var _ = register(kmsg.KeyOffsetFetch, (*Broker).offsetFetch)

type (
	fetchTopics         = kmsg.OffsetFetchRequestOffsetFetchRequestTopics
	fetchTopicsResult   = kmsg.OffsetFetchResponseOffsetFetchResponseTopics
	fetchPartitions     = kmsg.OffsetFetchResponseOffsetFetchResponsePartitions
	fetchTopicResult    = kmsg.OffsetFetchResponseOffsetFetchResponseTopic
	fetchPartitionAlone = kmsg.OffsetFetchResponseOffsetFetchResponsePartition
)

// Versions of OffsetFetch that changed its shape.
const (
	fetchGroupErrorVersion = 2
	fetchGroupsVersion     = 8
	fetchIDVersion         = 10
)

// offsetFetch collects the answers for the groups of one request.
type offsetFetch struct {
	call   *Call
	image  *meta.Image
	stable bool

	mu      sync.Mutex
	groups  []group.FetchedGroup
	pending int
}

func (b *Broker) offsetFetch(c *Call, req *kmsg.OffsetFetchRequest) {
	groups := req.Groups
	if c.Version < fetchGroupsVersion {
		groups = []group.FetchGroup{singleGroup(req)}
	}
	f := &offsetFetch{
		call: c, image: b.Image(), stable: req.RequireStable,
		groups: make([]group.FetchedGroup, len(groups)), pending: len(groups) + 1,
	}
	for i := range groups {
		b.fetchGroup(f, i, &groups[i])
	}
	f.put(0, nil)
}

// singleGroup is the one group of an old request in the form of the new ones.
func singleGroup(req *kmsg.OffsetFetchRequest) group.FetchGroup {
	g := group.FetchGroup{GroupId: req.GroupId, MemberEpoch: -1}
	if req.Topics != nil {
		g.Topics = []fetchTopics{}
	}
	for _, t := range req.Topics {
		g.Topics = append(g.Topics, fetchTopics{Name: t.Name, PartitionIndexes: t.PartitionIndexes})
	}
	return g
}

func (b *Broker) fetchGroup(f *offsetFetch, i int, g *group.FetchGroup) {
	all := *g
	if !f.call.mayGroup(auth.Describe, g.GroupId) {
		f.put(i, f.failed(&all, kerr.GroupAuthorizationFailed.Code))
		return
	}
	unknown := f.nameTopics(g)
	b.onGroup(g.GroupId, func(m *group.Machine, now time.Time) coord.Result {
		return m.OffsetFetch(now, g, f.stable, func(r *group.FetchedGroup) {
			switch {
			case r.ErrorCode != 0:
				f.put(i, f.failed(&all, r.ErrorCode))
				return
			case g.Topics == nil:
				r.Topics = slices.DeleteFunc(r.Topics, func(t fetchTopicsResult) bool {
					return !f.call.mayTopic(auth.Describe, t.Name)
				})
				f.identify(r)
			}
			r.Topics = append(r.Topics, unknown...)
			f.put(i, r)
		})
	}, func(err error) { f.put(i, f.failed(&all, f.call.code(err))) })
}

// nameTopics finds the names of topics that were asked for by id. Those that do not exist, or that the client may not know
// of, are taken out of the request and answered.
func (f *offsetFetch) nameTopics(g *group.FetchGroup) (unknown []fetchTopicsResult) {
	if g.Topics == nil {
		return nil
	}
	known := make([]fetchTopics, 0, len(g.Topics))
	for _, t := range g.Topics {
		if f.call.Version >= fetchIDVersion {
			topic := f.image.TopicByID(t.TopicId)
			if topic == nil {
				unknown = append(unknown, failedTopic(t, kerr.UnknownTopicID.Code))
				continue
			}
			t.Name = topic.Name
		}
		if f.call.mayTopic(auth.Describe, t.Name) {
			known = append(known, t)
		} else {
			unknown = append(unknown, failedTopic(t, kerr.TopicAuthorizationFailed.Code))
		}
	}
	g.Topics = known
	return unknown
}

// identify fills in the ids of topics that the group has offsets of. Without one there is no way to
// say what the offset is for.
func (f *offsetFetch) identify(r *group.FetchedGroup) {
	if f.call.Version < fetchIDVersion {
		return
	}
	known := r.Topics[:0]
	for _, t := range r.Topics {
		if topic := f.image.Topic(t.Name); topic != nil {
			t.TopicId = topic.ID
			known = append(known, t)
		}
	}
	r.Topics = known
}

// failed is the answer for a group that has an error. Version 1 has no place for it but the
// partitions.
func (f *offsetFetch) failed(g *group.FetchGroup, code int16) *group.FetchedGroup {
	r := &group.FetchedGroup{GroupId: g.GroupId, ErrorCode: code}
	if f.call.Version < fetchGroupErrorVersion {
		for _, t := range g.Topics {
			r.Topics = append(r.Topics, failedTopic(t, code))
		}
	}
	return r
}

func failedTopic(t fetchTopics, code int16) fetchTopicsResult {
	none := ""
	r := fetchTopicsResult{Name: t.Name, TopicId: t.TopicId}
	for _, p := range t.PartitionIndexes {
		r.Partitions = append(r.Partitions, fetchPartitions{
			PartitionIndex: p, CommittedOffset: base.NoOffset, CommittedLeaderEpoch: base.NoEpoch,
			Metadata: &none, ErrorCode: code,
		})
	}
	return r
}

// put takes one group's answer; the last one sends the response.
func (f *offsetFetch) put(i int, g *group.FetchedGroup) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g != nil {
		f.groups[i] = *g
	}
	if f.pending--; f.pending > 0 {
		return
	}
	resp := kmsg.NewOffsetFetchResponse()
	if f.call.Version >= fetchGroupsVersion {
		resp.Groups = f.groups
	} else {
		resp.ErrorCode, resp.Topics = f.groups[0].ErrorCode, oldTopics(f.groups[0].Topics)
	}
	f.call.Reply(&resp)
}

// oldTopics is the answer for one group in the form that had only one.
func oldTopics(topics []fetchTopicsResult) []fetchTopicResult {
	out := make([]fetchTopicResult, len(topics))
	for i, t := range topics {
		out[i].Name = t.Name
		for _, p := range t.Partitions {
			out[i].Partitions = append(out[i].Partitions, fetchPartitionAlone(p))
		}
	}
	return out
}
