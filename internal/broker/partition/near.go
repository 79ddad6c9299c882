package partition

import "slices"

// NearReplica is the follower that a consumer at offset should rather read from, of those that near allows:
// in sync, with that offset, and the one that has most. -1 where there is none, or where this replica
// does not lead.
func (p *Partition) NearReplica(offset int64, near func(broker int32) bool) int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leads.Load() || !p.remoted.Load() {
		return -1
	}
	r := &p.mu.repl
	var best *remote
	for i := range r.remotes {
		m := &r.remotes[i]
		if m.end < offset || m.start > offset || !slices.Contains(r.state.ISR, m.id) || !near(m.id) {
			continue
		}
		if best == nil || m.nearer(best) {
			best = m
		}
	}
	if best == nil {
		return -1
	}
	return best.id
}

// nearer says whether consumers are sent to m rather than to another replica as near.
func (m *remote) nearer(other *remote) bool {
	switch {
	case m.end != other.end:
		return m.end > other.end
	case !m.caughtUp.Equal(other.caughtUp):
		return m.caughtUp.After(other.caughtUp)
	}
	return m.id > other.id
}
