package replica

import (
	"time"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// GiveUpAfter is how long a fetch is left to wait at the leader once other partitions have come to follow
// it: longer than an answer takes that is on its way, shorter than anybody's patience.
const GiveUpAfter = 10 * time.Millisecond

// NoEpoch stands for "no longer fetched".
const NoEpoch int32 = -1

// Member is a replica under the names that a fetch has for it.
type Member struct {
	TP      base.TopicPartition
	ID      base.TopicID
	Replica Replica
}

// change is that a replica is followed in a leader epoch, or with NoEpoch no longer. A replica that was dropped and one that was
// made anew in its place are two, of one key.
type change struct {
	Member
	epoch int32
}

// Course is what one loop has been told and has under way: when it takes up whom to fetch, and when it gives up a fetch that
// waits at the leader. It has no goroutine, lock or clock; whoever drives it has a Fetcher beside it:
//
//	Take, Fetcher.Next, and where there is a request: Depart, send it, Arrive, Fetcher.Landed; again.
//
// Meanwhile it is told by others, at any moment: Tell, Wake, End. The zero value has been told nothing.
type Course struct {
	changes  []change    // what was said last of each partition, in the order in which it was said first
	at       map[key]int // where in changes
	urgent   bool        // one of them waits to be fetched
	ended    bool
	flight   int // numbers the requests; 0 before the first
	flying   bool
	hastened bool // the request under way is given up soon
	gaveUp   bool // or was
}

// Tell says that a replica is to be fetched in a leader epoch, or with NoEpoch no longer. It is taken up with the next Take.
func (c *Course) Tell(m Member, epoch int32) {
	k := key{m.ID, m.TP.Partition}
	i, known := c.at[k]
	switch {
	case !known:
		if c.at == nil {
			c.at = map[key]int{}
		}
		c.at[k] = len(c.changes)
		c.changes = append(c.changes, change{m, epoch})
	case epoch == NoEpoch && c.changes[i].epoch != NoEpoch && c.changes[i].Replica != m.Replica:
		return // another replica has taken its place already
	default:
		c.changes[i] = change{m, epoch}
	}
	c.urgent = c.urgent || epoch != NoEpoch
}

// Wake says whether there is something that a loop at rest is to be woken for, and whether the request under way is to be
// given up: GiveUp with its number, GiveUpAfter from now.
func (c *Course) Wake() (look, hasten bool) { return c.urgent, c.hasten() }

func (c *Course) hasten() bool {
	if !c.urgent || !c.flying || c.hastened {
		return false
	}
	c.hastened = true
	return true
}

// End has the loop end, with the request that is under way, which the caller gives up if there is one.
func (c *Course) End() (flying bool) {
	c.ended = true
	return c.flying
}

// Take has the fetcher follow what has changed.
func (c *Course) Take(f *Fetcher) { take(f, c.taken()) }

// taken are the changes, which are about to be taken up.
func (c *Course) taken() []change {
	changes := c.changes
	c.changes, c.at, c.urgent = nil, nil, false
	return changes
}

func take(f *Fetcher, changes []change) {
	for _, c := range changes {
		if c.epoch != NoEpoch {
			f.Add(c.TP, c.ID, c.Replica, c.epoch)
			continue
		}
		if w := f.all[key{c.ID, c.TP.Partition}]; w != nil && w.replica == c.Replica {
			f.Remove(c.ID, c.TP.Partition)
		}
	}
}

// Depart says that a request is about to be sent, and numbers it; ok is false where the loop is to end instead. hasten is that of Wake.
func (c *Course) Depart() (flight int, hasten, ok bool) {
	if c.ended {
		return 0, false, false
	}
	c.flight++
	c.flying, c.hastened, c.gaveUp = true, false, false
	return c.flight, c.hasten(), true
}

// GiveUp says that a request is given up, if it is still the one that is under way.
func (c *Course) GiveUp(flight int) {
	if c.flying && c.flight == flight {
		c.gaveUp = true
	}
}

// Arrive says that the request under way has come to its end, and whether that was to give it up, and whether the loop ends with it.
func (c *Course) Arrive() (gaveUp, ended bool) {
	c.flying = false
	return c.gaveUp, c.ended
}

// Landed tells the fetcher how its request went: with an answer, or nil without.
func (f *Fetcher) Landed(now time.Time, resp kmsg.Response, gaveUp bool) {
	switch {
	case resp != nil:
		f.Answer(now, resp)
	case gaveUp:
		f.Cancelled()
	default:
		f.Unreachable(now)
	}
}
