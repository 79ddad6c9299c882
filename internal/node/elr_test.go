package node

import "testing"

// TestClusterTellsOfACleanStop: a broker that stopped in order registers with the epoch that it had, one that did not
// registers with none (KIP-966).
func TestClusterTellsOfACleanStop(t *testing.T) {
	c := startTrio(t)
	before := c.nodes[2].uplink.Epoch()
	c.stop(2)
	c.startAll(2)
	if got := c.nodes[2].store.PreviousEpoch(); got != before {
		t.Errorf("after a stop in order the epoch before is %d, want %d", got, before)
	}
	c.crash(2)
	c.startAll(2)
	if got := c.nodes[2].store.PreviousEpoch(); got != -1 {
		t.Errorf("after a crash the epoch before is %d, want -1", got)
	}
}
