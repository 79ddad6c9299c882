package api

import (
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// fitQuota reads no more than the client may have at once: what it is given is what it is charged.
func (f *fetchCall) fitQuota() {
	most, ok := f.b.Quotas.MaxInWindow(quota.Fetch, f.c.user(), f.c.ClientID)
	if ok && most < float64(f.maxBytes) {
		f.maxBytes = int(most)
		f.minBytes = min(f.minBytes, f.maxBytes)
	}
}

// throttled charges the answer. A client that has to wait gets an empty one instead, as if nothing
// had been read: the bytes are not charged, its session tells it the same again, and a session that
// this fetch would have begun is not.
func (f *fetchCall) throttled(resp *kmsg.FetchResponse) bool {
	c, bytes := f.c, 0.0
	c.chargeTime()
	if f.b.Quotas.Enabled(quota.Fetch) {
		bytes = float64(answerBytes(c, resp))
		c.charge(quota.Fetch, bytes)
	}
	if c.throttle == 0 {
		return false
	}
	f.b.Quotas.Unrecord(f.b.Clock.Now(), quota.Fetch, c.user(), c.ClientID, bytes)
	dropRanges(resp)
	empty := kmsg.NewFetchResponse()
	empty.Responses = []kmsg.FetchResponseFetchableTopicResponse{}
	if f.session != nil {
		if f.goesOn {
			empty.SessionId = f.session.id
		} else {
			f.b.sessions.remove(f.session.id)
		}
		f.session.look.end(f.parts, false)
		f.b.sessions.release(f.session)
	}
	c.Reply(&empty)
	return true
}

// answerBytes is the size of an answer as Kafka counts it: the body and four bytes before it.
func answerBytes(c *Call, resp *kmsg.FetchResponse) int {
	w := wire.GetWriter()
	resp.Append(w, c.Version)
	n := w.Len() // the writer leaves room for the four
	w.Sections = w.Sections[:0]
	wire.PutWriter(w)
	return n
}

// dropRanges gives back the ranges of an answer that is not sent.
func dropRanges(resp *kmsg.FetchResponse) {
	for i := range resp.Responses {
		for j := range resp.Responses[i].Partitions {
			if r, ok := resp.Responses[i].Partitions[j].Records.Ext.(interface{ Release() }); ok {
				r.Release()
			}
		}
	}
}

// heldBack says whether a follower gets no records of a partition for now: the leader's side is throttled, the rate
// is used up, and the follower is not in sync. One that is in sync is never held back (KIP-73).
func (f *fetchCall) heldBack(p *partition.Partition) bool {
	t := f.b.LeaderThrottle
	return f.replica >= 0 && t != nil && t.Limited() && p.LeaderThrottled() && t.Pause(f.b.Clock.Now()) > 0 && !p.InSync(f.replica)
}

// meterReplication notes what a follower gets of throttled partitions, in sync or not. It is called before the
// ranges go to the answer.
func (f *fetchCall) meterReplication() {
	if f.replica < 0 || f.b.LeaderThrottle == nil {
		return
	}
	bytes := 0
	for _, p := range f.gave {
		if part, err := p.topic.Partition(p.key.part); err == nil && part.LeaderThrottled() {
			bytes += p.res.Range.Len()
		}
	}
	if bytes > 0 {
		f.b.LeaderThrottle.Record(f.b.Clock.Now(), bytes)
	}
}
