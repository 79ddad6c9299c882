package kmsg

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Records as Apache Kafka 4.3.1 wrote them to its logs.
var metadataGolden = map[string]string{
	"BeginTransactionRecord v0": "01170001001212426f6f747374726170207265636f726473",
	"FeatureLevelRecord v0":     "010c00116d657461646174612e76657273696f6e001e00",
	"ConfigRecord v0":           "0104000401146d696e2e696e73796e632e7265706c69636173023100",
	"EndTransactionRecord v0":   "01180000",
	"NoOpRecord v0":             "01140000",
	"RegisterBrokerRecord v4": "01000400000001007a1158f8f92a40a7999b745c6ed07dae000000000000000c020a504c41494e5445" +
		"58540a3132372e302e302e314a9400000008147472616e73616374696f6e2e76657273696f6e000000020010737472656" +
		"16d732e76657273696f6e00000001000e67726f75702e76657273696f6e00000001000e6b726166742e76657273696f6e" +
		"00000001000e73686172652e76657273696f6e0000000100116d657461646174612e76657273696f6e0007001e0021656" +
		"c696769626c652e6c65616465722e7265706c696361732e76657273696f6e000000010000010001001102b28c1d0580ef" +
		"aa12b9df6126145bbac2",
	"BrokerRegistrationChangeRecord v3": "01110300000001000000000000000c01030101",
	"BrokerRegistrationChangeRecord v0": "01110000000001000000000000000c010001ff",
	"TopicRecord v0":                    "0102000f6576312d636f6465632d6e6f6e658d11e680da134852b9328ede10bb0ead00",
	"PartitionRecord v2": "010302000000008d11e680da134852b9328ede10bb0ead02000000010200000001010100000001000000" +
		"000000000002b28c1d0580efaa12b9df6126145bbac200",
	"ProducerIdsRecord v0": "010f0000000001000000000000000c00000000000003e800",
	"ClearElrRecord v0":    "011c00145f5f7472616e73616374696f6e5f737461746500",
	"RemoveTopicRecord v0": "0109006e97a3812db54fe7aeeeaa8ef228958e00",
}

