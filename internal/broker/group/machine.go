package group

import (
	"bytes"
	"fmt"
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// tickRecords bounds how many records one Tick writes, so that expiry of a large group does not
// outgrow a batch. What is left stays due.
const tickRecords = 1000

// Options is what a Machine needs from outside.
type Options struct {
	Config Config
	// GroupConfig returns the settings of one group that differ from Config. It may be nil.
	GroupConfig func(group string) GroupConfig
	// Topics returns the newest view of the topics. It is called once for each input.
	Topics func() Topics
	// NewID returns a fresh random UUID in its 36-character form.
	NewID func() string
	// Events tells of what happens to groups. Each field may be nil.
	Events Events
}

// Context says on whose behalf a request is handled.
type Context struct {
	ClientID   string
	ClientHost string // as Kafka stores it: "/127.0.0.1"
	Version    int16  // of the request
	// CanDescribe says which topics the client may see. Nil means all.
	CanDescribe func(topic string) bool
}

// Machine is the group coordinator of one shard.
type Machine struct {
	opts    Options
	groups  map[string]group
	offsets offsets
	timers  timers
	loaded  bool

	now    time.Time // of the input that is being handled
	topics Topics

	// converted are classic groups that a consumer group is being turned into: made by a handler,
	// moved into groups when their record is replayed.
	converted map[string]*classicGroup
	expiry    expiryScan
	deleted   []Topic // topics whose offsets are still to be removed
}

var _ coord.Machine = (*Machine)(nil)

// New returns the machine of an empty shard. Replay and Loaded come next.
func New(opts Options) *Machine {
	if opts.GroupConfig == nil {
		opts.GroupConfig = func(string) GroupConfig { return GroupConfig{} }
	}
	return &Machine{
		opts:      opts,
		groups:    map[string]group{},
		offsets:   newOffsets(),
		timers:    newTimers(),
		converted: map[string]*classicGroup{},
	}
}

// group is what classic and consumer groups have in common.
type group interface {
	groupID() string
	kind() string
	protocol() string
	stateName() string
	size() int
	empty() bool
	// subscribed reports whether a member may be reading the topic, so its offsets must stay.
	subscribed(topic string) bool
	// expiresFrom is the time in milliseconds from which a commit's retention counts; false if the
	// group's commits do not expire now.
	expiresFrom(c *commit) (int64, bool)
	checkOffsetDelete() *failure
	// tombstones removes the group.
	tombstones(out *output)
}

// begin takes note of when an input is handled and what the topics look like then.
func (m *Machine) begin(now time.Time) {
	m.now = now
	m.topics = m.opts.Topics()
}

// nowMs is the time of the input as records hold it.
func (m *Machine) nowMs() int64 { return m.now.UnixMilli() }

func (m *Machine) after(ms int32) time.Time { return m.now.Add(time.Duration(ms) * time.Millisecond) }

func (m *Machine) classic(id string) *classicGroup {
	g, _ := m.groups[id].(*classicGroup)
	return g
}

func (m *Machine) consumer(id string) *consumerGroup {
	g, _ := m.groups[id].(*consumerGroup)
	return g
}

// Loaded starts the sessions of all members that the log knows: they have a full session from now on.
func (m *Machine) Loaded(now time.Time) coord.Result {
	m.begin(now)
	m.loaded = true
	var out output
	for _, id := range sortedKeys(m.groups) {
		switch g := m.groups[id].(type) {
		case *classicGroup:
			m.startClassic(g, &out)
		case *consumerGroup:
			m.startConsumer(g)
		}
	}
	m.scheduleExpiry(m.opts.Config.OffsetsRetentionCheckInterval)
	return out.result()
}

// Tick fires the timers that are due. A group gets at most one timer that writes records in a Tick,
// because the next one must see those records replayed.
func (m *Machine) Tick(now time.Time) (coord.Result, time.Time) {
	m.begin(now)
	var out output
	wrote := map[string]struct{}{}
	for len(out.records) < tickRecords {
		t := m.timers.first()
		if t == nil || t.at.After(now) {
			break
		}
		if _, ok := wrote[t.key.group]; ok || t.key.kind == timerExpiry && len(wrote) > 0 {
			break
		}
		m.timers.cancel(t.key)
		n := len(out.records)
		m.fire(t, &out)
		if len(out.records) > n {
			wrote[t.key.group] = struct{}{}
			if t.key.kind == timerExpiry {
				break
			}
		}
	}
	var next time.Time
	if t := m.timers.first(); t != nil {
		next = t.at
	}
	return out.result(), next
}

func (m *Machine) fire(t *timer, out *output) {
	switch t.key.kind {
	case timerSession:
		m.sessionExpired(t, out)
	case timerJoin:
		m.joinEnds(t, out)
	case timerSync:
		m.syncExpired(t, out)
	case timerMember, timerRejoin, timerResync:
		m.memberExpired(t, out)
	case timerRevoke:
		m.revocationExpired(t, out)
	case timerRegex:
		m.resolveRegexes(t, out)
	case timerExpiry:
		m.expire(out)
	}
}

// Unload fails everything that is parked. The shard's next owner has the records.
func (m *Machine) Unload(err error) {
	f := appendFailure(err)
	for _, id := range sortedKeys(m.groups) {
		if g := m.classic(id); g != nil {
			g.failJoins(f)
			g.failSyncs(f)
		}
	}
	m.groups = map[string]group{}
	m.timers = newTimers()
	m.loaded = false
}

// ReplayMarker ends the transaction of a producer: what it committed becomes visible, or goes.
func (m *Machine) ReplayMarker(txn coord.Txn, commit bool) {
	m.offsets.endTxn(txn.ProducerID, commit)
}

// Record types in __consumer_offsets that this machine understands. Those of share and streams
// groups are left alone: they stay in the log.
const (
	recordLegacyOffset     = 0
	recordOffset           = 1
	recordClassic          = 2
	recordConsumerEpoch    = 3
	recordConsumerTopics   = 4
	recordConsumerMember   = 5
	recordConsumerTargets  = 6
	recordConsumerTarget   = 7
	recordConsumerCurrent  = 8
	recordConsumerRegex    = 16
	recordFirstUnknownType = 24
)

// Replay applies one record. Byte fields are copied: a record must not pin the batch it came in.
func (m *Machine) Replay(offset int64, txn coord.Txn, rec coord.Record) error {
	kind, err := kmsg.KeyType(rec.Key)
	if err != nil {
		return err
	}
	switch kind {
	case recordLegacyOffset:
		return replay(rec, func(k *kmsg.LegacyOffsetCommitKey, v *kmsg.OffsetCommitValue) {
			m.replayOffset(offset, txn, k.Group, base.TopicPartition{Topic: k.Topic, Partition: k.Partition}, v)
		})
	case recordOffset:
		return replay(rec, func(k *kmsg.OffsetCommitKey, v *kmsg.OffsetCommitValue) {
			m.replayOffset(offset, txn, k.Group, base.TopicPartition{Topic: k.Topic, Partition: k.Partition}, v)
		})
	case recordClassic:
		return replay(rec, m.replayClassic)
	case recordConsumerEpoch:
		return replay(rec, m.replayEpoch)
	case recordConsumerTopics:
		return replay(rec, m.replayTopics)
	case recordConsumerMember:
		return replay(rec, m.replayMember)
	case recordConsumerTargets:
		return replay(rec, m.replayTargets)
	case recordConsumerTarget:
		return replay(rec, m.replayTarget)
	case recordConsumerCurrent:
		return replay(rec, m.replayCurrent)
	case recordConsumerRegex:
		return replay(rec, m.replayRegex)
	}
	if kind < 0 || kind >= recordFirstUnknownType {
		return fmt.Errorf("replay record of type %d in __consumer_offsets: want 0-%d", kind, recordFirstUnknownType-1)
	}
	return nil
}

type recordPtr[T any] interface {
	*T
	kmsg.Record
}

type messagePtr[T any] interface {
	*T
	kmsg.Message
}

// replay decodes a record and hands it to apply, with a nil value for a tombstone.
func replay[K, V any, KP recordPtr[K], VP messagePtr[V]](rec coord.Record, apply func(*K, *V)) error {
	k := KP(new(K))
	if err := kmsg.ReadKey(rec.Key, k); err != nil {
		return err
	}
	if rec.Value == nil {
		apply(k, nil)
		return nil
	}
	v := VP(new(V))
	if _, err := kmsg.ReadVersioned(bytes.Clone(rec.Value), v); err != nil {
		return err
	}
	apply(k, v)
	return nil
}
