package api

import (
	"cmp"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Fetch sessions (KIP-227): a client names its partitions once and afterwards only what changes;
// the broker answers only with partitions that have something new.

const (
	finalFetchEpoch   int32 = -1
	initialFetchEpoch int32 = 0

	// sessionEvictAge is how long a session is safe from a newcomer of the same size.
	sessionEvictAge = 120 * time.Second
)

// fetchKey names a partition inside a session: by id from version 13 on, by name before.
type fetchKey struct {
	topic string
	id    base.TopicID
	part  int32
}

// fetchPart is one partition to read, with what the session last told the client of it.
type fetchPart struct {
	key              fetchKey
	topic            *partition.Topic // resolved afresh for each fetch; nil when unknown
	offset           int64
	start            int64 // of a follower's log
	maxBytes         int32
	currentEpoch     int32
	lastFetchedEpoch int32

	toldHW, toldStart int64
	res               partition.ReadResult
	err               error
	diverging         *kmsg.FetchResponseEpochEndOffset
	preferred         int32 // a replica that the consumer should rather read from; -1 for none

	mark    *partition.Mark // of a session: what has the next fetch look at it
	looked  bool            // the fetch under way looks at it, or the next one will
	given   bool            // this fetch has records of it
	settled bool            // to look again, while nothing changes, finds nothing
	known   bool            // the follower is in sync, and this fetch has been noted
	gone    bool            // no longer of the session
	named   bool            // a follower has named it since the last answer: it is told, whatever it was told before
}

func (p *fetchPart) update(in *kmsg.FetchRequestFetchPartition) {
	p.offset, p.maxBytes = in.FetchOffset, in.PartitionMaxBytes
	p.start = in.LogStartOffset
	p.currentEpoch, p.lastFetchedEpoch = in.CurrentLeaderEpoch, in.LastFetchedEpoch
}

// news says whether an incremental answer must mention the partition.
func (p *fetchPart) news() bool {
	return p.named || p.res.Range != nil || p.err != nil || p.diverging != nil || p.preferred >= 0 ||
		p.res.HighWatermark != p.toldHW || p.res.LogStart != p.toldStart
}

// told remembers what the answer that is sent says.
func (p *fetchPart) told() {
	p.toldHW, p.toldStart = p.res.HighWatermark, p.res.LogStart
	if p.err != nil {
		p.toldHW = -1
	}
	p.named = false
}

// fetcherOf is whose a session is.
type fetcherOf struct {
	replica     int32 // of a follower, which goes before consumers; below 0 for those
	brokerEpoch int64 // of the follower's broker, -1 where it does not say
}

func (f fetcherOf) follower() bool { return f.replica >= 0 }

// before says that this is an earlier run of the other's broker: it is not coming back.
func (f fetcherOf) before(o fetcherOf) bool {
	return f.follower() && f.replica == o.replica && f.brokerEpoch >= 0 && f.brokerEpoch < o.brokerEpoch
}

// session is one client's set of partitions. It is used by one fetch at a time: busy says so.
type session struct {
	id      int32
	epoch   int32
	byID    bool
	busy    bool
	dropped bool // while busy: the cache has it no longer
	of      fetcherOf
	created time.Time
	used    time.Time
	parts   []*fetchPart
	index   map[fetchKey]*fetchPart
	look    sessionLook
}

// sessionCache holds the sessions of all connections, bounded by
// max.incremental.fetch.session.cache.slots.
type sessionCache struct {
	slots int
	mu    struct {
		sync.Mutex
		byID map[int32]*session
	}
}

func newSessionCache(slots int) *sessionCache {
	c := &sessionCache{slots: slots}
	c.mu.byID = map[int32]*session{}
	return c
}

// count is the number of sessions, for the metrics.
func (c *sessionCache) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.byID)
}

func (c *sessionCache) remove(id int32) {
	c.mu.Lock()
	s := c.mu.byID[id]
	unused := s != nil && c.dropLocked(s)
	c.mu.Unlock()
	if unused {
		s.unwatch()
	}
}

// dropLocked takes a session out; true where the caller is to unwatch it, else the fetch that uses it will.
func (c *sessionCache) dropLocked(s *session) bool {
	delete(c.mu.byID, s.id)
	s.dropped = true
	return !s.busy
}

// create stores a session for parts if there is room or somebody may be evicted; otherwise it
// returns nil, and the client is served without one.
func (c *sessionCache) create(now time.Time, parts []*fetchPart, byID bool, of fetcherOf) *session {
	s := &session{epoch: 1, byID: byID, busy: true, of: of, created: now, used: now, parts: parts}
	victim, ok := c.put(s)
	if victim != nil {
		victim.unwatch()
	}
	if !ok {
		return nil
	}
	s.index = make(map[fetchKey]*fetchPart, len(parts))
	for _, p := range parts {
		s.index[p.key] = p
	}
	return s
}

