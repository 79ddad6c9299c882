package sim

import (
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/storage"
)

// Nodes with two log directories and one of their own for the metadata. A directory fails under a broker that goes
// on with the other one, is lost while its node is down and comes back empty, and logs move between them.

const metaDir = "/meta"

// paths are a node's log directories.
func (o options) paths() []string {
	if o.feature == disks {
		return []string{"/d0", "/d1"}
	}
	return []string{dataDir}
}

// metaApart says that the metadata has a directory of its own.
func (o options) metaApart() bool { return o.feature == disks || o.feature == quorums }

// format makes a directory that belongs to a node.
func format(disk *vfs.Mem, dir string, node int32, id base.TopicID) {
	err := disk.MkdirAll(dir)
	if err == nil {
		err = disk.SyncDir("/")
	}
	if err == nil {
		err = storage.WriteMeta(disk, dir, storage.MetaProperties{ClusterID: clusterID, NodeID: node, DirectoryID: id})
	}
	if err != nil {
		panic(err)
	}
}

// stores are those of the logs and of the metadata, which may be one.
func (n *node) stores() []*storage.Store {
	if n.metaStore == n.store {
		return []*storage.Store{n.store}
	}
	return []*storage.Store{n.store, n.metaStore}
}

// directories are the ids of the log directories that are online, or that are not.
func (n *node) directories(online bool) (ids []base.TopicID) {
	for _, d := range n.store.Dirs() {
		if d.Online == online {
			ids = append(ids, d.DirectoryID)
		}
	}
	return ids
}

// breakDisk is one evil thing that has to do with directories.
func (w *world) breakDisk() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if !n.up {
		return
	}
	dirs := w.opts.paths()
	dir := dirs[w.rng.IntN(len(dirs))]
	switch x := w.rng.IntN(10); {
	case x < 4:
		keys := w.allKeys()
		k := keys[w.rng.IntN(len(keys))]
		if n.parts[k] != nil && n.store.Move(k, dir) == nil {
			w.note("%s moves %s to %s", n, k, dir)
		}
	case x < 7:
		w.note("%s: every write to %s fails", n, dir)
		n.sick = true
		n.fault.Inject(vfs.Rule{Kind: vfs.OpWrite, Path: dir + "/*/*", Err: syscall.EIO})
		n.fault.Inject(vfs.Rule{Kind: vfs.OpSync, Path: dir + "/*/*", Err: syscall.EIO})
	case w.sparable(n):
		if w.chance(0.4) {
			dirs = []string{dir}
		}
		n.lose(dirs)
	}
}

// sparable says that nothing that is committed is lost with the disks of a node: for each of its replicas another one in
// sync has all of it.
func (w *world) sparable(n *node) bool {
	im := w.newest().image
	if im == nil {
		return false // nobody is up
	}
	unplaced := ""
	for _, k := range w.allKeys() {
		p := im.Topic(k.Topic).Partitions[k.Partition]
		if i := slices.Index(p.Replicas, n.id); i >= 0 && i < len(p.Directories) && p.Directories[i] == meta.DirUnassigned {
			unplaced = "a directory was lost before it was told what is in it"
		}
		if !slices.ContainsFunc(p.ISR, func(id int32) bool {
			m := w.node(id)
			r := m.parts[k]
			return m != n && m.up && r != nil && !r.Log().Offline() && r.StoredOffset() >= int64(len(w.check.committed[k]))
		}) {
			return false
		}
	}
	if unplaced != "" {
		w.reached(unplaced)
	}
	return true
}

// lose takes log directories of a node away: it comes back soon, with empty ones.
func (n *node) lose(dirs []string) {
	w := n.w
	n.crash()
	w.reached(map[bool]string{true: "a node lost its log directories", false: "a node lost one of its log directories"}[len(dirs) > 1])
	w.note("%s has lost %v", n, dirs)
	for _, dir := range dirs {
		if err := n.disk.RemoveAll(dir); err != nil {
			panic(err)
		}
		format(n.disk, dir, n.id, n.newID())
	}
	for _, k := range w.allKeys() {
		delete(w.check.ends, replicaKey{n.id, k})
	}
	w.after(w.between(20*time.Millisecond, 400*time.Millisecond), n.start)
}

