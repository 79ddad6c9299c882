package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// capability is what every client that can do it must have done when its smoke run has ended.
type capability struct {
	// check is the name of the row that shows it.
	check, title string
}

var capabilities = []capability{
	{"codecs", "produce with each codec, consume"},
	{"idempotence", "idempotence"},
	{"transactions", "transactions with abort, read_committed"},
	{"transaction-fencing", "fencing"},
	{"seek-by-time", "seek by time"},
	{"admin", "admin"},
	{"large-messages", "large messages"},
	{"many-partitions", "many partitions"},
	{"pause-resume", "pause and resume"},
	{"regex-subscription", "regex subscription"},
	{"group-classic", "classic group, members join and leave"},
	{"group-static", "static members"},
	{"group-kip848", "KIP-848 group, members join and leave"},
	{"group-live-migration", "live migration between the two"},
}

// lacks says what a client cannot do, by the name of the check, and why; the text follows the client's name.
func lacks(client string) map[string]string {
	classicOnly := func(more map[string]string) map[string]string {
		out := map[string]string{
			"group-kip848":         "speaks the classic protocol alone",
			"group-live-migration": "speaks the classic protocol alone",
		}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	switch client {
	case "java-2.8", "aiokafka", "kafka-python":
		return classicOnly(nil)
	case "sarama":
		return classicOnly(map[string]string{"regex-subscription": "subscribes to topics by name alone"})
	case "kafkajs":
		return classicOnly(map[string]string{"group-static": "does not let its user set group.instance.id"})
	case "kafka-go":
		const noProducer = "writes no records with a producer id; it has the coordinator's requests, and commits offsets in " +
			"transactions with abort and reads read_committed"
		return classicOnly(map[string]string{
			"idempotence":        noProducer,
			"transactions":       noProducer,
			"pause-resume":       "reads a record when it is asked to, and has no call to pause a partition",
			"regex-subscription": "subscribes to topics by name alone",
			"group-static":       "does not let the user of its reader set group.instance.id",
		})
	case "platformatic":
		return map[string]string{
			"regex-subscription": "subscribes to topics by name alone",
			"group-live-migration": "asks for offsets in epoch -1 as a classic member of a group that has changed, which Apache Kafka " +
				"refuses too; an empty group changes its protocol and keeps its offsets",
		}
	}
	return nil
}

// untried returns a row's error for each capability that the checks left out, or that they show though the client is
// said to lack it.
func untried(client string, checks []string) map[string]error {
	out, lack := map[string]error{}, lacks(client)
	for _, c := range capabilities {
		_, lacking := lack[c.check]
		switch tried := slices.Contains(checks, c.check); {
		case !tried && !lacking:
			out[c.check] = errors.New("the driver has no such check, and interop/capability.go does not say that the client lacks it")
		case tried && lacking:
			out[c.check] = errors.New("interop/capability.go says that the client lacks what the driver checks")
		}
	}
	return out
}

// demandAll adds the rows of untried.
func (r *Run) demandAll(client string, checks []string) {
	missing := untried(client, checks)
	for _, c := range capabilities {
		if err := missing[c.check]; err != nil {
			r.row(client, c.check, time.Duration(0), err)
		}
	}
}

// matrix is the table of docs/testing.md: what each client shows, and what it lacks with the reason.
func matrix() string {
	var b, notes strings.Builder
	var clients []string
	for _, d := range drivers() {
		clients = append(clients, d.name)
	}
	fmt.Fprintf(&b, "| | %s |\n|---%s|\n", strings.Join(clients, " | "), strings.Repeat("|---", len(clients)))
	var said []string
	for _, c := range capabilities {
		cells := make([]string, len(clients))
		for i, client := range clients {
			why, lacking := lacks(client)[c.check]
			if !lacking {
				cells[i] = "yes"
				continue
			}
			at := slices.Index(said, why)
			if at < 0 {
				said = append(said, why)
				at = len(said) - 1
				fmt.Fprintf(&notes, "%d. %s\n", at+1, why)
			}
			cells[i] = fmt.Sprintf("no (%d)", at+1)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", c.title, strings.Join(cells, " | "))
	}
	return b.String() + "\nThe client\n" + notes.String()
}
