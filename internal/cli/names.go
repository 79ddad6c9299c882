package cli

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// isGlob says whether a name is a pattern; no legal topic name holds these characters.
func isGlob(s string) bool { return strings.ContainsAny(s, "*?[") }

// matcher returns a predicate for a name, a glob or, when regex is set, a regular expression over the
// whole name.
func matcher(pattern string, regex bool) (func(string) bool, error) {
	if regex {
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return nil, usagef("regular expression %q: %v", pattern, err)
		}
		return re.MatchString, nil
	}
	if !isGlob(pattern) {
		return func(s string) bool { return s == pattern }, nil
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, usagef("pattern %q: %v", pattern, err)
	}
	return func(s string) bool { ok, _ := path.Match(pattern, s); return ok }, nil
}

// pickNames selects from all the names that args ask for. A literal name that is absent is reported
// in missing; a pattern that matches nothing is too.
func pickNames(all, args []string, regex bool) (picked, missing []string, err error) {
	seen := map[string]bool{}
	for _, arg := range args {
		match, err := matcher(arg, regex)
		if err != nil {
			return nil, nil, err
		}
		found := false
		for _, n := range all {
			if match(n) {
				found = true
				if !seen[n] {
					seen[n] = true
					picked = append(picked, n)
				}
			}
		}
		if !found {
			missing = append(missing, arg)
		}
	}
	sort.Strings(picked)
	return picked, missing, nil
}

// topics returns the metadata of the topics that args select. Patterns skip internal topics unless
// they begin with an underscore. A name that is absent is an error, with the nearest ones.
func (c *conn) topics(args []string, regex bool) (kadm.TopicDetails, error) {
	all, err := call(c, "cannot list topics", func(ctx context.Context) (kadm.TopicDetails, error) {
		return c.ListTopicsWithInternal(ctx)
	})
	if err != nil {
		return nil, err
	}
	var visible []string
	for _, d := range all.Sorted() {
		wantsInternal := slices.ContainsFunc(args, func(p string) bool {
			return p == d.Topic ||
				strings.HasPrefix(p, "_")
		})
		if !d.IsInternal || wantsInternal {
			visible = append(visible, d.Topic)
		}
	}
	names, missing, err := pickNames(visible, args, regex)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, noSuchTopic(missing[0], all.Names(), regex || isGlob(missing[0]))
	}
	out := kadm.TopicDetails{}
	for _, n := range names {
		out[n] = all[n]
	}
	return out, nil
}

func noSuchTopic(name string, all []string, pattern bool) error {
	if pattern {
		return (&Fault{What: fmt.Sprintf("no topic matches %q", name), Exit: exitNotFound}).try("logstead topic list")
	}
	f := &Fault{What: fmt.Sprintf("topic %q does not exist", name), Why: "UNKNOWN_TOPIC_OR_PARTITION (3)",
		Exit: exitNotFound, Kafka: 3, Similar: similar(name, all)}
	if len(f.Similar) > 0 {
		return f.try("logstead topic list")
	}
	return f.try("logstead topic create %s", shellQuote(name))
}

// parsePartitions reads "0,2,5-8". An empty string is nil: all of them.
func parsePartitions(s string) ([]int32, error) {
	var out []int32
	for _, part := range splitList(s) {
		lo, hi, ranged := strings.Cut(part, "-")
		from, err := parsePartition(lo)
		if err != nil {
			return nil, usagef("partitions %q: %v", s, err)
		}
		to := from
		if ranged {
			if to, err = parsePartition(hi); err != nil {
				return nil, usagef("partitions %q: %v", s, err)
			}
		}
		if to < from || to-from > 1_000_000 {
			return nil, usagef("partitions %q: %s is not a range", s, part)
		}
		for p := from; p <= to; p++ {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func parsePartition(s string) (int32, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a partition number", s)
	}
	return int32(n), nil
}

// checkPartitions makes sure that each wanted partition exists in the topic, and returns all of them
// when none is wanted in particular.
func checkPartitions(d kadm.TopicDetail, want []int32) ([]int32, error) {
	have := d.Partitions.Numbers()
	if want == nil {
		return have, nil
	}
	for _, p := range want {
		if !slices.Contains(have, p) {
			return nil, &Fault{What: fmt.Sprintf("topic %q has no partition %d", d.Topic, p), Exit: exitNotFound,
				Kafka: 3,
				Why:   fmt.Sprintf("UNKNOWN_TOPIC_OR_PARTITION (3): it has partitions 0 to %d", len(have)-1)}
		}
	}
	return want, nil
}
