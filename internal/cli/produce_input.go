package cli

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxInputRecord bounds one record of input; a broker refuses far smaller ones.
const maxInputRecord = 256 << 20

// recordSource yields records until io.EOF.
type recordSource interface {
	next() (*kgo.Record, error)
}

// recordShape is what the command line says about every record.
type recordShape struct {
	key       []byte
	headers   []kgo.RecordHeader
	partition int32
	timestamp time.Time
	tombstone bool
	delimiter string
}

// record builds one from a line of text.
func (s recordShape) record(line []byte) (*kgo.Record, error) {
	r := s.blank()
	r.Value = line
	if s.delimiter != "" {
		k, v, ok := bytes.Cut(line, []byte(s.delimiter))
		if !ok {
			return nil, usagef("no key delimiter %q in it", s.delimiter)
		}
		r.Key, r.Value = k, v
	}
	s.finish(r)
	return r, nil
}

func (s recordShape) blank() *kgo.Record {
	return &kgo.Record{Key: s.key, Headers: s.headers, Partition: s.partition, Timestamp: s.timestamp}
}

// finish applies -Z: an empty value is null. Without it an empty value stays an empty value.
func (s recordShape) finish(r *kgo.Record) {
	if s.tombstone && len(r.Value) == 0 {
		r.Value = nil
	} else if r.Value == nil {
		r.Value = []byte{}
	}
}

// argSource yields the values given on the command line.
type argSource struct {
	values []string
	shape  recordShape
}

func (s *argSource) next() (*kgo.Record, error) {
	if len(s.values) == 0 {
		return nil, io.EOF
	}
	v := s.values[0]
	s.values = s.values[1:]
	return s.shape.record([]byte(v))
}

func newRecordSource(in io.Reader, shape recordShape, fl produceFlags) (recordSource, error) {
	br := bufio.NewReaderSize(in, 256<<10)
	switch {
	case fl.format == "raw":
		return &lineSource{in: br, shape: shape}, nil
	case fl.format == "whole":
		return &wholeSource{in: br, shape: shape}, nil
	case fl.format == "json":
		return &jsonSource{dec: json.NewDecoder(br), shape: shape, keepPartition: fl.keepPartition}, nil
	case strings.Contains(fl.format, "%"):
		rr, err := kgo.NewRecordReader(br, fl.format)
		if err != nil {
			return nil, usagef("format %q: %v", fl.format, err).try("logstead help formats")
		}
		return &layoutSource{in: rr, shape: shape}, nil
	}
	f := usagef("input format %q is not raw, json, whole or a layout with %%", fl.format)
	f.Similar = similar(fl.format, []string{"raw", "json", "whole"})
	return nil, f.try("logstead help formats")
}

// lineSource yields one record a line; the last line may lack its newline.
type lineSource struct {
	in    *bufio.Reader
	shape recordShape
	line  int
}

func (s *lineSource) next() (*kgo.Record, error) {
	line, err := readLine(s.in)
	if err != nil {
		return nil, err
	}
	s.line++
	r, err := s.shape.record(line)
	if err != nil {
		return nil, inLine(s.line, err)
	}
	return r, nil
}

// readLine returns a fresh slice without the line end.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxInputRecord {
			return nil, usagef("a line of input is longer than %s", humanBytes(maxInputRecord))
		}
		switch {
		case err == nil:
			line = line[:len(line)-1]
			return bytes.TrimSuffix(line, []byte("\r")), nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		}
		return nil, err
	}
}

func inLine(n int, err error) error {
	f := asFault("input", err)
	f.What = fmt.Sprintf("line %d of the input: %s", n, f.What)
	f.Exit = exitUsage
	return f
}

// wholeSource yields the whole input as one record.
type wholeSource struct {
	in    io.Reader
	shape recordShape
	done  bool
}

