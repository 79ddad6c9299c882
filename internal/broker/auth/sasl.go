package auth

import (
	"sync/atomic"
	"time"
)

// Mechanism is one way to prove who one is (RFC 4422), from the server's side.
type Mechanism interface {
	// Name is the mechanism's name as clients ask for it.
	Name() string
	// Start begins a login.
	Start() Exchange
}

// Exchange is one login under way.
type Exchange interface {
	// Step takes what the client sent, and gives what it is sent next; done says that it is in. An error ends the login: a
	// *Refusal where the client may be told why.
	Step(token []byte) (answer []byte, done bool, err error)
	// User is who the client is; it holds once Step has said done.
	User() string
}

// Refusal is why a login failed, in words that the client may be told because they say nothing that it does not know.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

// Settings are what a listener asks for, as of now. They do not change once made.
type Settings struct {
	Mechanisms []Mechanism // in the order that clients are told
	// MaxReauth is how long a session lasts, by mechanism; one that is missing has no end.
	MaxReauth map[string]time.Duration
	// FailedDelay is the wait before a login that failed is answered and its connection closed.
	FailedDelay time.Duration
	// MaxReceiveBytes bounds a request of a client that has not logged in.
	MaxReceiveBytes int
	// HandshakeTimeout is how long a login may take; 0 is no limit.
	HandshakeTimeout time.Duration
}

// Mechanism finds an enabled mechanism, or nil.
func (s *Settings) Mechanism(name string) Mechanism {
	for _, m := range s.Mechanisms {
		if m.Name() == name {
			return m
		}
	}
	return nil
}

// Names are the enabled mechanisms.
func (s *Settings) Names() []string {
	names := make([]string, len(s.Mechanisms))
	for i, m := range s.Mechanisms {
		names[i] = m.Name()
	}
	return names
}

// Gate is a listener at which clients have to log in: its settings, which may change, and what has happened there.
type Gate struct {
	settings atomic.Pointer[Settings]
	counts   struct {
		logins, failures, again, failedAgain, expired, late atomic.Int64
		waiting                                             atomic.Int64
	}
}

// NewGate returns a gate with these settings.
func NewGate(s *Settings) *Gate {
	g := &Gate{}
	g.Set(s)
	return g
}

// Set changes the settings; logins under way go on with those they began with.
func (g *Gate) Set(s *Settings) { g.settings.Store(s) }

// Settings are those of now.
func (g *Gate) Settings() *Settings { return g.settings.Load() }

// Passed counts a login, again one of a client that was in already.
func (g *Gate) Passed(again bool) {
	if again {
		g.counts.again.Add(1)
		return
	}
	g.counts.logins.Add(1)
}

// Failed counts a login that failed.
func (g *Gate) Failed(again bool) {
	if again {
		g.counts.failedAgain.Add(1)
		return
	}
	g.counts.failures.Add(1)
}

// Expired counts a connection closed because its session had ended.
func (g *Gate) Expired() { g.counts.expired.Add(1) }

// Late counts a connection closed because its client took too long to log in.
func (g *Gate) Late() { g.counts.late.Add(1) }

// Waiting adds to the number of connections whose clients have not logged in yet.
func (g *Gate) Waiting(n int64) { g.counts.waiting.Add(n) }

// Counts are what has happened at a gate.
type Counts struct {
	Logins, Failures         int64
	Again, FailedAgain       int64 // of clients that were in already (KIP-368)
	ExpiredSessions, TooLate int64 // connections closed
	Waiting                  int64 // connections that have not logged in, now
}

// Counts reads the counters.
func (g *Gate) Counts() Counts {
	c := &g.counts
	return Counts{
		Logins: c.logins.Load(), Failures: c.failures.Load(), Again: c.again.Load(), FailedAgain: c.failedAgain.Load(),
		ExpiredSessions: c.expired.Load(), TooLate: c.late.Load(), Waiting: c.waiting.Load(),
	}
}
