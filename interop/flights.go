package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// flightPartitions is how many partitions the flights' topic has: fewer than keys, more than members of a group.
const flightPartitions = 6

// flightCodecs are tried one after the other by each producer, a fifth of the file with each.
var flightCodecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// flights moves 20,000 real flight records, keyed by origin airport, through producers and consumers of many clients.
// Each producer writes the whole file, so each key's records must come back as that many repetitions of the file's
// order; the same is asked again after kill -9, and of what is then copied from topic to topic in transactions.
func flights(ctx context.Context, r *Run) {
	f := &flightRun{Run: r, topic: r.id + "-flights", file: filepath.Join(r.cache, "data", "flights.tsv")}
	ok := r.check(ctx, "flights", "read the real input", time.Minute, func(ctx context.Context) error {
		if err := f.load(); err != nil {
			return err
		}
		return r.createTopic(ctx, f.topic, flightPartitions)
	})
	if !ok {
		return
	}
	producers := []struct {
		client  string
		produce func(ctx context.Context, codec string, from, count int) error
	}{
		{"java-console", f.produceConsole},
		{"kcat", f.produceKcat},
		{"confluent-python", f.produceDriver("confluent-python")},
		{"franz-go", f.produceDriver("franz-go")},
	}
	for _, p := range producers {
		ok := r.check(ctx, p.client, "flights: produce, five codecs", 3*time.Minute, func(ctx context.Context) error {
			part := (len(f.rows) + len(flightCodecs) - 1) / len(flightCodecs)
			for i, codec := range flightCodecs {
				if err := p.produce(ctx, codec, i*part, part); err != nil {
					return fmt.Errorf("codec %s: %w", codec, err)
				}
			}
			return nil
		})
		if !ok {
			return
		}
		f.copies++
	}
	f.consumeAll(ctx, "before")
	if r.target.restartable() {
		r.check(ctx, "flights", "kill -9 and restart", 3*time.Minute, func(ctx context.Context) (err error) {
			if f.committed, err = f.committedNow(ctx); err != nil {
				return err
			}
			return r.target.crash(ctx)
		})
		r.check(ctx, "flights", "groups' offsets survived", time.Minute, f.offsetsSurvived)
		f.consumeAll(ctx, "after kill -9")
	}
	for _, client := range []string{"java-4.3", "confluent-python", "franz-go"} {
		r.check(ctx, client, "flights: move in transactions", 3*time.Minute, func(ctx context.Context) error { return f.move(ctx, client) })
	}
}

// flightRun is the state of one pass.
type flightRun struct {
	*Run
	topic, file string
	rows        []string
	keys        map[string][]string
	copies      int
	groups      []string
	committed   map[string]map[int32]int64 // before the kill, by group and partition
}

func (f *flightRun) load() error {
	file, err := os.Open(f.file)
	if err != nil {
		return err
	}
	defer file.Close()
	f.keys = map[string][]string{}
	s := bufio.NewScanner(file)
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), "\t")
		if !ok {
			return fmt.Errorf("%s: a line without a key: %q", f.file, s.Text())
		}
		f.rows = append(f.rows, s.Text())
		f.keys[key] = append(f.keys[key], value)
	}
	return errors.Join(s.Err(), want("rows of flights-20k.json", len(f.rows), 20000))
}

// part joins a slice of the rows, with the key set off by sep.
func (f *flightRun) part(from, count int, sep string) string {
	return strings.ReplaceAll(strings.Join(f.rows[from:min(len(f.rows), from+count)], "\n"), "\t", sep) + "\n"
}

func (f *flightRun) produceConsole(ctx context.Context, codec string, from, count int) error {
	_, err := f.toolIn(ctx, f.part(from, count, "\t"), producerTool, "--topic", f.topic, "--compression-codec", codec,
		"--reader-property", "parse.key=true", "--command-property", "acks=all")
	return err
}

func (f *flightRun) produceKcat(ctx context.Context, codec string, from, count int) error {
	_, err := f.execIn(ctx, time.Minute, nil, f.part(from, count, "\t"), "kcat", "-q", "-P", "-b", f.target.addr, "-t", f.topic,
		"-K", "\t", "-z", codec, "-X", "enable.idempotence=true", "-X", "topic.partitioner=murmur2_random", "-X", "linger.ms=5")
	return err
}

func (f *flightRun) produceDriver(client string) func(context.Context, string, int, int) error {
	return func(ctx context.Context, codec string, from, count int) error {
		d := driverNamed(client)
		out, err := f.exec(ctx, time.Minute, f.bootstrapEnv(), d.command(f.Run, "produce", "topic="+f.topic, "file="+f.file, "codec="+codec,
			"from="+strconv.Itoa(from), "count="+strconv.Itoa(count))...)
		if err != nil {
			return err
		}
		return contains(out, "acked "+strconv.Itoa(min(count, len(f.rows)-from)))
	}
}

