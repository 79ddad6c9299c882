package storage

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"path"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// The manifest is what a clean shutdown knows of every log of a directory, so that the next start
// opens nothing. It counts only together with the clean-shutdown mark that names it: whoever else
// ran on the directory in between (Apache Kafka may) leaves a mark without that name. Layout:
// magic 8, version 4, name 16, count of logs 4, the logs, CRC-32C of all before 4; numbers in a log
// are varints. docs/format/manifest.md.
const (
	manifestMagic    = "LSTDMANI"
	manifestVersion  = 1
	manifestHead     = 32
	maxManifestBytes = 1 << 30
)

// Flags of a log in the manifest.
const (
	flagDurable   = 1 << iota // names of its directory and identity file are on stable storage
	flagProducers             // the last snapshot has producers in it
)

// Flags of a segment in the manifest.
const (
	flagExists  = 1 << iota // the file is there
	flagIndexed             // its index files are too
)

type manifestID [16]byte

func (id manifestID) String() string { return hex.EncodeToString(id[:]) }

// writeManifest writes the manifest of a directory whose logs are at rest.
func (d *logDir) writeManifest() (manifestID, error) {
	var id manifestID
	_, _ = rand.Read(id[:])
	logs := d.store.logsOf(d)
	b := make([]byte, 0, manifestHead+len(logs)*128)
	b = append(b, manifestMagic...)
	b = binary.BigEndian.AppendUint32(b, manifestVersion)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(logs)))
	for _, l := range logs {
		b = l.appendManifest(b)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return id, vfs.WriteFile(d.store.opts.FS, path.Join(d.path, manifestFile), b)
}

func (l *Log) appendManifest(b []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = binary.AppendUvarint(b, uint64(len(l.tp.Topic)))
	b = append(b, l.tp.Topic...)
	b = binary.AppendUvarint(b, uint64(l.tp.Partition))
	id := l.TopicID()
	b = append(b, id[:]...)
	flags := uint64(0)
	if l.durable {
		flags |= flagDurable
	}
	if !l.prodLoaded || len(l.prod.byID) > 0 {
		flags |= flagProducers
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(l.start.Load()))
	b = binary.AppendUvarint(b, uint64(l.end.Load()))
	b = binary.AppendUvarint(b, uint64(len(l.snaps)))
	for _, off := range l.snaps {
		b = binary.AppendUvarint(b, uint64(off))
	}
	b = binary.AppendUvarint(b, uint64(len(l.epochs.entries)))
	for _, e := range l.epochs.entries {
		b = binary.AppendUvarint(b, uint64(e.epoch))
		b = binary.AppendUvarint(b, uint64(e.start))
	}
	b = binary.AppendUvarint(b, uint64(len(l.segs)))
	for _, s := range l.segs {
		b = s.appendManifest(b)
	}
	return b
}

func (s *segment) appendManifest(b []byte) []byte {
	flags := uint64(0)
	if s.exists {
		flags |= flagExists
	}
	if s.indexed {
		flags |= flagIndexed
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(s.base))
	b = binary.AppendUvarint(b, uint64(s.size))
	b = binary.AppendUvarint(b, uint64(s.next))
	b = binary.AppendVarint(b, s.maxTS)
	b = binary.AppendUvarint(b, uint64(s.maxTSOffset))
	b = binary.AppendVarint(b, s.firstTS)
	return binary.AppendVarint(b, s.modified)
}

var errManifest = errors.New("the manifest does not end where it should")

// manifestReader reads varints; after an error everything is zero and bad is set.
type manifestReader struct {
	b   []byte
	bad bool
}

func (r *manifestReader) fail() {
	r.bad, r.b = true, nil
}

func (r *manifestReader) unsigned() int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt64 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

func (r *manifestReader) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads the length of a list whose items have at least size bytes each.
func (r *manifestReader) count(size int) int {
	n := r.unsigned()
	if n > int64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *manifestReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// readManifest reads the manifest that the clean-shutdown mark names. Without one, or if it is
// damaged, there are no logs in it, and each log's directory is read instead.
func (d *logDir) readManifest(name string) ([]*Log, error) {
	if name == "" {
		return nil, nil
	}
	data, exists, err := readOptional(d.store.opts.FS, path.Join(d.path, manifestFile), maxManifestBytes)
	if err != nil || !exists {
		return nil, err
	}
	logs, err := d.parseManifest(data, name)
	if err != nil {
		d.store.log.Warn("the manifest is ignored", "dir", d.path, "err", err)
		return nil, nil
	}
	return logs, nil
}

func (d *logDir) parseManifest(b []byte, name string) ([]*Log, error) {
	n := len(b) - 4
	switch {
	case n < manifestHead || string(b[:8]) != manifestMagic:
		return nil, errors.New("it is not a manifest")
	case binary.BigEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli):
		return nil, errors.New("its checksum is wrong")
	case binary.BigEndian.Uint32(b[8:]) != manifestVersion:
		return nil, errors.New("it is of another version")
	case manifestID(b[12:28]).String() != name:
		return nil, errors.New("it is not of the last shutdown")
	}
	logs := make([]*Log, 0, min(int(binary.BigEndian.Uint32(b[28:])), n/32))
	r := manifestReader{b: b[manifestHead:n]}
	for range binary.BigEndian.Uint32(b[28:]) {
		l := d.manifestLog(&r)
		if r.bad {
			return nil, errManifest
		}
		logs = append(logs, l)
	}
	if len(r.b) > 0 {
		return nil, errManifest
	}
	return logs, nil
}

// manifestLog builds one log without touching its files.
func (d *logDir) manifestLog(r *manifestReader) *Log {
	topic := string(r.bytes(r.count(1)))
	l := newLog(d.store, d, base.TopicPartition{Topic: topic, Partition: int32(r.unsigned())}, d.store.opts.Defaults)
	var id base.TopicID
	copy(id[:], r.bytes(len(id)))
	l.id.Store(&id)
	flags := r.unsigned()
	l.durable = flags&flagDurable != 0
	l.start.Store(r.unsigned())
	end := r.unsigned()
	for range r.count(1) {
		l.snaps = append(l.snaps, r.unsigned())
	}
	for range r.count(2) {
		l.epochs.entries = append(l.epochs.entries, epochEntry{int32(r.unsigned()), r.unsigned()})
	}
	for range r.count(8) {
		l.segs = append(l.segs, l.manifestSegment(r))
	}
	if len(l.segs) == 0 {
		r.fail()
		return l
	}
	for _, s := range l.segs[:len(l.segs)-1] {
		s.sealed.Store(true)
	}
	l.end.Store(end)
	l.synced.Store(end)
	l.flushed, l.recovery = end, end
	l.prod.end = end
	l.prodLoaded = flags&flagProducers == 0
	return l
}

func (l *Log) manifestSegment(r *manifestReader) *segment {
	flags := r.unsigned()
	s := newSegment(r.unsigned(), time.Time{}, l.jitter())
	s.exists, s.indexed = flags&flagExists != 0, flags&flagIndexed != 0
	s.size, s.next = r.unsigned(), r.unsigned()
	s.maxTS, s.maxTSOffset, s.firstTS = r.signed(), r.unsigned(), r.signed()
	s.modified = r.signed()
	s.created = time.UnixMilli(s.modified)
	if s.exists {
		s.idx.Store(nil)
		s.suspect(s.size)
	}
	l.bytes.Add(s.size)
	return s
}
