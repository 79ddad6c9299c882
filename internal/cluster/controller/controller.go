package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/cluster/raft"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// Bounds of the shell.
const (
	mailboxSize = 1024
	opsPerSync  = 256     // operations that share one sync of the log
	maxOpBytes  = 8 << 20 // a batch that Kafka still reads
	// dividedBytes is about what a batch holds of an operation that may be divided: one that is on its way
	// holds up the heartbeats of the quorum.
	dividedBytes = 1 << 20

	tickInterval = 50 * time.Millisecond // how late a timer of the machine may be
)

// Options are what Open needs.
type Options struct {
	Config Config
	// Store holds the metadata log; Dir is the log directory of the store that it belongs in, empty
	// for the first.
	Store     *storage.Store
	Dir       string
	FS        vfs.FS
	ClusterID string
	Clock     clock.Clock  // default clock.System
	Logger    *slog.Logger // default: none
	// SnapshotBytes and SnapshotInterval say when a snapshot is due
	// (metadata.log.max.record.bytes.between.snapshots and ...max.snapshot.interval.ms); an interval
	// of 0 is never by time.
	SnapshotBytes    int64
	SnapshotInterval time.Duration
	SegmentBytes     int32 // of the log, default 1 GiB
	Quorum           Quorum
}

// Controller runs the Machine over the metadata log.
type Controller struct {
	opts Options
	log  *storage.Log
	dir  string // of the log and its snapshots
	core *raft.Core

	voters atomic.Pointer[[]raft.Voter]
	leader atomic.Uint64 // node id above, epoch below, as Core.Leader gives them

	image atomic.Pointer[meta.Image]
	end   atomic.Int64 // the offset after the last published record

	ops     chan operation
	stopped chan struct{}
	submits sync.RWMutex // held for reading by who may be putting an operation into the mailbox

	balancer  *balancer
	published *publisher
	news      news // the end has moved, or the leader changed
	observers observers

	// What follows belongs to the goroutine of Run (to Open, before that).
	machine       *Machine
	replay        replayer
	round         *round
	changing      *voterChange
	upgrading     *votersUpgrade
	told          map[int32]told // by the voters of a static quorum, while this node is the active controller
	began         int32          // the epoch that the machine has begun
	lastEpoch     int32          // of the last batch that was committed
	writing       *raft.Work
	toWrite       chan *raft.Work
	written       chan error
	inbox         chan []*raft.Message
	gone          chan int32 // nodes whose process is gone
	builder       *batch.Builder
	snapshotting  *snapshotting
	beside        sync.WaitGroup // the goroutines of Run
	snapshotEnd   int64          // of the newest snapshot
	sinceSnapshot int64          // bytes
	snapshotTime  time.Time
	ticked        time.Time // when the machine was last asked what is due
	nextTick      time.Time // when it said that something is
}

// Outcome is what an operation does: records to write, and whom to tell when that is durable and
// published, or failed. Done may be nil.
type Outcome struct {
	Records []kmsg.Record
	Done    func(error)
}

type operation func(m *Machine, now time.Time) Outcome

// Open loads the metadata and claims the next leader epoch. A log without metadata begins a cluster
// with what the directory was formatted with.
func Open(ctx context.Context, o Options) (*Controller, error) {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Quorum.setDefaults()
	c := &Controller{
		opts: o, ops: make(chan operation, mailboxSize), stopped: make(chan struct{}),
		builder: batch.NewBuilder(batch.Options{}), snapshotTime: o.Clock.Now(),
		toWrite: make(chan *raft.Work, 1), written: make(chan error, 1), inbox: make(chan []*raft.Message, inboxSize),
		began: -1, published: newPublisher(), gone: make(chan int32, goneSize),
	}
	c.balancer = newBalancer(c)
	c.opts.Config.MovedByHand = c.balancer.movedByHand
	if err := c.openLog(); err != nil {
		return nil, err
	}
	if err := c.resolveVoters(); err != nil {
		return nil, err
	}
	if err := c.openCore(); err != nil {
		return nil, err
	}
	return c, ctx.Err()
}

// openLog opens the log.
func (c *Controller) openLog() error {
	tp := base.TopicPartition{Topic: MetadataTopic}
	cfg := logConfig(&c.opts)
	log, ok := c.opts.Store.Log(tp)
	if !ok {
		dir := c.opts.Dir
		if dir == "" {
			dir = c.opts.Store.Dirs()[0].Path
		}
		var err error
		if log, err = c.opts.Store.Create(tp, metadataTopicID, cfg, dir); err != nil {
			return fmt.Errorf("create the metadata log: %w", err)
		}
	}
	log.SetConfig(cfg)
	c.log, c.dir = log, log.Path()
	return nil
}

