package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scenario is a list of steps that build on each other. Scenarios do not: each makes its own topics and groups.
type scenario struct {
	name  string
	steps []step
}

// gated says whether a scenario needs the listener at which clients log in by hand.
func (s *scenario) gated() bool {
	return slices.ContainsFunc(s.steps, func(st step) bool { return st.gate })
}

// step is one exchange.
type step struct {
	name string
	// req builds the request from what earlier steps kept; version is what it is sent at.
	req     func(v *vars) kmsg.Request
	version int16
	// raw, in place of req, gives the bytes of a frame; answerTo says how its answer reads, without one none is due.
	raw      func(v *vars) []byte
	answerTo kmsg.Request
	// keep remembers something of the answer for later steps.
	keep func(v *vars, r kmsg.Response)
	// conn names the connection, "" being the scenario's first; client is the client id, "diff" when empty.
	conn, client string
	// quiet steps set the scene and are not compared. They are asked again until no error is left in the answer.
	quiet bool
	// settle asks again while the answer holds a retriable error, for what happens soon after the request before.
	settle bool
	// until, when set, asks again until it holds, for what becomes true at a time that nobody promises.
	until func(r kmsg.Response) bool
	// untilWith is until for what depends on the scenario's nodes.
	untilWith func(v *vars, r kmsg.Response) bool
	// start sends without waiting; the step with the same name and await set takes the answer.
	start, await bool
	// silent requests get no answer by the protocol; the next step shows that the connection lives.
	silent bool
	// past sends the request to another node than the one it belongs to, so many ids further.
	past int
	// once takes the first answer even if it says that this is not the coordinator.
	once bool
	// firm takes the errors that another step would wait out, see stumbles.
	firm bool
	// placed answers show where the broker itself put something: who leads is not compared, how many replicas is.
	placed bool
	// act, in place of a request, does something to the nodes, see halt.go.
	act func(ctx context.Context, p *player) error
	// login sends the request over a connection on which a user has logged in, see s_acl.go.
	login bool
	// gate sends it to the listener at which clients log in by hand; words has messages compared as they are.
	gate, words bool
	// bare answers are what the other side's mechanism says, without correlation id and header.
	bare bool
	// blank takes out of the answer what cannot be the same on both sides, and may keep it.
	blank func(v *vars, r kmsg.Response)
	// own has a list of groups compared where they begin with this name: members of others are thrown out meanwhile.
	own string
}

// vars is what a scenario knows while it is played.
type vars struct {
	// prefix starts the names of everything that the run makes.
	prefix string
	kept   map[string]any
	ranges map[int16]versions
	// nodes is how many there are; home is the one that leads what the scenario makes, on so many replicas.
	nodes, home, replication int
}

// name makes a name of this run.
func (v *vars) name(s string) string { return v.prefix + "-" + s }

func (v *vars) str(key string) string {
	s, _ := v.kept[key].(string)
	return s
}

func (v *vars) i64(key string) int64 {
	switch n := v.kept[key].(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case int16:
		return int64(n)
	}
	return 0
}

func (v *vars) id(key string) [16]byte {
	id, _ := v.kept[key].([16]byte)
	return id
}

// versions is the range that a broker serves of an API.
type versions struct{ min, max int16 }

// versionRanges asks a broker what it serves.
func versionRanges(addr string) (map[int16]versions, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.c.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	if err := c.send(c.frame(req, "diff")); err != nil {
		return nil, err
	}
	b, err := c.receive()
	if err != nil {
		return nil, err
	}
	resp, _, err := c.decode(req, b)
	if err != nil {
		return nil, err
	}
	out := map[int16]versions{}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		r := versions{k.MinVersion, k.MaxVersion}
		if known := kmsg.RequestForKey(k.ApiKey); known != nil {
			r.max = min(r.max, known.MaxVersion())
		}
		out[k.ApiKey] = r
	}
	// Produce is advertised from 0 for the sake of old clients, and served from 3.
	out[0] = versions{3, out[0].max}
	return out, nil
}

// exchange is a step's entry in a transcript.
type exchange struct {
	Scenario, Step string
	// Answer is the normal form, or "closed", "silence" or another string that says how no answer came.
	Answer any
}

type transcript []exchange

// player plays scenarios to one broker.
type player struct {
	sys   *system
	vars  *vars
	conns map[string]*conn
	norm  *normalizer
	// coordinator is the node of the coordinator that was asked last.
	coordinator int
	out         transcript
	// pending are the requests that steps have started, by the steps' names.
	pending map[string]*pending
}

// pending is a request whose answer a later step takes.
type pending struct {
	req  kmsg.Request
	c    *conn
	conn string
}

