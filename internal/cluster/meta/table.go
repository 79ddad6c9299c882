package meta

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"
)

// table is a map of which a changed copy shares what has not changed, so that a record costs no copy of
// all of a hundred thousand topics. Its shards are about as many as each of them holds: what an edit copies
// grows with the root of the size. A table that others may read is only read.
type table[K comparable, V any] struct {
	seed   maphash.Seed
	shards []map[K]V // a power of two
	count  int
}

// minShard is what a shard may hold before there are two.
const minShard = 64

func newTable[K comparable, V any]() *table[K, V] {
	return &table[K, V]{seed: maphash.MakeSeed(), shards: make([]map[K]V, 1)}
}

func (t *table[K, V]) shard(k K) int {
	if len(t.shards) == 1 {
		return 0
	}
	return int(maphash.Comparable(t.seed, k) & uint64(len(t.shards)-1))
}

func (t *table[K, V]) get(k K) V { return t.shards[t.shard(k)][k] }

func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, m := range t.shards {
			for k, v := range m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func (t *table[K, V]) keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		for k := range t.all() {
			if !yield(k) {
				return
			}
		}
	}
}

func (t *table[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range t.all() {
			if !yield(v) {
				return
			}
		}
	}
}

// tableEdit is a copy of a table that may be changed; it copies a shard when it first changes it.
type tableEdit[K comparable, V any] struct {
	*table[K, V]
	own []bool
}

func (t *table[K, V]) edit() *tableEdit[K, V] {
	c := *t
	c.shards = slices.Clone(t.shards)
	return &tableEdit[K, V]{table: &c, own: make([]bool, len(c.shards))}
}

func (e *tableEdit[K, V]) owned(i int) map[K]V {
	if !e.own[i] {
		if e.shards[i] = maps.Clone(e.shards[i]); e.shards[i] == nil {
			e.shards[i] = map[K]V{}
		}
		e.own[i] = true
	}
	return e.shards[i]
}

func (e *tableEdit[K, V]) put(k K, v V) {
	m := e.owned(e.shard(k))
	before := len(m)
	m[k] = v
	if e.count += len(m) - before; e.count > len(e.shards)*max(minShard, len(e.shards)/4) {
		e.grow()
	}
}

func (e *tableEdit[K, V]) remove(k K) {
	m := e.owned(e.shard(k))
	before := len(m)
	delete(m, k)
	e.count += len(m) - before
}

// grow spreads everything over twice as many shards.
func (e *tableEdit[K, V]) grow() {
	old := *e.table
	e.shards = make([]map[K]V, 2*len(old.shards))
	e.own = slices.Repeat([]bool{true}, len(e.shards))
	for i := range e.shards {
		e.shards[i] = make(map[K]V, old.count/len(e.shards)+1)
	}
	for k, v := range old.all() {
		e.shards[e.shard(k)][k] = v
	}
}
