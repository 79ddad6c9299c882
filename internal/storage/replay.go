package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// replayer brings what the journal holds into the segments, at the start after a crash. It runs
// before any log is read.
type replayer struct {
	d     *logDir
	st    *dirState
	files []*replayFile // by generation
	rules map[base.TopicPartition]*replayRules
	open  map[string]vfs.File
	dirs  map[base.TopicPartition]base.TopicID // topic ids of partition directories seen so far

	entry            int64 // number of the entry at hand, over all files
	harmed           bool  // the entry's unit is harmed (journalReader.next)
	applied, skipped int

	damaged func(name string, err error) // hears of damaged units; nil: nobody does
}

type replayFile struct {
	name       string
	size       int64
	generation uint64
	live       bool // false: holds nothing of use
}

// replayRules are the notes about one log.
type replayRules struct {
	below int64 // of stable notes, for the topic id they were made for
	id    base.TopicID
	cuts  []cutRule
	last  base.TopicID // of the last batch: the partition's present topic
}

// cutRule forbids entries before number at that reach offset from.
type cutRule struct {
	at   int64
	from int64
	id   base.TopicID
}

const replayOpenFiles = 256

// replayJournal brings the segments up to what the journal holds, if the last run did not end in
// order. It returns the journal files that there are.
func (d *logDir) replayJournal(st *dirState) ([]*replayFile, error) {
	r := &replayer{d: d, st: st, rules: map[base.TopicPartition]*replayRules{}, open: map[string]vfs.File{},
		dirs: map[base.TopicPartition]base.TopicID{}}
	if err := r.find(); err != nil || st.clean {
		return r.files, err
	}
	return r.files, r.run()
}

// openJournal takes the files of the last run into a new journal, once all that was in them is
// durable in the segments. The directory has none where the journal is off.
func (d *logDir) openJournal(old []*replayFile) error {
	opts := d.store.opts.Journal
	on := !opts.Disabled && !opts.Inline
	generation := uint64(1)
	var files []*journalFile
	for _, o := range old {
		generation = max(generation, o.generation+1)
		f, err := d.reuse(o, on && len(files) < opts.Files)
		if err != nil {
			return err
		}
		if f != nil {
			files = append(files, f)
		}
	}
	if !on {
		return nil
	}
	d.journal = newJournal(d, opts, generation, files)
	d.journal.files = max(len(files), highest(old))
	return nil
}

