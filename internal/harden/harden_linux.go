package harden

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// NoCoreDumps keeps the kernel from writing the memory of this process to a file when it crashes, and other processes of the same
// user from reading it.
func NoCoreDumps() error {
	return errors.Join(noCoreFile(), wrap("forbid core dumps", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)))
}

// LockMemory keeps all memory of this process, now and later, from being swapped to disk. If the system does not permit that the error
// wraps ErrNotLocked and nothing has changed.
func LockMemory() error {
	if err := MayLockMemory(); err != nil {
		return err
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("%w: lock memory: %w", ErrNotLocked, err)
	}
	return nil
}

// MayLockMemory returns nil if LockMemory would be permitted, and else what it would return.
func MayLockMemory() error {
	free, err := mayLockAll()
	if err == nil && !free {
		err = fmt.Errorf("%w: raise the limit on locked memory to unlimited (LimitMEMLOCK=infinity in a systemd unit, "+
			"ulimit -l unlimited in a shell), or encrypt or switch off swap", ErrNotLocked)
	}
	return err
}

// mayLockAll reports whether locked memory is not limited at all. A finite limit, however high, would let mmap fail one day and end
// the process, which is worse than swapping.
func mayLockAll() (bool, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return false, fmt.Errorf("read the limit on locked memory: %w", err)
	}
	if limit.Cur == unix.RLIM_INFINITY {
		return true, nil
	}
	if limit.Max == unix.RLIM_INFINITY {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
			return false, fmt.Errorf("raise the limit on locked memory: %w", err)
		}
		return true, nil
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&head, &caps[0]); err != nil {
		return false, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	return caps[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0, nil
}
