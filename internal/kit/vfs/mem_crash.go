package vfs

import (
	"math"
	"math/rand/v2"
)

// CrashOptions say how much of what was not synced a power cut leaves.
type CrashOptions struct {
	Seed uint64
	// KeepUnsynced is the chance, 0 to 1, that one unsynced 4 KiB block, one unsynced change of
	// names or one unsynced change of a file's size survives. 0 leaves only what was synced.
	KeepUnsynced float64
}

// CrashClone returns what a power cut at this moment would leave, as a file system of its own: all
// that was synced, and a seeded share of what was not. A rename survives whole or not at all. Blocks
// that were lost before a block that was kept read as zeros. Locks do not survive.
func (m *Mem) CrashClone(o CrashOptions) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crasher{
		rng:   rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)),
		keep:  o.KeepUnsynced,
		names: map[*memNode]map[string]*memNode{},
		nodes: map[*memNode]*memNode{},
		out:   newMem(m.tracked),
	}
	c.out.mu.direct = m.mu.direct
	c.out.capacity.Store(m.capacity.Load())
	c.out.now.Store(m.now.Load())
	for _, change := range m.mu.pending {
		if !c.coin() {
			continue
		}
		for _, e := range change.edits {
			apply(c.namesOf(e.dir), e)
		}
	}
	c.out.mu.root = c.node(m.mu.root)
	return c.out
}

// crasher builds one clone.
type crasher struct {
	rng   *rand.Rand
	keep  float64
	names map[*memNode]map[string]*memNode // surviving names of directories with kept changes
	nodes map[*memNode]*memNode            // old → new
	out   *Mem
}

// coin draws even when the answer is known, so that one seed means one crash for every share.
func (c *crasher) coin() bool { return c.rng.Float64() < c.keep }

// namesOf is the directory's synced names, copied for changing.
func (c *crasher) namesOf(dir *memNode) map[string]*memNode {
	names, ok := c.names[dir]
	if !ok {
		names = make(map[string]*memNode, len(dir.synced))
		for name, n := range dir.synced {
			names[name] = n
		}
		c.names[dir] = names
	}
	return names
}

func (c *crasher) node(n *memNode) *memNode {
	if done, ok := c.nodes[n]; ok {
		return done
	}
	if n.file != nil {
		out := &memNode{file: c.file(n.file)}
		c.nodes[n] = out
		return out
	}
	out := newMemDir()
	c.nodes[n] = out
	names := c.namesOf(n)
	for _, name := range sortedNames(names) {
		child := c.node(names[name])
		out.entries[name], out.synced[name] = child, child
	}
	return out
}

// file copies what survives of a file's content; the copy counts as synced.
func (c *crasher) file(f *memFile) *memFile {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := newMemFile(c.out)
	out.modTime = f.modTime
	size := f.syncedSize
	sizeKept := c.coin()
	end := int64(math.MaxInt64)
	if f.size < f.syncedSize && !sizeKept {
		end = f.size // a lost truncation cut nothing: what it zeroed comes back
	}
	for ci, chunk := range f.chunks {
		if chunk == nil {
			continue
		}
		kept := c.chunk(out, ci, chunk, end)
		if kept >= 0 {
			size = max(size, min(f.size, int64(ci)*chunkBytes+int64(kept+1)*blockBytes))
		}
	}
	if sizeKept {
		size = f.size
	}
	out.trimTo(size)
	for _, chunk := range out.chunks {
		if chunk != nil {
			out.alloc += int64(len(chunk.data))
		}
	}
	c.out.used.Add(out.alloc)
	return out
}

// chunk copies one chunk and returns the last dirty block that was kept, or -1. Dirty blocks that
// begin at or after end are not kept.
func (c *crasher) chunk(out *memFile, ci int, chunk *memChunk, end int64) int {
	last := -1
	data := append([]byte(nil), chunk.data...)
	for b := 0; b*blockBytes < len(data); b++ {
		if chunk.dirty&(1<<b) == 0 {
			continue
		}
		if c.coin() && int64(ci)*chunkBytes+int64(b)*blockBytes < end {
			last = b
			continue
		}
		block := data[b*blockBytes : (b+1)*blockBytes]
		clear(block)
		if chunk.old != nil && chunk.old[b] != nil {
			copy(block, chunk.old[b][:])
		}
	}
	for len(out.chunks) <= ci {
		out.chunks = append(out.chunks, nil)
	}
	out.chunks[ci] = &memChunk{data: data}
	return last
}

// trimTo sets the size of a fresh copy, zeroing what lies beyond.
func (f *memFile) trimTo(size int64) {
	f.chunks = f.chunks[:min(len(f.chunks), int((size+chunkBytes-1)/chunkBytes))]
	if ci := int(size / chunkBytes); ci < len(f.chunks) && f.chunks[ci] != nil {
		if at := int(size % chunkBytes); at < len(f.chunks[ci].data) {
			clear(f.chunks[ci].data[at:])
		}
	}
	f.size, f.syncedSize = size, size
}
