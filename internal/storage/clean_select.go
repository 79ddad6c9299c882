package storage

import (
	"math"
	"time"
)

// cleanSegment is what the choice of work knows of a segment.
type cleanSegment struct {
	base, next int64
	size       int64
	largestTS  int64 // ms
	firstTS    int64 // ms, greatest of its first batch; -1 unknown
	indexBytes int64
	timeBytes  int64
}

// cleanView is what the choice of work knows of a log.
type cleanView struct {
	segs    []cleanSegment // without the active one
	active  int64          // base offset of the active segment
	start   int64
	stable  int64 // last stable offset, at most the high watermark
	end     int64
	cleaned int64 // where the last round ended, -1 if there was none
	cfg     *LogConfig
}

// cleanJob is one log's next round.
type cleanJob struct {
	firstDirty   int64 // where the last round ended
	firstFixed   int64 // the first offset that must not be touched
	dirtyBytes   int64 // that can be cleaned
	ratio        float64
	overdue      bool // max.compaction.lag.ms is exceeded
	resetCleaned bool // the checkpoint did not fit the log
}

// due reports whether the job is worth doing now.
func (j *cleanJob) due(cfg *LogConfig) bool {
	return j.overdue && j.dirtyBytes > 0 || j.ratio > cfg.MinCleanableDirtyRatio
}

// plan finds out what of the log may be cleaned.
func (v *cleanView) plan(now time.Time) cleanJob {
	j := cleanJob{firstDirty: v.cleaned}
	if v.cleaned < v.start || v.cleaned > v.end {
		j.firstDirty, j.resetCleaned = v.start, v.cleaned >= 0
	}
	nowMs := now.UnixMilli()
	fixed := min(v.stable, v.active)
	if lag := v.cfg.MinCompactionLag.Milliseconds(); lag > 0 {
		for _, s := range v.segs {
			if s.next > j.firstDirty && s.largestTS > nowMs-lag {
				fixed = min(fixed, s.base)
				break
			}
		}
	}
	j.firstFixed = max(j.firstDirty, fixed)
	v.measure(&j)
	j.overdue = v.overdue(&j, nowMs)
	return j
}

// measure fills in bytes and ratio. Only whole segments below firstFixed count.
func (v *cleanView) measure(j *cleanJob) {
	var clean int64
	for _, s := range v.segs {
		switch {
		case s.next <= j.firstDirty:
			clean += s.size
		case s.next <= j.firstFixed:
			j.dirtyBytes += s.size
		}
	}
	if total := clean + j.dirtyBytes; total > 0 {
		j.ratio = float64(j.dirtyBytes) / float64(total)
	}
}

// overdue: a record in the dirty part is older than max.compaction.lag.ms.
func (v *cleanView) overdue(j *cleanJob, nowMs int64) bool {
	if v.cfg.MaxCompactionLag == Forever {
		return false
	}
	limit := nowMs - max(v.cfg.MaxCompactionLag.Milliseconds(), 0)
	for _, s := range v.segs {
		if s.next > j.firstDirty && s.firstTS > 0 && s.firstTS < limit {
			return true
		}
	}
	return false
}

// groupSegments puts neighbours together that fit one segment after cleaning, by their sizes as
// they are. The segments end at upTo.
func groupSegments(segs []cleanSegment, cfg *LogConfig, upTo int64) [][]cleanSegment {
	var groups [][]cleanSegment
	for i := 0; i < len(segs); {
		first := &segs[i]
		size, index, times := first.size, first.indexBytes, first.timeBytes
		n := i + 1
		for ; n < len(segs); n++ {
			s := &segs[n]
			end := upTo
			if n+1 < len(segs) {
				end = segs[n+1].base
			}
			size, index, times = size+s.size, index+s.indexBytes, times+s.timeBytes
			if size > int64(cfg.SegmentBytes) || index > int64(cfg.IndexBytes) || times > int64(cfg.IndexBytes) ||
				s.size > 0 && end-1-first.base > math.MaxInt32 {
				break
			}
		}
		groups = append(groups, segs[i:n])
		i = n
	}
	return groups
}
