package replica

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// Replica is a follower's side of a partition (partition.Partition).
type Replica interface {
	FollowerState() partition.FollowerState
	AppendAsFollower(records []byte, epoch int32, hw, logStart int64, now time.Time, s *storage.Settlement) error
	TruncateDiverged(epoch, leaderEpoch int32, leaderEnd int64) error
	TruncateTo(epoch int32, offset int64) error
	RestartAt(epoch int32, start int64) error
	FollowerThrottled() bool
}

// Throttle measures what throttled replicas fetch (quota.Replication).
type Throttle interface {
	Limited() bool
	Pause(now time.Time) time.Duration
	Record(now time.Time, bytes int)
}

// Limits bound a fetch and the waits between two.
type Limits struct {
	MaxWait           time.Duration // replica.fetch.wait.max.ms
	MinBytes          int32         // replica.fetch.min.bytes
	MaxBytes          int32         // replica.fetch.response.max.bytes
	MaxPartitionBytes int32         // replica.fetch.max.bytes
	Backoff           time.Duration // replica.fetch.backoff.ms: the longest pause after failures
}

// FetcherOptions are what NewFetcher needs.
type FetcherOptions struct {
	NodeID int32
	// BrokerEpoch is what this broker is registered under now (KIP-903).
	BrokerEpoch func() int64
	Limits      func() Limits
	// Failed hears of every failure of a partition, and how many there were in a row.
	Failed func(tp base.TopicPartition, err error, times int)
	// Throttle may be nil.
	Throttle Throttle
}

const (
	// backoffMin is the pause after a first failure; it doubles with each that follows.
	backoffMin = 20 * time.Millisecond
	// syncPatience is how long a fetch waits for partitions whose records are not synced yet. A disk that takes
	// longer holds up only them.
	syncPatience = 500 * time.Millisecond
)

// key names a partition on the wire.
type key struct {
	id    base.TopicID
	index int32
}

// position is what a fetch says of a partition.
type position struct {
	offset, logStart  int64
	lastEpoch, leader int32
}

// follower is one partition of a fetcher.
type follower struct {
	tp       base.TopicPartition
	key      key
	replica  Replica
	epoch    int32 // in which it follows
	until    time.Time
	failures int
	unsynced time.Time // since when records wait for their sync; zero for none
	ask      question
	known    bool // the leader's session has it, at told
	told     position
	dirty    bool // it must be looked at before the next fetch
	caughtUp bool // when last fetched: then it is not throttled
}

// question is what a follower must know before it can fetch.
type question int8

const (
	askNothing question = iota
	askEnd              // where the leader's log ends
	askStart            // where it begins
)

// Fetcher decides what to fetch from one leader. The zero value is of no use.
type Fetcher struct {
	o       FetcherOptions
	all     map[key]*follower
	known   int // of all, how many the leader's session has
	dirty   []*follower
	changed []*follower // of the last look; its memory is used again
	forget  []key       // the leader's session still has them
	session struct {
		id, epoch int32 // epoch 0: the next fetch begins a session
	}
	fetches  uint64 // how many there were
	flying   kmsg.Request
	asked    []*follower // by a ListOffsets that is under way
	settle   storage.Settlement
	until    time.Time // back-off from the leader as a whole
	failures int
}

// NewFetcher returns a fetcher that follows nothing.
func NewFetcher(o FetcherOptions) *Fetcher { return &Fetcher{o: o, all: map[key]*follower{}} }

// Add has a partition fetched from now on, in the leader epoch in which the replica follows. One that is
// there begins anew.
func (f *Fetcher) Add(tp base.TopicPartition, id base.TopicID, r Replica, epoch int32) {
	k := key{id, tp.Partition}
	f.Remove(id, tp.Partition)
	w := &follower{tp: tp, key: k, replica: r, epoch: epoch}
	f.all[k] = w
	f.touch(w)
}

// Remove has a partition no longer fetched. What is under way for it counts no more.
func (f *Fetcher) Remove(id base.TopicID, index int32) {
	k := key{id, index}
	w := f.all[k]
	if w == nil {
		return
	}
	f.drop(w)
	delete(f.all, k)
	w.replica = nil
}

