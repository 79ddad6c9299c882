package node

import (
	"bytes"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/kit/obs"
)

// newRuntimeMetrics collects what every Go process tells of itself.
func newRuntimeMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// serveMetrics writes everything in the Prometheus text format, under the names that the usual
// dashboards of Kafka ask for: those of the JMX exporter's sample and of kafka_exporter.
func (n *Node) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	var out bytes.Buffer
	e := obs.NewExposition(&out)
	n.writeMetrics(e)
	if err := e.Flush(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	families, err := n.runtimeMetrics.Gather()
	if err != nil {
		n.log.Warn("gather process metrics", "err", err)
	}
	enc := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			n.log.Warn("encode process metrics", "err", err)
		}
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	_, _ = w.Write(out.Bytes())
}

// family is one row of the table of metrics: docs/metrics.md is made from it.
type family struct {
	name, typ, labels, help string
	write                   func(n *Node, v *view, e *obs.Exposition)
}

// view is what one scrape looks at, taken once, so that the figures of one scrape belong together.
type view struct {
	parts   []partitionView
	topics  []topicView
	apis    []api.APIStats
	groups  []groupView
	now     time.Time
	brokers []brokerView
}

func (n *Node) writeMetrics(e *obs.Exposition) {
	v := n.view()
	for i := range families {
		f := &families[i]
		e.Family(f.name, f.typ, f.help)
		f.write(n, v, e)
	}
}

// perTopic writes one sample a topic and one for all of them, as Kafka's broker topic metrics are.
func perTopic(get func(*topicView) int64) func(*Node, *view, *obs.Exposition) {
	return func(_ *Node, v *view, e *obs.Exposition) {
		var all int64
		for i := range v.topics {
			t := &v.topics[i]
			all += get(t)
			e.Int(get(t), "topic", t.name)
		}
		e.Int(all)
	}
}

func perPartition(get func(*partitionView) int64) func(*Node, *view, *obs.Exposition) {
	return func(_ *Node, v *view, e *obs.Exposition) {
		for i := range v.parts {
			p := &v.parts[i]
			e.Int(get(p), "topic", p.topic, "partition", p.number)
		}
	}
}

func value(get func(*Node, *view) int64) func(*Node, *view, *obs.Exposition) {
	return func(n *Node, v *view, e *obs.Exposition) { e.Int(get(n, v)) }
}

// groupOffsets writes one sample for each committed offset. A partition without a commit has none.
func groupOffsets(get func(*groupOffset) (float64, bool)) func(*Node, *view, *obs.Exposition) {
	return func(_ *Node, v *view, e *obs.Exposition) {
		for i := range v.groups {
			g := &v.groups[i]
			for j := range g.offsets {
				o := &g.offsets[j]
				if val, ok := get(o); ok {
					e.Float(val, "consumergroup", g.id, "topic", o.topic, "partition", strconv.Itoa(int(o.partition)))
				}
			}
		}
	}
}

// groupSums writes one sample for each group and topic.
func groupSums(get func(*groupOffset) float64) func(*Node, *view, *obs.Exposition) {
	return func(_ *Node, v *view, e *obs.Exposition) {
		for i := range v.groups {
			g := &v.groups[i]
			for j := 0; j < len(g.offsets); {
				topic, sum := g.offsets[j].topic, 0.0
				for ; j < len(g.offsets) && g.offsets[j].topic == topic; j++ {
					sum += get(&g.offsets[j])
				}
				e.Float(sum, "consumergroup", g.id, "topic", topic)
			}
		}
	}
}

// requestTimes are the quantiles shown for each API.
var requestTimes = []struct {
	label string
	q     float64
}{{"0.50", 0.5}, {"0.95", 0.95}, {"0.99", 0.99}, {"0.999", 0.999}}

func writeRequestTimes(_ *Node, v *view, e *obs.Exposition) {
	for i := range v.apis {
		a := &v.apis[i]
		for _, q := range requestTimes {
			ms := float64(a.Quantile(q.q)) / float64(time.Millisecond)
			e.Float(ms, "request", a.Name, "quantile", q.label)
		}
		e.FloatSuffix("_sum", float64(a.Total)/float64(time.Millisecond), "request", a.Name)
		e.FloatSuffix("_count", float64(a.Calls), "request", a.Name)
	}
}

func writeBuildInfo(n *Node, _ *view, e *obs.Exposition) {
	e.Int(1, "version", n.o.Version, "goversion", runtime.Version())
}

// authorizer reads a figure of the authorizer, 0 where there is none.
func authorizer(n *Node, get func(*auth.Authorizer) int64) int64 {
	if n.api.Authorizer == nil {
		return 0
	}
	return get(n.api.Authorizer)
}
