package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	slowSenders = 50
	slowPause   = 20 * time.Millisecond
	giantFrames = 64
	giantBytes  = 100 << 20 // just what socket.request.max.bytes lets in; every next one is half as large
	leastGiant  = 64 << 10
	churners    = 20
	heldTime    = 3 * time.Second
	idleBytes   = 32 << 10 // what an idle connection may cost, garbage included
)

// ask is a request that every broker answers.
func ask() []byte {
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(0)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, req, 1)
}

// several opens n connections and runs fn with each beside the others, then meanwhile, where there is one, and closes
// the connections behind it.
func several(ctx context.Context, addr string, n int, fn func(net.Conn) error, meanwhile func()) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	conns := make([]net.Conn, n)
	for i := range n {
		c, err := connect(ctx, addr)
		if err != nil {
			errs[i] = err
			break
		}
		conns[i] = c
		wg.Go(func() { errs[i] = fn(c) })
	}
	wg.Wait()
	if meanwhile != nil {
		meanwhile()
	}
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
	return errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// answer reads one answer and throws it away.
func answer(c net.Conn) error {
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:])))
	return err
}

// giants announces frames as large as they may be and sends next to nothing of them. Meanwhile a large request of a
// client that behaves must get through.
func (h *hostile) giants(ctx context.Context) error {
	var n atomic.Int32
	return several(ctx, h.addr, giantFrames, func(c net.Conn) error {
		size := max(giantBytes>>(n.Add(1)/4), leastGiant)
		head := binary.BigEndian.AppendUint32(nil, uint32(size))
		_, err := c.Write(append(head, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, 'x'))
		return err
	}, func() {
		pause(ctx, time.Second)
		began := time.Now()
		code, err := h.produceLarge(ctx)
		took := time.Since(began)
		h.report.That("a large request beside unfinished giants", err == nil && code == 0 && took < 10*time.Second,
			"code %d after %.2f s, error %v", code, took.Seconds(), err)
	})
}

// produceLarge writes a batch that is larger than a connection's read buffer.
func (h *hostile) produceLarge(ctx context.Context) (int16, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	type result struct {
		code int16
		err  error
	}
	got := make(chan result, 1)
	go func() {
		code, err := h.produceRaw(ctx, "hostile", newBatch(0, 1, record(0, nil, make([]byte, 500<<10))))
		got <- result{code, err}
	}()
	select {
	case r := <-got:
		return r.code, r.err
	case <-ctx.Done():
		return -1, ctx.Err()
	}
}

// slow sends requests a byte at a time; each is answered nevertheless.
func (h *hostile) slow(ctx context.Context) error {
	return several(ctx, h.addr, slowSenders, func(c net.Conn) error {
		for _, b := range ask() {
			if _, err := c.Write([]byte{b}); err != nil {
				return err
			}
			pause(ctx, slowPause)
		}
		return answer(c)
	}, nil)
}

// halfOpen closes the sending side after a request or a part of one; whole requests are answered, and the broker
// closes its side then.
func (h *hostile) halfOpen(ctx context.Context) error {
	n := 0
	var mu sync.Mutex
	return several(ctx, h.addr, 200, func(c net.Conn) error {
		mu.Lock()
		n++
		whole := n%2 == 0
		mu.Unlock()
		b := ask()
		if !whole {
			b = b[:len(b)/2]
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		if t, ok := c.(*net.TCPConn); ok {
			if err := t.CloseWrite(); err != nil {
				return err
			}
		}
		if whole {
			if err := answer(c); err != nil {
				return err
			}
		}
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			return fmt.Errorf("the broker keeps a connection whose client has ended: %v", err)
		}
		return nil
	}, nil)
}

// idle holds connections that do nothing, and looks at what they cost.
func (h *hostile) idle(ctx context.Context) error {
	before, err := h.memory(ctx)
	if err != nil {
		return err
	}
	return several(ctx, h.addr, h.o.idle, func(c net.Conn) error {
		if _, err := c.Write(ask()); err != nil {
			return err
		}
		return answer(c)
	}, func() {
		pause(ctx, heldTime)
		after, err := h.memory(ctx)
		if h.node == nil || err != nil {
			return
		}
		each := (after - before) / float64(h.o.idle)
		h.report.That("an idle connection is small", each < idleBytes, "%d connections, %.1f KiB each", h.o.idle, each/1024)
	})
}

// memory is the heap and the stacks in use, 0 for a broker that was given by address.
func (h *hostile) memory(ctx context.Context) (float64, error) {
	if h.node == nil {
		return 0, nil
	}
	m, err := h.node.Metrics(ctx)
	return m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"], err
}

// churn opens and closes connections, some after a request, some in its middle, some with a reset.
func (h *hostile) churn(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, churners)
	for i := range churners {
		wg.Go(func() {
			for n := i; n < h.o.churn && ctx.Err() == nil && errs[i] == nil; n += churners {
				errs[i] = h.churnOne(ctx, n)
			}
		})
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		h.report.Note("%d connections opened and closed", h.o.churn)
	}
	return err
}

func (h *hostile) churnOne(ctx context.Context, n int) error {
	c, err := connect(ctx, h.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t, ok := c.(*net.TCPConn)
	switch b := ask(); n % 4 {
	case 0:
		return nil
	case 1:
		if _, err := c.Write(b); err != nil {
			return err
		}
		return answer(c)
	case 2:
		_, err := c.Write(b[:len(b)/2])
		return err
	default:
		if ok {
			t.SetLinger(0)
		}
		_, err := c.Write(b)
		return err
	}
}