// reuse retires a file of the last run and opens it for the next; one that is not wanted is removed.
func (d *logDir) reuse(o *replayFile, wanted bool) (*journalFile, error) {
	fsys := d.store.opts.FS
	if !wanted {
		if err := fsys.Remove(o.name); err != nil {
			return nil, err
		}
		return nil, fsys.SyncDir(d.path) // before a newer one goes, whose notes this one needs
	}
	f, direct, err := fsys.OpenDirect(o.name)
	if err != nil {
		return nil, err
	}
	filled := min(o.size, d.store.opts.Journal.FileBytes) / journalBlock * journalBlock
	j := &journalFile{name: o.name, f: f, direct: direct, filled: filled}
	j.generation = o.generation
	if !o.live {
		return j, nil
	}
	if err = j.retire(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return j, nil
}

// highest is one more than the largest number in a journal file's name.
func highest(files []*replayFile) int {
	n := 0
	for _, f := range files {
		var i int
		if _, err := fmt.Sscanf(path.Base(f.name), journalPrefix+"%d", &i); err == nil {
			n = max(n, i+1)
		}
	}
	return n
}

// find opens the journal files and reads their headers.
func (r *replayer) find() error {
	fsys := r.d.store.opts.FS
	entries, err := fsys.ReadDir(r.d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || !strings.HasPrefix(e.Name(), journalPrefix) {
			continue
		}
		f, err := r.head(path.Join(r.d.path, e.Name()))
		if err != nil {
			return err
		}
		r.files = append(r.files, f)
	}
	slices.SortFunc(r.files, func(a, b *replayFile) int { return int(min(max(int64(a.generation-b.generation), -1), 1)) })
	return nil
}

// head reads a journal file's header.
func (r *replayer) head(name string) (*replayFile, error) {
	f, err := r.d.store.opts.FS.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rf := &replayFile{name: name}
	if rf.size, err = f.Size(); err != nil {
		return nil, err
	}
	head, err := (&journalReader{f: f, size: rf.size}).read(0, journalBlock)
	if err != nil {
		return nil, err
	}
	if rf.generation, rf.live, err = parseJournalHead(head); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if rf.generation == 0 { // torn: the units tell which generations were used
		u, err := (&journalReader{f: f, size: rf.size}).read(journalBlock, unitHeadBytes)
		if err != nil {
			return nil, err
		}
		rf.generation = unitGeneration(u)
	}
	return rf, nil
}

// run reads the journal twice: for the notes, and to write what they leave.
func (r *replayer) run() error {
	if err := r.walk(r.learn); err != nil {
		return err
	}
	r.damaged = func(name string, err error) {
		r.d.store.log.Error("the journal is damaged; what cannot be told from damage is not replayed", "path", name, "err", err)
	}
	err := r.walk(r.apply)
	for _, f := range r.open {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if r.applied > 0 {
		r.d.store.log.Info("replayed the journal", "dir", r.d.path, "batches", r.applied, "skipped", r.skipped)
	}
	return err
}

// walk calls fn for every entry, oldest first.
func (r *replayer) walk(fn func(*journalEntry) error) error {
	r.entry = 0
	for _, f := range r.files {
		if !f.live {
			continue
		}
		if err := r.walkFile(f, fn); err != nil {
			return err
		}
	}
	return nil
}

func (r *replayer) walkFile(rf *replayFile, fn func(*journalEntry) error) error {
	f, err := r.d.store.opts.FS.Open(rf.name)
	if err != nil {
		return err
	}
	defer f.Close()
	jr := journalReader{f: f, size: rf.size, generation: rf.generation, pos: journalBlock}
	if r.damaged != nil {
		jr.damaged = func(err error) { r.damaged(rf.name, err) }
	}
	for {
		b, err := jr.next()
		if err != nil || b == nil {
			return err
		}
		r.harmed = jr.harmed
		for len(b) > 0 {
			var e journalEntry
			if e, b, err = parseEntry(b); err != nil {
				return fmt.Errorf("%s: unit %d: %w", rf.name, jr.number-1, err)
			}
			if err = fn(&e); err != nil {
				return err
			}
			r.entry++
		}
	}
}

// learn takes in what must be known before anything is written.
func (r *replayer) learn(e *journalEntry) error {
	rules := r.rules[e.tp]
	if rules == nil {
		rules = &replayRules{}
		r.rules[e.tp] = rules
	}
	switch e.kind {
	case entryData:
		rules.last = e.topicID
	case entryCut:
		rules.cuts = append(rules.cuts, cutRule{r.entry, e.offset, e.topicID})
		if rules.id == e.topicID {
			rules.below = min(rules.below, e.offset)
		}
	case entryGone:
		rules.cuts = append(rules.cuts, cutRule{r.entry, 0, e.topicID})
		if rules.last == e.topicID {
			rules.last = base.TopicID{}
		}
	case entryStable:
		if rules.id != e.topicID {
			rules.id, rules.below = e.topicID, 0
		}
		rules.below = max(rules.below, e.offset)
	}
	return nil
}

// dropped reports whether a note forbids the entry.
func (r *replayer) dropped(e *journalEntry) bool {
	rules := r.rules[e.tp]
	if rules == nil {
		return false
	}
	if rules.id == e.topicID && e.offset < rules.below {
		return true
	}
	last := e.lastOffset()
	for _, c := range rules.cuts {
		if c.id == e.topicID && r.entry < c.at && last >= c.from {
			return true // a batch that holds the offset of the cut went as a whole
		}
	}
	return false
}

// apply writes one entry to its segment, or does what a note says about the log itself.
func (r *replayer) apply(e *journalEntry) error {
	switch {
	case e.kind == entryStart && !r.deletedLater(e):
		r.note(e, func(n *journalState) { n.start = max(n.start, e.offset) })
		return nil
	case e.kind == entryCut:
		r.note(e, func(n *journalState) {
			n.stable, n.start = min(n.stable, e.offset), min(n.start, e.offset)
		})
		return nil
	case e.kind == entryGone:
		return r.remove(e)
	case e.kind != entryData:
		return nil
	}
	if r.dropped(e) {
		r.skipped++
		return nil
	}
	if r.harmed {
		if err := checkCRC(e.data); err != nil {
			r.d.store.log.Error("a batch in the journal is damaged and not replayed", "partition", e.tp.String(), "offset", e.offset, "err", err)
			r.skipped++
			return nil
		}
	}
	ours, err := r.claim(e)
	if err != nil {
		return err
	}
	if !ours {
		r.skipped++
		return nil
	}
	f, err := r.segment(path.Join(r.d.path, e.tp.String(), segmentName(e.segment)+logSuffix))
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(e.data, e.pos); err != nil {
		return err
	}
	r.note(e, func(n *journalState) { n.stable = e.lastOffset() + 1 })
	r.applied++
	return nil
}

// note keeps what an entry tells of its log, for the topic it is about.
func (r *replayer) note(e *journalEntry, change func(*journalState)) {
	n := r.st.noted[e.tp]
	if n.id != e.topicID {
		n = journalState{id: e.topicID}
	}
	change(&n)
	r.st.noted[e.tp] = n
}

func (r *replayer) deletedLater(e *journalEntry) bool {
	if rules := r.rules[e.tp]; rules != nil {
		for _, c := range rules.cuts {
			if c.id == e.topicID && c.from == 0 && r.entry < c.at {
				return true
			}
		}
	}
	return false
}

// claim makes sure that the partition's directory exists and is of the entry's topic. It reports
// false for an entry of another, older topic of the same name.
func (r *replayer) claim(e *journalEntry) (bool, error) {
	if id, ok := r.dirs[e.tp]; ok {
		return id == e.topicID, nil
	}
	fsys := r.d.store.opts.FS
	dir := path.Join(r.d.path, e.tp.String())
	id, err := readTopicID(fsys, dir)
	if err != nil {
		return false, err
	}
	current := r.rules[e.tp].last == e.topicID
	if id != e.topicID && current {
		ours, err := r.holds(dir, e)
		if err != nil {
			return false, err
		}
		if ours {
			r.d.store.log.Error("partition.metadata is damaged; the journal knows the topic id by the log's records",
				"path", path.Join(dir, partitionMetadataFile), "expected_id", e.topicID.String(), "found_id", id.String())
			id = base.TopicID{} // it is written anew
		}
	}
	if !id.IsZero() && id != e.topicID && current {
		// The directory is of a topic that was deleted before this one was made, and the crash undid that;
		// or its partition.metadata is damaged. Nothing tells which, so it is kept, under Kafka's name for
		// what belongs to nobody.
		kept := path.Join(r.d.path, suffixedDirName(e.tp, strayDirSuffix))
		if err = fsys.Rename(dir, kept); err != nil {
			return false, err
		}
		r.d.store.log.Error("partition.metadata names another topic than the journal: the directory is set aside",
			"path", dir, "kept", kept, "expected_id", e.topicID.String(), "found_id", id.String())
		id = base.TopicID{}
	}
	if id.IsZero() {
		if err = fsys.MkdirAll(dir); err != nil {
			return false, err
		}
		if id = e.topicID; !id.IsZero() {
			if err = writeTopicID(fsys, dir, id); err != nil {
				return false, err
			}
		}
	}
	r.dirs[e.tp] = id
	return id == e.topicID, nil
}

// holds reports whether the partition's directory has the entry's very bytes at its place, so that it is
// of the entry's topic whatever its partition.metadata says.
func (r *replayer) holds(dir string, e *journalEntry) (bool, error) {
	if e.kind != entryData || len(e.data) < minBatchBytes {
		return false, nil
	}
	f, err := r.d.store.opts.FS.Open(path.Join(dir, segmentName(e.segment)+logSuffix))
	if err != nil {
		if isNotExist(err) {
			return false, nil
		}
		return false, err
	}
	defer f.Close()
	have := make([]byte, len(e.data))
	n, err := f.ReadAt(have, e.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n == len(have) && bytes.Equal(have, e.data), nil
}

// remove does a deletion again whose rename the crash undid.
func (r *replayer) remove(e *journalEntry) error {
	fsys := r.d.store.opts.FS
	dir := path.Join(r.d.path, e.tp.String())
	delete(r.dirs, e.tp)
	delete(r.st.noted, e.tp)
	for name, f := range r.open {
		if path.Dir(name) == dir {
			_ = f.Close()
			delete(r.open, name)
		}
	}
	if _, err := fsys.Stat(dir); isNotExist(err) {
		return nil
	} else if err != nil {
		return err
	}
	id, err := readTopicID(fsys, dir)
	if err != nil || id != e.topicID && !id.IsZero() {
		return err
	}
	return fsys.Rename(dir, path.Join(r.d.path, deleteDirName(e.tp)))
}

// segment opens a segment file for writing, with a bound on how many are open.
func (r *replayer) segment(name string) (vfs.File, error) {
	if f, ok := r.open[name]; ok {
		return f, nil
	}
	if len(r.open) >= replayOpenFiles {
		for n, f := range r.open {
			if err := f.Close(); err != nil {
				return nil, err
			}
			delete(r.open, n)
			break
		}
	}
	f, err := r.d.store.opts.FS.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	r.open[name] = f
	return f, nil
}
