package node

import (
	"context"
	"math"
	"runtime/debug"
	"strings"

	"github.com/logstead/logstead/internal/broker/api"
	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/coord"
	"github.com/logstead/logstead/internal/broker/group"
	"github.com/logstead/logstead/internal/broker/quota"
	"github.com/logstead/logstead/internal/broker/server"
	"github.com/logstead/logstead/internal/broker/txn"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/conf"
)

// compose makes the parts and tells them of each other.
func (n *Node) compose(cfg *config) {
	n.live.Store(newConfig(n.o.Config, n.image(), cfg.broker.NodeID))
	n.store.Cordon(func(dir string) bool { return n.live.Load().broker.Cordoned(dir) })
	n.throttles.leader, n.throttles.follower = replicationQuota(cfg.live), replicationQuota(cfg.live)
	partitions := func(topic string) func() int32 {
		return func() int32 {
			if t := n.image().Topic(topic); t != nil {
				return int32(len(t.Partitions))
			}
			return 0
		}
	}
	n.groups = coord.New[*group.Machine](coord.Options{
		Name: "group", Logger: n.log, Clock: n.clock, Metrics: n.runtimeMetrics, Partitions: partitions(offsetsTopic),
		CommitTimeout: cfg.live.Duration("offsets.commit.timeout.ms"),
	})
	n.txns = coord.New[*txn.Machine](coord.Options{
		Name: "transaction", Logger: n.log, Clock: n.clock, Metrics: n.runtimeMetrics,
		Partitions: partitions(transactionsTopic),
	})
	n.api = &api.Broker{
		Logger: n.log, Clock: n.clock, NodeID: cfg.broker.NodeID, Parts: n.parts, Image: n.image,
		Features: n.features, Advertised: n.advertised, Groups: n.groups,
		ActiveController: n.activeController, Controllers: n.controllerNodes,
		Private: map[int16]func([]byte) error{keyRaft: n.receiveRaft, keyLoads: n.receiveLoads},
		Admin: api.Admin{
			Store: n.store, Controller: n.ctl, LogLevel: n.o.Level,
			Conf: func() *conf.Live { return n.live.Load().live }, CheckOwn: n.checkOwnConfigs,
		},
	}
	n.composeAuthorizer(cfg.broker)
	n.composeCluster(cfg)
	n.producerIDs = txn.NewProducerIDs(n.allocateProducerIDs(), n.log)
	n.markers = txn.NewMarkerSender(txn.SenderOptions{
		Logger: n.log, Write: n.api.SendMarker, Complete: n.api.CompleteMarkers,
	})
	n.api.Quotas = quota.New(quotaOptions(cfg.live))
	n.api.LeaderThrottle = n.throttles.leader
	n.setReplicationQuotas()
	n.setQuotas(n.image())
	n.api.Txn = api.Transactions{
		Shards: n.txns, ProducerIDs: n.producerIDs, Config: n.txnConfig,
		AddWait:       cfg.live.Duration("add.partitions.to.txn.retry.backoff.max.ms"),
		VerifyTimeout: cfg.live.Duration("request.timeout.ms"),
	}
	n.api.ReadFromRack, n.api.MaxLag = cfg.broker.ReadFromRack, cfg.live.Duration("replica.lag.time.max.ms")
	n.api.Init(int(cfg.broker.FetchMaxBytes), int(cfg.broker.FetchSessions))
	o := server.Options{
		Broker: n.api, Logger: n.log, MaxRequestBytes: int(cfg.broker.SocketRequestMaxBytes),
		BudgetBytes: memoryBudget(cfg.broker), ConnectionBudgetBytes: cfg.broker.ConnectionBudgetBytes,
		IdleTimeout:      cfg.broker.ConnectionsMaxIdle,
		HandshakeTimeout: cfg.live.Duration("logstead.tls.handshake.timeout.ms"), MaxHandshakes: int(cfg.live.Int("logstead.tls.max.handshakes")),
		SendBufferBytes: int(cfg.broker.SocketSendBuffer), ReceiveBufferBytes: int(cfg.broker.SocketReceiveBuffer),
	}
	n.controlled = server.New(o) // whose connections clients cannot use up
	o.Limits = connectionLimits(cfg.broker)
	n.server = server.New(o)
}

// composeAuthorizer makes the authorizer, where there is to be one.
func (n *Node) composeAuthorizer(b *conf.Broker) {
	if !b.Authorizer {
		return
	}
	o := auth.Options{AllowWithoutACL: b.AllowWithoutACL, Logger: n.log, Now: n.clock.Now}
	for _, s := range b.SuperUsers {
		p, _ := auth.ParsePrincipal(s) // checked with the configuration
		o.SuperUsers = append(o.SuperUsers, p)
	}
	n.api.Authorizer = auth.NewAuthorizer(o)
	n.log.Info("requests are authorized", "super_users", strings.Join(b.SuperUsers, ";"), "allow_without_acl", b.AllowWithoutACL)
}

// allocateProducerIDs is where blocks of producer ids come from.
func (n *Node) allocateProducerIDs() func(context.Context) (first int64, count int32, err error) {
	if n.uplink != nil {
		return n.uplink.AllocateProducerIDs
	}
	return n.ctl.AllocateProducerIDs
}

// features are what ApiVersions tells.
func (n *Node) features() (int64, []api.Feature) {
	im := n.image()
	finalized := controller.Finalized(im)
	if n.ctl != nil {
		finalized[controller.KRaftVersion] = n.ctl.KRaftVersion()
	} else {
		finalized[controller.KRaftVersion] = n.observer.KRaftVersion()
	}
	var out []api.Feature
	for _, f := range controller.Features() {
		out = append(out, api.Feature{Name: f.Name, Min: f.Min, Max: f.Max, Level: finalized[f.Name]})
	}
	return im.Offset, out
}

// memoryBudget is the setting, or a quarter of the memory this process may use.
func memoryBudget(b *conf.Broker) int64 {
	if b.MemoryBudgetBytes > 0 {
		return b.MemoryBudgetBytes
	}
	limit := machineMemory()
	if soft := debug.SetMemoryLimit(-1); soft != math.MaxInt64 && soft < limit {
		limit = soft
	}
	return max(limit/4, 64<<20)
}
