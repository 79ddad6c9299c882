package coord

import "time"

// hand is where a shard stands that has no goroutine (Options.ByHand).
type hand[M Machine] struct {
	s     *session[M] // nil: to be loaded
	again time.Time   // not before then
}

// Step does, in shards that are driven by hand, what their goroutines would do: it loads, gives the machines what waits
// and what is due, and ends what was unloaded. It is called after anything has happened, and from time to time.
func (s *Shards[M]) Step() {
	s.mu.Lock()
	list := s.mu.hands
	s.mu.hands = nil
	s.mu.Unlock()
	var keep []*shard[M]
	for _, sh := range list {
		if !sh.step() {
			keep = append(keep, sh)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.hands = append(keep, s.mu.hands...) // a step may have had others loaded
}

// step reports whether the shard has ended.
func (sh *shard[M]) step() (over bool) {
	if sh.halted() {
		if sh.hand.s != nil {
			sh.hand.s.end(lossError(nil))
		}
		sh.fail(sh.setStatus(statusNone), lossError(nil))
		close(sh.ended)
		return true
	}
	now := sh.rt.o.Clock.Now()
	if sh.hand.s == nil && now.Before(sh.hand.again) {
		return false
	}
	if err := sh.turn(); err != nil && !sh.halted() {
		sh.rt.metrics.failures.Inc()
		if sh.hand.s != nil {
			sh.hand.s.end(lossError(err))
		}
		sh.fail(sh.setStatus(statusFailed), lossError(err))
		sh.hand = hand[M]{again: now.Add(minRetryBackoff)}
	}
	return false
}

// turn loads the shard if need be, and gives it one round.
func (sh *shard[M]) turn() (err error) {
	if sh.hand.s == nil {
		sh.setStatus(statusLoading)
		s, err := sh.load()
		if err != nil {
			return err
		}
		sh.hand.s = s
		if err := s.begin(); err != nil {
			return err
		}
	}
	return sh.hand.s.round()
}
