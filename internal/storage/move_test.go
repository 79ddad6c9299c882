package storage

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestLogInTwoDirectories starts with what a crash at the end of a move leaves, and with two logs that
// no move has made.
func TestLogInTwoDirectories(t *testing.T) {
	for name, c := range map[string]struct {
		change bool
		want   string
	}{
		"equal":     {false, ""},
		"different": {true, "it is also in log directory"},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := t.TempDir(), t.TempDir()
			tp := base.TopicPartition{Topic: "t", Partition: 0}
			open := func() (*Store, error) {
				return Open(context.Background(), Options{FS: vfs.OS{}, Dirs: []string{one, two}, NodeID: 1, Logger: slog.New(slog.DiscardHandler)})
			}
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			l, err := s.Create(tp, base.NewTopicID(), DefaultLogConfig(), one)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(two, "t-0"), os.DirFS(filepath.Join(one, "t-0"))); err != nil {
				t.Fatal(err)
			}
			if c.change {
				file := filepath.Join(two, "t-0", segmentName(0)+logSuffix)
				if err := os.Truncate(file, int64(len(makeBatch(spec{})))); err != nil {
					t.Fatal(err)
				}
			}
			s, err = open()
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("opened with %v, want an error with %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if l, ok := s.Log(tp); !ok || l.EndOffset() != 3 {
				t.Errorf("the log is there: %v, want it with 3 records", ok)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, inOne := os.Stat(filepath.Join(one, "t-0"))
			_, inTwo := os.Stat(filepath.Join(two, "t-0"))
			if (inOne == nil) == (inTwo == nil) {
				t.Errorf("the log's directories: %v, %v; want one of them", inOne, inTwo)
			}
		})
	}
}

