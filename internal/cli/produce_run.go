package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producing is one run of produce: what was sent, and what came of it.
type producing struct {
	app   *App
	cn    *conn
	topic string
	fl    produceFlags
	begin time.Time
	meter *meter

	mu      sync.Mutex // guards what acknowledgements touch
	acked   int64
	failed  int64
	bytes   int64
	first   *Fault
	firstAt *kgo.Record
	firstEr error
	parts   map[string]map[int32]*producedPartition
}

type produceSummary struct {
	Records    int64               `json:"records"`
	Failed     int64               `json:"failed"`
	Bytes      int64               `json:"bytes"`
	Millis     int64               `json:"duration_ms"`
	Rate       float64             `json:"records_per_second"`
	Partitions []producedPartition `json:"partitions"`
}

type producedPartition struct {
	Topic     string `json:"topic" col:"TOPIC"`
	Partition int32  `json:"partition" col:"PARTITION"`
	Records   int64  `json:"records" col:"RECORDS"`
	First     int64  `json:"first_offset" col:"FIRST"`
	Last      int64  `json:"last_offset" col:"LAST"`
}

func (s produceSummary) sections(bool) []section { return []section{{rows: s.Partitions}} }

func newProducing(a *App, cn *conn, topic string, fl produceFlags) *producing {
	return &producing{app: a, cn: cn, topic: topic, fl: fl, begin: a.Now(),
		meter: newMeter(a, fl.progress), parts: map[string]map[int32]*producedPartition{}}
}

// run sends everything the source yields and waits for the answers.
func (p *producing) run(ctx context.Context, src recordSource) error {
	txn := p.fl.txnID != ""
	if txn {
		if err := p.cn.cl.BeginTransaction(); err != nil {
			return p.cn.fault("cannot begin a transaction", err)
		}
	}
	inputErr := p.send(ctx, src)
	flushErr := p.flush(ctx)
	p.meter.done()
	if txn {
		if err := p.endTxn(ctx, inputErr == nil && flushErr == nil && p.failed == 0); err != nil {
			return err
		}
	}
	if err := p.report(); err != nil {
		return err
	}
	return p.outcome(ctx, inputErr, flushErr)
}

func (p *producing) send(ctx context.Context, src recordSource) error {
	records := readRecords(ctx, src)
	for {
		select {
		case item, more := <-records:
			if !more {
				return nil
			}
			if item.err != nil {
				return item.err
			}
			if p.broken() {
				return nil // the outcome tells why
			}
			if err := p.sendOne(item.rec); err != nil {
				return err
			}
		case <-p.cn.base.Done():
			return nil // so does it for an interrupt, and for a cluster that cannot be reached
		}
	}
}

func (p *producing) sendOne(r *kgo.Record) error {
	if r.Topic == "" || (p.topic != "" && p.fl.format == "json") {
		r.Topic = p.topic // the topic on the command line wins over the one in the record
	}
	if r.Topic == "" {
		return usagef(`a record has no "topic", and none was given`).try("logstead produce TOPIC -f json")
	}
	p.cn.cl.Produce(p.cn.base, r, p.acknowledged)
	return nil
}

func (p *producing) flush(ctx context.Context) error {
	if ctx.Err() != nil {
		// Interrupted: what was accepted already is given a moment to arrive.
		fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		return p.cn.cl.Flush(fctx)
	}
	return p.cn.cl.Flush(p.cn.base)
}

func (p *producing) endTxn(ctx context.Context, commit bool) error {
	tctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cn.timeout)
	defer cancel()
	if err := p.cn.cl.EndTransaction(tctx, kgo.TransactionEndTry(commit)); err != nil {
		return p.cn.fault("cannot end the transaction", err)
	}
	if !commit {
		p.app.say("the transaction was aborted: none of its records will be seen")
	}
	return nil
}

// acknowledged is called by the client for every record, from its own goroutines.
func (p *producing) acknowledged(r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed++
		if p.firstEr == nil {
			p.firstEr, p.firstAt = err, r
		}
		return
	}
	p.acked++
	p.bytes += int64(recordBytes(r))
	p.meter.add(1, int64(recordBytes(r)))
	p.note(r)
	if p.app.flags.output == "ndjson" {
		p.printPlace(r)
	}
}

