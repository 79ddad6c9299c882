// Package kmsg is the codec of every Kafka message: requests and responses with their headers, the
// records of the group, transaction and share coordinators, and the metadata records. The zz_ files
// are generated from Kafka's own message definitions by package gen; the rest is the small runtime
// they stand on.
//
// It owns the bytes of messages and nothing else. It must not know sockets, frames, record batches
// (a batch is just bytes here) or what any message means.
//
// Naming: the JSON name is the Go name (ProduceRequest, OffsetCommitKey, TopicRecord); a nested
// struct carries its message's name first (ProduceRequestTopicProduceData); a field is its JSON name
// with a capital first letter. One field differs: FindCoordinatorRequest's Key is CoordinatorKey,
// because Key is the method of every request. Nullable strings and structs are pointers, a nullable
// array or byte string is null when nil.
//
// Concurrency: messages, Readers and Writers are values for one goroutine at a time. The tables
// (APIs, ByKey) are immutable.
//
// Invariants:
//  1. Read never panics and never allocates more than 4 bytes for each input byte plus 1 MiB.
//  2. Read sets every field: one that the version lacks gets its default. Reading into a used
//     message keeps its slices' capacity and nothing of their content.
//  3. What Append writes, Read reads back to the same value, and Append writes again as the same bytes.
//  4. Append never fails: a field that the version lacks is left out, a null that the version
//     forbids is written as the empty value.
package kmsg

//go:generate go run ./gen -version 4.3.1 -out .

// Message is anything with a versioned encoding.
type Message interface {
	// Read fills the message from r. Byte fields alias r's input, and strings too if r.Unsafe is set.
	// Bytes after the message stay in r (Reader.Rest).
	Read(r *Reader, version int16) error
	// Append writes the message to w.
	Append(w *Writer, version int16)
	// Default sets every field to its default.
	Default()
}

// Request is the body of a request.
type Request interface {
	Message
	Key() int16
}

// Response is the body of a response.
type Response interface {
	Message
	Key() int16
}

// Throttled is a response that reports a quota delay.
type Throttled interface {
	Response
	SetThrottle(ms int32)
}

// Record is a record of a coordinator or of the metadata log: a message with a type number.
type Record interface {
	Message
	RecordType() int16
}

// Listeners is the set of listener kinds that serve an API.
type Listeners uint8

// The listener kinds.
const (
	ListenerBroker Listeners = 1 << iota
	ListenerController
)

// Has reports whether every kind in k serves the API.
func (l Listeners) Has(k Listeners) bool { return l&k == k }

// API describes one request/response pair.
type API struct {
	Key           int16
	Name          string
	Min, Max      int16 // the stable versions that are served
	AdvertisedMin int16 // what ApiVersions says; lower than Min for Produce only (librdkafka reads the range)
	FlexibleFrom  int16 // first flexible version, -1 if none
	Listeners     Listeners
	// LatestUnstable says that the codec knows version Max+1 and that brokers serve it only on demand.
	LatestUnstable bool
}

// Flexible reports whether version uses compact types and tagged fields.
func (a *API) Flexible(version int16) bool { return a.FlexibleFrom >= 0 && version >= a.FlexibleFrom }

// ByKey returns the API with this key, nil if there is none.
func ByKey(key int16) *API {
	if key < 0 || int(key) >= len(apiByKey) {
		return nil
	}
	return apiByKey[key]
}

var apiByKey = func() []*API {
	t := make([]*API, APIs[len(APIs)-1].Key+1)
	for i := range APIs {
		t[APIs[i].Key] = &APIs[i]
	}
	return t
}()

// RequestHeaderVersion returns the version of the header before a request. An unknown key gets 1, so
// that its correlation id can be read; an unknown version of a known key follows the newest rule.
func RequestHeaderVersion(key, version int16) int16 {
	if a := ByKey(key); a != nil && a.Flexible(version) {
		return 2
	}
	return 1
}

// ResponseHeaderVersion returns the version of the header before a response. ApiVersions always has
// version 0: its reader does not know yet what the broker speaks (KIP-511).
func ResponseHeaderVersion(key, version int16) int16 {
	if a := ByKey(key); a != nil && key != KeyApiVersions && a.Flexible(version) {
		return 1
	}
	return 0
}
