package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
)

// node is a broker as a client of one listener sees it.
type node struct {
	ID   int32
	Host string
	Port int32
	Rack *string
}

// nodes lists the live brokers with their addresses on the client's own listener.
func (b *Broker) nodes(conn *Conn) []node {
	var out []node
	for _, br := range b.Image().Brokers() {
		if br.Fenced && br.ID != b.NodeID {
			continue
		}
		out = append(out, b.nodeFor(conn, br))
	}
	return out
}

// nodeFor finds the address of a broker for this connection: what the broker advertises on the
// connection's listener, or, for this broker and where nothing is advertised, the address that the
// client used.
func (b *Broker) nodeFor(conn *Conn, br *meta.Broker) node {
	n := node{ID: br.ID, Rack: br.Rack}
	for _, ep := range br.Endpoints {
		if ep.Listener == conn.Listener {
			n.Host, n.Port = ep.Host, ep.Port
		}
	}
	if br.ID == b.NodeID {
		if host, port, ok := b.Advertised(conn); ok {
			n.Host, n.Port = host, port
		}
	}
	return n
}

// ControllerNode is one controller as clients are told of it.
type ControllerNode struct {
	ID             int32
	Listener, Host string
	Port           int32
}

// activeController is the node that a client is told to be the controller. A broker passes on what only
// the active one can do, so where that is not known, or serves no clients, this broker is as good.
func (b *Broker) activeController() int32 {
	if b.ActiveController == nil {
		return b.NodeID
	}
	id := b.ActiveController()
	if br := b.Image().Broker(id); br == nil || br.Fenced {
		return b.NodeID
	}
	return id
}

// wantsLeader says whether the current leader goes with an error (KIP-951).
func wantsLeader(code int16) bool {
	return code == kerr.NotLeaderForPartition.Code || code == kerr.FencedLeaderEpoch.Code
}

// currentLeader is who leads a partition now, and where that broker is for the connection; the leader
// is -1 while there is none.
func (b *Broker) currentLeader(conn *Conn, topic string, i int32) (leader, epoch int32, n node, ok bool) {
	im := b.Image()
	t := im.Topic(topic)
	if t == nil || i < 0 || int(i) >= len(t.Partitions) {
		return 0, 0, node{}, false
	}
	p := t.Partitions[i]
	br := im.Broker(p.Leader)
	if br == nil {
		return base.NoBroker, p.LeaderEpoch, node{}, true
	}
	return p.Leader, p.LeaderEpoch, b.nodeFor(conn, br), true
}

// self is this broker's address for the connection.
func (b *Broker) self(conn *Conn) node {
	if br := b.Image().Broker(b.NodeID); br != nil {
		return b.nodeFor(conn, br)
	}
	host, port, _ := b.Advertised(conn)
	return node{ID: b.NodeID, Host: host, Port: port}
}