// Len is how many partitions are fetched.
func (f *Fetcher) Len() int { return len(f.all) }

// drop takes a partition out of the leader's session.
func (f *Fetcher) drop(w *follower) {
	if w.known {
		w.known = false
		f.known--
		f.forget = append(f.forget, w.key)
	}
}

func (f *Fetcher) touch(w *follower) {
	if !w.dirty {
		w.dirty = true
		f.dirty = append(f.dirty, w)
	}
}

// Next is the request to send now, or nil and when to ask again (zero: after the next change). Its answer goes to
// Answer; until then there is no other.
func (f *Fetcher) Next(now time.Time) (req kmsg.Request, again time.Time) {
	if f.flying != nil || len(f.all) == 0 {
		return nil, time.Time{}
	}
	if now.Before(f.until) {
		return nil, f.until
	}
	f.dirty = slices.DeleteFunc(f.dirty, func(w *follower) bool { return w.replica == nil })
	if req := f.questions(now); req != nil {
		return f.sent(req), time.Time{}
	}
	if wait := f.awaitSync(now); !wait.IsZero() {
		return nil, wait
	}
	paused := f.throttle(now)
	changed, again := f.changes(now, paused)
	fetch := f.fetch(now, changed, again)
	if fetch == nil {
		return nil, again
	}
	return f.sent(fetch), time.Time{}
}

func (f *Fetcher) sent(req kmsg.Request) kmsg.Request {
	f.flying = req
	return req
}

