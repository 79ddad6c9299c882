package partition

import (
	"fmt"
	"slices"
	"time"
)

// Missing is a replica that is not in sync though its broker is there, and why.
type Missing struct {
	ID  int32
	Why string
}

// Missing are the replicas of a partition led here that could be in sync and do not come nearer to it: they have not fetched for
// longer than patience, or have all that they need and are not let in. It is asked at intervals: what was asked of the controller
// before the last call and is not answered by the next one counts. A follower that only has much to fetch is none of them.
func (p *Partition) Missing(now time.Time, patience time.Duration) (list []Missing) {
	c := p.cluster.Load()
	if c == nil || !p.remoted.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.mu.repl
	if !p.leads.Load() || p.closed.Load() || len(r.state.ISR) >= len(r.state.Replicas) {
		return nil
	}
	late := r.proposed != nil && r.asked == r.looked
	r.looked = r.asked
	for i := range r.remotes {
		m := &r.remotes[i]
		if slices.Contains(r.state.ISR, m.id) || !c.Eligible(m.id, -1) {
			continue
		}
		if why := p.whyMissing(m, now, patience, late); why != "" {
			list = append(list, Missing{m.id, why})
		}
	}
	return list
}

func (p *Partition) whyMissing(m *remote, now time.Time, patience time.Duration, late bool) string {
	r := &p.mu.repl
	switch {
	case m.end < 0 && now.Sub(m.caughtUp) > patience:
		return fmt.Sprintf("it has not fetched in leader epoch %d", r.state.LeaderEpoch)
	case m.end >= 0 && now.Sub(m.fetched) > patience:
		return fmt.Sprintf("it has not fetched for %v", now.Sub(m.fetched).Round(time.Second))
	case m.end < p.Log().HighWatermark() || m.end < r.begin:
		return "" // it is on its way
	case late:
		return fmt.Sprintf("the controller has not taken the in-sync set that it was asked for, %v", r.proposed)
	case !p.cluster.Load().Eligible(m.id, m.epoch):
		return fmt.Sprintf("it fetches under broker epoch %d, and its broker is registered under another", m.epoch)
	}
	return ""
}
