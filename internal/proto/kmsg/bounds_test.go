package kmsg

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"runtime"
	"slices"
	"testing"
)

// TestHostileCounts checks that a count is measured against the bytes that follow before anything is
// allocated for it.
func TestHostileCounts(t *testing.T) {
	tests := []struct {
		name    string
		version int16
		body    []byte
		want    error
	}{
		{"count above the bytes", 8, []byte{0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff}, ErrCount},
		{"count above the bytes, below the limit", 8, []byte{0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 1, 0x86, 0xa0}, ErrCount},
		{"count above the bytes, compact", 9, []byte{0, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0x0f}, ErrCount},
		{"null array", 8, []byte{0xff, 0xff, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff}, ErrNull},
		{"negative count", 8, []byte{0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x80, 0, 0, 0}, ErrCount},
		{"null name", 8, []byte{0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0}, ErrNull},
		{"string length -2", 8, []byte{0xff, 0xfe, 0, 0}, ErrLength},
		{"string of 32768 bytes", 9, append([]byte{0x81, 0x80, 0x02}, make([]byte, 40000)...), ErrLength},
		{"six byte varint", 9, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, ErrVarint},
		{"varint above 32 bits", 9, []byte{0xff, 0xff, 0xff, 0xff, 0x7f}, ErrVarint},
		{"too many tags", 9, []byte{0, 0, 1, 0, 0, 0, 9, 1, 0x91, 0x4e}, ErrTags},
		{"tag longer than the rest", 9, []byte{0, 0, 1, 0, 0, 0, 9, 1, 1, 7, 9, 0}, ErrShort},
		{"records longer than the rest", 8,
			[]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x40, 0, 0, 0}, ErrShort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader(tt.body)
			var m ProduceRequest
			if err := m.Read(&r, tt.version); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestElementLimit reads one array element more than there may be, with all its bytes there.
func TestElementLimit(t *testing.T) {
	for n, want := range map[int]error{MaxElements: nil, MaxElements + 1: ErrCount} {
		b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 1, 0, 1, 'a'}, uint32(n)) // one topic with n partitions
		b = append(b, make([]byte, 4*n+4)...)
		r := NewReader(b)
		var m ElectLeadersRequest
		if err := m.Read(&r, 0); !errors.Is(err, want) {
			t.Errorf("%d elements: %v, want %v", n, err, want)
		}
	}
}

// TestBudget sends a frame whose structs take far more memory than its bytes.
func TestBudget(t *testing.T) {
	const topics = 400_000
	body := binary.BigEndian.AppendUint32([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9}, topics)
	body = append(body, make([]byte, 6*topics)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := NewReader(body)
	var m ProduceRequest
	err := m.Read(&r, 8)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrBudget) {
		t.Fatalf("got %v, want %v", err, ErrBudget)
	}
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(4*len(body)+1<<20); got > limit {
		t.Fatalf("allocated %d bytes, limit %d", got, limit)
	}
}

// TestTagMustFill refuses a known tagged field that is shorter than its declared size.
func TestTagMustFill(t *testing.T) {
	m := NewApiVersionsResponse()
	m.FinalizedFeaturesEpoch = 7
	b := encode(&m, 3)
	i := bytes.Index(b, []byte{1, 1, 8})
	if i < 0 {
		t.Fatalf("no tag 1 of 8 bytes in %x", b)
	}
	b = slices.Insert(b, i+3+8, 0)
	b[i+2] = 9
	r := NewReader(b)
	if err := m.Read(&r, 3); !errors.Is(err, ErrTag) {
		t.Fatalf("got %v, want %v", err, ErrTag)
	}
}

// TestRest leaves what follows a message in the reader.
func TestRest(t *testing.T) {
	m := NewHeartbeatRequest()
	r := NewReader(append(encode(&m, 4), "more"...))
	if err := m.Read(&r, 4); err != nil || string(r.Rest()) != "more" {
		t.Fatalf("rest %q, %v", r.Rest(), err)
	}
}

// TestUnsafeStrings checks who owns a string's bytes in both modes.
func TestUnsafeStrings(t *testing.T) {
	for _, unsafe := range []bool{false, true} {
		m := NewHeartbeatRequest()
		m.GroupId = "group"
		b := encode(&m, 0)
		r := NewReader(b)
		r.Unsafe = unsafe
		if err := m.Read(&r, 0); err != nil {
			t.Fatal(err)
		}
		b[2] = 'G'
		if aliases := m.GroupId == "Group"; aliases != unsafe {
			t.Errorf("unsafe %v: string reads %q", unsafe, m.GroupId)
		}
	}
}

