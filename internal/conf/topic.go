package conf

import (
	"slices"
	"time"
)

// Topic is the configuration of one topic. Durations that Kafka calls unlimited are the largest
// Duration; -1 is "none" where the key allows it.
type Topic struct {
	Compact bool
	Delete  bool

	SegmentBytes       int32
	SegmentAge         time.Duration
	SegmentJitter      time.Duration
	IndexBytes         int32
	IndexIntervalBytes int32
	Preallocate        bool

	RetentionBytes  int64 // -1 is no limit
	Retention       time.Duration
	FileDeleteDelay time.Duration

	DeleteRetention        time.Duration
	MinCompactionLag       time.Duration
	MaxCompactionLag       time.Duration
	MinCleanableDirtyRatio float64

	FlushMessages int64
	FlushInterval time.Duration

	MaxMessageBytes    int32
	CompressionType    string // producer, uncompressed, gzip, snappy, lz4, zstd
	GzipLevel          int32
	Lz4Level           int32
	ZstdLevel          int32
	LogAppendTime      bool
	TimestampBeforeMax time.Duration
	TimestampAfterMax  time.Duration

	MinInsyncReplicas int32
	UncleanElection   bool

	// ThrottledLeaders and ThrottledFollowers are lists of partition:broker, or *.
	ThrottledLeaders   []string
	ThrottledFollowers []string

	Durability string // fsync, replicated
	Validation string // full, header, sampled
}

// Topic resolves the configuration of a topic with these overrides.
func (l *Live) Topic(overrides map[string]string) *Topic {
	get := func(name string) Value {
		k, ok := Lookup(ScopeTopic, name)
		if !ok {
			panic("conf: no such topic key: " + name)
		}
		return l.resolve(k, overrides)
	}
	ms := func(name string) time.Duration { return duration(get(name).num, 1) }
	i32 := func(name string) int32 { return int32(get(name).num) }
	policy := get("cleanup.policy").list
	t := &Topic{
		Compact:                slices.Contains(policy, "compact"),
		Delete:                 slices.Contains(policy, "delete"),
		SegmentBytes:           i32("segment.bytes"),
		SegmentAge:             ms("segment.ms"),
		SegmentJitter:          ms("segment.jitter.ms"),
		IndexBytes:             i32("segment.index.bytes"),
		IndexIntervalBytes:     i32("index.interval.bytes"),
		Preallocate:            get("preallocate").yes,
		RetentionBytes:         get("retention.bytes").num,
		Retention:              ms("retention.ms"),
		FileDeleteDelay:        ms("file.delete.delay.ms"),
		DeleteRetention:        ms("delete.retention.ms"),
		MinCompactionLag:       ms("min.compaction.lag.ms"),
		MaxCompactionLag:       ms("max.compaction.lag.ms"),
		MinCleanableDirtyRatio: get("min.cleanable.dirty.ratio").float,
		FlushMessages:          get("flush.messages").num,
		FlushInterval:          ms("flush.ms"),
		MaxMessageBytes:        i32("max.message.bytes"),
		CompressionType:        get("compression.type").str,
		GzipLevel:              i32("compression.gzip.level"),
		Lz4Level:               i32("compression.lz4.level"),
		ZstdLevel:              i32("compression.zstd.level"),
		LogAppendTime:          get("message.timestamp.type").str == "LogAppendTime",
		TimestampBeforeMax:     ms("message.timestamp.before.max.ms"),
		TimestampAfterMax:      ms("message.timestamp.after.max.ms"),
		MinInsyncReplicas:      i32("min.insync.replicas"),
		UncleanElection:        get("unclean.leader.election.enable").yes,
		ThrottledLeaders:       get("leader.replication.throttled.replicas").list,
		ThrottledFollowers:     get("follower.replication.throttled.replicas").list,
		Durability:             get("logstead.durability").str,
		Validation:             get("logstead.validation").str,
	}
	if n := i32("internal.segment.bytes"); n > 0 {
		t.SegmentBytes = n
	}
	return t
}

// Group is the configuration of one group. Every value lies within the broker's bounds: one set
// before the bounds were narrowed is moved to the nearest bound.
type Group struct {
	ConsumerSessionTimeout     time.Duration
	ConsumerHeartbeatInterval  time.Duration
	ConsumerAssignmentInterval time.Duration
}

// Group resolves the configuration of a group with these overrides.
func (l *Live) Group(overrides map[string]string) *Group {
	get := func(what string) time.Duration {
		k, _ := Lookup(ScopeGroup, "consumer."+what)
		low, high := l.Duration("group.consumer.min."+what), l.Duration("group.consumer.max."+what)
		return min(max(duration(l.resolve(k, overrides).num, 1), low), high)
	}
	return &Group{
		ConsumerSessionTimeout:     get("session.timeout.ms"),
		ConsumerHeartbeatInterval:  get("heartbeat.interval.ms"),
		ConsumerAssignmentInterval: get("assignment.interval.ms"),
	}
}
