package storage

import (
	"bytes"
	"context"
	"os"
	"path"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// kafkaDir puts a partition that Apache Kafka 4.3.1 wrote into a file system: the .log, and what
// else is asked for.
func kafkaDir(t *testing.T, fs vfs.FS, partition string, suffixes ...string) {
	t.Helper()
	dir := path.Join("/data", partition)
	if err := fs.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range append(suffixes, logSuffix) {
		if err := vfs.WriteFile(fs, path.Join(dir, segmentName(0)+suffix), golden(t, partition, suffix)); err != nil {
			t.Fatal(err)
		}
	}
}

func golden(t *testing.T, partition, suffix string) []byte {
	t.Helper()
	data, err := os.ReadFile(path.Join("testdata/kafka-4.3.1", partition, segmentName(0)+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestIndexesAsKafka recovers a segment of Apache Kafka without its indexes and compares what is
// built with what Kafka had.
func TestIndexesAsKafka(t *testing.T) {
	for partition, suffixes := range map[string][]string{
		"indexed-0": {indexSuffix, timeSuffix},
		"aborted-0": {txnSuffix},
	} {
		t.Run(partition, func(t *testing.T) {
			fs := vfs.NewMem()
			kafkaDir(t, fs, partition)
			s, err := Open(context.Background(), Options{FS: fs, Dirs: []string{"/data"}, NodeID: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, suffix := range suffixes {
				got, err := vfs.ReadFile(fs, path.Join("/data", partition, segmentName(0)+suffix), 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				// Recovery ends the time index with the greatest timestamp, which a running Kafka has not yet.
				if want := golden(t, partition, suffix); !bytes.HasPrefix(got, want) || suffix != timeSuffix && len(got) != len(want) {
					t.Errorf("%s is\n%x, Kafka's\n%x", suffix, got, want)
				}
			}
		})
	}
}

// TestKafkaIndexTail opens what Apache Kafka leaves when it is killed: indexes with zeros up to
// their greatest size.
func TestKafkaIndexTail(t *testing.T) {
	fs := vfs.NewMem()
	kafkaDir(t, fs, "indexed-0", indexSuffix, timeSuffix)
	for _, suffix := range []string{indexSuffix, timeSuffix} {
		f, err := fs.OpenReadWrite(path.Join("/data/indexed-0", segmentName(0)+suffix))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(10 << 20); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	s, err := Open(context.Background(), Options{FS: fs, Dirs: []string{"/data"}, NodeID: 1})
	if err != nil {
		t.Fatal(err)
	}
	tp := base.TopicPartition{Topic: "indexed"}
	l, ok := s.Log(tp)
	if !ok || l.EndOffset() == 0 {
		t.Fatalf("the log holds %v", l)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := vfs.ReadFile(fs, path.Join("/data/indexed-0", segmentName(0)+indexSuffix), 1<<20)
	if err != nil || !bytes.Equal(got, golden(t, "indexed-0", indexSuffix)) {
		t.Fatalf("after a clean stop the index is %x, %v", got, err)
	}
}

// TestForeignCleanShutdown: after another program has stopped in order, its files count, not our
// manifest of before.
func TestForeignCleanShutdown(t *testing.T) {
	w := newWorld(t)
	l := w.create(smallSegments())
	fillLog(t, l, 10)
	end := l.EndOffset()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	// The other program appends one batch and leaves its own mark.
	name := path.Join("/data", tp0.String(), segmentName(0)+logSuffix)
	f, err := w.fs.OpenReadWrite(name)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	b := makeBatch(spec{})
	b.SetBaseOffset(end)
	if _, err := f.WriteAt(b, size); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := vfs.WriteFile(w.fs, "/data/"+cleanShutdownFile, []byte(`{"version":0,"brokerEpoch":12}`)); err != nil {
		t.Fatal(err)
	}
	w.open()
	if got := w.log().EndOffset(); got != end+1 {
		t.Fatalf("the log ends at %d, want %d", got, end+1)
	}
}
