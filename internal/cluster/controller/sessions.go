package controller

import (
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// session is what the active controller remembers of a broker besides the metadata: forgotten when
// it steps down, begun anew by the next (Begin).
type session struct {
	contact   time.Time // of the last heartbeat; zero for a broker that is gone, for all that is known
	suspected time.Time // when its connection broke, zero if it has been heard of since
	offset    int64     // up to which it has applied the metadata, -1 if it has not said
	// registered is the offset that it must have applied before it is unfenced.
	registered int64
	// stopsAt is the offset that others must have applied before it may stop; -1 if it does not stop.
	stopsAt int64
	// heard says that it registered or sent a heartbeat since this controller began.
	heard bool
	// local is a broker in this process that sends no heartbeats: it lives as long as this.
	local bool
}

// Begin makes this the active controller: every broker has a whole session time to report.
func (m *Machine) Begin(now time.Time) []kmsg.Record {
	m.sessions = map[int32]*session{}
	for _, b := range m.image().Brokers() {
		s := newSession(now, b.Epoch)
		if b.Fenced { // nobody says that it is still there
			s.contact = time.Time{}
		}
		m.sessions[b.ID] = s
	}
	m.beginPeriodic(now)
	// A partition that could have a leader gets one, whatever the predecessor came to.
	return m.updatePartitions(noUpdate, leaderless)
}

// HeardBefore says when a node that is broker and controller was last heard of as the leader of the quorum, before
// this controller began: its session ends so long after that, and not a whole time after the election. At least half
// of it is left to report in.
func (m *Machine) HeardBefore(now time.Time, id int32, at time.Time) {
	s := m.sessions[id]
	if s == nil || s.heard {
		return
	}
	if soonest := now.Add(-m.config().Duration("broker.session.timeout.ms") / 2); at.Before(soonest) {
		at = soonest
	}
	if at.Before(s.contact) {
		s.contact = at
	}
}

func newSession(now time.Time, registered int64) *session {
	return &session{contact: now, offset: -1, registered: registered, stopsAt: -1}
}

// sessionOf is the session of a registered broker.
func (m *Machine) sessionOf(now time.Time, id int32) *session {
	if m.sessions == nil {
		m.sessions = map[int32]*session{}
	}
	s := m.sessions[id]
	if s == nil {
		s = newSession(now, m.image().Broker(id).Epoch)
		m.sessions[id] = s
	}
	return s
}

// expiry is when a broker that is not heard of any more is fenced.
func (m *Machine) expiry(s *session) time.Time {
	at := s.contact.Add(m.config().Duration("broker.session.timeout.ms"))
	if !s.suspected.IsZero() {
		if soon := s.suspected.Add(m.config().Duration("logstead.broker.suspect.timeout.ms")); soon.Before(at) {
			at = soon
		}
	}
	return at
}

// Tick does what is due: it fences the broker that has been silent longest, one at a time, so that
// the next is decided on what that has changed, and looks at leaders. next is when to call it again, at
// the latest; zero is never.
func (m *Machine) Tick(now time.Time) (records []kmsg.Record, next time.Time) {
	if records, next = m.fenceSilent(now); len(records) > 0 {
		return records, next
	}
	records = m.lookAtLeaders(now)
	if at := m.looks.next(); next.IsZero() || !at.IsZero() && at.Before(next) {
		next = at
	}
	return records, next
}

func (m *Machine) fenceSilent(now time.Time) (records []kmsg.Record, next time.Time) {
	stale, staleAt := noBroker, time.Time{}
	for _, b := range m.image().Brokers() {
		s := m.sessions[b.ID]
		if b.Fenced || s == nil || s.local {
			continue
		}
		at := m.expiry(s)
		if !at.After(now) && (stale == noBroker || at.Before(staleAt)) {
			stale, staleAt = b.ID, at
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if stale == noBroker {
		return nil, next
	}
	return m.fence(stale), now
}

// Suspect says that the connection to a broker broke. Unless the broker is heard of very soon, it is
// fenced without waiting for the end of its session: a process that was killed is noticed at once,
// one whose connection only broke sends its next heartbeat over a new one.
func (m *Machine) Suspect(now time.Time, id int32, epoch int64) {
	b := m.image().Broker(id)
	if b == nil || b.Epoch != epoch {
		return
	}
	if s := m.sessionOf(now, id); s.suspected.IsZero() {
		s.suspected = now
	}
}

// hasSession says whether the incarnation of a broker that is registered is alive. One that is fenced is too
// while it reports: an earlier one that comes late does not take its place.
func (m *Machine) hasSession(now time.Time, id int32) bool {
	b, s := m.image().Broker(id), m.sessions[id]
	return b != nil && s != nil && (s.local || !s.contact.IsZero() && !m.expiry(s).Before(now))
}
