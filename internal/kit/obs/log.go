package obs

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// Log formats.
const (
	FormatAuto = "auto"
	FormatText = "text"
	FormatJSON = "json"
)

// NewLogger writes to w: text where w is a terminal and JSON elsewhere, unless format says which.
// The level can be changed while it runs.
func NewLogger(w io.Writer, format string, level *slog.LevelVar) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case FormatText:
		return slog.New(slog.NewTextHandler(w, o)), nil
	case FormatJSON:
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case FormatAuto, "":
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return slog.New(slog.NewTextHandler(w, o)), nil
		}
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q: use text, json or auto", format)
}

// ParseLevel reads a level's name, in slog's words or Kafka's (TRACE, FATAL).
func ParseLevel(s string) (slog.Level, error) {
	switch s {
	case "TRACE", "trace":
		return slog.LevelDebug - 4, nil
	case "FATAL", "fatal":
		return slog.LevelError + 4, nil
	case "WARNING", "warning":
		return slog.LevelWarn, nil
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return 0, fmt.Errorf("log level %q: use debug, info, warn or error", s)
	}
	return l, nil
}
