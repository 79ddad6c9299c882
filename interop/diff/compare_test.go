package main

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTopicNamedTwice: a fetch may name a topic again behind others, which means what it means in one piece.
func TestTopicNamedTwice(t *testing.T) {
	answer := func(topics ...string) map[string]any {
		r := kmsg.NewPtrFetchResponse()
		for i, name := range topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic = name
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition = int32(i)
			rt.Partitions = append(rt.Partitions, p)
			if n := len(r.Topics); n > 0 && r.Topics[n-1].Topic == name {
				r.Topics[n-1].Partitions = append(r.Topics[n-1].Partitions, p)
				continue
			}
			r.Topics = append(r.Topics, rt)
		}
		return newNormalizer("P").response(r)
	}
	apart := answer("a", "b", "a")
	if got := len(apart["Topics"].(map[string]any)); got != 2 {
		t.Fatalf("%d topics, want a and b: %v", got, apart)
	}
	a := apart["Topics"].(map[string]any)["a"].(map[string]any)["Partitions"].(map[string]any)
	if a["0"] == nil || a["2"] == nil {
		t.Fatalf("want partitions 0 and 2 of a: %v", a)
	}
	if reflect.DeepEqual(apart, answer("a", "b", "b")) {
		t.Fatal("partitions of other topics compare equal")
	}
}

// TestWhatIsPlayedAgain: a scenario is played again only for what may be of the moment and comes first, and what differs
// each time fails.
func TestWhatIsPlayedAgain(t *testing.T) {
	r := result{equal: 5, different: 3, differences: []difference{
		{"passes", "one", "/Topics/t/Partitions/0/HighWatermark", "9", "10"},
		{"passes", "two", "/Topics/t/Partitions/0/Records", "1", "2"},
		{"stays", "one", "/Topics/t/Partitions/0/ErrorCode", "15", "0"},
		{"firm", "one", "/Topics/t/Partitions/0/ErrorCode", "42", "0"},
		{"firm", "two", "/Topics/t/Partitions/0/HighWatermark", "9", "10"},
	}}
	doubtful := r.doubtful()
	if want := map[string]bool{"passes": true, "stays": true}; !reflect.DeepEqual(doubtful, want) {
		t.Fatalf("played again: %v, want %v", doubtful, want)
	}
	r.second(result{exchanges: 4, differences: []difference{{"stays", "one", "/Topics/t/Partitions/0/ErrorCode", "15", "0"}}}, doubtful)
	if len(r.once) != 2 || len(r.differences) != 4 {
		t.Fatalf("%d differed once, %d remain: %v", len(r.once), len(r.differences), r.differences)
	}
	for _, d := range r.differences {
		if d.scenario == "passes" {
			t.Errorf("%v remains", d)
		}
	}
	// What agrees the third time counts no more, unless something else differed the second time.
	if again := r.doubtful(); !reflect.DeepEqual(again, map[string]bool{"stays": true}) {
		t.Fatalf("played a third time: %v, want stays", again)
	}
	r.second(result{exchanges: 4, differences: []difference{{"stays", "one", "/Topics/t/Partitions/0/Records", "1", "2"}}}, map[string]bool{"stays": true})
	if again := r.doubtful(); len(again) > 0 {
		t.Fatalf("played again after a difference of another kind: %v", again)
	}
}
