// Package uplink is a broker's line to the active controller: registration, heartbeats, controlled
// shutdown, ISR changes, producer ids, directories of replicas, and requests passed on for clients.
//
// It owns the search for the active controller, the life of this broker's registration and the
// batching of what partitions propose. It must not know partitions, logs or the metadata beyond where
// it ends.
//
// Concurrency: everything exported may be called from any goroutine. Run owns the registration.
//
// Invariants:
//  1. A request goes to another controller when the one asked says that it is not the active one, and
//     never after the caller's context has ended.
//  2. At most one AlterPartition is on its way, and what a partition proposes is answered exactly once.
//  3. A heartbeat carries the epoch of the newest registration.
package uplink

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Controller is where one controller is reached. ID is -1 where only the address is known.
type Controller struct {
	ID      int32
	Address string
}

// Options are what New needs.
type Options struct {
	NodeID int32
	Logger *slog.Logger
	Dial   peer.Dialer // nil is TCP
	// Controllers are those that are known now; Leader is the id of the active one, -1 for not known.
	Controllers func() []Controller
	Leader      func() int32
	// Registration is what the broker says of itself; the uplink adds the previous epoch.
	Registration func() *kmsg.BrokerRegistrationRequest
	// MetadataOffset is the last offset of the metadata that this broker acts on; AwaitMetadata waits
	// until it acts on everything before end.
	MetadataOffset func() int64
	AwaitMetadata  func(ctx context.Context, end int64) error
	// OfflineDirs are the log directories that failed.
	OfflineDirs func() []base.TopicID
	// CordonedDirs are those that take no more replicas.
	CordonedDirs func() []base.TopicID
	// HeartbeatInterval is broker.heartbeat.interval.ms, RequestTimeout controller.socket.timeout.ms,
	// RegistrationTimeout initial.broker.registration.timeout.ms.
	HeartbeatInterval, RequestTimeout, RegistrationTimeout time.Duration
	// PreviousEpoch is the epoch of the last registration, if the broker stopped cleanly; else -1.
	PreviousEpoch int64
	// TellAfter is how long a broker that starts goes round the controllers before it says in its log that it waits, TellEvery
	// how often it says so again; 0 is 3 s and 10 s.
	TellAfter, TellEvery time.Duration
}

// retryPause is between two rounds through the controllers.
const retryPause = 20 * time.Millisecond

// Uplink is the line to the active controller.
type Uplink struct {
	o      Options
	epoch  atomic.Int64
	fenced atomic.Bool
	told   atomic.Pointer[Controller] // who led when a controller said so last, nil for never
	heard  atomic.Int64               // when the controller answered last, in Unix nanoseconds
	anew   atomic.Bool                // what the broker says of itself has changed

	registered, unfenced chan struct{}
	wake                 chan struct{} // capacity 1: send a heartbeat now
	shutdown             chan struct{} // closed when the broker wants to stop
	released             chan struct{} // closed when it may
	once                 struct{ registered, unfenced, shutdown, released sync.Once }

	beats, asks, passes, pulls, posts, enters *channel
	isr                                       *proposals
}

// New returns an uplink that has not registered yet.
func New(o Options) *Uplink {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.TellAfter, o.TellEvery = cmp.Or(o.TellAfter, 3*time.Second), cmp.Or(o.TellEvery, 10*time.Second)
	u := &Uplink{
		o: o, registered: make(chan struct{}), unfenced: make(chan struct{}), wake: make(chan struct{}, 1),
		shutdown: make(chan struct{}), released: make(chan struct{}),
	}
	u.epoch.Store(-1)
	u.fenced.Store(true)
	u.beats, u.asks, u.passes = u.channel("heartbeat"), u.channel("broker"), u.channel("forward")
	u.pulls, u.posts, u.enters = u.channel("metadata"), u.channel("loads"), u.channel("registration")
	u.beats.lost = u.Wake // a controller that saw it break too fences who is not heard of very soon
	u.isr = newProposals(u)
	return u
}

