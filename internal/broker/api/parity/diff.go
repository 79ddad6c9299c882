package parity

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// answers are a record's dumps by step and version.
type answers map[string]string

var stepHead = regexp.MustCompile(`^== (.*): (\w+) v(\d+)-(\d+)$`)

func parse(record string) (a answers, order []string) {
	a = answers{}
	var keys []string
	for _, line := range strings.Split(record, "\n") {
		m := stepHead.FindStringSubmatch(line)
		if m == nil {
			for _, k := range keys {
				a[k] += line + "\n"
			}
			continue
		}
		from, _ := strconv.Atoi(m[3]) // the pattern has only digits
		to, _ := strconv.Atoi(m[4])
		keys = nil
		for v := from; v <= to; v++ {
			k := fmt.Sprintf("%s: %s v%d", m[1], m[2], v)
			keys = append(keys, k)
			order = append(order, k)
		}
	}
	for k := range a {
		a[k] = strings.TrimSpace(a[k])
	}
	return a, order
}

// Differences lists where a record differs from what is wanted, versions with the same difference
// together.
func Differences(want, got string) []string {
	w, order := parse(want)
	g, _ := parse(got)
	var out []string
	last := ""
	for _, k := range order {
		if w[k] == g[k] {
			last = ""
			continue
		}
		text := fmt.Sprintf("want %s\n     got  %s", without(w[k], g[k]), without(g[k], w[k]))
		if text != last {
			out = append(out, k+"\n     "+text)
		}
		last = text
	}
	for k := range g {
		if _, ok := w[k]; !ok {
			out = append(out, k+": not in the record")
		}
	}
	return out
}

// shownLines bounds how much of a difference is told.
const shownLines = 4

// without is a without the lines that are also in b; of one line that is all of it.
func without(a, b string) string {
	there := map[string]bool{}
	for _, line := range strings.Split(b, "\n") {
		there[line] = true
	}
	lines := strings.Split(a, "\n")
	rest := slices.DeleteFunc(lines, func(line string) bool { return there[line] })
	if n := len(rest); n > shownLines {
		rest = append(rest[:shownLines], fmt.Sprintf("and %d lines more", n-shownLines))
	}
	return strings.Join(rest, "\n          ")
}
