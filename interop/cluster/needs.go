package main

import (
	"slices"
	"strings"
)

// needs are the steps that a step builds on, or without which it would leave something behind that another stumbles
// over; -only runs them too.
var needs = map[string][]string{
	"topics: describe":                                        {created},
	"produce with acks=all":                                   {created},
	"configs: a topic's, and a client's":                      {created},
	"log-dirs: of every broker":                               {created},
	"reassign-partitions: generate and list":                  {created},
	"reassign-partitions: to two brokers, and verify":         {created, "reassign-partitions: back to three"},
	"reassign-partitions: back to three":                      {"reassign-partitions: to two brokers, and verify"},
	"a node is killed: partitions get other leaders":          {created, "the node comes back and catches up"},
	"produce with a node down":                                {"a node is killed: partitions get other leaders"},
	"topics: under-replicated partitions":                     {"a node is killed: partitions get other leaders"},
	"topics: at and under min.insync.replicas":                {"a node is killed: partitions get other leaders"},
	"the node comes back and catches up":                      {"a node is killed: partitions get other leaders"},
	"leader-election: preferred":                              {created},
	"replica-verification: no lag":                            {"produce with acks=all"},
	"a node is stopped in order: nothing is without a leader": {created, "it comes back"},
	"produce while it is down":                                {"a node is stopped in order: nothing is without a leader"},
	"it comes back":                                           {"a node is stopped in order: nothing is without a leader"},
	"get-offsets: every acknowledged record is there once":    {"produce with acks=all", "produce with a node down", "produce while it is down"},
	"topics: delete":                                          {created},

	"cli: cluster balance fills the empty broker; Kafka's tool verifies its plan": {moved},
	"cli: node drain empties a broker and cordons it":                             {moved},
	"cli: every record has come along":                                            {moved},
	"cli: node decommission drains, waits for the stop, unregisters":              {moved},
}

// alone says whether no step builds on this one, and it on none.
func alone(name string) bool {
	for _, needed := range needs {
		if slices.Contains(needed, name) {
			return false
		}
	}
	return len(needs[name]) == 0
}

const (
	created = "topics: create with replication factor 3"
	moved   = "cli: partition move with a throttle, which is taken off"
)

// chosen are the names of the steps that -only runs: the first, which waits for the brokers, those with the text in
// their names, and what these need. What is made for others is taken away before the command line counts replicas.
func chosen(only string) map[string]bool {
	run := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if run[name] {
			return
		}
		run[name] = true
		for _, n := range needs[name] {
			add(n)
		}
	}
	for i, name := range stepNames() {
		if i == 0 || strings.Contains(name, only) {
			add(name)
		}
	}
	if run[created] && run[moved] {
		add("topics: delete")
	}
	return run
}
