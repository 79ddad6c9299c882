package parity

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Run is one execution of a script against one broker. Names made by it are unique, so that a
// shared broker can be asked.
type Run struct {
	Addr    string
	Version int16 // of the request that is being made
	prefix  string
	// settle is how long to wait between steps, for a broker whose answers lag behind its changes.
	settle time.Duration
}

// NewRun begins an execution.
func NewRun(addr string) *Run {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return &Run{Addr: addr, prefix: "par" + hex.EncodeToString(b[:])}
}

// Name is a name that no other run uses, the same for every version.
func (r *Run) Name(s string) string { return r.prefix + "x-" + s }

// Fresh is a name that no other run and no other version uses.
func (r *Run) Fresh(s string) string { return fmt.Sprintf("%sv%d-%s", r.prefix, r.Version, s) }

var runPrefix = regexp.MustCompile(`par[0-9a-f]{8}(x|v\d+)-`)

// Step is one request of a script.
type Step struct {
	Name string
	// From and To limit the versions; both 0 means all that the API has. To -1 is From alone.
	From, To int16
	Req      func(*Run) kmsg.Request
	// Keep shortens the answer to what this run may know, since others use the same broker.
	Keep func(*Run, kmsg.Response)
}

// Script is a sequence of steps and what to prepare before.
type Script struct {
	Name  string
	Setup func(*Run) error
	Steps []Step
}

// Execute runs a script and returns its record. A broker that answers a change before all of it
// knows the change needs time to settle between steps.
func Execute(s Script, addr string, settle time.Duration) (string, error) {
	r := NewRun(addr)
	r.settle = settle
	c, err := Dial(addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if s.Setup != nil {
		if err := s.Setup(r); err != nil {
			return "", fmt.Errorf("set up %s: %w", s.Name, err)
		}
	}
	var b strings.Builder
	for _, st := range s.Steps {
		time.Sleep(r.settle)
		executeStep(&b, r, c, st)
	}
	return b.String(), nil
}

func executeStep(b *strings.Builder, r *Run, c *Client, st Step) {
	probe := st.Req(r)
	api := kmsg.ByKey(probe.Key())
	from, to := api.Min, api.Max
	if st.From != 0 || st.To != 0 {
		from, to = st.From, st.To
	}
	if to < from {
		to = from
	}
	last, first := "", from
	flush := func(next int16) {
		if last != "" {
			fmt.Fprintf(b, "== %s: %s v%d-%d\n%s\n", st.Name, api.Name, first, next-1, last)
		}
	}
	for v := from; v <= to; v++ {
		r.Version = v
		got := answer(r, c, st)
		if got != last {
			flush(v)
			first, last = v, got
		}
	}
	flush(to + 1)
}

func answer(r *Run, c *Client, st Step) string {
	resp, err := c.Do(st.Req(r), r.Version)
	if err != nil {
		return "connection closed\n"
	}
	if st.Keep != nil {
		st.Keep(r, resp)
	}
	return runPrefix.ReplaceAllString(Dump(resp), "RUN-")
}
