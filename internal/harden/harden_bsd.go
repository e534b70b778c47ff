//go:build unix && !linux

package harden

import "fmt"

// NoCoreDumps keeps the kernel from writing the memory of this process to a file when it crashes.
func NoCoreDumps() error { return noCoreFile() }

// LockMemory would keep memory from being swapped to disk; here it always returns an error that wraps ErrNotLocked.
func LockMemory() error {
	return fmt.Errorf("%w: this system cannot lock the memory of a Go program; encrypt or switch off swap", ErrNotLocked)
}

// MayLockMemory returns what LockMemory would return.
func MayLockMemory() error { return LockMemory() }
