package replica

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
)

// TestPassingFailuresAreNotTold: what every new topic and every change of a leader brings for a moment is no line in the log, unless it
// lasts; what is wrong is told at once.
func TestPassingFailuresAreNotTold(t *testing.T) {
	var out bytes.Buffer
	f := &Fetchers{o: Options{Logger: slog.New(slog.NewTextHandler(&out, nil))}}
	failed, tp := f.failed(2), base.TopicPartition{Topic: "orders"}
	lines := func() int {
		n := strings.Count(out.String(), "a follower cannot go on")
		out.Reset()
		return n
	}
	for times := 1; times < passing; times++ {
		failed(tp, kerr.UnknownTopicID, times)
		failed(tp, kerr.NotLeaderForPartition, times)
	}
	if n := lines(); n != 0 {
		t.Errorf("%d lines of what passes, want none", n)
	}
	for times := passing; times <= 4*passing; times++ {
		failed(tp, kerr.UnknownTopicID, times)
	}
	if n := lines(); n != 3 {
		t.Errorf("%d lines of what lasts, want 3", n)
	}
	failed(tp, kerr.OffsetOutOfRange, 1)
	failed(tp, errors.New("connection refused"), 1)
	if n := lines(); n != 2 {
		t.Errorf("%d lines of what is wrong, want 2", n)
	}
}
