package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/logstead/logstead/internal/conf"
	"github.com/logstead/logstead/internal/kit/obs"
	"github.com/logstead/logstead/internal/node"
)

// serverFlags are the flags of `logstead server`.
type serverFlags struct {
	config     string
	set        []string
	autoFormat bool
	logFormat  string
	logLevel   string
	withStdin  bool // stop when stdin ends: whoever started this process is gone or wants it to
}

func serverCmd(a *App) *cobra.Command {
	var f serverFlags
	c := &cobra.Command{
		Use:   "server",
		Short: "Start a broker for production",
		Long: `Starts a broker with the keys of Apache Kafka: from a server.properties or YAML file, from
environment variables (KAFKA_LOG_DIRS, LOGSTEAD_DURABILITY) and from --set, the last winning.

The data directories must be formatted (logstead storage format) unless --auto-format is given.
SIGTERM or ctrl-c stops it cleanly.`,
		Example: examples(
			"with a file that Apache Kafka would take", "logstead server --config server.properties",
			"without a file", "logstead server --auto-format --set log.dirs=/var/lib/logstead",
			"what a key is set to, and where", "logstead config explain log.dirs --config server.properties",
		),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.server(cmd.Context(), f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.config, "config", "", "configuration `FILE`: .properties, .yaml or .yml")
	fl.StringArrayVar(&f.set, "set", nil, "set a config: `KEY=VALUE` (wins over file and environment)")
	fl.BoolVar(&f.autoFormat, "auto-format", false, "format empty data directories")
	fl.StringVar(&f.logFormat, "log-format", "", "log format: text, json or auto (text on a terminal)")
	fl.StringVar(&f.logLevel, "log-level", "", "lowest level logged: debug, info, warn or error")
	fl.BoolVar(&f.withStdin, "until-stdin-closes", false, "stop when standard input ends")
	_ = fl.MarkHidden("until-stdin-closes")
	return c
}

// serverDefaults stand below the file: what a lone node needs and Kafka has no default for.
var serverDefaults = map[string]string{"process.roles": "broker,controller", "node.id": "1"}

// loadServerConfig reads the configuration a server would start with.
func loadServerConfig(file string, set []string) (*conf.Static, error) {
	static, err := conf.Load(conf.Source{File: file, Set: set, Env: os.Environ(), Defaults: serverDefaults})
	if err != nil {
		return nil, configFault(err)
	}
	return static, nil
}

// configFault says that a configuration cannot be used, with every reason.
func configFault(err error) error {
	f := &Fault{What: "configuration refused", Why: err.Error(), Exit: exitUsage, cause: err}
	return f.try("logstead config explain KEY")
}

func (a *App) server(ctx context.Context, f serverFlags) error {
	for key, v := range map[string]string{"logstead.log.format": f.logFormat, "logstead.log.level": f.logLevel} {
		if v != "" {
			f.set = append(f.set, key+"="+v)
		}
	}
	if f.autoFormat {
		f.set = append(f.set, "logstead.auto.format=true")
	}
	static, err := loadServerConfig(f.config, f.set)
	if err != nil {
		return err
	}
	live := conf.NewLive(static, nil, nil)
	var level slog.LevelVar
	l, err := obs.ParseLevel(live.String("logstead.log.level"))
	if err != nil {
		return err
	}
	level.Set(l)
	logger, err := obs.NewLogger(a.Stderr, live.String("logstead.log.format"), &level)
	if err != nil {
		return err
	}
	tuneRuntime(live.Broker().MemoryBudgetBytes)
	if f.withStdin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() { // ends with the process
			_, _ = io.Copy(io.Discard, a.Stdin)
			cancel()
		}()
	}
	n, err := node.Open(ctx, node.Options{
		Config: static, ConfigFile: f.config, Version: readVersion().Version, Logger: logger, Level: &level,
	})
	if err != nil {
		return startFault(ctx, err)
	}
	if err := n.Run(ctx); !told(ctx, err) {
		return err
	}
	return nil
}

// told says that a broker has ended as it was told to.
func told(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()))
}

// startFault says why a broker did not start, and what to do. One that was told to stop before it was
// ready has done what it was told.
func startFault(ctx context.Context, err error) error {
	if told(ctx, err) {
		return nil
	}
	f := &Fault{What: "the broker did not start", Why: err.Error(), Exit: exitFailed, cause: err}
	var listen *node.ListenError
	var unformatted *node.NotFormattedError
	switch {
	case errors.As(err, &listen):
		if listen.Busy {
			return f.try("--set %s=... with a free port", listen.Key)
		}
	case errors.As(err, &unformatted):
		return f.try("logstead server --auto-format, or logstead storage format")
	case errors.Is(err, os.ErrPermission):
		return f.try("another directory with --set log.dirs=DIR, or make this one writable")
	}
	return f
}
