package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBroker is a broker with topics from metadata records and nothing that needs a coordinator.
type testBroker struct {
	addr  string
	parts *partition.Table
	api   *api.Broker
}

func startBroker(t testing.TB, o Options, fs vfs.FS, dir string, durability storage.Durability, topics map[string]int,
	with ...func(*Listener, *Server),
) *testBroker {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	_, inMemory := fs.(*vfs.Mem)
	store, err := storage.Open(ctx, storage.Options{
		FS: fs, Dirs: []string{dir}, NodeID: 1, Logger: log, Journal: storage.JournalOptions{Inline: inMemory},
	})
	if err != nil {
		t.Fatal(err)
	}
	parts := partition.NewTable()
	edit := meta.Empty("test").Edit()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(edit.Apply(&kmsg.RegisterBrokerRecord{BrokerId: 1}))
	for name, n := range topics {
		id := base.NewTopicID()
		must(edit.Apply(&kmsg.TopicRecord{Name: name, TopicId: id}))
		topic := &partition.Topic{Name: name, ID: id}
		for i := range n {
			rec := kmsg.NewPartitionRecord()
			rec.PartitionId, rec.TopicId, rec.Leader, rec.LeaderEpoch = int32(i), id, 1, 0
			rec.Replicas, rec.Isr = []int32{1}, []int32{1}
			must(edit.Apply(&rec))
			tp := base.TopicPartition{Topic: name, Partition: int32(i)}
			cfg := storage.DefaultLogConfig()
			cfg.Durability = durability
			l, err := store.Create(tp, id, cfg, "")
			must(err)
			topic.Parts = append(topic.Parts, partition.Open(tp, id, l, 0, &partition.Settings{
				Durability: durability, MinInSync: 1,
				Validate: batch.ValidateOptions{Depth: batch.DepthSampled, TimestampAfterMaxMs: 3600000, TimestampBeforeMaxMs: 1<<63 - 1},
			}))
		}
		parts.Put(topic)
	}
	im, _ := edit.Image(0, 0)
	static, err := conf.Load(conf.Source{Defaults: map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "auto.create.topics.enable": "false",
	}})
	must(err)
	live := conf.NewLive(static, nil, nil)
	b := &api.Broker{
		Logger: log, Clock: clock.System{}, NodeID: 1, Parts: parts, Image: func() *meta.Image { return im },
		Features:   func() (int64, []api.Feature) { return 0, nil },
		Admin:      api.Admin{Store: store, Conf: func() *conf.Live { return live }},
		Advertised: func(c *api.Conn) (string, int32, bool) { return c.Local.Addr().String(), int32(c.Local.Port()), true },
	}
	b.Init(57671680, 100)
	o.Broker = b
	if o.Logger == nil {
		o.Logger = log
	}
	if o.MaxRequestBytes == 0 {
		o.MaxRequestBytes = 104857600
	}
	if o.BudgetBytes == 0 {
		o.BudgetBytes = 256 << 20
	}
	l, srv := Listener{Name: "PLAINTEXT"}, New(o)
	for _, w := range with {
		w(&l, srv)
	}
	if l.Listener == nil {
		l.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		must(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, []Listener{l}) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testBroker{addr: l.Addr().String(), parts: parts, api: b}
}

// patience is how long a test waits for what takes milliseconds on a machine that is free.
const patience = 2 * time.Minute

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// TestProduceFetch sends records with a client of another make, with each codec and ack, and reads
// them back, on files and in memory, in both durabilities.
func TestProduceFetch(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"files": vfs.OS{}, "memory": vfs.NewMem()} {
		for _, d := range []storage.Durability{storage.Fsync, storage.Replicated} {
			t.Run(fmt.Sprintf("%s durability %d", name, d), func(t *testing.T) {
				dir := "/data"
				if name == "files" {
					dir = t.TempDir()
				}
				b := startBroker(t, Options{}, fs, dir, d, map[string]int{fmt.Sprintf("t%d", d): 3})
				roundTrip(t, b, fmt.Sprintf("t%d", d))
			})
		}
	}
}

func roundTrip(t *testing.T, b *testBroker, topic string, with ...kgo.Opt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := map[string]bool{}
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	for i, codec := range codecs {
		for _, acks := range []kgo.Acks{kgo.AllISRAcks(), kgo.LeaderAck()} {
			cl, err := kgo.NewClient(append(with[:len(with):len(with)], kgo.SeedBrokers(b.addr), kgo.ProducerBatchCompression(codec),
				kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())...)
			if err != nil {
				t.Fatal(err)
			}
			var recs []*kgo.Record
			for k := range 200 {
				v := fmt.Sprintf("%d-%v-%d-%s", i, acks, k, strings.Repeat("x", k*20))
				want[v] = true
				recs = append(recs, &kgo.Record{Topic: topic, Key: []byte{byte(k)}, Value: []byte(v)})
			}
			if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
				t.Fatalf("codec %d: %v", i, err)
			}
			cl.Close()
		}
	}
	cl, err := kgo.NewClient(append(with[:len(with):len(with)], kgo.SeedBrokers(b.addr), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(64<<10))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for len(want) > 0 {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("%d records missing: %v", len(want), err)
		}
		f.EachRecord(func(r *kgo.Record) {
			if !want[string(r.Value)] {
				t.Errorf("record %q: never sent, or read twice", r.Value[:20])
			}
			delete(want, string(r.Value))
		})
	}
}

