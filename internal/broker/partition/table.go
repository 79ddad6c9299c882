package partition

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

var errClosed = kerr.NotLeaderForPartition

// Table is all partitions of this broker, by name and by topic id. Readers take no lock for longer
// than one map look-up.
type Table struct {
	mu struct {
		sync.RWMutex
		byName map[string]*Topic
		byID   map[base.TopicID]*Topic
	}
}

// Topic is one topic as this broker has it. Parts is indexed by partition and holds nil for those that
// are on other brokers only; the slice is never changed, only replaced.
type Topic struct {
	Name  string
	ID    base.TopicID
	Parts []*Partition
}

// NewTable returns an empty table.
func NewTable() *Table {
	t := &Table{}
	t.mu.byName = map[string]*Topic{}
	t.mu.byID = map[base.TopicID]*Topic{}
	return t
}

// Topic finds a topic by name.
func (t *Table) Topic(name string) *Topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mu.byName[name]
}

// TopicByID finds a topic by id.
func (t *Table) TopicByID(id base.TopicID) *Topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mu.byID[id]
}

// Get finds one partition.
func (t *Table) Get(tp base.TopicPartition) (*Partition, error) {
	return t.Topic(tp.Topic).Partition(tp.Partition)
}

// Partition finds one partition of a topic; t may be nil. One that exists but is not here is another
// broker's.
func (t *Topic) Partition(i int32) (*Partition, error) {
	if t == nil || i < 0 || int(i) >= len(t.Parts) {
		return nil, kerr.UnknownTopicOrPartition
	}
	if t.Parts[i] == nil {
		return nil, kerr.NotLeaderForPartition
	}
	return t.Parts[i], nil
}

// Put adds or replaces a topic.
func (t *Table) Put(topic *Topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.byName[topic.Name] = topic
	t.mu.byID[topic.ID] = topic
}

// Remove takes a topic out and returns it, or nil.
func (t *Table) Remove(name string) *Topic {
	t.mu.Lock()
	defer t.mu.Unlock()
	topic := t.mu.byName[name]
	if topic != nil {
		delete(t.mu.byName, name)
		delete(t.mu.byID, topic.ID)
	}
	return topic
}

// All lists every partition, in no particular order.
func (t *Table) All() []*Partition {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []*Partition
	for _, topic := range t.mu.byName {
		for _, p := range topic.Parts {
			if p != nil {
				all = append(all, p)
			}
		}
	}
	return all
}
