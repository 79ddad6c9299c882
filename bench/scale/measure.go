package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/replica"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

const (
	changes   = 1000 // of in-sync sets, to take the time of one
	following = 8    // brokers that follow, to take the time of one
)

func measure(dir string, s size) error {
	fmt.Printf("%d brokers, %d partitions in topics of %d, three replicas\n", s.brokers, s.partitions, s.perTopic)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if _, err := controller.Format(osFS, controller.FormatOptions{Dirs: []string{dir}, ClusterID: clusterID, NodeID: 1}, time.Now()); err != nil {
		return err
	}
	before := heap()
	c, err := open(dir, never)
	if err != nil {
		return err
	}
	if err := c.ctl.Step(false); err != nil {
		return errors.Join(err, c.close())
	}
	m := &measurement{size: s, cluster: c}
	err = errors.Join(m.fill(before), m.heartbeats(), m.fanOut(), m.brokersGo())
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	if err := m.restarts(dir); err != nil {
		return err
	}
	m.fetching()
	fmt.Println()
	return nil
}

type measurement struct {
	size    size
	cluster *cluster
}

// fill registers the brokers and creates the topics.
func (m *measurement) fill(before int64) error {
	c := m.cluster
	took, err := take(func() error {
		for id := range int32(m.size.brokers) {
			if err := c.enter(id + 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	row("register and unfence a broker", "%s", took.per(m.size.brokers))
	empty := c.logBytes()
	if took, err = take(func() error { return c.create(m.size.partitions, m.size.perTopic) }); err != nil {
		return err
	}
	row("create all topics", "%s", took)
	row("  a partition in the metadata log", "%d bytes", (c.logBytes()-empty)/int64(m.size.partitions))
	used := heap() - before
	row("memory of the controller's image", "%.0f MiB, %d bytes a partition", mib(used), used/int64(m.size.partitions))
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// heartbeats has every broker report once.
func (m *measurement) heartbeats() error {
	c := m.cluster
	rounds := max(1, 2000/m.size.brokers)
	took, err := take(func() error {
		for range rounds {
			for id := range int32(m.size.brokers) {
				if _, err := c.beat(id+1, false); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	one := took.per(rounds * m.size.brokers)
	req, resp := kmsg.NewBrokerHeartbeatRequest(), kmsg.NewBrokerHeartbeatResponse()
	n := wireBytes(&req, 1) + wireBytes(&resp, 1)
	perSecond := float64(m.size.brokers) / 2 // broker.heartbeat.interval.ms is 2 s
	row("a heartbeat, decided", "CPU %s, %d bytes", one.cpu, n)
	row("  all brokers' in a second", "CPU %.2f ms, %.1f KiB", perSecond*float64(one.cpu)/1e6, perSecond*float64(n)/1024)
	return nil
}

// wireBytes is the size of a message in its frame.
func wireBytes(msg kmsg.Message, version int16) int {
	const frame = 4 + 2 + 2 + 4 + 2 + 20 + 1 // size, key, version, correlation, client id, tags
	w := kmsg.Writer{}
	msg.Append(&w, version)
	return frame + len(w.Buf)
}

// fanOut changes in-sync sets, without and with brokers that follow the metadata.
func (m *measurement) fanOut() error {
	c := m.cluster
	alone, err := take(m.changeSome)
	if err != nil {
		return err
	}
	log, before := c.logBytes(), heap()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	defer ended.Wait()
	defer cancel()
	var all []*controller.Observer
	loading, err := take(func() error {
		for i := range following {
			ob := controller.NewObserver(controller.ObserverOptions{
				NodeID: int32(10_000 + i), ClusterID: clusterID, Logger: slog.New(slog.DiscardHandler), Ask: (&line{c: c.ctl}).ask,
				FetchTimeout: 10 * time.Second,
			})
			all = append(all, ob)
			ended.Go(func() {
				if err := ob.Run(ctx); err != nil {
					fmt.Fprintln(os.Stderr, "scale:", err)
				}
			})
		}
		return m.follow(all)
	})
	if err != nil {
		return err
	}
	used := (heap() - before) / following
	with, err := take(func() error { return errors.Join(m.changeSome(), m.follow(all)) })
	if err != nil {
		return err
	}
	perChange := (c.logBytes() - log) / changes
	each := max(0, with.cpu-alone.cpu) / changes / following
	row("an in-sync set changes, committed", "%s, %d bytes of log", alone.per(changes), perChange)
	row("  to a broker that follows, both ends", "CPU %s", each.Round(time.Microsecond))
	row("  100 a second to all brokers, both ends", "%.2f cores of the cluster, %.2f MiB/s from the controller",
		100*each.Seconds()*float64(m.size.brokers), mib(100*perChange*int64(m.size.brokers)))
	row("a broker loads the metadata from the log", "CPU %s", (loading.cpu / following).Round(time.Millisecond))
	row("memory of a broker's image", "%.0f MiB, %d bytes a partition", mib(used), used/int64(m.size.partitions))
	runtime.KeepAlive(all)
	return nil
}

func (m *measurement) changeSome() error {
	im := m.cluster.ctl.Image()
	left := changes
	for left > 0 {
		for t := range im.Topics() {
			for i := range t.Partitions {
				if left == 0 {
					return nil
				}
				left--
				if err := m.cluster.changeISR(t, i); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// follow waits until observers have all that is committed.
func (m *measurement) follow(all []*controller.Observer) error {
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Millisecond) {
		behind := slices.ContainsFunc(all, func(ob *controller.Observer) bool { return ob.EndOffset() < m.cluster.ctl.EndOffset() })
		if !behind {
			return nil
		}
		if time.Now().After(end) {
			return errors.New("an observer does not follow")
		}
	}
}

// brokersGo stops a broker in good order, has it come back, and has it fenced.
func (m *measurement) brokersGo() error {
	c := m.cluster
	id := int32(min(2, m.size.brokers))
	im, log := c.ctl.Image(), c.logBytes()
	leads, holds := holdings(im, id)
	stop, err := take(func() error {
		for range 100 {
			resp, err := c.beat(id, true)
			if err != nil || resp.ShouldShutDown {
				return err
			}
			for other := range int32(m.size.brokers) {
				if other+1 != id {
					if _, err := c.beat(other+1, false); err != nil {
						return err
					}
				}
			}
		}
		return errors.New("a broker may not stop")
	})
	if err != nil {
		return err
	}
	row(fmt.Sprintf("a broker of %d replicas hands over %d leaders", holds, leads), "%s, %.2f MiB of log", stop, mib(c.logBytes()-log))
	log = c.logBytes()
	back, err := take(func() error { return c.enter(id) })
	if err != nil {
		return err
	}
	row("  it comes back", "%s, %.2f MiB of log", back, mib(c.logBytes()-log))
	other := id%int32(m.size.brokers) + 1
	leads, holds = holdings(c.ctl.Image(), other)
	log = c.logBytes()
	lost, err := take(func() error {
		c.clk.Advance(5 * time.Second)
		for each := range int32(m.size.brokers) {
			if each+1 != other {
				if _, err := c.beat(each+1, false); err != nil {
					return err
				}
			}
		}
		c.clk.Advance(6 * time.Second)
		return nil
	})
	if err != nil {
		return err
	}
	fence, err := take(func() error { return c.ctl.Step(true) })
	if err != nil {
		return err
	}
	if !c.ctl.Image().Broker(other).Fenced {
		return fmt.Errorf("broker %d is not fenced after %s", other, lost)
	}
	row(fmt.Sprintf("a broker of %d replicas, leader of %d, is fenced", holds, leads), "%s, %.2f MiB of log", fence, mib(c.logBytes()-log))
	return nil
}

func holdings(im *meta.Image, id int32) (leads, holds int) {
	for t := range im.Topics() {
		for _, p := range t.Partitions {
			if p.Leader == id {
				leads++
			}
			for _, r := range p.Replicas {
				if r == id {
					holds++
				}
			}
		}
	}
	return leads, holds
}

// restarts opens the controller from its log and from a snapshot, and has one that was a follower begin.
func (m *measurement) restarts(dir string) error {
	log, err := m.restart(dir, "start a controller from the log, and lead", nil)
	if err != nil {
		return err
	}
	c, err := open(dir, 1)
	if err != nil {
		return err
	}
	took, err := take(func() error { return c.ctl.Step(false) })
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "__cluster_metadata-0", "*.checkpoint"))
	if err != nil || len(files) != 1 {
		return errors.Join(fmt.Errorf("%d snapshots in %s, want one", len(files), dir), err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		return err
	}
	row("write a snapshot", "%s, %.1f MiB, in place of %.1f MiB of log", took, mib(info.Size()), mib(log))
	_, err = m.restart(dir, "start a controller from the snapshot, and lead", func(c *cluster) error {
		took, err := take(func() error {
			return c.do(func(mc *controller.Machine, now time.Time) ([]kmsg.Record, int16) { return mc.Begin(now), 0 })
		})
		row("fail-over: what the next controller does first", "%s", took)
		return err
	})
	return err
}

func (m *measurement) restart(dir, what string, then func(*cluster) error) (logBytes int64, err error) {
	var c *cluster
	took, err := take(func() error {
		if c, err = open(dir, never); err != nil {
			return err
		}
		return c.ctl.Step(false)
	})
	if err != nil {
		return 0, err
	}
	if n := c.ctl.Image().PartitionCount(); n != m.size.partitions {
		err = fmt.Errorf("%d partitions after a start, want %d", n, m.size.partitions)
	}
	row(what, "%s", took)
	if then != nil {
		err = errors.Join(err, then(c))
	}
	return c.logBytes(), errors.Join(err, c.close())
}

// idle is a replica without news.
type idle struct{}

func (idle) FollowerThrottled() bool                { return false }
func (idle) FollowerState() partition.FollowerState { return partition.FollowerState{Stored: true} }
func (idle) AppendAsFollower([]byte, int32, int64, int64, time.Time, *storage.Settlement) error {
	return nil
}
func (idle) TruncateDiverged(int32, int32, int64) error { return nil }
func (idle) TruncateTo(int32, int64) error              { return nil }
func (idle) RestartAt(int32, int64) error               { return nil }

// fetching is what replication without records costs: one session a pair of brokers.
func (m *measurement) fetching() {
	b := m.size.brokers
	leaders := b - 1
	followed := m.size.partitions * 2 / b // of three replicas two follow
	perPair := max(1, followed/max(leaders, 1))
	leaders = min(leaders, followed)
	f := replica.NewFetcher(replica.FetcherOptions{
		NodeID: 1, BrokerEpoch: func() int64 { return 1 },
		Limits: func() replica.Limits {
			return replica.Limits{MaxWait: 500 * time.Millisecond, MinBytes: 1, MaxBytes: 10 << 20, MaxPartitionBytes: 1 << 20}
		},
		Failed: func(base.TopicPartition, error, int) {},
	})
	id := base.NewTopicID()
	before := heap()
	for i := range perPair {
		f.Add(base.TopicPartition{Topic: "topic", Partition: int32(i)}, id, idle{}, 1)
	}
	now := clock.System{}.Now()
	first, _ := f.Next(now)
	full := wireBytes(first, fetchVersion)
	answer := kmsg.NewFetchResponse()
	answer.SessionId = 1
	f.Answer(now, &answer)
	used := (heap() - before) / int64(perPair)
	const rounds = 20_000
	bytes := 0
	took, _ := take(func() error {
		for range rounds {
			req, _ := f.Next(now)
			bytes = wireBytes(req, fetchVersion) + wireBytes(&answer, fetchVersion)
			w := kmsg.Writer{}
			req.Append(&w, fetchVersion)
			r := kmsg.NewReader(w.Buf)
			var got kmsg.FetchRequest
			_ = got.Read(&r, fetchVersion) // what was just written
			f.Answer(now, &answer)
		}
		return nil
	})
	rate := float64(leaders) * 2 // replica.fetch.wait.max.ms is 500 ms
	row("fetch sessions of a broker, as follower", "%d of %d partitions, %d KiB the first request, %d bytes a partition",
		leaders, perPair, (full+1023)/1024, used)
	row("  without records, in a second", "%.0f fetches, %.1f KiB each way, CPU %.2f ms without the network",
		rate, rate*float64(bytes)/1024, rate*float64(took.cpu)/rounds/1e6)
}

const fetchVersion = 17