// TestLogThatCouldNotBeMade: a directory fails while a log is made in it, and the log is made in the other one. Once the
// directory is back the store starts, with the log that holds something.
func TestLogThatCouldNotBeMade(t *testing.T) {
	for _, dirs := range [][]string{{"/a", "/b"}, {"/b", "/a"}} { // whichever is loaded first
		mem := vfs.NewMem()
		tp := base.TopicPartition{Topic: "t", Partition: 0}
		open := func(fsys vfs.FS, dirs []string) *Store {
			s, err := Open(context.Background(), Options{FS: fsys, Dirs: dirs, NodeID: 1, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatalf("directories %v: %v", dirs, err)
			}
			return s
		}
		fault := vfs.NewFault(mem)
		s := open(fault, dirs)
		fault.Inject(vfs.Rule{Kind: vfs.OpWrite, Path: "/a/t-0/*", Err: syscall.EIO})
		id := base.NewTopicID()
		if _, err := s.Create(tp, id, DefaultLogConfig(), "/a"); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("Create in a failing directory: %v, want KAFKA_STORAGE_ERROR", err)
		}
		l, err := s.Create(tp, id, DefaultLogConfig(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0}); err != nil {
			t.Fatal(err)
		}
		_ = s.Close() // the directory that failed has nothing to say
		s = open(mem, dirs)
		if l, ok := s.Log(tp); !ok || l.EndOffset() != 1 || l.Dir() != "/b" {
			t.Errorf("directories %v: the log is there: %v, want it in /b with its record", dirs, ok)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMoveGoesOn: a move that a run does not come to, or not to the end of, is made by the next one, and none that was canceled
// or whose log is gone.
func TestMoveGoesOn(t *testing.T) {
	waiting, stays, gone := base.TopicPartition{Topic: "waiting"}, base.TopicPartition{Topic: "stays"}, base.TopicPartition{Topic: "gone"}
	for name, end := range map[string]func(*testing.T, *Store){
		"stop": func(t *testing.T, s *Store) {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"crash": func(*testing.T, *Store) {},
		"stop amid the first one": func(t *testing.T, s *Store) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			m := s.nextMove()
			err := m.run(ctx)
			s.finishMove(m, err)
			if !errors.Is(err, errMoveStopped) {
				t.Fatalf("a move in a store that stops: %v", err)
			}
			if left, err := s.opts.FS.ReadDir(m.home); err != nil || len(left) > 0 {
				t.Errorf("a part of the log is left for who does not know that it is one: %v, %v", left, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			open := func() *Store {
				s, err := Open(context.Background(), Options{FS: mem, Dirs: []string{"/a", "/b"}, NodeID: 1, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			for _, tp := range []base.TopicPartition{waiting, stays, gone} {
				l, err := s.Create(tp, base.NewTopicID(), DefaultLogConfig(), "/a")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := l.Append(makeBatch(spec{}), AppendOptions{Now: epoch0}); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(l.Sync(), s.Move(tp, "/b")); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.Move(stays, "/a"), s.Delete(gone)); err != nil {
				t.Fatal(err)
			}
			crashed := mem.CrashClone(vfs.CrashOptions{KeepUnsynced: 1})
			end(t, s)
			if name == "crash" {
				_ = s.Close()
				mem = crashed
			}
			s = open()
			defer s.Close() //nolint:errcheck // nothing was written
			if moves := s.Moves(); len(moves) != 1 || moves[0].TopicPartition != waiting || moves[0].Dir != "/b" {
				t.Fatalf("the next run moves %+v, want %s to /b", moves, waiting)
			}
			m := s.nextMove()
			err := m.run(context.Background())
			s.finishMove(m, err)
			if l, ok := s.Log(waiting); err != nil || !ok || l.Dir() != "/b" || l.EndOffset() != 1 {
				t.Errorf("moved: %v, want the log in /b with its record", err)
			}
			if l, ok := s.Log(stays); !ok || l.Dir() != "/a" {
				t.Errorf("the log whose move was canceled is there: %v, want it in /a", ok)
			}
			s.emptyTrash(time.Now().Add(time.Hour))
			for _, dir := range []string{"/a", "/b"} {
				entries, err := mem.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if strings.HasSuffix(e.Name(), futureDirSuffix) {
						t.Errorf("%s/%s is left", dir, e.Name())
					}
				}
			}
		})
	}
}

func TestMoveRefusals(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(context.Background(), Options{FS: vfs.OS{}, Dirs: []string{dir}, NodeID: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // nothing was written
	tp := base.TopicPartition{Topic: "t", Partition: 0}
	if err := s.Move(tp, dir); !errors.Is(err, kerr.ReplicaNotAvailable) {
		t.Errorf("a log that is not here: %v", err)
	}
	if _, err := s.Create(tp, base.NewTopicID(), DefaultLogConfig(), ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Move(tp, dir+"-other"); !errors.Is(err, kerr.LogDirNotFound) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := s.Move(tp, dir); err != nil || len(s.Moves()) != 0 {
		t.Errorf("to where it is: %v, and %d moves", err, len(s.Moves()))
	}
	long := base.TopicPartition{Topic: strings.Repeat("t", 249), Partition: 0}
	if err := s.Move(long, dir); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("a name that leaves no room: %v", err)
	}
}

// TestNewLogsAndDirectories: a log that is to come is made where it was wanted, and none in a cordoned directory while
// there is another.
func TestNewLogsAndDirectories(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	s, err := Open(context.Background(), Options{FS: vfs.OS{}, Dirs: []string{a, b}, NodeID: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // nothing was written
	cordoned := b
	s.Cordon(func(dir string) bool { return dir == cordoned || cordoned == "*" })
	place := func(p int32) string {
		t.Helper()
		l, err := s.Create(base.TopicPartition{Topic: "t", Partition: p}, base.NewTopicID(), DefaultLogConfig(), "")
		if err != nil {
			t.Fatal(err)
		}
		return l.dir.path
	}
	for p := range int32(3) {
		if got := place(p); got != a {
			t.Errorf("partition %d is in %s, which is cordoned", p, got)
		}
	}
	wanted := base.TopicPartition{Topic: "t", Partition: 3}
	if err := s.Move(wanted, b); !errors.Is(err, kerr.ReplicaNotAvailable) {
		t.Errorf("a log that is not here: %v", err)
	}
	if got := place(3); got != b {
		t.Errorf("partition 3 is in %s, it was wanted in %s", got, b)
	}
	cordoned = ""
	if got := place(4); got != b {
		t.Errorf("partition 4 is in %s, the fuller one", got)
	}
	cordoned = "*"
	if got := place(5); got != b {
		t.Errorf("partition 5 is in %s, the fuller one", got)
	}
}

// TestMoveOfABusyLogEnds: a log that gets more records during each round than appends are held back for is moved all the same.
func TestMoveOfABusyLogEnds(t *testing.T) {
	fs := vfs.NewFault(vfs.NewMem())
	s, err := Open(context.Background(), Options{FS: fs, Dirs: []string{"/a", "/b"}, NodeID: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // nothing that counts is written
	tp := base.TopicPartition{Topic: "busy"}
	l, err := s.Create(tp, base.NewTopicID(), DefaultLogConfig(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	grow := func() {
		for range 3 {
			if _, err := l.Append(makeBatch(spec{values: []string{strings.Repeat("v", 1<<20)}}), AppendOptions{Now: epoch0}); err != nil {
				t.Error(err)
			}
		}
	}
	grow()
	if err := errors.Join(l.Sync(), s.Move(tp, "/b")); err != nil {
		t.Fatal(err)
	}
	m := s.nextMove()
	rounds := 0
	fs.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpSync && path.Dir(op.Path) == m.home && strings.HasSuffix(op.Path, logSuffix) && !m.frozen {
			rounds++
			grow()
		}
	})
	err = m.run(context.Background())
	s.finishMove(m, err)
	if moved, ok := s.Log(tp); err != nil || !ok || moved.Dir() != "/b" || moved.EndOffset() != l.EndOffset() {
		t.Errorf("after %d rounds: %v, want the log in /b", rounds, err)
	}
	if rounds <= patientRounds {
		t.Errorf("it took %d rounds, in which nothing was tried", rounds)
	}
}
