package api

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Fetch (key 1), versions 4 to 18.
//
// A partition's records are ranges of the log's files: nothing is copied here. The first partition
// with data gives at least one whole batch, whatever the limits say (KIP-74). A fetch waits on its
// connection's goroutine until min_bytes are there, max_wait has passed or a partition fails.
//
//	v7   sessions (KIP-227)
//	v9   leader epochs are compared (KIP-320)
//	v12  the last fetched epoch finds a diverged log (KIP-595)
//	v13  topics by id (KIP-516)
var _ = registerHot(kmsg.KeyFetch, (*Broker).fetch)

const (
	fetchVersionTopicIDs = 13
	fetchVersionRack     = 11 // from here on a client may read from a follower (KIP-392)

	// consumerReplica is the replica id of a client.
	consumerReplica int32 = -1
	// debuggingReplica is the replica id of tools that read up to the end of the log.
	debuggingReplica int32 = -2
)

// fetchCall is one fetch under way. It is used again for another one: the answer's slices and the
// partitions of a fetch without a session stay with it.
type fetchCall struct {
	b         *Broker
	c         *Call
	parts     []*fetchPart
	session   *session
	goesOn    bool // with a session that there was: the answer tells what is new
	isolation partition.Isolation
	replica   int32
	epoch     int64  // broker epoch of a follower (KIP-903); -1 for none
	rack      string // of a consumer that may be sent to a replica near it
	raises    bool   // high watermarks are news for the follower that fetches
	mayFollow bool
	asked     string // the topic that the authorizer was asked about last, and its answer
	hasAsked  bool
	mayRead   bool
	minBytes  int
	maxBytes  int
	bytes     int
	urgent    bool // an error, or other news that is not kept for records
	gave      []*fetchPart
	resp      kmsg.FetchResponse
	own       []fetchPart // what parts points to where there is no session
	ownParts  []*fetchPart
}

var fetchCalls = sync.Pool{New: func() any { return new(fetchCall) }}

// newFetchPart is a partition of a session, which outlives the request and its strings.
func newFetchPart(t *kmsg.FetchRequestFetchTopic, in *kmsg.FetchRequestFetchPartition) *fetchPart {
	p := &fetchPart{key: fetchKey{strings.Clone(t.Topic), t.TopicId, in.Partition}, toldHW: -1, toldStart: -1}
	p.mark = &partition.Mark{Owner: p}
	p.update(in)
	return p
}

func (b *Broker) fetch(c *Call, req *kmsg.FetchRequest) {
	if c.Conn.Controller {
		c.metered = false
		b.fetchMetadata(c, req)
		return
	}
	f, _ := fetchCalls.Get().(*fetchCall)
	defer f.recycle()
	if err := f.begin(b, c, req); err != nil {
		resp := kmsg.NewFetchResponse()
		resp.ErrorCode = c.code(err)
		resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{}
		c.Reply(&resp)
		return
	}
	f.readUntilEnough(time.Duration(req.MaxWaitMs) * time.Millisecond)
	f.answer()
}

// begin takes in what is asked, and how far a follower has come.
func (f *fetchCall) begin(b *Broker, c *Call, req *kmsg.FetchRequest) error {
	f.b, f.c, f.isolation, f.replica = b, c, partition.Isolation(req.IsolationLevel), req.ReplicaId
	f.epoch = -1
	if c.Version >= 15 {
		f.replica, f.epoch = req.ReplicaState.ReplicaId, req.ReplicaState.ReplicaEpoch
	}
	if f.replica >= 0 {
		c.metered = false // the quotas of clients are none of replication's
	}
	if b.ReadFromRack {
		f.raises = f.replica >= 0
		if f.replica == consumerReplica && c.Version >= fetchVersionRack {
			f.rack = req.RackId
		}
	}
	f.mayFollow = f.replica < 0 || c.mayCluster(auth.ClusterAction)
	f.minBytes, f.maxBytes = int(req.MinBytes), min(int(req.MaxBytes), b.fetchMaxBytes())
	if c.metered {
		f.fitQuota()
	}
	if err := f.open(req); err != nil {
		return err
	}
	f.noteFollower()
	return nil
}

