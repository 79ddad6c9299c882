package raw

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

// Batch is a record batch that is produced again and again.
type Batch struct {
	Bytes []byte
	// Records is how many records it has, Payload how many bytes they are before compression.
	Records, Payload int
}

// NewBatch builds a batch whose records are about payload bytes together before compression, each of
// recordBytes. Values look like the JSON of an event, so that they compress as those do.
func NewBatch(codec string, payload, recordBytes int) (Batch, error) {
	c, ok := codecs[codec]
	if !ok {
		return Batch{}, fmt.Errorf("codec %q: want none, lz4 or zstd", codec)
	}
	b := batch.NewBuilder(batch.Options{Codec: c})
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now().UnixMilli()
	for b.Count() == 0 || b.Size()+recordBytes+16 <= payload {
		b.Append(now, nil, event(rng, recordBytes))
	}
	out, err := b.Build()
	if err != nil {
		return Batch{}, err
	}
	return Batch{Bytes: append([]byte(nil), out...), Records: b.Count(), Payload: b.Size()}, nil
}

var codecs = map[string]batch.Codec{"none": batch.None, "lz4": batch.LZ4, "zstd": batch.Zstd}

// event is n bytes of JSON: names repeat, values do not.
func event(rng *rand.Rand, n int) []byte {
	v := make([]byte, 0, n+64)
	for len(v) < n {
		v = append(v, `{"user_id":"`...)
		v = strconv.AppendUint(v, rng.Uint64(), 16)
		v = append(v, `","action":"page_view","amount":`...)
		v = strconv.AppendInt(v, rng.Int64N(100_000), 10)
		v = append(v, `,"country":"NO","session":"`...)
		v = strconv.AppendUint(v, rng.Uint64(), 16)
		v = append(v, `"},`...)
	}
	return v[:n]
}