// play plays those of the scenarios that only names, or all without it.
func play(ctx context.Context, sys *system, prefix string, ranges map[int16]versions, all []scenario, only map[string]bool) transcript {
	var out transcript
	for i, s := range all {
		if ctx.Err() != nil {
			break
		}
		if only != nil && !only[s.name] || s.gated() && sys.gate == "" {
			continue
		}
		p := newPlayer(sys, prefix, ranges, s.name, i)
		for _, st := range expand(s.steps, ranges) {
			p.step(ctx, s.name, st)
		}
		p.close()
		out = append(out, p.out...)
	}
	return out
}

func newPlayer(sys *system, prefix string, ranges map[int16]versions, scenario string, i int) *player {
	v := &vars{prefix: prefix, kept: map[string]any{}, ranges: ranges, nodes: len(sys.addrs), home: i%len(sys.addrs) + 1, replication: 3}
	if home := homes[scenario]; home != 0 {
		v.home = home
	}
	if lone[scenario] {
		v.replication = 1
	}
	n := newNormalizer(prefix)
	n.several = v.nodes > 1
	return &player{sys: sys, conns: map[string]*conn{}, norm: n, pending: map[string]*pending{}, vars: v, coordinator: v.home}
}

func (p *player) close() {
	for _, c := range p.conns {
		c.c.Close()
	}
}

// The versions below stand for what the reference's ranges say, see expand.
const (
	low  int16 = -1 - iota // the lowest version
	high                   // the highest version
	each                   // a step for every version
	ends                   // a step each for the lowest and the highest
)

// expand makes steps of the symbolic versions.
func expand(steps []step, ranges map[int16]versions) []step {
	var out []step
	for _, st := range steps {
		if st.version >= 0 || st.req == nil {
			out = append(out, st)
			continue
		}
		r := ranges[st.req(&vars{prefix: "p", kept: map[string]any{}, ranges: ranges, nodes: 1, home: 1}).Key()]
		all := map[int16][]int16{low: {r.min}, high: {r.max}, ends: {r.min, r.max}}[st.version]
		if st.version == each {
			for v := r.min; v <= r.max; v++ {
				all = append(all, v)
			}
		}
		for _, v := range slices.Compact(all) {
			at := st
			at.version = v
			if len(all) > 1 || st.version == low || st.version == high {
				at.name = fmt.Sprintf("%s v%d", st.name, v)
			}
			out = append(out, at)
		}
	}
	return out
}

// step plays one step and writes down the answer.
func (p *player) step(ctx context.Context, scenario string, st step) {
	defer time.AfterFunc(slowStep, func() {
		fmt.Fprintf(os.Stderr, "%s: %s | %s: takes longer than %v\n", p.sys.addrs[0], scenario, st.name, slowStep)
	}).Stop()
	if st.act != nil {
		if err := st.act(ctx, p); err != nil {
			p.out = append(p.out, exchange{scenario, st.name, "could not be set up: " + err.Error()})
		}
		return
	}
	limit := time.Now().Add(settleLimit)
	for {
		answer, resp := p.ask(ctx, st)
		waits := resp != nil && !st.start && !st.await && p.early(st, resp)
		if waits && time.Now().Before(limit) && ctx.Err() == nil {
			time.Sleep(30 * time.Millisecond)
			continue
		}
		if resp != nil && st.keep != nil {
			st.keep(p.vars, resp)
		}
		if !st.quiet && !st.start {
			p.out = append(p.out, exchange{scenario, st.name, answer})
		} else if st.quiet && (resp == nil || waits || hasError(resp, nil)) {
			p.out = append(p.out, exchange{scenario, st.name, fmt.Sprintf("could not be set up: %v", answer)})
		}
		return
	}
}

// settleLimit is how long a step is asked again; what it waits for comes within milliseconds on an idle machine.
const settleLimit = 2 * time.Minute

// slowStep is when a step is worth a line: nothing is seen of it otherwise.
const slowStep = 10 * time.Second

// early says whether an answer is of a moment that passes, so that the step is to be asked again.
func (p *player) early(st step, resp kmsg.Response) bool {
	switch {
	case st.until != nil && !st.until(resp), st.untilWith != nil && !st.untilWith(p.vars, resp):
		return true
	case st.past == 0 && !st.once && hasError(resp, coordinatorErrors):
		return true
	case !st.firm && hasError(resp, stumbles):
		return true
	case st.settle && hasError(resp, passingErrors):
		return true
	}
	return st.quiet && hasError(resp, nil)
}

