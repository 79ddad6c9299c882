package txn

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Description is one row of a DescribeTransactions answer.
type Description = kmsg.DescribeTransactionsResponseTransactionState

// Listing is one row of a ListTransactions answer.
type Listing = kmsg.ListTransactionsResponseTransactionState

// DescribeError is the row of an id that cannot be described.
func DescribeError(id string, err error) Description {
	return Description{TransactionalId: id, ErrorCode: codeFor(err, false)}
}

// Describe answers what is known of one transactional id.
func (m *Machine) Describe(id string, reply func(Description)) coord.Result {
	d := m.describe(id)
	return answer(func(lost error) {
		if lost != nil {
			d = DescribeError(id, lost)
		}
		reply(d)
	})
}

func (m *Machine) describe(id string) Description {
	if id == "" {
		return DescribeError(id, kerr.InvalidRequest)
	}
	t := m.txns[id]
	if t == nil {
		return DescribeError(id, kerr.TransactionalIDNotFound)
	}
	d := Description{
		TransactionalId:        id,
		TransactionState:       t.state.String(),
		TransactionTimeoutMs:   t.timeoutMs,
		TransactionStartTimeMs: t.startMs,
		ProducerId:             t.producerID,
		ProducerEpoch:          t.epoch,
		Topics:                 []kmsg.DescribeTransactionsResponseTopicData{},
	}
	for _, tp := range t.partitions {
		n := len(d.Topics)
		if n == 0 || d.Topics[n-1].Topic != tp.Topic {
			d.Topics = append(d.Topics, kmsg.DescribeTransactionsResponseTopicData{Topic: tp.Topic})
			n++
		}
		d.Topics[n-1].Partitions = append(d.Topics[n-1].Partitions, tp.Partition)
	}
	return d
}

// Filter selects transactions for ListTransactions.
type Filter struct {
	producerIDs map[int64]bool
	states      map[State]bool
	anyState    bool
	durationMs  int64 // -1: any
	pattern     *regexp.Regexp
}

// ParseFilter reads the filters of a request. Names of states that are not known are returned and
// match nothing. The pattern is RE2 and must match the whole id.
func ParseFilter(req *kmsg.ListTransactionsRequest) (f Filter, unknown []string, err error) {
	f = Filter{durationMs: req.DurationFilter, anyState: len(req.StateFilters) == 0}
	for _, name := range req.StateFilters {
		s, ok := StateByName(name)
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		if f.states == nil {
			f.states = map[State]bool{}
		}
		f.states[s] = true
	}
	for _, id := range req.ProducerIdFilters {
		if f.producerIDs == nil {
			f.producerIDs = map[int64]bool{}
		}
		f.producerIDs[id] = true
	}
	if p := req.TransactionalIdPattern; p != nil && *p != "" {
		if f.pattern, err = regexp.Compile(`\A(?:` + *p + `)\z`); err != nil {
			return f, unknown, kerr.InvalidRegularExpression
		}
	}
	return f, unknown, nil
}

func (f *Filter) match(t *txn, nowMs int64) bool {
	return (f.producerIDs == nil || f.producerIDs[t.producerID]) &&
		(f.anyState || f.states[t.state]) &&
		(f.durationMs < 0 || nowMs-t.startMs > f.durationMs) &&
		(f.pattern == nil || f.pattern.MatchString(t.id))
}

// List answers which transactions of the shard match, ordered by id.
func (m *Machine) List(now time.Time, f *Filter, reply func([]Listing, error)) coord.Result {
	rows := []Listing{}
	for _, t := range m.sortedTxns() {
		if f.match(t, now.UnixMilli()) {
			rows = append(rows, Listing{
				TransactionalId: t.id, ProducerId: t.producerID, TransactionState: t.state.String(),
			})
		}
	}
	return answer(func(lost error) { reply(rows, lost) })
}

func (m *Machine) sortedTxns() []*txn { return slices.SortedFunc(maps.Values(m.txns), byID) }

func byID(a, b *txn) int { return cmp.Compare(a.id, b.id) }
