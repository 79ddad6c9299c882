package api_test

import (
	"context"
	"iter"
	"log/slog"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// txnBroker is as much of a node as transactions need: storage, the controller, the partitions, both
// coordinators and a listener.
type txnBroker struct {
	t       *testing.T
	addr    string
	store   *storage.Store
	ctl     *controller.Controller
	parts   *partition.Table
	groups  *coord.Shards[*group.Machine]
	txns    *coord.Shards[*txn.Machine]
	ids     *txn.ProducerIDs
	markers *txn.MarkerSender
	api     *api.Broker
	version atomicInt16 // transaction.version
}

// atomicInt16 is a feature level that a test may change.
type atomicInt16 struct{ v atomic.Int32 }

func (a *atomicInt16) Load() int16   { return int16(a.v.Load()) }
func (a *atomicInt16) Store(n int16) { a.v.Store(int32(n)) }

// startTxnBroker runs a broker over dir until the test ends or stop is called. With dir "" its files are in memory: where the disk
// is not the subject, how fast it is must not matter.
func startTxnBroker(t *testing.T, dir string) (b *txnBroker, stop func()) {
	t.Helper()
	var fs vfs.FS = vfs.OS{}
	if dir == "" {
		fs, dir = vfs.NewMem(), "/data"
	}
	static, err := conf.Load(conf.Source{Set: []string{
		"node.id=1", "process.roles=broker,controller", "log.dirs=" + dir, "listeners=PLAINTEXT://127.0.0.1:0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	b = &txnBroker{t: t, parts: partition.NewTable()}
	b.version.Store(2)
	b.store, err = storage.Open(t.Context(), storage.Options{
		FS: fs, Dirs: []string{dir}, NodeID: 1, Journal: storage.JournalOptions{FileBytes: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ctl, err = controller.Open(t.Context(), controller.Options{
		Config: controller.Config{NodeID: 1, Static: static}, Store: b.store, FS: fs, ClusterID: b.store.ClusterID(),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.assemble(l)
	known := slices.Collect(b.ctl.Image().Topics())
	b.publish(nil, nil, meta.Delta{Created: known})
	b.ctl.Subscribe(b.publish)
	stop = sync.OnceFunc(b.run(l))
	t.Cleanup(stop)
	return b, stop
}

func (b *txnBroker) assemble(l net.Listener) {
	topicSize := func(name string) func() int32 {
		return func() int32 {
			if t := b.ctl.Image().Topic(name); t != nil {
				return int32(len(t.Partitions))
			}
			return 0
		}
	}
	log := slog.New(slog.DiscardHandler)
	b.groups = coord.New[*group.Machine](coord.Options{
		Name: "group", Logger: log, Partitions: topicSize("__consumer_offsets"), CommitTimeout: time.Minute,
	})
	b.txns = coord.New[*txn.Machine](coord.Options{
		Name: "transaction", Logger: log, Partitions: topicSize("__transaction_state"),
	})
	b.ids = txn.NewProducerIDs(b.ctl.AllocateProducerIDs, log)
	addr, _ := l.Addr().(*net.TCPAddr)
	b.api = &api.Broker{
		Logger: log, Clock: clock.System{}, NodeID: 1, Parts: b.parts, Image: b.ctl.Image,
		Features: func() (int64, []api.Feature) {
			return 0, []api.Feature{{Name: "transaction.version", Max: 2, Level: b.version.Load()}}
		},
		Advertised: func(*api.Conn) (string, int32, bool) { return "127.0.0.1", int32(addr.Port), true },
		Admin:      api.Admin{Store: b.store, Controller: b.ctl, LogLevel: new(slog.LevelVar)},
		Groups:     b.groups,
		Txn: api.Transactions{
			Shards: b.txns, ProducerIDs: b.ids, Config: txnTestConfig,
			AddWait: 100 * time.Millisecond, VerifyTimeout: time.Minute,
		},
	}
	b.api.Admin.Conf = b.live
	b.markers = txn.NewMarkerSender(txn.SenderOptions{
		Logger: log, Write: b.api.SendMarker, Complete: b.api.CompleteMarkers,
	})
	b.api.Init(1<<20, 10)
}

func txnTestConfig() txn.Config {
	c := txn.DefaultConfig()
	c.AbortInterval = 200 * time.Millisecond
	return c
}

func (b *txnBroker) live() *conf.Live {
	static, err := conf.Load(conf.Source{Set: []string{
		"node.id=1", "process.roles=broker,controller", "log.dirs=x", "listeners=PLAINTEXT://127.0.0.1:0",
	}})
	if err != nil {
		b.t.Error(err)
	}
	return conf.NewLive(static, nil, nil)
}

// run starts everything and returns what stops it.
func (b *txnBroker) run(l net.Listener) (stop func()) {
	srv := server.New(server.Options{
		Broker: b.api, Logger: slog.New(slog.DiscardHandler), MaxRequestBytes: 1 << 20, BudgetBytes: 1 << 24,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{
		b.store.Run, b.ctl.Run, b.groups.Run, b.txns.Run, b.ids.Run, b.markers.Run,
		func(ctx context.Context) error {
			return srv.Run(ctx, []server.Listener{{Name: "PLAINTEXT", Listener: l}})
		},
	} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				b.t.Error(err)
			}
		})
	}
	addr, _ := l.Addr().(*net.TCPAddr)
	if err := b.ctl.Register(b.t.Context(), controller.Registration{
		Incarnation: base.NewTopicID(), LogDirs: []base.TopicID{b.store.Dirs()[0].DirectoryID},
		Endpoints: []meta.Endpoint{{Listener: "PLAINTEXT", Host: "127.0.0.1", Port: int32(addr.Port)}},
	}); err != nil {
		b.t.Fatal(err)
	}
	return func() {
		cancel()
		wg.Wait()
		if err := b.store.Close(); err != nil {
			b.t.Error(err)
		}
	}
}

// publish makes the partitions follow the image. All of them are there before a shard is loaded: a
// shard that loads sends markers to them.
func (b *txnBroker) publish(_, _ *meta.Image, d meta.Delta) {
	for _, t := range slices.Concat(d.Created, d.Changed) {
		b.openTopic(t)
	}
	for _, t := range d.Created {
		b.loadShards(t.Name)
	}
}

func (b *txnBroker) openTopic(t *meta.Topic) {
	topic := &partition.Topic{Name: t.Name, ID: t.ID}
	if old := b.parts.Topic(t.Name); old != nil {
		for i, p := range old.Parts {
			mp := t.Partitions[i]
			p.MakeLeader(mp.Leader, partition.State{
				Replicas: mp.Replicas, ISR: mp.ISR, Leader: mp.Leader, LeaderEpoch: mp.LeaderEpoch, PartitionEpoch: mp.PartitionEpoch,
			}, time.Now())
		}
		topic.Parts = slices.Clone(old.Parts)
	}
	cfg := storage.DefaultLogConfig()
	cfg.VerifyTransactions = true
	for i := len(topic.Parts); i < len(t.Partitions); i++ {
		tp := base.TopicPartition{Topic: t.Name, Partition: int32(i)}
		log, err := b.store.Create(tp, t.ID, cfg, "")
		if err != nil {
			b.t.Error(err)
			return
		}
		settings := &partition.Settings{Internal: meta.IsInternal(t.Name), Validate: batch.ValidateOptions{
			MaxMessageBytes: 1 << 20, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: 3_600_000,
		}}
		topic.Parts = append(topic.Parts, partition.Open(tp, t.ID, log, t.Partitions[i].LeaderEpoch, settings))
	}
	b.parts.Put(topic)
}

func (b *txnBroker) loadShards(name string) {
	for i, p := range b.parts.Topic(name).Parts {
		switch name {
		case "__consumer_offsets":
			b.groups.Load(int32(i), shard{p}, b.newGroups)
		case "__transaction_state":
			b.txns.Load(int32(i), shard{p}, func() *txn.Machine {
				return txn.New(txn.Options{
					Shard: int32(i), CoordinatorEpoch: p.LeaderEpoch(), Config: txnTestConfig,
					ServerVersion: b.version.Load, NextProducerID: b.ids.Next, Outbox: b.markers,
				})
			})
		}
	}
}

func (b *txnBroker) newGroups() *group.Machine {
	c := group.DefaultConfig()
	c.InitialRebalanceDelay = 100 * time.Millisecond
	c.ConsumerAssignmentInterval = 0
	return group.New(group.Options{
		Config: c,
		Topics: func() group.Topics { return imageTopics{b.ctl.Image()} },
		NewID:  testUUID,
	})
}

// shard is a partition as the runtime of coordinators sees it.
type shard struct{ p *partition.Partition }

func (s shard) Append(now time.Time, b batch.Batch, o coord.AppendOptions) (int64, error) {
	res, err := s.p.AppendInternal(b, now, storage.AppendOptions{
		TxnVersion: int16(o.TransactionVersion), Guard: storage.Guard(o.Guard),
	})
	return res.LastOffset, err
}

func (s shard) Await(until int64, fn func(error)) { s.p.AwaitHW(s.p.LeaderEpoch(), until, fn) }

func (s shard) Scan(fn func(b batch.Batch) error) error {
	log := s.p.Log()
	for at, end := log.StartOffset(), log.EndOffset(); at < end; {
		rng, err := log.Read(at, 1<<20, end, true)
		if err != nil || rng == nil {
			return err
		}
		buf := make([]byte, rng.Len())
		_, err = rng.ReadAt(buf, 0)
		rng.Release()
		for err == nil && len(buf) > 0 {
			var b batch.Batch
			if b, buf, err = batch.Next(buf); err == nil {
				at = b.LastOffset() + 1
				err = fn(b)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// imageTopics shows group machines the topics of an image.
type imageTopics struct{ im *meta.Image }

func (t imageTopics) Version() int64 { return t.im.Offset }

func (t imageTopics) ByName(name string) (group.Topic, bool) { return asGroupTopic(t.im.Topic(name)) }

func (t imageTopics) ByID(id base.TopicID) (group.Topic, bool) {
	return asGroupTopic(t.im.TopicByID(id))
}

func asGroupTopic(t *meta.Topic) (group.Topic, bool) {
	if t == nil {
		return group.Topic{}, false
	}
	return group.Topic{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions))}, true
}

func (t imageTopics) Names() iter.Seq[string] { return slices.Values(t.im.TopicNames()) }

func (t imageTopics) Racks(base.TopicID, int32) []string { return nil }