// Close ends the connections. Run must have ended.
func (u *Uplink) Close() {
	u.beats.close()
	u.asks.close()
	u.passes.close()
	u.pulls.close()
	u.posts.close()
	u.enters.close()
}

// Post sends what needs no answer to the controller that answers the heartbeats, over a connection of its own:
// one that breaks says nothing of this broker. What is lost is not sent again.
func (u *Uplink) Post(ctx context.Context, key int16, body []byte) error {
	u.beats.mu.Lock()
	address := u.beats.mu.found
	u.beats.mu.Unlock()
	if address == "" {
		return ErrNoController
	}
	return u.posts.client(address).Post(ctx, key, 0, body)
}

// Epoch is the broker epoch, -1 before the first registration.
func (u *Uplink) Epoch() int64 { return u.epoch.Load() }

// Fenced says whether the controller keeps this broker from leading, as of the last heartbeat.
func (u *Uplink) Fenced() bool { return u.fenced.Load() }

// Registered is closed once the broker is registered, Unfenced once it has been unfenced.
func (u *Uplink) Registered() <-chan struct{} { return u.registered }

// Unfenced is closed once the broker has been unfenced for the first time.
func (u *Uplink) Unfenced() <-chan struct{} { return u.unfenced }

// Wake has a heartbeat sent at once: a log directory failed, another controller leads, the connection of the heartbeats
// broke, or the controller waits to hear how far this broker is with the metadata.
func (u *Uplink) Wake() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Renew has the broker say again what it is, under the epoch that it has: the metadata takes in more of it now.
func (u *Uplink) Renew() {
	u.anew.Store(true)
	u.Wake()
}

// Run registers the broker and sends heartbeats and proposals until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	if err := u.register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	var proposing sync.WaitGroup
	proposing.Go(func() { u.isr.run(ctx) })
	defer proposing.Wait()
	u.beat(ctx)
	return nil
}

// register enters the broker. An earlier run of it whose session has not ended holds that up.
func (u *Uplink) register(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, u.o.RegistrationTimeout)
	defer cancel()
	req := u.o.Registration()
	req.PreviousBrokerEpoch = u.o.PreviousEpoch
	var last error = kerr.RequestTimedOut
	began, said := time.Now(), time.Time{}
	for {
		attempt, stop := context.WithTimeout(limit, u.o.TellAfter)
		resp, err := request[kmsg.BrokerRegistrationResponse](attempt, u.beats, req)
		stop()
		if err == nil {
			u.epoch.Store(resp.BrokerEpoch)
			u.once.registered.Do(func() { close(u.registered) })
			return nil
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the node is asked to stop
		}
		if limit.Err() != nil {
			return &RegistrationError{u.o.RegistrationTimeout, last}
		}
		last = err
		if !retriable(err) {
			return &RegistrationError{0, err}
		}
		if said.IsZero() || time.Since(said) >= u.o.TellEvery {
			level := slog.LevelInfo // an earlier run's session may end any moment
			if time.Since(began) >= u.o.TellAfter {
				level = slog.LevelWarn
			}
			u.o.Logger.Log(ctx, level, "the broker waits to be registered", "waited", time.Since(began).Round(time.Second).String(),
				"controllers", strings.Join(u.beats.candidates(), ","), "err", err)
			said = time.Now()
		}
		pause(limit, registerPause)
	}
}

// registerPause is between two attempts to register.
const registerPause = 100 * time.Millisecond

// RegistrationError is a broker that the controller did not take.
type RegistrationError struct {
	After time.Duration // 0 where it was refused for good
	Err   error
}

func (e *RegistrationError) Error() string {
	if e.After == 0 {
		return "the controller refuses this broker: " + e.Err.Error()
	}
	return "the broker was not registered within initial.broker.registration.timeout.ms (" + e.After.String() +
		"): " + e.Err.Error() + "; are a majority of the controllers up and reachable?"
}

func (e *RegistrationError) Unwrap() error { return e.Err }