func logConfig(o *Options) storage.LogConfig {
	cfg := storage.DefaultLogConfig()
	cfg.Delete, cfg.Compact = false, false // what a snapshot replaces goes with the start of the log
	cfg.Retention, cfg.RetentionBytes = -1, -1
	cfg.MaxMessageBytes = maxOpBytes
	if o.SegmentBytes > 0 {
		cfg.SegmentBytes = o.SegmentBytes
	}
	return cfg
}

// encode makes one batch of an operation's records, or several where it is large and may be divided.
func (c *Controller) encode(records []kmsg.Record, now time.Time) (list []batch.Batch, err error) {
	level := c.machine.image().Feature(MetadataVersion)
	limit, whole := maxOpBytes, true
	if divisible(records) {
		limit, whole = dividedBytes, false
	}
	cut := func() error {
		b, err := c.builder.Build()
		list = append(list, slices.Clone(b)) // it belongs to the quorum from here on
		c.builder.Reset(batch.Options{})
		return err
	}
	c.builder.Reset(batch.Options{})
	var buf []byte
	for _, rec := range records {
		if f, ok := rec.(*kmsg.FeatureLevelRecord); ok && f.Name == MetadataVersion {
			level = f.FeatureLevel
		}
		buf = kmsg.AppendMetadataRecord(buf[:0], rec, recordVersion(rec, level))
		c.builder.Append(now.UnixMilli(), nil, buf)
		switch size := c.builder.Size(); {
		case size > maxOpBytes, whole && size > limit:
			return nil, refuse(kerr.PolicyViolation,
				"The request changes more metadata than fits into %d bytes: split it.", maxOpBytes)
		case size > limit:
			if err := cut(); err != nil {
				return nil, err
			}
		}
	}
	if c.builder.Count() > 0 {
		err = cut()
	}
	return list, err
}

// divisible says whether an operation is right though its end be missing: each partition changes for itself,
// and who lost a broker, or takes one in, does again what is left.
func divisible(records []kmsg.Record) bool {
	for _, rec := range records {
		switch rec.(type) {
		case *kmsg.PartitionChangeRecord, *kmsg.RegisterBrokerRecord, *kmsg.BrokerRegistrationChangeRecord,
			*kmsg.UnregisterBrokerRecord:
		default:
			return false
		}
	}
	return true
}

// write proposes and applies the records of one operation. Nothing of them is published yet.
func (c *Controller) write(records []kmsg.Record, now time.Time) error {
	list, err := c.encode(records, now)
	if err != nil {
		return err
	}
	for i, b := range list {
		if err := c.core.Propose(b); err != nil {
			if i > 0 { // the quorum may have the beginning: what comes of it is for the next term to see
				c.core.StepDown()
			}
			return err
		}
		c.round.proposed = append(c.round.proposed, b)
	}
	for _, rec := range records {
		if err := c.machine.Apply(rec); err != nil {
			return &brokenError{fmt.Errorf("apply own record: %w", err)}
		}
	}
	return nil
}

// brokenError is after what the machine and the log may disagree: nothing more is decided.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// begin has the machine begin its term, with what this node knows of the one that led before.
func (c *Controller) begin() func(m *Machine, now time.Time) Outcome {
	former, heard, ok := c.core.TakeFollowed()
	return func(m *Machine, now time.Time) Outcome {
		records := m.Begin(now)
		if ok {
			m.HeardBefore(now, former, heard)
		}
		return Outcome{Records: records}
	}
}

// runTimer lets the machine do what is due. The first tick tells when the next is.
func (c *Controller) runTimer() error {
	if now := c.opts.Clock.Now(); !c.ticked.IsZero() && (c.nextTick.IsZero() || now.Before(c.nextTick)) &&
		now.Sub(c.ticked) < time.Second {
		return nil
	}
	return c.runOps(func(m *Machine, now time.Time) Outcome {
		out := Outcome{}
		c.ticked = now
		out.Records, c.nextTick = m.Tick(now)
		return out
	})
}

// runOps carries out an operation and those that wait behind it, as one round: they are answered
// when the quorum has all of them.
func (c *Controller) runOps(op operation) error {
	now := c.opts.Clock.Now()
	_, epoch := c.core.Leader()
	c.round = &round{epoch: epoch}
	for n := 1; ; n++ {
		out := op(c.machine, now)
		if len(out.Records) > 0 {
			err := c.write(out.Records, now)
			var broken *brokenError
			if errors.As(err, &broken) {
				tell(append(c.round.all(), out.Done), kerr.KafkaStorageError)
				return err
			}
			if err != nil {
				tell([]func(error){out.Done}, err)
				out.Done = nil
			}
			c.round.done = append(c.round.done, out.Done)
		} else {
			c.round.same = append(c.round.same, out.Done)
		}
		if op = c.nextOp(n); op == nil {
			break
		}
	}
	c.maybeEndRound()
	return nil
}

