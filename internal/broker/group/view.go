package group

import (
	"time"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/kit/base"
)

// View is one group as metrics show it.
type View struct {
	ID, Kind, State string
	Members         int
	Offsets         []OffsetView // by topic and partition
}

// OffsetView is one committed offset.
type OffsetView struct {
	base.TopicPartition
	Offset int64
}

// Views lists the shard's groups in order, as far as their state is committed.
func (m *Machine) Views(now time.Time, answer func([]View, error)) coord.Result {
	m.begin(now)
	views := make([]View, 0, len(m.groups))
	for _, id := range sortedKeys(m.groups) {
		g := m.groups[id]
		v := View{ID: id, Kind: g.kind(), State: g.stateName(), Members: g.size()}
		m.offsets.groups[id].all(func(tp base.TopicPartition, c *commit) {
			v.Offsets = append(v.Offsets, OffsetView{tp, c.offset})
		})
		views = append(views, v)
	}
	return read(views, answer)
}