func (p *producing) note(r *kgo.Record) {
	t := p.parts[r.Topic]
	if t == nil {
		t = map[int32]*producedPartition{}
		p.parts[r.Topic] = t
	}
	part := t[r.Partition]
	if part == nil {
		part = &producedPartition{Topic: r.Topic, Partition: r.Partition, First: r.Offset}
		t[r.Partition] = part
	}
	part.Records++
	part.Last = max(part.Last, r.Offset)
}

func (p *producing) printPlace(r *kgo.Record) {
	place := struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
		Timestamp int64  `json:"timestamp"`
	}{r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()}
	if err := json.NewEncoder(p.app.Stdout).Encode(place); err != nil && p.firstEr == nil {
		p.firstEr, p.firstAt = err, r
	}
}

func (p *producing) broken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.firstEr != nil
}

func recordBytes(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func (p *producing) summary() produceSummary {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := p.app.Now().Sub(p.begin)
	s := produceSummary{Records: p.acked, Failed: p.failed, Bytes: p.bytes, Millis: took.Milliseconds()}
	if took > 0 {
		s.Rate = float64(int64(float64(p.acked)/took.Seconds()*10)) / 10
	}
	for _, t := range p.parts {
		for _, part := range t {
			s.Partitions = append(s.Partitions, *part)
		}
	}
	sort.Slice(s.Partitions, func(i, j int) bool {
		a, b := s.Partitions[i], s.Partitions[j]
		if a.Topic != b.Topic {
			return a.Topic < b.Topic
		}
		return a.Partition < b.Partition
	})
	return s
}

// report tells what was written: on stdout where a format was asked for, in a sentence otherwise.
func (p *producing) report() error {
	s := p.summary()
	switch p.app.flags.output {
	case "":
		if s.Records > 0 {
			p.app.say("%s", s.sentence(time.Duration(s.Millis)*time.Millisecond))
		}
		return nil
	case "ndjson":
		return nil
	}
	return p.app.emit(s)
}

func (s produceSummary) sentence(took time.Duration) string {
	if s.Records == 1 {
		part := s.Partitions[0]
		if part.Last < 0 {
			return fmt.Sprintf("produced 1 record to %s, partition %d (not acknowledged)", part.Topic, part.Partition)
		}
		return fmt.Sprintf("produced 1 record to %s, partition %d, offset %d", part.Topic, part.Partition, part.Last)
	}
	topics := map[string]bool{}
	for _, part := range s.Partitions {
		topics[part.Topic] = true
	}
	where := countOf(len(topics), "topic")
	if len(topics) == 1 {
		where = s.Partitions[0].Topic
	}
	out := fmt.Sprintf("produced %s records (%s) to %s, %s, in %s", humanCount(s.Records), humanBytes(s.Bytes), where,
		countOf(len(s.Partitions), "partition"), humanDuration(took))
	if took >= 100*time.Millisecond {
		out += fmt.Sprintf(", %s records/s, %s", humanCount(int64(s.Rate)), humanRate(s.Bytes, took))
	}
	return out
}

// outcome decides the exit: a mistake in the input, a failed write, an interrupt, or success.
func (p *producing) outcome(ctx context.Context, inputErr, flushErr error) error {
	if p.firstEr != nil && ctx.Err() == nil {
		f := p.cn.produceFault(p.firstAt, p.firstEr)
		if p.acked > 0 {
			f.Exit = exitPartly
			f.What = fmt.Sprintf("%s of %s records were not written: %s", humanCount(p.failed),
				humanCount(p.failed+p.acked), f.What)
		}
		return f
	}
	if inputErr != nil {
		f := asFault("cannot read the input", inputErr)
		if p.acked > 0 {
			f.What += fmt.Sprintf(" (the %s before it were written)", humanCount(p.acked))
		}
		return f
	}
	if ctx.Err() != nil {
		return &Fault{What: "interrupted", Exit: exitInterrupted}
	}
	if flushErr != nil {
		return p.cn.fault("cannot write all records", flushErr)
	}
	return nil
}