// logMoved has a partition go on with its log in another directory.
func (n *node) logMoved(l *storage.Log) {
	if p := n.parts[l.TopicPartition()]; p != nil && p.TopicID == l.TopicID() {
		n.w.reached("a log moved to another directory")
		p.SetLog(l)
		n.places[l.TopicPartition()] = true
	}
}

// checkPlace has a replica reported that is in another directory than the metadata says.
func (n *node) checkPlace(k tp, p *partition.Partition, mp *meta.Partition) {
	if i := slices.Index(mp.Replicas, n.id); i >= 0 && i < len(mp.Directories) && n.place(p) != mp.Directories[i] {
		n.places[k] = true
	}
}

// place is the id of the directory that a replica is in.
func (n *node) place(p *partition.Partition) (id base.TopicID) {
	for _, d := range n.store.Dirs() {
		if d.Path == path.Clean(p.Log().Dir()) {
			id = d.DirectoryID
		}
	}
	return id
}

// reportPlaces tells the controller where replicas are (KIP-858).
func (n *node) reportPlaces() {
	to, _ := n.ctl.Leader()
	if n.telling || len(n.places) == 0 || to < 1 || n.epoch < 0 {
		return
	}
	req := kmsg.NewAssignReplicasToDirsRequest()
	req.BrokerId, req.BrokerEpoch = n.id, n.epoch
	for _, k := range n.w.allKeys() {
		p := n.parts[k]
		if !n.places[k] || p == nil {
			continue
		}
		req.Directories = append(req.Directories, kmsg.AssignReplicasToDirsRequestDirectoryData{Id: n.place(p),
			Topics: []kmsg.AssignReplicasToDirsRequestTopicData{{TopicId: p.TopicID,
				Partitions: []kmsg.AssignReplicasToDirsRequestPartitionData{{PartitionIndex: k.Partition}}}}})
	}
	sent := n.places
	n.places, n.telling = map[tp]bool{}, true
	ask(n, to, func(m *controller.Machine, _ time.Time) ([]kmsg.Record, *kmsg.AssignReplicasToDirsResponse) {
		return m.AssignReplicasToDirs(&req)
	}, func(resp *kmsg.AssignReplicasToDirsResponse, err error) {
		n.telling = false
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			n.w.reached("a place was reported")
			return
		}
		for k := range sent {
			n.places[k] = true
		}
	})
}

// mend restarts who has a directory that failed: with another disk it would be as if that were lost.
func (w *world) mend() {
	for _, n := range w.nodes {
		if n.up && len(n.directories(false)) > 0 {
			n.crash()
		}
	}
}

// stuck says that the only replica that was in sync has lost what it had: the partition waits for its operator.
func (w *world) stuck() bool {
	im := w.newest().image
	if w.opts.feature != disks || im == nil {
		return false
	}
	return slices.ContainsFunc(w.partitions(im), func(p *meta.Partition) bool {
		may := mayLead(p)
		return p.Leader < 0 && len(may) > 0 && !slices.ContainsFunc(may, func(id int32) bool { return !lostPlace(im, p, id) })
	})
}

// lostPlace says of a replica that the metadata has it in a directory that its broker no longer has, or lost: it may lead nothing,
// even where it is the only one left in sync.
func lostPlace(im *meta.Image, p *meta.Partition, id int32) bool {
	b, i := im.Broker(id), slices.Index(p.Replicas, id)
	return b != nil && i >= 0 && i < len(p.Directories) && b.DirOffline(p.Directories[i])
}

// absorbElsewhere takes in what a leader whose directory has failed still says to be committed: it is read from one of those
// in sync, which have all of it.
func (c *checker) absorbElsewhere(k tp, p *partition.Partition) {
	if !p.IsLeader() {
		return
	}
	hw := p.HighWatermark()
	for _, id := range p.State().ISR {
		m := c.w.node(id)
		if r := m.parts[k]; m.up && !m.doomed && r != nil && !r.Log().Offline() && r.StoredOffset() >= hw {
			c.verify(m, k, r, hw)
			return
		}
	}
}
