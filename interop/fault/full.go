package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/logstead/logstead/interop/local"
)

const (
	smallVolumeBytes = 64 << 20
	fullTopic        = "full"
	fullPartitions   = 4
	fullRecordBytes  = 64 << 10
	// mostToFill is how much may still be acknowledged on a volume that has no room: what was allocated before.
	mostToFill = 32 << 20
	serveAgain = 2 * time.Minute
)

// full fills the broker's volume and frees it again, and then fails every write to it: as the only log directory,
// and as one of two.
func (f *fault) full(ctx context.Context) error {
	for _, beside := range []bool{false, true} {
		name := "full, only directory: "
		if beside {
			name = "full, one of two directories: "
		}
		n, err := f.newNode(ctx, fmt.Sprint("full", beside))
		if err != nil {
			return err
		}
		v, err := local.NewVolume(ctx, n.Dir, smallVolumeBytes)
		if err != nil {
			return err
		}
		t := &fullTest{f: f, n: n, v: v, name: name, dir: filepath.Join(v.Mount, "data"), acked: map[string]kgo.Record{}}
		n.Data = t.dir
		if beside {
			n.Data = filepath.Join(n.Dir, "data") + "," + t.dir
		}
		n.Set = append(n.Set, "logstead.journal.file.bytes=1048576")
		err = t.run(ctx, beside)
		if !n.Exited() {
			err = errors.Join(err, n.Kill())
		}
		if err = errors.Join(err, v.Down()); err != nil {
			return fmt.Errorf("%s%w", name, err)
		}
	}
	return nil
}

// fullTest is one broker with a small volume.
type fullTest struct {
	f    *fault
	n    *local.Node
	v    *local.Volume
	name string
	dir  string // the log directory on the volume

	cl     *kgo.Client
	here   []int32 // partitions on the volume
	other  []int32 // and elsewhere
	serial int
	acked  map[string]kgo.Record
}

func (t *fullTest) run(ctx context.Context, beside bool) error {
	if err := t.n.Start(ctx); err != nil {
		return err
	}
	if err := t.open(ctx, beside); err != nil {
		return err
	}
	defer t.cl.Close()
	if err := t.fill(ctx); err != nil {
		return err
	}
	if err := t.free(ctx); err != nil {
		return err
	}
	if err := t.restart(ctx, "kill -9 afterwards: "); err != nil {
		return err
	}
	return t.offline(ctx, beside)
}

