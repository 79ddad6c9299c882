// Command logstead is the whole product in one binary: the broker and the command line.
//
// It owns nothing: package cli reads the arguments and decides. One goroutine, no state.
package main

import (
	"os"

	"github.com/logstead/logstead/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
