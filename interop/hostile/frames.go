package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// answerTime is how long an answer is waited for; a request that is held longer is given up with its connection.
	answerTime = 250 * time.Millisecond
	// maxAnswer bounds what an answer may be long.
	maxAnswer = 64 << 20
	// giveUpAfter is how long the broker may refuse connections before the attack ends.
	giveUpAfter = 20 * time.Second
)

// outcome is what a frame met.
type outcome string

const (
	answered outcome = "answered"
	closed   outcome = "closed"
	held     outcome = "held"
)

// tally counts outcomes by kind of frame.
type tally struct {
	mu     sync.Mutex
	counts map[string]map[outcome]int
	pairs  map[[2]int16]bool // API keys and versions that were sent
	bad    []string
	sent   int
}

func (t *tally) add(f frame, o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[f.kind] == nil {
		t.counts[f.kind] = map[outcome]int{}
	}
	t.counts[f.kind][o]++
	t.sent++
	if f.pair[0] >= 0 {
		t.pairs[f.pair] = true
	}
}

func (t *tally) wrong(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bad = append(t.bad, fmt.Sprintf(format, args...))
}

// frames sends malformed frames over every API and version.
func (h *hostile) frames(ctx context.Context) error {
	t := &tally{counts: map[string]map[outcome]int{}, pairs: map[[2]int16]bool{}}
	var wg sync.WaitGroup
	for i := range h.o.conns {
		n := h.o.frames / h.o.conns
		if i < h.o.frames%h.o.conns {
			n++
		}
		wg.Go(func() {
			b := blaster{addr: h.addr, g: newGenerator(h.o.seed, uint64(i), h.topics.names), t: t}
			defer b.hangUp()
			b.run(ctx, n)
		})
	}
	wg.Wait()
	kinds := make([]string, 0, len(t.counts))
	for k := range t.counts {
		kinds = append(kinds, k)
	}
	sort.Strings(kinds)
	for _, k := range kinds {
		c := t.counts[k]
		h.report.Note("%-24s %7d answered %7d closed %5d held", k, c[answered], c[closed], c[held])
	}
	h.report.That("every API and version", len(t.pairs) >= pairs() || t.sent < 20*pairs(), "%d of %d", len(t.pairs), pairs())
	if len(t.bad) > 0 {
		return fmt.Errorf("%d wrong, the first: %s", len(t.bad), strings.Join(t.bad[:min(3, len(t.bad))], "; "))
	}
	h.report.That("malformed frames", t.sent >= h.o.frames, "%d sent", t.sent)
	return nil
}

// pairs is how many API versions there are to send.
func pairs() (n int) {
	for k := range int16(kmsg.MaxKey + 1) {
		if r := kmsg.RequestForKey(k); r != nil {
			n += int(r.MaxVersion()) + 1
		}
	}
	return n
}

// blaster sends frames over one connection at a time.
type blaster struct {
	addr string
	g    *generator
	t    *tally
	c    net.Conn
}

func (b *blaster) run(ctx context.Context, n int) {
	for range n {
		if ctx.Err() != nil {
			return
		}
		if b.c == nil {
			c, err := connect(ctx, b.addr)
			if err != nil {
				b.t.wrong("connect: %v", err)
				return
			}
			b.c = c
		}
		f := b.g.next()
		o, err := b.send(f)
		b.t.add(f, o)
		if err != nil {
			b.t.wrong("%s %v: %v", f.kind, f.pair, err)
		}
		if o != answered {
			b.hangUp()
		}
	}
}

// connect dials until the broker takes it.
func connect(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	var err error
	for began := time.Now(); time.Since(began) < giveUpAfter && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		var c net.Conn
		if c, err = d.DialContext(ctx, "tcp", addr); err == nil {
			return c, nil
		}
	}
	return nil, errors.Join(err, ctx.Err())
}

// hangUp resets the connection, so that its port is free again at once.
func (b *blaster) hangUp() {
	if b.c == nil {
		return
	}
	if t, ok := b.c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	b.c.Close()
	b.c = nil
}

// send writes a frame and waits for what comes of it. An error is an answer that is none.
func (b *blaster) send(f frame) (outcome, error) {
	b.c.SetDeadline(time.Now().Add(answerTime))
	if _, err := b.c.Write(f.bytes); err != nil {
		return ended(err), nil
	}
	if f.cut {
		if t, ok := b.c.(*net.TCPConn); ok {
			t.CloseWrite()
		}
	}
	var head [4]byte
	if _, err := io.ReadFull(b.c, head[:]); err != nil {
		return ended(err), nil
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 4 || size > maxAnswer {
		return closed, fmt.Errorf("answer of %d bytes", size)
	}
	if _, err := io.CopyN(io.Discard, b.c, int64(size)); err != nil {
		return ended(err), nil
	}
	return answered, nil
}

func ended(err error) outcome {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return held
	}
	return closed
}

// frame is what is sent at once.
type frame struct {
	kind  string
	pair  [2]int16 // key and version, -1 where it has none
	bytes []byte
	cut   bool // the sender's side is closed behind it
}

// generator makes frames.
type generator struct {
	r      *rand.Rand
	all    [][2]int16
	at     int
	filler filler
}

