package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// channel sends requests to the active controller, over connections of its own.
type channel struct {
	u    *Uplink
	name string
	lost func() // hears that a connection broke that had been in use; may be nil

	mu struct {
		sync.Mutex
		closed  bool
		clients map[string]*peer.Client // by address
		found   string                  // the address that answered last as the active controller
		silent  string                  // the one that did not answer last
	}
}

func (u *Uplink) channel(name string) *channel {
	c := &channel{u: u, name: name}
	c.mu.clients = map[string]*peer.Client{}
	return c
}

func (c *channel) close() {
	c.mu.Lock()
	clients := c.mu.clients
	c.mu.clients, c.mu.closed = nil, true
	c.mu.Unlock()
	for _, cl := range clients {
		cl.Close()
	}
}

// client is the one for an address.
func (c *channel) client(address string) *peer.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.mu.clients[address]
	if cl == nil {
		cl = peer.New(peer.Options{
			Address: func() (string, error) { return address, nil }, Dial: c.u.o.dialer(), Logger: c.u.o.Logger,
			ClientID:       fmt.Sprintf("broker-%d-to-controller-%s", c.u.o.NodeID, c.name),
			RequestTimeout: c.u.o.RequestTimeout,
			Lost: func(error) {
				if c.lost != nil {
					c.lost()
				}
			},
		})
		if c.mu.closed {
			cl.Close()
		} else {
			c.mu.clients[address] = cl
		}
	}
	return cl
}

// candidates are the addresses to try, the most likely first.
func (c *channel) candidates() []string {
	c.mu.Lock()
	found, silent := c.mu.found, c.mu.silent
	c.mu.Unlock()
	leader := c.u.o.Leader()
	var first, rest, last []string
	known := c.u.o.Controllers()
	if told := c.u.told.Load(); told != nil && !slices.ContainsFunc(known, func(o Controller) bool { return o.Address == told.Address }) {
		known = append(slices.Clone(known), *told)
	}
	for _, ctl := range known {
		switch {
		case ctl.Address == silent: // whoever it is to the others: one that hangs would hold everything up
			last = append(last, ctl.Address)
		case leader >= 0 && ctl.ID == leader:
			first = append([]string{ctl.Address}, first...)
		case ctl.Address == found:
			first = append(first, ctl.Address)
		default:
			rest = append(rest, ctl.Address)
		}
	}
	return slices.Concat(first, rest, last)
}

type responsePtr[T any] interface {
	*T
	kmsg.Response
}

func request[T any, P responsePtr[T]](ctx context.Context, c *channel, req kmsg.Request) (P, error) {
	resp := P(new(T))
	if err := c.ask(ctx, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// ask sends a request to one controller after the other until one serves it. An error that concerns
// the request as a whole is returned as such.
func (c *channel) ask(ctx context.Context, req kmsg.Request, resp kmsg.Response) error {
	last := errors.New("no controller is known")
	for {
		for _, address := range c.candidates() {
			err := c.once(ctx, address, req, resp)
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%w; last: %w", ctx.Err(), last)
			}
			last = err
			var ke *kerr.Error
			if errors.As(err, &ke) && ke != kerr.NotController {
				return err
			}
		}
		pause(ctx, retryPause)
		if ctx.Err() != nil {
			return fmt.Errorf("%w; last: %w", ctx.Err(), last)
		}
	}
}

// once asks one controller.
func (c *channel) once(ctx context.Context, address string, req kmsg.Request, resp kmsg.Response) error {
	err := c.client(address).Do(ctx, req, resp)
	c.mu.Lock()
	if err != nil {
		c.mu.silent = address
	} else if c.mu.silent == address {
		c.mu.silent = ""
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.u.listen(resp)
	if err := kerr.ErrorForCode(errorOf(resp)); err != nil {
		return err
	}
	c.mu.Lock()
	c.mu.found = address
	c.mu.Unlock()
	return nil
}

// listen notes where the active controller is, which every controller says that is asked for the metadata: one that was
// added to the quorum need not be among those of the configuration.
func (u *Uplink) listen(resp kmsg.Response) {
	r, ok := resp.(*kmsg.FetchResponse)
	if !ok || len(r.Responses) != 1 || len(r.Responses[0].Partitions) != 1 {
		return
	}
	leader := r.Responses[0].Partitions[0].CurrentLeader.LeaderId
	for _, n := range r.NodeEndpoints {
		if n.NodeId == leader {
			u.told.Store(&Controller{leader, net.JoinHostPort(n.Host, strconv.Itoa(int(n.Port)))})
		}
	}
}

// errorOf is the error of a response as a whole.
func errorOf(resp kmsg.Response) int16 {
	switch r := resp.(type) {
	case *kmsg.BrokerRegistrationResponse:
		return r.ErrorCode
	case *kmsg.BrokerHeartbeatResponse:
		return r.ErrorCode
	case *kmsg.AlterPartitionResponse:
		return r.ErrorCode
	case *kmsg.AllocateProducerIdsResponse:
		return r.ErrorCode
	case *kmsg.AssignReplicasToDirsResponse:
		return r.ErrorCode
	case *kmsg.ControllerRegistrationResponse:
		return r.ErrorCode
	case *peer.EnvelopeResponse:
		return r.ErrorCode
	case *kmsg.UpdateRaftVoterResponse:
		if code := notLeading(r.ErrorCode); code != 0 {
			return code
		}
		return r.ErrorCode
	case *kmsg.FetchResponse:
		if r.ErrorCode == 0 && len(r.Responses) == 1 && len(r.Responses[0].Partitions) == 1 {
			return notLeading(r.Responses[0].Partitions[0].ErrorCode)
		}
		return r.ErrorCode
	case *kmsg.FetchSnapshotResponse:
		if r.ErrorCode == 0 && len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 1 {
			return notLeading(r.Topics[0].Partitions[0].ErrorCode)
		}
		return r.ErrorCode
	}
	return 0
}

// notLeading says in one way that another controller is to be asked. Every other error of a partition is
// for who asked.
func notLeading(code int16) int16 {
	if code == kerr.NotLeaderForPartition.Code {
		return kerr.NotController.Code
	}
	return 0
}
