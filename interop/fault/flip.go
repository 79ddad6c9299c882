package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

const (
	flipTopic   = "flip"
	flipRecords = 6000
	// flipFailures in a row, and the rest is given up.
	flipFailures = 3
	// flipSilent polls of flipPoll each without a record, and nothing more comes from there.
	flipSilent = 3
	flipPoll   = 2 * time.Second
)

// flip turns a bit in the middle of each kind of file of a broker that was stopped, and of one that was killed.
func (f *fault) flip(ctx context.Context) error {
	for _, killed := range []bool{false, true} {
		after := "after a stop"
		if killed {
			after = "after a kill"
		}
		n, err := f.newNode(ctx, "flip"+fmt.Sprint(killed))
		if err != nil {
			return err
		}
		n.Set = append(n.Set, "logstead.journal.file.bytes=1048576")
		if err := f.flipData(ctx, n, killed); err != nil {
			return errors.Join(err, n.Kill())
		}
		sound := filepath.Join(n.Dir, "sound")
		if err := os.Rename(n.Data, sound); err != nil {
			return err
		}
		for _, kind := range flipKinds(filepath.Join(sound, flipTopic+"-0")) {
			kind.mayCut = killed && strings.HasPrefix(kind.file, "__cluster_metadata")
			name := fmt.Sprintf("flipped bit in %s %s", kind.name, after)
			if kind.file == "" {
				f.report.NotRun(name, "there is no such file")
				continue
			}
			f.report.Check(name, f.flipOne(ctx, n, sound, kind))
		}
	}
	return nil
}

// flipData writes records with keys into many segments.
func (f *fault) flipData(ctx context.Context, n *local.Node, killed bool) error {
	if err := n.Start(ctx); err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.DefaultProduceTopic(flipTopic),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	small := "1048576"
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, map[string]*string{"segment.bytes": &small}, flipTopic); err != nil {
		return err
	}
	for i := range flipRecords / 50 {
		var batch []*kgo.Record
		for k := range 50 {
			v := append(value("f", i*50+k), bytes.Repeat([]byte{byte(i)}, 400)...)
			batch = append(batch, &kgo.Record{Value: v})
		}
		if err := cl.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			return err
		}
	}
	if killed {
		return n.Kill()
	}
	return n.Stop()
}

// flipKind is a file to damage.
type flipKind struct {
	name, file string // relative to the data directory
	// mayLose says that the records in the damaged place may be gone; of other files none may.
	mayLose bool
	// baseOffset says that the bit is one of a batch's base offset, which the batch's checksum does not cover.
	baseOffset bool
	// mayCut says that recovery cannot tell the damage from a write that the crash cut short: what the journal no
	// longer holds, and no checkpoint tells of yet, was synced, but nothing says so. It ends the log there, and must
	// name the file and keep it aside as it was.
	mayCut bool
}

func flipKinds(dir string) []flipKind {
	data := filepath.Dir(dir)
	pick := func(pattern string, last bool) string {
		all, _ := filepath.Glob(filepath.Join(dir, pattern))
		var full []string
		for _, name := range all {
			if info, err := os.Stat(name); err == nil && info.Size() > 0 {
				full = append(full, name)
			}
		}
		sort.Strings(full)
		if len(full) == 0 {
			return ""
		}
		at := 0
		if last {
			at = len(full) - 1
		}
		rel, err := filepath.Rel(data, full[at])
		if err != nil {
			return ""
		}
		return rel
	}
	return []flipKind{
		{name: ".log, a sealed segment", file: pick("*.log", false), mayLose: true},
		{name: ".log, the active segment", file: pick("*.log", true), mayLose: true},
		{name: ".log, a base offset in a sealed segment", file: pick("*.log", false), mayLose: true, baseOffset: true},
		{name: ".log, a base offset in the active segment", file: pick("*.log", true), mayLose: true, baseOffset: true},
		{name: ".index", file: pick("*.index", false)},
		{name: ".timeindex", file: pick("*.timeindex", false)},
		{name: ".snapshot", file: pick("*.snapshot", true)},
		{name: "leader-epoch-checkpoint", file: pick("leader-epoch-checkpoint", false)},
		{name: "partition.metadata", file: pick("partition.metadata", false)},
		{name: "recovery-point-offset-checkpoint", file: "recovery-point-offset-checkpoint"},
		{name: "meta.properties", file: "meta.properties"},
		{name: "the metadata log", file: "__cluster_metadata-0/00000000000000000000.log"},
	}
}

