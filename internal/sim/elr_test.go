package sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/vfs"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Eligible leader replicas (KIP-966): brokers that stop in order and tell so, crashes that take what is in the page
// cache, changes of what is eligible, and of min.insync.replicas, by which that is judged.

const (
	elrVersion = "eligible.leader.replicas.version"
	minInSync  = "min.insync.replicas"
)

// minISROf is min.insync.replicas of a topic as the metadata has it.
func minISROf(im *meta.Image, topic string) int {
	for _, res := range []meta.Resource{{Type: meta.ResourceTopic, Name: topic}, {Type: meta.ResourceBroker}} {
		if v, ok := im.Configs(res)[minInSync]; ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				panic(err)
			}
			return n
		}
	}
	return minISR
}

// applySettings takes in what min.insync.replicas is now; hold leaves one that is to become lower.
func (n *node) applySettings(im *meta.Image, hold bool) {
	for _, k := range n.w.allKeys() {
		p := n.parts[k]
		if want := minISROf(im, k.Topic); p != nil && p.Settings().MinInSync != want && !(hold && p.Settings().MinInSync > want) {
			s := *p.Settings()
			s.MinInSync = want
			p.SetSettings(&s)
		}
	}
}

// setMinISR changes min.insync.replicas of a topic, or of all that have none of their own.
func (w *world) setMinISR() {
	names := append(w.topics(), "")
	res, value := meta.Resource{Type: meta.ResourceTopic, Name: names[w.rng.IntN(len(names))]}, 1+w.rng.IntN(3)
	if res.Name == "" {
		res.Type = meta.ResourceBroker
	}
	w.note("min.insync.replicas of %q is to be %d", res.Name, value)
	w.reached("min.insync.replicas was set")
	w.alterMinISR(kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{
		ResourceType: int8(res.Type), ResourceName: res.Name, Configs: []kmsg.IncrementalAlterConfigsRequestAlterableConfig{minISRTo(value)},
	})
}

func minISRTo(n int) kmsg.IncrementalAlterConfigsRequestAlterableConfig {
	return kmsg.IncrementalAlterConfigsRequestAlterableConfig{Name: minInSync, Value: new(strconv.Itoa(n))}
}

func (w *world) alterMinISR(list ...kmsg.IncrementalAlterConfigsRequestAlterConfigsResource) {
	req := kmsg.IncrementalAlterConfigsRequest{Resources: list}
	w.decide(func(m *controller.Machine, _ time.Time) controller.Outcome {
		records, _ := m.IncrementalAlterConfigs(&req)
		return controller.Outcome{Records: records}
	})
}

// restoreMinISR has min.insync.replicas be what it was in the beginning from now on.
func (w *world) restoreMinISR() {
	var list []kmsg.IncrementalAlterConfigsRequestAlterConfigsResource
	if im := w.newest().image; im != nil {
		for _, name := range w.topics() {
			if minISROf(im, name) != minISR {
				list = append(list, kmsg.IncrementalAlterConfigsRequestAlterConfigsResource{ResourceType: int8(meta.ResourceTopic),
					ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestAlterableConfig{minISRTo(minISR)}})
			}
		}
	}
	if len(list) > 0 {
		w.alterMinISR(list...)
	}
	w.after(300*time.Millisecond, w.restoreMinISR)
}

// mayCrash keeps a lossy run to what is promised: fewer brokers than min.insync.replicas are stopped without a sync
// before they are in sync again.
func (n *node) mayCrash() bool {
	return !n.w.opts.lossy || !slices.ContainsFunc(n.w.nodes, func(other *node) bool { return other != n && other.tainted })
}

