package cli

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// dangerFlags are the options of every command that destroys or moves something.
type dangerFlags struct {
	yes    bool
	dryRun bool
}

func (d *dangerFlags) add(f *pflag.FlagSet) {
	f.BoolVarP(&d.yes, "yes", "y", false, "do not ask (needed when there is no terminal)")
	f.BoolVar(&d.dryRun, "dry-run", false, "show what would be done, and do nothing")
}

// guardWrite refuses to change anything through a read-only context.
func (a *App) guardWrite() error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	if !s.readOnly {
		return nil
	}
	return &Fault{What: fmt.Sprintf("context %q is read-only", s.context), Why: "it has read_only: true",
		Exit: exitDenied,
		Try:  "another context with -c"}
}

// confirm asks before something dangerous. count is how many things are concerned: for more than one
// the number must be typed, which a hand does not do by habit.
func (a *App) confirm(d dangerFlags, question string, count int) error {
	if d.yes {
		return nil
	}
	if !a.StdinTTY || !a.StderrTTY {
		return usagef("refused without a yes: %s", strings.TrimSuffix(question, "?")).try(
			"-y to go ahead, or --dry-run to look first")
	}
	want, hint := "y", "[y/N]"
	if count > 1 {
		want = strconv.Itoa(count)
		hint = fmt.Sprintf("type %d to go ahead", count)
	}
	fmt.Fprintf(a.Stderr, "%s %s ", a.paintErr(yellow, question), hint)
	line, err := a.readAnswer()
	answer := strings.ToLower(strings.TrimSpace(line))
	if answer == want || (want == "y" && answer == "yes") {
		return nil
	}
	if err != nil {
		fmt.Fprintln(a.Stderr)
	}
	return &Fault{What: "nothing was done", Why: "the question was not answered with a yes", Exit: exitFailed}
}

// readAnswer reads a line, or gives up on an interrupt: a read from a terminal cannot be stopped, so
// it is left behind.
func (a *App) readAnswer() (string, error) {
	type answer struct {
		line string
		err  error
	}
	ch := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(a.Stdin).ReadString('\n')
		ch <- answer{line, err}
	}()
	select {
	case got := <-ch:
		return got.line, got.err
	case <-a.ctx.Done():
		return "", a.ctx.Err()
	}
}

// preview shows on stderr what is about to happen, when a person is going to be asked.
func (a *App) preview(d dangerFlags, v any) error {
	if d.yes || !a.StderrTTY {
		return nil
	}
	on := &App{Stdout: a.Stderr, Stderr: a.Stderr, Getenv: a.Getenv, StdoutTTY: a.StderrTTY, flags: a.flags, Now: a.Now}
	return on.emitTable(v, false)
}
