package node

import (
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/broker/partition"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// config is the broker's configuration at one moment, in both forms.
type config struct {
	live   *conf.Live
	broker *conf.Broker
}

// newConfig resolves the configuration as of an image.
func newConfig(s *conf.Static, im *meta.Image, nodeID int32) *config {
	var cluster, own map[string]string
	if im != nil {
		cluster = im.Configs(meta.Resource{Type: meta.ResourceBroker})
		own = im.Configs(meta.Resource{Type: meta.ResourceBroker, Name: itoa(nodeID)})
	}
	live := conf.NewLive(s, cluster, own)
	b, _ := live.Broker().Capped(1)
	return &config{live: live, broker: b}
}

// topicConfig is a topic's configuration as of an image.
func (c *config) topicConfig(im *meta.Image, topic string) *conf.Topic {
	return c.live.Topic(im.Configs(meta.Resource{Type: meta.ResourceTopic, Name: topic}))
}

// logConfig is what a topic's configuration means for its logs. Internal topics are always synced.
func (c *config) logConfig(topic string, t *conf.Topic) storage.LogConfig {
	timestamps := storage.CreateTime
	if t.LogAppendTime {
		timestamps = storage.LogAppendTime
	}
	age := t.SegmentAge
	if t.Compact && t.MaxCompactionLag > 0 {
		age = min(age, t.MaxCompactionLag) // what must be compacted by then may not lie in the active segment
	}
	return storage.LogConfig{
		SegmentBytes: t.SegmentBytes, IndexBytes: t.IndexBytes, IndexIntervalBytes: t.IndexIntervalBytes,
		SegmentAge: age, SegmentJitter: t.SegmentJitter,
		RetentionBytes: t.RetentionBytes, Retention: t.Retention, Compact: t.Compact, Delete: t.Delete,
		DeleteRetention: t.DeleteRetention, MinCompactionLag: t.MinCompactionLag, MaxCompactionLag: t.MaxCompactionLag,
		MinCleanableDirtyRatio: t.MinCleanableDirtyRatio, FileDeleteDelay: t.FileDeleteDelay,
		FlushMessages: t.FlushMessages, FlushInterval: t.FlushInterval, Preallocate: t.Preallocate,
		TimestampType: timestamps, MaxMessageBytes: t.MaxMessageBytes,
		ProducerExpiration: c.live.Duration("producer.id.expiration.ms"),
		VerifyTransactions: c.live.Bool("transaction.partition.verification.enable"),
		Durability:         durability(topic, t),
	}
}

func durability(topic string, t *conf.Topic) storage.Durability {
	if t.Durability == "replicated" && !meta.IsInternal(topic) {
		return storage.Replicated
	}
	return storage.Fsync
}

// codecs by the names of compression.type; "producer" is not among them.
var codecs = map[string]batch.Codec{
	"uncompressed": batch.None, "gzip": batch.Gzip, "snappy": batch.Snappy, "lz4": batch.LZ4, "zstd": batch.Zstd,
}

// partitionSettings is what a topic's configuration means for appends and reads.
func (c *config) partitionSettings(topic string, t *conf.Topic) *partition.Settings {
	return &partition.Settings{
		Validate: validateOptions(t), Durability: durability(topic, t), MinInSync: int(t.MinInsyncReplicas),
		Internal:           meta.IsInternal(topic),
		ThrottledLeaders:   throttled(t.ThrottledLeaders, c.broker.NodeID),
		ThrottledFollowers: throttled(t.ThrottledFollowers, c.broker.NodeID),
	}
}

// throttled is what a list of partition:broker, or *, says of this broker.
func throttled(list []string, self int32) (t partition.Throttled) {
	if len(list) == 1 && list[0] == "*" {
		return partition.Throttled{All: true}
	}
	for _, s := range list {
		part, broker, ok := strings.Cut(s, ":")
		if n, err := strconv.ParseInt(part, 10, 32); ok && err == nil && broker == itoa(self) {
			t.Some = append(t.Some, int32(n))
		}
	}
	return t
}

func validateOptions(t *conf.Topic) batch.ValidateOptions {
	o := batch.ValidateOptions{
		MaxMessageBytes: t.MaxMessageBytes, Compacted: t.Compact,
		TimestampBeforeMaxMs: t.TimestampBeforeMax.Milliseconds(), TimestampAfterMaxMs: t.TimestampAfterMax.Milliseconds(),
		Depth: depths[t.Validation],
	}
	if t.LogAppendTime {
		o.TimestampType = batch.LogAppendTime
	}
	if codec, ok := codecs[t.CompressionType]; ok {
		o.Recompress, o.Codec = true, codec
		switch codec {
		case batch.Gzip:
			o.Level = int(t.GzipLevel)
		case batch.LZ4:
			o.Level = int(t.Lz4Level)
		case batch.Zstd:
			o.Level = int(t.ZstdLevel)
		}
	}
	return o
}

var depths = map[string]batch.Depth{
	"full": batch.DepthFull, "sampled": batch.DepthSampled, "header": batch.DepthHeader,
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }
