package controller

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// RegisterBroker enters a broker, fenced until its heartbeats say that it knows the metadata. A new
// incarnation gets a new epoch and first leaves every in-sync set that the one before was in; one
// that cannot say that it stopped cleanly may have lost what it had, and is no eligible leader any
// more (KIP-966).
func (m *Machine) RegisterBroker(
	now time.Time, req *kmsg.BrokerRegistrationRequest,
) ([]kmsg.Record, *kmsg.BrokerRegistrationResponse, error) {
	resp := kmsg.NewBrokerRegistrationResponse()
	old := m.image().Broker(req.BrokerId)
	if err := m.checkRegistration(now, old, req); err != nil {
		resp.ErrorCode, _ = Code(err)
		return nil, &resp, err
	}
	rec := m.registrationRecord(req)
	dirGone := m.lostDirectory(old, req)
	var records []kmsg.Record
	if again := old != nil && old.Incarnation == req.IncarnationId; again {
		rec.BrokerEpoch, rec.Fenced, rec.InControlledShutdown = old.Epoch, old.Fenced, old.InControlledShutdown
		if dirGone {
			records = m.updatePartitions(update{remove: req.BrokerId, add: noBroker, unclean: noBroker, dirGone: true},
				unplacedOn(req.BrokerId))
		}
	} else {
		rec.BrokerEpoch = m.nextOffset()
		clean := old != nil && old.Epoch == req.PreviousBrokerEpoch
		records = m.leaveISRs(req.BrokerId, clean, dirGone)
		m.setSession(req.BrokerId, nil)
	}
	s := m.sessions[req.BrokerId]
	if s == nil {
		s = newSession(now, 0)
		m.setSession(req.BrokerId, s)
	}
	s.contact, s.suspected, s.heard = now, time.Time{}, true
	s.registered = m.nextOffset() + int64(len(records))
	resp.BrokerEpoch = rec.BrokerEpoch
	return append(records, rec), &resp, nil
}

func (m *Machine) setSession(id int32, s *session) {
	if m.sessions == nil {
		m.sessions = map[int32]*session{}
	}
	if m.sessions[id] = s; s == nil {
		delete(m.sessions, id)
	}
}

// leaveISRs is what the end of an incarnation changes.
func (m *Machine) leaveISRs(id int32, clean, dirGone bool) []kmsg.Record {
	in, lost := inISR(id), unplacedOn(id)
	if clean || !m.elrEnabled() {
		return m.updatePartitions(update{remove: id, add: noBroker, unclean: noBroker, dirGone: dirGone}, func(p *meta.Partition) bool {
			return in(p) || dirGone && lost(p)
		})
	}
	return m.updatePartitions(update{remove: noBroker, add: noBroker, unclean: id, dirGone: dirGone}, func(p *meta.Partition) bool {
		return in(p) || slices.Contains(p.ELR, id) || dirGone && lost(p)
	})
}

// lostDirectory says that a broker comes without a directory that it had, or that nobody knows which it had.
func (m *Machine) lostDirectory(old *meta.Broker, req *kmsg.BrokerRegistrationRequest) bool {
	if m.image().Feature(MetadataVersion) < levelDirectories {
		return false
	}
	return old == nil || slices.ContainsFunc(old.LogDirs, func(d base.TopicID) bool { return !slices.Contains(req.LogDirs, d) })
}

func unplacedOn(id int32) func(*meta.Partition) bool {
	return func(p *meta.Partition) bool { return unplaced(p, id) }
}

