package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/cli/dump"
)

type dumpFlags struct {
	records bool
	decoder string
	verify  bool
}

func debugDumpLogCmd(a *App) *cobra.Command {
	fl := dumpFlags{}
	c := &cobra.Command{
		Use:   "dump-log FILE|DIR...",
		Short: "Print what is in the files of a log directory, without a broker",
		Long: `Print segments (.log), indexes (.index, .timeindex, .txnindex), producer snapshots, checkpoints and
properties, as logstead and Apache Kafka write them. Of a directory all its files are printed. The
records of __consumer_offsets, __transaction_state and __cluster_metadata are decoded with --records.

Damage is printed with its place, and makes the exit code 1. The files are only read; of a running
broker the end of the active segment may be caught in the middle of a write.`,
		Example: examples(
			"the batches of a partition", "logstead debug dump-log data/orders-0",
			"records too", "logstead debug dump-log --records data/orders-0/00000000000000000000.log",
			"committed offsets, with jq", "logstead debug dump-log --records -o ndjson data/__consumer_offsets-7 | jq 'select(.record).record.decoded'",
			"only say what is damaged", "logstead debug dump-log --verify data/*-*"),
		Args: minArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.dumpLog(args, fl) },
	}
	c.Flags().BoolVar(&fl.records, "records", false, "also print the records of each batch")
	c.Flags().StringVar(&fl.decoder, "decoder", "auto",
		"what the records are: auto (by directory), none, offsets, transactions or metadata")
	c.Flags().BoolVar(&fl.verify, "verify", false, "print only what is wrong")
	return c
}

func (a *App) dumpLog(args []string, fl dumpFlags) error {
	switch fl.decoder {
	case "auto", "none", "offsets", "transactions", "metadata":
	default:
		return usagef("--decoder %q is not one of auto, none, offsets, transactions, metadata", fl.decoder)
	}
	files, err := a.dumpFiles(args)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(a.Stdout, 64<<10)
	d := &dumping{app: a, w: w, fl: fl}
	if err := d.run(files); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if d.problems > 0 {
		return &Fault{What: fmt.Sprintf("%s in %s", countOf(d.problems, "problem"), countOf(len(files), "file")),
			Exit: exitFailed}
	}
	if fl.verify {
		a.say("%s read, nothing wrong", countOf(len(files), "file"))
	}
	return nil
}

// dumpFiles lists the files to print: those named, and the known ones of directories.
func (a *App) dumpFiles(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			exit := exitFailed
			if errors.Is(err, fs.ErrNotExist) {
				exit = exitNotFound
			}
			return nil, &Fault{What: "cannot read " + arg, Why: innermost(err), Exit: exit}
		}
		if !info.IsDir() {
			if dump.KindOf(arg) == dump.Unknown && len(args) > 1 {
				a.say("%s: passed over, its name is not of a broker's file", arg) // a shell pattern catches all
				continue
			}
			if dump.KindOf(arg) == dump.Unknown {
				return nil, usagef("%s is not a file that a broker writes", arg).try(
					"a .log, .index, .timeindex, .txnindex, .snapshot or checkpoint file")
			}
			out = append(out, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, &Fault{What: "cannot read " + arg, Why: innermost(err)}
		}
		var found []string
		for _, e := range entries {
			if !e.IsDir() && dump.KindOf(e.Name()) != dump.Unknown {
				found = append(found, filepath.Join(arg, e.Name()))
			}
		}
		sort.Strings(found)
		out = append(out, found...)
	}
	if len(out) == 0 {
		return nil, &Fault{What: "there are no files of a log in " + strings.Join(args, ", "), Exit: exitNotFound}
	}
	return out, nil
}

// dumping is one run: it writes items as they are found, since a segment may be large.
type dumping struct {
	app      *App
	w        *bufio.Writer
	fl       dumpFlags
	items    int
	problems int
}

func (d *dumping) run(files []string) error {
	asJSON := d.app.format() == "json"
	if asJSON {
		fmt.Fprint(d.w, "[")
	}
	for _, file := range files {
		if err := d.file(file); err != nil {
			return asFault("cannot dump "+file, err)
		}
	}
	if asJSON {
		fmt.Fprintln(d.w, "\n]")
	}
	return nil
}

func (d *dumping) file(file string) error {
	o := dump.Options{Records: d.fl.records || d.fl.verify, Decoder: d.fl.decoder}
	switch d.fl.decoder {
	case "auto":
		o.Decoder = dump.DecoderFor(file)
	case "none":
		o.Decoder = ""
	}
	switch d.app.format() {
	case "json", "ndjson":
		return dump.File(file, o, d.itemJSON)
	case "table", "wide":
	default:
		return usagef("-o %s is not known to dump-log", d.app.format()).try("table, wide, json or ndjson")
	}
	if !d.fl.verify {
		fmt.Fprintln(d.w, d.app.paint(bold, file))
	}
	return dump.File(file, o, d.itemText)
}

