package node

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

func (a *asker) alterDir(dir, topic string) int16 {
	a.t.Helper()
	req := kmsg.NewAlterReplicaLogDirsRequest()
	req.Dirs = []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDir{{Path: dir,
		Topics: []kmsg.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic{{Name: topic, Partitions: []int32{0}}}}}
	return ask[*kmsg.AlterReplicaLogDirsResponse](a, &req, 2).Results[0].Partitions[0].ErrorCode
}

// place is the directory that a topic's first partition is in; settled is false while it moves.
func (a *asker) place(topic string) (dir string, settled bool) {
	a.t.Helper()
	req := kmsg.NewDescribeLogDirsRequest()
	req.Topics = []kmsg.DescribeLogDirsRequestDescribableLogDirTopic{{Topic: topic, Partitions: []int32{0}}}
	settled = true
	for _, d := range ask[*kmsg.DescribeLogDirsResponse](a, &req, 4).Results {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				if settled = settled && !p.IsFutureKey; !p.IsFutureKey {
					dir = d.LogDir
				}
			}
		}
	}
	return dir, settled
}

// TestMoveBetweenLogDirs moves a partition to and fro while it is written and read, and restarts.
func TestMoveBetweenLogDirs(t *testing.T) {
	ctx := deadline(t)
	one, two := t.TempDir(), t.TempDir()
	dirs := one + "," + two
	n := start(t, dirs, "log.segment.bytes=1048576")
	a := newAsker(t, n.Bootstrap(), "mover")
	if codes, _ := a.createTopics(7, 1, "moved"); codes[0] != 0 {
		t.Fatalf("create: error %d", codes[0])
	}
	for dir, want := range map[string]int16{"/nowhere": kerr.LogDirNotFound.Code, "relative": kerr.LogDirNotFound.Code} {
		if got := a.alterDir(dir, "moved"); got != want {
			t.Errorf("move to %s: error %d, want %d", dir, got, want)
		}
	}
	if got := a.alterDir(one, "absent"); got != kerr.ReplicaNotAvailable.Code {
		t.Errorf("move of an absent topic: error %d, want %d", got, kerr.ReplicaNotAvailable.Code)
	}

	var sent atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	p := client(t, n, kgo.DefaultProduceTopic("moved"), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordRetries(0))
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			var rs []*kgo.Record
			for range 20 {
				rs = append(rs, &kgo.Record{Key: fmt.Append(nil, sent.Add(1)-1), Value: make([]byte, 1000)})
			}
			if err := p.ProduceSync(ctx, rs...).FirstErr(); err != nil {
				t.Errorf("produce during a move: %v", err)
				return
			}
		}
	}()
	atLeast := func(records int64) {
		for sent.Load() < records && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	atLeast(3000)
	from, _ := a.place("moved")
	for i, to := range []string{two, one, two} {
		if from == two {
			to = map[string]string{one: two, two: one}[to]
		}
		if code := a.alterDir(to, "moved"); code != 0 {
			t.Fatalf("move to %s: error %d", to, code)
		}
		for {
			if at, settled := a.place("moved"); settled && at == to {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("move %d does not end", i)
			}
			time.Sleep(time.Millisecond)
		}
		atLeast(sent.Load() + 200)
	}
	close(stop)
	<-done
	at, _ := a.place("moved")
	if at == from {
		t.Errorf("after three moves the log is in %s again", at)
	}
	check := func() {
		t.Helper()
		c := client(t, n, kgo.ConsumeTopics("moved"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		next := int64(0)
		for next < sent.Load() {
			f := c.PollFetches(ctx)
			if err := f.Err(); err != nil {
				t.Fatalf("after %d of %d records: %v", next, sent.Load(), err)
			}
			f.EachRecord(func(r *kgo.Record) {
				if r.Offset != next || string(r.Key) != fmt.Sprint(next) {
					t.Fatalf("offset %d has record %s, want %d", r.Offset, r.Key, next)
				}
				next++
			})
		}
		c.Close()
	}
	check()
	p.Close()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	// A move that was never finished is made by the next run; what it had copied goes.
	future := filepath.Join(from, "moved-0.00112233445566778899aabbccddeeff-future")
	if err := os.Mkdir(future, 0o755); err != nil {
		t.Fatal(err)
	}
	n = start(t, dirs, "log.segment.bytes=1048576")
	a = newAsker(t, n.Bootstrap(), "mover")
	for {
		_, err := os.Stat(future)
		again, settled := a.place("moved")
		if os.IsNotExist(err) && settled && again == from {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the log is in %s, want %s, where it was to go before the restart; its first copy: %v", again, from, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	check()
}
