package quota

import (
	"sync/atomic"
	"time"
)

// connections limit how fast connections are made (KIP-612): max.connection.creation.rate for the
// broker, connection_creation_rate for an address.
type connections struct {
	perSecond atomic.Int32 // of the broker; 0 is without a limit
	broker    sensor
	byIP      atomic.Pointer[map[string]float64] // "" is any other address
}

// SetConnectionRates replaces the limits; perSecond 0 is none, and byIP[""] is that of any other address.
func (m *Manager) SetConnectionRates(perSecond int32, byIP map[string]float64) {
	m.connections.perSecond.Store(perSecond)
	m.connections.byIP.Store(&byIP)
}

// Connect notes a new connection. Above the broker's limit the listener has to pause before it takes
// it; above its address's it is refused, and closed only after a while, so that it is not tried again
// at once. Both are one window at most.
func (m *Manager) Connect(now time.Time, ip string) (pause, refused time.Duration) {
	c := &m.connections
	perSecond := c.perSecond.Load()
	if perSecond > 0 {
		pause = m.connect(now, &c.broker, float64(perSecond))
	}
	byIP := c.byIP.Load()
	if byIP == nil || len(*byIP) == 0 {
		return pause, 0
	}
	limit, ok := (*byIP)[ip]
	if !ok {
		if limit, ok = (*byIP)[""]; !ok {
			return pause, 0
		}
	}
	s := m.sensorOf(now, connection, sensorKey{user: ip})
	if refused = m.connect(now, s, limit); refused > 0 {
		m.disconnect(now, s) // one that is refused does not count
		if perSecond > 0 {
			m.disconnect(now, &c.broker)
		}
	}
	return pause, refused
}

func (m *Manager) connect(now time.Time, s *sensor, limit float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.used = now
	s.mu.rate.record(m.o.Window, 1, now.UnixMilli())
	return min(s.mu.rate.throttle(m.o.Window, limit, now.UnixMilli()), m.o.Window.Size)
}

func (m *Manager) disconnect(now time.Time, s *sensor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.rate.record(m.o.Window, -1, now.UnixMilli())
}