// recycle lets go of the call once it is answered, or has failed without one.
func (f *fetchCall) recycle() {
	for i := range f.resp.Responses {
		if cap(f.resp.Responses[i].Partitions) > keptPartitions {
			return
		}
		clear(f.resp.Responses[i].Partitions) // ranges and aborted transactions
	}
	if cap(f.resp.Responses) > keptTopics || cap(f.own) > keptPartitions || cap(f.gave) > keptPartitions {
		return
	}
	clear(f.own)
	clear(f.ownParts)
	clear(f.gave)
	*f = fetchCall{resp: kmsg.FetchResponse{Responses: f.resp.Responses[:0]}, own: f.own[:0], ownParts: f.ownParts[:0], gave: f.gave[:0]}
	fetchCalls.Put(f)
}

// open finds the partitions to read: those of the request, or of the session it continues.
func (f *fetchCall) open(req *kmsg.FetchRequest) error {
	byID := f.c.Version >= fetchVersionTopicIDs
	cache := f.b.sessions
	if f.c.Version < 7 || req.SessionEpoch == finalFetchEpoch || req.SessionEpoch == initialFetchEpoch {
		if req.SessionId != 0 {
			cache.remove(req.SessionId)
		}
		if f.c.Version >= 7 && req.SessionEpoch == initialFetchEpoch {
			f.parts = sessionParts(req)
			if f.session = cache.create(f.c.Start, f.parts, byID, fetcherOf{f.replica, f.epoch}); f.session != nil {
				f.look(f.session)
			}
			return nil
		}
		f.parts = f.requestParts(req)
		return nil
	}
	s, err := cache.acquire(f.c.Start, req, byID)
	if err != nil {
		return err
	}
	s.apply(req)
	if len(s.parts) == 0 {
		cache.remove(s.id)
		return nil
	}
	f.session, f.goesOn = s, true
	f.look(s)
	return nil
}

// look finds what of its session the fetch looks at.
func (f *fetchCall) look(s *session) {
	every := cmp.Or(f.b.SessionSweep, sessionSweep)
	switch {
	case f.rack != "":
		every = 0 // another replica may have become the nearer one, of which no partition tells
	case f.replica >= 0 && f.b.MaxLag > 0:
		every = min(every, f.b.MaxLag/4)
	}
	f.parts = s.look.begin(s.parts, f.c.Start, every, lookKind{
		f.replica, f.epoch, f.isolation, partition.MarkKind{ToEnd: f.toEnd(), Raises: f.raises},
	})
}

func sessionParts(req *kmsg.FetchRequest) []*fetchPart {
	var parts []*fetchPart
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			parts = append(parts, newFetchPart(t, &t.Partitions[j]))
		}
	}
	return parts
}

// requestParts is the partitions of a fetch without a session: they live as long as the request.
func (f *fetchCall) requestParts(req *kmsg.FetchRequest) []*fetchPart {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			in := &t.Partitions[j]
			p := fetchPart{key: fetchKey{t.Topic, t.TopicId, in.Partition}, toldHW: -1, toldStart: -1}
			p.update(in)
			f.own = append(f.own, p)
		}
	}
	for i := range f.own {
		f.ownParts = append(f.ownParts, &f.own[i])
	}
	return f.ownParts
}

// readUntilEnough reads every partition, and again each time one of them has moved, until the
// answer is worth sending.
func (f *fetchCall) readUntilEnough(maxWait time.Duration) {
	f.readAll()
	if f.enough() || maxWait <= 0 || f.session == nil && len(f.parts) == 0 {
		return
	}
	f.c.parked()
	f.c.Conn.flush()
	w := f.c.Conn.tailWaiter()
	w.Drain()
	f.watch(w)
	defer f.unwatch(w)
	timer := f.c.Conn.waitTimer(maxWait)
	defer timer.Stop()
	for {
		f.readChanged() // also what moved between the last read and the watch
		if f.enough() {
			return
		}
		select {
		case <-w.C:
		case <-timer.C:
			f.readAll()
			return
		case <-f.c.Conn.Closing():
			return
		}
	}
}

