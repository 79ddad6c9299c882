package api

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// maxKey bounds the arrays that are indexed by API key.
const maxKey = 128

// latencyBuckets are powers of two of a microsecond: bucket i counts calls below 2^i µs.
const latencyBuckets = 26

// metrics counts calls by API. Everything is atomic: it sits on the hot path.
type metrics struct {
	byKey                      [maxKey]apiMetrics
	failedProduce, failedFetch atomic.Int64
}

// Failures counts partitions that were answered with an error.
type Failures struct{ Produce, Fetch int64 }

// Failures reads the counters.
func (b *Broker) Failures() Failures {
	return Failures{b.metrics.failedProduce.Load(), b.metrics.failedFetch.Load()}
}

// FetchSessions is the number of fetch sessions that are kept.
func (b *Broker) FetchSessions() int { return b.sessions.count() }

type apiMetrics struct {
	calls, bytesIn, bytesOut, nanos atomic.Int64
	latency                         [latencyBuckets]atomic.Int64
}

func (m *metrics) answered(c *Call, w *kmsg.Writer) {
	if c.Key < 0 || c.Key >= maxKey {
		return
	}
	a := &m.byKey[c.Key]
	a.calls.Add(1)
	a.bytesIn.Add(int64(c.frameBytes))
	if w != nil {
		a.bytesOut.Add(int64(w.Len()))
	}
	took := c.broker.Clock.Now().Sub(c.Start)
	a.nanos.Add(int64(took))
	i := bits.Len64(uint64(max(took, 0) / time.Microsecond))
	a.latency[min(i, latencyBuckets-1)].Add(1)
}

// Calls is how many calls have been answered.
func (b *Broker) Calls() (n int64) {
	for i := range b.metrics.byKey {
		n += b.metrics.byKey[i].calls.Load()
	}
	return n
}

// APIStats is a snapshot of one API's counters.
type APIStats struct {
	Name                     string
	Calls, BytesIn, BytesOut int64
	Total                    time.Duration
	// Latency counts calls by time: element i those below 2^i microseconds and not below half that.
	Latency [latencyBuckets]int64
}

// Stats lists the APIs that have been called, by key.
func (b *Broker) Stats() []APIStats {
	var all []APIStats
	for key := range b.metrics.byKey {
		a := &b.metrics.byKey[key]
		if a.calls.Load() == 0 {
			continue
		}
		s := APIStats{
			Name: kmsg.ByKey(int16(key)).Name, Calls: a.calls.Load(), BytesIn: a.bytesIn.Load(),
			BytesOut: a.bytesOut.Load(), Total: time.Duration(a.nanos.Load()),
		}
		for i := range a.latency {
			s.Latency[i] = a.latency[i].Load()
		}
		all = append(all, s)
	}
	return all
}

// Quantile estimates the latency below which the share q of the calls stayed.
func (s *APIStats) Quantile(q float64) time.Duration {
	want := int64(q * float64(s.Calls))
	var seen int64
	for i, n := range s.Latency {
		if seen += n; seen > want {
			return time.Duration(1<<i) * time.Microsecond
		}
	}
	return 0
}
