package batch

import (
	"errors"
	"runtime"
	"sync"
	"time"
	"weak"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxPooled is what a batch may decompress to as it comes. Those that hold more take turns, one in the
// whole process: a batch of 20 KiB can hold 256 MiB, and clients that send many side by side would
// otherwise decide how much memory the broker takes.
const maxPooled = 4 << 20

// inflatePool holds buffers that batches are decompressed into; maxPooled bounds one of them.
var inflatePool = sync.Pool{New: func() any { return new([]byte) }}

// large is the one turn. Whoever has it uses the buffer of the one before, unless the garbage collector
// took that meanwhile: without it, buffers piled up faster than they were collected.
var large = struct {
	turn chan struct{}
	kept weak.Pointer[[]byte]
	tidy *time.Timer // whoever has the turn sets it
}{turn: make(chan struct{}, 1)}

// A collection that finds the large buffer in use lets the heap grow to a multiple of it before the next one, which on
// a broker that has become quiet is minutes away: once nobody has decompressed that much for tidyAfter, one is asked for.
const (
	tidyAbove = 32 << 20
	tidyAfter = 2 * time.Second
)

// inflated is the decompressed records of one batch, until release. The zero value holds none.
type inflated struct {
	pooled *[]byte
	large  *[]byte // not nil with the turn
}

// inflate decompresses src to at most limit bytes.
func (i *inflated) inflate(c Codec, src []byte, limit int) ([]byte, error) {
	if c == Zstd && limit > maxPooled {
		if bound, err := zstdSize(src, limit); err == nil && bound > maxPooled { // no need to try
			out, err := i.inflateLarge(c, src, limit)
			if err != nil {
				i.release()
			}
			return out, err
		}
	}
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
	large.turn <- struct{}{}
	if i.large = large.kept.Value(); i.large == nil {
		i.large = new([]byte)
	}
	out, err := decompress(*i.large, c, src, limit)
	if cap(out) > cap(*i.large) {
		*i.large = out
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
	if i.large == nil {
		return
	}
	large.kept = weak.Make(i.large)
	if cap(*i.large) > tidyAbove {
		if large.tidy == nil {
			large.tidy = time.AfterFunc(tidyAfter, runtime.GC)
		} else {
			large.tidy.Reset(tidyAfter)
		}
	}
	i.large = nil
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