// toEnd says whether the fetch reads up to the end of the log: followers and tools do.
func (f *fetchCall) toEnd() bool { return f.replica == debuggingReplica || f.replica >= 0 }

func (f *fetchCall) enough() bool { return f.urgent || f.bytes >= f.minBytes }

func (f *fetchCall) watch(w *partition.TailWaiter) {
	if f.session != nil {
		f.session.look.marks.Await(w)
		return
	}
	for _, p := range f.parts {
		if part, err := p.topic.Partition(p.key.part); err == nil {
			part.AddTail(w, f.toEnd())
			if f.raises {
				part.AddTail(w, false)
			}
		}
	}
}

func (f *fetchCall) unwatch(w *partition.TailWaiter) {
	if f.session != nil {
		f.session.look.marks.Await(nil)
		return
	}
	for _, p := range f.parts {
		if part, err := p.topic.Partition(p.key.part); err == nil {
			part.RemoveTail(w, f.toEnd())
			if f.raises {
				part.RemoveTail(w, false)
			}
		}
	}
}

func (f *fetchCall) readAll() {
	f.drop()
	for _, p := range f.parts {
		f.read(p)
	}
}

// readChanged reads again after a wake-up: of a session what has changed and what has something to say.
func (f *fetchCall) readChanged() {
	if f.session != nil {
		changed := false
		if f.parts, changed = f.session.look.more(f.session.look.rest(f.parts)); !changed {
			return
		}
	}
	f.readAll()
}

// drop gives back the ranges of an earlier round.
func (f *fetchCall) drop() {
	for _, p := range f.gave {
		p.res.Range.Release()
		p.res.Range = nil
	}
	f.gave, f.bytes, f.urgent = f.gave[:0], 0, false
}

func (f *fetchCall) read(p *fetchPart) {
	p.res = partition.ReadResult{HighWatermark: -1, LastStableOffset: -1, LogStart: -1}
	p.err, p.diverging, p.preferred, p.given, p.settled = nil, nil, base.NoBroker, false, false
	part, err := f.resolve(p)
	if err == nil {
		if f.session != nil {
			f.session.look.watch(p, part)
		}
		err = f.readPartition(p, part)
	}
	if err != nil {
		p.err, f.urgent = err, true
		return
	}
	if p.diverging != nil || p.preferred >= 0 || f.raises && p.toldHW >= 0 && p.res.HighWatermark > p.toldHW {
		f.urgent = true
	}
	if p.res.Range != nil {
		f.bytes += p.res.Range.Len()
		f.gave = append(f.gave, p)
		p.given = true
	}
	p.settled = p.res.AtEnd && p.diverging == nil && p.preferred < 0 && (f.replica < 0 || p.known)
}

func (f *fetchCall) resolve(p *fetchPart) (*partition.Partition, error) {
	name := p.key.topic
	if f.c.Version >= fetchVersionTopicIDs {
		if p.topic = f.b.topicByID(p.key.id); p.topic == nil {
			return nil, kerr.UnknownTopicID
		}
		name = p.topic.Name
	} else {
		p.topic = f.b.topic(p.key.topic)
	}
	if !f.mayFetch(name) {
		p.topic = nil
		return nil, kerr.TopicAuthorizationFailed
	}
	if p.topic == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	part, err := f.b.partition(p.topic, p.key.part)
	if err == nil && f.replica >= 0 {
		err = part.CheckFollower(f.replica)
	}
	return part, err
}

