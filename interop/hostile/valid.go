package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

const (
	validEvery = 5 * time.Millisecond
	quietTime  = 5 * time.Second
	// fewAnswers are too few for a p99: their worst is a single hiccup of the machine, so they are judged together.
	fewAnswers = 1000
	// p99Floor is what the scheduler of a machine that clients, attackers and broker share takes now and then.
	p99Floor = 10 * time.Millisecond
	// quietParts are the parts in which it is measured what is usual.
	quietParts = 5
)

// valid is a producer and a consumer that behave, and what they saw.
type valid struct {
	producer, consumer *kgo.Client
	stop               context.CancelFunc
	ending             atomic.Bool // nothing is produced any more
	producing, done    sync.WaitGroup
	// quiet is the p99 while nobody else is there, busy beside as many valid clients as there are attackers.
	quiet, busy time.Duration

	mu struct {
		sync.Mutex
		next  uint64
		acked map[uint64]bool
		seen  map[uint64]int
		last  map[int32]uint64 // last value seen, by partition
		took  []time.Duration
		wrong []string
	}
}

// startValid begins to produce and consume.
func startValid(ctx context.Context, addr, topic string) (*valid, error) {
	v := &valid{}
	v.mu.acked, v.mu.seen, v.mu.last = map[uint64]bool{}, map[uint64]int{}, map[int32]uint64{}
	var err error
	v.producer, err = kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ClientID("valid-producer"))
	if err != nil {
		return nil, err
	}
	v.consumer, err = kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ClientID("valid-consumer"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	ctx, v.stop = context.WithCancel(ctx)
	v.producing.Go(func() { v.produce(ctx) })
	v.done.Go(func() { v.consume(ctx) })
	return v, nil
}

// produce writes a record now and then, each with a number as its value.
func (v *valid) produce(ctx context.Context) {
	t := time.NewTicker(validEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if v.ending.Load() {
			return
		}
		v.mu.Lock()
		v.mu.next++
		n := v.mu.next
		v.mu.Unlock()
		began := time.Now()
		// Not the caller's context: what was begun must end, so that it can be looked for.
		v.producer.Produce(context.WithoutCancel(ctx), &kgo.Record{Value: binary.BigEndian.AppendUint64(nil, n)},
			func(_ *kgo.Record, err error) { v.answered(n, time.Since(began), err) })
	}
}

func (v *valid) answered(n uint64, took time.Duration, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.took = append(v.mu.took, took)
	if err != nil {
		v.mu.wrong = append(v.mu.wrong, fmt.Sprintf("record %d was refused: %v", n, err))
		return
	}
	v.mu.acked[n] = true
}

func (v *valid) consume(ctx context.Context) {
	for ctx.Err() == nil {
		fs := v.consumer.PollFetches(ctx)
		v.mu.Lock()
		fs.EachError(func(t string, p int32, err error) {
			if !errors.Is(err, context.Canceled) {
				v.mu.wrong = append(v.mu.wrong, fmt.Sprintf("fetch of %s-%d: %v", t, p, err))
			}
		})
		fs.EachRecord(func(r *kgo.Record) {
			if len(r.Value) != 8 {
				v.mu.wrong = append(v.mu.wrong, fmt.Sprintf("offset %d of partition %d holds %x, which nobody wrote", r.Offset, r.Partition, r.Value))
				return
			}
			n := binary.BigEndian.Uint64(r.Value)
			v.mu.seen[n]++
			if n <= v.mu.last[r.Partition] {
				v.mu.wrong = append(v.mu.wrong, fmt.Sprintf("partition %d: record %d after %d", r.Partition, n, v.mu.last[r.Partition]))
			}
			v.mu.last[r.Partition] = n
		})
		v.mu.Unlock()
	}
}

// mark is the number of answers so far.
func (v *valid) mark() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.mu.took)
}

// since gives the answers since the mark.
func (v *valid) since(mark int) []time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.mu.took[mark:])
}

// quantile of what there is of, in percent; it sorts.
func quantile(took []time.Duration, percent int) time.Duration {
	slices.Sort(took)
	return took[min(len(took)*percent/100, len(took)-1)]
}

// finish stops both, waits until everything that was acknowledged has been read, and says what is wrong.
func (v *valid) finish(ctx context.Context) (acked int, wrong []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	v.ending.Store(true) // what comes after the flush would be refused when the client is closed
	v.producing.Wait()
	if err := v.producer.Flush(ctx); err != nil {
		wrong = append(wrong, "flush: "+err.Error())
	}
	for ctx.Err() == nil && v.missing() > 0 {
		time.Sleep(20 * time.Millisecond)
	}
	v.stop()
	v.done.Wait()
	v.producer.Close()
	v.consumer.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	wrong = append(wrong, v.mu.wrong...)
	for n := range v.mu.acked {
		if v.mu.seen[n] != 1 {
			wrong = append(wrong, fmt.Sprintf("record %d was acknowledged and read %d times", n, v.mu.seen[n]))
		}
	}
	return len(v.mu.acked), wrong
}

