package server

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// The whole of a request, over a socket, with a client that costs nothing: it sends one frame again
// and again and reads answers into one buffer.

// frameOf encodes a request with header and size.
func frameOf(req kmsg.Request, version int16) []byte {
	var w kmsg.Writer
	w.Int32(0)
	w.Int16(req.Key())
	w.Int16(version)
	w.Int32(1)
	w.Int16(int16(len("bench")))
	w.Buf = append(w.Buf, "bench"...)
	if kmsg.RequestHeaderVersion(req.Key(), version) >= 2 {
		w.Uvarint(0)
	}
	req.Append(&w, version)
	binary.BigEndian.PutUint32(w.Buf, uint32(len(w.Buf)-4))
	return w.Buf
}

// produceFrame has the same batch for each of the partitions.
func produceFrame(t testing.TB, topic string, partitions, records, value int, acks int16) []byte {
	t.Helper()
	b := batch.NewBuilder(batch.Options{})
	for range records {
		b.Append(time.Now().UnixMilli(), nil, make([]byte, value))
	}
	bt, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMs = acks, 30000
	data := kmsg.ProduceRequestTopicProduceData{Name: topic}
	for i := range partitions {
		data.PartitionData = append(data.PartitionData, kmsg.ProduceRequestPartitionProduceData{
			Index: int32(i), Records: kmsg.Records{Bytes: bt},
		})
	}
	req.TopicData = append(req.TopicData, data)
	return frameOf(&req, 9)
}

func fetchFrame(topic string, partitions int, maxBytes int32, session, epoch int32) []byte {
	req := kmsg.NewFetchRequest()
	req.ReplicaId, req.MinBytes, req.MaxBytes, req.SessionId, req.SessionEpoch = -1, 1, 50<<20, session, epoch
	ft := kmsg.FetchRequestFetchTopic{Topic: topic}
	for i := range partitions {
		p := kmsg.NewFetchRequestFetchPartition()
		p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = int32(i), maxBytes, -1, -1
		ft.Partitions = append(ft.Partitions, p)
	}
	req.Topics = append(req.Topics, ft)
	return frameOf(&req, 12)
}

// caller does one request at a time.
type caller struct {
	t     testing.TB
	nc    net.Conn
	frame []byte
	buf   []byte
}

func newCaller(t testing.TB, addr string, frame []byte) *caller {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &caller{t: t, nc: nc, frame: frame, buf: make([]byte, 8<<20)}
}

// call returns the answer's body with its header.
func (c *caller) call() []byte {
	if _, err := c.nc.Write(c.frame); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.ReadFull(c.nc, c.buf[:4]); err != nil {
		c.t.Fatal(err)
	}
	n := int(binary.BigEndian.Uint32(c.buf))
	if _, err := io.ReadFull(c.nc, c.buf[:n]); err != nil {
		c.t.Fatal(err)
	}
	return c.buf[:n]
}

// check decodes one answer, so that no figure is one of refused requests.
func (c *caller) check() {
	c.t.Helper()
	body := append([]byte(nil), c.call()...)
	r := kmsg.NewReader(body[5:])
	if binary.BigEndian.Uint16(c.frame[4:]) == uint16(kmsg.KeyProduce) {
		var resp kmsg.ProduceResponse
		if err := resp.Read(&r, 9); err != nil {
			c.t.Fatal(err)
		}
		for _, p := range resp.Responses[0].PartitionResponses {
			if p.ErrorCode != 0 {
				c.t.Fatalf("partition %d: error %d", p.Index, p.ErrorCode)
			}
		}
		return
	}
	var resp kmsg.FetchResponse
	if err := resp.Read(&r, 12); err != nil {
		c.t.Fatal(err)
	}
	for _, p := range resp.Responses[0].Partitions {
		if p.ErrorCode != 0 || p.Records.Len() == 0 {
			c.t.Fatalf("partition %d: error %d, %d bytes", p.PartitionIndex, p.ErrorCode, p.Records.Len())
		}
	}
}

func loadBroker(t testing.TB, d storage.Durability) string {
	return startBroker(t, Options{}, vfs.OS{}, t.TempDir(), d, map[string]int{"t": 8}).addr
}

var durabilities = map[string]storage.Durability{"fsync": storage.Fsync, "replicated": storage.Replicated}

func BenchmarkProduce(b *testing.B) {
	for name, d := range durabilities {
		for _, size := range []struct{ partitions, records, value int }{{1, 1, 100}, {1, 16, 1000}, {8, 64, 1000}} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, size.partitions, size.records, size.value), func(b *testing.B) {
				c := newCaller(b, loadBroker(b, d), produceFrame(b, "t", size.partitions, size.records, size.value, -1))
				c.check()
				b.SetBytes(int64(len(c.frame)))
				b.ReportAllocs()
				for b.Loop() {
					c.call()
				}
			})
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	for _, partitions := range []int{1, 8} {
		for _, maxBytes := range []int32{4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%dx%d", partitions, maxBytes), func(b *testing.B) {
				addr := loadBroker(b, storage.Replicated)
				// A batch fits the smallest limit: a fetch gives more than its limit for its first partition only.
				p := newCaller(b, addr, produceFrame(b, "t", partitions, 3, 1000, -1))
				for range 64 {
					p.check()
				}
				c := newCaller(b, addr, fetchFrame("t", partitions, maxBytes, 0, -1))
				c.check()
				b.SetBytes(int64(len(c.call())))
				b.ReportAllocs()
				for b.Loop() {
					c.call()
				}
			})
		}
	}
}

