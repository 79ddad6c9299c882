package partition

import (
	"slices"

	"github.com/logstead/logstead/internal/storage"
)

// MovedAway says of a log on the disk of a broker that its replica is on others now, as the metadata has the partition: the
// broker was not there to drop it. A log that knows a newer leader epoch than the metadata does was here later than what
// the metadata tells, which is an old one then, and says nothing of the log.
func MovedAway(log *storage.Log, broker int32, s State) bool {
	epoch, ok := log.LatestEpoch()
	return !slices.Contains(s.Replicas, broker) && (!ok || epoch <= s.LeaderEpoch)
}
