//go:build unix

package measure

import (
	"fmt"
	"syscall"
	"time"
)

// CPUTime returns the processor time that this process has used so far, in user and in kernel mode: getrusage(2).
// Processes that it started do not count.
func CPUTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("measure: getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