// sink takes answers and forgets them.
type sink struct{ n int }

func (s *sink) Send(w *kmsg.Writer) { s.n++; discard(w) }
func (s *sink) Drop()               { s.n++ }
func (s *sink) Close(reason string) { panic(reason) }

// BenchmarkDispatch is a request without a socket: decode, handler, log, encode.
func BenchmarkDispatch(b *testing.B) {
	for name, frame := range map[string][]byte{
		"produce": produceFrame(b, "t", 1, 16, 1000, 1), "fetch": fetchFrame("t", 1, 64<<10, 0, -1),
	} {
		b.Run(name, func(b *testing.B) {
			br := startBroker(b, Options{}, vfs.OS{}, b.TempDir(), storage.Replicated, map[string]int{"t": 1})
			newCaller(b, br.addr, produceFrame(b, "t", 1, 64, 1000, -1)).check()
			conn := api.NewConn(1, "PLAINTEXT", netip.AddrPort{}, netip.AddrPort{}, make(chan struct{}), func() {})
			var call api.Call
			var out sink
			request := append([]byte(nil), frame[4:]...)
			b.SetBytes(int64(len(request)))
			b.ReportAllocs()
			for b.Loop() {
				copy(request, frame[4:]) // the log writes offsets into it
				if err := br.api.Dispatch(conn, request, &call, &out); err != nil {
					b.Fatal(err)
				}
			}
			if out.n == 0 {
				b.Fatal("no request was answered")
			}
		})
	}
}

// TestRequestAllocations holds down what the broker allocates for a request: nothing per record, and
// for each further partition of a fetch only its file range.
func TestRequestAllocations(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("counts the allocations of the whole process")
	}
	produce := func(d storage.Durability, partitions, records int, acks int16) float64 {
		c := newCaller(t, loadBroker(t, d), produceFrame(t, "t", partitions, records, 100, acks))
		c.check()
		return allocs(c)
	}
	fetch := func(partitions int) float64 {
		addr := loadBroker(t, storage.Replicated)
		newCaller(t, addr, produceFrame(t, "t", partitions, 10, 100, -1)).check()
		c := newCaller(t, addr, fetchFrame("t", partitions, 1<<20, 0, -1))
		c.check()
		return allocs(c)
	}
	authorized := func(frame []byte) float64 {
		c := newCaller(t, authorizedBroker(t), frame)
		c.check()
		return allocs(c)
	}
	for _, tc := range []struct {
		name string
		got  float64
		most float64
	}{
		{"produce, acks=1, 1 record, with an authorizer", authorized(produceFrame(t, "t", 1, 1, 100, 1)), 2},
		{"produce, 8 partitions, with an authorizer", authorized(produceFrame(t, "t", 8, 10, 100, 1)), 2},
		{"fetch of 1 partition, with an authorizer", authorized(fetchFrame("t", 1, 1<<20, 0, -1)), 3},
		{"fetch of 8 partitions, with an authorizer", authorized(fetchFrame("t", 8, 1<<20, 0, -1)), 12},
		{"produce, acks=1, 1 record", produce(storage.Replicated, 1, 1, 1), 2},
		{"produce, acks=1, 1000 records", produce(storage.Replicated, 1, 1000, 1), 2},
		{"produce, acks=all, replicated, 8 partitions", produce(storage.Replicated, 8, 10, -1), 2},
		{"produce, acks=all, fsync, 1 record", produce(storage.Fsync, 1, 1, -1), 2},
		{"produce, acks=all, fsync, 1000 records", produce(storage.Fsync, 1, 1000, -1), 2},
		{"produce, acks=all, fsync, 8 partitions", produce(storage.Fsync, 8, 10, -1), 2},
		{"fetch of 1 partition", fetch(1), 3},
		{"fetch of 8 partitions", fetch(8), 12},
	} {
		t.Logf("%-46s %.1f allocations", tc.name, tc.got)
		if tc.got > tc.most {
			t.Errorf("%s: %.1f allocations a request, want at most %.0f", tc.name, tc.got, tc.most)
		}
	}
}

// authorizedBroker is loadBroker with an authorizer that allows what the tests ask for by a prefix; there are records.
func authorizedBroker(t *testing.T) string {
	t.Helper()
	e := meta.Empty("").Edit()
	for i, op := range []auth.Operation{auth.Read, auth.Write} {
		if err := e.Apply(&kmsg.AccessControlEntryRecord{
			Id: base.TopicID{15: byte(i)}, ResourceType: int8(auth.Topic), ResourceName: "t", PatternType: int8(meta.ACLPrefixed),
			Principal: auth.Anonymous.String(), Host: "*", Operation: int8(op), PermissionType: int8(meta.ACLAllow),
		}); err != nil {
			t.Fatal(err)
		}
	}
	im, _ := e.Image(0, 0)
	a := auth.NewAuthorizer(auth.Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	a.Update(im)
	br := startBroker(t, Options{}, vfs.OS{}, t.TempDir(), storage.Replicated, map[string]int{"t": 8})
	br.api.Authorizer = a
	newCaller(t, br.addr, produceFrame(t, "t", 8, 10, 100, -1)).check()
	return br.addr
}

// allocs is what a request allocates in the long run: buffers that are made once do not count.
func allocs(c *caller) float64 {
	for range 200 {
		c.call()
	}
	return testing.AllocsPerRun(500, func() { c.call() })
}
