package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// TestStorageSettle takes a copy of a directory in use whose segment lost what only the journal still has, and
// settles it: the segment alone holds everything then, and the directory is marked clean.
func TestStorageSettle(t *testing.T) {
	live, crashed := t.TempDir(), t.TempDir()
	s, err := storage.Open(context.Background(), storage.Options{FS: vfs.OS{}, Dirs: []string{live}, NodeID: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := s.Create(base.TopicPartition{Topic: "t"}, base.NewTopicID(), storage.DefaultLogConfig(), "")
	if err != nil {
		t.Fatal(err)
	}
	synced := make(chan struct{}, 100)
	l.OnSynced(func(int64) { synced <- struct{}{} })
	for range 10 {
		b := batch.NewBuilder(batch.Options{})
		b.Append(time.Now().UnixMilli(), nil, []byte("value"))
		out, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(out, storage.AppendOptions{Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	for l.SyncedOffset() < 10 {
		<-synced
	}
	if err := os.CopyFS(crashed, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join("t-0", "00000000000000000000.log")
	want, err := os.ReadFile(filepath.Join(live, segment))
	if err != nil || len(want) == 0 {
		t.Fatalf("%d bytes, %v", len(want), err)
	}
	if err := os.Truncate(filepath.Join(crashed, segment), int64(len(want)/2)); err != nil {
		t.Fatal(err)
	}
	// A power cut leaves the names of logs that nothing was written to, and of their files nothing.
	for topic, end := range map[string]int{"empty": 0, "torn": 20} {
		if _, err := s.Create(base.TopicPartition{Topic: topic}, base.NewTopicID(), storage.DefaultLogConfig(), ""); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(crashed, topic+"-0"), os.DirFS(filepath.Join(live, topic+"-0"))); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(crashed, topic+"-0", "partition.metadata"), int64(end)); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	app := &App{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now}
	if code := app.Run(context.Background(), []string{"storage", "settle", crashed}); code != exitOK {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	got, err := os.ReadFile(filepath.Join(crashed, segment))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the segment has %d of %d bytes, %v", len(got), len(want), err)
	}
	if _, err := os.Stat(filepath.Join(crashed, ".kafka_cleanshutdown")); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"empty", "torn"} {
		if left, _ := filepath.Glob(filepath.Join(crashed, topic+"-*")); len(left) > 0 {
			t.Fatalf("%v is left and no file says whose it is: Apache Kafka does not start on it", left)
		}
	}
	if err := os.Remove(filepath.Join(crashed, "t-0", "partition.metadata")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(crashed, ".kafka_cleanshutdown")); err != nil {
		t.Fatal(err)
	}
	if code := app.Run(context.Background(), []string{"storage", "settle", crashed}); code != exitConflict {
		t.Fatalf("exit code %d for a log of records whose topic id is lost", code)
	}
	if got, err := os.ReadFile(filepath.Join(crashed, segment)); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the segment has %d of %d bytes, %v", len(got), len(want), err)
	}
	if code := app.Run(context.Background(), []string{"storage", "settle", t.TempDir()}); code != exitConflict {
		t.Fatalf("exit code %d for a directory that is not formatted", code)
	}
}