// dropTorn has a log begin anew of which a crash took the first segment and left a later one. Nothing else cuts the beginning of a
// log here. A broker takes such a log as it is, as Apache Kafka does: it comes into the in-sync set again without its beginning.
func (n *node) dropTorn() error {
	if !n.w.opts.lossy {
		return nil
	}
	for _, k := range n.w.allKeys() {
		if l, ok := n.store.Log(k); ok && l.StartOffset() > 0 {
			n.w.reached("a crash took the first segment and left a later one")
			if err := n.store.Delete(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// untaint looks who is in sync again everywhere since it was stopped.
func (c *checker) untaint(im *meta.Image) {
	for _, n := range c.w.nodes {
		if n.tainted && n.lives(im) && !slices.ContainsFunc(c.w.partitions(im), func(p *meta.Partition) bool {
			return slices.Contains(p.Replicas, n.id) && !slices.Contains(p.ISR, n.id)
		}) {
			n.tainted = false
		}
	}
}

// mayLead are the replicas of which one has to come before a partition without a leader has one.
func mayLead(p *meta.Partition) []int32 {
	if may := slices.Concat(p.ISR, p.ELR); len(may) > 0 {
		return may
	}
	return p.LastELR
}

// levelOff has a run without eligible leader replicas take the level back that a new cluster has.
func (w *world) levelOff(im *meta.Image) {
	if im != nil && !w.opts.elr && im.Feature(elrVersion) > 0 {
		w.setLevel(0)
	}
}

func (w *world) setLevel(level int16) {
	req := kmsg.UpdateFeaturesRequest{FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdateKey{
		{Feature: elrVersion, MaxVersionLevel: level, UpgradeType: 2 - int8(level)},
	}}
	w.decide(func(m *controller.Machine, _ time.Time) controller.Outcome {
		records, _ := m.UpdateFeatures(2, &req)
		return controller.Outcome{Records: records}
	})
}

// decide has whoever leads the quorum carry out an operation.
func (w *world) decide(op func(m *controller.Machine, _ time.Time) controller.Outcome) {
	for _, n := range w.nodes {
		if id, _ := n.ctl.Leader(); n.up && id == n.id {
			n.act(func() { n.submit(op) })
		}
	}
}

// eligibility does what has to do with who is eligible.
func (w *world) eligibility() {
	switch x := w.rng.IntN(20); {
	case x < 6, x < 12 && w.opts.lossy:
		w.nodes[w.rng.IntN(len(w.nodes))].stop()
	case x < 7 && !w.opts.lossy:
		level := int16(w.rng.IntN(2))
		w.note("the level of eligible leader replicas is to be %d", level)
		w.reached("the level of eligible leader replicas was set")
		w.setLevel(level)
	case x >= 16 && !w.opts.lossy: // a change voids who was eligible (Kafka's rule): then one crash may take what only one had
		w.setMinISR()
	}
}

// stop has a node stop in order: it asks to be let go, and stops all the same after a while.
func (n *node) stop() {
	if !n.up || n.sick || n.leaving {
		return
	}
	n.w.note("%s is asked to stop", n)
	n.leaving = true
	n.stopAfter(n.w.between(0, time.Second))
}

func (n *node) stopAfter(d time.Duration) {
	boot := n.boot
	n.w.after(d, func() {
		switch {
		case n.boot != boot || !n.up || !n.leaving:
		case n.frozen.After(n.w.now()):
			n.stopAfter(n.frozen.Sub(n.w.now()))
		case n.w.opts.lossy && n.ownEpoch() < 0:
			// It may be registered without having heard so, from the controller or the metadata. Then it names an epoch of
			// before, and counts as stopped otherwise: one more than the run is held to.
			n.leaving = false
		case n.sick:
			n.crash() // it stops, and not in order
		default:
			n.halt()
		}
	})
}

// noteEpoch is what a stop in order tells the next start.
func (n *node) noteEpoch() int64 {
	if epoch := n.ownEpoch(); epoch >= 0 {
		if n.epoch < 0 {
			n.w.reached("a broker learned its epoch from the metadata and stopped")
		}
		return epoch
	}
	return n.store.PreviousEpoch()
}

// ownEpoch is the epoch that this run is registered under, -1 where it has not heard of that.
func (n *node) ownEpoch() int64 {
	if n.image != nil && n.lives(n.image) {
		return max(n.epoch, n.image.Broker(n.id).Epoch)
	}
	return n.epoch
}

// halt ends the process: its logs are synced, and marked so.
func (n *node) halt() {
	w := n.w
	n.fuse = 0
	for _, s := range n.stores() {
		if err := s.Close(); err != nil {
			w.fail("%s cannot stop: %v", n, err)
			return
		}
	}
	w.note("%s has stopped", n)
	w.reached("a broker stopped in order")
	w.check.crashed(n)
	n.up, n.disk = false, n.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: 1})
	n.disk.SetClock(w.now)
	if !w.faulty && !w.check.excluded(n) {
		w.after(time.Second, n.start)
	}
}

// eligible looks at who is, and at what came of it.
func (c *checker) eligible(n *node, im *meta.Image, k tp, p, before *meta.Partition) {
	for _, id := range p.ELR {
		if slices.Contains(p.ISR, id) || !slices.Contains(p.Replicas, id) {
			c.w.fail("metadata at %d: of %s %v are eligible, in sync are %v of %v", im.Offset, k, p.ELR, p.ISR, p.Replicas)
		}
	}
	if before == nil {
		return
	}
	switch {
	case p.Leader >= 0 && before.Leader != p.Leader && slices.Contains(before.ELR, p.Leader):
		c.w.reached("a leader was elected of those eligible")
	case p.Leader >= 0 && before.Leader < 0 && len(before.ISR)+len(before.ELR) == 0 && slices.Contains(before.LastELR, p.Leader):
		c.w.reached("the last known leader leads again")
	case len(before.ELR) > 0 && len(p.ELR) == 0 && len(p.ISR) >= minISR:
		c.w.reached("enough are in sync, and nobody is eligible beside")
	case len(p.ELR) < len(before.ELR) && len(p.ISR) <= len(before.ISR):
		c.w.reached("one that was eligible is not any more")
	}
	if n.w.opts.lossy && len(p.ELR) > 0 {
		c.w.reached("somebody was eligible where a crash takes records")
	}
}
