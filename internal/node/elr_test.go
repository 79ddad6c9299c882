package node

import (
	"log/slog"
	"testing"

	"github.com/logstead/logstead/internal/cluster/uplink"
)

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
	// One that is stopped before it is registered has written nothing: the next start may say the same.
	before = c.nodes[2].uplink.Epoch()
	c.stop(2)
	c.crash(3) // the one that is left has no majority
	c.openAndClose(2)
	c.startAll(2, 3)
	if got := c.nodes[2].store.PreviousEpoch(); got != before {
		t.Errorf("after a stop before it was registered the epoch before is %d, want %d", got, before)
	}
	// One that has not heard the answer to its registration learns of it from the metadata.
	n := c.nodes[2]
	before = n.uplink.Epoch()
	c.stop(2)
	n.uplink = uplink.New(uplink.Options{})
	if got := n.brokerEpoch(); got != before {
		t.Errorf("without the answer to the registration the epoch is %d, want %d", got, before)
	}
	c.startAll(2)
	c.crash(2)
	c.startAll(2)
	if got := c.nodes[2].store.PreviousEpoch(); got != -1 {
		t.Errorf("after a crash the epoch before is %d, want -1", got)
	}
}

// openAndClose has a node start and stop at once, before it has said anything to anybody.
func (c *trio) openAndClose(id int) {
	c.t.Helper()
	n, err := Open(c.t.Context(), Options{
		Config: loadConfig(c.t, c.dirs[id], c.config(id)...), Version: "test", Level: new(slog.LevelVar), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	n.closeListeners()
	if err := n.closeStores(); err != nil {
		c.t.Fatal(err)
	}
}
