package replica

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/goleak"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScripts drives the fetcher on a virtual clock: what it asks for, what it does with each answer.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := newScript(t)
			datadriven.RunTest(t, file, func(_ *testing.T, d *datadriven.TestData) string { return s.run(d) })
		})
	}
}

type script struct {
	t     *testing.T
	f     *Fetcher
	began time.Time
	now   time.Time
	out   strings.Builder
	parts map[string]*fakeReplica
	quota fakeThrottle
}

// fakeThrottle pauses for as long as the script says.
type fakeThrottle struct {
	s     *script
	until time.Time
}

func (f *fakeThrottle) Limited() bool { return true }

func (f *fakeThrottle) Pause(now time.Time) time.Duration { return max(f.until.Sub(now), 0) }

func (f *fakeThrottle) Record(_ time.Time, n int) { fmt.Fprintf(&f.s.out, "throttled bytes %d\n", n) }

func newScript(t *testing.T) *script {
	s := &script{t: t, began: time.UnixMilli(1_700_000_000_000), parts: map[string]*fakeReplica{}}
	s.now = s.began
	s.quota.s = s
	s.f = NewFetcher(FetcherOptions{
		NodeID: 1, BrokerEpoch: func() int64 { return 77 }, Throttle: &s.quota,
		Limits: func() Limits {
			return Limits{MaxWait: 500 * time.Millisecond, MinBytes: 1, MaxBytes: 1000, MaxPartitionBytes: 100, Backoff: time.Second}
		},
		Failed: func(tp base.TopicPartition, err error, times int) {
			fmt.Fprintf(&s.out, "%s-%d failed %d times: %v\n", tp.Topic, tp.Partition, times, short(err))
		},
	})
	return s
}

func short(err error) string {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Message
	}
	return err.Error()
}

// fakeReplica is a log in which each record is one byte.
type fakeReplica struct {
	throttled bool

	s    *script
	name string
	at   partition.FollowerState
	err  error // of the next change
}

func (r *fakeReplica) FollowerThrottled() bool { return r.throttled }

func (r *fakeReplica) FollowerState() partition.FollowerState { return r.at }

func (r *fakeReplica) did(format string, args ...any) error {
	err := r.err
	r.err = nil
	if err == nil {
		fmt.Fprintf(&r.s.out, "%s %s\n", r.name, fmt.Sprintf(format, args...))
	}
	return err
}

func (r *fakeReplica) AppendAsFollower(records []byte, epoch int32, hw, logStart int64, _ time.Time, _ *storage.Settlement) error {
	if err := r.did("append %d in epoch %d, high watermark %d, start %d", len(records), epoch, hw, logStart); err != nil {
		return err
	}
	if strings.HasPrefix(string(records), "later") {
		return nil // written by a leader of a later epoch: nothing is taken
	}
	r.at.Offset += int64(len(records))
	if len(records) > 0 {
		r.at.Epoch = epoch
	}
	return nil
}

func (r *fakeReplica) TruncateDiverged(epoch, leaderEpoch int32, leaderEnd int64) error {
	err := r.did("truncate in epoch %d: the leader's epoch %d ends at %d", epoch, leaderEpoch, leaderEnd)
	if err == nil {
		r.at.Offset, r.at.Epoch = min(r.at.Offset, leaderEnd), leaderEpoch
	}
	return err
}

func (r *fakeReplica) TruncateTo(epoch int32, offset int64) error {
	err := r.did("truncate in epoch %d to %d", epoch, offset)
	if err == nil {
		r.at.Offset = offset
	}
	return err
}

func (r *fakeReplica) RestartAt(epoch int32, start int64) error {
	err := r.did("restart in epoch %d at %d", epoch, start)
	if err == nil {
		r.at.Offset, r.at.LogStart, r.at.Epoch = start, start, -1
	}
	return err
}

func topicID(topic string) base.TopicID { return base.TopicID{0: topic[0], 15: 1} }

func split(s *script, name string) (string, int32) {
	topic, i, ok := strings.Cut(name, "-")
	n, err := strconv.ParseInt(i, 10, 32)
	if !ok || err != nil {
		s.t.Fatalf("%q is no topic-partition", name)
	}
	return topic, int32(n)
}

// args are the key=value words of a line.
type args map[string]string

func words(line string) (name string, a args) {
	a = args{}
	for i, w := range strings.Fields(line) {
		if k, v, ok := strings.Cut(w, "="); ok {
			a[k] = v
		} else if i == 0 {
			name = w
		} else {
			a[w] = ""
		}
	}
	return name, a
}

func (a args) int(key string, def int64) int64 {
	if v, ok := a[key]; ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	return def
}

func (s *script) run(d *datadriven.TestData) string {
	s.out.Reset()
	for line := range strings.Lines(cmp.Or(d.Input, "\n")) {
		if d.Cmd == "answer" || d.Cmd == "offsets" {
			break
		}
		s.step(d, strings.TrimSpace(line))
	}
	switch d.Cmd {
	case "answer":
		s.answer(d)
	case "offsets":
		s.offsets(d)
	}
	return s.out.String()
}

