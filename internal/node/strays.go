package node

import (
	"slices"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/storage"
)

// settleStrays goes through the logs that a start has found and the metadata has no replica here for. The image has this
// run's registration, so it is as new as anything that the controllers decided while the broker was down. Still a log
// goes only where the metadata names the brokers that have its partition now. One whose topic it does not know is
// set aside and kept, as Apache Kafka does: the topic was deleted, or the metadata of the cluster are from a
// backup that is older than the topic.
func (n *Node) settleStrays(im *meta.Image) {
	for _, l := range n.store.Logs() {
		tp := l.TopicPartition()
		if tp.Topic == controller.MetadataTopic || l.Offline() {
			continue
		}
		t := im.TopicByID(l.TopicID())
		switch {
		case n.uplink == nil:
			if im.Topic(tp.Topic) == nil {
				n.log.Warn("log of a topic that the metadata does not know; it is left alone", "path", l.Path())
			}
		case t == nil || int(tp.Partition) >= len(t.Partitions):
			n.setAside(l)
		case !slices.Contains(t.Partitions[tp.Partition].Replicas, n.api.NodeID):
			n.dropStray(im, t, t.Partitions[tp.Partition], l)
		}
	}
}

func (n *Node) setAside(l *storage.Log) {
	tp, path := l.TopicPartition(), l.Path()
	kept, err := n.store.SetAside(tp)
	if err != nil {
		n.log.Error("log of a topic that the metadata does not know cannot be set aside", "path", path, "err", err)
		return
	}
	n.log.Warn("log of a topic that the metadata does not know is set aside and kept; remove it by hand", "path", path, "kept", kept,
		"topic_id", l.TopicID().String())
}

// dropStray removes the log of a replica that moved away while the broker was down, after file.delete.delay.ms.
func (n *Node) dropStray(im *meta.Image, t *meta.Topic, mp *meta.Partition, l *storage.Log) {
	args := []any{"path", l.Path(), "topic_id", t.ID.String(), "replicas", mp.Replicas, "leader_epoch", mp.LeaderEpoch}
	if !partition.MovedAway(l, n.api.NodeID, partition.State{Replicas: mp.Replicas, LeaderEpoch: mp.LeaderEpoch}) {
		epoch, _ := l.LatestEpoch()
		n.log.Error("log of a replica that the metadata has elsewhere knows a newer leader epoch than the metadata, which must be "+
			"older than the log; it is left alone", append(args, "log_epoch", epoch)...)
		return
	}
	c := n.live.Load()
	l.SetConfig(c.logConfig(t.Name, c.topicConfig(im, t.Name)))
	if err := n.store.Delete(l.TopicPartition()); err != nil {
		n.log.Error("log of a replica that was moved away cannot be removed", append(args, "err", err)...)
		return
	}
	n.log.Warn("log of a replica that was moved to other brokers while this one was down is removed", args...)
}
