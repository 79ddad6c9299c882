package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

// link is what happens to packets of one direction between two hosts.
type link struct {
	Cut    bool
	Port   uint16 // only TCP to or from this port; 0 is everything
	Delay  time.Duration
	Jitter time.Duration // added at random, so packets overtake each other
	Loss   float64
	Dup    float64
}

// rules is the table of all links, by source and destination.
type rules struct {
	mu      sync.Mutex
	rng     *rand.Rand
	links   map[[2]byte]link
	dropped map[[2]byte]int
	slowed  map[[2]byte]int
}

func newRules(seed uint64) *rules {
	return &rules{
		rng: rand.New(rand.NewPCG(seed, 1)), links: map[[2]byte]link{}, dropped: map[[2]byte]int{}, slowed: map[[2]byte]int{},
	}
}

// verdict is when the copies of a packet are to be delivered: no entry for a dropped one.
type verdict struct {
	n     int
	after [2]time.Duration
}

func (r *rules) decide(src, dst byte, ports [2]uint16) (v verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.links[[2]byte{src, dst}]
	if !ok || l.Port != 0 && ports[0] != l.Port && ports[1] != l.Port {
		v.n = 1
		return v
	}
	if l.Cut || l.Loss > 0 && r.rng.Float64() < l.Loss {
		r.dropped[[2]byte{src, dst}]++
		return v
	}
	v.n = 1
	if l.Dup > 0 && r.rng.Float64() < l.Dup {
		v.n = 2
	}
	for i := range v.n {
		v.after[i] = l.Delay
		if l.Jitter > 0 {
			v.after[i] += time.Duration(r.rng.Int64N(int64(l.Jitter)))
		}
	}
	if v.after[0] > 0 {
		r.slowed[[2]byte{src, dst}]++
	}
	return v
}

// set changes one direction.
func (r *rules) set(src, dst byte, l link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l == (link{}) {
		delete(r.links, [2]byte{src, dst})
		return
	}
	r.links[[2]byte{src, dst}] = l
}

// both changes both directions.
func (r *rules) both(a, b byte, l link) {
	r.set(a, b, l)
	r.set(b, a, l)
}

// heal removes every rule and forgets the counts.
func (r *rules) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.links)
	clear(r.dropped)
	clear(r.slowed)
}

// bitten is how many packets rules have dropped or held back since the last heal.
func (r *rules) bitten() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.dropped {
		n += c
	}
	for _, c := range r.slowed {
		n += c
	}
	return n
}
