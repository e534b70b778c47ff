package store

import (
	"io"
	"os"
)

// FS is the layer between the store and the disk: the calls that matter for what survives a crash, and no more.
// OS is the real one; package crashfs simulates power losses.
//
// Errors that mean "the disk is full" match [ErrFull]; missing files match [os.ErrNotExist], files in the way
// match [os.ErrExist]. Names are paths as package filepath makes them.
type FS interface {
	// OpenFile opens or creates a file; flag is a combination of os.O_RDWR, os.O_RDONLY, os.O_CREATE, os.O_EXCL
	// and os.O_TRUNC. A created file has mode 0600. The creation is durable after SyncDir of its directory.
	OpenFile(name string, flag int) (File, error)
	// Mkdir creates a directory with mode 0700; an existing one is not an error.
	Mkdir(name string) error
	// ReadDir returns the names in a directory, in no order.
	ReadDir(name string) ([]string, error)
	// Rename replaces newName by oldName; durable after SyncDir.
	Rename(oldName, newName string) error
	// Remove deletes a file or an empty directory; durable after SyncDir.
	Remove(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Stamp sets the access and modification time of a file to a fixed value.
	Stamp(name string) error
	// Free returns the number of bytes that this process can still write below a directory.
	Free(name string) (int64, error)
	// Lock creates the file and locks it for this process until Close, or fails with ErrLocked.
	Lock(name string) (io.Closer, error)
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Size() (int64, error)
	// Sync makes the content and the length durable.
	Sync() error
}

// OS is the FS of the operating system.
var OS FS = osFS{}

var _ File = osFile{}

type osFS struct{}

type osFile struct{ *os.File }
