// Package wire holds what frames are made of: pooled buffers for requests, pooled writers for
// answers, and the size prefix between them.
//
// It must not know what a message means or where a socket comes from.
//
// Concurrency: the pools may be used from any goroutine; a buffer or writer belongs to whoever took
// it until it is put back.
//
// Invariants:
//  1. A writer from GetWriter begins with room for the frame's size, which Seal fills in.
//  2. Nothing above MaxPooledBytes is kept in a pool.
package wire

import (
	"encoding/binary"
	"sync"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// SizeBytes is the length of a frame's size prefix.
const SizeBytes = 4

const (
	// MaxPooledBytes is the largest buffer that comes from a pool.
	MaxPooledBytes = 16 << 20
	// maxWriterBytes bounds a pooled writer; answers that large are rare.
	maxWriterBytes = 4 << 20
)

var writers = sync.Pool{New: func() any { return &kmsg.Writer{Buf: make([]byte, SizeBytes, 512)} }}

// GetWriter returns an empty writer with room for the size prefix.
func GetWriter() *kmsg.Writer {
	w, _ := writers.Get().(*kmsg.Writer)
	return w
}

// PutWriter gives a writer back. Its sections must have been released.
func PutWriter(w *kmsg.Writer) {
	if cap(w.Buf) > maxWriterBytes {
		return
	}
	w.Reset()
	w.Buf = w.Buf[:SizeBytes]
	writers.Put(w)
}

// Seal fills in the size prefix and returns the whole frame's length.
func Seal(w *kmsg.Writer) int {
	n := w.Len()
	binary.BigEndian.PutUint32(w.Buf, uint32(n-SizeBytes))
	return n
}

// Buffer is a pooled run of bytes.
type Buffer struct {
	B     []byte
	class int
}

// classes are the sizes buffers come in.
var classes = [...]int{16 << 10, 64 << 10, 256 << 10, 1<<20 + 64<<10, 4 << 20, MaxPooledBytes}

var buffers [len(classes)]sync.Pool

// GetBuffer returns a buffer of at least n bytes, of length n. Above the largest class it is
// ordinary memory.
func GetBuffer(n int) *Buffer {
	for class, size := range classes {
		if n > size {
			continue
		}
		b, _ := buffers[class].Get().(*Buffer)
		if b == nil {
			b = &Buffer{B: make([]byte, size), class: class}
		}
		b.B = b.B[:n]
		return b
	}
	return &Buffer{B: make([]byte, n), class: -1}
}

// PutBuffer gives a buffer back; nil is none.
func PutBuffer(b *Buffer) {
	if b == nil || b.class < 0 {
		return
	}
	buffers[b.class].Put(b)
}
