package storage

import (
	"errors"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// unsettled appends until an append is left to its appender: the writer has to have come to rest.
func unsettled(t *testing.T, l *Log) AppendInfo {
	t.Helper()
	var info AppendInfo
	await(t, "an append that is left to its appender", func() bool {
		var err error
		if info, err = l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0, Waits: true}); err != nil {
			t.Fatal(err)
		}
		if info.Unsettled == nil {
			waitSynced(t, l, info.LastOffset+1)
		}
		return info.Unsettled != nil
	})
	return info
}

// TestSettle: a lone append is stored, and told, by the time Settle returns.
func TestSettle(t *testing.T) {
	w := newWorld(t)
	l, err := w.store.Create(tp0, base.TopicID{1}, smallSegments(), "")
	if err != nil {
		t.Fatal(err)
	}
	singles(t, l, 1)
	waitSynced(t, l, 1)
	info := unsettled(t, l)
	told := int64(-1)
	l.OnSynced(func(synced int64) { told = synced })
	info.Unsettled.Settle(1)
	if end := info.LastOffset + 1; l.SyncedOffset() != end || told != end {
		t.Fatalf("settled up to %d, told %d, want %d", l.SyncedOffset(), told, end)
	}
	l.OnSynced(nil)
	w.crash(vfs.CrashOptions{})
	if got := w.log().EndOffset(); got != info.LastOffset+1 {
		t.Fatalf("after a power cut the log ends at %d, want %d", got, info.LastOffset+1)
	}
}

// TestSettleLeft: what is left to an appender also goes with whoever comes next, and with the writer
// where the appender does not write.
func TestSettleLeft(t *testing.T) {
	w := newWorld(t)
	other := base.TopicPartition{Topic: "t", Partition: 1}
	l, err := w.store.Create(tp0, base.TopicID{1}, smallSegments(), "")
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.store.Create(other, base.TopicID{1}, smallSegments(), "")
	if err != nil {
		t.Fatal(err)
	}
	info := unsettled(t, l)
	singles(t, o, 1)
	waitSynced(t, l, info.LastOffset+1)
	waitSynced(t, o, 1)
	info.Unsettled.Settle(1) // nothing is left to do

	info = unsettled(t, l)
	info.Unsettled.Settle(0)
	waitSynced(t, l, info.LastOffset+1)

	info = unsettled(t, l)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	info.Unsettled.Settle(1)
	w.open()
	if got := w.log().EndOffset(); got != info.LastOffset+1 {
		t.Fatalf("after a stop the log ends at %d, want %d", got, info.LastOffset+1)
	}
}

// TestSettleFails: a journal that cannot be written takes its directory offline, whoever writes it.
func TestSettleFails(t *testing.T) {
	w, fault, down := faultWorld(t)
	l, err := w.store.Create(tp0, base.TopicID{1}, smallSegments(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	info := unsettled(t, l)
	synced := l.SyncedOffset()
	fault.Inject(vfs.Rule{Kind: vfs.OpWrite, Path: journalPrefix + "*", Err: syscall.EIO})
	info.Unsettled.Settle(1)
	await(t, "the directory to go offline", func() bool { return down.Load() != nil })
	fault.Clear()
	if l.SyncedOffset() != synced {
		t.Fatalf("synced %d after a failed write, want %d", l.SyncedOffset(), synced)
	}
	if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0, Waits: true}); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("append afterwards: %v", err)
	}
	if err := w.store.Close(); err == nil {
		t.Fatal("closing says nothing of the offline directory")
	}
	w.open()
}

// TestSettlement: what an answer brings for several logs is stored, and told, by the time Settle returns, in one unit.
func TestSettlement(t *testing.T) {
	w := newWorld(t)
	var logs []*Log
	told := map[*Log]int64{}
	for i := range 3 {
		l, err := w.store.Create(base.TopicPartition{Topic: "t", Partition: int32(i)}, base.TopicID{1}, DefaultLogConfig(), "")
		if err != nil {
			t.Fatal(err)
		}
		singles(t, l, 1)
		waitSynced(t, l, 1)
		logs = append(logs, l)
	}
	var s Settlement
	await(t, "appends that are left to their appender", func() bool {
		for _, l := range logs {
			run := replicaRun(2, 200)
			renumber(run, len(run)/2, l.EndOffset())
			if _, err := l.AppendReplica(run, AppendOptions{LeaderEpoch: 1, Now: epoch0}, &s); err != nil {
				t.Fatal(err)
			}
		}
		left := len(s.left) == 1 && s.left[0].n == 6
		if !left { // the writer has not come to rest
			s.Settle()
			for _, l := range logs {
				waitSynced(t, l, l.EndOffset())
			}
		}
		return left
	})
	for _, l := range logs {
		l.OnSynced(func(synced int64) { told[l] = synced })
	}
	before := logs[0].dir.journal.units()
	s.Settle()
	for _, l := range logs {
		l.OnSynced(nil)
		if end := l.EndOffset(); l.SyncedOffset() != end || told[l] != end {
			t.Errorf("%s: settled up to %d, told %d, want %d", l.tp, l.SyncedOffset(), told[l], end)
		}
	}
	if got := logs[0].dir.journal.units() - before; got != 1 {
		t.Errorf("%d units were written, want 1", got)
	}
	if len(s.left) != 0 {
		t.Errorf("%d entries are left", len(s.left))
	}
}

// units is how many units were written.
func (j *journal) units() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.written
}
