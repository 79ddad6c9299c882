package controller

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
)

// TestEligibleLeaders is a table of changes of one partition of the replicas 1, 2 and 3 with min.insync.replicas 2
// (KIP-966): what it was, what is wanted, and what comes of it.
func TestEligibleLeaders(t *testing.T) {
	type ids = []int32
	for _, c := range []struct {
		what           string
		leader         int32
		isr, elr, last ids
		alive          ids
		want           ids // the in-sync set that is asked for
		unclean        int32
		election       election
		off            bool
		minISR         int // 2 if it is 0
		result         string
	}{
		{what: "enough stay", leader: 1, isr: ids{1, 2, 3}, alive: ids{1, 2}, want: ids{1, 2},
			result: "leader=1/0 isr=[1 2]"},
		{what: "too few stay", leader: 1, isr: ids{1, 2}, alive: ids{1}, want: ids{1},
			result: "leader=1/0 isr=[1] elr=[2]"},
		{what: "two leave at once", leader: 1, isr: ids{1, 2, 3}, alive: ids{1}, want: ids{1},
			result: "leader=1/0 isr=[1] elr=[2 3]"},
		{what: "one comes back, enough", leader: 1, isr: ids{1}, elr: ids{2}, alive: ids{1, 3}, want: ids{1, 3},
			result: "leader=1/0 isr=[1 3]"},
		{what: "the last one goes", leader: 1, isr: ids{1}, elr: ids{2}, want: ids{},
			result: "leader=-1/1 isr=[] elr=[1 2] last=[1]"},
		{what: "the last one goes, another is alive", leader: 1, isr: ids{1}, elr: ids{2}, alive: ids{2}, want: ids{},
			result: "leader=2/1 isr=[2] elr=[1]"},
		{what: "who is not eligible stays out", leader: 1, isr: ids{1}, elr: ids{2}, alive: ids{3}, want: ids{},
			result: "leader=-1/1 isr=[] elr=[1 2] last=[1]"},
		{what: "eligible only without a set", leader: 1, isr: ids{1}, elr: ids{2}, alive: ids{2}, want: ids{1},
			result: "leader=-1/1 isr=[1] elr=[2]"},
		{what: "the first eligible one in the order of replicas", leader: -1, elr: ids{2, 3}, last: ids{3}, alive: ids{2, 3},
			want: ids{}, result: "leader=2/1 isr=[2] elr=[3]"},
		{what: "one who may commit alone leads", leader: -1, elr: ids{2, 3}, last: ids{3}, alive: ids{2, 3}, want: ids{}, minISR: 1,
			result: "leader=2/1 isr=[2]"},
		{what: "an unclean stop of one that is eligible", leader: 1, isr: ids{1}, elr: ids{2, 3}, alive: ids{1}, want: ids{1},
			unclean: 2, result: "leader=1/0 isr=[1] elr=[3]"},
		{what: "an unclean stop of one in sync", leader: 1, isr: ids{1, 2}, alive: ids{1}, want: ids{1}, unclean: 2,
			result: "leader=1/0 isr=[1]"},
		{what: "an unclean stop of the last one", leader: -1, elr: ids{1}, last: ids{1}, want: ids{}, unclean: 1,
			result: "leader=-1/0 isr=[] last=[1]"},
		{what: "the last known leader comes back", leader: -1, last: ids{1}, alive: ids{1, 2}, want: ids{},
			result: "leader=1/1 isr=[1] recovering"},
		{what: "another than the last known leader comes back", leader: -1, last: ids{1}, alive: ids{2}, want: ids{},
			result: "leader=-1/0 isr=[] last=[1]"},
		{what: "while one is eligible the last known leader waits", leader: -1, elr: ids{2}, last: ids{1}, alive: ids{1}, want: ids{},
			result: "leader=-1/0 isr=[] elr=[2] last=[1]"},
		{what: "an unclean election", leader: -1, elr: ids{2}, last: ids{1}, alive: ids{3}, want: ids{}, election: electOrUnclean,
			result: "leader=3/1 isr=[3] recovering"},
		{what: "an unclean election prefers who is eligible", leader: -1, elr: ids{2}, last: ids{1}, alive: ids{2, 3}, want: ids{},
			election: electOrUnclean, result: "leader=2/1 isr=[2]"},
		{what: "the preferred one is eligible, and the set is empty", leader: -1, elr: ids{1, 2}, last: ids{2}, alive: ids{1, 2},
			want: ids{}, election: electFirst, result: "leader=1/1 isr=[1] elr=[2]"},
		{what: "the preferred one is eligible, and somebody is in sync", leader: 2, isr: ids{2}, elr: ids{1}, alive: ids{1, 2},
			want: ids{2}, election: electFirst, result: "leader=2/0 isr=[2] elr=[1]"},
		{what: "without: the last one stays", leader: 1, isr: ids{1}, want: ids{}, off: true,
			result: "leader=-1/1 isr=[1]"},
		{what: "without: what was eligible is forgotten", leader: 1, isr: ids{1}, elr: ids{2}, last: ids{2}, alive: ids{1}, want: ids{1},
			off: true, result: "leader=1/0 isr=[1]"},
	} {
		p := &meta.Partition{Replicas: ids{1, 2, 3}, ISR: c.isr, ELR: c.elr, LastELR: c.last, Leader: c.leader,
			Directories: []base.TopicID{dirOf(1, 0), dirOf(2, 0), dirOf(3, 0)}}
		change := &partitionChange{
			p: p, isr: c.want, replicas: p.Replicas, unclean: noBroker, elr: p.ELR, lastELR: p.LastELR, election: c.election,
			acceptable: func(id int32) bool { return slices.Contains(c.alive, id) },
			minISR:     cmp.Or(c.minISR, 2), elrEnabled: !c.off, level: latestMetadata,
		}
		if c.unclean > 0 {
			change.unclean = c.unclean
		}
		after := *p
		if r := change.record(); r != nil {
			after = meta.Changed(after, r)
		}
		got := fmt.Sprintf("leader=%d/%d isr=%v", after.Leader, after.LeaderEpoch, after.ISR)
		if len(after.ELR) > 0 {
			got += fmt.Sprintf(" elr=%v", after.ELR)
		}
		if len(after.LastELR) > 0 {
			got += fmt.Sprintf(" last=%v", after.LastELR)
		}
		if after.RecoveryState == recovering {
			got += " recovering"
		}
		if got != c.result {
			t.Errorf("%s: %s, want %s", c.what, got, c.result)
		}
		for _, id := range after.ELR {
			if slices.Contains(after.ISR, id) {
				t.Errorf("%s: %d is in sync and eligible beside it", c.what, id)
			}
		}
	}
}