// consumeAll reads everything back with a group of two members of each client.
func (f *flightRun) consumeAll(ctx context.Context, when string) {
	type reader struct{ client, protocol string }
	readers := []reader{
		{"java-4.3", "classic"}, {"java-4.3", "consumer"}, {"confluent-python", "classic"}, {"confluent-python", "consumer"},
		{"franz-go", "classic"}, {"aiokafka", "classic"}, {"kafka-python", "classic"}, {"kafkajs", "classic"}, {"sarama", "classic"},
	}
	for _, rd := range readers {
		name := fmt.Sprintf("flights: %s group, %s", rd.protocol, when)
		f.check(ctx, rd.client, name, 2*time.Minute, func(ctx context.Context) error {
			group := fmt.Sprintf("%s-%s-%s-%s", f.id, rd.client, rd.protocol, strings.ReplaceAll(when, " ", ""))
			if err := f.consume(ctx, f.topic, driverNamed(rd.client), group, rd.protocol, "read_uncommitted", f.copies); err != nil {
				return err
			}
			if when == "before" {
				f.groups = append(f.groups, group)
			}
			return nil
		})
	}
}

// consume reads a topic with two members of a group until every record came, and accounts for all of them.
func (f *flightRun) consume(ctx context.Context, topic string, d driver, group, protocol, isolation string, copies int) error {
	got := &ledger{records: map[[2]int64]string{}}
	total := copies * len(f.rows)
	argv := d.command(f.Run, "consume", "topic="+topic, "group="+group, "protocol="+protocol, "isolation="+isolation)
	var members []*member
	for i := range 2 {
		last := map[int64]int64{}
		m, err := startMember(ctx, f.bootstrapEnv(), func(line string) { got.add(i, line, last) }, argv...)
		if err != nil {
			return err
		}
		members = append(members, m)
	}
	wait := got.await(ctx, total, members)
	for _, m := range members {
		wait = errors.Join(wait, m.stop())
	}
	err := got.account(f.keys, copies, total)
	if wait == nil && err != nil { // as many came as there are, in time, and they are not those
		err = &wrong{err}
	}
	return errors.Join(wait, err)
}

// ledger is what the members of a group have printed.
type ledger struct {
	mu      sync.Mutex
	records map[[2]int64]string
	problem error
	grew    time.Time
}

// add takes one line of member i, whose highest offset so far in each partition last holds.
func (l *ledger) add(i int, line string, last map[int64]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fields := strings.SplitN(line, "\t", 4)
	if len(fields) != 4 {
		l.fail("member %d printed %q", i, line)
		return
	}
	partition, perr := strconv.ParseInt(fields[0], 10, 64)
	offset, oerr := strconv.ParseInt(fields[1], 10, 64)
	if err := errors.Join(perr, oerr); err != nil {
		l.fail("member %d printed %q: %w", i, line, err)
		return
	}
	at, text := [2]int64{partition, offset}, fields[2]+"\t"+fields[3]
	// A rebalance may hand a partition over before its last commit, so a record can come twice: but it is the same one.
	if before, ok := l.records[at]; ok && before != text {
		l.fail("partition %d offset %d was %q and then %q", partition, offset, before, text)
	}
	if prev, ok := last[partition]; ok && offset <= prev {
		if _, seen := l.records[at]; !seen {
			l.fail("member %d saw offset %d of partition %d after %d", i, offset, partition, prev)
		}
	}
	last[partition] = offset
	l.records[at] = text
	l.grew = time.Now()
}

func (l *ledger) fail(format string, a ...any) {
	if l.problem == nil {
		l.problem = &wrong{fmt.Errorf(format, a...)}
	}
}