func (s *wholeSource) next() (*kgo.Record, error) {
	if s.done {
		return nil, io.EOF
	}
	s.done = true
	b, err := io.ReadAll(io.LimitReader(s.in, maxInputRecord+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxInputRecord {
		return nil, usagef("the input is larger than %s", humanBytes(maxInputRecord))
	}
	return s.shape.record(b)
}

// layoutSource reads records by a printf-like layout.
type layoutSource struct {
	in    *kgo.RecordReader
	shape recordShape
	n     int
}

func (s *layoutSource) next() (*kgo.Record, error) {
	r := s.shape.blank()
	key := r.Key
	if err := s.in.ReadRecordInto(r); err != nil {
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, io.EOF
		}
		return nil, usagef("record %d of the input does not fit the format: %v", s.n+1, err)
	}
	s.n++
	// The reader reuses nothing, but clears what its layout does not name.
	if r.Key == nil {
		r.Key = key
	}
	s.shape.finish(r)
	return r, nil
}

// jsonSource reads the record envelope that consume writes.
type jsonSource struct {
	dec           *json.Decoder
	shape         recordShape
	keepPartition bool
	n             int
}

type jsonRecord struct {
	Topic         string          `json:"topic"`
	Partition     *int32          `json:"partition"`
	Timestamp     *int64          `json:"timestamp"`
	Key           json.RawMessage `json:"key"`
	Value         json.RawMessage `json:"value"`
	Headers       []jsonHeader    `json:"headers"`
	KeyEncoding   string          `json:"key_encoding"`
	ValueEncoding string          `json:"value_encoding"`
}

type jsonHeader struct {
	Key           string          `json:"key"`
	Value         json.RawMessage `json:"value"`
	ValueEncoding string          `json:"value_encoding"`
}

func (s *jsonSource) next() (*kgo.Record, error) {
	var in jsonRecord
	err := s.dec.Decode(&in)
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	s.n++
	if err != nil {
		return nil, usagef("record %d of the input is not a JSON record: %v", s.n, err).try(
			"-f raw to write each line as it is")
	}
	r, err := s.record(in)
	if err != nil {
		return nil, usagef("record %d of the input: %v", s.n, err).try("logstead help formats")
	}
	return r, nil
}

func (s *jsonSource) record(in jsonRecord) (*kgo.Record, error) {
	if in.Value == nil && in.Key == nil {
		return nil, errors.New(`it has neither "key" nor "value"; -f raw writes each line as it is`)
	}
	r := s.shape.blank()
	r.Topic = in.Topic
	var err error
	if in.Key != nil {
		if r.Key, err = fromJSON(in.Key, in.KeyEncoding); err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
	}
	if r.Value, err = fromJSON(in.Value, in.ValueEncoding); err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	if in.Timestamp != nil && s.shape.timestamp.IsZero() && *in.Timestamp >= 0 {
		r.Timestamp = time.UnixMilli(*in.Timestamp)
	}
	if s.keepPartition {
		if in.Partition == nil {
			return nil, errors.New(`it has no "partition" to keep`)
		}
		r.Partition = *in.Partition
	}
	if len(in.Headers) == 0 {
		return r, nil
	}
	r.Headers = append([]kgo.RecordHeader(nil), s.shape.headers...)
	for _, h := range in.Headers {
		v, err := fromJSON(h.Value, h.ValueEncoding)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", h.Key, err)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: v})
	}
	return r, nil
}

// fromJSON turns a member back into bytes: null is null, a string is its text or what it encodes,
// anything else is its own JSON text.
func fromJSON(raw json.RawMessage, encoding string) ([]byte, error) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	if raw[0] != '"' {
		var out bytes.Buffer
		if err := json.Compact(&out, raw); err != nil {
			return nil, err
		}
		return out.Bytes(), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	switch encoding {
	case "", "string":
		return []byte(s), nil
	case "base64":
		return base64.StdEncoding.DecodeString(s)
	}
	return nil, fmt.Errorf("encoding %q is not base64", encoding)
}
