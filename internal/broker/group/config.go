package group

import (
	"math"
	"time"
)

// MigrationPolicy says which way a group with members may change its protocol on line.
type MigrationPolicy string

// The values of group.consumer.migration.policy.
const (
	MigrateBoth MigrationPolicy = "bidirectional"
	MigrateUp   MigrationPolicy = "upgrade"
	MigrateDown MigrationPolicy = "downgrade"
	MigrateNone MigrationPolicy = "disabled"
)

func (p MigrationPolicy) up() bool   { return p == MigrateBoth || p == MigrateUp }
func (p MigrationPolicy) down() bool { return p == MigrateBoth || p == MigrateDown }

// Config is the broker's settings for groups, each named after Kafka's key.
type Config struct {
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	MaxSize               int           // group.max.size

	ConsumerSessionTimeout     time.Duration   // group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval  time.Duration   // group.consumer.heartbeat.interval.ms
	ConsumerMaxSize            int             // group.consumer.max.size
	ConsumerAssignors          []string        // group.consumer.assignors, the first is the default
	ConsumerMigration          MigrationPolicy // group.consumer.migration.policy
	ConsumerAssignmentInterval time.Duration   // group.consumer.assignment.interval.ms
	ConsumerRegexRefresh       time.Duration   // group.consumer.regex.refresh.interval.ms

	OffsetMetadataMaxBytes        int           // offset.metadata.max.bytes
	OffsetsRetention              time.Duration // offsets.retention.minutes
	OffsetsRetentionCheckInterval time.Duration // offsets.retention.check.interval.ms
}

// DefaultConfig is Kafka's defaults.
func DefaultConfig() Config {
	return Config{
		MinSessionTimeout:             6 * time.Second,
		MaxSessionTimeout:             30 * time.Minute,
		InitialRebalanceDelay:         3 * time.Second,
		MaxSize:                       math.MaxInt32,
		ConsumerSessionTimeout:        45 * time.Second,
		ConsumerHeartbeatInterval:     5 * time.Second,
		ConsumerMaxSize:               math.MaxInt32,
		ConsumerAssignors:             []string{AssignorUniform, AssignorRange},
		ConsumerMigration:             MigrateBoth,
		ConsumerAssignmentInterval:    time.Second,
		ConsumerRegexRefresh:          10 * time.Minute,
		OffsetMetadataMaxBytes:        4096,
		OffsetsRetention:              7 * 24 * time.Hour,
		OffsetsRetentionCheckInterval: 10 * time.Minute,
	}
}

// GroupConfig is the settings of one group. A nil field means the broker's value.
type GroupConfig struct {
	SessionTimeout     *time.Duration // consumer.session.timeout.ms
	HeartbeatInterval  *time.Duration // consumer.heartbeat.interval.ms
	AssignmentInterval *time.Duration // consumer.assignment.interval.ms
}

func (m *Machine) sessionTimeout(id string) time.Duration {
	return or(m.opts.GroupConfig(id).SessionTimeout, m.opts.Config.ConsumerSessionTimeout)
}

func (m *Machine) heartbeatInterval(id string) time.Duration {
	return or(m.opts.GroupConfig(id).HeartbeatInterval, m.opts.Config.ConsumerHeartbeatInterval)
}

func (m *Machine) assignmentInterval(id string) time.Duration {
	return or(m.opts.GroupConfig(id).AssignmentInterval, m.opts.Config.ConsumerAssignmentInterval)
}

func or[T any](p *T, other T) T {
	if p != nil {
		return *p
	}
	return other
}

// Events tells of what happens to groups, for logs and metrics.
type Events struct {
	// Rebalance is called when a group starts to share out its partitions anew.
	Rebalance func(group, reason string)
	// Fenced is called when a member is removed without having asked for it.
	Fenced func(group, member, reason string)
	// Expired is called with the number of offsets that went out of retention in one step.
	Expired func(offsets int)
}

func (e *Events) rebalance(group, reason string) {
	if e.Rebalance != nil {
		e.Rebalance(group, reason)
	}
}

func (e *Events) fenced(group, member, reason string) {
	if e.Fenced != nil {
		e.Fenced(group, member, reason)
	}
}

func (e *Events) expired(n int) {
	if e.Expired != nil && n > 0 {
		e.Expired(n)
	}
}
