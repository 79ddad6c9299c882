package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// damaged handles the first position of a segment at which there is no sound batch. What follows
// decides:
//   - Nothing sound, or nothing that was promised to be stable: the crash cut a write short, or kept
//     a later one and lost an earlier. The log ends here. If sound batches are cut off with it, the
//     file is kept aside first.
//   - Records that were stable: the file is damaged. It is kept aside, and the log goes on without
//     the bytes that no batch can be made of.
func (v *verifier) damaged(pos, next int64, bad error) error {
	resume, after, err := v.resync(pos, next)
	if err != nil {
		return err
	}
	d := Damage{
		File: v.r.l.filePath(v.s, logSuffix), Position: pos, Length: v.size - pos,
		Expected: fmt.Sprintf("a batch at offset %d or above", next), Found: bad.Error(), First: next, Next: next,
	}
	if next >= v.r.stable {
		return v.cutTail(d, resume >= 0)
	}
	if resume < 0 {
		resume, after = v.size, v.r.nextBase(v.s)
	}
	d.Length, d.Next = resume-pos, after
	return v.excise(d, resume)
}

// nextBase is the base offset of the segment after s, or what was stable if s is the last one.
func (r *recoverer) nextBase(s *segment) int64 {
	for _, o := range r.l.segs {
		if o.base > s.base {
			return o.base
		}
	}
	return max(r.stable, s.base)
}

// cutTail ends the log at the damage. sound says that the tail has whole batches in it.
func (v *verifier) cutTail(d Damage, sound bool) error {
	v.s.size, v.cut, v.r.truncated = d.Position, true, true
	if sound {
		kept, err := v.keep()
		if err != nil {
			return err
		}
		d.Kept = kept
	}
	v.r.l.store.log.Warn("cut a torn tail", "path", d.File, "position", d.Position, "bytes", d.Length,
		"expected", d.Expected, "found", d.Found, "kept", d.Kept)
	return truncateFile(v.r.l.store.opts.FS, d.File, d.Position)
}

func truncateFile(fsys vfs.FS, name string, size int64) (err error) {
	f, err := fsys.OpenReadWrite(name)
	if err != nil {
		return err
	}
	if err = f.Truncate(size); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// excise takes the damaged bytes out of the segment, keeping the file as it was aside, and goes on
// behind them.
func (v *verifier) excise(d Damage, resume int64) error {
	kept, err := v.keep()
	if err != nil {
		return err
	}
	d.Kept = kept
	v.r.l.noteDamage(d)
	fsys := v.r.l.store.opts.FS
	tmp := d.File + ".repaired"
	if err = v.copyTo(tmp, []extent{{0, d.Position}, {resume, v.size}}); err != nil {
		return err
	}
	if err = fsys.Rename(tmp, d.File); err != nil {
		return err
	}
	if err = fsys.SyncDir(v.r.l.home()); err != nil {
		return err
	}
	v.reopen = true
	return nil
}

// keep copies the segment file aside as it is, once.
func (v *verifier) keep() (string, error) {
	if v.kept != "" {
		return v.kept, nil
	}
	l := v.r.l
	name := fmt.Sprintf("%s%s%d", l.filePath(v.s, logSuffix), damagedInfix, l.store.opts.Clock.Now().UnixMilli())
	if err := v.copyTo(name, []extent{{0, v.size}}); err != nil {
		return "", err
	}
	if err := l.store.opts.FS.SyncDir(l.home()); err != nil {
		return "", err
	}
	v.kept = name
	return name, nil
}

// extent is a run of bytes, [from, to).
type extent struct{ from, to int64 }

// copyTo writes the extents of the segment one after the other to a new file and syncs it.
func (v *verifier) copyTo(name string, list []extent) (err error) {
	out, err := v.r.l.store.opts.FS.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	at := int64(0)
	buf := make([]byte, copyChunk)
	for _, e := range list {
		for e.from < e.to {
			n, err := v.f.f.ReadAt(buf[:min(copyChunk, e.to-e.from)], e.from)
			if err != nil && !errors.Is(err, io.EOF) || n == 0 {
				return errors.Join(err, io.ErrUnexpectedEOF)
			}
			if _, err = out.WriteAt(buf[:n], at); err != nil {
				return err
			}
			e.from, at = e.from+int64(n), at+int64(n)
		}
	}
	return out.Sync()
}

const resyncWindow = 1 << 20

// resync looks behind pos for the next sound batch, at any byte. It returns its position and base
// offset; position -1 means that there is none.
func (v *verifier) resync(pos, next int64) (int64, int64, error) {
	buf := make([]byte, resyncWindow)
	for at := pos + 1; at+minBatchBytes <= v.size; at += resyncWindow - minBatchBytes {
		n, err := v.f.f.ReadAt(buf[:min(resyncWindow, v.size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return -1, 0, err
		}
		for i := 0; i+minBatchBytes <= n; i++ {
			if !plausible(buf[i:n], v.s.base, next, v.size-at-int64(i)) {
				continue
			}
			h, bad, err := v.batch(at+int64(i), next)
			if err != nil {
				return -1, 0, err
			}
			if bad == nil {
				return at + int64(i), h.base, nil
			}
		}
	}
	return -1, 0, nil
}

// plausible is the cheap test of resync.
func plausible(b []byte, base, next, left int64) bool {
	if b[16] != 2 {
		return false
	}
	off := int64(binary.BigEndian.Uint64(b))
	size := int64(int32(binary.BigEndian.Uint32(b[8:]))) + logEntryOverhead
	return off >= next && off-base <= 1<<31 && size >= minBatchBytes && size <= left
}

// setAside takes the segments from index i on out of the log, keeping their files, because the log
// was cut before them.
func (r *recoverer) setAside(i int) error {
	l := r.l
	fsys := l.store.opts.FS
	for _, s := range l.segs[i:] {
		name := l.filePath(s, logSuffix)
		if s.size == 0 {
			l.removeFile(path.Base(name))
		} else {
			kept := fmt.Sprintf("%s%s%d", name, damagedInfix, l.store.opts.Clock.Now().UnixMilli())
			l.store.log.Warn("a segment behind a torn tail is set aside", "path", name, "bytes", s.size, "kept", kept)
			if err := fsys.Rename(name, kept); err != nil {
				return err
			}
		}
		for _, suffix := range [...]string{indexSuffix, timeSuffix, txnSuffix} {
			l.removeFile(s.file(suffix))
		}
		s.sealed.Store(true)
		l.store.files.drop(s)
	}
	l.segs = l.segs[:i]
	return fsys.SyncDir(l.home())
}
