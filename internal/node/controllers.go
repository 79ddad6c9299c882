package node

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Between two attempts to register a controller, and how long one takes at most. Who leads may be of a build that takes
// none, for as long as a rolling upgrade lasts.
const (
	enterPause    = 100 * time.Millisecond
	maxEnterPause = 2 * time.Second
	enterTimeout  = 2 * time.Second
)

// controllerEntry is the registration of this node's controller (KIP-919).
type controllerEntry struct {
	n       *Node
	changed chan struct{} // capacity 1: what is registered may be another's, or may be registered only now
}

func newControllerEntry(n *Node) *controllerEntry {
	return &controllerEntry{n: n, changed: make(chan struct{}, 1)}
}

// published hears of new metadata.
func (e *controllerEntry) published(_, _ *meta.Image, d meta.Delta) {
	if d.Features || d.Controllers {
		select {
		case e.changed <- struct{}{}:
		default:
		}
	}
}

// Run keeps this controller registered until ctx ends: whenever the metadata knows controllers and not this run of it.
func (e *controllerEntry) Run(ctx context.Context) error {
	pause := enterPause
	for ctx.Err() == nil {
		if !e.missing() {
			e.wait(ctx, -1)
			continue
		}
		if err := e.enter(ctx); err != nil {
			e.n.log.Debug("the controller could not be registered", "err", err)
			e.wait(ctx, pause)
			pause = min(2*pause, maxEnterPause)
			continue
		}
		pause = enterPause
		e.n.log.Info("the controller is registered", "node_id", e.n.live.Load().broker.NodeID)
		for began := time.Now(); e.missing() && time.Since(began) < enterTimeout && ctx.Err() == nil; {
			e.wait(ctx, enterTimeout) // for this node to hear of it
		}
	}
	return nil
}

// wait waits for a change, for no longer than limit where that is not negative.
func (e *controllerEntry) wait(ctx context.Context, limit time.Duration) {
	var over <-chan time.Time
	if limit >= 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-e.changed:
	case <-over:
	case <-ctx.Done():
	}
}

// missing says that the metadata knows controllers, and not this run of this one.
func (e *controllerEntry) missing() bool {
	im := e.n.image()
	c := im.Controller(e.n.live.Load().broker.NodeID)
	return controller.KnowsControllers(im) && (c == nil || c.Incarnation != e.n.incarnation)
}

// enter registers with the active controller, which may be this node's.
func (e *controllerEntry) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, enterTimeout)
	defer cancel()
	req := e.n.controllerRegistration()
	if e.n.puller != nil {
		return e.n.puller.EnterController(ctx, req)
	}
	return e.n.ctl.Await(ctx, func(m *controller.Machine) ([]kmsg.Record, error) {
		records, resp := m.RegisterController(req)
		return records, kerr.ErrorForCode(resp.ErrorCode)
	})
}

// controllerRegistration is what this controller says of itself.
func (n *Node) controllerRegistration() *kmsg.ControllerRegistrationRequest {
	req := kmsg.NewControllerRegistrationRequest()
	b := n.live.Load().broker
	req.ControllerId, req.IncarnationId = b.NodeID, n.incarnation
	for _, l := range n.controllerListeners {
		host, port, ok := addressOf(l, b.Quorum.Advertised)
		if ok {
			req.Listeners = append(req.Listeners, kmsg.ControllerRegistrationRequestListener{
				Name: l.Name, Host: host, Port: uint16(port), SecurityProtocol: n.protocolOf(l.Name),
			})
		}
	}
	for _, f := range controller.Features() {
		req.Features = append(req.Features, kmsg.ControllerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	return &req
}
