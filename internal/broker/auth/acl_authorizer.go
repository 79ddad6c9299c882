package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logstead/logstead/internal/cluster/meta"
)

// Authorizer decides as Apache Kafka's StandardAuthorizer does: super users may do everything; what an entry denies is
// denied; what one allows is allowed; and what no entry is about is as the configuration says.
//
// Its methods may be called from any goroutine.
type Authorizer struct {
	o     Options
	super map[Principal]bool
	state atomic.Pointer[state]

	denials, grants atomic.Int64
	log             logLimit
}

// state is the entries as of one image.
type state struct {
	image *meta.Image
	index *Index
}

// Options are what an Authorizer is made for.
type Options struct {
	SuperUsers []Principal
	// AllowWithoutACL is allow.everyone.if.no.acl.found.
	AllowWithoutACL bool
	Logger          *slog.Logger
	Now             func() time.Time
}

// NewAuthorizer knows no entries yet: until Update, only super users may do anything.
func NewAuthorizer(o Options) *Authorizer {
	a := &Authorizer{o: o, super: map[Principal]bool{}}
	for _, p := range o.SuperUsers {
		a.super[p] = true
	}
	return a
}

// Update takes in the entries of an image.
func (a *Authorizer) Update(im *meta.Image) { a.state.Store(&state{im, NewIndex(im)}) }

// Subject is who asks, from where, and by which request.
type Subject struct {
	Principal Principal
	Host      netip.Addr
	Request   string
}

// Authorize decides about an attempt. A refusal is counted, and logged.
func (a *Authorizer) Authorize(s Subject, op Operation, res Resource, name string) bool {
	ok := a.May(s, op, res, name)
	if ok {
		a.grants.Add(1)
		if a.o.Logger.Enabled(context.Background(), slog.LevelDebug) {
			a.o.Logger.Debug(a.line(s, op, res, name, ok))
		}
		return true
	}
	a.denials.Add(1)
	if more, ok := a.log.take(a.o.Now()); ok {
		if more > 0 {
			a.o.Logger.Info("requests denied that are not logged one by one", "count", more)
		}
		a.o.Logger.Info(a.line(s, op, res, name, false))
	}
	return false
}

// May is Authorize for what is only looked at, as where a list is filtered: nothing was attempted.
func (a *Authorizer) May(s Subject, op Operation, res Resource, name string) bool {
	if a.super[s.Principal] {
		return true
	}
	st := a.state.Load()
	if st == nil {
		return false
	}
	return a.allows(st.index.find(s.Principal, s.Host, op, res, name))
}

func (a *Authorizer) allows(found answer) bool {
	return found == allowed || found == noEntry && a.o.AllowWithoutACL
}

// nameOfAny is the name that Kafka asks about where any resource of a type will do, for super users and for clusters that
// allow what no entry is about.
const nameOfAny = "hardcode"

// MayAnywhere says whether the operation is allowed on any resource of a type.
func (a *Authorizer) MayAnywhere(s Subject, op Operation, res Resource) bool {
	if a.May(s, op, res, nameOfAny) {
		return true
	}
	st := a.state.Load()
	return st != nil && st.index.anywhere(s.Principal, s.Host, op, res)
}

// AuthorizedOperations are the operations on a resource that are allowed, as bits by number.
func (a *Authorizer) AuthorizedOperations(s Subject, res Resource, name string) (bits int32) {
	for _, op := range Operations(res) {
		if a.May(s, op, res, name) {
			bits |= 1 << uint(op)
		}
	}
	return bits
}

// Denials is how many attempts were refused since the start.
func (a *Authorizer) Denials() int64 { return a.denials.Load() }

// Grants is how many attempts were allowed since the start.
func (a *Authorizer) Grants() int64 { return a.grants.Load() }

// ACLs is how many entries there are.
func (a *Authorizer) ACLs() int {
	if st := a.state.Load(); st != nil {
		return st.index.Count()
	}
	return 0
}

// line is what Kafka's authorizer log says of a decision.
func (a *Authorizer) line(s Subject, op Operation, res Resource, name string, ok bool) string {
	verdict := "Denied"
	if ok {
		verdict = "Allowed"
	}
	return fmt.Sprintf("Principal = %s is %s operation = %s from host = %s on resource = %s:%s:%s for request = %s based on rule %s",
		s.Principal, verdict, op, s.Host, res.Word(), meta.ACLLiteral, strings.Clone(name), s.Request, a.rule(s, op, res, name))
}

// rule finds the entry that a decision rests on. It looks at all of them: only what is logged asks for it.
func (a *Authorizer) rule(s Subject, op Operation, res Resource, name string) string {
	if a.super[s.Principal] {
		return "SuperUser"
	}
	st := a.state.Load()
	if st == nil {
		return "DefaultDeny (the metadata is not known yet)"
	}
	var allows *meta.ACL
	found := false
	for e := range st.image.ACLs() {
		if !e.Fits(res, name) {
			continue
		}
		found = true
		who, _ := ParsePrincipal(e.Principal)
		if who != s.Principal && who != everybody || e.Host != meta.ACLWildcard && !sameHost(e.Host, s.Host) {
			continue
		}
		switch bits := bit(e.Operation); {
		case e.PermissionType == meta.ACLDeny && bits&(bit(op)|bit(meta.ACLAll)) != 0:
			return "MatchingAcl(acl=" + e.String() + ")"
		case e.PermissionType == meta.ACLAllow && bits&given(op) != 0:
			allows = e
		}
	}
	switch {
	case allows != nil:
		return "MatchingAcl(acl=" + allows.String() + ")"
	case !found && a.o.AllowWithoutACL:
		return "DefaultAllow"
	}
	return "DefaultDeny"
}

// sameHost says whether the host of an entry is an address, however it is written.
func sameHost(of string, host netip.Addr) bool {
	addr, err := netip.ParseAddr(of)
	return err == nil && addr.Unmap() == host
}

// logLimit bounds the lines about refusals: a client that is refused often asks often.
type logLimit struct {
	mu     sync.Mutex
	second time.Time
	lines  int
	passed int64
}

// linesASecond is how many refusals are logged in a second; the others are counted.
const linesASecond = 20

// take says whether a line may be logged, and how many were not since the last.
func (l *logLimit) take(now time.Time) (passed int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines++; l.lines > linesASecond {
		l.passed++
		return 0, false
	}
	passed, l.passed = l.passed, 0
	return passed, true
}