// open makes the topic and learns where its partitions are.
func (t *fullTest) open(ctx context.Context, beside bool) (err error) {
	t.cl, err = kgo.NewClient(kgo.SeedBrokers(t.n.Addr), kgo.DefaultProduceTopic(fullTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DisableIdempotentWrite(), kgo.RecordRetries(1),
		kgo.RetryBackoffFn(backoff), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return err
	}
	adm := kadm.NewClient(t.cl)
	small := "1048576"
	if _, err = adm.CreateTopic(ctx, fullPartitions, 1, map[string]*string{"segment.bytes": &small}, fullTopic); err != nil {
		return err
	}
	err = eventually(ctx, func() error {
		dirs, err := adm.DescribeAllLogDirs(ctx, nil)
		if err != nil {
			return err
		}
		t.here, t.other = nil, nil
		dirs.Each(func(d kadm.DescribedLogDir) {
			d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
				switch {
				case p.Topic != fullTopic:
				case d.Dir == t.dir:
					t.here = append(t.here, p.Partition)
				default:
					t.other = append(t.other, p.Partition)
				}
			})
		})
		if len(t.here)+len(t.other) != fullPartitions {
			return fmt.Errorf("partitions %v are on the volume and %v elsewhere, want %d", t.here, t.other, fullPartitions)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(t.here) == 0 || beside != (len(t.other) > 0) {
		return fmt.Errorf("partitions %v are on the volume and %v elsewhere", t.here, t.other)
	}
	return t.served(ctx, 20, append(t.here, t.other...)...)
}

// eventually tries until there is no error, for as long as a machine that is busy with other things may need.
func eventually(ctx context.Context, try func() error) error {
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil || ctx.Err() != nil || time.Since(began) > serveAgain {
			return err
		}
	}
}

// served has n records of each of the partitions be taken. A client that has just heard of a broker again, or of its partitions, may be
// refused at first.
func (t *fullTest) served(ctx context.Context, n int, parts ...int32) error {
	return eventually(ctx, func() error { return t.put(ctx, n, 1000, parts...) })
}

// put produces n records to each of the partitions; the first error ends it.
func (t *fullTest) put(ctx context.Context, n, size int, parts ...int32) error {
	ctx, cancel := context.WithTimeout(ctx, serveAgain)
	defer cancel()
	for range n {
		for _, p := range parts {
			v := make([]byte, size)
			copy(v, fmt.Sprintf("full %09d ", t.serial))
			t.serial++
			r, err := t.cl.ProduceSync(ctx, &kgo.Record{Partition: p, Value: v}).First()
			if err != nil {
				return err
			}
			t.acked[string(v[:15])] = kgo.Record{Partition: r.Partition, Offset: r.Offset}
		}
	}
	return nil
}

// fill leaves no room on the volume and produces until that is felt.
func (t *fullTest) fill(ctx context.Context) error {
	if err := fillUp(filepath.Join(t.v.Mount, "filler")); err != nil {
		return err
	}
	var err error
	began := time.Now()
	for sent := 0; sent < mostToFill && time.Since(began) < serveAgain && !errors.Is(err, kerr.KafkaStorageError); {
		if err = t.put(ctx, 1, fullRecordBytes, t.here[0]); err == nil {
			sent += fullRecordBytes
		}
	}
	t.f.report.That(t.name+"producers hear KAFKA_STORAGE_ERROR", errors.Is(err, kerr.KafkaStorageError), "%v", err)
	if len(t.other) > 0 {
		t.f.report.Check(t.name+"other directories go on", t.served(ctx, 20, t.other...))
	}
	t.f.report.Check(t.name+"everything acknowledged can be read meanwhile", t.readBack(ctx))
	return nil
}

// fillUp writes a file until there is no space.
func fillUp(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size >= 4096; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return f.Sync()
}

// free makes room again; the broker is not restarted.
func (t *fullTest) free(ctx context.Context) error {
	if err := os.Remove(filepath.Join(t.v.Mount, "filler")); err != nil {
		return err
	}
	began := time.Now()
	err := t.served(ctx, 20, t.here...)
	t.f.report.That(t.name+"serves again once there is room, without a restart", err == nil, "after %.1f s: %v", time.Since(began).Seconds(), err)
	t.f.report.Check(t.name+"everything acknowledged can be read then", t.readBack(ctx))
	return nil
}

// restart kills the broker and checks what it finds.
func (t *fullTest) restart(ctx context.Context, when string) error {
	if !t.n.Exited() {
		if err := t.n.Kill(); err != nil {
			return err
		}
	}
	if err := t.n.Start(ctx); err != nil {
		return err
	}
	t.f.report.Check(t.name+when+"everything acknowledged is there", t.readBack(ctx))
	t.f.report.Check(t.name+when+"takes records again", t.served(ctx, 5, append(t.here, t.other...)...))
	return nil
}

// offline fails every write and sync of the volume, as a broken disk does.
func (t *fullTest) offline(ctx context.Context, beside bool) error {
	if err := t.v.Cut(); err != nil {
		return err
	}
	var err error
	lost := false
	for began := time.Now(); !lost && time.Since(began) < serveAgain; {
		if err = t.put(ctx, 1, 1000, t.here[0]); err == nil {
			break
		}
		// The client asks again, and hears of the metadata that the partition has no leader, as with Apache Kafka. The last
		// directory ends the broker.
		lost = errors.Is(err, kerr.KafkaStorageError) || errors.Is(err, kerr.LeaderNotAvailable) || !beside
	}
	t.f.report.That(t.name+"writes fail: nothing is acknowledged", lost, "%v", err)
	if beside {
		t.f.report.Check(t.name+"writes fail: other directories go on", t.served(ctx, 20, t.other...))
		t.f.report.Check(t.name+"writes fail: a metric counts the directory", eventually(ctx, func() error {
			const name = "kafka_log_logmanager_offlinelogdirectorycount"
			m, err := t.n.Metrics(ctx)
			if err == nil && m[name] != 1 {
				err = fmt.Errorf("%s is %v, want 1", name, m[name])
			}
			return err
		}))
		t.f.report.Check(t.name+"writes fail: /readyz names it", eventually(ctx, func() error {
			status, text, err := ready(ctx, t.n.HTTP)
			if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(text, "[-]log_dirs") || !strings.Contains(text, t.dir)) {
				err = fmt.Errorf("%d, %q", status, text)
			}
			return err
		}))
	}
	if !t.n.Exited() {
		if err := t.n.Kill(); err != nil && !t.n.Exited() {
			return err
		}
	}
	if err := errors.Join(t.v.Down(), t.v.Up(ctx)); err != nil {
		return err
	}
	return t.restart(ctx, "volume mended: ")
}

// ready asks /readyz.
func ready(ctx context.Context, addr string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// readBack compares the topic with what was acknowledged: all of it, at its offset, and no offset missing. A record
// that was refused may stand there nevertheless, for a refusal after the write says nothing of it.
func (t *fullTest) readBack(ctx context.Context) error {
	all, err := readAll(ctx, t.n.Addr, fullTopic, kgo.ReadUncommitted())
	if err != nil {
		return err
	}
	next, seen := map[int32]int64{}, map[string]bool{}
	for _, r := range all {
		if r.Offset != next[r.Partition] {
			return fmt.Errorf("partition %d: offset %d where %d is next", r.Partition, r.Offset, next[r.Partition])
		}
		next[r.Partition]++
		var n int
		if _, err := fmt.Sscanf(string(r.Value), "full %d", &n); err != nil || n >= t.serial {
			return fmt.Errorf("partition %d, offset %d: nobody sent %.20q", r.Partition, r.Offset, r.Value)
		}
		if a, ok := t.acked[string(r.Value[:15])]; ok && a.Partition == r.Partition && a.Offset == r.Offset {
			seen[string(r.Value[:15])] = true
		}
	}
	if len(seen) < len(t.acked) {
		return fmt.Errorf("%d of %d acknowledged records are there", len(seen), len(t.acked))
	}
	return nil
}
