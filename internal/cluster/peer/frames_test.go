package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pair is both ends of a TCP connection.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// TestLargeFrames: a reader that lets bytes gather gets every answer, however it comes: in pieces with pauses, with a
// small one behind, or with the end of the stream in it.
func TestLargeFrames(t *testing.T) {
	sizes := []int{gatherBytes * 5 / 2, 10, gatherBytes / 4, gatherBytes + 1, 100, 3 * gatherBytes}
	out, in := pair(t)
	_ = in.SetReadDeadline(time.Now().Add(time.Minute))
	failed, got := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		for i, n := range sizes {
			if i > 0 {
				<-got // from here on the reader waits for what is written now
			}
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(n)), bytes.Repeat([]byte{byte(i)}, n)...)
			for len(frame) > 0 {
				k := 1 + len(frame)*2/3
				if n < 1000 {
					k = 1
				}
				if _, err := out.Write(frame[:k]); err != nil {
					failed <- err
					return
				}
				frame = frame[k:]
			}
		}
		_, _ = out.Write(append(binary.BigEndian.AppendUint32(nil, gatherBytes), make([]byte, gatherBytes/2)...))
		failed <- out.Close()
	}()
	f := newFrames(in, 1<<30, true)
	for i, n := range sizes {
		f.handBack()
		frame, err := f.next()
		if err != nil {
			t.Fatalf("answer %d of %d bytes: %v", i, n, err)
		}
		if !bytes.Equal(frame, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("answer %d of %d bytes is not what was sent", i, n)
		}
		got <- struct{}{}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if _, err := f.next(); !errors.Is(err, io.EOF) {
		t.Errorf("half an answer ends with %v, want the end of the stream", err)
	}
}
