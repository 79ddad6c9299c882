package balance

import (
	"reflect"
	"testing"
	"time"

	"github.com/logstead/logstead/internal/kit/base"
)

func TestReportRoundTrip(t *testing.T) {
	r := &Report{Broker: 7, Rated: true, DiskBytes: 1 << 40, FreeBytes: 1 << 39}
	for i := range int32(300) {
		r.Partitions = append(r.Partitions, PartitionLoad{
			Key{base.TopicID{0: byte(i / 100)}, i}, int64(i) << 30, int64(i) * 1000, int64(i) * 3000,
		})
	}
	b := r.Append(nil)
	got, err := ReadReport(b)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("read %+v, error %v", got, err)
	}
	if len(b) > 300*20 {
		t.Errorf("%d bytes for 300 partitions", len(b))
	}
	for cut := range len(b) { // no prefix is taken for another report
		if got, err := ReadReport(b[:cut]); err == nil && len(got.Partitions)%100 != 0 {
			t.Errorf("%d of %d bytes are read as %d partitions", cut, len(b), len(got.Partitions))
		}
	}
	if _, err := ReadReport(append([]byte{reportVersion + 1}, b[1:]...)); err == nil {
		t.Error("another version is read")
	}
}

func FuzzReadReport(f *testing.F) {
	f.Add((&Report{Broker: 1, Partitions: []PartitionLoad{{Key{}, 1, 2, 3}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadReport(b)
		if err != nil {
			return
		}
		again, err := ReadReport(r.Append(nil))
		if err != nil || len(again.Partitions) != len(r.Partitions) {
			t.Fatalf("%+v is read as %+v, error %v", r, again, err)
		}
	})
}

func TestMeter(t *testing.T) {
	var m Meter
	now := time.Unix(1000, 0)
	k := Key{base.TopicID{1}, 0}
	total := int64(5000)
	look := func() []PartitionLoad {
		return m.Observe(now, []PartitionLoad{{Key: k, Bytes: 1, In: total, Out: 2 * total}})
	}
	if got := look(); len(got) != 0 {
		t.Errorf("rates %v of one look", got)
	}
	pass := func(d time.Duration, rate int64) int64 {
		now, total = now.Add(d), total+rate*int64(d/time.Second)
		got := look()
		if len(got) != 1 || got[0].Out < 2*got[0].In-1 || got[0].Out > 2*got[0].In+1 {
			t.Fatalf("rates %+v", got)
		}
		return got[0].In
	}
	if got := pass(30*time.Second, 100); got != 100 {
		t.Errorf("the first rate is %d, want 100", got)
	}
	if got := pass(30*time.Second, 1000); got < 150 || got > 250 { // a burst is a tenth of the window
		t.Errorf("after a burst the rate is %d", got)
	}
	for range 60 {
		pass(30*time.Second, 1000)
	}
	if got := pass(30*time.Second, 1000); got < 990 || got > 1000 {
		t.Errorf("after half an hour the rate is %d, want 1000", got)
	}
	total = 0 // the counters began anew
	if got := look(); len(got) != 0 {
		t.Errorf("rates %v of counters that went back", got)
	}
}
