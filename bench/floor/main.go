// Command floor is a bare loop in Go beside which bench/compare puts the brokers: it reads a request, appends what
// is in it to a file or sends a file's range, and answers. It shows which part of a broker's cost is the kernel's and
// the language's.
//
// It is no broker and must not become one: it keeps nothing over its end, knows no groups, producers, quotas, limits or
// metrics, looks at nothing of a batch but its checksum, and answers only what bench/raw asks. Whoever sends it
// anything else is cut off.
//
// With -replicate it does not serve, but measures what a copy of a log to another process costs.
//
// Concurrency: one goroutine a connection; a partition has a lock.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:0", "`HOST:PORT` to listen at")
	dir := flag.String("dir", "", "directory for the files; it must be there")
	copies := flag.Bool("replicate", false, "do not serve: measure what a copy of 1 GiB to another process costs, with files in -dir")
	role := flag.String("role", "", "what a process that -replicate has started is to do")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *role != "":
		err = playRole(*role, *dir)
	case *copies:
		err = replicate(ctx, *dir)
	default:
		err = listen(ctx, *addr, *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		stop()
		os.Exit(1)
	}
}

func listen(ctx context.Context, addr, dir string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return run(ctx, l, dir)
}

// run serves on a listener until ctx ends.
func run(ctx context.Context, l net.Listener, dir string) error {
	b := &broker{dir: dir, addr: l.Addr().(*net.TCPAddr)}
	b.mu.topics = map[string][]*partition{}
	go func() {
		<-ctx.Done()
		_ = l.Close()
	}()
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		tcp := nc.(*net.TCPConn)
		if err := errors.Join(tcp.SetWriteBuffer(socketBuffer), tcp.SetReadBuffer(socketBuffer)); err != nil {
			return err
		}
		go func() {
			c := &conn{b: b, nc: tcp}
			if err := c.serve(); err != nil {
				fmt.Fprintln(os.Stderr, "floor: connection:", err)
			}
		}()
	}
}

// socketBuffer is Kafka's default of socket.send.buffer.bytes and socket.receive.buffer.bytes, and logstead's.
const socketBuffer = 100 << 10

// broker is the topics.
type broker struct {
	dir  string
	addr *net.TCPAddr
	mu   struct {
		sync.RWMutex
		topics map[string][]*partition
	}
}

// partition is one file and where its batches begin.
type partition struct {
	mu    sync.Mutex
	file  *os.File
	size  int64
	next  int64 // offset
	index []entry
}

type entry struct{ offset, pos int64 }

// append writes a batch at the end.
func (p *partition) append(b []byte, records int64) (base int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	base = p.next
	setBaseOffset(b, base)
	if _, err := p.file.WriteAt(b, p.size); err != nil {
		return 0, err
	}
	p.index = append(p.index, entry{base, p.size})
	p.size += int64(len(b))
	p.next += records
	return base, nil
}

// find is the range of at most most bytes from the batch that begins at an offset.
func (p *partition) find(offset, most int64) (pos, n, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := sort.Search(len(p.index), func(i int) bool { return p.index[i].offset >= offset })
	if i == len(p.index) {
		return 0, 0, p.next
	}
	pos = p.index[i].pos
	return pos, min(most, p.size-pos), p.next
}

func (b *broker) partition(topic []byte, i int32) *partition {
	b.mu.RLock()
	defer b.mu.RUnlock()
	t := b.mu.topics[string(topic)]
	if i < 0 || int(i) >= len(t) {
		return nil
	}
	return t[i]
}

// admin answers what is not on the data path.
func (b *broker) admin(key, version int16, body []byte) (kmsg.Response, error) {
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil, fmt.Errorf("request of key %d", key)
	}
	req.SetVersion(version)
	if err := req.ReadFrom(body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		return resp, b.create(req, resp.(*kmsg.CreateTopicsResponse))
	case *kmsg.DeleteTopicsRequest:
		return resp, b.remove(req.TopicNames)
	case *kmsg.MetadataRequest:
		b.metadata(req, resp.(*kmsg.MetadataResponse))
	case *kmsg.ListOffsetsRequest:
		listOffsets(req, resp.(*kmsg.ListOffsetsResponse))
	default:
		return nil, fmt.Errorf("a %s request, which the loads do not send", kmsg.NameForKey(key))
	}
	return resp, nil
}

func (b *broker) create(req *kmsg.CreateTopicsRequest, resp *kmsg.CreateTopicsResponse) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range req.Topics {
		parts := make([]*partition, t.NumPartitions)
		for i := range parts {
			f, err := os.Create(filepath.Join(b.dir, t.Topic+"-"+strconv.Itoa(i)))
			if err != nil {
				return err
			}
			parts[i] = &partition{file: f}
		}
		b.mu.topics[t.Topic] = parts
		r := kmsg.NewCreateTopicsResponseTopic()
		r.Topic = t.Topic
		resp.Topics = append(resp.Topics, r)
	}
	return nil
}

func (b *broker) remove(names []string) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		for _, p := range b.mu.topics[name] {
			err = errors.Join(err, p.file.Close(), os.Remove(p.file.Name()))
		}
		delete(b.mu.topics, name)
	}
	return err
}

func (b *broker) metadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	me := kmsg.NewMetadataResponseBroker()
	me.NodeID, me.Host, me.Port = 1, b.addr.IP.String(), int32(b.addr.Port)
	resp.Brokers, resp.ControllerID = append(resp.Brokers, me), 1
	for _, t := range req.Topics {
		r := kmsg.NewMetadataResponseTopic()
		r.Topic = t.Topic
		parts := b.mu.topics[*t.Topic]
		if parts == nil {
			r.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for i := range parts {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.Replicas, p.ISR = int32(i), 1, []int32{1}, []int32{1}
			r.Partitions = append(r.Partitions, p)
		}
		resp.Topics = append(resp.Topics, r)
	}
}

func listOffsets(req *kmsg.ListOffsetsRequest, resp *kmsg.ListOffsetsResponse) {
	for _, t := range req.Topics {
		r := kmsg.NewListOffsetsResponseTopic()
		r.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition = p.Partition
			r.Partitions = append(r.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, r)
	}
}