func newGenerator(seed, stream uint64, topics []string) *generator {
	g := &generator{r: rand.New(rand.NewPCG(seed, stream))}
	for k := range int16(kmsg.MaxKey + 1) {
		if r := kmsg.RequestForKey(k); r != nil {
			for v := range r.MaxVersion() + 1 {
				g.all = append(g.all, [2]int16{k, v})
			}
		}
	}
	g.r.Shuffle(len(g.all), func(i, j int) { g.all[i], g.all[j] = g.all[j], g.all[i] })
	g.filler = filler{r: g.r, topics: topics}
	return g
}

// next makes the next frame. One of twelve has no valid request behind it.
func (g *generator) next() frame {
	if g.r.IntN(12) == 0 {
		return g.noise()
	}
	g.at = (g.at + 1) % len(g.all)
	pair := g.all[g.at]
	if g.r.IntN(8) == 0 {
		pair = [2]int16{0, 3 + int16(g.r.IntN(11))} // Produce: the richest of all
	}
	body := g.request(pair)
	f := frame{pair: pair, bytes: body}
	switch g.r.IntN(8) {
	case 0:
		f.kind = "odd values"
	case 1, 2:
		f.kind = "mutated"
		for range 1 + g.r.IntN(8) {
			f.bytes[4+g.r.IntN(len(f.bytes)-4)] = byte(g.r.Uint32())
		}
	case 3:
		f.kind = "truncated"
		f.bytes = resize(f.bytes[:4+g.r.IntN(len(f.bytes)-4)])
	case 4:
		f.kind = "cut off"
		f.bytes, f.cut = f.bytes[:4+g.r.IntN(len(f.bytes)-4)], true
	case 5, 6:
		f.kind = "lying counts"
		g.lie(f.bytes)
	case 7:
		f.kind = "tags"
		f.bytes = g.tags(f.bytes)
	}
	return f
}

// request is a well-formed frame with values at random.
func (g *generator) request(pair [2]int16) []byte {
	req := kmsg.RequestForKey(pair[0])
	req.SetVersion(pair[1])
	g.filler.fill(req)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, req, int32(g.r.Uint32()))
}

// noise is a frame of bytes at random, sometimes behind a header that could be one.
func (g *generator) noise() frame {
	f := frame{pair: [2]int16{-1, -1}}
	n := g.r.IntN(64)
	if g.r.IntN(4) == 0 {
		n = g.r.IntN(8 << 10)
	}
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(g.r.Uint32())
	}
	switch g.r.IntN(4) {
	case 0:
		f.kind = "random size"
		f.bytes, f.cut = body, true
	case 1:
		f.kind = "negative or giant size"
		size := []uint32{0x80000000, 0xffffffff, 0x7fffffff, 1 << 30, 104857601}[g.r.IntN(5)]
		f.bytes, f.cut = append(binary.BigEndian.AppendUint32(nil, size), body...), true
	case 2:
		f.kind = "random body"
		f.bytes = resize(append(make([]byte, 4), body...))
	case 3:
		f.kind = "random body of an API"
		pair := g.all[g.r.IntN(len(g.all))]
		b := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(pair[0]))
		b = binary.BigEndian.AppendUint16(b, uint16(pair[1]))
		b = binary.BigEndian.AppendUint32(b, g.r.Uint32())
		b = append(b, 0xff, 0xff, 0)
		f.pair, f.bytes = pair, resize(append(b, body...))
	}
	return f
}

// resize makes the size prefix right.
func resize(b []byte) []byte {
	for len(b) < 4 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// lie puts a large number somewhere into the body, as wide as counts and lengths are written.
func (g *generator) lie(b []byte) {
	lies := [][]byte{
		{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xfe}, {0x00, 0x0f, 0x42, 0x40}, {0x00, 0x00, 0xff, 0xff},
		{0xff, 0xff, 0xff, 0xff, 0x0f}, {0xff, 0xff, 0xff, 0xff, 0x7f}, {0x80, 0x80, 0x80, 0x80, 0x01}, {0xc1, 0x84, 0x3d},
		{0x7f, 0xff}, {0xff, 0xfe},
	}
	lie := lies[g.r.IntN(len(lies))]
	if at := 14 + g.r.IntN(max(1, len(b)-14)); at < len(b) {
		copy(b[at:], lie)
	}
}

// tags puts a section of very many or of lying tags at the end, where flexible versions have their last one.
func (g *generator) tags(b []byte) []byte {
	b = b[:len(b)-1]
	switch g.r.IntN(4) {
	case 0: // so many, each empty
		n := 1 + g.r.IntN(20_000)
		b = binary.AppendUvarint(b, uint64(n))
		for i := range n {
			b = append(binary.AppendUvarint(b, uint64(i)), 0)
		}
	case 1: // said to be many
		b = binary.AppendUvarint(b, 1<<32-1)
		b = append(b, 0, 0, 1, 0)
	case 2: // one that is said to be long
		b = append(b, 1, 0)
		b = binary.AppendUvarint(b, 1<<31)
	case 3: // the same one again and again
		b = binary.AppendUvarint(b, 5_000)
		for range 5_000 {
			b = append(b, 0, 1, byte(g.r.Uint32()))
		}
	}
	return resize(b)
}
