//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// detach lets a process go on when the terminal is gone that it is started from.
func detach(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return nil
}
