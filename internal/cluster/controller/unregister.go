package controller

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// UnregisterBroker takes a broker that is gone for ever out of the metadata, and out of every
// in-sync set and set of eligible leaders. One that serves is refused: it would register again.
func (m *Machine) UnregisterBroker(now time.Time, id int32) ([]kmsg.Record, error) {
	b := m.image().Broker(id)
	switch {
	case b == nil:
		return nil, refuse(kerr.BrokerIDNotRegistered, "broker %d is not registered", id)
	case m.hasSession(now, id):
		return nil, refuse(kerr.InvalidRequest, "broker %d is running: only a broker that is gone can be unregistered", id)
	}
	records := m.updatePartitions(update{remove: noBroker, add: noBroker, unclean: id}, func(p *meta.Partition) bool {
		return inISR(id)(p) || slices.Contains(p.ELR, id)
	})
	delete(m.sessions, id)
	return append(records, &kmsg.UnregisterBrokerRecord{BrokerId: id, BrokerEpoch: b.Epoch}), nil
}
