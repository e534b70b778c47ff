//go:build !linux

package store

import "os"

// syncData uses the full sync of the platform (F_FULLFSYNC on macOS).
func syncData(f *os.File) error { return f.Sync() }
