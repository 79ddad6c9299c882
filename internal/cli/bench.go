package cli

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func benchCmd(a *App) *cobra.Command {
	c := family("bench", "Measure writing, reading, and the time between both",
		benchProduceCmd(a), benchConsumeCmd(a), benchLatencyCmd(a))
	c.Long = `Measure a cluster with a real client. Without --topic a topic is made for the run and deleted after it.

Latency is counted from when a record was due, not from when it could be sent: a broker that stalls
shows in the percentiles, also when the client could not send meanwhile.`
	c.Example = examples(
		"as fast as it goes, for ten seconds", "logstead bench produce --duration 10s --record-size 1024",
		"at a fixed rate, for honest latencies", "logstead bench latency --throughput 1000",
		"for a script", "logstead bench produce --num 1000000 -o json")
	return c
}

// benchFlags are common to all benchmarks.
type benchFlags struct {
	topic      string
	partitions int32
	replicas   int16
	size       string
	duration   time.Duration
	num        int64
	rate       float64
	clients    int
	acks       string
	codec      string
	linger     time.Duration
	batch      string
	keep       bool
	warmup     time.Duration
	keys       int
}

func (fl *benchFlags) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVarP(&fl.topic, "topic", "t", "", "topic to use (default: one made for the run)")
	f.Int32VarP(&fl.partitions, "partitions", "p", 6, "partitions of the topic made for the run")
	f.Int16VarP(&fl.replicas, "replicas", "r", -1, "copies of its partitions (-1: the broker's default)")
	f.DurationVarP(&fl.duration, "duration", "d", 10*time.Second, "how long to measure")
	f.Int64VarP(&fl.num, "num", "n", 0, "stop after this many records (0: by duration)")
	f.StringVarP(&fl.size, "record-size", "s", "1KiB", "size of a record's value")
	f.IntVar(&fl.clients, "clients", 1, "clients at the same time")
	f.BoolVar(&fl.keep, "keep", false, "keep the topic made for the run")
}

