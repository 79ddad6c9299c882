package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	bombBytes  = 240 << 20 // below what the broker lets a batch decompress to
	moreBytes  = 1 << 30   // above it
	bombsAside = 16        // produced side by side
)

// bomb is a small batch that is large once it is decompressed.
type bomb struct {
	name  string
	batch []byte
	large int64 // bytes that it says it holds
}

// makeBombs makes the bombs of every codec: one record that is large, bytes that are no records, and lengths that lie.
func makeBombs() ([]bomb, error) {
	var all []bomb
	for _, size := range []int64{bombBytes, moreBytes} {
		head, foot := largeRecord(size)
		body := func() io.Reader { return io.MultiReader(bytes.NewReader(head), &zeros{size}, bytes.NewReader(foot)) }
		for _, c := range []struct {
			name string
			id   int16
			pack func(io.Writer, io.Reader) error
		}{
			{"gzip", codecGzip, packGzip}, {"zstd", codecZstd, packZstd}, {"lz4", codecLZ4, packLZ4},
		} {
			if c.id == codecLZ4 && size == moreBytes {
				continue // 255 is the most that LZ4 does: the batch would be too large for the topic
			}
			var record, none bytes.Buffer
			if err := errors.Join(c.pack(&record, body()), c.pack(&none, &zeros{size})); err != nil {
				return nil, err
			}
			all = append(all,
				bomb{fmt.Sprintf("%s, one record of %d MiB", c.name, size>>20), newBatch(c.id, 1, record.Bytes()), size},
				bomb{fmt.Sprintf("%s, %d MiB of no records", c.name, size>>20), newBatch(c.id, 1000, none.Bytes()), size})
		}
	}
	// Snappy's blocks say their length first, and the bytes behind may not hold it.
	lie := append(binary.AppendUvarint(nil, 1<<31-1), 0, 'x')
	framed := binary.BigEndian.AppendUint32([]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}, uint32(len(lie)))
	all = append(all,
		bomb{"snappy, a length of 2 GiB", newBatch(codecSnappy, 1, lie), 1 << 31},
		bomb{"snappy in blocks, a length of 2 GiB", newBatch(codecSnappy, 1, append(framed, lie...)), 1 << 31},
		bomb{"snappy, 16 MiB of nothing", newBatch(codecSnappy, 1, s2.EncodeSnappyBest(nil, make([]byte, 16<<20))), 16 << 20})
	return all, nil
}

// largeRecord is what stands before and behind the zeros of one record of the size.
func largeRecord(size int64) (head, foot []byte) {
	body := binary.AppendVarint([]byte{0, 0, 0}, 3)
	body = append(body, "key"...)
	body = binary.AppendVarint(body, size)
	head = binary.AppendVarint(nil, int64(len(body))+size+1)
	return append(head, body...), []byte{0}
}

func packGzip(out io.Writer, in io.Reader) error {
	w, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return errors.Join(err, w.Close())
}

func packZstd(out io.Writer, in io.Reader) error {
	w, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return errors.Join(err, w.Close())
}

func packLZ4(out io.Writer, in io.Reader) error {
	w := lz4.NewWriter(out)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block4Mb)); err != nil {
		return err
	}
	_, err := io.Copy(struct{ io.Writer }{w}, in) // its ReadFrom fails where the input ends with a block
	return errors.Join(err, w.Close())
}

// bombs produces every bomb to every kind of topic, many side by side.
func (h *hostile) bombs(ctx context.Context) error {
	if err := h.restoreTopics(ctx); err != nil {
		return err
	}
	all, err := makeBombs()
	if err != nil {
		return err
	}
	most := 0.0
	for _, b := range all {
		most = max(most, float64(b.large)/float64(len(b.batch)))
	}
	h.report.That("bombs are bombs", most >= 1000, "%d kinds, the largest grows %.0f times", len(all), most)
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.addr), kgo.RequestRetries(0), kgo.ClientID("bomber"))
	if err != nil {
		return err
	}
	defer cl.Close()
	sem := make(chan struct{}, bombsAside)
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int16]int{}
	for _, b := range all {
		for _, topic := range h.topics.names {
			sem <- struct{}{}
			wg.Go(func() {
				defer func() { <-sem }()
				code, perr := h.produceRaw(ctx, topic, b.batch)
				mu.Lock()
				defer mu.Unlock()
				if perr != nil && err == nil {
					err = fmt.Errorf("%s to %s: %w", b.name, topic, perr)
				}
				codes[code]++
			})
		}
	}
	wg.Wait()
	h.report.Note("answers to bombs, by error code: %v", codes)
	return err
}

// produceRaw sends one batch over a connection of its own and returns the error code of the answer.
func (h *hostile) produceRaw(ctx context.Context, topic string, batch []byte) (int16, error) {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TimeoutMillis = -1, 30_000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batch}}}}
	c, err := connect(ctx, h.addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := c.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("bomber")).AppendRequest(nil, req, 1)); err != nil {
		return 0, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, fmt.Errorf("no answer: %w", err)
	}
	body := make([]byte, min(binary.BigEndian.Uint32(head[:]), 1<<20))
	if _, err := io.ReadFull(c, body); err != nil {
		return 0, err
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(9)
	if err := resp.ReadFrom(body[5:]); err != nil { // correlation id and an empty section of tags
		return 0, err
	}
	return resp.Topics[0].Partitions[0].ErrorCode, nil
}
