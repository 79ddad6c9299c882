package node

import (
	"slices"
	"testing"

	"github.com/logstead/logstead/internal/kit/base"
)

// TestClusterKnowsDirectories gives one broker a second log directory: the metadata says which of its replicas
// are in which.
func TestClusterKnowsDirectories(t *testing.T) {
	c := startTrio(t)
	c.stop(2)
	c.dirs[2] += "," + t.TempDir()
	c.startAll(2)
	c.replicated("orders", 8)
	c.inSync("orders", 3)
	c.eventually("the directory of each replica", func() bool {
		dirs, topic := c.nodes[2].image().Broker(2).LogDirs, c.nodes[2].parts.Topic("orders")
		if topic == nil {
			return false
		}
		seen := map[base.TopicID]bool{}
		for i, p := range c.up()[0].image().Topic("orders").Partitions {
			dir := p.Directories[slices.Index(p.Replicas, 2)]
			if dir != c.nodes[2].directoryOf(topic.Parts[i].Log()) {
				return false
			}
			seen[dir] = true
		}
		return len(dirs) == 2 && seen[dirs[0]] && seen[dirs[1]]
	})
}
