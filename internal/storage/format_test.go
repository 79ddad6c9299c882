package storage

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// goldenLog is a log with fixed names for the golden bytes of our own formats.
func goldenLog() *Log {
	s := &Store{opts: Options{Clock: clock.NewManual(epoch0)}}
	l := newLog(s, &logDir{path: "/data", store: s}, base.TopicPartition{Topic: "topic", Partition: 3}, smallSegments())
	id := base.TopicID{0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	l.id.Store(&id)
	return l
}

// checkGolden compares bytes with a hexadecimal text in which blanks and line ends do not count.
func checkGolden(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	bin, err := hex.DecodeString(strings.Join(strings.Fields(want), ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bin) {
		t.Errorf("%s is\n%x\nwant\n%x\na change of a format needs a new version", what, got, bin)
	}
}

func TestJournalGolden(t *testing.T) {
	l := goldenLog()
	head := make([]byte, journalBlock)
	putJournalHead(head, 7, true)
	checkGolden(t, "the header block", head[:journalHeadBytes], `
		4c5354444a524e4c 00000001 0000000000000007 00000001 056b4a7e`)
	u := newUnit(1)
	h := header{base: 0x1122, last: 0x1123}
	u.buf = appendData(u.buf, l, 0x1000, 0x55, &h, []byte("batch"))
	u.buf = appendNote(u.buf, entryStart, l, 0x1120)
	putUnitHead(u.buf, 7, 2, 2, nil)
	checkGolden(t, "a unit", u.buf, `
		4c534a55 69557e9e 0000000000000007 0000000000000002 0000005b 00000002
		01 05 00000003 a00102030405060708090a0b0c0d0e0f 0000000000001122
		0000000000001000 00000055 00000005 746f706963 6261746368
		02 05 00000003 a00102030405060708090a0b0c0d0e0f 0000000000001120 746f706963`)
	generation, live, err := parseJournalHead(head)
	if err != nil || generation != 7 || !live {
		t.Fatalf("header: generation %d live %v %v", generation, live, err)
	}
	e, rest, err := parseEntry(u.buf[unitHeadBytes:])
	if err != nil || e.kind != entryData || e.tp != l.tp || e.topicID != l.TopicID() || e.offset != 0x1122 ||
		e.segment != 0x1000 || e.pos != 0x55 || string(e.data) != "batch" {
		t.Fatalf("first entry %+v, %v", e, err)
	}
	if e, rest, err = parseEntry(rest); err != nil || e.kind != entryStart || e.offset != 0x1120 || len(rest) > 0 {
		t.Fatalf("second entry %+v, %d bytes behind it, %v", e, len(rest), err)
	}
}

func TestJournalHeadDamaged(t *testing.T) {
	head := make([]byte, journalBlock)
	putJournalHead(head, 7, true)
	for i := range journalHeadBytes {
		bad := slices.Clone(head)
		bad[i] ^= 1
		if _, live, _ := parseJournalHead(bad); live {
			t.Fatalf("byte %d changed and the file counts as live", i)
		}
	}
}

func TestManifestGolden(t *testing.T) {
	l := goldenLog()
	l.durable, l.prodLoaded = true, true
	l.start.Store(5)
	l.end.Store(300)
	l.snaps = []int64{200, 300}
	l.epochs.entries = []epochEntry{{0, 5}, {3, 250}}
	for i, b := range []int64{0, 200} {
		s := newSegment(b, epoch0, 0)
		s.size, s.next, s.maxTS, s.maxTSOffset, s.firstTS, s.modified = 1000, 200+100*int64(i), 1<<40, b+9, -1, 1<<40
		s.exists, s.indexed = true, i == 0
		l.segs = append(l.segs, s)
	}
	checkGolden(t, "a log in the manifest", l.appendManifest(nil), `
		05 746f706963 03 a00102030405060708090a0b0c0d0e0f 01 05 ac02
		02 c801 ac02   02 00 05 03 fa01   02
		03 00 e807 c801 808080808040 09 01 808080808040
		01 c801 e807 ac02 808080808040 d101 01 808080808040`)
}

func TestTextFormats(t *testing.T) {
	if got := string(formatLines([]string{"t 0 5", "t 1 7"})); got != "0\n2\nt 0 5\nt 1 7\n" {
		t.Errorf("checkpoint %q", got)
	}
	for text, ok := range map[string]bool{
		"0\n1\nt 0 5\n":    true,
		"0\r\n0\r\n":       true,
		"0\n0":             true,
		"1\n0\n":           false,
		"0\n":              false,
		"0\n2\nt 0 5\n":    false,
		"0\nx\nt 0 5\n":    false,
		"garbage":          false,
		"0\n1\nt 0 5\n\n":  false,
		"0\n-1\nt 0 5\n":   false,
		"\x00\x00\x00\x00": false,
	} {
		if _, err := parseLines("file", text); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", text, err, ok)
		}
	}
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	want := MetaProperties{ClusterID: "MkU3OEVBNTcwNTJENDM2Qk", NodeID: 4, DirectoryID: base.TopicID{1}}
	if err := WriteMeta(fs, "/d", want); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := ReadMeta(fs, "/d"); err != nil || !ok || got != want {
		t.Errorf("meta.properties %+v %v %v", got, ok, err)
	}
	for _, bad := range []string{"version=0\ncluster.id=a\nnode.id=1\n", "version=1\nnode.id=1\n", "version=1\ncluster.id=a\n",
		"version=1\ncluster.id=a\nnode.id=x\n", "version=1\ncluster.id=a\nnode.id=1\ndirectory.id=short\n"} {
		if err := vfs.WriteFile(fs, "/d/"+metaFile, []byte(bad)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ReadMeta(fs, "/d"); err == nil {
			t.Errorf("meta.properties %q was taken", bad)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]base.TopicPartition{
		"t-0":                           {Topic: "t"},
		"a-b-12":                        {Topic: "a-b", Partition: 12},
		"a.b_c-7":                       {Topic: "a.b_c", Partition: 7},
		"-0":                            {},
		"t-":                            {},
		"t-x":                           {},
		"t--1":                          {Topic: "t-", Partition: 1},
		"t":                             {},
		"t-0.abc-delete":                {},
		"t-0.abc-future":                {},
		"t-0.abc-stray":                 {},
		"t-99999999999":                 {},
		"__cluster_metadata-0":          {Topic: "__cluster_metadata"},
		strings.Repeat("x", 249) + "-0": {Topic: strings.Repeat("x", 249)},
	} {
		got, ok := parsePartitionDir(name)
		if ok != (want.Topic != "") || ok && got != want {
			t.Errorf("%q is %v %v, want %v", name, got, ok, want)
		}
	}
	tp := base.TopicPartition{Topic: "a.b-c", Partition: 7}
	if got, ok := parseFutureDir(futureDirName(tp)); !ok || got != tp {
		t.Errorf("the future directory of %v is one of %v", tp, got)
	}
	for _, name := range []string{"a.b-c-7", "t-0.abc-delete", "t-future", deleteDirName(tp)} {
		if got, ok := parseFutureDir(name); ok {
			t.Errorf("%q is the future directory of %v", name, got)
		}
	}
	long := deleteDirName(base.TopicPartition{Topic: strings.Repeat("x", 249), Partition: 12345})
	if len(long) > maxNameBytes || !strings.HasSuffix(long, deleteDirSuffix) {
		t.Errorf("%d bytes: %s", len(long), long)
	}
}

func FuzzJournal(f *testing.F) {
	l := goldenLog()
	f.Add(appendNote(appendData(nil, l, 0, 0, &header{}, []byte("data")), entryCut, l, 9))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for len(b) > 0 {
			e, rest, err := parseEntry(b)
			if err != nil {
				return
			}
			_ = e.lastOffset()
			b = rest
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(makeBatch(spec{})))
	f.Add([]byte(makeMarker(1, 2, true, 3, 4)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b, int64(len(b)))
		if err != nil {
			return
		}
		if h.size < minLegacyBytes || h.size > int64(len(b)) || h.last < h.base {
			t.Fatalf("header %+v of %d bytes", h, len(b))
		}
		if checkCRC(b[:h.size]) == nil && h.magic == 2 && h.control() {
			_, _ = parseMarker(b[:h.size], &h)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := parseSnapshot(b); err == nil && len(b) != snapshotHeadBytes+len(list)*snapshotEntryBytes {
			t.Fatalf("%d producers in %d bytes", len(list), len(b))
		}
	})
}

// FuzzIndex: whatever an index file holds, what is taken of it rises and stays inside of the segment.
func FuzzIndex(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0, 0, 0, 1}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewUntrackedMem()
		s := newSegment(100, epoch0, 0)
		s.size = 1 << 20
		for _, suffix := range []string{indexSuffix, timeSuffix, txnSuffix} {
			if err := vfs.WriteFile(fs, segmentName(100)+suffix, b); err != nil {
				t.Fatal(err)
			}
		}
		x, _, err := loadIndexes(fs, "", s)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range x.offs {
			if e.pos() >= s.size || i > 0 && (e.rel() <= x.offs[i-1].rel() || e.pos() <= x.offs[i-1].pos()) {
				t.Fatalf("offset entry %d: %d at %d", i, e.rel(), e.pos())
			}
		}
		for i, e := range x.times {
			if e.rel < 0 || i > 0 && (e.ts <= x.times[i-1].ts || e.rel < x.times[i-1].rel) {
				t.Fatalf("time entry %d: %+v", i, e)
			}
		}
	})
}

// FuzzTextFiles: whatever the small text files of a directory hold, reading them ends in a value or an error.
func FuzzTextFiles(f *testing.F) {
	f.Add([]byte("0\n2\nt 0 5\nt 1 7\n"))
	f.Add([]byte("0\n2\n0 0\n3 17\n"))
	f.Add([]byte("version=1\ncluster.id=c\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n"))
	f.Add([]byte("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewUntrackedMem()
		if err := fs.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"offsets", epochCheckpointFile, metaFile, partitionMetadataFile} {
			if err := vfs.WriteFile(fs, "/d/"+name, b); err != nil {
				t.Fatal(err)
			}
		}
		if o, err := readOffsets(fs, "/d", "offsets"); err == nil && len(o) > len(b) {
			t.Fatalf("%d offsets in %d bytes", len(o), len(b))
		}
		_, _ = loadEpochs(fs, "/d")
		if m, ok, err := ReadMeta(fs, "/d"); ok && (err != nil || m.ClusterID == "") {
			t.Fatalf("meta.properties is taken without a cluster id: %+v, %v", m, err)
		}
		if _, err := readTopicID(fs, "/d"); err != nil {
			t.Fatal(err)
		}
	})
}