// retriable says whether asking again may help.
func retriable(err error) bool {
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return true // of the connection
	}
	return ke.Retriable || ke == kerr.DuplicateBrokerRegistration || ke == kerr.UnknownServerError ||
		ke == kerr.ClusterAuthorizationFailed // a controller that starts knows no access control entries yet
}

// A broker that waits for the controller's leave, to serve or to stop, asks soon, and less and less
// often: what it waits for has it woken, or takes as long as it takes.
const (
	askPause    = 10 * time.Millisecond
	maxAskPause = 200 * time.Millisecond
)

// beat sends heartbeats until ctx ends.
func (u *Uplink) beat(ctx context.Context) {
	shutdown := u.shutdown
	var asking time.Duration
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-u.wake:
		case <-shutdown:
			shutdown = nil
		}
		if !u.stopping() && u.anew.CompareAndSwap(true, false) && !u.enterAgain(ctx) {
			u.anew.Store(true) // with the next heartbeat
		}
		wait, waits := u.heartbeat(ctx)
		if asking = min(max(2*asking, askPause), maxAskPause, u.o.HeartbeatInterval); !waits {
			asking = 0
		} else {
			wait = asking
		}
		if !next.Stop() {
			select {
			case <-next.C:
			default:
			}
		}
		next.Reset(wait)
	}
}

// heartbeat sends one heartbeat and says when the next is due, and whether the broker waits for leave.
func (u *Uplink) heartbeat(ctx context.Context) (wait time.Duration, waits bool) {
	limit, cancel := context.WithTimeout(ctx, max(2*u.o.HeartbeatInterval, time.Second))
	defer cancel()
	req := kmsg.NewBrokerHeartbeatRequest()
	req.BrokerId, req.BrokerEpoch, req.CurrentMetadataOffset = u.o.NodeID, u.epoch.Load(), u.o.MetadataOffset()
	req.WantShutDown, req.OfflineLogDirs = u.stopping(), u.o.OfflineDirs()
	req.CordonedLogDirs = append([]base.TopicID{}, u.o.CordonedDirs()...) // none is said too: a null says nothing
	resp, err := request[kmsg.BrokerHeartbeatResponse](limit, u.beats, &req)
	if err != nil {
		if ctx.Err() == nil && !u.mayStop() {
			u.o.Logger.Warn("heartbeat to the controller failed", "broker_epoch", req.BrokerEpoch, "err", err)
		}
		if lost := errors.Is(err, kerr.StaleBrokerEpoch) || errors.Is(err, kerr.BrokerIDNotRegistered); lost && u.stopping() {
			// Whoever unregistered it wants it gone: a registration now would stay, of a broker that never comes back.
			u.once.released.Do(func() { close(u.released) })
		} else if lost {
			u.enterAgain(ctx)
		}
		return registerPause, false
	}
	u.heard.Store(time.Now().UnixNano())
	if was := u.fenced.Swap(resp.IsFenced); was != resp.IsFenced {
		u.o.Logger.Info("the controller changed this broker's state", "fenced", resp.IsFenced, "broker_epoch", req.BrokerEpoch)
	}
	if !resp.IsFenced {
		u.once.unfenced.Do(func() { close(u.unfenced) })
	}
	if resp.ShouldShutDown {
		u.once.released.Do(func() { close(u.released) })
	}
	return u.o.HeartbeatInterval, resp.IsFenced || u.stopping() && !resp.ShouldShutDown
}

// enterAgain registers a broker that the controllers have lost, for instance because it was
// unregistered while it was running.
func (u *Uplink) enterAgain(ctx context.Context) bool {
	limit, cancel := context.WithTimeout(ctx, u.o.RequestTimeout)
	defer cancel()
	req := u.o.Registration()
	req.PreviousBrokerEpoch = u.epoch.Load()
	resp, err := request[kmsg.BrokerRegistrationResponse](limit, u.beats, req)
	if err != nil {
		u.o.Logger.Warn("the broker could not be registered again", "err", err)
		return false
	}
	u.epoch.Store(resp.BrokerEpoch)
	u.o.Logger.Info("the broker was registered again", "broker_epoch", resp.BrokerEpoch)
	return true
}

