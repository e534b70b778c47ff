// Package harden keeps what a process knows out of files: no core dumps, and no swapping of memory to disk where the system permits
// that. It is called once, early, by the programs.
//
// What it cannot do: the Go runtime copies values when it grows stacks and collects garbage, so a secret may lie in memory more than
// once until that memory is used again; and whoever runs as root, or as the same user on systems without the Linux switch, can still
// read the memory of a live process. Suspending a machine to disk writes locked memory as well.
package harden

import "errors"

// ErrNotLocked says that memory may be swapped to disk, since the system does not let this process lock it. The text of an error that
// wraps it names the limit to raise.
var ErrNotLocked = errors.New("memory may be swapped to disk")