// await returns when total records are there, a little later than the last of them so that a surplus shows.
func (l *ledger) await(ctx context.Context, total int, members []*member) error {
	for {
		l.mu.Lock()
		n, problem, quiet := len(l.records), l.problem, time.Since(l.grew)
		l.mu.Unlock()
		if problem != nil || n >= total && quiet > 300*time.Millisecond {
			return problem
		}
		for _, m := range members {
			select {
			case <-m.done:
				return fmt.Errorf("a member ended with %d of %d records there", n, total)
			default:
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d records, the last %v ago: %w", n, total, quiet.Round(time.Second), ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// account holds what came against the input: the count, and for each key the hash of its values in order.
func (l *ledger) account(keys map[string][]string, copies, total int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := want("records", len(l.records), total); err != nil {
		return err
	}
	at := make([][2]int64, 0, len(l.records))
	for k := range l.records {
		at = append(at, k)
	}
	slices.SortFunc(at, func(a, b [2]int64) int {
		if a[0] != b[0] {
			return int(a[0] - b[0])
		}
		return int(a[1] - b[1])
	})
	got := map[string][]string{}
	for _, k := range at {
		key, value, _ := strings.Cut(l.records[k], "\t")
		got[key] = append(got[key], value)
	}
	if err := want("keys", len(got), len(keys)); err != nil {
		return err
	}
	for key, values := range keys {
		if err := want("records of "+key, len(got[key]), copies*len(values)); err != nil {
			return err
		}
		if err := want("hash of "+key+" in order", hashOf(got[key]), hashOf(slices.Repeat(values, copies))); err != nil {
			return err
		}
	}
	return nil
}

func hashOf(values []string) uint64 {
	h := fnv.New64a()
	for _, v := range values {
		h.Write([]byte(v))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// committedNow is what every group has committed, by group and partition.
func (f *flightRun) committedNow(ctx context.Context) (map[string]map[int32]int64, error) {
	adm, closeAdm, err := f.admin()
	if err != nil {
		return nil, err
	}
	defer closeAdm()
	all := map[string]map[int32]int64{}
	for _, group := range f.groups {
		got, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("offsets of %s: %w", group, err)
		}
		all[group] = map[int32]int64{}
		for p, o := range got[f.topic] {
			all[group][p] = o.At
		}
	}
	return all, nil
}

// offsetsSurvived compares what groups have committed with what they had before the kill. A coordinator of Apache Kafka
// that has just loaded its groups shows them as of the high watermark that it has heard of, which after a kill of every
// replica is an older one for a moment: there it is asked again.
func (f *flightRun) offsetsSurvived(ctx context.Context) error {
	for {
		err := f.offsetsAsBefore(ctx)
		if err == nil || f.target.kind != "kafka" || f.target.cluster == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (f *flightRun) offsetsAsBefore(ctx context.Context) error {
	now, err := f.committedNow(ctx)
	if err != nil {
		return err
	}
	compared := 0
	for group, before := range f.committed {
		for p, at := range before {
			if now[group][p] != at {
				return &wrong{fmt.Errorf("group %s had committed %d of partition %d before the kill, now it is %d", group, at, p, now[group][p])}
			}
			compared++
		}
	}
	if compared == 0 {
		return errors.New("no group had committed anything")
	}
	return nil
}

// move copies one producer's worth of flights from topic to topic in transactions of which every third is aborted.
func (f *flightRun) move(ctx context.Context, client string) error {
	from, to := f.topic+"-from-"+client, f.topic+"-to-"+client
	if err := errors.Join(f.createTopic(ctx, from, flightPartitions), f.createTopic(ctx, to, flightPartitions)); err != nil {
		return err
	}
	source := &flightRun{Run: f.Run, topic: from, file: f.file, rows: f.rows, keys: f.keys}
	if err := source.produceDriver("franz-go")(ctx, "zstd", 0, len(f.rows)); err != nil {
		return err
	}
	d := driverNamed(client)
	out, err := f.exec(ctx, 2*time.Minute, f.bootstrapEnv(), d.command(f.Run, "move", "from="+from, "to="+to, "group="+f.id+"-move-"+client,
		"txid="+f.id+"-move-"+client, "abort=3", "expect="+strconv.Itoa(len(f.rows)))...)
	if err != nil {
		return err
	}
	var moved, aborted int
	if _, err := fmt.Sscanf(out, "moved %d aborted %d", &moved, &aborted); err != nil {
		return fmt.Errorf("output %q: %w", out, err)
	}
	if aborted == 0 {
		return errors.New("no transaction was aborted")
	}
	// Who reads committed records sees each flight once; who does not sees the aborted copies too.
	for _, reader := range []string{"java-4.3", "confluent-python", "franz-go"} {
		group := fmt.Sprintf("%s-moved-%s-%s", f.id, client, reader)
		if err := f.consume(ctx, to, driverNamed(reader), group, "classic", "read_committed", 1); err != nil {
			return fmt.Errorf("read_committed by %s: %w", reader, err)
		}
	}
	adm, closeAdm, err := f.admin()
	if err != nil {
		return err
	}
	defer closeAdm()
	ends, err := adm.ListEndOffsets(ctx, to)
	if err != nil {
		return err
	}
	var written int64
	for _, e := range ends[to] {
		written += e.Offset
	}
	if written < int64(moved+aborted) {
		return fmt.Errorf("the topic ends at %d in all, less than the %d records sent", written, moved+aborted)
	}
	return nil
}
