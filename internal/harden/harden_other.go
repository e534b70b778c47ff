//go:build !unix

package harden

import "fmt"

// NoCoreDumps has nothing to do on this system, which writes no core dumps unless an administrator asks for them.
func NoCoreDumps() error { return nil }

// LockMemory would keep memory from being swapped to disk; here it always returns an error that wraps ErrNotLocked.
func LockMemory() error {
	return fmt.Errorf("%w: this system cannot lock the memory of a program; encrypt or switch off swap", ErrNotLocked)
}

// MayLockMemory returns what LockMemory would return.
func MayLockMemory() error { return LockMemory() }
