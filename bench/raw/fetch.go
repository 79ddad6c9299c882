package raw

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FetchLoad reads partitions from their start, again and again.
type FetchLoad struct {
	Addr, Topic string
	Partitions  int32
	Conns       int
	MaxBytes    int32 // of one answer
	Bytes       int64 // in all
	Follow      bool  // wait at the end for more, instead of reading from the start again
}

const fetchVersion = 12

// fetchFrame asks for one partition, without a session.
func fetchFrame(topic string, partition int32, offset int64, maxBytes, minBytes int32, wait time.Duration) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchVersion, int32(wait.Milliseconds()), minBytes, maxBytes
	req.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, maxBytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return Frame(req)
}

// fetched is what the load looks at of an answer.
type fetched struct {
	next  int64 // offset after the last whole batch; that of the request if there is none
	bytes int64 // of records
}

// receiveFetched reads a whole answer and walks its batch headers.
func receiveFetched(c *Conn, topic string, from int64) (fetched, error) {
	// correlation id, tags, throttle, error code, session, count, topic, count, partition
	at := 4 + 1 + 4 + 2 + 4 + 1 + 1 + len(topic) + 1 + 4
	body, size, err := c.Receive(1 << 30)
	if err != nil {
		return fetched{}, err
	}
	// error code, high watermark, last stable offset, log start, aborted, preferred replica, records
	records := at + 2 + 8 + 8 + 8 + 1 + 4
	if len(body) < records+1 {
		return fetched{}, fmt.Errorf("answer of %d bytes to Fetch", size)
	}
	if err := kerr.ErrorForCode(int16(binary.BigEndian.Uint16(body[at:]))); err != nil {
		return fetched{}, err
	}
	if body[records-5] > 1 {
		return fetched{}, fmt.Errorf("answer to Fetch lists aborted transactions, which it was not asked for")
	}
	n, k := binary.Uvarint(body[records:])
	if k <= 0 || n <= 1 {
		return fetched{next: from}, nil
	}
	b := body[records+k:]
	b = b[:min(int(n-1), len(b))]
	f := fetched{next: from, bytes: int64(len(b))}
	for len(b) >= 61 {
		length := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if length > len(b) {
			break
		}
		f.next = int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:])) + 1
		b = b[length:]
	}
	return f, nil
}

// Run fetches until Bytes have been read. Each connection reads one partition to its end and begins
// again; every answer's batches are walked, so that all of it is known to have come.
func (l FetchLoad) Run(ctx context.Context) (Result, error) {
	conns, err := dialLeaders(ctx, l.Addr, l.Topic, l.Partitions, l.Conns)
	if err != nil {
		return Result{}, err
	}
	defer closeAll(conns)
	results := make([]Result, l.Conns)
	start := time.Now()
	err = each(conns, func(i int, c *Conn) error {
		return l.drive(c, int32(i)%l.Partitions, l.Bytes/int64(l.Conns), &results[i])
	})
	var sum Result
	for _, r := range results {
		sum.Requests += r.Requests
		sum.Bytes += r.Bytes
		sum.Records += r.Records
	}
	sum.Elapsed = time.Since(start)
	return sum, err
}

func (l FetchLoad) drive(c *Conn, partition int32, want int64, r *Result) error {
	for offset := int64(0); r.Bytes < want; {
		wait := time.Duration(0)
		if l.Follow {
			wait = 500 * time.Millisecond
		}
		if err := c.Send(fetchFrame(l.Topic, partition, offset, l.MaxBytes, 1, wait)); err != nil {
			return err
		}
		f, err := receiveFetched(c, l.Topic, offset)
		if err != nil {
			return err
		}
		r.Requests++
		r.Bytes += f.bytes
		if l.Follow {
			r.Records += f.next - offset
			offset = f.next
			continue
		}
		if f.next == offset && offset == 0 {
			return fmt.Errorf("partition %d of %s is empty", partition, l.Topic)
		}
		r.Records += max(0, f.next-offset)
		if offset = f.next; f.bytes == 0 {
			offset = 0
		}
	}
	return nil
}
