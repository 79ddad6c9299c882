package controller

import (
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// checkEpoch refuses what another incarnation of a broker sent, or one that is not registered.
func (m *Machine) checkEpoch(id int32, epoch int64) error {
	switch b := m.image().Broker(id); {
	case b == nil:
		return refuse(kerr.StaleBrokerEpoch, "No broker registration found for broker id %d", id)
	case b.Epoch != epoch:
		return refuse(kerr.StaleBrokerEpoch, "Expected broker epoch %d but got broker epoch %d", b.Epoch, epoch)
	}
	return nil
}

// brokerState is where a broker stands, or goes.
type brokerState int8

const (
	brokerFenced brokerState = iota
	brokerUnfenced
	brokerStopping // it hands its leaderships over
	brokerStopped
)

// Heartbeat takes a broker's sign of life and decides whether it is fenced, serves, or may stop.
func (m *Machine) Heartbeat(
	now time.Time, req *kmsg.BrokerHeartbeatRequest,
) ([]kmsg.Record, *kmsg.BrokerHeartbeatResponse) {
	resp := kmsg.NewBrokerHeartbeatResponse()
	if err := m.checkEpoch(req.BrokerId, req.BrokerEpoch); err != nil {
		resp.ErrorCode, _ = Code(err)
		return nil, &resp
	}
	b, s := m.image().Broker(req.BrokerId), m.sessionOf(now, req.BrokerId)
	s.contact, s.suspected, s.offset, s.local, s.heard = now, time.Time{}, req.CurrentMetadataOffset, false, true
	state := stateOf(b)
	// Directories first, alone: what they leave is what the next heartbeat is decided on.
	records := m.directoriesChanged(b, req)
	if len(records) == 0 {
		next := m.nextState(b, s, req)
		if next < brokerStopped && allOffline(b, req) {
			next = brokerFenced
		}
		records = m.enter(b, state, next)
		if state = next; next == brokerStopping && s.stopsAt < 0 {
			s.stopsAt = m.nextOffset() + int64(len(records)) - 1
		}
	}
	if state == brokerFenced || state == brokerStopped {
		s.stopsAt = -1
	}
	if state == brokerStopped {
		s.contact = time.Time{} // its session ends with its leave, and its next run need not wait
	}
	resp.IsCaughtUp = req.CurrentMetadataOffset >= s.registered
	resp.IsFenced = state == brokerFenced || state == brokerStopped
	resp.ShouldShutDown = state == brokerStopped
	return records, &resp
}

func stateOf(b *meta.Broker) brokerState {
	switch {
	case b.Fenced:
		return brokerFenced
	case b.InControlledShutdown:
		return brokerStopping
	}
	return brokerUnfenced
}

func (m *Machine) nextState(b *meta.Broker, s *session, req *kmsg.BrokerHeartbeatRequest) brokerState {
	switch state := stateOf(b); {
	case state == brokerFenced && req.WantShutDown:
		return brokerStopped
	case state == brokerFenced:
		if !req.WantFence && req.CurrentMetadataOffset >= s.registered {
			return brokerUnfenced
		}
		return brokerFenced
	case state == brokerUnfenced && req.WantFence:
		if req.WantShutDown {
			return brokerStopped
		}
		return brokerFenced
	case state == brokerUnfenced && !req.WantShutDown:
		return brokerUnfenced
	case m.leads(b.ID):
		return brokerStopping
	case state == brokerUnfenced:
		return brokerStopped
	case s.stopsAt >= 0 && s.stopsAt <= m.lowestOffset():
		return brokerStopped // every other broker knows the leaders that replaced it
	}
	return brokerStopping
}

// lowestOffset is what every active broker has applied.
func (m *Machine) lowestOffset() int64 {
	lowest := int64(math.MaxInt64)
	for _, b := range m.image().Brokers() {
		if !b.Fenced && !b.InControlledShutdown {
			offset := int64(-1)
			if s := m.sessions[b.ID]; s != nil {
				offset = s.offset
			}
			if s := m.sessions[b.ID]; s == nil || !s.local {
				lowest = min(lowest, offset)
			}
		}
	}
	return lowest
}

// enter is what a broker's step to another state changes.
func (m *Machine) enter(b *meta.Broker, from, to brokerState) []kmsg.Record {
	switch {
	case from == to && to != brokerStopping, from == brokerFenced && to == brokerStopped:
		return nil
	case to == brokerFenced || to == brokerStopped:
		return m.fence(b.ID)
	case to == brokerUnfenced:
		return m.unfence(b)
	}
	return m.beginStop(b)
}

// fence takes a broker out of every in-sync set. Its own record is the last: a change that was cut
// off in the middle is begun again.
func (m *Machine) fence(id int32) []kmsg.Record {
	b := m.image().Broker(id)
	if s := m.sessions[id]; s != nil {
		s.stopsAt, s.suspected, s.contact = -1, time.Time{}, time.Time{}
	}
	records := m.updatePartitions(update{remove: id, add: noBroker, unclean: noBroker}, inISR(id))
	r := registrationChange(b)
	r.Fenced = 1
	return append(records, r)
}

// unfence lets a broker serve: it leads what had no leader and is complete there.
func (m *Machine) unfence(b *meta.Broker) []kmsg.Record {
	r := registrationChange(b)
	r.Fenced = -1
	return append([]kmsg.Record{r},
		m.updatePartitions(update{remove: noBroker, add: b.ID, unclean: noBroker}, leaderless)...)
}

// beginStop hands over what a broker leads. It stays where nobody else could lead.
func (m *Machine) beginStop(b *meta.Broker) []kmsg.Record {
	var records []kmsg.Record
	if !b.InControlledShutdown {
		r := registrationChange(b)
		r.InControlledShutdown = 1
		records = append(records, r)
	}
	return append(records, m.updatePartitions(update{remove: b.ID, add: noBroker, unclean: noBroker}, inISR(b.ID))...)
}

func registrationChange(b *meta.Broker) *kmsg.BrokerRegistrationChangeRecord {
	r := kmsg.NewBrokerRegistrationChangeRecord()
	r.BrokerId, r.BrokerEpoch = b.ID, b.Epoch
	return &r
}

// directoriesChanged takes in that directories of a broker went offline, or are to get no more
// partitions (KIP-858, 1066).
func (m *Machine) directoriesChanged(b *meta.Broker, req *kmsg.BrokerHeartbeatRequest) []kmsg.Record {
	level := m.image().Feature(MetadataVersion)
	var records []kmsg.Record
	r := registrationChange(b)
	changed := false
	if level >= levelDirectories {
		var offline, online []base.TopicID
		for _, d := range b.LogDirs {
			if slices.Contains(req.OfflineLogDirs, d) {
				offline = append(offline, d)
			} else {
				online = append(online, d)
			}
		}
		if len(offline) > 0 && len(online) > 0 {
			gone := update{remove: b.ID, add: noBroker, unclean: noBroker, dirGone: true}
			records = m.updatePartitions(gone, func(p *meta.Partition) bool {
				i := slices.Index(p.Replicas, b.ID)
				return i >= 0 && (unplaced(p, b.ID) || slices.Contains(offline, p.Directories[i]))
			})
			r.LogDirs, changed = online, true
		}
	}
	if level >= levelCordoned && req.CordonedLogDirs != nil && !sameSet(req.CordonedLogDirs, b.CordonedDirs) {
		r.CordonedLogDirs, changed = append([]base.TopicID{}, req.CordonedLogDirs...), true
	}
	if changed {
		records = append(records, r)
	}
	return records
}

// allOffline says that a broker has no directory left to serve from.
func allOffline(b *meta.Broker, req *kmsg.BrokerHeartbeatRequest) bool {
	return len(b.LogDirs) > 0 && !slices.ContainsFunc(b.LogDirs, func(d base.TopicID) bool {
		return !slices.Contains(req.OfflineLogDirs, d)
	})
}

func sameSet(a, b []base.TopicID) bool {
	if len(a) != len(b) {
		return false
	}
	for _, id := range a {
		if !slices.Contains(b, id) {
			return false
		}
	}
	return true
}