// hotRequests are the two requests of the data path, with something in every array.
func hotRequests() map[Request]int16 {
	txn := "transactional"
	produce := &ProduceRequest{TransactionalId: &txn, Acks: -1, TimeoutMs: 30000}
	fetch := NewFetchRequest()
	fetch.RackId = "rack"
	for range 3 {
		produce.TopicData = append(produce.TopicData, ProduceRequestTopicProduceData{
			Name:          "a-topic",
			PartitionData: []ProduceRequestPartitionProduceData{{Records: Records{Bytes: make([]byte, 900)}}, {Index: 1}},
		})
		fetch.Topics = append(fetch.Topics, FetchRequestFetchTopic{
			Topic:      "a-topic",
			Partitions: []FetchRequestFetchPartition{NewFetchRequestFetchPartition(), NewFetchRequestFetchPartition()},
		})
		fetch.ForgottenTopicsData = append(fetch.ForgottenTopicsData,
			FetchRequestForgottenTopic{Topic: "gone", Partitions: []int32{1, 2, 3}})
	}
	return map[Request]int16{produce: 12, &fetch: 12}
}

// TestReadAllocatesNothing decodes the data path's requests into a message that is used again.
func TestReadAllocatesNothing(t *testing.T) {
	for m, version := range hotRequests() {
		b := encode(m, version)
		got := NewRequest(m.Key())
		var r Reader // lives with the connection; one made inside would count as an allocation
		n := testing.AllocsPerRun(100, func() {
			r = NewReader(b)
			r.Unsafe = true
			if err := got.Read(&r, version); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%T: %v allocations", m, n)
		}
		if d := diffMessages(m, got); d != "" {
			t.Errorf("%T: %s", m, d)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for m, version := range hotRequests() {
		b.Run(ByKey(m.Key()).Name, func(b *testing.B) {
			buf := encode(m, version)
			got := NewRequest(m.Key())
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			var r Reader
			for b.Loop() {
				r = NewReader(buf)
				r.Unsafe = true
				if err := got.Read(&r, version); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzRequests feeds any bytes to any request decoder: it must end in a value or an error within the
// budget, and a value must survive another round.
func FuzzRequests(f *testing.F) {
	for m, version := range hotRequests() {
		f.Add(m.Key(), version, encode(m, version))
	}
	for _, a := range APIs {
		f.Add(a.Key, a.Max, encode(NewRequest(a.Key), a.Max))
		f.Add(a.Key, a.Min, encode(NewRequest(a.Key), a.Min))
	}
	f.Fuzz(func(t *testing.T, key, version int16, b []byte) {
		m := NewRequest(key)
		if m == nil {
			return
		}
		r := NewReader(b)
		if err := m.Read(&r, version); err != nil {
			return
		}
		if r.budget < 0 {
			t.Fatal("budget was overdrawn")
		}
		again := NewRequest(key)
		out := encode(m, version)
		r = NewReader(out)
		if err := again.Read(&r, version); err != nil || len(r.Rest()) != 0 {
			t.Fatalf("second read: %v, %d bytes left", err, len(r.Rest()))
		}
		if !bytes.Equal(out, encode(again, version)) {
			t.Fatal("second encoding differs")
		}
	})
}

// FuzzRecords feeds any bytes to the decoders of what is stored: metadata records and the
// coordinators' keys and values.
func FuzzRecords(f *testing.F) {
	for _, text := range metadataGolden {
		f.Add(byte(0), mustHex(text))
	}
	for _, g := range coordinatorGolden {
		f.Add(byte(1), mustHex(g.k))
		f.Add(byte(2), mustHex(g.v))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		switch kind % 3 {
		case 0:
			rec, version, err := ReadMetadataRecord(b)
			if err != nil {
				return
			}
			if _, _, err := ReadMetadataRecord(AppendMetadataRecord(nil, rec, version)); err != nil {
				t.Fatal(err)
			}
		case 1:
			kt, err := KeyType(b)
			if err != nil {
				return
			}
			for _, fn := range []func(int16) (Record, int16){NewGroupKey, NewTransactionKey, NewShareKey} {
				if key, _ := fn(kt); key != nil && ReadKey(b, key) == nil {
					if err := ReadKey(AppendKey(nil, key), key); err != nil {
						t.Fatal(err)
					}
				}
			}
		case 2:
			for kt := range int16(30) {
				value, _ := NewGroupValue(kt)
				if value == nil {
					continue
				}
				if version, err := ReadVersioned(b, value); err == nil {
					if _, err := ReadVersioned(AppendVersioned(nil, version, value), value); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
