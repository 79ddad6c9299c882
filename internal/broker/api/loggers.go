package api

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// rootLogger is the one logger there is, under the name that Kafka's has.
const rootLogger = "root"

// logLevels are Kafka's names for levels, from the least to the most severe.
var logLevels = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo},
	{"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError}, {"FATAL", slog.LevelError + 4},
}

// loggers are the names and levels of the broker's loggers.
func (b *Broker) loggers() map[string]string {
	name := logLevels[0].name
	for _, l := range logLevels {
		if b.Admin.LogLevel.Level() >= l.level {
			name = l.name
		}
	}
	return map[string]string{rootLogger: name}
}

// alterLoggers changes log levels; nothing is changed if anything is wrong.
func (b *Broker) alterLoggers(res *kmsg.IncrementalAlterConfigsRequestAlterConfigsResource, validateOnly bool) error {
	if err := b.checkLoggerResource(res.ResourceName); err != nil {
		return err
	}
	level := b.Admin.LogLevel.Level()
	for _, op := range res.Configs {
		next, err := alteredLevel(op)
		if err != nil {
			return err
		}
		level = next
	}
	if !validateOnly {
		b.Admin.LogLevel.Set(level)
	}
	return nil
}

func alteredLevel(op kmsg.IncrementalAlterConfigsRequestAlterableConfig) (slog.Level, error) {
	switch kind := conf.OpKind(op.ConfigOperation); {
	case kind != conf.OpSet && kind != conf.OpDelete:
		return 0, refuse(kerr.InvalidRequest, "operation %d: a log level can only be set", op.ConfigOperation)
	case op.Name != rootLogger:
		return 0, refuse(kerr.InvalidConfig, "logger %s does not exist; there is %s", op.Name, rootLogger)
	case kind == conf.OpDelete:
		return 0, refuse(kerr.InvalidRequest, "the level of the logger %s cannot be removed, only set", rootLogger)
	case op.Value == nil:
		return 0, refuse(kerr.InvalidRequest, "the logger %s needs a level, not null", rootLogger)
	}
	for _, l := range logLevels {
		if l.name == *op.Value {
			return l.level, nil
		}
	}
	return 0, refuse(kerr.InvalidConfig, "log level %q: want TRACE, DEBUG, INFO, WARN, ERROR or FATAL", *op.Value)
}
