package group

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// regexPause is the shortest time between two look-ups of a group's regular expressions: each reads
// the names of all topics.
const regexPause = 10 * time.Second

// compileRegex compiles a subscription, which must match a whole topic name. Go's syntax is RE2's,
// which is what the protocol asks for.
func compileRegex(s string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(s); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + s + `)\z`)
}

func checkRegex(s string) *failure {
	_, err := compileRegex(s)
	if err == nil {
		return nil
	}
	reason := err.Error()
	if se := (*syntax.Error)(nil); errors.As(err, &se) {
		reason = se.Code.String()
	}
	return failf(kerr.InvalidRegularExpression, "%q is not a regular expression in RE2 syntax: %s", s, reason)
}

// updateRegex records a change of the member's regular expression, and has the group's expressions
// looked up again if that is due. Topics come in later, by a timer: a look-up reads every topic name
// and may raise the group's epoch by itself.
func (m *Machine) updateRegex(ch *change, out *output) (changed bool, f *failure) {
	g, was, is := ch.group, ch.old.regex, ch.member.regex
	due := false
	if was != is {
		if was != "" && g.regexSubs[was] == 1 {
			out.dropRegex(g.id, was)
		}
		switch {
		case is == "":
			ch.resolved = was != ""
		case g.regexSubs[is] > 0:
			ch.resolved = g.regexes[is] != nil
		default:
			if f := checkRegex(is); f != nil {
				return false, f
			}
			due = true
		}
	}
	m.maybeResolve(ch, due)
	return was != is, nil
}

// maybeResolve sets the timer for a look-up if one is due and none was made just now.
func (m *Machine) maybeResolve(ch *change, due bool) {
	g := ch.group
	key := timerKey{timerRegex, g.id, ""}
	if !due && len(g.regexSubs) == 0 || m.timers.has(key) {
		return
	}
	at, version, looked := g.lastLookup()
	if looked && m.now.Sub(at) <= regexPause {
		return
	}
	subs := map[string]int{}
	g.swap([]*consumerMember{ch.old}, ch.member, func() {
		for regex, n := range g.regexSubs {
			subs[regex] = n
		}
	})
	due = due || len(subs) != len(g.regexes) || version < m.topics.Version() ||
		m.now.Sub(at) > m.opts.Config.ConsumerRegexRefresh
	if due && len(subs) > 0 {
		m.timers.set(timer{key: key, at: m.now, ctx: ch.ctx})
	}
}

// lastLookup says when the group's expressions were looked up, and in which topics.
func (g *consumerGroup) lastLookup() (at time.Time, version int64, looked bool) {
	var last *resolvedRegex
	for _, r := range g.regexes {
		if last == nil || r.at > last.at || r.at == last.at && r.version > last.version {
			last = r
		}
	}
	if last == nil {
		return time.Time{}, 0, false
	}
	return time.UnixMilli(last.at), last.version, true
}

// resolveRegexes looks up what a group's regular expressions stand for, as far as the member that
// caused it may see topics.
func (m *Machine) resolveRegexes(t *timer, out *output) {
	g := m.consumer(t.key.group)
	if g == nil || len(g.regexSubs) == 0 {
		return
	}
	found := m.lookup(sortedKeys(g.regexSubs), t.ctx)
	changed := false
	for _, regex := range sortedKeys(found) {
		r := found[regex]
		old := g.regexes[regex]
		if old == nil && len(r.topics) > 0 || old != nil && !slices.Equal(old.topics, r.topics) {
			changed = true
		}
		out.putRegex(g.id, regex, r)
	}
	hash := metadataHash(g.namesWith(found), m.topics)
	if changed || hash != g.hash {
		out.putEpoch(g.id, g.epoch+1, hash)
		m.opts.Events.rebalance(g.id, "topics that match a regular expression changed")
		g.checked, g.checkedAt, g.checkedEpoch = true, m.topics.Version(), g.epoch+1
	}
}

// namesWith are the subscribed topics as they will be once found has replaced what was known.
func (g *consumerGroup) namesWith(found map[string]*resolvedRegex) []string {
	for regex, r := range found {
		g.countRegex(g.regexes[regex], -1)
		g.countRegex(r, +1)
	}
	names := g.topicNames()
	for regex, r := range found {
		g.countRegex(r, -1)
		g.countRegex(g.regexes[regex], +1)
	}
	return names
}

func (m *Machine) lookup(regexes []string, c Context) map[string]*resolvedRegex {
	found := make(map[string]*resolvedRegex, len(regexes))
	compiled := make(map[string]*regexp.Regexp, len(regexes))
	for _, s := range regexes {
		found[s] = &resolvedRegex{version: m.topics.Version(), at: m.nowMs()}
		if re, err := compileRegex(s); err == nil { // else it was written by someone else; it matches nothing
			compiled[s] = re
		}
	}
	for name := range m.topics.Names() {
		for s, re := range compiled {
			if re.MatchString(name) && (c.CanDescribe == nil || c.CanDescribe(name)) {
				found[s].topics = append(found[s].topics, name)
			}
		}
	}
	for _, r := range found {
		slices.Sort(r.topics)
	}
	return found
}
