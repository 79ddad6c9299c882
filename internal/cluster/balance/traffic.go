package balance

import "time"

// Traffic is what brokers have reported.
type Traffic struct {
	parts   map[Key]heard
	brokers map[int32]Volume
}

type heard struct {
	load PartitionLoad
	at   time.Time
}

// Volume is what a broker has told of its disks, and when.
type Volume struct {
	At                   time.Time
	Rated                bool  // as in Report
	DiskBytes, FreeBytes int64 // DiskBytes is 0 where they are not known
}

// Room is how many bytes of replicas may be added so that a twentieth of the disks stays free. It is 0 where the
// disks are not known, as in Broker; full says that there is none.
func (v *Volume) Room() (room int64, full bool) {
	if v.DiskBytes == 0 {
		return 0, false
	}
	room = v.FreeBytes - v.DiskBytes/20
	return max(room, 0), room <= 0
}

// NewTraffic is before the first report.
func NewTraffic() *Traffic {
	return &Traffic{parts: map[Key]heard{}, brokers: map[int32]Volume{}}
}

// Take keeps what a report says.
func (t *Traffic) Take(now time.Time, r *Report) {
	t.brokers[r.Broker] = Volume{now, r.Rated, r.DiskBytes, r.FreeBytes}
	for _, p := range r.Partitions {
		t.parts[p.Key] = heard{p, now}
	}
}

// Load is what is known of a partition.
func (t *Traffic) Load(k Key) (PartitionLoad, bool) {
	h, ok := t.parts[k]
	return h.load, ok
}

// Volume is what a broker told last.
func (t *Traffic) Volume(id int32) (Volume, bool) {
	v, ok := t.brokers[id]
	return v, ok
}

// Forget drops what was reported before a time.
func (t *Traffic) Forget(before time.Time) {
	for k, h := range t.parts {
		if h.at.Before(before) {
			delete(t.parts, k)
		}
	}
	for id, v := range t.brokers {
		if v.At.Before(before) {
			delete(t.brokers, id)
		}
	}
}
