package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type produceFlags struct {
	input         string
	format        string
	key           string
	keyDelimiter  string
	headers       []string
	partition     int32
	keepPartition bool
	tombstone     bool
	compression   string
	acks          string
	linger        time.Duration
	timestamp     string
	txnID         string
	maxBytes      string
	noCreate      bool
	progress      string
}

func produceCmd(a *App) *cobra.Command {
	fl := produceFlags{}
	c := &cobra.Command{
		Use:     "produce TOPIC [VALUE...]",
		Aliases: []string{"pub"},
		Short:   "Write records to a topic",
		Long: `Write records: each VALUE given, or each line of a file or of stdin. With -f other forms are read:
JSON objects as consume writes them, or a layout such as '%k %v\n'.

A record with a key goes to the partition of its key (as every Kafka client places it), one without
to any. By default a record counts as written when all in-sync copies have it (acks=all), exactly
once. What was written is told on stderr; -o ndjson prints each record's place on stdout, -o json a
summary.`,
		Example: examples(
			"one record", "logstead produce orders -k 1 '{\"amount\":3}'",
			"every line of a file", "logstead produce orders -i orders.txt",
			"key and value in each line, key first", "logstead produce orders -K , < orders.csv",
			"what another topic holds, with keys and headers", "logstead consume orders -o :end -f json | logstead produce copy -f json",
			"delete the record of a key from a compacted topic", "logstead produce users -k ana -Z",
			"headers and compression", "logstead produce orders -H source=shop -H try=1 -z zstd 'hello'",
			"the whole input as one transaction", "logstead produce orders -i batch.txt --transactional-id load-1"),
		Args:              cobra.ArbitraryArgs,
		Annotations:       map[string]string{"own-output": "yes"},
		ValidArgsFunction: a.completeFirstTopic,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.produce(cmd, args, fl) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&fl.key, "key", "k", "", "key for every record")
	f.StringVarP(&fl.keyDelimiter, "key-delimiter", "K", "",
		"split each line at the first `TEXT`: key before, value after")
	f.StringArrayVarP(&fl.headers, "header", "H", nil, "header `NAME=VALUE` for every record (may be repeated)")
	f.StringVarP(&fl.input, "input", "i", "", "read from `FILE` (- is stdin)")
	f.StringVarP(&fl.format, "format", "f", "raw",
		"input `FORMAT`: raw (lines), json, whole (one record), or a layout with %")
	f.BoolVarP(&fl.tombstone, "tombstone", "Z", false, "write null where the value is empty")
	f.Int32VarP(&fl.partition, "partition", "p", -1, "partition for every record (-1: by key)")
	f.BoolVar(&fl.keepPartition, "keep-partition", false, "with -f json: keep each record's partition")
	f.StringVar(&fl.timestamp, "timestamp", "", "`TIME` for every record, such as 2026-11-21 or -1h (default: now)")
	f.StringVarP(&fl.compression, "compression", "z", "", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&fl.acks, "acks", "", "who must have the record: all, 1 (the leader) or 0 (nobody is asked)")
	f.DurationVar(&fl.linger, "linger", 0, "wait this long for more records to send together")
	f.StringVar(&fl.maxBytes, "max-batch-bytes", "", "largest batch to send (default 1MiB)")
	f.StringVar(&fl.txnID, "transactional-id", "", "write everything in one transaction of this `ID`")
	f.BoolVar(&fl.noCreate, "no-create", false, "do not ask the broker to create a missing topic")
	f.StringVar(&fl.progress, "progress", "auto", "progress on stderr: auto, always or never")
	return c
}

func (a *App) produce(cmd *cobra.Command, args []string, fl produceFlags) error {
	switch a.flags.output {
	case "", "json", "ndjson", "yaml", "table", "wide", "csv", "name", "help":
	default:
		return checkFormat(a.flags.output)
	}
	topic := ""
	if len(args) > 0 {
		topic, args = args[0], args[1:]
	}
	if topic == "" && fl.format != "json" && !strings.Contains(fl.format, "%t") {
		return usagef("TOPIC is missing").try("%s", cmd.UseLine())
	}
	if err := a.guardWrite(); err != nil {
		return err
	}
	src, closeInput, err := a.recordSource(args, fl)
	if err != nil {
		return err
	}
	defer closeInput()
	opts, err := a.producerOptions(topic, fl)
	if err != nil {
		return err
	}
	cn, err := a.dial(cmd, opts...)
	if err != nil {
		return err
	}
	defer cn.close()
	p := newProducing(a, cn, topic, fl)
	return p.run(cmd.Context(), src)
}

