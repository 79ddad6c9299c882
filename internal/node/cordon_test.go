package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// A cordoned log directory is told to those who ask, whether it is named or all are.
func TestCordonedLogDirsAreDescribed(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	topics := 0
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
		topics++
		topic := fmt.Sprint("orders", topics)
		if _, err := kadm.NewClient(client(t, n)).CreateTopic(deadline(t), 4, 1, nil, topic); (err != nil) != want[one] {
			t.Errorf("cordoned.log.dirs%s: a topic is created with %v", setting, err)
		}
		for _, l := range n.store.Logs() {
			if l.TopicPartition().Topic == topic && want[l.Dir()] {
				t.Errorf("cordoned.log.dirs%s: %s is in %s", setting, l.TopicPartition(), l.Dir())
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A node alone hears at once that all of its directories are cordoned.
func TestCordonsOfANodeAlone(t *testing.T) {
	n := start(t, t.TempDir())
	adm := kadm.NewClient(client(t, n))
	set := func(value string) {
		t.Helper()
		resps, err := adm.AlterBrokerConfigs(deadline(t), []kadm.AlterConfig{{Name: "cordoned.log.dirs", Value: &value}}, 1)
		if err != nil || resps[0].Err != nil {
			t.Fatal(err, resps)
		}
	}
	set("*")
	await(t, "the cordon is known", func() bool { return len(n.image().Broker(1).CordonedDirs) == 1 })
	if resp, err := adm.CreateTopic(deadline(t), 1, 1, nil, "orders"); !errors.Is(err, kerr.InvalidReplicationFactor) {
		t.Errorf("a topic is created with %v %s", err, resp.ErrMessage)
	}
	set("")
	await(t, "it is gone", func() bool { return len(n.image().Broker(1).CordonedDirs) == 0 })
	if _, err := adm.CreateTopic(deadline(t), 1, 1, nil, "orders"); err != nil {
		t.Error(err)
	}
}