func (m *Machine) checkRegistration(now time.Time, old *meta.Broker, req *kmsg.BrokerRegistrationRequest) error {
	im := m.image()
	switch {
	case im.ClusterID != req.ClusterId:
		return refuse(kerr.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", im.ClusterID, req.ClusterId)
	case old != nil && old.Incarnation != req.IncarnationId && m.hasSession(now, req.BrokerId) && !m.replaces(old, req):
		return refuse(kerr.DuplicateBrokerRegistration, "Another broker is registered with that broker id. "+
			"If the broker was recently restarted this should self-resolve once the heartbeat manager expires the broker's session.")
	case req.IsMigratingZkBroker:
		return refuse(kerr.BrokerIDNotRegistered, "Controller does not support registering ZK brokers.")
	}
	if im.Feature(MetadataVersion) >= levelDirectories {
		if err := m.checkDirs(req); err != nil {
			return err
		}
	}
	return m.checkBrokerFeatures(req)
}

// replaces says that the incarnation before cannot be alive any more: it was not heard of since this controller began,
// and a process that holds its directories asks. After all nodes died at once nobody waits for the sessions that the
// new controller gave to all of them.
func (m *Machine) replaces(old *meta.Broker, req *kmsg.BrokerRegistrationRequest) bool {
	s := m.sessions[old.ID]
	return s != nil && !s.heard && !s.local && len(old.LogDirs) > 0 && sameSet(old.LogDirs, req.LogDirs)
}

func (m *Machine) checkDirs(req *kmsg.BrokerRegistrationRequest) error {
	if len(req.LogDirs) == 0 {
		return refuse(kerr.InvalidRegistration, "No directories specified in request")
	}
	seen := map[base.TopicID]bool{}
	for _, d := range req.LogDirs {
		switch {
		case meta.ReservedDir(d):
			return refuse(kerr.InvalidRegistration, "Reserved directory ID in request")
		case seen[d]:
			return refuse(kerr.InvalidRegistration, "Duplicate directory ID in request")
		}
		seen[d] = true
	}
	for _, b := range m.image().Brokers() {
		for _, d := range b.LogDirs {
			if seen[d] && b.ID != req.BrokerId {
				return refuse(kerr.InvalidRegistration, "Broker %d is already registered with directory %s", b.ID, d)
			}
		}
	}
	return nil
}

// checkBrokerFeatures refuses a broker that cannot work at the levels that are finalized.
func (m *Machine) checkBrokerFeatures(req *kmsg.BrokerRegistrationRequest) error {
	supports := map[string][2]int16{MetadataVersion: {1, 1}}
	for _, f := range req.Features {
		supports[f.Name] = [2]int16{f.MinSupportedVersion, f.MaxSupportedVersion}
	}
	finalized := Finalized(m.image()) // others of an Apache Kafka's directory nobody is told of
	for _, name := range slices.Sorted(maps.Keys(finalized)) {
		if r, level := supports[name], finalized[name]; level < r[0] || level > r[1] {
			return refuse(kerr.UnsupportedVersion, "Unable to register because the broker does not support finalized version "+
				"%d of %s. The broker wants a version between %d and %d, inclusive.", level, name, r[0], r[1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(supports)) {
		if r := supports[name]; finalized[name] == 0 && name != MetadataVersion && r[0] > 0 {
			return refuse(kerr.UnsupportedVersion, "Unable to register because the broker does not support finalized version "+
				"0 of %s. The broker wants a version between %d and %d, inclusive.", name, r[0], r[1])
		}
	}
	return nil
}

func (m *Machine) registrationRecord(req *kmsg.BrokerRegistrationRequest) *kmsg.RegisterBrokerRecord {
	rec := kmsg.NewRegisterBrokerRecord()
	rec.BrokerId, rec.IncarnationId, rec.Rack, rec.Fenced = req.BrokerId, req.IncarnationId, req.Rack, true
	level := m.image().Feature(MetadataVersion)
	if level >= levelDirectories {
		rec.LogDirs = req.LogDirs
	}
	if level >= levelCordoned {
		rec.CordonedLogDirs = []base.TopicID{}
		if b := m.image().Broker(req.BrokerId); b != nil { // until its first heartbeat says otherwise
			for _, d := range b.CordonedDirs {
				if slices.Contains(req.LogDirs, d) {
					rec.CordonedLogDirs = append(rec.CordonedLogDirs, d)
				}
			}
		}
	}
	for _, l := range req.Listeners {
		rec.EndPoints = append(rec.EndPoints, kmsg.RegisterBrokerRecordBrokerEndpoint{
			Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: l.SecurityProtocol,
		})
	}
	for _, f := range req.Features {
		rec.Features = append(rec.Features, kmsg.RegisterBrokerRecordBrokerFeature{
			Name: f.Name, MinSupportedVersion: f.MinSupportedVersion, MaxSupportedVersion: f.MaxSupportedVersion,
		})
	}
	return &rec
}
