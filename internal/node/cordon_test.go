package node

import (
	"testing"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// A cordoned log directory is told to those who ask, whether it is named or all are.
func TestCordonedLogDirsAreDescribed(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for setting, want := range map[string]map[string]bool{
		"":        {one: false, two: false},
		"=" + two: {one: false, two: true},
		"=*":      {one: true, two: true},
	} {
		n := start(t, one+","+two, "cordoned.log.dirs"+max(setting, "="))
		a := newAsker(t, n.Bootstrap(), "cordon")
		req := kmsg.NewDescribeLogDirsRequest()
		seen := map[string]bool{}
		for _, d := range ask[*kmsg.DescribeLogDirsResponse](a, &req, 5).Results {
			seen[d.LogDir] = d.IsCordoned
		}
		if seen[one] != want[one] || seen[two] != want[two] || len(seen) != 2 {
			t.Errorf("cordoned.log.dirs%s: %v, want %v", setting, seen, want)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
