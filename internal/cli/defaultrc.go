package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"mixminion/internal/config"
	"mixminion/internal/store/durable"
)

const clientConfig = ".mixminionrc"

// offerConfig writes a commented configuration, which changes no default, for a user who has none, and says so. It never replaces a file,
// even one that somebody makes at the same moment, and leaves a whole file or none. A user who cannot have one does without.
func offerConfig(s *streams, home string) {
	file := filepath.Join(home, clientConfig)
	if err := createWhole(file, []byte(config.ExampleClient())); err == nil {
		s.say("Wrote a commented configuration to %s; it changes nothing until you edit it.", file)
	}
}

// createWhole makes a file that was not there, for its owner's eyes only.
func createWhole(file string, data []byte) error {
	return createWith(file, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// createWith is createWhole for what is written bit by bit.
func createWith(file string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return os.ErrExist
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*"+tmpSuffix) // readable for its owner alone
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Unlike a rename this fails if the file is there by now.
	if err := os.Link(f.Name(), file); err != nil {
		if errors.Is(err, os.ErrExist) {
			return err
		}
		// File systems of USB sticks know no links.
		if err := renameNew(f.Name(), file); err != nil {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(file))
}

// tmpSuffix is the end of the name of a file that is not whole yet.
const tmpSuffix = ".tmp"

// renameNew renames a file to a name that is not there.
func renameNew(from, to string) error {
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return os.ErrExist
	}
	return os.Rename(from, to)
}