func (v *valid) missing() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for a := range v.mu.acked {
		if v.mu.seen[a] == 0 {
			n++
		}
	}
	return n
}

// busyBaseline measures the producer beside valid clients that ask as fast as they are answered: the machine is then as
// busy as during an attack, and what an attack adds to that is its harm.
func (h *hostile) busyBaseline(ctx context.Context) (err error) {
	h.valid.busy, err = h.beside(func(until time.Time) error {
		return several(ctx, h.addr, h.o.conns, func(c net.Conn) error {
			for time.Now().Before(until) {
				if _, err := c.Write(ask()); err != nil {
					return err
				}
				if err := answer(c); err != nil {
					return err
				}
			}
			return nil
		}, nil)
	})
	return err
}

// besideSessions is the producer's p99 beside as many valid clients as there are attackers, which begin TLS sessions: both
// sides of a handshake compute, on this one machine. It is measured once the attacks are over, for it leaves garbage.
func (h *hostile) besideSessions(ctx context.Context) (time.Duration, error) {
	return h.beside(func(until time.Time) error {
		for time.Now().Before(until) {
			if err := several(ctx, h.tls.addr, h.o.idle, h.session, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// beside is the producer's p99 while others do something: that of the median part of the time, for one stall of the
// machine would make every bound wide.
func (h *hostile) beside(others func(until time.Time) error) (time.Duration, error) {
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- others(began.Add(quietTime)) }()
	var parts []time.Duration
	for range quietParts {
		mark := h.valid.mark()
		time.Sleep(quietTime / quietParts)
		if took := h.valid.since(mark); len(took) > 0 {
			parts = append(parts, quantile(took, 99))
		}
	}
	err := <-ended
	if len(parts) <= quietParts/2 && err == nil {
		err = fmt.Errorf("the valid producer was answered in %d of %d parts of %v", len(parts), quietParts, quietTime)
	}
	if err != nil {
		return 0, err
	}
	return quantile(parts, 50), nil
}

// bound is what the p99 during an attack may be where it usually is so much.
func bound(usual time.Duration) time.Duration { return 2*usual + p99Floor }

// judgement is about attacks whose answers to the valid producer are judged together.
type judgement struct {
	during  string
	attacks []attack
	took    []time.Duration
	usual   func(context.Context) (time.Duration, error) // the p99 without them
}

// judgements puts those together that are judged together: what goes over TLS, and what gets too few answers alone.
func (h *hostile) judgements(seen []judgement) []judgement {
	v := h.valid
	plain := func(context.Context) (time.Duration, error) { return max(v.quiet, v.busy), nil }
	overTLS := judgement{during: "the attacks over TLS", usual: h.besideSessions}
	brief := judgement{during: "the brief attacks together", usual: plain}
	var all []judgement
	for _, j := range seen {
		switch {
		case j.attacks[0].overTLS:
			overTLS.add(j)
		case len(j.took) < fewAnswers:
			brief.add(j)
		default:
			j.usual = plain
			all = append(all, j)
		}
	}
	return slices.DeleteFunc(append(all, brief, overTLS), func(j judgement) bool { return len(j.took) == 0 })
}

func (j *judgement) add(k judgement) {
	j.attacks = append(j.attacks, k.attacks...)
	j.took = append(j.took, k.took...)
}

// judge demands that the valid producer was not held up. A single stall of the machine (its disk, its processors) moves
// a p99 over some seconds as an attack would, but it does not come again with the attack.
func (h *hostile) judge(ctx context.Context, j judgement) {
	trial := &local.Trial{Name: "valid producer during " + j.during, Report: h.report}
	for {
		usual, err := j.usual(ctx)
		if err == nil && len(j.took) == 0 {
			err = errors.New("no answer to the valid producer")
		}
		if err != nil {
			h.report.Check(trial.Name, err)
			return
		}
		most, p99 := bound(usual), quantile(j.took, 99)
		again := trial.Take(local.Bound{Held: p99 <= most, Found: fmt.Sprintf(
			"%d answers, p50 %.1f ms, p99 %.1f ms, longest %.1f ms; without the attack p99 %.1f ms, bound %.1f ms",
			len(j.took), ms(quantile(j.took, 50)), ms(p99), ms(quantile(j.took, 100)), ms(usual), ms(most))})
		if !again {
			trial.Close()
			return
		}
		j.took = nil
		for _, a := range j.attacks {
			j.took = append(j.took, h.attack(ctx, a)...)
		}
	}
}

func (h *hostile) checkValidEnd(ctx context.Context) {
	acked, wrong := h.valid.finish(ctx)
	if len(wrong) > 0 {
		h.report.Check("valid clients", fmt.Errorf("%d things are wrong, the first: %v", len(wrong), wrong[:min(5, len(wrong))]))
		return
	}
	h.report.That("valid clients", acked > 0, "%d records acknowledged, each read once and in order", acked)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
