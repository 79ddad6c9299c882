package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
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
	im := b.Image()
	err := checkEndpointType(c.Conn.Controller, req.EndpointType)
	if c.Conn.Controller {
		if refused := c.needCluster(auth.Alter); refused != nil {
			err = refused
		}
		if !controller.KnowsControllers(im) {
			err = refuse(kerr.UnsupportedVersion, "Direct-to-controller communication is not supported with the current MetadataVersion.")
		}
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		c.Reply(&resp)
		return
	}
	resp.ClusterId, resp.EndpointType = im.ClusterID, req.EndpointType
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = c.clusterOperations()
	}
	if c.Conn.Controller {
		b.describeControllers(&resp, im, c.Conn.Listener)
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

// describeControllers is the answer on a controllers' listener: those that have registered one of that name, whether they
// run or not. The active one is shown though it be of a build that does not register.
func (b *Broker) describeControllers(resp *kmsg.DescribeClusterResponse, im *meta.Image, listener string) {
	resp.ControllerId = b.NodeID
	if b.ActiveController != nil {
		resp.ControllerId = b.ActiveController()
	}
	show := func(id int32, host string, port int32) {
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseDescribeClusterBroker{BrokerId: id, Host: host, Port: port})
	}
	for _, ctl := range im.Controllers() {
		for _, e := range ctl.Endpoints {
			if e.Listener == listener {
				show(ctl.ID, e.Host, e.Port)
			}
		}
	}
	if im.Controller(resp.ControllerId) != nil || b.Controllers == nil {
		return
	}
	for _, n := range b.Controllers() {
		if n.ID == resp.ControllerId {
			show(n.ID, n.Host, n.Port)
		}
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
