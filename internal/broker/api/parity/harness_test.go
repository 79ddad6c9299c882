package parity

import (
	"context"
	"log/slog"
	"math"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// broker is as much of a node as the administrative APIs need: storage, the controller, the
// partitions and a listener, without coordinators.
type broker struct {
	t     *testing.T
	store *storage.Store
	ctl   *controller.Controller
	conf  *conf.Static
	parts *partition.Table
}

const nodeID = 1

// start runs a broker until the test ends and returns its address.
func start(t *testing.T) string {
	t.Helper()
	const dir = "/data"
	fs := vfs.NewMem() // how fast the disk is must not matter
	static, err := conf.Load(conf.Source{Set: []string{
		"node.id=1", "process.roles=broker,controller", "log.dirs=" + dir,
		"listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
		"controller.listener.names=CONTROLLER",
	}})
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, conf: static, parts: partition.NewTable()}
	b.store, err = storage.Open(t.Context(), storage.Options{
		FS: fs, Dirs: []string{dir}, NodeID: nodeID, Journal: storage.JournalOptions{FileBytes: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ctl, err = controller.Open(t.Context(), controller.Options{
		Config: controller.Config{NodeID: nodeID, Static: static}, Store: b.store, FS: fs,
		ClusterID: b.store.ClusterID(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ctl.Subscribe(b.publish)
	return b.run()
}

func (b *broker) run() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	addr, _ := l.Addr().(*net.TCPAddr)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	srv := server.New(server.Options{
		Broker: b.api(addr), Logger: slog.New(slog.DiscardHandler), MaxRequestBytes: 1 << 20, BudgetBytes: 1 << 24,
	})
	for _, run := range []func(context.Context) error{
		b.store.Run, b.ctl.Run,
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
	b.t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := b.store.Close(); err != nil {
			b.t.Error(err)
		}
	})
	dirs := b.store.Dirs()
	if err := b.ctl.Register(b.t.Context(), controller.Registration{
		Incarnation: base.NewTopicID(), LogDirs: []base.TopicID{dirs[0].DirectoryID},
		Endpoints: []meta.Endpoint{{Listener: "PLAINTEXT", Host: "127.0.0.1", Port: int32(addr.Port)}},
	}); err != nil {
		b.t.Fatal(err)
	}
	return l.Addr().String()
}

// format writes what formatting a new cluster of Apache Kafka writes because of its feature
// eligible.leader.replicas.version: the default of min.insync.replicas as a dynamic config.
func format(t *testing.T, addr string) {
	t.Helper()
	c, err := Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := incremental("format", resBroker, plain(""), false, op{"min.insync.replicas", opSet, new("1")})
	resp, err := c.Do(s.Req(NewRun(addr)), 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := "{Responses: [{ErrorMessage: null, ResourceType: 4}]}\n"; Dump(resp) != want {
		t.Fatalf("format: %s", Dump(resp))
	}
}

func (b *broker) api(addr *net.TCPAddr) *api.Broker {
	level := new(slog.LevelVar)
	level.Set(slog.LevelError) // as in the Kafka that was asked
	a := &api.Broker{
		Logger: slog.New(slog.DiscardHandler), Clock: clock.System{}, NodeID: nodeID, Parts: b.parts, Image: b.ctl.Image,
		Features:   func() (int64, []api.Feature) { return 0, nil },
		Advertised: func(*api.Conn) (string, int32, bool) { return "127.0.0.1", int32(addr.Port), true },
		Admin:      api.Admin{Store: b.store, Controller: b.ctl, Conf: b.live, LogLevel: level},
	}
	a.Init(1<<20, 10)
	return a
}

func (b *broker) live() *conf.Live {
	im := b.ctl.Image()
	return conf.NewLive(b.conf, im.Configs(meta.Resource{Type: meta.ResourceBroker}),
		im.Configs(meta.Resource{Type: meta.ResourceBroker, Name: "1"}))
}

// publish makes the partitions follow the image.
func (b *broker) publish(_, im *meta.Image, d meta.Delta) {
	for _, t := range d.Deleted {
		if topic := b.parts.Remove(t.Name); topic != nil {
			for _, p := range topic.Parts {
				p.Close(kerr.UnknownTopicOrPartition)
				if err := b.store.Delete(p.TP); err != nil {
					b.t.Error(err)
				}
			}
		}
	}
	for _, t := range slices.Concat(d.Created, d.Changed) {
		b.publishTopic(im, t)
	}
}

func (b *broker) publishTopic(im *meta.Image, t *meta.Topic) {
	topic := &partition.Topic{Name: t.Name, ID: t.ID}
	if old := b.parts.Topic(t.Name); old != nil {
		topic.Parts = slices.Clone(old.Parts)
	}
	configs := b.live().Topic(im.Configs(meta.Resource{Type: meta.ResourceTopic, Name: t.Name}))
	cfg := storage.DefaultLogConfig()
	cfg.Compact, cfg.Delete = configs.Compact, configs.Delete
	for i := len(topic.Parts); i < len(t.Partitions); i++ {
		tp := base.TopicPartition{Topic: t.Name, Partition: int32(i)}
		log, err := b.store.Create(tp, t.ID, cfg, "")
		if err != nil {
			b.t.Error(err)
			return
		}
		topic.Parts = append(topic.Parts,
			partition.Open(tp, t.ID, log, t.Partitions[i].LeaderEpoch, &partition.Settings{
				Internal: meta.IsInternal(t.Name),
				Validate: batch.ValidateOptions{TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64},
			}))
	}
	b.parts.Put(topic)
}
