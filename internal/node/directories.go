package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

const (
	// maxPlaces is how many replicas one request tells of, as Kafka's.
	maxPlaces = 2000
	// placesPause is before a report that failed is made again.
	placesPause = 500 * time.Millisecond
	// placesTimeout bounds one report.
	placesTimeout = 10 * time.Second
)

// places tells the controller which log directory each replica of this broker is in where that is not what the
// metadata says (KIP-858): it could not tell what is lost with a directory.
type places struct {
	wake chan struct{} // capacity 1
	mu   struct {
		sync.Mutex
		waiting map[place]base.TopicID
	}
}

type place struct {
	topic     base.TopicID
	partition int32
}

func newPlaces() *places {
	p := &places{wake: make(chan struct{}, 1)}
	p.mu.waiting = map[place]base.TopicID{}
	return p
}

// put has a replica reported; the newest place counts.
func (p *places) put(at place, dir base.TopicID) {
	p.mu.Lock()
	p.mu.waiting[at] = dir
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *places) take() map[place]base.TopicID {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.mu.waiting) <= maxPlaces {
		all := p.mu.waiting
		p.mu.waiting = map[place]base.TopicID{}
		return all
	}
	some := map[place]base.TopicID{}
	for at, dir := range p.mu.waiting {
		if len(some) == maxPlaces {
			break
		}
		some[at] = dir
		delete(p.mu.waiting, at)
	}
	return some
}

// putBack has replicas reported again of which nothing newer is known.
func (p *places) putBack(list map[place]base.TopicID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, dir := range list {
		if _, newer := p.mu.waiting[at]; !newer {
			p.mu.waiting[at] = dir
		}
	}
}

// checkPlace has a replica reported that is in another directory than the metadata says. A level that knows no
// directories names none.
func (n *Node) checkPlace(p *partition.Partition, mp *meta.Partition) {
	i := slices.Index(mp.Replicas, n.api.NodeID)
	if n.places == nil || i < 0 || i >= len(mp.Directories) && !controller.KnowsDirectories(n.image()) {
		return
	}
	if dir := n.directoryOf(p.Log()); !dir.IsZero() && (i >= len(mp.Directories) || dir != mp.Directories[i]) {
		n.places.put(place{p.TopicID, p.TP.Partition}, dir)
	}
}

// renew has the controller know this broker's directories, and which replica is in which, when metadata.version has
// come to a level that takes them in.
func (n *Node) renew(old, im *meta.Image) {
	if n.uplink == nil || n.places == nil {
		return
	}
	self := n.api.NodeID
	if controller.Unsaid(im, self) && !controller.Unsaid(old, self) {
		n.uplink.Renew()
	}
	if !controller.Unsaid(old, self) || controller.Unsaid(im, self) {
		return
	}
	for t := range im.Topics() {
		topic := n.parts.Topic(t.Name)
		for i, mp := range t.Partitions {
			if p, err := topic.Partition(int32(i)); err == nil {
				n.checkPlace(p, mp)
			}
		}
	}
}

func (n *Node) directoryOf(l *storage.Log) base.TopicID { return n.dirIDs[l.Dir()] }

// reportPlaces sends what waits until ctx ends.
func (n *Node) reportPlaces(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.places.wake:
		}
		for list := n.places.take(); len(list) > 0 && ctx.Err() == nil; list = n.places.take() {
			if err := n.report(ctx, list); err != nil {
				n.log.Warn("the controller was not told where replicas are", "replicas", len(list), "err", err)
				n.places.putBack(list)
				pause(ctx, placesPause)
			}
		}
	}
}

// report sends one request. What the controller refuses of it is of a past that the metadata ends.
func (n *Node) report(ctx context.Context, list map[place]base.TopicID) error {
	limit, cancel := context.WithTimeout(ctx, placesTimeout)
	defer cancel()
	byDir := map[base.TopicID]map[base.TopicID][]int32{}
	for at, dir := range list {
		if byDir[dir] == nil {
			byDir[dir] = map[base.TopicID][]int32{}
		}
		byDir[dir][at.topic] = append(byDir[dir][at.topic], at.partition)
	}
	var dirs []kmsg.AssignReplicasToDirsRequestDirectoryData
	for dir, topics := range byDir {
		d := kmsg.AssignReplicasToDirsRequestDirectoryData{Id: dir}
		for id, partitions := range topics {
			t := kmsg.AssignReplicasToDirsRequestTopicData{TopicId: id}
			for _, p := range partitions {
				t.Partitions = append(t.Partitions, kmsg.AssignReplicasToDirsRequestPartitionData{PartitionIndex: p})
			}
			d.Topics = append(d.Topics, t)
		}
		dirs = append(dirs, d)
	}
	resp, err := n.uplink.AssignDirs(limit, dirs)
	if err != nil {
		return err
	}
	for _, d := range resp.Directories {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					n.log.Info("the controller refuses that a replica is in a log directory", "topic_id", t.TopicId.String(),
						"partition", p.PartitionIndex, "directory_id", d.Id.String(), "err", err)
				}
			}
		}
	}
	return nil
}

// tellCordons tells the controller of a node alone which log directories are cordoned, whenever the settings have
// changed. With others, heartbeats tell it.
func (n *Node) tellCordons(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.cordons:
		}
		if err := n.ctl.Cordon(ctx, n.cordonedDirIDs()); err != nil && ctx.Err() == nil {
			n.log.Warn("the controller was not told which log directories are cordoned", "err", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
