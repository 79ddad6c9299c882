package coord

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one set per coordinator, told apart by the coordinator label.
type metrics struct {
	shards       *prometheus.GaugeVec
	operations   prometheus.Counter
	refused      prometheus.Counter
	batches      prometheus.Counter
	records      prometheus.Counter
	bytes        prometheus.Counter
	failures     prometheus.Counter
	queueSeconds prometheus.Histogram
	loadSeconds  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, coordinator string) *metrics {
	labels := prometheus.Labels{"coordinator": coordinator}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "logstead", Subsystem: "coord", Name: name, Help: help, ConstLabels: labels,
		})
	}
	m := &metrics{
		shards: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "logstead", Subsystem: "coord", Name: "shards", ConstLabels: labels,
			Help: "Shards on this broker by state.",
		}, []string{"state"}),
		operations: counter("operations_total", "Operations that a shard has run."),
		refused:    counter("operations_refused_total", "Operations refused because a mailbox was full."),
		batches:    counter("batches_total", "Batches appended by shards."),
		records:    counter("records_total", "Records appended by shards."),
		bytes:      counter("bytes_total", "Bytes appended by shards."),
		failures:   counter("failures_total", "Shards that were lost to a failed append or load."),
		queueSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "logstead", Subsystem: "coord", Name: "queue_seconds", ConstLabels: labels,
			Help: "Time between an operation's arrival and its run.", Buckets: prometheus.ExponentialBuckets(1e-5, 4, 10),
		}),
		loadSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "logstead", Subsystem: "coord", Name: "load_seconds", ConstLabels: labels,
			Help: "Time to load one shard by replay.", Buckets: prometheus.ExponentialBuckets(1e-3, 4, 10),
		}),
	}
	if reg != nil {
		reg.MustRegister(m.shards, m.operations, m.refused, m.batches, m.records, m.bytes, m.failures,
			m.queueSeconds, m.loadSeconds)
	}
	return m
}

func (m *metrics) state(from, to status) {
	if from != statusNone {
		m.shards.WithLabelValues(from.String()).Dec()
	}
	if to != statusNone {
		m.shards.WithLabelValues(to.String()).Inc()
	}
}

func (m *metrics) appended(records, bytes int) {
	m.batches.Inc()
	m.records.Add(float64(records))
	m.bytes.Add(float64(bytes))
}

func (m *metrics) waited(d time.Duration) { m.queueSeconds.Observe(d.Seconds()) }
