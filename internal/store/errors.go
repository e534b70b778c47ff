package store

import "errors"

var (
	// ErrFull means that the disk, or the share given by Options.MaxBytes, is used up. Nothing of the operation
	// happened; the store stays usable.
	ErrFull = errors.New("store: no room")
	// ErrCorrupt means that stored bytes do not match their checksum.
	ErrCorrupt = errors.New("store: corrupt data")
	// ErrFailed means that the disk refused to make data durable. The store accepts nothing more until it is
	// closed and opened again.
	ErrFailed = errors.New("store: failed")
	// ErrLocked means that another process uses the store.
	ErrLocked = errors.New("store: in use by another process")
	// ErrClosed means that the store, or the replay log, was closed or destroyed.
	ErrClosed = errors.New("store: closed")
	// ErrUnknown means that no packet has this ID.
	ErrUnknown = errors.New("store: unknown packet")
	// ErrInvalid means that an argument is outside its documented bounds.
	ErrInvalid = errors.New("store: invalid argument")
	// ErrNoLog means that a directory holds no replay log.
	ErrNoLog = errors.New("store: no replay log")
	// ErrLogExists means that a directory already holds a replay log, or that it is already open.
	ErrLogExists = errors.New("store: replay log exists")
)
