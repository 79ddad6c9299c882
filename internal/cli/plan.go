package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/logstead/logstead/internal/cluster/balance"
)

// movePlan is a list of moves and what they come to. Its JSON has the moves in the form of Kafka's
// reassignment tool too.
type movePlan struct {
	Moves        []moveRow        `json:"moves"`
	Copies       int              `json:"copies"`
	CopyBytes    int64            `json:"copy_bytes"`
	Brokers      []planLoad       `json:"brokers"`
	Reassignment reassignmentFile `json:"reassignment"`
	nothing      string           // said where there is nothing to do
}

type moveRow struct {
	Topic     string  `json:"topic" col:"TOPIC"`
	Partition int32   `json:"partition" col:"PARTITION,left"`
	From      []int32 `json:"from" col:"FROM"`
	To        []int32 `json:"to" col:"TO"`
	Copy      int64   `json:"copy_bytes" col:"COPY,bytes"`
	Status    string  `json:"status" col:"STATUS"`
	Why       string  `json:"why,omitempty" col:"WHY"`
	Error     string  `json:"error,omitempty" col:"ERROR,wide"`
}

type planLoad struct {
	Broker         int32  `json:"broker" col:"BROKER,left"`
	Rack           string `json:"rack,omitempty" col:"RACK"`
	Replicas       int    `json:"replicas" col:"REPLICAS"`
	ReplicasAfter  int    `json:"replicas_after" col:"AFTER"`
	Leaders        int    `json:"preferred_leaders" col:"LEADERS"`
	LeadersAfter   int    `json:"preferred_leaders_after" col:"AFTER"`
	Bytes          int64  `json:"bytes" col:"SIZE,bytes"`
	BytesAfter     int64  `json:"bytes_after" col:"AFTER,bytes"`
	In             int64  `json:"bytes_in_per_second" col:"IN/S,bytes"`
	InAfter        int64  `json:"bytes_in_per_second_after" col:"AFTER,bytes"`
	Out            int64  `json:"bytes_out_per_second" col:"OUT/S,bytes"`
	OutAfter       int64  `json:"bytes_out_per_second_after" col:"AFTER,bytes"`
	TakesNoReplica bool   `json:"takes_no_replicas" col:"CLOSED,wide"`
}

// reassignmentFile is what kafka-reassign-partitions reads with --reassignment-json-file.
type reassignmentFile struct {
	Version    int                    `json:"version"`
	Partitions []reassignmentFilePart `json:"partitions"`
}

type reassignmentFilePart struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Replicas  []int32 `json:"replicas"`
}

func (p movePlan) sections(bool) []section {
	if len(p.Moves) == 0 {
		return []section{{text: p.nothing}, {rows: p.Brokers}}
	}
	return []section{
		{rows: p.Moves},
		{rows: p.Brokers},
		{text: fmt.Sprintf("%s, %s to copy", countOf(len(p.Moves), "partition"), humanBytes(p.CopyBytes))},
	}
}

func (p movePlan) names() []string {
	out := make([]string, len(p.Moves))
	for i, m := range p.Moves {
		out[i] = fmt.Sprintf("%s:%d", m.Topic, m.Partition)
	}
	return out
}

// planOf describes moves from a layout.
func planOf(l *layout, moves []balance.Move, nothing string) movePlan {
	plan := movePlan{Reassignment: reassignmentFile{Version: 1}, nothing: nothing}
	for _, m := range moves {
		plan.Moves = append(plan.Moves, moveRow{
			Topic: m.Topic, Partition: m.Partition, From: m.From, To: m.To, Copy: m.CopyBytes(), Status: "planned", Why: m.Why,
		})
		plan.Copies += len(m.Adding())
		plan.CopyBytes += m.CopyBytes()
		plan.Reassignment.Partitions = append(plan.Reassignment.Partitions, reassignmentFilePart{m.Topic, m.Partition, m.To})
	}
	s := l.state()
	after := s.After(moves)
	then := after.Loads()
	for i, now := range s.Loads() {
		plan.Brokers = append(plan.Brokers, planLoad{
			Broker: now.Broker, Rack: now.Rack,
			Replicas: now.Replicas, ReplicasAfter: then[i].Replicas,
			Leaders: now.Leaders, LeadersAfter: then[i].Leaders,
			Bytes: now.Bytes, BytesAfter: then[i].Bytes,
			In: now.In, InAfter: then[i].In, Out: now.Out, OutAfter: then[i].Out,
			TakesNoReplica: !l.broker(now.Broker).takesReplicas(),
		})
	}
	return plan
}

// writePlan writes the plan for kafka-reassign-partitions.
func writePlan(path string, plan movePlan) error {
	b, err := marshalJSON(plan.Reassignment, "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return asFault("cannot write the plan", err)
	}
	return nil
}

// readPlan reads a plan that was written for kafka-reassign-partitions.
func readPlan(path string) (reassignmentFile, error) {
	var f reassignmentFile
	b, err := os.ReadFile(path)
	if err != nil {
		return f, usagef("cannot read the plan: %v", err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, usagef("plan %s is not JSON as kafka-reassign-partitions has it: %v", path, err)
	}
	if f.Version != 1 || len(f.Partitions) == 0 {
		return f, usagef("plan %s: want version 1 and some partitions, found version %d and %d", path, f.Version, len(f.Partitions))
	}
	return f, nil
}

// moveTo is the move of a partition to other replicas, which must be brokers that are there. It is nil where the
// partition has them already.
func (l *layout) moveTo(topic string, partition int32, replicas []int32) (*balance.Move, error) {
	p := l.part(topic, partition)
	if p == nil {
		return nil, &Fault{
			What: fmt.Sprintf("there is no partition %s-%d", topic, partition), Exit: exitNotFound, Kafka: 3,
			Why: "UNKNOWN_TOPIC_OR_PARTITION (3)", Try: "logstead partition list",
		}
	}
	if len(replicas) == 0 {
		return nil, usagef("partition %s: no replicas are given", p.name())
	}
	for i, id := range replicas {
		if slices.Contains(replicas[:i], id) {
			return nil, usagef("partition %s: broker %d is named twice in %s", p.name(), id, joinInts(replicas))
		}
		if err := l.needBroker(id); err != nil {
			return nil, err
		}
	}
	if slices.Equal(p.target(), replicas) {
		return nil, nil
	}
	return &balance.Move{Topic: topic, Partition: partition, From: p.target(), To: replicas, Bytes: p.bytes()}, nil
}
