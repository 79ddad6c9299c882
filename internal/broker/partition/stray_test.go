package partition

import "testing"

// TestMovedAway keeps a log that was here later than the metadata says.
func TestMovedAway(t *testing.T) {
	g := newGroup(t, 1, 1)
	r := g.replicas[0]
	g.must(g.produce(r))
	epoch, ok := r.p.Log().LatestEpoch()
	if !ok {
		t.Fatal("the log has no leader epoch: the test shows nothing")
	}
	for _, c := range []struct {
		replicas []int32
		epoch    int32
		want     bool
	}{
		{[]int32{r.id, 9}, epoch + 1, false},
		{[]int32{8, 9}, epoch + 1, true},
		{[]int32{8, 9}, epoch, true},
		{[]int32{8, 9}, epoch - 1, false},
	} {
		if got := MovedAway(r.p.Log(), r.id, State{Replicas: c.replicas, LeaderEpoch: c.epoch}); got != c.want {
			t.Errorf("replicas %v in epoch %d, the log knows %d: %v, want %v", c.replicas, c.epoch, epoch, got, c.want)
		}
	}
}
