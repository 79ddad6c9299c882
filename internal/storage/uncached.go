package storage

import (
	"sync"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// What a replica fetches that has fallen behind is large, and nobody is about to read it from here. In Fsync, where it
// is waited for in any case, it goes past the page cache: copying it there, and having the sync find and write it, costs more
// (docs/performance.md), and pushes out what others do read. The blocks at both ends, which are shared with what comes
// before and after, are written ordinarily. It is synced as everything else is.

// uncachedPiece is how much is written at once.
const uncachedPiece = 1 << 20

var uncachedBuffers = sync.Pool{New: func() any { b := alignedBuffer(uncachedPiece); return &b }}

// writeBehind brings what others have had for long into the file of the segment. uncached says that most of it went past
// the page cache.
func (l *Log) writeBehind(s *segment, b []byte, cfg *LogConfig) (uncached bool, err error) {
	head := int(roundUp(s.size, vfs.DirectAlign) - s.size)
	whole := (len(b) - head) / vfs.DirectAlign * vfs.DirectAlign
	if len(b) < l.store.opts.UncachedBytes || whole <= 0 || l.dir.cachedOnly.Load() {
		return false, l.write(s, b, cfg)
	}
	f, err := l.acquireToWrite(s, cfg)
	if err != nil {
		return false, err
	}
	defer f.release()
	done, err := writePast(f.f, b[head:head+whole], s.size+int64(head))
	if err != nil {
		return true, l.dir.fail(err)
	}
	if done == 0 {
		l.dir.cachedOnly.Store(true)
	}
	for _, r := range [2][2]int{{0, head}, {head + done, len(b)}} {
		if r[0] == r[1] {
			continue
		}
		if _, err = f.f.WriteAt(b[r[0]:r[1]], s.size+int64(r[0])); err != nil {
			return done > 0, l.dir.fail(err)
		}
	}
	return done > 0, nil
}

// writePast writes whole blocks past the page cache, by way of memory that is aligned. done is less than all of them where
// the file cannot do it.
func writePast(f vfs.File, b []byte, pos int64) (done int, err error) {
	buf, _ := uncachedBuffers.Get().(*[]byte)
	defer uncachedBuffers.Put(buf)
	for done < len(b) {
		n := min(len(b)-done, uncachedPiece)
		for at := 0; at < n; at += copyChunk {
			copy((*buf)[at:min(n, at+copyChunk)], b[done+at:])
		}
		ok, err := f.WriteUncached((*buf)[:n], pos+int64(done))
		if err != nil || !ok {
			return done, err
		}
		done += n
	}
	return done, nil
}
