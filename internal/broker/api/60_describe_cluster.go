package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeCluster (key 60), versions 0 to 2.
//
//	v1  brokers or controllers may be asked for; a broker's listener knows brokers only (KIP-919)
//	v2  fenced brokers on request (KIP-1073)
var _ = register(kmsg.KeyDescribeCluster, (*Broker).describeCluster)

// The kinds of endpoints a client may ask for.
const (
	endpointBrokers     int8 = 1
	endpointControllers int8 = 2
)

func (b *Broker) describeCluster(c *Call, req *kmsg.DescribeClusterRequest) {
	resp := kmsg.NewDescribeClusterResponse()
	resp.ErrorMessage = nil
	if err := checkEndpointType(c.Conn.Controller, req.EndpointType); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		c.Reply(&resp)
		return
	}
	im := b.Image()
	resp.ClusterId, resp.EndpointType = im.ClusterID, req.EndpointType
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	if c.Conn.Controller {
		b.describeControllers(&resp)
		c.Reply(&resp)
		return
	}
	resp.ControllerId = b.activeController()
	for _, br := range im.Brokers() {
		if br.Fenced && !req.IncludeFencedBrokers && br.ID != b.NodeID {
			continue
		}
		n := b.nodeFor(c.Conn, br)
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseDescribeClusterBroker{
			BrokerId: n.ID, Host: n.Host, Port: n.Port, Rack: n.Rack, IsFenced: br.Fenced && br.ID != b.NodeID,
		})
	}
	c.Reply(&resp)
}

// describeControllers is the answer on the controllers' listener.
func (b *Broker) describeControllers(resp *kmsg.DescribeClusterResponse) {
	resp.ControllerId = b.NodeID
	if b.ActiveController != nil {
		resp.ControllerId = b.ActiveController()
	}
	if b.Controllers == nil {
		return
	}
	for _, n := range b.Controllers() {
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseDescribeClusterBroker{BrokerId: n.ID, Host: n.Host, Port: n.Port})
	}
}

func checkEndpointType(controller bool, t int8) error {
	want := endpointBrokers
	if controller {
		want = endpointControllers
	}
	switch {
	case t == want:
		return nil
	case t == endpointControllers:
		return refuse(kerr.MismatchedEndpointType, "this is a broker's listener: ask a controller's for controllers")
	case t == endpointBrokers:
		return refuse(kerr.MismatchedEndpointType, "this is a controller's listener: ask a broker's for brokers")
	}
	return refuse(kerr.UnsupportedEndpointType, "endpoint type %d: want %d", t, want)
}
