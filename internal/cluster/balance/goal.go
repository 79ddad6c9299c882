package balance

import (
	"fmt"
	"math"
)

// Goal is something that brokers are to have the same of.
type Goal uint8

// The goals. Out is what leaders send, to consumers and followers, and counts where the preferred leader is.
const (
	Disk Goal = iota
	In
	Out
	Count
	Leaders
	goals
)

// AllGoals are those of a plan where nothing else is said.
func AllGoals() []Goal { return []Goal{Disk, In, Out, Count, Leaders} }

var goalNames = [goals]string{"disk", "bytes-in", "bytes-out", "count", "leaders"}

// GoalNames are the goals as configuration and commands call them.
func GoalNames() []string { return goalNames[:] }

func (g Goal) String() string { return goalNames[g] }

// ParseGoal finds a goal by its name.
func ParseGoal(name string) (Goal, bool) {
	for g, n := range goalNames {
		if n == name {
			return Goal(g), true
		}
	}
	return 0, false
}

// amounts are how much there is of each goal.
type amounts [goals]float64

func (l *Load) amounts() amounts {
	return amounts{float64(l.Bytes), float64(l.In), float64(l.Out), float64(l.Replicas), float64(l.Leaders)}
}

// amounts are what a replica brings to its broker.
func (p *Partition) amounts(first bool) amounts {
	a := amounts{Disk: float64(p.Bytes), In: float64(p.In), Count: 1}
	if first {
		a[Out], a[Leaders] = float64(p.Out), 1
	}
	return a
}

// scales are what the goals are measured in: the mean of the open brokers, or the floor where that is more.
// One that is zero is of a goal that is none, or that nobody has anything of.
type scales struct{ mean, unit amounts }

// off is how far a broker is from the mean, in units.
func (s *scales) off(a amounts) (out amounts) {
	for g := range a {
		if s.unit[g] > 0 {
			out[g] = (a[g] - s.mean[g]) / s.unit[g]
		}
	}
	return out
}

// weight is the sum of squares.
func (s *scales) weight(a amounts) (sum float64) {
	for _, d := range s.off(a) {
		sum += d * d
	}
	return sum
}

// gain is how much smaller the sum of squares becomes when so much goes from one broker to another, and how much
// of that is of other goals than leaders; share is the largest share of a unit that goes.
func (s *scales) gain(from, to, moved *amounts) (gain, copied, share float64) {
	for g := range moved {
		if s.unit[g] > 0 && moved[g] != 0 {
			d := moved[g] / s.unit[g]
			gain += 2 * d * ((from[g]-to[g])/s.unit[g] - d)
			share = max(share, d)
		}
		if Goal(g) < Leaders {
			copied = gain
		}
	}
	return gain, copied, share
}

// outside says for one goal whether an amount is above or below what the tolerance allows; the whole numbers
// of replicas next to the mean are always allowed.
func (s *scales) outside(g Goal, amount, tolerance float64) (above, below bool) {
	if s.unit[g] == 0 {
		return false, false
	}
	most, least := s.mean[g]+tolerance*s.unit[g], s.mean[g]-tolerance*s.unit[g]
	if g == Count {
		most, least = math.Max(math.Ceil(s.mean[g]), math.Floor(most)), math.Min(math.Floor(s.mean[g]), math.Ceil(least))
	}
	return amount > most, amount < least
}

// worst is the goal by which an amount is farthest off, and how far.
func (s *scales) worst(a amounts) (Goal, float64) {
	worst, far := Goal(0), 0.0
	for g, d := range s.off(a) {
		if math.Abs(d) > math.Abs(far) {
			worst, far = Goal(g), d
		}
	}
	return worst, far
}

// reason says in a few words what a step is good for: the goal that gains most by it.
func (s *scales) reason(from, to int32, before, after, moved *amounts) string {
	best, most := Goal(0), math.Inf(-1)
	for g := range moved {
		if s.unit[g] == 0 || moved[g] == 0 {
			continue
		}
		d := moved[g] / s.unit[g]
		if gain := d * ((before[g]-after[g])/s.unit[g] - d); gain > most {
			best, most = Goal(g), gain
		}
	}
	f, t := s.off(*before)[best], s.off(*after)[best]
	return fmt.Sprintf("%s: broker %d %+.0f%%, broker %d %+.0f%%", best, from, 100*f, to, 100*t)
}
