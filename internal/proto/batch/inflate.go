package batch

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxPooled is what a batch may decompress to as it comes. Those that hold more take turns, one in the
// whole process: a batch of 20 KiB can hold 256 MiB, and clients that send many side by side would
// otherwise decide how much memory the broker takes.
const maxPooled = 4 << 20

// inflatePool holds buffers that batches are decompressed into; maxPooled bounds one of them.
var inflatePool = sync.Pool{New: func() any { return new([]byte) }}

// large is the one turn. The buffer goes from one batch to the next while any wait, and then to the
// garbage collector.
var large = struct {
	turn    chan struct{}
	waiting atomic.Int32
	buf     []byte // of who has the turn
}{turn: make(chan struct{}, 1)}

// inflated is the decompressed records of one batch, until release. The zero value holds none.
type inflated struct {
	pooled *[]byte
	large  bool
}

// inflate decompresses src to at most limit bytes.
func (i *inflated) inflate(c Codec, src []byte, limit int) ([]byte, error) {
	i.pooled = inflatePool.Get().(*[]byte)
	out, err := decompress(*i.pooled, c, src, min(limit, maxPooled))
	if cap(out) > 0 {
		*i.pooled = out
	}
	if limit > maxPooled && tooMuch(err) {
		i.release()
		out, err = i.inflateLarge(c, src, limit)
	}
	if err != nil {
		i.release()
	}
	return out, err
}

func (i *inflated) inflateLarge(c Codec, src []byte, limit int) ([]byte, error) {
	large.waiting.Add(1)
	large.turn <- struct{}{}
	large.waiting.Add(-1)
	i.large = true
	out, err := decompress(large.buf, c, src, limit)
	if cap(out) > cap(large.buf) {
		large.buf = out
	}
	return out, err
}

// tooMuch says whether err is that of a batch that decompresses to more than the limit.
func tooMuch(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kerr == kerr.MessageTooLarge
}

// release ends the use of the records.
func (i *inflated) release() {
	if i.pooled != nil && cap(*i.pooled) <= maxPooled {
		inflatePool.Put(i.pooled)
	}
	i.pooled = nil
	if !i.large {
		return
	}
	i.large = false
	if large.waiting.Load() == 0 {
		large.buf = nil
	}
	<-large.turn
}

// Scan calls fn for the batch's records, in order, until it returns false. The record is valid until fn
// returns; fn must not scan or validate another batch.
func Scan(b Batch, limits Limits, fn func(Record) bool) error {
	r := Reader{records: b.RecordsBytes(), left: b.Count()}
	if r.left < 0 {
		return refuse(kerr.InvalidRecord, "record count %d in %v", b.Count(), b)
	}
	var mem inflated
	defer mem.release()
	if codec := b.Codec(); codec != None && r.left > 0 {
		var err error
		if r.records, err = mem.inflate(codec, b.RecordsBytes(), limits.decompressed()); err != nil {
			return err
		}
	}
	for {
		rec, ok, err := r.Next()
		if err != nil || !ok || !fn(rec) {
			return err
		}
	}
}