// nextOp is an operation that waits, nil for none or after n in a row.
func (c *Controller) nextOp(n int) operation {
	if n >= opsPerSync {
		return nil
	}
	select {
	case op := <-c.ops:
		return op
	default:
		return nil
	}
}

func tell(done []func(error), err error) {
	for _, fn := range done {
		if fn != nil {
			fn(err)
		}
	}
}

// refuseRest ends the mailbox.
func (c *Controller) refuseRest() {
	close(c.stopped)
	c.submits.Lock() // whoever was on the way in is in, or has turned back
	defer c.submits.Unlock()
	for {
		select {
		case op := <-c.ops:
			// The operation is asked for whom to tell; its records go nowhere.
			tell([]func(error){op(c.machine, c.opts.Clock.Now()).Done}, kerr.NotController)
		default:
			return
		}
	}
}

// Submit has an operation carried out on the goroutine of Run. It waits for room in the mailbox; an
// error means that the operation will not run.
func (c *Controller) Submit(op func(m *Machine, now time.Time) Outcome) error {
	c.submits.RLock()
	defer c.submits.RUnlock()
	select {
	case <-c.stopped:
		return kerr.NotController
	default:
	}
	select {
	case c.ops <- op:
		return nil
	case <-c.stopped:
		return kerr.NotController
	}
}

// Do submits an operation of the Machine and gives its answer to reply, on a goroutine of the
// controller's, once it is durable and published; with an error if that did not come about.
func Do[Resp any](c *Controller, op func(m *Machine) ([]kmsg.Record, Resp), reply func(Resp, error)) {
	err := c.Submit(func(m *Machine, _ time.Time) Outcome {
		records, resp := op(m)
		return Outcome{Records: records, Done: func(err error) { reply(resp, err) }}
	})
	if err != nil {
		var none Resp
		reply(none, err)
	}
}

// Await submits an operation and waits for its outcome.
func (c *Controller) Await(ctx context.Context, op func(m *Machine) ([]kmsg.Record, error)) error {
	result := make(chan error, 1)
	err := c.Submit(func(m *Machine, _ time.Time) Outcome {
		records, err := op(m)
		return Outcome{Records: records, Done: func(failed error) {
			if failed == nil {
				failed = err
			}
			result <- failed
		}}
	})
	if err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopped:
	}
	select { // the answer may have come with the stop
	case err := <-result:
		return err
	default:
		return kerr.NotController
	}
}

// Register enters this broker and begins a leader epoch on its partitions.
func (c *Controller) Register(ctx context.Context, r Registration) error {
	return c.Await(ctx, func(m *Machine) ([]kmsg.Record, error) {
		c.opts.Config.Own, m.cfg.Own = &r, &r // also for the machines after this one
		return m.Register(c.opts.Clock.Now(), r)
	})
}

// Cordon takes in which log directories of the broker of a node alone get no more replicas.
func (c *Controller) Cordon(ctx context.Context, dirs []base.TopicID) error {
	return c.Await(ctx, func(m *Machine) ([]kmsg.Record, error) {
		b := m.image().Broker(m.cfg.NodeID)
		if b == nil {
			return nil, nil // its registration will tell
		}
		req := kmsg.NewBrokerHeartbeatRequest()
		req.CordonedLogDirs = append([]base.TopicID{}, dirs...)
		return m.directoriesChanged(b, &req), nil
	})
}

// AllocateProducerIDs reserves a block of producer ids; it returns when that is durable.
func (c *Controller) AllocateProducerIDs(ctx context.Context) (first int64, count int32, err error) {
	block := &struct { // its own variables: who gave up waiting must not see them change
		first int64
		count int32
	}{}
	err = c.Await(ctx, func(m *Machine) (records []kmsg.Record, err error) {
		records, block.first, block.count, err = m.allocateOwnProducerIDs()
		return records, err
	})
	if err != nil {
		return 0, 0, err
	}
	return block.first, block.count, nil
}

// Image is the newest published image.
func (c *Controller) Image() *meta.Image { return c.image.Load() }

// Subscribe has fn called with every image published from now on, in order, before the answers that
// belong to it are given. An answer that fn waits for must not be one that changes metadata.
func (c *Controller) Subscribe(fn func(old, now *meta.Image, d meta.Delta)) {
	c.published.subscribe(fn)
}

// Epoch is the epoch of the active controller.
func (c *Controller) Epoch() int32 {
	_, epoch := c.Leader()
	return epoch
}

// Leader is the active controller and its epoch; the id is -1 where none is known.
func (c *Controller) Leader() (id, epoch int32) {
	return unpackLeader(c.leader.Load())
}

// EndOffset is the offset after the last published record.
func (c *Controller) EndOffset() int64 { return c.end.Load() }