// put gives a session an id and a slot, that of victim where none is free.
func (c *sessionCache) put(s *session) (victim *session, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.byID) >= c.slots {
		if victim = c.evictLocked(s); victim == nil {
			return nil, false
		}
	}
	for s.id == 0 || c.mu.byID[s.id] != nil {
		s.id = rand.Int32()
	}
	c.mu.byID[s.id] = s
	return victim, true
}

// evictLocked makes room for a session: one goes that an earlier run of the same broker has left, else the one unused longest if
// it has been idle for sessionEvictAge, else the one worth least of those that the newcomer may replace, if it is worth less.
// Those may be replaced that are old enough, and any consumer's by a follower. It returns the one that goes, which nobody uses.
// The rules are those of Kafka's FetchSessionCache but for the first: there a follower whose broker has started again goes
// without a session where all slots are taken, until what it had before counts as idle.
func (c *sessionCache) evictLocked(newcomer *session) *session {
	var oldest, least *session
	now := newcomer.used
	for _, s := range c.mu.byID {
		if s.busy {
			continue
		}
		if s.of.before(newcomer.of) {
			c.dropLocked(s)
			return s
		}
		if oldest == nil || s.used.Before(oldest.used) {
			oldest = s
		}
		replaceable := now.Sub(s.created) > sessionEvictAge || newcomer.of.follower() && !s.of.follower()
		if replaceable && (least == nil || s.worth(least) < 0) {
			least = s
		}
	}
	victim := oldest
	if victim == nil || now.Sub(victim.used) <= sessionEvictAge {
		if victim = least; victim == nil || newcomer.worth(victim) <= 0 {
			return nil
		}
	}
	c.dropLocked(victim)
	return victim
}

// worth compares what two sessions are worth: a follower's more than a consumer's, and then one of more partitions.
func (s *session) worth(o *session) int {
	switch follows, other := s.of.follower(), o.of.follower(); {
	case follows && !other:
		return 1
	case !follows && other:
		return -1
	}
	return cmp.Compare(len(s.parts), len(o.parts))
}

// acquire finds the session an incremental fetch continues and takes it for that fetch.
func (c *sessionCache) acquire(now time.Time, req *kmsg.FetchRequest, byID bool) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.mu.byID[req.SessionId]
	switch {
	case s == nil:
		return nil, kerr.FetchSessionIDNotFound
	case s.epoch != req.SessionEpoch || s.busy:
		return nil, kerr.InvalidFetchSessionEpoch
	case s.byID != byID:
		return nil, kerr.FetchSessionTopicIDError
	}
	s.busy, s.used = true, now
	if s.epoch++; s.epoch < 0 {
		s.epoch = 1
	}
	return s, nil
}

func (c *sessionCache) release(s *session) {
	c.mu.Lock()
	s.busy = false
	dropped := s.dropped
	c.mu.Unlock()
	if dropped {
		s.unwatch()
	}
}

// apply adds, changes and forgets partitions as an incremental request asks. What a follower names it may not have heard all
// of: with an answer that has it cut its log, that it could not carry out, or that was of its role before, the high watermark went unheard.
func (s *session) apply(req *kmsg.FetchRequest) {
	for i := range req.ForgottenTopicsData {
		t := &req.ForgottenTopicsData[i]
		for _, part := range t.Partitions {
			s.forget(fetchKey{t.Topic, t.TopicId, part})
		}
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			in := &t.Partitions[j]
			key := fetchKey{t.Topic, t.TopicId, in.Partition}
			if p := s.index[key]; p != nil {
				p.update(in)
				p.named = s.of.follower()
				s.look.note(p)
				continue
			}
			p := newFetchPart(t, in)
			s.index[p.key] = p
			s.parts = append(s.parts, p)
			s.look.note(p)
		}
	}
}

func (s *session) forget(key fetchKey) {
	p := s.index[key]
	if p == nil {
		return
	}
	delete(s.index, key)
	p.gone = true
	p.mark.Unwatch()
	for i, q := range s.parts {
		if q == p {
			s.parts = append(s.parts[:i], s.parts[i+1:]...)
			return
		}
	}
}

// unwatch has no partition mark the session any more. Nobody uses it.
func (s *session) unwatch() {
	for _, p := range s.parts {
		p.mark.Unwatch()
	}
}
