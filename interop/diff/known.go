package main

import "regexp"

// knownDifference is a difference to Apache Kafka that is meant.
type knownDifference struct {
	// scenario, step and path are regular expressions that must match whole.
	scenario, step, path string
	reason               string
}

// known is the whole list. A row that matches nothing in a full run fails it.
var known = []knownDifference{}

func knownReason(d difference) string {
	for _, k := range known {
		if matches(k.scenario, d.scenario) && matches(k.step, d.step) && matches(k.path, d.path) {
			return k.reason
		}
	}
	return ""
}

func matches(pattern, s string) bool {
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString(s)
}
