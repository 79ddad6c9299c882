//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// apart keeps a ctrl-c in the terminal from reaching a child, which its parent stops in order.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
