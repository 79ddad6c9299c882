package main

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// normalizer writes answers in a form that two brokers can share: ids become names in order of their first sight,
// times near now become "now", addresses and the run's own prefix become words, messages for people become "text".
// Arrays whose elements have a name become objects by that name, so that order, of which the protocol promises
// nothing, does not count and a difference has a path that says where.
type normalizer struct {
	prefix string
	// api is the key of the response at hand.
	api int16
	// several says that there is more than one node, placed that the answer shows what the broker itself placed.
	several, placed bool
	// words leaves messages as they are.
	words bool
	seen  map[string]string
	count map[string]int
}

func newNormalizer(prefix string) *normalizer {
	return &normalizer{prefix: prefix, seen: map[string]string{}, count: map[string]int{}}
}

// alias gives an id a name of its kind, the same each time.
func (n *normalizer) alias(kind, id string) string {
	key := kind + " " + id
	if a, ok := n.seen[key]; ok {
		return a
	}
	n.count[kind]++
	a := fmt.Sprintf("%s-%d", kind, n.count[kind])
	n.seen[key] = a
	return a
}

func (n *normalizer) response(r kmsg.Response) map[string]any {
	n.api = r.Key()
	return n.object(reflect.ValueOf(r).Elem())
}

// describeQuorum is the key of the answer that shows the metadata log, whose length is a broker's own affair.
const describeQuorum = 55

// skipped fields carry load or bookkeeping, not meaning.
var skipped = map[string]bool{"Version": true, "ThrottleMillis": true, "UnknownTags": true}

func (n *normalizer) object(v reflect.Value) map[string]any {
	out := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if skipped[f.Name] || !f.IsExported() {
			continue
		}
		out[f.Name] = n.field(f.Name, v.Field(i))
	}
	return out
}

func (n *normalizer) field(name string, v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return n.field(name, v.Elem())
	case reflect.Struct:
		return n.object(v)
	case reflect.String:
		return n.text(name, v.String())
	case reflect.Array:
		if v.IsZero() {
			return "zero id"
		}
		return n.alias("id", fmt.Sprint(v.Interface()))
	case reflect.Slice:
		return n.slice(name, v)
	case reflect.Int32, reflect.Int64:
		return n.number(name, v.Int())
	case reflect.Uint16:
		return n.number(name, int64(v.Uint()))
	}
	return v.Interface()
}

var (
	uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	// shortID is Kafka's own writing of an id: 22 characters of base64.
	shortID = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)
)

func (n *normalizer) text(name, s string) string {
	switch name {
	case "ErrorMessage", "DefaultMessage", "BatchIndexErrorMessage":
		if s == "" || n.words {
			return s
		}
		return "text"
	case "Host", "ClientHost":
		return "host"
	case "ClusterID":
		return "cluster"
	case "Dir", "LogDir":
		return n.alias("dir", s)
	case "Documentation":
		if s == "" {
			return ""
		}
		return "text"
	}
	s = strings.ReplaceAll(s, n.prefix, "P")
	s = uuid.ReplaceAllStringFunc(s, func(id string) string { return n.alias("uuid", id) })
	if shortID.MatchString(s) && !strings.HasPrefix(s, "P-") {
		return n.alias("uuid", s)
	}
	return s
}

// number gives numbers that are ids or times a name.
func (n *normalizer) number(name string, x int64) any {
	switch {
	case x >= 0 && name == "ProducerID":
		return n.alias("pid", fmt.Sprint(x))
	case x > 0 && name == "SessionID":
		return n.alias("session", fmt.Sprint(x))
	case name == "Port":
		return "port"
	case n.several && name == "ControllerID", n.several && n.api == describeQuorum && name == "LeaderID", n.placed && name == "Leader":
		// Kafka's brokers name any of them as the controller; the leader of the quorum is whom it elected.
		if x < 0 {
			return x
		}
		return "a node"
	case n.api == describeQuorum && (name == "LeaderEpoch" || name == "HighWatermark" || name == "LogEndOffset"):
		return "some"
	case name == "FinalizedFeaturesEpoch", name == "TotalBytes", name == "UsableBytes", name == "LastCaughtUpTimestamp", name == "LastFetchTimestamp":
		return "some"
	}
	// A time that a step sets itself is long ago and stays as it is.
	if ago := time.Since(time.UnixMilli(x)); ago > -24*time.Hour && ago < 24*time.Hour {
		return "now"
	}
	return x
}

// names are the fields that name an element of an array, the first that is there and not empty.
var names = []string{"ApiKey", "Topic", "TopicID", "Group", "GroupID", "Partition", "Name", "ResourceName", "TransactionalID", "MemberID", "Key", "Feature", "NodeID", "BrokerID", "ReplicaID", "ProducerID"}

