package uplink

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// ISRMember is a replica of a proposed ISR with the epoch of its broker (KIP-903).
type ISRMember struct {
	ID    int32
	Epoch int64 // -1 for not known
}

// ISRChange is what the leader of a partition proposes.
type ISRChange struct {
	Topic                       base.TopicID
	Partition                   int32
	LeaderEpoch, PartitionEpoch int32
	RecoveryState               int8
	ISR                         []ISRMember
	// Done hears the state that the controller gave the partition, or why it did not; from the
	// uplink's goroutine, exactly once.
	Done func(ISRState, error)
}

// ISRState is a partition as the controller answered.
type ISRState struct {
	Leader, LeaderEpoch, PartitionEpoch int32
	RecoveryState                       int8
	ISR                                 []int32
}

// proposals gathers ISR changes while a request is on its way.
type proposals struct {
	u    *Uplink
	wake chan struct{} // capacity 1
	mu   struct {
		sync.Mutex
		stopped bool
		waiting []ISRChange
	}
}

// maxISRChanges is how many go into one request.
const maxISRChanges = 10_000

func newProposals(u *Uplink) *proposals { return &proposals{u: u, wake: make(chan struct{}, 1)} }

// ProposeISR asks the controller for another ISR.
func (u *Uplink) ProposeISR(ch ISRChange) {
	p := u.isr
	p.mu.Lock()
	if p.mu.stopped {
		p.mu.Unlock()
		ch.Done(ISRState{}, kerr.NotController)
		return
	}
	p.mu.waiting = append(p.mu.waiting, ch)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *proposals) run(ctx context.Context) {
	defer p.refuseRest()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		for batch := p.take(); len(batch) > 0; batch = p.take() {
			p.send(ctx, batch)
		}
	}
}

func (p *proposals) take() []ISRChange {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(p.mu.waiting), maxISRChanges)
	batch := p.mu.waiting[:n:n]
	p.mu.waiting = p.mu.waiting[n:]
	return batch
}

func (p *proposals) refuseRest() {
	p.mu.Lock()
	rest := p.mu.waiting
	p.mu.waiting, p.mu.stopped = nil, true
	p.mu.Unlock()
	for _, ch := range rest {
		ch.Done(ISRState{}, kerr.NotController)
	}
}

type isrKey struct {
	topic     base.TopicID
	partition int32
}

// send carries one batch to the controller and tells everybody in it.
func (p *proposals) send(ctx context.Context, batch []ISRChange) {
	req := kmsg.NewAlterPartitionRequest()
	req.BrokerId, req.BrokerEpoch = p.u.o.NodeID, p.u.epoch.Load()
	at := map[base.TopicID]int{}
	var later []ISRChange // a second proposal for the same partition
	waiting := map[isrKey]ISRChange{}
	for _, ch := range batch {
		key := isrKey{ch.Topic, ch.Partition}
		if _, twice := waiting[key]; twice {
			later = append(later, ch)
			continue
		}
		waiting[key] = ch
		i, ok := at[ch.Topic]
		if !ok {
			i = len(req.Topics)
			at[ch.Topic] = i
			req.Topics = append(req.Topics, kmsg.AlterPartitionRequestTopicData{TopicId: ch.Topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, ch.data())
	}
	resp, err := p.ask(ctx, &req)
	if err == nil {
		answerISR(resp, waiting)
	} else {
		p.u.o.Logger.Warn("ISR changes not taken", "partitions", len(waiting), "err", err)
	}
	for _, ch := range waiting { // not in the answer
		if err == nil {
			err = kerr.UnknownServerError
		}
		ch.Done(ISRState{}, err)
	}
	if len(later) > 0 {
		p.send(ctx, later)
	}
}

func (p *proposals) ask(ctx context.Context, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	limit, cancel := context.WithTimeout(ctx, p.u.o.RequestTimeout)
	defer cancel()
	resp, err := request[kmsg.AlterPartitionResponse](limit, p.u.asks, req)
	if errors.Is(err, context.DeadlineExceeded) {
		err = kerr.RequestTimedOut
	}
	return resp, err
}

func (ch *ISRChange) data() kmsg.AlterPartitionRequestPartitionData {
	d := kmsg.NewAlterPartitionRequestPartitionData()
	d.PartitionIndex, d.LeaderEpoch, d.PartitionEpoch, d.LeaderRecoveryState = ch.Partition, ch.LeaderEpoch, ch.PartitionEpoch,
		ch.RecoveryState
	for _, m := range ch.ISR {
		d.NewIsr = append(d.NewIsr, m.ID)
		d.NewIsrWithEpochs = append(d.NewIsrWithEpochs, kmsg.AlterPartitionRequestBrokerState{BrokerId: m.ID, BrokerEpoch: m.Epoch})
	}
	return d
}

// answerISR tells those that are in the answer, and takes them out of waiting.
func answerISR(resp *kmsg.AlterPartitionResponse, waiting map[isrKey]ISRChange) {
	for _, t := range resp.Topics {
		for _, d := range t.Partitions {
			key := isrKey{t.TopicId, d.PartitionIndex}
			ch, ok := waiting[key]
			if !ok {
				continue
			}
			delete(waiting, key)
			ch.Done(ISRState{
				Leader: d.LeaderId, LeaderEpoch: d.LeaderEpoch, PartitionEpoch: d.PartitionEpoch,
				RecoveryState: d.LeaderRecoveryState, ISR: d.Isr,
			}, kerr.ErrorForCode(d.ErrorCode))
		}
	}
}