// awaitSync says until when the next fetch waits for records that are being synced: they are worth a
// round of their own.
func (f *Fetcher) awaitSync(now time.Time) (until time.Time) {
	for _, w := range f.dirty {
		if now.Before(w.until) || w.replica.FollowerState().Stored {
			w.unsynced = time.Time{}
			continue
		}
		if w.unsynced.IsZero() {
			w.unsynced = now
		}
		if end := w.unsynced.Add(syncPatience); now.Before(end) {
			until = earlier(until, end)
		}
	}
	return until
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// throttle says until when throttled partitions pause that have not caught up; zero for no pause. It has all of
// them looked at, also those of which the leader's session would send more.
func (f *Fetcher) throttle(now time.Time) (until time.Time) {
	if f.o.Throttle == nil || !f.o.Throttle.Limited() {
		return time.Time{}
	}
	pause := f.o.Throttle.Pause(now)
	if pause == 0 {
		return time.Time{}
	}
	for _, w := range f.all {
		if !w.caughtUp && w.replica.FollowerThrottled() {
			f.touch(w)
		}
	}
	return now.Add(pause)
}

// changes brings what the leader is to know up to date. It returns whom the next fetch must name, and when
// the first of those that sit out may come back. paused is what throttle says.
func (f *Fetcher) changes(now, paused time.Time) (changed []*follower, again time.Time) {
	clear(f.changed)
	changed = f.changed[:0]
	rest := f.dirty[:0]
	for _, w := range f.dirty {
		at := w.replica.FollowerState()
		switch {
		case now.Before(w.until):
			again = earlier(again, w.until)
		case !at.Stored: // for longer than the patience: it comes back once it is synced
			again = earlier(again, now.Add(syncPatience))
		case !paused.IsZero() && !w.caughtUp && w.replica.FollowerThrottled():
			again = earlier(again, paused)
		default:
			w.dirty, w.unsynced = false, time.Time{}
			p := position{at.Offset, at.LogStart, at.Epoch, w.epoch}
			if !w.known || p != w.told {
				w.told = p
				changed = append(changed, w)
			}
			continue
		}
		f.drop(w)
		rest = append(rest, w)
	}
	clear(f.dirty[len(rest):])
	f.dirty, f.changed = rest, changed
	return changed, again
}

// fetch builds the request: of all that can be fetched where a session begins, of what changed where one
// goes on. nil where there is nothing to fetch.
func (f *Fetcher) fetch(now time.Time, changed []*follower, again time.Time) *kmsg.FetchRequest {
	l := f.o.Limits()
	req := kmsg.NewFetchRequest()
	req.ReplicaId = f.o.NodeID
	req.ReplicaState.ReplicaId, req.ReplicaState.ReplicaEpoch = f.o.NodeID, f.o.BrokerEpoch()
	req.MinBytes, req.MaxBytes = l.MinBytes, l.MaxBytes
	wait := l.MaxWait
	if !again.IsZero() { // who sits out is not to wait for a leader that has nothing
		wait = max(min(wait, again.Sub(now)), time.Millisecond)
	}
	req.MaxWaitMs = int32(wait.Milliseconds())
	req.SessionId, req.SessionEpoch = f.session.id, f.session.epoch
	list := changed
	if f.session.epoch == 0 {
		list = f.ready()
		f.forget = nil
	}
	if len(list) == 0 && f.known == 0 {
		return nil
	}
	f.fetches++
	for _, w := range list {
		if !w.known {
			w.known = true
			f.known++
		}
	}
	req.Topics = topics(list, l.MaxPartitionBytes)
	req.ForgottenTopicsData = f.forgotten()
	f.forget = nil
	return &req
}

// ready is everyone who may be fetched, each time from another one on.
func (f *Fetcher) ready() []*follower {
	list := make([]*follower, 0, len(f.all))
	for _, w := range f.all {
		if !w.dirty {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b *follower) int {
		return cmp.Or(strings.Compare(a.tp.Topic, b.tp.Topic), cmp.Compare(a.tp.Partition, b.tp.Partition))
	})
	if n := len(list); n > 0 { // a leader without sessions fills its answer from the front
		at := int(f.fetches % uint64(n))
		list = slices.Concat(list[at:], list[:at])
	}
	return list
}

// topics is the request's form of a list, which keeps its order.
func topics(list []*follower, maxBytes int32) (out []kmsg.FetchRequestFetchTopic) {
	for i, w := range list {
		if n := len(out); n == 0 || out[n-1].TopicId != w.key.id {
			more := slices.IndexFunc(list[i:], func(o *follower) bool { return o.key.id != w.key.id })
			if more < 0 {
				more = len(list) - i
			}
			out = append(out, kmsg.FetchRequestFetchTopic{
				Topic: w.tp.Topic, TopicId: w.key.id, Partitions: make([]kmsg.FetchRequestFetchPartition, 0, more),
			})
		}
		p := kmsg.NewFetchRequestFetchPartition()
		p.Partition, p.CurrentLeaderEpoch, p.FetchOffset = w.key.index, w.told.leader, w.told.offset
		p.LastFetchedEpoch, p.LogStartOffset, p.PartitionMaxBytes = w.told.lastEpoch, w.told.logStart, maxBytes
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return out
}

func (f *Fetcher) forgotten() (out []kmsg.FetchRequestForgottenTopic) {
	for _, k := range f.forget {
		if w := f.all[k]; w != nil && w.known {
			continue // it has come back
		}
		if n := len(out); n == 0 || out[n-1].TopicId != k.id {
			out = append(out, kmsg.FetchRequestForgottenTopic{TopicId: k.id})
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, k.index)
	}
	return out
}

// Cancelled says that the request under way was given up by this side.
func (f *Fetcher) Cancelled() {
	f.flying, f.asked = nil, nil
	f.endSession()
}

// endSession has the next fetch begin a session, in the place of the one there was.
func (f *Fetcher) endSession() {
	f.session.epoch = 0
	f.known, f.forget = 0, nil
	for _, w := range f.all {
		w.known = false
	}
}

// Unreachable says that the request under way got no answer.
func (f *Fetcher) Unreachable(now time.Time) {
	f.Cancelled()
	f.pause(now)
}

func (f *Fetcher) pause(now time.Time) {
	f.until = now.Add(f.backoff(f.failures))
	f.failures++
}

func (f *Fetcher) backoff(failures int) time.Duration {
	return min(backoffMin<<min(failures, 10), max(f.o.Limits().Backoff, backoffMin))
}

// fail has a partition sit out. The leader takes what it said of it for told: the next fetch to have it names it.
func (f *Fetcher) fail(w *follower, now time.Time, err error) {
	f.drop(w)
	w.until = now.Add(f.backoff(w.failures))
	w.failures++
	f.touch(w)
	f.o.Failed(w.tp, err, w.failures)
}

// Answer takes in the answer to the request under way.
func (f *Fetcher) Answer(now time.Time, resp kmsg.Response) {
	f.flying = nil
	switch r := resp.(type) {
	case *kmsg.FetchResponse:
		f.fetched(now, r)
	case *kmsg.ListOffsetsResponse:
		f.told(now, r)
	}
}

func (f *Fetcher) fetched(now time.Time, r *kmsg.FetchResponse) {
	if r.ErrorCode != 0 {
		f.endSession()
		switch r.ErrorCode {
		case kerr.FetchSessionIDNotFound.Code, kerr.InvalidFetchSessionEpoch.Code:
			f.session.id = 0
			if f.failures > 0 { // a leader that refuses new sessions too
				f.pause(now)
				return
			}
			f.failures++ // at once, the first time
		default:
			f.pause(now)
		}
		return
	}
	f.failures, f.until = 0, time.Time{}
	missed := false
	for i := range r.Responses {
		t := &r.Responses[i]
		for j := range t.Partitions {
			d := &t.Partitions[j]
			switch w := f.all[key{t.TopicId, d.PartitionIndex}]; {
			case w == nil:
			case w.known:
				f.take(w, now, d)
			default:
				missed = true
			}
		}
	}
	f.settle.Settle() // the next fetch waits for the disk anyway
	f.goOn(r.SessionId)
	if missed { // it began anew meanwhile, and the leader takes it for told
		f.endSession()
	}
}

// goOn notes the session that the leader has answered in.
func (f *Fetcher) goOn(id int32) {
	switch {
	case id == 0 || f.session.epoch > 0 && id != f.session.id: // it keeps none
		f.endSession()
		f.session.id = 0
	case f.session.epoch == 1<<31-1:
		f.session.epoch = 1
	default:
		f.session.id = id
		f.session.epoch++
	}
}

// take does what the leader says of one partition.
func (f *Fetcher) take(w *follower, now time.Time, d *kmsg.FetchResponsePartitionData) {
	var err error
	switch {
	case d.ErrorCode == kerr.OffsetOutOfRange.Code:
		w.ask = askEnd
		f.drop(w)
	case d.ErrorCode != 0:
		err = kerr.ErrorForCode(d.ErrorCode)
	case d.DivergingEpoch.Epoch >= 0 || d.DivergingEpoch.EndOffset >= 0:
		err = w.replica.TruncateDiverged(w.epoch, d.DivergingEpoch.Epoch, d.DivergingEpoch.EndOffset)
	default:
		err = f.append(w, now, d)
		if err == nil && len(d.Records.Bytes) == 0 && w.replica.FollowerState().LogStart == w.told.logStart {
			w.failures = 0
			return // it is where it was
		}
	}
	if err != nil {
		f.fail(w, now, err)
		return
	}
	if d.ErrorCode == 0 {
		w.failures = 0
	}
	f.touch(w)
}

func (f *Fetcher) append(w *follower, now time.Time, d *kmsg.FetchResponsePartitionData) error {
	if err := w.replica.AppendAsFollower(d.Records.Bytes, w.epoch, d.HighWatermark, d.LogStartOffset, now, &f.settle); err != nil {
		return err
	}
	if n := len(d.Records.Bytes); n > 0 && f.o.Throttle != nil && w.replica.FollowerThrottled() {
		f.o.Throttle.Record(now, n)
	}
	at := w.replica.FollowerState().Offset
	w.caughtUp = at >= d.HighWatermark
	if len(d.Records.Bytes) > 0 && at == w.told.offset {
		// Records of a later leader, or not one whole batch: to ask for them at once would change nothing.
		return errNoProgress
	}
	return nil
}
