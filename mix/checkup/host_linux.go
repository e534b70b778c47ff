package checkup

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// clockError asks the kernel whether anything keeps its clock right.
func clockError() error {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return fmt.Errorf("ask the kernel about the clock: %w", err)
	}
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return errors.New("nothing keeps the clock of this machine right, or it was not set since the start")
	}
	return nil
}