func (d *dumping) counts(it dump.Item) (show bool) {
	if it.Problem != "" {
		d.problems++
		return true
	}
	return !d.fl.verify
}

func (d *dumping) itemJSON(it dump.Item) error {
	if !d.counts(it) {
		return nil
	}
	b, err := json.Marshal(it)
	if err != nil {
		return err
	}
	if d.app.format() == "json" {
		if d.items > 0 {
			d.w.WriteString(",")
		}
		d.w.WriteString("\n  ")
	}
	d.items++
	d.w.Write(b)
	if d.app.format() == "ndjson" {
		d.w.WriteByte('\n')
	}
	return nil
}

// itemText writes one line, in the order of the file: name=value pairs, which grep likes.
func (d *dumping) itemText(it dump.Item) error {
	if !d.counts(it) {
		return nil
	}
	line := "  " + itemLine(it, d.app.format() == "wide")
	if d.fl.verify {
		line = fmt.Sprintf("%s at %d:%s", it.File, it.Position, line)
	}
	if it.Problem != "" {
		line += "  " + d.app.paint(red, "PROBLEM: "+it.Problem)
	}
	_, err := fmt.Fprintln(d.w, line)
	return err
}

func itemLine(it dump.Item, wide bool) string {
	switch {
	case it.Batch != nil:
		return batchLine(it.Position, it.Batch, wide)
	case it.Record != nil:
		return recordLine(it.Record)
	case it.Offset != nil:
		return fmt.Sprintf("offset %d  position %d", it.Offset.Offset, it.Offset.BatchPosition)
	case it.Time != nil:
		return fmt.Sprintf("timestamp %s  offset %d", msTime(it.Time.Timestamp), it.Time.Offset)
	case it.Aborted != nil:
		return fmt.Sprintf("aborted %d-%d  producer %d  last stable offset %d", it.Aborted.FirstOffset,
			it.Aborted.LastOffset, it.Aborted.ProducerID, it.Aborted.LastStableOffset)
	case it.Producer != nil:
		p := it.Producer
		s := fmt.Sprintf("producer %d epoch %d  sequence %d  offset %d  last write %s", p.ProducerID,
			p.ProducerEpoch, p.LastSequence, p.LastOffset, msTime(p.LastTimestamp))
		if p.TxnStartOffset >= 0 {
			s += fmt.Sprintf("  transaction open from %d", p.TxnStartOffset)
		}
		return s
	case it.Line != nil:
		return strings.Join(it.Line.Fields, " ")
	}
	return fmt.Sprintf("at %d", it.Position)
}

func batchLine(pos int64, b *dump.Batch, wide bool) string {
	s := fmt.Sprintf("batch %d-%d  at %d  %s  %s  %s  epoch %d  %s %s", b.BaseOffset, b.LastOffset, pos,
		countOf(int(b.Count), "record"), humanBytes(int64(b.Bytes)), b.Codec, b.LeaderEpoch, b.TimestampType, msTime(
			b.MaxTimestamp))
	if b.ProducerID >= 0 {
		s += fmt.Sprintf("  producer %d/%d", b.ProducerID, b.ProducerEpoch)
		if b.BaseSequence >= 0 {
			s += fmt.Sprintf(" sequence %d-%d", b.BaseSequence, b.LastSequence)
		}
	}
	if b.Transactional {
		s += "  transactional"
	}
	if b.Control {
		s += "  control"
	}
	if wide {
		s += fmt.Sprintf("  crc %08x  base time %s", b.CRC, msTime(b.BaseTimestamp))
		if b.DeleteHorizon {
			s += " (delete horizon)"
		}
	}
	return s
}

func recordLine(r *dump.Record) string {
	s := fmt.Sprintf("  record %d  %s", r.Offset, msTime(r.Timestamp))
	if r.Control != "" {
		return s + "  " + r.Control
	}
	if r.Decoded != nil {
		b, err := json.Marshal(r.Decoded)
		if err == nil {
			return s + "  " + string(b)
		}
	}
	s += "  key " + dumpText(r.Key, r.KeyEncoding) + "  value " + dumpText(r.Value, r.ValueEncoding)
	for _, h := range r.Headers {
		s += "  " + printable(h.Key) + "=" + dumpText(h.Value, h.ValueEncoding)
	}
	return s
}

func dumpText(s *string, encoding string) string {
	if s == nil {
		return "null"
	}
	if encoding != "" {
		return encoding + ":" + *s
	}
	return fmt.Sprintf("%q", *s)
}

func msTime(ms int64) string {
	if ms < 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