// ask sends the request and returns the answer in normal form, with the response when there is one.
func (p *player) ask(ctx context.Context, st step) (any, kmsg.Response) {
	if st.await {
		w := p.pending[st.name]
		if w == nil {
			return "nothing was started", nil
		}
		delete(p.pending, st.name)
		return p.receive(w.req, w.c, w.conn, st)
	}
	req, node := st.answerTo, p.vars.home
	if st.raw == nil {
		req = st.req(p.vars)
		req.SetVersion(st.version)
		node = p.nodeOf(req)
	}
	node = (node-1+st.past)%p.vars.nodes + 1
	name := fmt.Sprint(st.conn, "@", node, " ", st.login, st.gate)
	c := p.conns[name]
	if c == nil {
		var err error
		if st.gate {
			c, err = dial(p.sys.gate)
		} else {
			c, err = p.connect(node, st.login)
		}
		if err != nil {
			return "no connection: " + err.Error(), nil
		}
		p.conns[name] = c
	}
	if err := c.send(p.frame(c, req, st)); err != nil {
		return p.broken(name, err), nil
	}
	if st.start {
		p.pending[st.name] = &pending{req, c, name}
		return nil, nil
	}
	if st.silent {
		return "sent", nil
	}
	answer, resp := p.receive(req, c, name, st)
	if p.vars.nodes > 1 && st.raw == nil && decides(req) {
		if err := p.sys.caughtUp(ctx, p.vars.prefix); err != nil {
			return "the nodes do not agree afterwards: " + err.Error(), nil
		}
	}
	return answer, resp
}

// connect opens a connection to a node, with or without a login.
func (p *player) connect(node int, as bool) (*conn, error) {
	if !as {
		return dial(p.sys.addrs[node-1])
	}
	c, err := dial(p.sys.login)
	if err != nil {
		return nil, err
	}
	if err := login(c); err != nil {
		c.c.Close()
		return nil, err
	}
	return c, nil
}

// frame is what a step sends.
func (p *player) frame(c *conn, req kmsg.Request, st step) []byte {
	if st.raw != nil {
		c.corr++
		return st.raw(p.vars)
	}
	client := st.client
	if client == "" {
		client = "diff"
	}
	return c.frame(req, client)
}

// receive takes one answer. Where a frame gets none by its nature, the connection's end is the answer.
func (p *player) receive(req kmsg.Request, c *conn, name string, st step) (any, kmsg.Response) {
	if st.bare {
		b, err := c.receiveAny()
		if err != nil {
			return p.broken(name, err), nil
		}
		return fmt.Sprintf("token %q", b), nil
	}
	b, err := c.receive()
	if err != nil {
		return p.broken(name, err), nil
	}
	if req == nil {
		return fmt.Sprintf("%d bytes", len(b)), nil
	}
	resp, exact, err := c.decode(req, b)
	if err != nil {
		return "not readable: " + err.Error(), nil
	}
	if groups, ok := resp.(*kmsg.ListGroupsResponse); ok && st.own != "" {
		groups.Groups = slices.DeleteFunc(groups.Groups, func(g kmsg.ListGroupsResponseGroup) bool {
			return !strings.HasPrefix(g.Group, p.vars.name(st.own))
		})
	}
	sortACLs(resp)
	if st.blank != nil {
		st.blank(p.vars, resp)
	}
	p.norm.placed, p.norm.words = st.placed && p.vars.nodes > 1, st.words
	answer := p.norm.response(resp)
	if !exact {
		answer["(bytes)"] = "not as the fields are written"
	}
	return answer, resp
}

// broken forgets a connection and says how it ended.
func (p *player) broken(name string, err error) string {
	p.conns[name].c.Close()
	delete(p.conns, name)
	var ne net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "no answer in time"
	}
	return "broken: " + err.Error()
}

var (
	// coordinatorErrors pass once a coordinator is there; every step waits for that.
	coordinatorErrors = []int16{kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code}
	// stumbles are answers of brokers that have not found each other or their controller again, or not loaded what they
	// are asked for: a busy machine brings them about at any time.
	stumbles = []int16{kerr.NetworkException.Code, kerr.CoordinatorLoadInProgress.Code, kerr.NotEnoughReplicas.Code, kerr.NotController.Code}
	// passingErrors are what a broker answers while it is still at what it was asked before.
	passingErrors = []int16{
		kerr.ConcurrentTransactions.Code, kerr.LeaderNotAvailable.Code, kerr.NotLeaderForPartition.Code,
		kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code, kerr.NotEnoughReplicas.Code,
		kerr.RebalanceInProgress.Code, kerr.UnstableOffsetCommit.Code,
	}
)

// hasError says whether any error code in the response is one of codes, or with none given, any but none.
func hasError(r kmsg.Response, codes []int16) bool {
	return findError(reflect.ValueOf(r), codes)
}

func findError(v reflect.Value, codes []int16) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && findError(v.Elem(), codes)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			return false
		}
		for i := range v.Len() {
			if findError(v.Index(i), codes) {
				return true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, f := v.Type().Field(i).Name, v.Field(i)
			if strings.HasSuffix(name, "ErrorCode") && f.Kind() == reflect.Int16 {
				code := int16(f.Int())
				if code != 0 && (codes == nil || slices.Contains(codes, code)) {
					return true
				}
				continue
			}
			if v.Type().Field(i).IsExported() && findError(f, codes) {
				return true
			}
		}
	}
	return false
}