// producerOptions merges flags over client properties.
func (a *App) producerOptions(topic string, fl produceFlags) ([]kgo.Opt, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	p := s.props
	opts := []kgo.Opt{
		kgo.RecordDeliveryTimeout(s.timeout),
		kgo.ProduceRequestTimeout(s.timeout),
		kgo.UnknownTopicRetries(3),
		kgo.MaxBufferedRecords(20_000),
		kgo.MaxBufferedBytes(128 << 20),
	}
	if topic != "" {
		opts = append(opts, kgo.DefaultProduceTopic(topic))
	}
	if !fl.noCreate {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	ackOpts, err := ackOptions(firstOf(fl.acks, p.acks), p.idempotence, fl.txnID != "" || p.txnID != "")
	if err != nil {
		return nil, err
	}
	opts = append(opts, ackOpts...)
	codec, err := compressionOption(firstOf(fl.compression, p.compression))
	if err != nil {
		return nil, err
	}
	opts = append(opts, codec...)
	if d := max(fl.linger, p.linger); d > 0 {
		opts = append(opts, kgo.ProducerLinger(d))
	}
	if fl.partition >= 0 || fl.keepPartition {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	if id := firstOf(fl.txnID, p.txnID); id != "" {
		opts = append(opts, kgo.TransactionalID(id))
	}
	size, err := batchBytes(fl.maxBytes, p.batchBytes)
	if err != nil {
		return nil, err
	}
	return append(opts, kgo.ProducerBatchMaxBytes(size)), nil
}

func batchBytes(flag string, prop int64) (int32, error) {
	n := prop
	if flag != "" {
		var err error
		if n, err = parseBytes(flag); err != nil {
			return 0, usagef("--max-batch-bytes: %v", err)
		}
	}
	if n <= 0 {
		return 1_000_012, nil // Kafka's message.max.bytes less what a request adds
	}
	if n < 1024 || n > 100<<20 {
		return 0, usagef("batch size %s: want between 1 KiB and 100 MiB", humanBytes(n))
	}
	return int32(n), nil
}

func ackOptions(acks string, idempotent *bool, txn bool) ([]kgo.Opt, error) {
	weak := func(level kgo.Acks) ([]kgo.Opt, error) {
		if txn {
			return nil, usagef("acks=%s cannot be used in a transaction", acks).try("--acks all")
		}
		return []kgo.Opt{kgo.RequiredAcks(level), kgo.DisableIdempotentWrite()}, nil
	}
	switch strings.ToLower(acks) {
	case "", "all", "-1":
		if idempotent != nil && !*idempotent && !txn {
			return []kgo.Opt{kgo.DisableIdempotentWrite()}, nil
		}
		return nil, nil
	case "1", "leader":
		return weak(kgo.LeaderAck())
	case "0", "none":
		return weak(kgo.NoAck())
	}
	return nil, usagef("acks %q is not one of all, 1, 0", acks)
}

var codecs = map[string]func() kgo.CompressionCodec{
	"none": kgo.NoCompression, "gzip": kgo.GzipCompression, "snappy": kgo.SnappyCompression,
	"lz4": kgo.Lz4Compression, "zstd": kgo.ZstdCompression,
}

func compressionOption(name string) ([]kgo.Opt, error) {
	if name == "" {
		return []kgo.Opt{kgo.ProducerBatchCompression(kgo.NoCompression())}, nil
	}
	fn, ok := codecs[strings.ToLower(name)]
	if !ok {
		f := usagef("compression %q is not one of %s", name, strings.Join(sortedKeys(codecs), ", "))
		f.Similar = similar(name, sortedKeys(codecs))
		return nil, f
	}
	return []kgo.Opt{kgo.ProducerBatchCompression(fn())}, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// recordSource chooses where records come from: arguments, a file or stdin.
func (a *App) recordSource(values []string, fl produceFlags) (recordSource, func(), error) {
	nothing := func() {}
	base, err := a.baseRecord(fl)
	if err != nil {
		return nil, nothing, err
	}
	if len(values) > 0 {
		if fl.input != "" {
			return nil, nothing, usagef("both values and --input were given")
		}
		return &argSource{values: values, shape: base}, nothing, nil
	}
	if fl.tombstone && fl.key != "" && fl.input == "" {
		return &argSource{values: []string{""}, shape: base}, nothing, nil
	}
	in, closer := a.Stdin, nothing
	if fl.input != "" && fl.input != "-" {
		f, err := os.Open(fl.input)
		if err != nil {
			return nil, nothing, &Fault{What: "cannot read " + fl.input, Why: innermost(err), Exit: exitNotFound}
		}
		in, closer = f, func() { f.Close() }
	} else if a.StdinTTY {
		a.say("type one record a line; ctrl-d ends")
	}
	src, err := newRecordSource(in, base, fl)
	return src, closer, err
}

// baseRecord is what every record shares.
func (a *App) baseRecord(fl produceFlags) (recordShape, error) {
	s := recordShape{partition: fl.partition, tombstone: fl.tombstone, delimiter: unescape(fl.keyDelimiter)}
	if fl.key != "" {
		s.key = []byte(fl.key)
	}
	for _, h := range fl.headers {
		k, v, err := splitPair(h)
		if err != nil {
			return s, usagef("header %v", err)
		}
		s.headers = append(s.headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	if fl.timestamp != "" {
		t, err := parseInstant(fl.timestamp, a.Now())
		if err != nil {
			return s, usagef("--timestamp: %v", err)
		}
		s.timestamp = t
	}
	if fl.key != "" && fl.keyDelimiter != "" {
		return s, usagef("--key and --key-delimiter exclude each other")
	}
	return s, nil
}

// unescape turns \t and \n into the characters, as people write delimiters in a shell.
func unescape(s string) string {
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\\`, `\`).Replace(s)
}

// read pulls records from the source in a goroutine, since a read from a terminal cannot be stopped;
// the channel ends with the source, the error (if any) is in the last item.
func readRecords(ctx context.Context, src recordSource) <-chan readResult {
	ch := make(chan readResult, 256)
	go func() {
		defer close(ch)
		for {
			r, err := src.next()
			if errors.Is(err, io.EOF) {
				return
			}
			select {
			case ch <- readResult{r, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return ch
}

type readResult struct {
	rec *kgo.Record
	err error
}

// produceFault explains why a record was not written.
func (c *conn) produceFault(rec *kgo.Record, err error) *Fault {
	what := fmt.Sprintf("cannot write to topic %q", rec.Topic)
	if errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, context.DeadlineExceeded) {
		if why := c.watch.trouble(); why != nil {
			return asFault(what, why)
		}
		return &Fault{What: what, Why: fmt.Sprintf("not acknowledged within %s", humanDuration(c.timeout)),
			Exit: exitUnreachable, Try: "logstead topic describe " + shellQuote(rec.Topic) + ", or a larger --timeout"}
	}
	if strings.Contains(err.Error(), "invalid record partitioning choice") {
		return &Fault{What: what, Why: fmt.Sprintf("it has no partition %d", rec.Partition), Exit: exitNotFound,
			Try: "logstead topic describe " + shellQuote(rec.Topic)}
	}
	f := asFault(what, c.fault(what, err))
	if isKafka(err, kerr.UnknownTopicOrPartition) {
		ctx, cancel := c.step()
		defer cancel()
		if all, lerr := c.ListTopicsWithInternal(ctx); lerr == nil && !all.Has(rec.Topic) {
			f.Similar = similar(rec.Topic, all.Names())
			f.Why = "UNKNOWN_TOPIC_OR_PARTITION (3): it does not exist, and the broker does not create topics by itself"
			f.Try = "logstead topic create " + shellQuote(rec.Topic)
		}
	}
	if isKafka(err, kerr.MessageTooLarge) {
		f.Try = fmt.Sprintf("a smaller record (this one has %s), -z zstd, or a larger max.message.bytes on the topic",
			humanBytes(int64(len(rec.Key)+len(rec.Value))))
	}
	return f
}