func (u *Uplink) stopping() bool { return isClosed(u.shutdown) }

// mayStop says whether a broker that wants to stop has been let go.
func (u *Uplink) mayStop() bool { return isClosed(u.released) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ErrNoController ends a controlled shutdown that nobody answers.
var ErrNoController = errors.New("no active controller answers")

// silence is for how long a controlled shutdown waits without an answer.
const silence = 2 * time.Second

// Shutdown asks the controller to move the leaders away from this broker, and waits until that is
// done, nobody answers any more, or ctx ends. Run must go on until then.
func (u *Uplink) Shutdown(ctx context.Context) error {
	u.once.shutdown.Do(func() { close(u.shutdown) })
	began := time.Now()
	look := time.NewTicker(silence / 10)
	defer look.Stop()
	for {
		select {
		case <-u.released:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case now := <-look.C:
			if now.Sub(time.Unix(0, max(u.heard.Load(), began.UnixNano()))) > silence {
				return ErrNoController
			}
		}
	}
}

// AllocateProducerIDs reserves a block of producer ids.
func (u *Uplink) AllocateProducerIDs(ctx context.Context) (first int64, count int32, err error) {
	req := kmsg.NewAllocateProducerIdsRequest()
	req.BrokerId, req.BrokerEpoch = u.o.NodeID, u.epoch.Load()
	resp, err := request[kmsg.AllocateProducerIdsResponse](ctx, u.asks, &req)
	if err != nil {
		return 0, 0, err
	}
	return resp.ProducerIdStart, resp.ProducerIdLen, nil
}

// AssignDirs tells the controller which log directories hold which replicas of this broker.
func (u *Uplink) AssignDirs(ctx context.Context, dirs []kmsg.AssignReplicasToDirsRequestDirectoryData) (
	*kmsg.AssignReplicasToDirsResponse, error,
) {
	req := kmsg.NewAssignReplicasToDirsRequest()
	req.BrokerId, req.BrokerEpoch, req.Directories = u.o.NodeID, u.epoch.Load(), dirs
	return request[kmsg.AssignReplicasToDirsResponse](ctx, u.asks, &req)
}

// EnterController registers the controller of this node with the active one, over a connection of its own: one of an
// earlier build does not take it, and would be the last to be asked for other things then.
func (u *Uplink) EnterController(ctx context.Context, req *kmsg.ControllerRegistrationRequest) error {
	_, err := request[kmsg.ControllerRegistrationResponse](ctx, u.enters, req)
	return err
}

// Forward has the active controller serve a client's request; see api.Forwarder.
func (u *Uplink) Forward(ctx context.Context, frame, principal, host []byte) ([]byte, error) {
	req := kmsg.NewEnvelopeRequest()
	req.RequestData, req.RequestPrincipal, req.ClientHostAddress = frame, principal, host
	resp, err := request[peer.EnvelopeResponse](ctx, u.passes, &req)
	if err != nil {
		return nil, err
	}
	if resp.EndOffset >= 0 {
		if err := u.o.AwaitMetadata(ctx, resp.EndOffset); err != nil {
			return nil, err
		}
	}
	return resp.ResponseData, nil
}

// Ask sends any request to the active controller.
func (u *Uplink) Ask(ctx context.Context, req kmsg.Request, resp kmsg.Response) error {
	return u.asks.ask(ctx, req, resp)
}

// Pull sends a fetch of the metadata log to the active controller, over a connection of its own, for the
// answer may take its time.
func (u *Uplink) Pull(ctx context.Context, req kmsg.Request, resp kmsg.Response) error {
	return u.pulls.ask(ctx, req, resp)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// dialer is TCP where nothing else is given.
func (o *Options) dialer() peer.Dialer {
	if o.Dial != nil {
		return o.Dial
	}
	return func(ctx context.Context, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
}
