package cli

import (
	"github.com/twmb/franz-go/pkg/kerr"
)

// itemResult is what happened to one item of a command that works on several.
type itemResult struct {
	Name      string `json:"name" col:"NAME"`
	Status    string `json:"status" col:"STATUS"`
	Error     string `json:"error,omitempty" col:"ERROR,wide"`
	ErrorCode int16  `json:"kafka_code,omitempty"`
	fault     *Fault
}

func (r *itemResult) fail(f *Fault) {
	r.Status, r.Error, r.ErrorCode, r.fault = "failed", f.Why, f.Kafka, f
	if r.Error == "" {
		r.Error = f.What
	}
}

// finish turns the results of several items into the command's outcome: nothing when all worked, the
// one fault when there was one item, and a summary otherwise.
func finish(what string, results []itemResult) error {
	var faults []*Fault
	f := &Fault{What: what, Exit: exitPartly}
	for _, r := range results {
		if r.fault != nil {
			faults = append(faults, r.fault)
			f.Items = append(f.Items, itemFault{Name: r.Name, Error: r.Error, Code: r.ErrorCode})
		}
	}
	switch {
	case len(faults) == 0:
		return nil
	case len(results) == 1:
		return faults[0]
	case len(faults) == len(results) && sameExit(faults):
		f.Exit = faults[0].exit()
	}
	f.Why = countOf(len(faults), "item") + " of " + countOf(len(results), "") + " failed"
	return f
}

func sameExit(faults []*Fault) bool {
	for _, f := range faults {
		if f.exit() != faults[0].exit() {
			return false
		}
	}
	return true
}

// kafkaCode is the Kafka error code behind err, or 0.
func kafkaCode(err error) int16 {
	if err == nil {
		return 0
	}
	return asFault("", err).Kafka
}

// isKafka says whether err is the given Kafka error.
func isKafka(err error, want *kerr.Error) bool { return err != nil && kafkaCode(err) == want.Code }

// countOf writes "1 topic", "3 topics" or, without a noun, only the number.
func countOf(n int, noun string) string {
	s := humanCount(int64(n))
	if noun == "" {
		return s
	}
	if n == 1 {
		return s + " " + noun
	}
	if noun[len(noun)-1] == 'y' {
		return s + " " + noun[:len(noun)-1] + "ies"
	}
	return s + " " + noun + "s"
}
