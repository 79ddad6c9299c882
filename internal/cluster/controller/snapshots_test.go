package controller

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/logstead/logstead/internal/kit/vfs"
)

// TestSnapshotBesideTheQuorum holds a snapshot up on the disk: what is decided meanwhile is committed, and
// stays in the log behind it.
func TestSnapshotBesideTheQuorum(t *testing.T) {
	mem := vfs.NewMem()
	fsys := vfs.NewFault(mem)
	began, goOn := make(chan struct{}), make(chan struct{})
	held := false
	fsys.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpCreate && strings.Contains(op.Path, snapshotSuffix) && strings.Contains(op.Path, MetadataTopic) && !held {
			held = true // of one goroutine at a time: there is one snapshot
			close(began)
			<-goOn
		}
	})
	n := open(t, fsys, func(o *Options) { o.SnapshotBytes = 2000 })
	n.register(t)
	i := 0
	for ; ; i++ {
		n.create(t, "t"+strconv.Itoa(i))
		select {
		case <-began:
		default:
			continue
		}
		break
	}
	for range 5 {
		i++
		n.create(t, "t"+strconv.Itoa(i))
	}
	if start := n.log.StartOffset(); start != 0 {
		t.Errorf("the log begins at %d before the snapshot is there", start)
	}
	close(goOn)
	for n.log.StartOffset() == 0 {
		i++
		n.create(t, "t"+strconv.Itoa(i))
	}
	want := everything(t, n.Image())
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	again := open(t, mem, nil)
	if got := everything(t, again.Image()); !bytes.Equal(got, want) {
		t.Errorf("%d topics after a start, want %d", again.Image().TopicCount(), i+1)
	}
	if err := again.stop(); err != nil {
		t.Error(err)
	}
}
