package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// goneExt ends the name of an encrypted file that is being deleted. It ends in tmpExt: whoever finds one at the start removes it.
const goneExt = ".gone" + tmpExt

// Remove implements FS. The blocks of a deleted file stay on the disk until they are used again, and the header has all that the key of the
// store does not: so it is overwritten first. The file gets another name before, durably: under its own a crash would leave one that
// looks damaged. A crash later leaves a file that the next start removes, in the same way.
func (s *sealedFS) Remove(name string) error {
	f, err := s.openErasable(name)
	if err != nil {
		return err
	}
	if f == nil {
		return s.FS.Remove(name)
	}
	// Not all systems rename a file that is open.
	if err := f.Close(); err != nil {
		return err
	}
	gone := name
	if !strings.HasSuffix(name, goneExt) {
		gone += goneExt
		if err := s.moveAway(name, gone); err != nil {
			if isFull(err) {
				return s.FS.Remove(name) // a disk without room for a name gets it back first
			}
			return err
		}
	}
	if f, err = s.FS.OpenFile(gone, os.O_RDWR); err != nil {
		return err
	}
	if err := errors.Join(eraseHead(f), f.Close()); err != nil {
		return err
	}
	return s.FS.Remove(gone)
}

func (s *sealedFS) moveAway(name, gone string) error {
	// A leftover of that name would lose its name with its header intact.
	if err := ignoreMissing(s.Remove(gone)); err != nil {
		return err
	}
	if err := s.FS.Rename(name, gone); err != nil {
		return err
	}
	if err := s.FS.SyncDir(filepath.Dir(gone)); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil
}

// Rename implements FS. The header of an encrypted file that is replaced is overwritten as soon as the new name is durable: until then a
// crash may bring the old file back. One between the two leaves the header of the old file in free blocks.
func (s *sealedFS) Rename(oldName, newName string) error {
	if runtime.GOOS == "windows" {
		return s.FS.Rename(oldName, newName) // an open file cannot be replaced there
	}
	f, err := s.openErasable(newName)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if f == nil {
		return s.FS.Rename(oldName, newName)
	}
	if err := s.FS.Rename(oldName, newName); err != nil {
		return errors.Join(err, f.Close())
	}
	err = s.FS.SyncDir(filepath.Dir(newName))
	if err == nil {
		err = eraseHead(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		// The file has its new name, perhaps for good: nobody may act as if it had not.
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil
}

// openErasable opens a file that has the header of an encrypted one, under whichever key; nil: it has none, or is a directory.
func (s *sealedFS) openErasable(name string) (File, error) {
	f, err := s.FS.OpenFile(name, os.O_RDWR)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if _, derr := s.FS.ReadDir(name); derr == nil {
			return nil, nil
		}
		return nil, err
	}
	size, err := f.Size()
	if err == nil && size >= sealHeadLen {
		head := make([]byte, sealHeadLen)
		if err = readFull(f, head, 0); err == nil && hasMagic(head, sealMagic) {
			return f, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// eraseHead overwrites a header, durably. A disk so full that it cannot, one that never writes in place, must get its
// room back all the same.
func eraseHead(f File) error {
	_, err := f.WriteAt(make([]byte, sealHeadLen), 0)
	if err == nil {
		err = f.Sync()
	}
	if isFull(err) {
		return nil
	}
	return err
}

func isFull(err error) bool { return errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed) }