func (fl *benchFlags) addProducer(f *pflag.FlagSet) {
	f.Float64Var(&fl.rate, "throughput", 0, "records a second, all clients together (0: as many as possible)")
	f.StringVar(&fl.acks, "acks", "all", "who must have the record: all, 1 or 0")
	f.StringVarP(&fl.codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.DurationVar(&fl.linger, "linger", 0, "wait this long for more records to send together")
	f.StringVar(&fl.batch, "max-batch-bytes", "", "largest batch to send (default 1MiB)")
	f.IntVar(&fl.keys, "keys", 0, "use this many different keys (0: no keys)")
	f.DurationVar(&fl.warmup, "warmup", time.Second, "leave the first moments out of the percentiles")
}

func (fl *benchFlags) check() (size int, err error) {
	n, err := parseBytes(fl.size)
	switch {
	case err != nil:
		return 0, usagef("--record-size: %v", err)
	case n < 0 || n > 64<<20:
		return 0, usagef("--record-size %s: want at most 64 MiB", fl.size)
	case fl.clients < 1 || fl.clients > 1000:
		return 0, usagef("--clients %d: want 1 to 1000", fl.clients)
	case fl.rate < 0 || math.IsNaN(fl.rate):
		return 0, usagef("--throughput %v is negative", fl.rate)
	case fl.num < 0 || fl.duration <= 0:
		return 0, usagef("--num and --duration must be positive")
	}
	return int(n), nil
}

// benchLatencies are percentiles in milliseconds.
type benchLatencies struct {
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P75   float64 `json:"p75"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	P9999 float64 `json:"p99_99"`
	Max   float64 `json:"max"`
}

type benchResult struct {
	Kind       string          `json:"kind"`
	Topic      string          `json:"topic"`
	Records    int64           `json:"records"`
	Bytes      int64           `json:"bytes"`
	Errors     int64           `json:"errors"`
	Seconds    float64         `json:"seconds"`
	Rate       float64         `json:"records_per_second"`
	ByteRate   float64         `json:"bytes_per_second"`
	RecordSize int             `json:"record_size"`
	Clients    int             `json:"clients"`
	Target     float64         `json:"target_records_per_second,omitempty"`
	Samples    int64           `json:"latency_samples,omitempty"`
	Latency    *benchLatencies `json:"latency_ms,omitempty"`
	FirstError string          `json:"first_error,omitempty"`
}

func (r benchResult) sections(bool) []section {
	facts := []fact{
		{"Records", fmt.Sprintf("%s of %s", humanCount(r.Records), humanBytes(int64(r.RecordSize)))},
		{"Time", fmt.Sprintf("%.2f s", r.Seconds)},
		{"Rate", fmt.Sprintf("%s records/s, %s/s", humanCount(int64(r.Rate)), humanBytes(int64(r.ByteRate)))},
	}
	if r.Target > 0 {
		facts = append(facts, fact{"Target", humanCount(int64(r.Target)) + " records/s"})
	}
	if r.Errors > 0 {
		facts = append(facts, fact{"Errors", humanCount(r.Errors) + ", first: " + r.FirstError})
	}
	if l := r.Latency; l != nil {
		facts = append(facts, fact{"Latency", fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", msText(l.P50),
			msText(l.P90), msText(l.P99), msText(l.P999), msText(l.Max))})
	}
	return []section{{facts: facts}}
}

func msText(ms float64) string { return humanDuration(time.Duration(ms * float64(time.Millisecond))) }

// latencies collects durations from several goroutines. It counts microseconds up to a minute with
// three significant digits.
type latencies struct {
	mu sync.Mutex
	h  *hdr.Histogram
}

const longestLatency = int64(time.Minute / time.Microsecond)

func newLatencies() *latencies { return &latencies{h: hdr.New(1, longestLatency, 3)} }

func (l *latencies) add(d time.Duration) {
	us := min(max(d.Microseconds(), 1), longestLatency)
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.h.RecordValue(us) // in range by construction
}

func (l *latencies) result() (*benchLatencies, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.h.TotalCount()
	if n == 0 {
		return nil, 0
	}
	at := func(p float64) float64 { return float64(l.h.ValueAtPercentile(p)) / 1000 }
	return &benchLatencies{
		Min: float64(l.h.Min()) / 1000, Mean: math.Round(l.h.Mean()) / 1000, Max: float64(l.h.Max()) / 1000,
		P50: at(50), P75: at(75), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), P9999: at(99.99),
	}, n
}

// bench is one run.
type bench struct {
	app   *App
	fl    *benchFlags
	size  int
	topic string
	owned bool // made for the run
	cn    *conn
	meter *meter

	mu      sync.Mutex
	records int64
	bytes   int64
	errors  int64
	first   error
}

// newBench dials and makes the topic, if none was given.
func (a *App) newBench(cmd *cobra.Command, fl *benchFlags) (*bench, error) {
	size, err := fl.check()
	if err != nil {
		return nil, err
	}
	cn, err := a.dialToWrite(cmd)
	if err != nil {
		return nil, err
	}
	b := &bench{app: a, fl: fl, size: size, topic: fl.topic, cn: cn, meter: newMeter(a, "auto")}
	if b.topic == "" {
		b.topic, b.owned = fmt.Sprintf("logstead-bench-%08x", rand.Uint32()), true
		err = b.makeTopic()
	} else {
		_, err = cn.topics([]string{b.topic}, false)
	}
	if err != nil {
		cn.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) makeTopic() error {
	what := fmt.Sprintf("cannot create topic %q", b.topic)
	resps, err := call(b.cn, what, func(ctx context.Context) (kadm.CreateTopicResponses, error) {
		return b.cn.CreateTopics(ctx, b.fl.partitions, b.fl.replicas, nil, b.topic)
	})
	if err != nil {
		return err
	}
	for _, r := range resps {
		if r.Err != nil {
			return kafkaFault(what, r.Err, r.ErrMessage)
		}
	}
	return nil
}

// close deletes the topic made for the run, also after an interrupt.
func (b *bench) close() {
	defer b.cn.close()
	b.meter.done()
	if !b.owned || b.fl.keep {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.cn.base), b.cn.timeout)
	defer cancel()
	if _, err := b.cn.DeleteTopics(ctx, b.topic); err != nil {
		b.app.warn("topic %q is left behind: %v", b.topic, err)
	}
}

func (b *bench) done(records, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records += records
	b.bytes += bytes
	b.meter.add(records, bytes)
}

func (b *bench) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors++
	if b.first == nil {
		b.first = err
	}
}

func (b *bench) result(kind string, took time.Duration, lat *latencies) benchResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	secs := max(took.Seconds(), 1e-9)
	r := benchResult{Kind: kind, Topic: b.topic, Records: b.records, Bytes: b.bytes, Errors: b.errors,
		RecordSize: b.size,
		Clients:    b.fl.clients, Target: b.fl.rate, Seconds: math.Round(secs*1000) / 1000,
		Rate: math.Round(float64(b.records) / secs), ByteRate: math.Round(float64(b.bytes) / secs)}
	if lat != nil {
		r.Latency, r.Samples = lat.result()
	}
	if b.first != nil {
		r.FirstError = errorName(b.first)
	}
	return r
}

// finish prints the result. A run in which nothing worked has failed.
func (b *bench) finish(r benchResult) error {
	if r.Records == 0 && b.first != nil {
		return b.cn.fault("the benchmark failed", b.first)
	}
	if err := b.app.emit(r); err != nil {
		return err
	}
	if r.Errors > 0 {
		return &Fault{What: "the benchmark is not clean", Why: countOf(int(r.Errors), "record") +
			" failed, first: " + r.FirstError, Exit: exitPartly}
	}
	return nil
}

func (fl *benchFlags) producerOptions(topic string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(50_000), kgo.MaxBufferedBytes(256 << 20),
		kgo.RecordDeliveryTimeout(time.Minute)}
	acks, err := ackOptions(fl.acks, nil, false)
	if err != nil {
		return nil, err
	}
	codec, err := compressionOption(fl.codec)
	if err != nil {
		return nil, err
	}
	size, err := batchBytes(fl.batch, 0)
	if err != nil {
		return nil, err
	}
	return append(append(append(opts, acks...), codec...), kgo.ProducerLinger(fl.linger),
		kgo.ProducerBatchMaxBytes(size)), nil
}

// payload is random text that compresses somewhat, as real records do: half its bytes repeat.
func payload(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		if i%2 == 0 {
			b[i] = 'a' + byte(r.IntN(26))
		} else {
			b[i] = 'x'
		}
	}
	return b
}
