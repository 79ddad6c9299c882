package conf

// synonym is a broker key that gives a topic or group key its value, times a factor.
type synonym struct {
	name   string
	factor int64 // 1 but for hours and minutes
}

const (
	minutesToMs = 60 * 1000
	hoursToMs   = 60 * minutesToMs
)

func same(name string) []synonym { return []synonym{{name, 1}} }

// topicSynonyms names the broker keys behind each topic key, the one that wins first.
var topicSynonyms = map[string][]synonym{
	"cleanup.policy":                 same("log.cleanup.policy"),
	"compression.gzip.level":         same("compression.gzip.level"),
	"compression.lz4.level":          same("compression.lz4.level"),
	"compression.type":               same("compression.type"),
	"compression.zstd.level":         same("compression.zstd.level"),
	"delete.retention.ms":            same("log.cleaner.delete.retention.ms"),
	"file.delete.delay.ms":           same("log.segment.delete.delay.ms"),
	"flush.messages":                 same("log.flush.interval.messages"),
	"flush.ms":                       {{"log.flush.interval.ms", 1}, {"log.flush.scheduler.interval.ms", 1}},
	"index.interval.bytes":           same("log.index.interval.bytes"),
	"local.retention.bytes":          same("log.local.retention.bytes"),
	"local.retention.ms":             same("log.local.retention.ms"),
	"logstead.durability":            same("logstead.durability"),
	"logstead.validation":            same("logstead.validation"),
	"max.compaction.lag.ms":          same("log.cleaner.max.compaction.lag.ms"),
	"max.message.bytes":              same("message.max.bytes"),
	"message.timestamp.after.max.ms": same("log.message.timestamp.after.max.ms"),
	"message.timestamp.before.max.ms": same(
		"log.message.timestamp.before.max.ms"),
	"message.timestamp.type":    same("log.message.timestamp.type"),
	"min.cleanable.dirty.ratio": same("log.cleaner.min.cleanable.ratio"),
	"min.compaction.lag.ms":     same("log.cleaner.min.compaction.lag.ms"),
	"min.insync.replicas":       same("min.insync.replicas"),
	"preallocate":               same("log.preallocate"),
	"retention.bytes":           same("log.retention.bytes"),
	"retention.ms": {{"log.retention.ms", 1}, {"log.retention.minutes", minutesToMs},
		{"log.retention.hours", hoursToMs}},
	"segment.bytes":                  same("log.segment.bytes"),
	"segment.index.bytes":            same("log.index.size.max.bytes"),
	"segment.jitter.ms":              {{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", hoursToMs}},
	"segment.ms":                     {{"log.roll.ms", 1}, {"log.roll.hours", hoursToMs}},
	"unclean.leader.election.enable": same("unclean.leader.election.enable"),
}

// groupSynonyms names the broker key behind each group key that has one.
var groupSynonyms = map[string][]synonym{
	"consumer.assignment.interval.ms":    same("group.consumer.assignment.interval.ms"),
	"consumer.heartbeat.interval.ms":     same("group.consumer.heartbeat.interval.ms"),
	"consumer.session.timeout.ms":        same("group.consumer.session.timeout.ms"),
	"share.assignment.interval.ms":       same("group.share.assignment.interval.ms"),
	"share.delivery.count.limit":         same("group.share.delivery.count.limit"),
	"share.heartbeat.interval.ms":        same("group.share.heartbeat.interval.ms"),
	"share.partition.max.record.locks":   same("group.share.partition.max.record.locks"),
	"share.record.lock.duration.ms":      same("group.share.record.lock.duration.ms"),
	"share.session.timeout.ms":           same("group.share.session.timeout.ms"),
	"streams.assignment.interval.ms":     same("group.streams.assignment.interval.ms"),
	"streams.heartbeat.interval.ms":      same("group.streams.heartbeat.interval.ms"),
	"streams.initial.rebalance.delay.ms": same("group.streams.initial.rebalance.delay.ms"),
	"streams.num.standby.replicas":       same("group.streams.num.standby.replicas"),
	"streams.session.timeout.ms":         same("group.streams.session.timeout.ms"),
}

// brokerFamilies are broker keys that set the same thing in different units; the first that is set
// wins, and setting one at a higher level hides the others below it.
var brokerFamilies = [][]string{
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
}

// brokerSynonyms lists the names that can give a broker key its value, the one that wins first.
func brokerSynonyms(name string) []string {
	for _, family := range brokerFamilies {
		for _, n := range family {
			if n == name {
				return family
			}
		}
	}
	if name == "log.flush.interval.ms" {
		return []string{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"}
	}
	if base, ok := listenerBase(name); ok {
		return []string{name, base}
	}
	return []string{name}
}
