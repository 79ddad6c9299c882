package quota

import (
	"sync"
	"sync/atomic"
	"time"
)

// Options of New.
type Options struct {
	Window   Window // of the client quotas
	Mutation Window // of the controller's (controller.quota.window.*)
	// MaxSensors bounds the entities that are measured at once. Further ones share a sensor.
	MaxSensors int
}

const (
	defaultMaxSensors = 100_000
	sensorIdle        = time.Hour // Kafka's expiry of sensors
	sweepInterval     = time.Minute
)

// DefaultWindow is Kafka's.
var DefaultWindow = Window{Samples: 11, Size: time.Second}

// Manager measures all clients of one broker.
type Manager struct {
	o      Options
	limits atomic.Pointer[Limits]

	connections connections

	mu struct {
		sync.Mutex
		sensors [sensorKinds]map[sensorKey]*sensor
		count   int
		swept   time.Time
	}
}

// sensor measures one entity in one respect.
type sensor struct {
	mu struct {
		sync.Mutex
		rate   rate
		bucket bucket
		used   time.Time
	}
}

// New makes a manager without limits.
func New(o Options) *Manager {
	if o.Window.Samples <= 0 || o.Window.Size <= 0 {
		o.Window = DefaultWindow
	}
	if o.Mutation.Samples <= 0 || o.Mutation.Size <= 0 {
		o.Mutation = DefaultWindow
	}
	if o.MaxSensors <= 0 {
		o.MaxSensors = defaultMaxSensors
	}
	m := &Manager{o: o}
	m.limits.Store(&Limits{})
	return m
}

// SetLimits replaces the quotas.
func (m *Manager) SetLimits(l *Limits) { m.limits.Store(l) }

// Any tells whether any quota is set at all.
func (m *Manager) Any() bool { return m.limits.Load().any }

// Enabled tells whether any quota of the kind is set.
func (m *Manager) Enabled(k Kind) bool { return len(m.limits.Load().byKind[k]) > 0 }

// Record notes what a client has used of Produce or Fetch bytes, or of Request percent-seconds, and
// returns for how long it has to be throttled. A request quota throttles for one window at most.
func (m *Manager) Record(now time.Time, k Kind, user, clientID string, value float64) time.Duration {
	limit, s := m.sensor(now, k, user, clientID)
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.used = now
	s.mu.rate.record(m.o.Window, value, now.UnixMilli())
	wait := s.mu.rate.throttle(m.o.Window, limit, now.UnixMilli())
	if k == Request {
		wait = min(wait, m.o.Window.Size)
	}
	return wait
}

// Unrecord takes back what was recorded for an answer that is not sent: a throttled fetch gets an
// empty one.
func (m *Manager) Unrecord(now time.Time, k Kind, user, clientID string, value float64) {
	if _, s := m.sensor(now, k, user, clientID); s != nil {
		s.mu.Lock()
		s.mu.rate.record(m.o.Window, -value, now.UnixMilli())
		s.mu.Unlock()
	}
}

// MaxInWindow is the most that a client can use at once without being throttled for certain; ok is
// false without a quota. A fetch is cut down to it.
func (m *Manager) MaxInWindow(k Kind, user, clientID string) (value float64, ok bool) {
	limit, _, ok := m.limits.Load().find(k, user, clientID)
	return limit * float64(m.o.Window.Samples-1) * m.o.Window.Size.Seconds(), ok
}

// RequestPercent is what a request that took d of one processor counts for.
func RequestPercent(d time.Duration) float64 { return 100 * d.Seconds() }

// Mutations is the controller mutation quota of one request. A strict one refuses what comes after
// the quota is used up, a permissive one only makes the client wait (KIP-599: for request versions
// that do not know THROTTLING_QUOTA_EXCEEDED).
type Mutations struct {
	m      *Manager
	s      *sensor
	limit  float64
	strict bool

	throttle time.Duration
	at       time.Time
}

// Mutations opens the quota for one request.
func (m *Manager) Mutations(now time.Time, user, clientID string, strict bool) *Mutations {
	limit, s := m.sensor(now, Mutation, user, clientID)
	return &Mutations{m: m, s: s, limit: limit, strict: strict}
}

// Take takes permits, one for each partition created or deleted. It returns false when the request
// must be refused with THROTTLING_QUOTA_EXCEEDED.
func (q *Mutations) Take(now time.Time, permits float64) bool {
	if q.s == nil {
		return true
	}
	w := q.m.o.Mutation
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.s.mu.used = now
	b := &q.s.mu.bucket
	b.refill(w, q.limit, now.UnixMilli())
	if q.strict {
		if wait := b.wait(q.limit); wait > 0 {
			q.throttle, q.at = wait, now
			return false
		}
		b.tokens -= permits
		return true
	}
	b.tokens -= permits
	if wait := b.wait(q.limit); wait > 0 {
		q.throttle, q.at = wait, now
	}
	return true
}

// Throttle is how long the client has to wait, counted from now.
func (q *Mutations) Throttle(now time.Time) time.Duration {
	return max(0, q.throttle-now.Sub(q.at))
}

// sensor finds the client's quota and its sensor; nil without a quota.
func (m *Manager) sensor(now time.Time, k Kind, user, clientID string) (float64, *sensor) {
	limit, key, ok := m.limits.Load().find(k, user, clientID)
	if !ok {
		return 0, nil
	}
	return limit, m.sensorOf(now, k, key)
}

// sensorOf finds or makes a sensor.
func (m *Manager) sensorOf(now time.Time, k Kind, key sensorKey) *sensor {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.mu.sensors[k][key]
	if s != nil {
		return s
	}
	m.sweepLocked(now)
	if m.mu.count >= m.o.MaxSensors {
		// Too many client ids: they share, which cannot be worse for the broker than their quota.
		if key = (sensorKey{user: key.user}); m.mu.sensors[k][key] != nil {
			return m.mu.sensors[k][key]
		}
		if m.mu.count >= 2*m.o.MaxSensors {
			key = sensorKey{}
			if s := m.mu.sensors[k][key]; s != nil {
				return s
			}
		}
	}
	s = &sensor{}
	s.mu.used = now
	if m.mu.sensors[k] == nil {
		m.mu.sensors[k] = map[sensorKey]*sensor{}
	}
	m.mu.sensors[k][key] = s
	m.mu.count++
	return s
}

// sweepLocked forgets entities that were not seen for long.
func (m *Manager) sweepLocked(now time.Time) {
	if now.Sub(m.mu.swept) < sweepInterval {
		return
	}
	m.mu.swept = now
	for k := range m.mu.sensors {
		for key, s := range m.mu.sensors[k] {
			if s.idleSince(now.Add(-sensorIdle)) {
				delete(m.mu.sensors[k], key)
				m.mu.count--
			}
		}
	}
}

func (s *sensor) idleSince(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.used.Before(t)
}