// mayFetch says whether the client may read a topic; a follower reads all or none. Who may as the fetch begins may until
// it is answered.
func (f *fetchCall) mayFetch(topic string) bool {
	if f.b.Authorizer == nil {
		return true
	}
	if f.replica >= 0 {
		return f.mayFollow
	}
	if !f.hasAsked || f.asked != topic {
		f.hasAsked, f.asked, f.mayRead = true, topic, f.c.mayTopic(auth.Read, topic)
	}
	return f.mayRead
}

// noteFollower tells the partitions how far the follower that fetches has come, once for a request. What
// diverges from the leader's log tells nothing.
func (f *fetchCall) noteFollower() {
	if f.replica < 0 {
		return
	}
	for _, p := range f.parts {
		part, err := f.resolve(p)
		if err != nil {
			continue
		}
		epoch := part.LeaderEpoch() // before the checks: they hold in this epoch, or the partition drops them
		if part.CheckLeader(p.currentEpoch) != nil {
			continue
		}
		if log := part.Log(); p.offset > log.EndOffset() || p.offset < log.StartOffset() {
			continue
		}
		if d, err := f.divergence(p, part); d != nil || err != nil {
			continue
		}
		p.known = part.FollowerFetched(partition.FollowerFetch{
			ID: f.replica, BrokerEpoch: f.epoch, Offset: p.offset, LogStart: p.start, LeaderEpoch: epoch, Now: f.c.Start,
		})
	}
}

// divergence says where the fetcher's log differs from this one; nil where it does not, or where the
// fetch does not tell.
func (f *fetchCall) divergence(p *fetchPart, part *partition.Partition) (*kmsg.FetchResponseEpochEndOffset, error) {
	epoch, end, diverges, err := part.Diverges(p.lastFetchedEpoch, p.offset)
	if !diverges {
		return nil, err
	}
	return &kmsg.FetchResponseEpochEndOffset{Epoch: epoch, EndOffset: end}, nil
}

func (f *fetchCall) readPartition(p *fetchPart, part *partition.Partition) (err error) {
	if p.lastFetchedEpoch >= 0 {
		check := part.CheckLeader
		if f.replica < 0 { // a consumer may read from a follower, and compares its log with that one's
			check = part.CheckEpoch
		}
		if err := check(p.currentEpoch); err != nil {
			return err
		}
		if p.diverging, err = f.divergence(p, part); err != nil {
			return err
		}
		if p.diverging != nil {
			p.res.HighWatermark, p.res.LastStableOffset = part.HighWatermark(), part.LastStableOffset()
			p.res.LogStart = part.Log().StartOffset()
			return nil
		}
	}
	if f.rack != "" {
		if p.preferred = f.b.nearReplica(f.c.Conn, part, f.rack, p.offset); p.preferred >= 0 {
			p.res, err = part.Watermarks(p.currentEpoch)
			return err
		}
	}
	first := len(f.gave) == 0
	room := min(int(p.maxBytes), f.maxBytes-f.bytes)
	if f.heldBack(part) {
		first, room = false, 0
	}
	p.res, err = part.Read(partition.ReadRequest{
		Offset: p.offset, MaxBytes: int32(max(room, 0)), MinOne: first, Isolation: f.isolation,
		LeaderEpoch: p.currentEpoch, ToEnd: f.toEnd(),
		AnyReplica: f.replica < 0 && f.c.Version >= fetchVersionRack,
	})
	return err
}

// answer sends what was read.
func (f *fetchCall) answer() {
	resp := f.compose()
	if f.c.metered && f.throttled(resp) {
		return
	}
	f.told()
	f.c.Reply(resp)
}

// compose makes the answer. In a session that goes on it mentions only partitions with news.
func (f *fetchCall) compose() *kmsg.FetchResponse {
	resp := &f.resp
	responses := resp.Responses[:0]
	resp.Default()
	if resp.Responses = responses; responses == nil {
		resp.Responses = []kmsg.FetchResponseFetchableTopicResponse{}
	}
	if f.session != nil {
		resp.SessionId = f.session.id
	}
	f.meterReplication()
	for _, p := range f.parts {
		if f.goesOn && !p.news() {
			continue
		}
		f.addPartition(resp, p)
	}
	return resp
}

