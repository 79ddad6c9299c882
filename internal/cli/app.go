package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// App is one command line being executed: its streams, its surroundings and its global flags.
type App struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	Now    func() time.Time

	StdinTTY, StdoutTTY, StderrTTY bool

	ctx      context.Context // ends on an interrupt; set by Run
	flags    globalFlags
	resolved *settings // memo of settings()
	code     int       // exit code of a command that ended well but has something to say
}

// globalFlags are accepted by every command.
type globalFlags struct {
	bootstrap []string
	context   string
	props     []string
	propsFile string
	output    string
	timeout   time.Duration
	timezone  string
	color     string
	quiet     bool
	verbose   int
}

// Main runs one command line with the process's own streams and returns its exit code.
func Main(args []string) int {
	a := &App{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv:    os.Getenv,
		Now:       time.Now,
		StdinTTY:  isTerminal(os.Stdin),
		StdoutTTY: isTerminal(os.Stdout),
		StderrTTY: isTerminal(os.Stderr),
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first interrupt ends things in order, a second one at once.
	context.AfterFunc(ctx, stop)
	return a.Run(ctx, args)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Run executes one command line and returns its exit code.
func (a *App) Run(ctx context.Context, args []string) int {
	a.ctx = ctx
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return a.code
	}
	if isBrokenPipe(err) {
		return exitOK // the reader (head, less) has seen enough
	}
	f, ok := errors.AsType[*Fault](err)
	if !ok {
		f = asFault(err.Error(), err)
		f.Why = ""
	}
	if ctx.Err() != nil && f.Exit != exitUsage {
		fmt.Fprintln(a.Stderr, "interrupted")
		return exitInterrupted
	}
	a.printFault(f)
	return f.exit()
}

func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// say writes a remark to stderr unless --quiet.
func (a *App) say(format string, args ...any) {
	if !a.flags.quiet {
		fmt.Fprintf(a.Stderr, format+"\n", args...)
	}
}

// warn writes a warning to stderr, also under --quiet.
func (a *App) warn(format string, args ...any) {
	fmt.Fprintf(a.Stderr, "%s %s\n", a.paintErr(yellow, "warning:"), fmt.Sprintf(format, args...))
}

// debug writes a detail to stderr under -v.
func (a *App) debug(format string, args ...any) {
	if a.flags.verbose > 0 {
		fmt.Fprintf(a.Stderr, "%s\n", a.paintErr(dim, fmt.Sprintf(format, args...)))
	}
}

// jsonErrors says whether errors are to be written as JSON.
func (a *App) jsonErrors() bool {
	return a.flags.output == "json" || a.flags.output == "ndjson"
}

// The colours in use; none carries meaning that the text does not.
type colour string

const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	blue   colour = "34"
	cyan   colour = "36"
	bold   colour = "1"
	dim    colour = "2"
)

// paint colours text meant for stdout, paintErr text meant for stderr.
func (a *App) paint(c colour, s string) string    { return a.paintIf(a.StdoutTTY, c, s) }
func (a *App) paintErr(c colour, s string) string { return a.paintIf(a.StderrTTY, c, s) }

func (a *App) paintIf(tty bool, c colour, s string) string {
	if !a.wantColour(tty) || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// wantColour follows --color, then NO_COLOR and TERM, then whether the stream is a terminal.
func (a *App) wantColour(tty bool) bool {
	switch a.flags.color {
	case "always":
		return true
	case "never":
		return false
	}
	return tty && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

// width is the width of the terminal behind stdout, or 0 when there is none.
func (a *App) width() int {
	f, ok := a.Stdout.(*os.File)
	if !ok || !a.StdoutTTY {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// shellQuote makes s safe to paste into a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("-_./:@,+=%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
