package raw

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ProduceLoad sends one batch over and over, to the leaders that the broker at Addr names.
type ProduceLoad struct {
	Addr, Topic string
	Partitions  int32
	Conns       int
	InFlight    int // requests on a connection that wait for their answer
	Acks        int16
	Batch       Batch
	Requests    int64 // in all, shared out among the connections
	Spread      bool  // each connection writes to one partition after the other, not to one; for a lone broker
}

// Result is what a load did.
type Result struct {
	Requests int64
	Records  int64
	Bytes    int64 // of records, before compression
	Elapsed  time.Duration
}

const produceVersion = 9

// ProduceFrame is a whole request with one batch for one partition.
func ProduceFrame(topic string, partition int32, acks int16, b []byte) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, acks, 30_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, b
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return Frame(req)
}

// produceErrorAt is where the error code stands in the answer to such a request: after correlation
// id, tags, count of topics, the topic, count of partitions and the partition.
func produceErrorAt(topic string) int { return 4 + 1 + 1 + 1 + len(topic) + 1 + 4 }

// Run produces until all requests are answered, on connections of its own.
func (l ProduceLoad) Run(ctx context.Context) (Result, error) {
	p, err := l.Connect(ctx)
	if err != nil {
		return Result{}, err
	}
	defer p.Close()
	return p.Run(l.Requests)
}

// Producers are the connections of a load.
type Producers struct {
	load  ProduceLoad
	conns []*Conn
}

// Connect opens the load's connections.
func (l ProduceLoad) Connect(ctx context.Context) (*Producers, error) {
	conns, err := dialLeaders(ctx, l.Addr, l.Topic, l.Partitions, l.Conns)
	if err != nil {
		return nil, err
	}
	return &Producers{load: l, conns: conns}, nil
}

// Close closes the connections.
func (p *Producers) Close() { closeAll(p.conns) }

// Run sends so many requests, at least one on each connection, and waits for their answers.
func (p *Producers) Run(requests int64) (Result, error) {
	l := p.load
	share := max(1, requests/int64(l.Conns))
	start := time.Now()
	err := each(p.conns, func(i int, c *Conn) error {
		f := &frame{bytes: ProduceFrame(l.Topic, int32(i)%l.Partitions, l.Acks, l.Batch.Bytes)}
		if l.Spread {
			f.partition, f.step, f.count = int32(i)%l.Partitions, int32(l.Conns), l.Partitions
			f.at = partitionAt(f.bytes, l.Batch.Bytes)
		}
		return l.drive(c, f, share)
	})
	n := share * int64(l.Conns)
	r := Result{Requests: n, Records: n * int64(l.Batch.Records), Bytes: n * int64(l.Batch.Payload)}
	r.Elapsed = time.Since(start)
	return r, err
}

// each runs fn for every connection at once and returns the first error.
func each(conns []*Conn, fn func(int, *Conn) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(conns))
	for i, c := range conns {
		wg.Go(func() {
			if errs[i] = fn(i, c); errs[i] != nil {
				for _, other := range conns {
					other.Close() // the run has failed: let nobody wait
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// frame is a request that may go to another partition each time.
type frame struct {
	bytes       []byte
	at          int   // where the partition stands
	partition   int32 // of the next one
	step, count int32 // count 0: always the same
}

// partitionAt is where a frame has its partition: before the length and the bytes of the batch.
func partitionAt(whole, batch []byte) int {
	return bytes.LastIndex(whole, batch) - len(binary.AppendUvarint(nil, uint64(len(batch)+1))) - 4
}

// next is the frame to send now.
func (f *frame) next() []byte {
	if f.count > 0 {
		binary.BigEndian.PutUint32(f.bytes[f.at:], uint32(f.partition))
		f.partition = (f.partition + f.step) % f.count
	}
	return f.bytes
}

// drive sends n requests on one connection, InFlight of them ahead of the answers.
func (l ProduceLoad) drive(c *Conn, frame *frame, n int64) error {
	errorAt := produceErrorAt(l.Topic)
	if l.InFlight == 1 {
		for range n {
			if err := c.Send(frame.next()); err != nil {
				return err
			}
			if err := receiveProduced(c, errorAt); err != nil {
				return err
			}
		}
		return nil
	}
	tokens := make(chan struct{}, l.InFlight)
	stop := make(chan struct{})
	sent := make(chan error, 1)
	go func() { sent <- send(c, frame, n, tokens, stop) }()
	for range n {
		if err := receiveProduced(c, errorAt); err != nil {
			close(stop)
			c.Close()
			<-sent
			return err
		}
		<-tokens
	}
	return <-sent
}

func send(c *Conn, frame *frame, n int64, tokens chan<- struct{}, stop <-chan struct{}) error {
	for range n {
		select {
		case tokens <- struct{}{}:
		case <-stop:
			return nil
		}
		if err := c.Send(frame.next()); err != nil {
			return err
		}
	}
	return nil
}

func receiveProduced(c *Conn, errorAt int) error {
	head, size, err := c.Receive(errorAt + 2)
	if err != nil {
		return err
	}
	if len(head) < errorAt+2 {
		return fmt.Errorf("answer of %d bytes to Produce", size)
	}
	return kerr.ErrorForCode(int16(binary.BigEndian.Uint16(head[errorAt:])))
}
