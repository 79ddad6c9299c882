package raw

import (
	"context"
	"encoding/binary"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// LatencyLoad produces single records at a fixed rate and follows them with a long-polling fetch.
// Times count from when a record was due (coordinated omission): a broker that stalls makes every
// record late that was due meanwhile.
type LatencyLoad struct {
	Addr, Topic string
	Acks        int16
	Batch       Batch // of one record
	Rate        int   // records a second
	Records     int
}

// Latencies are in microseconds.
type Latencies struct{ Ack, EndToEnd *hdr.Histogram }

// Run needs an empty topic of one partition.
func (l LatencyLoad) Run(ctx context.Context) (Latencies, error) {
	out := Latencies{newHistogram(), newHistogram()}
	conns, err := dialLeaders(ctx, l.Addr, l.Topic, 1, 2)
	if err != nil {
		return out, err
	}
	defer closeAll(conns)
	producer, consumer := conns[0], conns[1]
	start := time.Now().Add(50 * time.Millisecond)
	due := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second / time.Duration(l.Rate)) }
	errs := make(chan error, 3)
	go func() { errs <- l.produce(producer, due) }()
	go func() { errs <- l.acks(producer, due, out.Ack) }()
	go func() { errs <- l.follow(consumer, due, out.EndToEnd) }()
	for range 3 {
		if e := <-errs; e != nil && err == nil {
			err = e
			closeAll(conns)
		}
	}
	return out, err
}

func newHistogram() *hdr.Histogram { return hdr.New(1, int64(time.Minute/time.Microsecond), 3) }

func (l LatencyLoad) produce(c *Conn, due func(int) time.Time) error {
	frame := ProduceFrame(l.Topic, 0, l.Acks, l.Batch.Bytes)
	for i := range l.Records {
		sleep(time.Until(due(i)))
		if err := c.Send(frame); err != nil {
			return err
		}
	}
	return nil
}

func (l LatencyLoad) acks(c *Conn, due func(int) time.Time, h *hdr.Histogram) error {
	errorAt := produceErrorAt(l.Topic)
	for i := range l.Records {
		if err := receiveProduced(c, errorAt); err != nil {
			return err
		}
		_ = h.RecordValue(max(1, time.Since(due(i)).Microseconds()))
	}
	return nil
}

func (l LatencyLoad) follow(c *Conn, due func(int) time.Time, h *hdr.Histogram) error {
	frame := fetchFrame(l.Topic, 0, 0, 1<<20, 1, 500*time.Millisecond)
	at := offsetAt(frame)
	for seen := int64(0); seen < int64(l.Records); {
		binary.BigEndian.PutUint64(frame[at:], uint64(seen))
		if err := c.Send(frame); err != nil {
			return err
		}
		f, err := receiveFetched(c, l.Topic, seen)
		if err != nil {
			return err
		}
		now := time.Now()
		for ; seen < f.next; seen++ {
			_ = h.RecordValue(max(1, now.Sub(due(int(seen))).Microseconds()))
		}
	}
	return nil
}

// offsetAt is where a frame of fetchFrame has the offset: before last fetched epoch, log start,
// size, tags of partition and topic, forgotten topics, rack and tags.
func offsetAt(frame []byte) int { return len(frame) - (1 + 1 + 1 + 1 + 1 + 4 + 8 + 4) - 8 }