// TestLimits refuses connections beyond the limits and closes idle ones.
func TestLimits(t *testing.T) {
	b := startBroker(t, Options{
		IdleTimeout: 50 * time.Millisecond, Limits: Limits{MaxConnections: 2, MaxPerIP: 2},
	}, vfs.NewMem(), "/data", storage.Fsync, nil)
	var open []net.Conn
	for range 2 {
		open = append(open, dialTest(t, b.addr))
	}
	extra := dialTest(t, b.addr)
	if n, err := extra.Read(make([]byte, 1)); err == nil {
		t.Fatalf("a third connection was served (%d bytes), with max.connections 2", n)
	}
	for i, c := range open { // nothing is sent: the server closes each when it has idled long enough
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("idle connection %d was answered with %d bytes", i, n)
		}
	}
	dialTest(t, b.addr) // and there is room again
}

// TestUnfinishedGiants holds many connections that have announced large requests: those that have sent
// nothing else take no budget, and those that stop in the middle lose it.
func TestUnfinishedGiants(t *testing.T) {
	const giant = 1 << 20
	for name, sent := range map[string]int{"announced": 20, "begun": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t, Options{BudgetBytes: giant, MaxRequestBytes: giant, StallTimeout: 50 * time.Millisecond},
				vfs.NewMem(), "/data", storage.Fsync, map[string]int{"t": 1})
			for range 8 {
				begun := make([]byte, sent)
				binary.BigEndian.PutUint32(begun, giant)
				if _, err := dialTest(t, b.addr).Write(begun); err != nil {
					t.Fatal(err)
				}
			}
			// A client that is not run for a while in the middle of its own request is taken for one that stopped, and tries again.
			frame := frameOf(produceOne("t", make([]byte, 100<<10)), 7)
			waitFor(t, "a request is served beside them", func() bool {
				nc := dialTest(t, b.addr)
				if _, err := nc.Write(frame); err != nil {
					return false
				}
				var size [4]byte
				_, err := io.ReadFull(nc, size[:])
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("a request beside unfinished ones is not answered")
				}
				return err == nil
			})
		})
	}
}

func dialTest(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// TestPipelining sends requests without waiting: the answers come back in their order, whatever
// order they became ready in.
func TestPipelining(t *testing.T) {
	b := startBroker(t, Options{}, vfs.OS{}, t.TempDir(), storage.Fsync, map[string]int{"t": 1})
	c := dialTest(t, b.addr)
	const n = 200
	for i := range n {
		w := &kmsg.Writer{Buf: make([]byte, 4)}
		if i%3 == 2 { // an answer that needs no disk between two that do
			w.Int16(kmsg.KeyApiVersions)
			w.Int16(0)
			w.Int32(int32(i))
			w.Int16(-1)
		} else {
			w.Int16(kmsg.KeyProduce)
			w.Int16(7)
			w.Int32(int32(i))
			w.Int16(-1)
			req := produceOne("t", []byte(fmt.Sprint(i)))
			req.Append(w, 7)
		}
		frame := w.Buf
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		if _, err := c.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		head := make([]byte, 8)
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if corr := binary.BigEndian.Uint32(head[4:]); corr != uint32(i) {
			t.Fatalf("answer %d is of request %d", i, corr)
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head))-4); err != nil {
			t.Fatal(err)
		}
	}
}

func produceOne(topic string, value []byte) *kmsg.ProduceRequest {
	bl := batch.NewBuilder(batch.Options{})
	bl.Append(time.Now().UnixMilli(), nil, value)
	bt, err := bl.Build()
	if err != nil {
		panic(err)
	}
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMs = -1, 60_000
	req.TopicData = []kmsg.ProduceRequestTopicProduceData{{
		Name: topic, PartitionData: []kmsg.ProduceRequestPartitionProduceData{{Records: kmsg.Records{Bytes: bt}}},
	}}
	return &req
}

// TestIPv6 serves a client that comes by an IPv6 address, and tells it that address.
func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback here: %v", err)
	}
	_ = l.Close()
	six := func(l *Listener, _ *Server) {
		var err error
		if l.Listener, err = net.Listen("tcp", "[::1]:0"); err != nil {
			t.Fatal(err)
		}
	}
	b := startBroker(t, Options{}, vfs.NewMem(), "/data", storage.Fsync, map[string]int{"six": 1}, six)
	roundTrip(t, b, "six")
}
