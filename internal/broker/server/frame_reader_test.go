package server

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// socketPair is a connection over loopback.
func socketPair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if there, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if here, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = here.Close()
		_ = there.Close()
	})
	return here, there
}

// requestsOf are frames of these sizes, of Produce and of Metadata in turn, and what is in each.
func requestsOf(sizes []int) (stream []byte, frames [][]byte) {
	for i, n := range sizes {
		frame := make([]byte, n)
		for k := range frame {
			frame[k] = byte(i + k)
		}
		key := []int16{kmsg.KeyProduce, kmsg.KeyMetadata}[i%2]
		binary.BigEndian.PutUint16(frame, uint16(key))
		stream = binary.BigEndian.AppendUint32(stream, uint32(n))
		stream = append(stream, frame...)
		frames = append(frames, frame)
	}
	return stream, frames
}

// TestFramesOverSockets: requests of all sizes that are sent ahead come out as they were, through narrow and wide
// buffers, whatever the budget has room for; nothing stays charged.
func TestFramesOverSockets(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	sizes := []int{8, 100, 16 << 10}
	for range 400 {
		most := []int{200, 5000, 21_000, 70_000, 300_000}[rng.IntN(5)]
		sizes = append(sizes, most/2+rng.IntN(most/2))
	}
	stream, frames := requestsOf(sizes)
	for _, size := range []int64{8 << 20, 400_000, 1000} {
		here, there := socketPair(t)
		sent := make(chan error, 1)
		go func() {
			for rest := stream; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(200_000))
				if _, err := there.Write(rest[:n]); err != nil {
					sent <- err
					return
				}
				rest = rest[n:]
			}
			sent <- there.Close()
		}()
		b, wide := newBudget(size), 0
		var fr frameReader
		fr.init(here, 1<<20, b, time.Minute, time.Minute)
		kept := map[int][]byte{}
		for i, want := range frames {
			got, err := fr.next()
			if err != nil {
				t.Fatalf("budget %d: frame %d: %v", size, i, err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("budget %d: frame %d of %d bytes is not what was sent", size, i, len(want))
			}
			if !hot(api.PeekKey(got)) {
				kept[i] = got
			}
			if fr.room == wideBufferBytes {
				wide++
			}
			fr.release()
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if _, err := fr.next(); err == nil {
			t.Fatalf("budget %d: a frame came after the last", size)
		}
		fr.close()
		for i, frame := range kept {
			if !bytes.Equal(frame, frames[i]) {
				t.Fatalf("budget %d: frame %d, which its handler may keep, has changed", size, i)
			}
		}
		if left := b.taken(); left != 0 {
			t.Fatalf("budget %d: %d bytes of it are not given back", size, left)
		}
		if size == 8<<20 && wide == 0 {
			t.Fatal("no frame came through a wide buffer")
		}
		if size < wideBufferBytes && wide > 0 {
			t.Fatalf("%d frames came through a wide buffer, for which the budget of %d has no room", wide, size)
		}
	}
}

// TestWaitsWithoutWideBuffer: a connection that waits for the rest of a request holds no wide buffer.
func TestWaitsWithoutWideBuffer(t *testing.T) {
	here, there := socketPair(t)
	stream, frames := requestsOf([]int{20_000, 20_000, 20_000, 5000})
	b := newBudget(1 << 20)
	var fr frameReader
	fr.init(here, 1<<20, b, time.Minute, time.Minute)
	if _, err := there.Write(stream[:len(stream)-1]); err != nil {
		t.Fatal(err)
	}
	fr.much, fr.wide = true, true // as after a read that brought much
	for range 3 {
		if _, err := fr.next(); err != nil {
			t.Fatal(err)
		}
		fr.release()
	}
	got := make(chan []byte, 1)
	go func() {
		frame, _ := fr.next()
		got <- frame
	}()
	for b.taken() > 0 {
		time.Sleep(time.Millisecond) // until it waits
	}
	if _, err := there.Write(stream[len(stream)-1:]); err != nil {
		t.Fatal(err)
	}
	if frame := <-got; !bytes.Equal(frame, frames[3]) {
		t.Fatal("the request that came in two parts is not what was sent")
	}
	fr.close()
}

// TestSizeBeforeLogin holds that a client that has not logged in takes memory for what it has sent, whatever size it announces
// and whatever request it says that it is.
func TestSizeBeforeLogin(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	const size = 512 << 10
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer there.Close()
		_, _ = there.Write(append(binary.BigEndian.AppendUint32(nil, size), make([]byte, 20<<10)...)) // it looks like a Produce
	}()
	var fr frameReader
	fr.init(here, 1<<20, newBudget(1<<30), time.Minute, time.Minute)
	fr.limited(size, time.Minute)
	defer fr.close()
	if _, err := fr.next(); err == nil {
		t.Fatal("a part of a frame was given out")
	}
	if fr.large != nil {
		t.Errorf("a pooled buffer of %d bytes was taken for a client that has not logged in", len(fr.large.B))
	}
	<-sent
}
