package dump

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// segment writes batches to a segment file in dir.
func segment(t *testing.T, dir string, batches ...batch.Batch) string {
	t.Helper()
	var all []byte
	for _, b := range batches {
		all = append(all, b...)
	}
	return file(t, dir, "00000000000000000000.log", all)
}

func file(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func oneBatch(t *testing.T, base int64, o batch.Options, kv ...string) batch.Batch {
	t.Helper()
	o.BaseOffset = base
	b := batch.NewBuilder(o)
	for i := 0; i+1 < len(kv); i += 2 {
		b.Append(1000+int64(i), []byte(kv[i]), []byte(kv[i+1]))
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return append(batch.Batch(nil), out...)
}

func collect(t *testing.T, path string, o Options) []Item {
	t.Helper()
	var items []Item
	if err := File(path, o, func(it Item) error { items = append(items, it); return nil }); err != nil {
		t.Fatal(err)
	}
	return items
}

func problems(items []Item) (out []string) {
	for _, it := range items {
		if it.Problem != "" {
			out = append(out, it.Problem)
		}
	}
	return out
}

func TestLogRecords(t *testing.T) {
	path := segment(t, t.TempDir(),
		oneBatch(t, 0, batch.Options{Codec: batch.Zstd}, "a", "1", "b", "2"),
		oneBatch(t, 2, batch.Options{}, "\xff", "3"))
	items := collect(t, path, Options{Records: true})
	if len(items) != 5 || len(problems(items)) != 0 {
		t.Fatalf("%d items, problems %v, want two batches and three records", len(items), problems(items))
	}
	first := items[0].Batch
	if first.BaseOffset != 0 || first.LastOffset != 1 || first.Count != 2 || first.Codec != "zstd" || !first.Valid {
		t.Errorf("first batch is %+v", first)
	}
	if r := items[2].Record; r.Offset != 1 || *r.Key != "b" || *r.Value != "2" || r.Timestamp != 1002 {
		t.Errorf("second record is %+v", r)
	}
	if r := items[4].Record; r.KeyEncoding != "base64" || *r.Key != "/w==" {
		t.Errorf("a binary key is %+v", r)
	}
}

func TestLogDamage(t *testing.T) {
	good := oneBatch(t, 0, batch.Options{}, "a", "1")
	later := oneBatch(t, 1, batch.Options{}, "b", "2")
	flipped := append(batch.Batch(nil), good...)
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"flipped bit", append(append([]byte(nil), flipped...), later...), "checksum"},
		{"torn", append(append([]byte(nil), good...), later[:len(later)-3]...), "a torn write"},
		{"short head", append(append([]byte(nil), good...), 1, 2, 3), "less than the head of a batch"},
		{"zeros", append(append([]byte(nil), good...), make([]byte, 64)...), "zeros"},
		{"backwards", append(append([]byte(nil), later...), good...), "base offset 0 is below 2"},
		{"nonsense length", append(append([]byte(nil), good...), []byte("garbagegarbagegarbage")...),
			"which no batch has"},
	}
	for _, tt := range tests {
		items := collect(t, file(t, t.TempDir(), "00000000000000000000.log", tt.data), Options{Records: true})
		got := strings.Join(problems(items), "; ")
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: problems %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestIndexes(t *testing.T) {
	dir := t.TempDir()
	var off []byte
	off = binary.BigEndian.AppendUint64(off, 5<<32|100)
	off = binary.BigEndian.AppendUint64(off, 9<<32|200)
	off = append(off, make([]byte, 10<<20)...) // reserved
	items := collect(t, file(t, dir, "00000000000000000100.index", off), Options{})
	if len(items) != 2 || items[1].Offset.Offset != 109 || items[1].Offset.BatchPosition != 200 ||
		len(problems(items)) != 0 {
		t.Errorf("offset index is %+v", items)
	}
	off[8] = 0
	binary.BigEndian.PutUint32(off[8:], 4)
	if got := problems(collect(t, file(t, dir, "00000000000000000100.index", off), Options{})); len(got) != 1 {
		t.Errorf("an index that falls has problems %v", got)
	}
	var tim []byte
	tim = binary.BigEndian.AppendUint64(tim, 1234)
	tim = binary.BigEndian.AppendUint32(tim, 3)
	items = collect(t, file(t, dir, "00000000000000000100.timeindex", append(tim, 1)), Options{})
	if len(items) != 2 || items[0].Time.Timestamp != 1234 || items[0].Time.Offset != 103 || items[1].Problem == "" {
		t.Errorf("time index is %+v", items)
	}
	txn := binary.BigEndian.AppendUint16(nil, 0)
	for _, n := range []uint64{7, 10, 20, 15} {
		txn = binary.BigEndian.AppendUint64(txn, n)
	}
	items = collect(t, file(t, dir, "00000000000000000000.txnindex", txn), Options{})
	if len(items) != 1 || *items[0].Aborted != (Aborted{7, 10, 20, 15}) {
		t.Errorf("transaction index is %+v", items)
	}
}

func TestSmallFiles(t *testing.T) {
	dir := t.TempDir()
	items := collect(t, file(t, dir, "recovery-point-offset-checkpoint", []byte("0\n2\norders 0 17\norders 1 4\n")),
		Options{})
	if len(items) != 2 || strings.Join(items[0].Line.Fields, "|") != "orders|0|17" {
		t.Errorf("checkpoint is %+v", items)
	}
	if got := problems(collect(t, file(t, dir, "leader-epoch-checkpoint", []byte("0\n3\n0 0\n")), Options{})); len(
		got) != 1 {
		t.Errorf("a wrong count has problems %v", got)
	}
	items = collect(t, file(t, dir, "meta.properties", []byte("#\nversion=1\ncluster.id=x\n")), Options{})
	if len(items) != 2 {
		t.Errorf("properties are %+v", items)
	}
	if got := problems(collect(t, file(t, dir, "00000000000000000009.snapshot",
		[]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 9}), Options{})); len(got) != 2 {
		t.Errorf("a snapshot without its producers has problems %v", got)
	}
}

func TestDecodesGroups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "__consumer_offsets-7")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := kmsg.NewOffsetCommitKey()
	key.Group, key.Topic, key.Partition = "billing", "orders", 3
	value := kmsg.NewOffsetCommitValue()
	value.Offset = 42
	path := segment(t, dir, oneBatch(t, 0, batch.Options{}, string(kmsg.AppendKey(nil, &key)),
		string(kmsg.AppendVersioned(nil, 3, &value))))
	items := collect(t, path, Options{Records: true, Decoder: DecoderFor(path)})
	b, err := json.Marshal(items[1].Record.Decoded)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"type":"OffsetCommit"`, `"Group":"billing"`, `"Offset":42`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("decoded is %s, want %s in it", b, want)
		}
	}
}

// FuzzFile holds that no bytes under any name cause a panic, and that every item lies in the file.
func FuzzFile(f *testing.F) {
	names := []string{"00000000000000000000.log", "00000000000000000000.index", "00000000000000000000.timeindex",
		"00000000000000000000.txnindex", "00000000000000000000.snapshot", "replication-offset-checkpoint", "meta.properties"}
	f.Add(0, []byte("x"))
	f.Add(4, []byte{0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		path := file(t, t.TempDir(), names[uint(which)%uint(len(names))], data)
		for _, decoder := range []string{"", "offsets", "transactions", "metadata"} {
			err := File(path, Options{Records: true, Decoder: decoder}, func(it Item) error {
				if it.Position < 0 || it.Position > int64(len(data)) {
					t.Errorf("item at %d of %d bytes", it.Position, len(data))
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}
