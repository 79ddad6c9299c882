// Package api answers Kafka requests: one file per API, named by its key.
//
// It owns the table of served APIs, the decoding of requests, fetch sessions and the mapping from
// errors to Kafka's codes. It must not know sockets (package server) and holds no rule that belongs
// to a machine: a handler authorises, calls one method of a lower package per item and fills in the
// response.
//
// Concurrency: Dispatch may be called for different connections at once, and for one connection
// from one goroutine at a time. A Call may be answered from any goroutine.
//
// Invariants:
//  1. Every call ends exactly once: by Reply, NoReply or Hangup (asserted).
//  2. ApiVersions names exactly the APIs in the table.
//  3. A request decoded by a hot handler is not referenced after the handler returned.
package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/clock"
)

// Broker is what handlers may use. Package node fills it in; every field but those said to be
// optional must be set before the first Dispatch.
type Broker struct {
	Logger *slog.Logger
	Clock  clock.Clock
	NodeID int32
	Parts  *partition.Table
	// Image is the current metadata.
	Image func() *meta.Image
	// Features are what this build supports and what is finalized, with the epoch of the latter.
	Features func() (epoch int64, features []Feature)
	// Advertised is this broker's address for clients of a connection's listener.
	Advertised func(*Conn) (host string, port int32, ok bool)

	// ActiveController is the node that leads the quorum as this one knows it, -1 for none; Controllers
	// are those that the configuration names. Both may be nil: this node is the only controller.
	ActiveController func() int32
	Controllers      func() []ControllerNode

	// AwaitMetadata waits until this broker acts on the metadata before an offset. It is nil where the
	// controller here answers no sooner.
	AwaitMetadata func(ctx context.Context, end int64) error

	Admin Admin
	// Forwarder reaches the active controller where that is another node; nil where this is the only one.
	Forwarder Forwarder
	// Remote reaches the other brokers; nil where there are none.
	Remote Remote
	// Private are the APIs that only nodes of this cluster know, by keys far outside of Kafka's; they are
	// served on the controllers' listener and have no answer. It may be nil.
	Private map[int16]func(body []byte) error
	Groups  *coord.Shards[*group.Machine]
	Txn     Transactions
	// Authorizer decides who may do what; nil is that everybody may do everything.
	Authorizer *auth.Authorizer
	// Quotas measures the clients; Init makes one without limits where it is nil.
	Quotas *quota.Manager

	// ReadFromRack sends consumers that name their rack to a follower there (KIP-392).
	ReadFromRack bool
	// MaxLag is replica.lag.time.max.ms; 0 where nobody follows.
	MaxLag time.Duration
	// SessionSweep is how often a fetch looks at every partition of its session, if MaxLag asks for no more; 0 is each second.
	SessionSweep time.Duration
	// LeaderThrottle measures what throttled leaders send to followers; nil is none.
	LeaderThrottle *quota.Replication

	fetchMax int
	metrics  *metrics
	sessions *sessionCache
	refusals refusals
	letGo    sync.Map // by broker: the epoch of the run that was let go
}

// Init makes what the handlers share. It is called once, after the fields are set.
func (b *Broker) Init(fetchMaxBytes, fetchSessions int) {
	if b.Quotas == nil {
		b.Quotas = quota.New(quota.Options{})
	}
	b.fetchMax, b.metrics, b.sessions = fetchMaxBytes, &metrics{}, newSessionCache(fetchSessions)
}

// topic finds a topic by name as this broker has it; nil where the metadata has none. What the metadata has before the parts are
// opened, and after they are closed, is another broker's, as in Kafka: clients ask for the leader anew and come back.
func (b *Broker) topic(name string) *partition.Topic {
	if t := b.Parts.Topic(name); t != nil {
		return t
	}
	return elsewhere(b.Image().Topic(name))
}

// topicByID is topic for an id.
func (b *Broker) topicByID(id base.TopicID) *partition.Topic {
	if t := b.Parts.TopicByID(id); t != nil {
		return t
	}
	return elsewhere(b.Image().TopicByID(id))
}

func elsewhere(t *meta.Topic) *partition.Topic {
	if t == nil {
		return nil
	}
	return &partition.Topic{Name: t.Name, ID: t.ID, Parts: make([]*partition.Partition, len(t.Partitions))}
}

// partition finds one partition of a topic. One that was added to the topic and is not opened yet is another broker's, too.
func (b *Broker) partition(t *partition.Topic, i int32) (*partition.Partition, error) {
	p, err := t.Partition(i)
	if err == kerr.UnknownTopicOrPartition && t != nil && i >= 0 { //nolint:errorlint // Partition wraps nothing
		if now := b.Image().TopicByID(t.ID); now != nil && int(i) < len(now.Partitions) {
			err = kerr.NotLeaderForPartition
		}
	}
	return p, err
}

func (b *Broker) fetchMaxBytes() int { return b.fetchMax }