// told remembers what the answer says, and lets go of the session.
func (f *fetchCall) told() {
	for _, p := range f.parts {
		p.told()
	}
	if f.session != nil {
		f.session.look.end(f.parts, true)
		f.b.sessions.release(f.session)
	}
}

func (f *fetchCall) addPartition(resp *kmsg.FetchResponse, p *fetchPart) {
	n := len(resp.Responses)
	if n == 0 || resp.Responses[n-1].Topic != p.key.topic || resp.Responses[n-1].TopicId != p.key.id {
		resp.Responses = resize(resp.Responses, n+1)
		t := &resp.Responses[n]
		*t = kmsg.FetchResponseFetchableTopicResponse{Topic: p.key.topic, TopicId: p.key.id, Partitions: t.Partitions[:0]}
		n++
	}
	t := &resp.Responses[n-1]
	out := kmsg.NewFetchResponsePartitionData()
	out.PartitionIndex = p.key.part
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = p.res.HighWatermark, p.res.LastStableOffset, p.res.LogStart
	out.Records.Bytes, out.AbortedTransactions = []byte{}, nil
	if p.err != nil {
		f.b.metrics.failedFetch.Add(1)
		out.ErrorCode = f.errorCode(p.err)
		f.hintLeader(resp, p, &out)
		if p.err == kerr.UnknownTopicID || p.err == kerr.UnknownTopicOrPartition || p.err == kerr.TopicAuthorizationFailed {
			// As Kafka: null stands for what the log was not asked for, empty for what there is no log of.
			out.AbortedTransactions = []kmsg.FetchResponseAbortedTransaction{}
		}
	}
	if p.diverging != nil {
		out.DivergingEpoch = *p.diverging
	}
	if p.err == nil {
		out.PreferredReadReplica = p.preferred
	}
	if f.isolation == partition.ReadCommitted && p.err == nil {
		out.AbortedTransactions = make([]kmsg.FetchResponseAbortedTransaction, len(p.res.Aborted))
		for i, a := range p.res.Aborted {
			out.AbortedTransactions[i] = kmsg.FetchResponseAbortedTransaction{
				ProducerId: a.ProducerID, FirstOffset: a.FirstOffset,
			}
		}
	}
	if p.res.Range != nil {
		if part, err := p.topic.Partition(p.key.part); err == nil {
			part.Sent(p.res.Range.Len(), f.replica >= 0)
		}
		out.Records = kmsg.Records{Ext: p.res.Range} // the connection releases it once it is sent
		p.res.Range = nil
	}
	t.Partitions = append(t.Partitions, out)
}

// hintLeader says who leads where the client asked the wrong broker or in an old epoch (KIP-951).
func (f *fetchCall) hintLeader(resp *kmsg.FetchResponse, p *fetchPart, out *kmsg.FetchResponsePartitionData) {
	if f.c.Version < 16 || out.ErrorCode != kerr.NotLeaderForPartition.Code && out.ErrorCode != kerr.FencedLeaderEpoch.Code {
		return
	}
	leader, epoch, n, ok := f.b.currentLeader(f.c.Conn, p.topic.Name, p.key.part)
	if !ok {
		return
	}
	out.CurrentLeader.LeaderId, out.CurrentLeader.LeaderEpoch = leader, epoch
	if leader < 0 || f.replica >= 0 {
		return
	}
	for _, e := range resp.NodeEndpoints {
		if e.NodeId == leader {
			return
		}
	}
	resp.NodeEndpoints = append(resp.NodeEndpoints, kmsg.FetchResponseNodeEndpoint{NodeId: n.ID, Host: n.Host, Port: n.Port, Rack: n.Rack})
}

// errorCode is code, in words that old clients know.
func (f *fetchCall) errorCode(err error) int16 {
	code := f.c.code(err)
	if code == kerr.KafkaStorageError.Code && f.c.Version <= 5 {
		return kerr.NotLeaderForPartition.Code
	}
	return code
}
