package batch

import (
	"fmt"
	"iter"

	"github.com/twmb/franz-go/pkg/kerr"
)

// DefaultDecompressedBytes is the most that a batch may decompress to where Limits say nothing.
const DefaultDecompressedBytes = 256 << 20

// Limits bound what reading a batch may use.
type Limits struct {
	DecompressedBytes int // 0: DefaultDecompressedBytes
}

func (l Limits) decompressed() int {
	if l.DecompressedBytes <= 0 {
		return DefaultDecompressedBytes
	}
	return l.DecompressedBytes
}

// Reader reads the records of batches, one batch after the other, with one buffer. Its zero value
// is ready for Reset.
type Reader struct {
	buf     []byte // decompressed records, kept from batch to batch
	records []byte
	at      int
	left    int32
	headers []Header
	fresh   bool // records must stay valid after the next one
}

// NewReader returns a reader that stands before the batch's first record.
func NewReader(b Batch, limits Limits) (*Reader, error) {
	r := &Reader{}
	if err := r.Reset(b, limits); err != nil {
		return nil, err
	}
	return r, nil
}

// Reset begins with another batch and invalidates what was read so far.
func (r *Reader) Reset(b Batch, limits Limits) error {
	r.records, r.at, r.left = nil, 0, b.Count()
	if r.left < 0 {
		r.left = 0
		return refuse(kerr.InvalidRecord, "record count %d in %v", b.Count(), b)
	}
	if r.left == 0 {
		return nil
	}
	codec := b.Codec()
	if codec == None {
		r.records = b.RecordsBytes()
		return nil
	}
	var err error
	if r.buf, err = decompress(r.buf[:0], codec, b.RecordsBytes(), limits.decompressed()); err != nil {
		r.left = 0
		return fmt.Errorf("decompress %v: %w", b, err)
	}
	r.records = r.buf
	return nil
}

// Next returns the next record; ok is false at the end. The record's Key and Value are valid until
// Reset or Close, its Headers until the next call.
func (r *Reader) Next() (rec Record, ok bool, err error) {
	if r.left == 0 {
		return Record{}, false, nil
	}
	var v view
	next := v.parse(r.records, r.at)
	if next < 0 {
		r.left = 0
		return Record{}, false, refuse(kerr.InvalidRecord, "malformed record at byte %d of %d", r.at, len(r.records))
	}
	r.at = next
	if r.left--; r.left == 0 && next != len(r.records) {
		return Record{}, false, refuse(kerr.InvalidRecord,
			"%d bytes are left after the last of the records that the header counts", len(r.records)-next)
	}
	if r.fresh && v.headers > 0 {
		return v.record(r.records, make([]Header, 0, v.headers)), true, nil
	}
	rec = v.record(r.records, r.headers[:0])
	if rec.Headers != nil {
		r.headers = rec.Headers
	}
	return rec, true, nil
}

// Close lets go of the buffer. Using a Reader without closing it leaks nothing.
func (r *Reader) Close() { *r = Reader{} }

// Records iterates over the batch's records, which stay valid. After an error it ends.
func (b Batch) Records(limits Limits) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r := &Reader{fresh: true}
		if err := r.Reset(b, limits); err != nil {
			yield(Record{}, err)
			return
		}
		for {
			rec, ok, err := r.Next()
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !ok || !yield(rec, nil) {
				return
			}
		}
	}
}

// rewind stands before the first record again, without decompressing twice.
func (r *Reader) rewind(b Batch) error {
	if b.Count() > 0 && r.records == nil {
		return refuse(kerr.InvalidRecord, "rewind of a reader that has read nothing of %v", b)
	}
	r.at, r.left = 0, b.Count()
	return nil
}
