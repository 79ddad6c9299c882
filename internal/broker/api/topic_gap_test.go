package api_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestTopicBeforeItsPartitions: what the metadata has, and this broker has not opened yet, is another broker's to who asks for it: a
// client asks for the leader anew then. Who hears that there is no such topic may give up.
func TestTopicBeforeItsPartitions(t *testing.T) {
	b, _ := startTxnBroker(t, "")
	newAsker(t, b.addr).createTopic(aTopic, 1)
	id := b.ctl.Image().Topic(aTopic).ID
	keys := []int16{kmsg.KeyProduce, kmsg.KeyFetch, kmsg.KeyListOffsets, kmsg.KeyDeleteRecords, kmsg.KeyOffsetForLeaderEpoch, kmsg.KeyDescribeProducers}
	builder := batch.NewBuilder(batch.Options{})
	builder.Append(time.Now().UnixMilli(), nil, []byte("x"))
	record, err := builder.Build()
	if err != nil {
		t.Fatal(err)
	}
	opened := b.parts.Remove(aTopic)
	t.Cleanup(func() { b.parts.Put(opened) })
	for _, gap := range []struct {
		what string
		have *partition.Topic
	}{{"not opened yet", nil}, {"its partition not opened yet", &partition.Topic{Name: aTopic, ID: id}}} {
		if gap.have != nil {
			b.parts.Put(gap.have)
		}
		asked := map[int16]bool{}
		for _, r := range authRules(id) {
			if !slices.Contains(keys, r.req.Key()) || r.controller || strings.Contains(r.what, "transactional") {
				continue
			}
			asked[r.req.Key()] = true
			if tweak := r.tweak; r.req.Key() == kmsg.KeyProduce {
				r.tweak = func(req kmsg.Request) {
					tweak(req)
					req.(*kmsg.ProduceRequest).TopicData[0].PartitionData[0].Records.Bytes = record
				}
			}
			resp, _ := askAs(t, b.api, auth.Principal{}, &r)
			if codes := failures(reflect.ValueOf(resp)); !slices.Equal(codes, []int16{6}) {
				t.Errorf("%s, %T %s: errors %v, want NOT_LEADER_OR_FOLLOWER (6)", gap.what, r.req, r.what, codes)
			}
		}
		if len(asked) != len(keys) {
			t.Fatalf("asked by %d of %d APIs", len(asked), len(keys))
		}
	}
}

// failures are the error codes of an answer.
func failures(v reflect.Value) (codes []int16) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return failures(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			codes = append(codes, failures(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			if v.Type().Field(i).Name == "ErrorCode" && f.Int() != 0 {
				codes = append(codes, int16(f.Int()))
			}
			codes = append(codes, failures(f)...)
		}
	}
	return codes
}
