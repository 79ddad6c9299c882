package replica

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// A follower whose end lies outside of the leader's log asks where that log ends. Where it ends before the
// follower's, the rest of the follower's is cut: an unclean election has lost it. Else the follower has
// been away so long that the leader no longer has what comes next, and it begins anew where the
// leader's log begins.

// The timestamps that ListOffsets has for the two ends of a log.
const (
	latest   int64 = -1
	earliest int64 = -2
)

var (
	errNoProgress = errors.New("the leader's answer holds no batch that this log can take")
	errNoAnswer   = errors.New("the leader did not say where its log begins and ends")
)

// questions is the request for offsets that followers wait for, or nil. One request asks either for ends or
// for starts.
func (f *Fetcher) questions(now time.Time) kmsg.Request {
	f.asked = nil
	what := askNothing
	for _, w := range f.dirty {
		if w.ask == askNothing || now.Before(w.until) || what != askNothing && w.ask != what {
			continue
		}
		what = w.ask
		f.asked = append(f.asked, w)
	}
	if what == askNothing {
		return nil
	}
	req := kmsg.NewListOffsetsRequest()
	req.ReplicaId = f.o.NodeID
	at := map[string]int{}
	for _, w := range f.asked {
		p := kmsg.NewListOffsetsRequestListOffsetsPartition()
		p.PartitionIndex, p.CurrentLeaderEpoch, p.Timestamp = w.key.index, w.epoch, earliest
		if what == askEnd {
			p.Timestamp = latest
		}
		i, ok := at[w.tp.Topic]
		if !ok {
			i = len(req.Topics)
			at[w.tp.Topic] = i
			req.Topics = append(req.Topics, kmsg.ListOffsetsRequestListOffsetsTopic{Name: w.tp.Topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	return &req
}

// told takes in the leader's offsets.
func (f *Fetcher) told(now time.Time, r *kmsg.ListOffsetsResponse) {
	f.failures, f.until = 0, time.Time{}
	answers := map[base.TopicPartition]*kmsg.ListOffsetsResponseListOffsetsPartitionResponse{}
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			answers[base.TopicPartition{Topic: t.Name, Partition: t.Partitions[j].PartitionIndex}] = &t.Partitions[j]
		}
	}
	asked := f.asked
	f.asked = nil
	for _, w := range asked {
		if w.replica == nil {
			continue // removed meanwhile
		}
		a := answers[w.tp]
		err := errNoAnswer
		switch {
		case a == nil:
		case a.ErrorCode != 0:
			err = kerr.ErrorForCode(a.ErrorCode)
		case a.Offset >= 0:
			err = f.place(w, a.Offset)
		}
		if err != nil {
			f.fail(w, now, err)
		}
	}
}

// place moves a follower to where it can fetch.
func (f *Fetcher) place(w *follower, offset int64) error {
	at := w.replica.FollowerState()
	switch {
	case w.ask == askEnd && offset >= at.Offset:
		w.ask = askStart
		return nil
	case w.ask == askEnd:
		w.ask = askNothing
		return w.replica.TruncateTo(w.epoch, offset)
	}
	w.ask = askNothing
	if offset > at.Offset {
		return w.replica.RestartAt(w.epoch, offset)
	}
	return kerr.OffsetOutOfRange // the leader's log has changed since: the next fetch tells
}
