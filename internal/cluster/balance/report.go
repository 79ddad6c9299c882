package balance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
)

// Key names a partition by its topic's id.
type Key struct {
	Topic     base.TopicID
	Partition int32
}

// PartitionLoad is what a leader tells of a partition: the bytes of one replica, and the bytes a second that
// producers bring and that leave, to consumers and followers.
type PartitionLoad struct {
	Key
	Bytes, In, Out int64
}

// Report is what a broker tells the active controller of itself and of what it leads. It is sent in pieces of
// MaxReported partitions; a piece stands for itself.
type Report struct {
	Broker     int32
	Rated      bool  // Partitions is all that is led but for what has come since the last report
	DiskBytes  int64 // of the volumes of all log directories together, 0 for not known
	FreeBytes  int64
	Partitions []PartitionLoad // those of one topic together
}

const (
	reportVersion = 1
	// MaxReported is how many partitions are in one piece of a report: at most about a MiB.
	MaxReported = 20_000
)

// errReport is a report that is no report.
var errReport = errors.New("load report is malformed")

// Append encodes a report: a version, then unsigned varints, with each topic's id before its partitions.
func (r *Report) Append(b []byte) []byte {
	b = append(b, reportVersion)
	b = binary.AppendUvarint(b, uint64(r.Broker))
	rated := uint64(0)
	if r.Rated {
		rated = 1
	}
	b = binary.AppendUvarint(b, rated)
	b = binary.AppendUvarint(b, uint64(r.DiskBytes))
	b = binary.AppendUvarint(b, uint64(r.FreeBytes))
	for rest := r.Partitions; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Topic == rest[0].Topic {
			n++
		}
		b = append(b, rest[0].Topic[:]...)
		b = binary.AppendUvarint(b, uint64(n))
		for _, p := range rest[:n] {
			for _, v := range [...]int64{int64(p.Partition), p.Bytes, p.In, p.Out} {
				b = binary.AppendUvarint(b, uint64(v))
			}
		}
		rest = rest[n:]
	}
	return b
}

// ReadReport decodes a report. One of a version that is not known is an error.
func ReadReport(b []byte) (*Report, error) {
	if len(b) == 0 || b[0] != reportVersion {
		return nil, fmt.Errorf("%w: want version %d", errReport, reportVersion)
	}
	d := decoder{b: b[1:]}
	r := &Report{Broker: int32(d.number(math.MaxInt32)), Rated: d.number(1) == 1}
	r.DiskBytes, r.FreeBytes = d.number(math.MaxInt64), d.number(math.MaxInt64)
	for len(d.b) > 0 && !d.bad {
		var topic base.TopicID
		if copy(topic[:], d.b) < len(topic) {
			return nil, errReport
		}
		d.b = d.b[len(topic):]
		for n := d.number(MaxReported); n > 0 && !d.bad; n-- {
			p := PartitionLoad{Key: Key{Topic: topic, Partition: int32(d.number(math.MaxInt32))}}
			p.Bytes, p.In, p.Out = d.number(math.MaxInt64), d.number(math.MaxInt64), d.number(math.MaxInt64)
			r.Partitions = append(r.Partitions, p)
		}
		if len(r.Partitions) > MaxReported {
			return nil, fmt.Errorf("%w: more than %d partitions", errReport, MaxReported)
		}
	}
	if d.bad {
		return nil, errReport
	}
	return r, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number(most uint64) int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most || d.bad {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

// Meter makes rates of the counters of partitions.
type Meter struct {
	at   time.Time
	seen map[Key]metered
}

type metered struct {
	in, out         int64 // counters
	inRate, outRate float64
	rated           bool
}

// meterWindow is the time over which traffic is averaged: what is older weighs less and less.
const meterWindow = 5 * time.Minute

// Looked says whether there has been a look, so that the next gives rates.
func (m *Meter) Looked() bool { return m.seen != nil }

// Observe takes the counters of what this broker leads now, In and Out being totals since any time, and gives
// the rates. A partition that is seen for the first time, or whose counters began anew, has none yet and is
// left out.
func (m *Meter) Observe(now time.Time, totals []PartitionLoad) []PartitionLoad {
	dt := now.Sub(m.at)
	seen := make(map[Key]metered, len(totals))
	var out []PartitionLoad
	share := 1 - math.Exp(-dt.Seconds()/meterWindow.Seconds())
	for _, t := range totals {
		was, ok := m.seen[t.Key]
		is := metered{in: t.In, out: t.Out}
		if ok && dt > 0 && t.In >= was.in && t.Out >= was.out {
			in, gone := float64(t.In-was.in)/dt.Seconds(), float64(t.Out-was.out)/dt.Seconds()
			if is.inRate, is.outRate, is.rated = in, gone, true; was.rated {
				is.inRate = was.inRate + share*(in-was.inRate)
				is.outRate = was.outRate + share*(gone-was.outRate)
			}
			out = append(out, PartitionLoad{t.Key, t.Bytes, int64(is.inRate), int64(is.outRate)})
		}
		seen[t.Key] = is
	}
	m.at, m.seen = now, seen
	return out
}
