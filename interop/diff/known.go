package main

import "regexp"

// knownDifference is a difference to Apache Kafka that is meant.
type knownDifference struct {
	// scenario, step and path are regular expressions that must match whole; so are a and b, Kafka's value and
	// logstead's, where they are given.
	scenario, step, path, a, b string
	// nodes is 1 for what is so with one node only, and 3 for what needs several.
	nodes int
	// authorizer is for what is so with -authorizer only.
	authorizer bool
	reason     string
}

// holds says whether a row speaks of so many nodes.
func (k knownDifference) holds(nodes int) bool {
	return k.nodes == 0 || (k.nodes > 1) == (nodes > 1)
}

// known is the whole list. A row that matches nothing in a full run fails it.
var known = []knownDifference{
	{
		path: `/ApiKeys/(76|77|78|79|83|84|85|86|87|88|89|90|91|92)`, b: absent,
		reason: "share groups and streams groups are not there yet, so their APIs are not advertised",
	},
	{
		path: `/(Supported|Finalized)Features/(share|streams)\.version`, b: absent,
		reason: "share groups and streams groups are not there yet, so their features are not advertised",
	},
	{
		path: `.*/Configs/logstead\..*`, a: absent,
		reason: "logstead has topic configs of its own",
	},
	{
		path: `.*ErrorMessage`, a: "null", b: `"text"`,
		reason: "logstead says what was wrong where Kafka gives a code alone",
	},
	{
		scenario: "acl-requests", step: "create (a match|any) .*", path: `.*ErrorCode`, a: "-1", b: "42", authorizer: true,
		reason: "an entry that only a filter could be is an invalid request, not an unknown server error",
	},
	{
		scenario: "metadata", step: "auto creation.*", path: `/Topics/.*`, a: `3|null|"zero id"`,
		reason: "a topic created by asking for it is there in the first answer, not in the one after",
	},
	{
		scenario: "incremental-alter-configs", step: "an operation that is none.*", path: `.*ErrorCode`, a: "-1", b: "42",
		reason: "an unknown operation is an invalid request, not an unknown server error",
	},
	{
		scenario: "describe-configs", step: "broker 1.*", path: `.*/node\.id/ConfigSynonyms/node\.id#2`, a: absent,
		reason: "node.id has a default here, so that one node needs no settings",
	},
	{
		scenario: "produce-errors", step: "the same partition twice.*", path: `/Topics/.*`,
		reason: "of two batches for one partition Kafka forgets the first without a word; logstead appends and answers both",
	},
	{
		scenario: "idempotence", step: "a first sequence of 7 in an empty log.*", path: `/Topics/.*`,
		reason: "a log that never held a record has forgotten no producer: as Kafka from 4.5 on, it takes sequence 0 first (KAFKA-15591)",
	},
	{
		scenario: "fetch-sessions v1[38]", step: "an unknown (topic|id) joins", path: `/ErrorCode|/Topics`,
		reason: "a topic without an id that joins a session is an unknown topic, not an unknown server error for all",
	},
	{
		scenario: "find-coordinator", step: "of a share at a version without", path: `.*ErrorMessage`, a: `""`, b: `"text"`,
		reason: "logstead says what was wrong where Kafka has an empty text",
	},
	{
		nodes: 3, scenario: "as-replica", a: `"closed"`,
		reason: "Kafka closes the connection of a replica that asks where there is none of it, or no leader; logstead says so",
	},
	{
		nodes: 1, scenario: "login-scram", step: "d: (first|final) message",
		reason: "a user that does not exist is refused where a wrong password is; Kafka refuses it one message sooner, and so tells who exists",
	},
	{
		nodes: 1, scenario: "login-again", step: "Metadata for a token", b: `"closed"`,
		reason: "a request in place of a token ends the connection, after an empty answer in Kafka",
	},
	{
		nodes: 1, scenario: "cluster", step: "quorum.*", path: `/Nodes/1/Listeners/.*`,
		reason: "the controller of one node is reached by the clients' listener; there is no listener of its own",
	},
}

const absent = `\(absent\)`

func knownReason(d difference, nodes int) string {
	for _, k := range known {
		if k.holds(nodes) && matches(k.scenario, d.scenario) && matches(k.step, d.step) && matches(k.path, d.path) && matches(k.a, d.a) && matches(k.b, d.b) {
			return k.reason
		}
	}
	return ""
}

// matches says whether the pattern, if there is one, is all of s.
func matches(pattern, s string) bool {
	return pattern == "" || regexp.MustCompile("(?s)^(?:"+pattern+")$").MatchString(s)
}
