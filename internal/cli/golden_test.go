package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestHelpGolden compares the help of every command with testdata/help.golden; -update rewrites it.
func TestHelpGolden(t *testing.T) {
	var out bytes.Buffer
	app := &App{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now}
	walkCommands(newRoot(app), func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())[1:]
		out.WriteString("==== logstead " + strings.Join(append(path, "--help"), " ") + "\n")
		if code := app.Run(context.Background(), append(path, "--help")); code != exitOK {
			t.Errorf("%s --help ends with %d", c.CommandPath(), code)
		}
		out.WriteString("\n")
	})
	compareGolden(t, filepath.Join("testdata", "help.golden"), out.Bytes())
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			was := "(nothing)"
			if i < len(w) {
				was = w[i]
			}
			t.Fatalf("%s line %d differs; go test ./internal/cli -run Golden -update rewrites it\n got %s\nwant %s",
				path, i+1, g[i], was)
		}
	}
	t.Fatalf("%s has %d lines more than expected", path, len(w)-len(g))
}

// walkCommands visits every command and help topic but the hidden ones.
func walkCommands(c *cobra.Command, fn func(*cobra.Command)) {
	if c.Hidden || strings.HasPrefix(c.Name(), "__") {
		return
	}
	fn(c)
	for _, sub := range c.Commands() {
		walkCommands(sub, fn)
	}
}

// TestHelpComplete holds every command to the house rules: a short line, an example, and flags that
// are explained.
func TestHelpComplete(t *testing.T) {
	app := &App{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Getenv: func(string) string { return "" },
		Now: time.Now}
	walkCommands(newRoot(app), func(c *cobra.Command) {
		if c.Name() == "help" || c.IsAdditionalHelpTopicCommand() {
			return
		}
		switch {
		case c.Short == "":
			t.Errorf("%s has no short description", c.CommandPath())
		case strings.HasSuffix(c.Short, "."):
			t.Errorf("%s: the short description ends with a full stop", c.CommandPath())
		case c.Example == "":
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			text := strings.TrimSpace(line)
			if text != "" && !strings.HasPrefix(text, "#") && !strings.Contains(text, "logstead") {
				t.Errorf("%s: example line %q does not use logstead", c.CommandPath(), text)
			}
		}
		for _, line := range strings.Split(c.Long, "\n") {
			if len([]rune(line)) > 110 {
				t.Errorf("%s: help line of %d characters: %s", c.CommandPath(), len([]rune(line)), line)
			}
		}
	})
}

// TestExamplesParse runs the flag parser over every example, so that no example names a flag or
// command that does not exist.
func TestExamplesParse(t *testing.T) {
	app := &App{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Getenv: func(string) string { return "" },
		Now: time.Now}
	walkCommands(newRoot(app), func(c *cobra.Command) {
		for _, line := range strings.Split(c.Example, "\n") {
			checkExample(t, app, c.CommandPath(), line)
		}
	})
}

// TestDocsParse does the same with the command lines in the user's pages.
func TestDocsParse(t *testing.T) {
	app := &App{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Getenv: func(string) string { return "" },
		Now: time.Now}
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "user", "*.md"))
	if err != nil || len(pages) < 7 {
		t.Fatalf("found %d pages: %v", len(pages), err)
	}
	checked := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.ReplaceAll(string(text), "\\\n", " "), "\n") {
			if code, ok := strings.CutPrefix(line, "    "); ok {
				checked += checkExample(t, app, filepath.Base(page), code)
			}
			parts := strings.Split(line, "`")
			for i := 1; i < len(parts); i += 2 {
				checked += checkExample(t, app, filepath.Base(page), parts[i])
			}
		}
	}
	if checked < 90 {
		t.Errorf("only %d command lines were found", checked)
	}
}

// checkExample parses the command lines in a line of text.
func checkExample(t *testing.T, app *App, where, line string) (checked int) {
	t.Helper()
	for _, args := range exampleCommands(line) {
		checked++
		root := newRoot(app)
		root.InitDefaultHelpCmd() // Execute would add it
		cmd, rest, err := root.Find(args)
		if err == nil && cmd.HasSubCommands() && len(cmd.Flags().Args()) == 0 && len(rest) > 0 &&
			!strings.HasPrefix(rest[0], "-") {
			err = fmt.Errorf("%q is not a command of %s", rest[0], cmd.CommandPath())
		}
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil && !strings.Contains(err.Error(), "help requested") {
			t.Errorf("%s: %q: %v", where, line, err)
		}
	}
	return checked
}

// exampleCommands finds the logstead command lines in an example line, as words.
func exampleCommands(line string) (out [][]string) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") || strings.Contains(line, "$(") || strings.Contains(line, "<(") {
		return nil
	}
	for _, part := range strings.Split(line, " | ") {
		words := shellWords(part)
		if len(words) == 0 || words[0] != "logstead" {
			continue
		}
		var args []string
		for _, w := range words[1:] {
			if w == "<" || w == ">" || strings.HasPrefix(w, "#") || strings.HasPrefix(w, "\u2026") {
				break
			}
			args = append(args, w)
		}
		out = append(out, args)
	}
	return out
}

// shellWords splits at blanks outside quotes.
func shellWords(s string) (words []string) {
	var cur strings.Builder
	quote, started := rune(0), false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			cur.WriteRune(r)
		case r == '\'' || r == '"':
			quote, started = r, true
		case r == ' ':
			if started || cur.Len() > 0 {
				words = append(words, cur.String())
			}
			cur.Reset()
			started = false
		default:
			cur.WriteRune(r)
		}
	}
	if started || cur.Len() > 0 {
		words = append(words, cur.String())
	}
	return words
}

// TestErrorsExplained holds that every error of the protocol has a cause and a fix of our own.
func TestErrorsExplained(t *testing.T) {
	for _, r := range knownErrors() {
		if explanations[r.Code].Cause == "" || explanations[r.Code].Try == "" {
			t.Errorf("%s (%d) is not explained", r.Name, r.Code)
		}
	}
	if n := len(knownErrors()); n < 130 {
		t.Errorf("%d errors are known, want all of the protocol's", n)
	}
}