func TestMetadataGolden(t *testing.T) {
	for name, text := range metadataGolden {
		t.Run(name, func(t *testing.T) {
			b := mustHex(text)
			rec, version, err := ReadMetadataRecord(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimPrefix(fmt.Sprintf("%T v%d", rec, version), "*kmsg."); got != name {
				t.Fatalf("read as %s", got)
			}
			if out := AppendMetadataRecord(nil, rec, version); !bytes.Equal(out, b) {
				t.Fatalf("wrote %x\nwant  %x", out, b)
			}
		})
	}
}

func TestMetadataFrameErrors(t *testing.T) {
	for text, want := range map[string]error{
		"":                 ErrShort,
		"0204000401":       ErrVersion, // frame
		"01630000":         ErrType,
		"01ffffffff0f0000": ErrType,
		"01140100":         ErrVersion,
		"0114000000":       ErrLength,
		"011400":           ErrShort,
	} {
		if _, _, err := ReadMetadataRecord(mustHex(text)); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

// coordinatorGolden are keys and values of __consumer_offsets and __transaction_state.
var coordinatorGolden = []struct {
	name       string
	key, value func(int16) (Record, int16)
	k, v       string
}{
	{"offset commit", NewGroupKey, NewGroupValue,
		"0001000d6576312d74786e2d67726f7570000a6576312d74786e2d696e00000000",
		"0004000000000000000affffffff01000001a1fc4bbbab00"},
	{"classic group", NewGroupKey, NewGroupValue,
		"0002000d6576312d74786e2d67726f7570",
		"0003000000000000ffffffff000001a1fc4bbb0400000000"},
	{"consumer group", NewGroupKey, NewGroupValue,
		"0003000b6576312d6d696772617465",
		"000000000001010008a0ba03f49256e4a6"},
	{"target assignment", NewGroupKey, NewGroupValue,
		"0006000b6576312d6d696772617465",
		"00000000000100"},
	{"member without classic metadata", NewGroupKey, NewGroupValue,
		"0005000b6576312d6d696772617465000161",
		"0000000019636f6e73756d65722d6576312d6d6967726174652d3239340b2f3132372e302e302e31020c6576312d6d69" +
			"677261746501000493e00001000100"},
	{"transaction", NewTransactionKey, NewTransactionValue,
		"0000000b6576312d74696d656f7574",
		"000100000000000000140000000003e80000000001a1fc4bbfe2ffffffffffffffff0100080000000000000014"},
}

func TestCoordinatorGolden(t *testing.T) {
	for _, tt := range coordinatorGolden {
		t.Run(tt.name, func(t *testing.T) {
			k, v := mustHex(tt.k), mustHex(tt.v)
			kind, err := KeyType(k)
			if err != nil {
				t.Fatal(err)
			}
			key, _ := tt.key(kind)
			value, _ := tt.value(kind)
			if err := ReadKey(k, key); err != nil {
				t.Fatal(err)
			}
			version, err := ReadVersioned(v, value)
			if err != nil {
				t.Fatal(err)
			}
			if out := AppendKey(nil, key); !bytes.Equal(out, k) {
				t.Errorf("key %x, want %x", out, k)
			}
			if out := AppendVersioned(nil, kind, key); !bytes.Equal(out, k) {
				t.Errorf("key by AppendVersioned %x, want %x", out, k)
			}
			if out := AppendVersioned(nil, version, value); !bytes.Equal(out, v) {
				t.Errorf("value %x, want %x", out, v)
			}
		})
	}
}

func TestCoordinatorErrors(t *testing.T) {
	var key OffsetCommitKey
	if err := ReadKey([]byte{0, 2, 0, 0}, &key); !errors.Is(err, ErrType) {
		t.Errorf("key of another type: %v", err)
	}
	if err := ReadKey([]byte{0}, &key); !errors.Is(err, ErrShort) {
		t.Errorf("key of one byte: %v", err)
	}
	var value OffsetCommitValue
	if _, err := ReadVersioned([]byte{0, 9, 0, 0}, &value); !errors.Is(err, ErrVersion) {
		t.Errorf("value of version 9: %v", err)
	}
	if _, err := ReadVersioned([]byte{0}, &value); !errors.Is(err, ErrShort) {
		t.Errorf("value of one byte: %v", err)
	}
}

func TestAPITable(t *testing.T) {
	for i, a := range APIs {
		if i > 0 && a.Key <= APIs[i-1].Key {
			t.Errorf("%s is out of order", a.Name)
		}
		if ByKey(a.Key) != &APIs[i] {
			t.Errorf("ByKey(%d) is not %s", a.Key, a.Name)
		}
		if NewRequest(a.Key).Key() != a.Key || NewResponse(a.Key).Key() != a.Key {
			t.Errorf("%s: constructors give another key", a.Name)
		}
		if a.AdvertisedMin > a.Min || a.Min > a.Max || a.Listeners == 0 {
			t.Errorf("odd row %+v", a)
		}
	}
	for _, key := range []int16{-1, 4, 7, 93, 1000} {
		if ByKey(key) != nil || NewRequest(key) != nil || NewResponse(key) != nil {
			t.Errorf("key %d is known", key)
		}
	}
	if p := ByKey(KeyProduce); p.Min != 3 || p.AdvertisedMin != 0 || p.Max != 13 {
		t.Errorf("produce is %+v", *p)
	}
	if p := ByKey(KeyInitProducerId); p.Max != 5 || !p.LatestUnstable {
		t.Errorf("InitProducerId is %+v", *p)
	}
}

func TestHeaderVersions(t *testing.T) {
	for _, tt := range []struct{ key, version, request, response int16 }{
		{KeyProduce, 8, 1, 0},
		{KeyProduce, 9, 2, 1},
		{KeyApiVersions, 0, 1, 0},
		{KeyApiVersions, 3, 2, 0},
		{KeySaslHandshake, 1, 1, 0},
		{KeyDescribeCluster, 0, 2, 1},
		{9999, 0, 1, 0},
	} {
		req, resp := RequestHeaderVersion(tt.key, tt.version), ResponseHeaderVersion(tt.key, tt.version)
		if req != tt.request || resp != tt.response {
			t.Errorf("key %d v%d: headers %d and %d, want %d and %d",
				tt.key, tt.version, req, resp, tt.request, tt.response)
		}
	}
}

// TestHeaderClientID: the client id keeps its 16-bit length in the flexible header (KIP-482).
func TestHeaderClientID(t *testing.T) {
	id := "me"
	h := RequestHeader{RequestApiKey: 3, RequestApiVersion: 12, CorrelationId: 7, ClientId: &id}
	want := []byte{0, 3, 0, 12, 0, 0, 0, 7, 0, 2, 'm', 'e', 0}
	if b := encode(&h, 2); !bytes.Equal(b, want) {
		t.Fatalf("wrote %x, want %x", b, want)
	}
}

type fakeFile int

func (f fakeFile) Len() int { return int(f) }

// TestSections: external records leave only their length in the buffer.
func TestSections(t *testing.T) {
	m := NewFetchResponse()
	m.Responses = []FetchResponseFetchableTopicResponse{{
		Topic: "t",
		Partitions: []FetchResponsePartitionData{
			{PartitionIndex: 0, Records: Records{Ext: fakeFile(300)}},
			{PartitionIndex: 1, Records: Records{Bytes: []byte("abc")}},
			{PartitionIndex: 2, Records: Records{Ext: fakeFile(5)}},
		},
	}}
	var w Writer
	m.Append(&w, 11)
	if len(w.Sections) != 2 {
		t.Fatalf("%d sections", len(w.Sections))
	}
	if w.Len() != len(w.Buf)+305 {
		t.Errorf("length %d with a buffer of %d", w.Len(), len(w.Buf))
	}
	var whole []byte
	at := 0
	for _, s := range w.Sections {
		whole = append(append(whole, w.Buf[at:s.At]...), bytes.Repeat([]byte{'x'}, s.Ext.Len())...)
		at = s.At
	}
	whole = append(whole, w.Buf[at:]...)
	r := NewReader(whole)
	got := NewFetchResponse()
	if err := got.Read(&r, 11); err != nil || len(r.Rest()) != 0 {
		t.Fatalf("%v, %d bytes left", err, len(r.Rest()))
	}
	for i, n := range []int{300, 3, 5} {
		if l := got.Responses[0].Partitions[i].Records.Len(); l != n {
			t.Errorf("partition %d has %d bytes, want %d", i, l, n)
		}
	}
	w.Reset()
	if w.Len() != 0 || len(w.Sections) != 0 {
		t.Error("reset left something")
	}
}
