package storage

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// epochEntry says at which offset a leader epoch began.
type epochEntry struct {
	epoch int32
	start int64
}

// epochCache is the history of leader epochs of a log: epochs and start offsets both rise.
// Log.mu guards it.
type epochCache struct {
	entries []epochEntry
	dirty   bool // differs from the checkpoint file
}

func (c *epochCache) latest() (epochEntry, bool) {
	if len(c.entries) == 0 {
		return epochEntry{}, false
	}
	return c.entries[len(c.entries)-1], true
}

// assign notes that epoch begins at start. Entries that contradict it, which only a leader change
// without records leaves, go (LeaderEpochFileCache.assign).
func (c *epochCache) assign(epoch int32, start int64) {
	if epoch < 0 || start < 0 {
		return
	}
	if last, ok := c.latest(); ok && epoch == last.epoch && start >= last.start {
		return
	}
	n := len(c.entries)
	for n > 0 && (c.entries[n-1].epoch >= epoch || c.entries[n-1].start >= start) {
		n--
	}
	c.entries = append(c.entries[:n], epochEntry{epoch, start})
	c.dirty = true
}

// end answers OffsetForLeaderEpoch: the largest known epoch not above the one asked for, and where
// it ends. (-1, -1) means unknown.
func (c *epochCache) end(epoch int32, logEnd int64) (int32, int64) {
	last, ok := c.latest()
	switch {
	case epoch < 0 || !ok:
		return -1, -1
	case epoch == last.epoch:
		return epoch, logEnd
	case epoch > last.epoch:
		return -1, -1
	}
	i, _ := slices.BinarySearchFunc(c.entries, epoch+1, func(e epochEntry, t int32) int { return int(e.epoch) - int(t) })
	if i == 0 {
		return epoch, c.entries[0].start
	}
	return c.entries[i-1].epoch, c.entries[i].start
}

// at is the epoch that the record at offset was written in.
func (c *epochCache) at(offset int64) (int32, bool) {
	for i := len(c.entries) - 1; i >= 0; i-- {
		if c.entries[i].start <= offset {
			return c.entries[i].epoch, true
		}
	}
	return -1, false
}

// truncateEnd drops epochs that begin at or above end.
func (c *epochCache) truncateEnd(end int64) {
	n := len(c.entries)
	for n > 0 && c.entries[n-1].start >= end {
		n--
	}
	if n < len(c.entries) {
		c.entries, c.dirty = c.entries[:n], true
	}
}

// truncateStart drops epochs that ended before start; the one that holds start begins there now.
func (c *epochCache) truncateStart(start int64) {
	n := 0
	for n < len(c.entries) && c.entries[n].start <= start {
		n++
	}
	if n == 0 || n == 1 && c.entries[0].start == start {
		return
	}
	c.entries = slices.Delete(c.entries, 0, n-1)
	c.entries[0].start = start
	c.dirty = true
}

func (c *epochCache) lines() []string {
	lines := make([]string, len(c.entries))
	for i, e := range c.entries {
		lines[i] = strconv.Itoa(int(e.epoch)) + " " + strconv.FormatInt(e.start, 10)
	}
	return lines
}

// loadEpochs reads leader-epoch-checkpoint.
func loadEpochs(fsys vfs.FS, dir string) (epochCache, error) {
	var c epochCache
	name := path.Join(dir, epochCheckpointFile)
	lines, err := readLines(fsys, name)
	if err != nil {
		return c, err
	}
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) != 2 {
			return c, fmt.Errorf("checkpoint %s: entry %q, want \"epoch offset\"", name, l)
		}
		epoch, eerr := strconv.ParseInt(f[0], 10, 32)
		start, serr := strconv.ParseInt(f[1], 10, 64)
		if eerr != nil || serr != nil {
			return c, fmt.Errorf("checkpoint %s: entry %q, want \"epoch offset\"", name, l)
		}
		c.assign(int32(epoch), start)
	}
	c.dirty = false
	return c, nil
}

// recovered notes the epoch of a batch that is being recovered. What the file says stays where the batches agree: it may be older
// than a cut, and tell of an epoch in whose place the records of an earlier one stand now.
func (c *epochCache) recovered(epoch int32, base int64) {
	if at, ok := c.at(base); epoch < 0 || ok && at == epoch {
		return
	}
	c.truncateEnd(base)
	for n := len(c.entries); n > 0 && c.entries[n-1].epoch > epoch; n-- {
		c.entries, c.dirty = c.entries[:n-1], true
	}
	if last, ok := c.latest(); !ok || epoch > last.epoch {
		c.assign(epoch, base)
	}
}
