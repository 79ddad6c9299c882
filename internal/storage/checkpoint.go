package storage

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
)

// Kafka's checkpoint files are text: a version line, a count line, and one entry a line.
const (
	checkpointVersion  = "0"
	maxCheckpointBytes = 256 << 20
)

// writeLines replaces a checkpoint file.
func writeLines(fsys vfs.FS, name string, lines []string) error {
	return vfs.WriteFile(fsys, name, formatLines(lines))
}

func formatLines(lines []string) []byte {
	var b bytes.Buffer
	b.WriteString(checkpointVersion + "\n" + strconv.Itoa(len(lines)) + "\n")
	for _, l := range lines {
		b.WriteString(l)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// readLines reads a checkpoint file; one that is absent or empty (Kafka creates it so) has no lines.
func readLines(fsys vfs.FS, name string) ([]string, error) {
	data, err := vfs.ReadFile(fsys, name, maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseLines(name, string(data))
}

func parseLines(name, text string) ([]string, error) {
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")
	if lines[0] != checkpointVersion {
		return nil, fmt.Errorf("checkpoint %s: version line is %q, want %q", name, lines[0], checkpointVersion)
	}
	if len(lines) < 2 {
		return nil, fmt.Errorf("checkpoint %s: the count line is missing", name)
	}
	n, err := strconv.Atoi(lines[1])
	if err != nil || n != len(lines)-2 {
		return nil, fmt.Errorf("checkpoint %s: count line is %q but %d entries follow", name, lines[1], len(lines)-2)
	}
	return lines[2:], nil
}

// offsets is the content of an offset checkpoint.
type offsets map[base.TopicPartition]int64

func readOffsets(fsys vfs.FS, dir, file string) (offsets, error) {
	name := path.Join(dir, file)
	lines, err := readLines(fsys, name)
	if err != nil {
		return nil, err
	}
	o := make(offsets, len(lines))
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) != 3 {
			return nil, fmt.Errorf("checkpoint %s: entry %q, want \"topic partition offset\"", name, l)
		}
		p, perr := strconv.ParseInt(f[1], 10, 32)
		off, oerr := strconv.ParseInt(f[2], 10, 64)
		if perr != nil || oerr != nil {
			return nil, fmt.Errorf("checkpoint %s: entry %q, want \"topic partition offset\"", name, l)
		}
		o[base.TopicPartition{Topic: f[0], Partition: int32(p)}] = off
	}
	return o, nil
}

// writeOffsets writes an offset checkpoint of the directory, unless it says what it said the last
// time. checkpointMu is held.
func (d *logDir) writeOffsets(file string, logs []*Log, of func(*Log) (int64, bool)) error {
	lines := make([]string, 0, len(logs))
	for _, l := range logs {
		if off, ok := of(l); ok {
			lines = append(lines, l.tp.Topic+" "+strconv.Itoa(int(l.tp.Partition))+" "+strconv.FormatInt(off, 10))
		}
	}
	data := formatLines(lines)
	sum := fnv.New64a()
	_, _ = sum.Write(data)
	if last, ok := d.lastWritten[file]; ok && last == sum.Sum64() {
		return nil
	}
	delete(d.lastWritten, file)
	if err := vfs.WriteFile(d.store.opts.FS, path.Join(d.path, file), data); err != nil {
		return err
	}
	if d.lastWritten == nil {
		d.lastWritten = make(map[string]uint64)
	}
	d.lastWritten[file] = sum.Sum64()
	return nil
}
