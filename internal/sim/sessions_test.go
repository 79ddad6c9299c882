package sim

import (
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// Followers fetch in sessions (KIP-227): replica.Fetcher on their side, on the leader's what package api answers with. In a quarter of
// the seeds leaders tell followers of high watermarks at once. In half of them a session looks at all of its partitions so rarely
// that what no partition has told of stays missed.

const fetchWait = 200 * time.Millisecond

func (n *node) newAPI() *api.Broker {
	b := &api.Broker{
		Logger: slog.New(slog.DiscardHandler), Clock: n.w.clk, NodeID: n.id, Parts: partition.NewTable(),
		Image:        func() *meta.Image { return n.image },
		Advertised:   func(*api.Conn) (string, int32, bool) { return "", 0, false },
		ReadFromRack: n.w.opts.seed%4 == 0, MaxLag: lagMax,
	}
	if n.w.opts.seed%2 == 1 {
		b.MaxLag, b.SessionSweep = 0, time.Hour
	}
	sessions := 1000
	if n.w.opts.seed%8 == 3 {
		sessions = 3 // filled by those of requests that came twice, and of followers that are gone
	}
	b.Init(64<<10, sessions)
	return b
}

// hold has a replica served.
func (n *node) hold(k tp, p *partition.Partition) {
	n.parts[k] = p
	n.serveTopic(k, p.TopicID)
}

// letGo has it served no more.
func (n *node) letGo(k tp) {
	id := n.parts[k].TopicID
	delete(n.parts, k)
	n.serveTopic(k, id)
}

func (n *node) serveTopic(of tp, id base.TopicID) {
	t := &partition.Topic{Name: of.Topic, ID: id}
	for _, k := range n.w.allKeys() {
		if k.Topic == of.Topic {
			t.Parts = append(t.Parts, n.parts[k])
		}
	}
	n.api.Parts.Put(t)
}

// serveFetch answers at once where there is something to say, else it looks again until it is time.
func (t *node) serveFetch(req *kmsg.FetchRequest, until time.Time, reply func(any)) {
	if t.image == nil {
		return // it serves nobody yet
	}
	switch {
	case req.SessionEpoch > 0:
		t.w.reached("a follower went on with its session")
	case req.SessionId != 0:
		t.w.reached("a follower began another session")
	}
	t.awaitFetch(t.api.FetchByHand(t.w.now(), req), req, until, reply)
}

func (t *node) awaitFetch(f *api.FetchByHand, req *kmsg.FetchRequest, until time.Time, reply func(any)) {
	late := !t.w.now().Before(until)
	if !f.Enough() && !late {
		t.after(20*time.Millisecond, func() { t.awaitFetch(f, req, until, reply) })
		return
	}
	resp := f.Answer(late)
	if resp.ErrorCode != 0 {
		t.w.reached("fetch session refused: " + errName(kerr.ErrorForCode(resp.ErrorCode)))
	}
	for i := range resp.Responses {
		topic := &resp.Responses[i]
		for j := range topic.Partitions {
			d := &topic.Partitions[j]
			if r, ok := d.Records.Ext.(*storage.FileRange); ok {
				data, err := bytesOf(r)
				if err != nil {
					d.ErrorCode = kerr.KafkaStorageError.Code
				}
				d.Records = kmsg.Records{Bytes: data}
			}
			k := tp{Topic: topic.Topic, Partition: d.PartitionIndex}
			if p := t.parts[k]; p != nil {
				t.w.check.absorb(t, k, p)
			}
			if req.SessionEpoch > 0 && d.ErrorCode == 0 && len(d.Records.Bytes) == 0 {
				t.w.reached("a session told of a partition without records")
			}
		}
	}
	reply(resp)
}