func (n *normalizer) slice(name string, v reflect.Value) any {
	if v.IsNil() {
		return nil
	}
	elem := v.Type().Elem().Kind()
	if elem == reflect.Uint8 {
		if name == "RecordBatches" || name == "Records" {
			return n.batches(v.Bytes())
		}
		return n.text(name, string(v.Bytes()))
	}
	if elem != reflect.Struct {
		out := []any{}
		for i := range v.Len() {
			out = append(out, n.field(name, v.Index(i)))
		}
		if n.placed && (name == "Replicas" || name == "ISR") {
			return len(out)
		}
		if name == "Partitions" || name == "ISR" {
			// A set: replicas, though, are in order of preference.
			slices.SortFunc(out, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return out
	}
	out := map[string]any{}
	for i := range v.Len() {
		e := v.Index(i)
		key := n.nameOf(e, i)
		if n.api == fetchKey && name == "Topics" && merged(out[key], n.object(e)) {
			continue
		}
		for k := 2; out[key] != nil; k++ {
			key = fmt.Sprintf("%s#%d", n.nameOf(e, i), k)
		}
		out[key] = n.object(e)
	}
	return out
}

// fetchKey is the key of the answer that may name a topic again after others: its partitions come in the order in
// which they were looked at.
const fetchKey = 1

// merged adds the partitions of a topic that is named once more to what was said of it, if they are others.
func merged(said any, more map[string]any) bool {
	first, ok := said.(map[string]any)
	if !ok {
		return false
	}
	all, ok := first["Partitions"].(map[string]any)
	added, ok2 := more["Partitions"].(map[string]any)
	if !ok || !ok2 {
		return false
	}
	for p := range added {
		if _, twice := all[p]; twice {
			return false
		}
	}
	maps.Copy(all, added)
	return true
}

func (n *normalizer) nameOf(e reflect.Value, i int) string {
	for _, name := range names {
		f := e.FieldByName(name)
		if !f.IsValid() || f.IsZero() && f.Kind() != reflect.Int32 && f.Kind() != reflect.Int16 {
			continue
		}
		return fmt.Sprint(n.field(name, f))
	}
	if e.FieldByName("Group").IsValid() {
		return "(empty name)"
	}
	return fmt.Sprint(i)
}

// batches writes record batches field by field; their checksums are checked, not compared.
func (n *normalizer) batches(b []byte) any {
	out := []any{}
	for len(b) > 0 {
		if len(b) < 61 {
			return append(out, fmt.Sprintf("%d bytes left over", len(b)))
		}
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if size > len(b) || size < 61 {
			return append(out, fmt.Sprintf("a batch cut off at %d of %d bytes", len(b), size))
		}
		out = append(out, n.batch(b[:size]))
		b = b[size:]
	}
	return out
}

func (n *normalizer) batch(b []byte) map[string]any {
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(b); err != nil {
		return map[string]any{"unreadable": err.Error()}
	}
	out := map[string]any{
		"FirstOffset": rb.FirstOffset, "PartitionLeaderEpoch": rb.PartitionLeaderEpoch, "Magic": rb.Magic, "Attributes": rb.Attributes,
		"LastOffsetDelta": rb.LastOffsetDelta, "FirstTimestamp": n.number("", rb.FirstTimestamp), "MaxTimestamp": n.number("", rb.MaxTimestamp),
		"ProducerID": n.number("ProducerID", rb.ProducerID), "ProducerEpoch": rb.ProducerEpoch, "FirstSequence": rb.FirstSequence,
		"NumRecords": rb.NumRecords,
		"CRC":        uint32(rb.CRC) == crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)),
	}
	raw, err := kgo.DefaultDecompressor().Decompress(rb.Records, kgo.CompressionCodecType(rb.Attributes&7))
	if err != nil {
		out["Records"] = "undecompressable: " + err.Error()
		return out
	}
	records := []any{}
	for range rb.NumRecords {
		length, used := binary.Varint(raw)
		if used <= 0 || int(length)+used > len(raw) {
			records = append(records, "cut off")
			break
		}
		var r kmsg.Record
		if err := r.ReadFrom(raw[:int(length)+used]); err != nil {
			records = append(records, "unreadable")
			break
		}
		raw = raw[int(length)+used:]
		headers := []any{}
		for _, h := range r.Headers {
			headers = append(headers, h.Key+"="+bytesText(h.Value))
		}
		// The time deltas of a batch that the broker dated say when each record was made, which is a time.
		records = append(records, []any{r.OffsetDelta, n.delta(rb, r), bytesText(r.Key), bytesText(r.Value), headers})
	}
	out["Records"] = records
	return out
}

func (n *normalizer) delta(rb kmsg.RecordBatch, r kmsg.Record) any {
	if n.number("", rb.FirstTimestamp) == "now" {
		return "some"
	}
	return r.TimestampDelta64
}

func bytesText(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) > 100:
		return fmt.Sprintf("%d bytes %08x", len(b), crc32.ChecksumIEEE(b))
	}
	for _, c := range b {
		if c < 32 || c > 126 {
			return "base64 " + base64.StdEncoding.EncodeToString(b)
		}
	}
	return string(b)
}
