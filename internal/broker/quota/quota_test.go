package quota

import (
	"fmt"
	"testing"
	"time"
)

var start = time.UnixMilli(1_700_000_000_000)

func managerWith(kind string, quotas map[Entity]float64) *Manager {
	m := New(Options{})
	values := map[Entity]map[string]float64{}
	for e, v := range quotas {
		values[e] = map[string]float64{kind: v}
	}
	m.SetLimits(NewLimits(values))
	return m
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// TestThrottleTimes checks the arithmetic against times computed by hand from Kafka's definition:
// (rate - limit) / limit * window, where at least ten of the eleven windows count as full.
func TestThrottleTimes(t *testing.T) {
	m := managerWith("producer_byte_rate", map[Entity]float64{{ClientID: AnyOther()}: 1000})
	now := start
	for i, c := range []struct {
		after time.Duration
		bytes float64
		want  time.Duration
	}{
		{0, 10_000, 0},             // exactly ten seconds' worth
		{0, 5000, ms(5000)},        // 1500/s over 10 s: half of it too much
		{ms(5000), 0, ms(5000)},    // the ten seconds are not over, whether they have begun or not
		{ms(5999), 0, ms(4001)},    // 15,000 bytes in 10.999 s: 1363.76/s over that time
		{ms(1), 0, 0},              // eleven windows after its last use the first sample is gone
		{ms(100), 11_000, ms(900)}, // 11,000 bytes in 10.1 s
	} {
		now = now.Add(c.after)
		if got := m.Record(now, Produce, "u", "c", c.bytes); got != c.want {
			t.Errorf("step %d: throttled for %v, want %v", i, got, c.want)
		}
	}
}

func TestRateForgets(t *testing.T) {
	m := managerWith("consumer_byte_rate", map[Entity]float64{{User: Named("u")}: 1000})
	now := start
	if m.Record(now, Fetch, "u", "c", 1e6) == 0 {
		t.Fatal("a thousand seconds' worth was not throttled")
	}
	now = now.Add(11 * time.Second)
	if got := m.Record(now, Fetch, "u", "c", 10_000); got != 0 {
		t.Fatalf("throttled for %v by what was eleven windows ago", got)
	}
}

func TestSteadyRateBelowTheLimit(t *testing.T) {
	m := managerWith("producer_byte_rate", map[Entity]float64{{User: AnyOther()}: 1000})
	now := start
	for i := range 1000 {
		if got := m.Record(now, Produce, "u", "c", 98); got != 0 {
			t.Fatalf("record %d below the limit was throttled for %v", i, got)
		}
		now = now.Add(100 * time.Millisecond)
	}
}

func TestUnrecord(t *testing.T) {
	m := managerWith("consumer_byte_rate", map[Entity]float64{{User: AnyOther()}: 1000})
	if m.Record(start, Fetch, "u", "c", 20_000) == 0 {
		t.Fatal("not throttled")
	}
	m.Unrecord(start, Fetch, "u", "c", 20_000)
	if got := m.Record(start, Fetch, "u", "c", 10_000); got != 0 {
		t.Fatalf("throttled for %v by an answer that was not sent", got)
	}
}

func TestRequestQuotaThrottlesForOneWindow(t *testing.T) {
	m := managerWith("request_percentage", map[Entity]float64{{User: AnyOther()}: 1})
	if got := m.Record(start, Request, "u", "c", RequestPercent(10*time.Second)); got != time.Second {
		t.Fatalf("throttled for %v, want one window", got)
	}
}

func TestZeroLimitThrottlesForTheLongestTime(t *testing.T) {
	m := managerWith("producer_byte_rate", map[Entity]float64{{User: AnyOther()}: 0})
	if got := m.Record(start, Produce, "u", "c", 1); got != (1<<31-1)*time.Millisecond {
		t.Fatalf("throttled for %v", got)
	}
}

// TestPrecedence removes the quota that applies, one by one, and checks which comes next and with
// whom it is shared.
func TestPrecedence(t *testing.T) {
	order := []struct {
		entity Entity
		shared string
	}{
		{Entity{Named("u"), Named("c")}, "u/c"},
		{Entity{Named("u"), AnyOther()}, "u/c"},
		{Entity{Named("u"), Part{}}, "u/"},
		{Entity{AnyOther(), Named("c")}, "u/c"},
		{Entity{AnyOther(), AnyOther()}, "u/c"},
		{Entity{AnyOther(), Part{}}, "u/"},
		{Entity{Part{}, Named("c")}, "/c"},
		{Entity{Part{}, AnyOther()}, "/c"},
	}
	for first := range order {
		values := map[Entity]map[string]float64{{Named("x"), Named("y")}: {"producer_byte_rate": 99}}
		for i := first; i < len(order); i++ {
			values[order[i].entity] = map[string]float64{"producer_byte_rate": float64(i)}
		}
		limit, key, ok := NewLimits(values).find(Produce, "u", "c")
		if !ok || limit != float64(first) || key.user+"/"+key.clientID != order[first].shared {
			t.Errorf("without the first %d: quota %v for %v", first, limit, key)
		}
	}
	if _, _, ok := NewLimits(nil).find(Produce, "u", "c"); ok {
		t.Error("a quota out of nothing")
	}
}

func TestClientsShareTheirEntity(t *testing.T) {
	m := managerWith("producer_byte_rate", map[Entity]float64{{User: Named("u")}: 1000})
	m.Record(start, Produce, "u", "one", 10_000)
	if m.Record(start, Produce, "u", "two", 1000) == 0 {
		t.Error("two clients of one user do not share its quota")
	}
	if m.Record(start, Produce, "v", "one", 1e9) != 0 {
		t.Error("a user without a quota was throttled")
	}
	if m.Enabled(Fetch) || !m.Enabled(Produce) {
		t.Error("wrong kinds are enabled")
	}
	if n, ok := m.MaxInWindow(Produce, "u", "x"); !ok || n != 10_000 {
		t.Errorf("at most %v at once, want ten windows' worth", n)
	}
}

func TestLimitsChangeKeepsWhatWasMeasured(t *testing.T) {
	m := managerWith("producer_byte_rate", map[Entity]float64{{User: Named("u")}: 1000})
	m.Record(start, Produce, "u", "c", 10_000)
	m.SetLimits(NewLimits(map[Entity]map[string]float64{{User: Named("u")}: {"producer_byte_rate": 500}}))
	if got := m.Record(start, Produce, "u", "c", 0); got != 10*time.Second {
		t.Fatalf("throttled for %v, want 10s", got)
	}
}

func TestMutations(t *testing.T) {
	m := managerWith("controller_mutation_rate", map[Entity]float64{{User: AnyOther()}: 1})
	now := start
	// The bucket holds eleven; a strict request may overdraw it once.
	q := m.Mutations(now, "u", "c", true)
	if !q.Take(now, 15) || q.Throttle(now) != 0 {
		t.Fatal("a full bucket refused")
	}
	if q.Take(now, 1) || q.Throttle(now) != 4*time.Second {
		t.Fatalf("an overdrawn bucket gave, or throttled for %v", q.Throttle(now))
	}
	if got := q.Throttle(now.Add(time.Second)); got != 3*time.Second {
		t.Fatalf("a second later: %v, want 3s", got)
	}
	p := m.Mutations(now, "u", "c", false)
	if !p.Take(now, 2) || p.Throttle(now) != 6*time.Second {
		t.Fatalf("a permissive request was refused, or throttled for %v", p.Throttle(now))
	}
	now = now.Add(6 * time.Second)
	if q := m.Mutations(now, "u", "c", true); !q.Take(now, 1) {
		t.Fatal("refused after the wait")
	}
	free := m.Mutations(now, "", "", true)
	if free.s == nil {
		t.Fatal("the default user's quota does not apply to an anonymous user")
	}
}

func TestSensorsAreBounded(t *testing.T) {
	m := New(Options{MaxSensors: 10})
	m.SetLimits(NewLimits(map[Entity]map[string]float64{{ClientID: AnyOther()}: {"producer_byte_rate": 1000}}))
	now := start
	for i := range 1000 {
		m.Record(now, Produce, fmt.Sprint("u", i), fmt.Sprint("c", i), 100)
	}
	if m.mu.count > 20 {
		t.Fatalf("%d sensors, allowed are 10 and those that are shared", m.mu.count)
	}
	if m.Record(now, Produce, "u", "another", 1) == 0 {
		t.Error("the shared sensor does not count")
	}
	now = now.Add(2 * time.Hour)
	m.Record(now, Produce, "u", "later", 1)
	if m.mu.count != 1 {
		t.Errorf("%d sensors after two idle hours, want 1", m.mu.count)
	}
}

func TestConnectionRates(t *testing.T) {
	m := New(Options{Window: Window{Samples: 2, Size: time.Second}})
	if pause, refused := m.Connect(start, "1.1.1.1"); pause != 0 || refused != 0 {
		t.Fatalf("without limits: pause %v, refused for %v", pause, refused)
	}
	m.SetConnectionRates(10, map[string]float64{"1.1.1.1": 2, "": 5})
	count := func(ip string, tries int) (taken int) {
		for range tries {
			if _, refused := m.Connect(start, ip); refused == 0 {
				taken++
			}
		}
		return taken
	}
	for ip, want := range map[string]int{"1.1.1.1": 2, "2.2.2.2": 5} {
		if got := count(ip, 20); got != want {
			t.Errorf("%s made %d connections in a second, want %d", ip, got, want)
		}
	}
	if pause, _ := m.Connect(start, "3.3.3.3"); pause != 0 {
		t.Errorf("8 connections paused the listener for %v", pause)
	}
	m.Connect(start, "3.3.3.3")
	m.Connect(start, "3.3.3.3")
	if pause, _ := m.Connect(start, "3.3.3.3"); pause != 100*time.Millisecond {
		t.Errorf("11 connections paused the listener for %v, want 100ms", pause)
	}
	if pause, refused := m.Connect(start.Add(3*time.Second), "1.1.1.1"); pause != 0 || refused != 0 {
		t.Errorf("three seconds later: pause %v, refused for %v", pause, refused)
	}
}
