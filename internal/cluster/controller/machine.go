package controller

import (
	"math/rand/v2"
	"strconv"

	"github.com/logstead/logstead/internal/cluster/balance"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// MaxRecordsPerOp is the most partitions that one request may create, as in Kafka.
const MaxRecordsPerOp = 10_000

// Config is what a Machine is made for.
type Config struct {
	NodeID int32
	Static *conf.Static
	// NewID makes the ids of topics; nil is base.NewTopicID.
	NewID func() base.TopicID
	// NextOffset is the offset of the metadata log that the next record will have; nil counts from
	// the image.
	NextOffset func() int64
	// KRaftVersion is 1 where the voters can change; it lives beside the metadata. nil is 0.
	KRaftVersion func() int16
	// Voters are the nodes of the quorum; nil is this one alone.
	Voters func() []int32
	// UpgradeVoters has a static quorum become one of kraft.version 1, or only says whether it could; nil is that it
	// cannot.
	UpgradeVoters func(dry bool) error
	// Own is the registration of the broker of this process, where it has no uplink; nil elsewhere.
	Own *Registration
	// MovedByHand hears of partitions that a request moves, also of one that does not come about in the
	// end; nil for nobody.
	MovedByHand func(balance.Key)
	// Random chooses where placement begins; nil is seeded by chance.
	Random *rand.Rand
}

// Request is the circumstances of an operation that the caller has looked at.
type Request struct {
	// Describable says whether the client may see the configs of a topic it creates; nil is always.
	Describable func(topic string) bool
	// Creatable, Deletable and Growable say which topics the client may create, delete and add partitions to, Visible which
	// it may know of; nil is all.
	Creatable, Deletable, Growable, Visible func(topic string) bool
	// Charge asks the quota of partition changes for n of them; its error is the item's. nil is free.
	Charge func(n int) error
}

func (r Request) describable(topic string) bool { return r.Describable == nil || r.Describable(topic) }

// may is a permission of a request; nil is given.
func may(permission func(topic string) bool, topic string) bool {
	return permission == nil || permission(topic)
}

func (r Request) charge(n int) error {
	if r.Charge == nil {
		return nil
	}
	return r.Charge(n)
}

// Machine decides. Its operations read the state and return records; Apply changes the state.
type Machine struct {
	cfg  Config
	im   *meta.Image // as of the last Cut
	edit *meta.Edit  // what was applied since, nil for nothing

	live      *conf.Live
	liveStale bool
	colliding map[string]map[string]bool // topics with '.' or '_', by their name with '_' for both
	leading   leading
	sessions  map[int32]*session // of the brokers, while this is the active controller
	looks     periodic           // at leaders, while this is the active controller
	applied   int64              // records since the last Cut
}

// NewMachine goes on from an image.
func NewMachine(cfg Config, im *meta.Image) *Machine {
	if cfg.NewID == nil {
		cfg.NewID = base.NewTopicID
	}
	if cfg.Random == nil {
		cfg.Random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	m := &Machine{cfg: cfg, im: im, liveStale: true, colliding: map[string]map[string]bool{}, leading: countLeading(im)}
	for t := range im.Topics() {
		m.noteName(t.Name)
	}
	return m
}

// image is the state with everything that was applied. It must not be kept.
func (m *Machine) image() *meta.Image {
	if m.edit != nil {
		return m.edit.Peek()
	}
	return m.im
}

// config is the configuration that the metadata gives this node.
func (m *Machine) config() *conf.Live {
	if m.liveStale {
		im := m.image()
		m.live = conf.NewLive(m.cfg.Static,
			im.Configs(meta.Resource{Type: meta.ResourceBroker}),
			im.Configs(meta.Resource{Type: meta.ResourceBroker, Name: m.nodeName()}))
		m.liveStale = false
	}
	return m.live
}

// nextOffset is where the records of the operation that is being decided will begin.
func (m *Machine) nextOffset() int64 {
	if m.cfg.NextOffset != nil {
		return m.cfg.NextOffset()
	}
	return m.im.Offset + 1 + m.applied
}

func (m *Machine) nodeName() string { return strconv.Itoa(int(m.cfg.NodeID)) }

// Apply takes in one record.
func (m *Machine) Apply(rec kmsg.Record) error {
	if m.edit == nil {
		m.edit = m.im.Edit()
	}
	gone := ""
	switch r := rec.(type) {
	case *kmsg.RemoveTopicRecord:
		if t := m.image().TopicByID(r.TopicId); t != nil {
			gone = t.Name
		}
	case *kmsg.ConfigRecord:
		m.liveStale = m.liveStale || meta.ResourceType(r.ResourceType) == meta.ResourceBroker
	}
	m.leading.follow(m.image(), rec)
	if err := m.edit.Apply(rec); err != nil {
		return err
	}
	m.applied++
	if t, ok := rec.(*kmsg.TopicRecord); ok {
		m.noteName(t.Name)
	}
	if gone != "" {
		m.forgetName(gone)
	}
	return nil
}

// Cut ends what was applied since the last Cut and returns it as an image, with what changed.
func (m *Machine) Cut(offset int64, epoch int32) (*meta.Image, meta.Delta) {
	if m.edit == nil {
		m.edit = m.im.Edit()
	}
	im, delta := m.edit.Image(offset, epoch)
	m.im, m.edit, m.applied = im, nil, 0
	return im, delta
}
