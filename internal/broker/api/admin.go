package api

import (
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/storage"
)

// Admin is what the administrative handlers need besides the rest of Broker.
type Admin struct {
	Store      *storage.Store
	Controller *controller.Controller
	// Conf is the broker's configuration as it is now.
	Conf func() *conf.Live
	// CheckOwn says what speaks against dynamic configs of this broker that no other node can know; nil for nothing.
	CheckOwn func(own map[string]string) error
	// LogLevel is the level of the broker's log.
	LogLevel *slog.LevelVar
}

// refused is a Kafka error with a text of its own.
type refused struct {
	kerr *kerr.Error
	text string
}

func (e *refused) Error() string { return e.text }

// Unwrap lets code find the Kafka error.
func (e *refused) Unwrap() error { return e.kerr }

// refuse says why an item of a request is not done.
func refuse(code *kerr.Error, format string, args ...any) error {
	return &refused{code, fmt.Sprintf(format, args...)}
}