// flipOne damages a copy of the data and starts the broker on it. It must refuse to and name the file, or serve
// whatever is not damaged and nothing that is.
func (f *fault) flipOne(ctx context.Context, n *local.Node, sound string, kind flipKind) error {
	if err := os.RemoveAll(n.Data); err != nil {
		return err
	}
	if err := os.CopyFS(n.Data, os.DirFS(sound)); err != nil {
		return err
	}
	file := filepath.Join(n.Data, kind.file)
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	at := len(b) / 2
	if kind.baseOffset {
		if at, err = middleBatch(b); err != nil {
			return err
		}
		at += 7
	} else if kind.mayLose { // into a record's value
		if i := bytes.Index(b[at:], bytes.Repeat([]byte{0}, 100)); i >= 0 {
			at += i + 50
		}
	}
	b[at] ^= 0x10
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return err
	}
	mark := n.LogMark()
	if err = n.Start(ctx); err == nil && !awaitReady(ctx, n) {
		err = &local.Ended{Err: n.Kill(), Log: n.LogSince(mark)} // its port was open before it read the damage
	}
	var ended *local.Ended
	if errors.As(err, &ended) {
		// Of the metadata log the directory is named: it is one segment mostly.
		names := strings.Contains(ended.Log, filepath.Base(kind.file)) ||
			strings.HasPrefix(kind.file, "__cluster_metadata") && strings.Contains(ended.Log, filepath.Dir(kind.file))
		if !names || strings.Contains(ended.Log, "panic") {
			return fmt.Errorf("the broker refuses without naming the file: %s", ended.Log[max(0, len(ended.Log)-600):])
		}
		f.report.Note("%s: the broker refuses to start and names the file", kind.name)
		return nil
	}
	if err != nil {
		return err
	}
	served, wrong, rerr := readSound(ctx, n.Addr)
	named := strings.Contains(n.LogSince(mark), filepath.Base(kind.file))
	stop := n.Stop()
	f.report.Note("%s: %d of %d records served, file named in the log: %v, reader's error: %v", kind.name, served, flipRecords, named, rerr)
	if kept, _ := filepath.Glob(file + ".damaged*"); kind.mayCut && named && len(kept) == 1 {
		return stop
	}
	switch {
	case len(wrong) > 0:
		return fmt.Errorf("damaged records were served%s", first(wrong))
	case !kind.mayLose && served < flipRecords:
		return fmt.Errorf("%d of %d records are served, and the file holds none: %v", served, flipRecords, rerr)
	case served < flipRecords/2:
		return fmt.Errorf("%d of %d records are served, only one batch is damaged: %v", served, flipRecords, rerr)
	case served < flipRecords && !named:
		return fmt.Errorf("%d records are missing and the log does not name %s", flipRecords-served, kind.file)
	}
	return stop
}

// awaitReady waits until the broker is ready; false says that it has ended.
func awaitReady(ctx context.Context, n *local.Node) bool {
	for end := time.Now().Add(serveAgain); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if n.Exited() {
			return false
		}
		if status, _, err := ready(ctx, n.HTTP); err == nil && status == http.StatusOK {
			return true
		}
	}
	return true // what does not work is found by what follows
}

// middleBatch is the position of a batch near the middle of a segment.
func middleBatch(b []byte) (int, error) {
	for at := 0; at+12 <= len(b); {
		if at >= len(b)/2 {
			return at, nil
		}
		size := int(binary.BigEndian.Uint32(b[at+8:]))
		if size <= 0 || size > len(b) {
			break
		}
		at += 12 + size
	}
	return 0, errors.New("there is no batch in the middle of the segment")
}

// readSound reads what can be read, from beyond the damage too.
func readSound(ctx context.Context, addr string) (served int, wrong []string, failure error) {
	seen := map[int64]bool{}
	for from, failed := int64(0), 0; from < flipRecords && failed < flipFailures; {
		before := len(seen)
		next, err := readFrom(ctx, addr, from, func(r *kgo.Record) {
			want := append(value("f", int(r.Offset)), bytes.Repeat([]byte{byte(r.Offset / 50)}, 400)...)
			if !bytes.Equal(r.Value, want) {
				wrong = append(wrong, fmt.Sprintf("offset %d holds %.20q", r.Offset, r.Value))
			}
			seen[r.Offset] = true
		})
		if err != nil {
			failure = err
			next = max(next, from) + 50 // the batch with the damage
			failed++
		}
		if len(seen) > before {
			failed = 0
		}
		from = next
	}
	return len(seen), wrong, failure
}

// readFrom reads until the end or an error, or until nothing comes any more.
func readFrom(ctx context.Context, addr string, from int64, fn func(*kgo.Record)) (int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepRetryableFetchErrors(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{flipTopic: {0: kgo.NewOffset().At(from)}}))
	if err != nil {
		return flipRecords, err
	}
	defer cl.Close()
	for silent := 0; from < flipRecords; {
		poll, cancel := context.WithTimeout(ctx, flipPoll)
		fs := cl.PollFetches(poll)
		cancel()
		fs.EachRecord(func(r *kgo.Record) { fn(r); from = r.Offset + 1 })
		err := fs.Err()
		if silent++; fs.NumRecords() > 0 {
			silent = 0
		}
		if errors.Is(err, context.DeadlineExceeded) && silent < flipSilent && ctx.Err() == nil {
			continue // a broker that gets no core, or whose disk stands still, has no answer yet either
		}
		if err != nil {
			return from, err
		}
	}
	return from, nil
}
