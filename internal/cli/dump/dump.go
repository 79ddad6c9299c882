package dump

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kind is what a file of a log directory is.
type Kind string

// The kinds of files, named after what is in them.
const (
	Log        Kind = "log"
	Index      Kind = "index"
	TimeIndex  Kind = "timeindex"
	TxnIndex   Kind = "txnindex"
	Snapshot   Kind = "snapshot"
	Checkpoint Kind = "checkpoint"
	Properties Kind = "properties"
	Unknown    Kind = ""
)

var metadataSnapshot = regexp.MustCompile(`^\d{20}-\d{10}\.checkpoint$`)

// KindOf tells a file's kind by its name. A deleted or replaced segment keeps its kind.
func KindOf(name string) Kind {
	base := filepath.Base(name)
	base = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, ".deleted"), ".cleaned"), ".swap")
	switch {
	case metadataSnapshot.MatchString(base), base == "bootstrap.checkpoint": // metadata, written as batches
		return Log
	case base == "meta.properties", base == "partition.metadata", base == "quorum-state":
		return Properties
	case strings.HasSuffix(base, "-checkpoint"):
		return Checkpoint
	}
	switch filepath.Ext(base) {
	case ".log":
		return Log
	case ".index":
		return Index
	case ".timeindex":
		return TimeIndex
	case ".txnindex":
		return TxnIndex
	case ".snapshot":
		return Snapshot
	}
	return Unknown
}

// BaseOffset is the offset in a segment file's name.
func BaseOffset(name string) (int64, bool) {
	digits, _, _ := strings.Cut(filepath.Base(name), ".")
	digits, _, _ = strings.Cut(digits, "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && len(digits) == 20
}

// Item is one thing found in a file. Exactly one of the pointers is set, by Kind; Problem says what
// is wrong with it, or with the bytes at Position where nothing could be made of them.
type Item struct {
	File     string     `json:"file"`
	Kind     string     `json:"kind"` // batch, record, offset, time, aborted, producer, line or damage
	Position int64      `json:"position"`
	Problem  string     `json:"problem,omitempty"`
	Batch    *Batch     `json:"batch,omitempty"`
	Record   *Record    `json:"record,omitempty"`
	Offset   *OffsetRow `json:"offset,omitempty"`
	Time     *TimeRow   `json:"time,omitempty"`
	Aborted  *Aborted   `json:"aborted,omitempty"`
	Producer *Producer  `json:"producer,omitempty"`
	Line     *Line      `json:"line,omitempty"`
}

// Options say how deep to look.
type Options struct {
	Records bool   // also the records of each batch
	Decoder string // "", "offsets", "transactions" or "metadata": what the records of a log are
}

// maxFile bounds the small files, which are read whole.
const maxFile = 1 << 30

// File visits everything in a file, in order.
func File(name string, o Options, visit func(Item) error) error {
	kind := KindOf(name)
	if kind == Unknown {
		return fmt.Errorf("%s is not a file that a broker writes: its name tells nothing", name)
	}
	if kind == Log {
		return dumpLog(name, o, visit)
	}
	data, err := readUsed(name)
	if err != nil {
		return err
	}
	emit := func(it Item) error { it.File = name; return visit(it) }
	base, _ := BaseOffset(name)
	switch kind {
	case Index:
		return dumpIndex(data, base, emit)
	case TimeIndex:
		return dumpTimeIndex(data, base, emit)
	case TxnIndex:
		return dumpTxnIndex(data, emit)
	case Snapshot:
		return dumpSnapshot(data, emit)
	}
	return dumpLines(kind, data, emit)
}

// readUsed reads a file up to its first block of zeros: an index is reserved at its full size, ten
// mebibytes by default, of which a small partition uses a few bytes.
func readUsed(name string) ([]byte, error) {
	const block = 64 << 10
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var data []byte
	for len(data) < maxFile {
		data = slices.Grow(data, block)
		n, err := io.ReadFull(f, data[len(data):len(data)+block])
		part := data[len(data) : len(data)+n]
		if n > 0 && len(data) > 0 && allZero(part) {
			return data, nil
		}
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: more than %d bytes, which no such file has", name, maxFile)
}

// DecoderFor guesses from the directory what a log's records are.
func DecoderFor(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		abs = name
	}
	dir := filepath.Base(filepath.Dir(abs))
	if filepath.Base(abs) == "bootstrap.checkpoint" {
		return "metadata"
	}
	switch {
	case strings.HasPrefix(dir, "__consumer_offsets-"):
		return "offsets"
	case strings.HasPrefix(dir, "__transaction_state-"):
		return "transactions"
	case strings.HasPrefix(dir, "__cluster_metadata-"):
		return "metadata"
	}
	return ""
}
