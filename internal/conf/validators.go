package conf

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validator is a rule on a parsed value, and its description for the documentation.
type validator struct {
	valid string
	fn    func(Value) error
}

var anyValue = validator{}

func (v Value) number() float64 {
	if v.typ == Double {
		return v.float
	}
	return float64(v.num)
}

func atLeast(low float64) validator {
	text := strconv.FormatFloat(low, 'f', -1, 64)
	return validator{"[" + text + ",...]", func(v Value) error {
		if v.number() < low {
			return ruleError("Value must be at least " + text)
		}
		return nil
	}}
}

func between(low, high float64) validator {
	top := strconv.FormatFloat(high, 'f', -1, 64)
	least := atLeast(low)
	return validator{strings.TrimSuffix(least.valid, "]") + "," + top + "]", func(v Value) error {
		if v.number() > high {
			return ruleError("Value must be no more than " + top)
		}
		return least.fn(v)
	}}
}

func oneOf(allowed ...string) validator {
	return validator{"[" + strings.Join(allowed, ", ") + "]", func(v Value) error {
		if !slices.Contains(allowed, v.str) {
			return ruleError("String must be one of: " + strings.Join(allowed, ", "))
		}
		return nil
	}}
}

// oneOfFold is oneOf without regard to case.
func oneOfFold(allowed ...string) validator {
	exact := oneOf(allowed...)
	return validator{exact.valid, func(v Value) error {
		v.str = strings.ToLower(v.str)
		return exact.fn(v)
	}}
}

var nonEmpty = validator{"non-empty string", func(v Value) error {
	if v.str == "" {
		return ruleError("String must be non-empty")
	}
	return nil
}}

// distinct allows any list whose elements differ and are not empty.
var distinct = validator{"", func(v Value) error {
	for i, s := range v.list {
		if s == "" {
			return ruleError("List elements must not be empty")
		}
		if slices.Contains(v.list[:i], s) {
			return ruleError("List elements must not be duplicated, but " + s + " is")
		}
	}
	return nil
}}

// distinctNonEmpty is distinct with at least one element.
var distinctNonEmpty = validator{"non-empty list", func(v Value) error {
	if len(v.list) == 0 {
		return ruleError("List must not be empty")
	}
	return distinct.fn(v)
}}

// listOf allows lists of the given elements, the empty list too.
func listOf(allowed ...string) validator {
	return validator{"[" + strings.Join(allowed, ", ") + "]", func(v Value) error {
		if err := distinct.fn(v); err != nil {
			return err
		}
		for _, s := range v.list {
			if !slices.Contains(allowed, s) {
				return ruleError("List elements must be among: " + strings.Join(allowed, ", "))
			}
		}
		return nil
	}}
}

// someOf is listOf with at least one element.
func someOf(allowed ...string) validator {
	list := listOf(allowed...)
	return validator{list.valid, func(v Value) error {
		if err := distinctNonEmpty.fn(v); err != nil {
			return err
		}
		return list.fn(v)
	}}
}

var gzipLevel = validator{"[1,...,9] or -1", func(v Value) error {
	if v.num != -1 && (v.num < 1 || v.num > 9) {
		return ruleError("Value must be between 1 and 9 or equal to -1")
	}
	return nil
}}

var throttledPair = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

var throttledReplicas = validator{"partition:broker,... or *", func(v Value) error {
	if len(v.list) == 1 && (v.list[0] == "*" || v.list[0] == "none") {
		return nil
	}
	for _, s := range v.list {
		if !throttledPair.MatchString(s) {
			return ruleError("Must be the literal '*' or a list of replicas in the form partition:broker,...")
		}
	}
	return nil
}}

var isoDuration = regexp.MustCompile(`^(?i)[-+]?P(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?$`)

var shareOffsetReset = validator{"[latest, earliest, by_duration:PnDTnHnMn.nS]", func(v Value) error {
	if v.str == "latest" || v.str == "earliest" {
		return nil
	}
	d, ok := strings.CutPrefix(v.str, "by_duration:")
	if ok && isoDuration.MatchString(d) && strings.ContainsAny(d, "0123456789") && !strings.HasPrefix(d, "-") {
		return nil
	}
	return ruleError("Must be latest, earliest or by_duration:PnDTnHnMn.nS")
}}

var quorumVoters = validator{"id@host:port,...", func(v Value) error {
	for _, s := range v.list {
		id, address, ok := strings.Cut(s, "@")
		if n, err := strconv.Atoi(id); !ok || err != nil || n < 0 {
			return ruleError(fmt.Sprintf("Each entry must be id@host:port, but %q is not", s))
		}
		if _, _, err := splitHostPort(address); err != nil {
			return ruleError(err.Error())
		}
	}
	return distinct.fn(v)
}}

// jaasText is read only to be checked: an error in it is for who sets it.
var jaasText = validator{"login modules", func(v Value) error {
	if v.str == "" {
		return nil
	}
	_, err := ParseJAAS(v.str)
	return err
}}

var quorumServers = validator{"host:port,...", func(v Value) error {
	for _, s := range v.list {
		if _, _, err := splitHostPort(s); err != nil {
			return ruleError(err.Error())
		}
	}
	return distinct.fn(v)
}}

// validPattern reports whether a client metrics pattern is a regular expression we can run.
func validPattern(pattern string) bool {
	_, err := regexp.Compile(strings.TrimSpace(pattern))
	return err == nil
}