func (s *script) step(d *datadriven.TestData, line string) {
	name, a := words(line)
	switch d.Cmd {
	case "follow": // NAME epoch= offset= last= start= [unsynced]
		topic, i := split(s, name)
		r := s.parts[name]
		if r == nil {
			r = &fakeReplica{s: s, name: name}
			s.parts[name] = r
			_, unsynced := a["unsynced"]
			r.at = partition.FollowerState{Offset: a.int("offset", 0), Epoch: int32(a.int("last", -1)), LogStart: a.int("start", 0), Stored: !unsynced}
		}
		s.f.Add(base.TopicPartition{Topic: topic, Partition: i}, topicID(topic), r, int32(a.int("epoch", 0)))
	case "unfollow":
		topic, i := split(s, name)
		s.f.Remove(topicID(topic), i)
	case "throttle":
		s.parts[name].throttled = true
	case "unthrottle":
		s.parts[name].throttled = false
	case "exceed":
		var ms int64
		d.ScanArgs(s.t, "ms", &ms)
		s.quota.until = s.now.Add(time.Duration(ms) * time.Millisecond)
	case "synced":
		s.parts[name].at.Stored = true
	case "unsynced":
		s.parts[name].at.Stored = false
	case "break":
		s.parts[name].err = errors.New("disk on fire")
	case "next":
		s.next()
	case "advance":
		var ms int64
		d.ScanArgs(s.t, "ms", &ms)
		s.now = s.now.Add(time.Duration(ms) * time.Millisecond)
	case "unreachable":
		s.f.Unreachable(s.now)
	case "cancelled":
		s.f.Cancelled()
	default:
		s.t.Fatalf("unknown command %s", d.Cmd)
	}
}

func (s *script) next() {
	req, again := s.f.Next(s.now)
	switch r := req.(type) {
	case nil:
		s.out.WriteString("nothing")
		if !again.IsZero() {
			fmt.Fprintf(&s.out, " before %d ms", again.Sub(s.began).Milliseconds())
		}
		s.out.WriteString("\n")
	case *kmsg.FetchRequest:
		fmt.Fprintf(&s.out, "fetch session=%d/%d broker=%d/%d wait=%d\n", r.SessionId, r.SessionEpoch,
			r.ReplicaState.ReplicaId, r.ReplicaState.ReplicaEpoch, r.MaxWaitMs)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(&s.out, "  %s-%d offset=%d last=%d start=%d epoch=%d\n", t.Topic, p.Partition, p.FetchOffset,
					p.LastFetchedEpoch, p.LogStartOffset, p.CurrentLeaderEpoch)
			}
		}
		for _, t := range r.ForgottenTopicsData {
			for _, p := range t.Partitions {
				fmt.Fprintf(&s.out, "  forget %c-%d\n", t.TopicId[0], p)
			}
		}
	case *kmsg.ListOffsetsRequest:
		s.out.WriteString("offsets\n")
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(&s.out, "  %s-%d timestamp=%d epoch=%d\n", t.Name, p.PartitionIndex, p.Timestamp, p.CurrentLeaderEpoch)
			}
		}
	}
}

func (s *script) answer(d *datadriven.TestData) {
	resp := kmsg.NewFetchResponse()
	_, a := words("answer " + strings.Join(flat(d), " "))
	resp.SessionId, resp.ErrorCode = int32(a.int("session", 0)), code(a)
	for line := range strings.Lines(d.Input) {
		name, a := words(line)
		topic, i := split(s, name)
		p := kmsg.NewFetchResponsePartitionData()
		p.PartitionIndex, p.HighWatermark, p.LogStartOffset = i, a.int("hw", 0), a.int("start", 0)
		p.ErrorCode = code(a)
		p.Records.Bytes = []byte(strings.Repeat("r", int(a.int("records", 0))))
		if _, ok := a["later"]; ok {
			p.Records.Bytes = []byte("later")
		}
		if _, ok := a["diverging"]; ok {
			p.DivergingEpoch = kmsg.FetchResponseEpochEndOffset{Epoch: int32(a.int("diverging", 0)), EndOffset: a.int("end", 0)}
		}
		resp.Responses = append(resp.Responses, kmsg.FetchResponseFetchableTopicResponse{
			TopicId: topicID(topic), Partitions: []kmsg.FetchResponsePartitionData{p},
		})
	}
	s.f.Answer(s.now, &resp)
}

func flat(d *datadriven.TestData) (out []string) {
	for _, a := range d.CmdArgs {
		out = append(out, a.String())
	}
	return out
}

func code(a args) int16 {
	if a["error"] == "" {
		return 0
	}
	for c := range int16(140) {
		if ke := kerr.TypedErrorForCode(c); ke != nil && ke.Message == a["error"] {
			return c
		}
	}
	panic("no error " + a["error"])
}

func (s *script) offsets(d *datadriven.TestData) {
	resp := kmsg.NewListOffsetsResponse()
	for line := range strings.Lines(d.Input) {
		name, a := words(line)
		topic, i := split(s, name)
		p := kmsg.NewListOffsetsResponseListOffsetsPartitionResponse()
		p.PartitionIndex, p.Offset, p.ErrorCode = i, a.int("offset", -1), code(a)
		resp.Topics = append(resp.Topics, kmsg.ListOffsetsResponseListOffsetsTopicResponse{
			Name: topic, Partitions: []kmsg.ListOffsetsResponseListOffsetsPartitionResponse{p},
		})
	}
	s.f.Answer(s.now, &resp)
}
