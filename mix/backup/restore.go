package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mixminion/internal/config"
	"mixminion/internal/store/durable"
)

// ErrNotEmpty means that there is something where an archive is to be restored.
var ErrNotEmpty = errors.New("is not empty; a backup is restored into a directory that is empty or does not exist, so that nothing is lost and nothing mixed up")

// BaseLock is the file that a daemon, or a command in its place, locks in the base directory.
const BaseLock = "mixminiond.lock"

const unfinished = "a restore has not come to its end here. Remove the directory, and the configuration if it was written, and restore the backup again. " +
	"If its name ends in " + UsedSuffix + " by now, take that off first."

// UsedSuffix is the end of the name that the archive of a moved mix gets when it is restored.
const UsedSuffix = ".restored"

// A Place is where an archive is restored.
type Place struct {
	Config *config.Server // that the archive holds, perhaps with another BaseDir
	Home   string         // what "~/" stands for
}

// Restored says what Restore has done.
type Restored struct {
	// Elsewhere are files that the configuration wants outside of the base directory: where they should be, and where they are.
	Elsewhere map[string]string
}

// Restore creates the files of an archive below an empty base directory, which it makes if need be, and marks it as unusable until the
// caller, who has to do the rest, calls [ClearMark]. With an error it removes what it has created, and so does undo later. It replaces
// nothing.
func Restore(a *Reader, p Place) (done Restored, undo func() error, err error) {
	paths := p.Config.Paths(p.Home)
	w := &writer{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.undo())
		}
	}()
	for _, dir := range []string{paths.BaseDir, paths.KeyDir, paths.QueueDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return done, nil, err
		}
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == BaseLock })
		if len(entries) > 0 {
			return done, nil, fmt.Errorf("%s %w", dir, ErrNotEmpty)
		}
	}
	// The mark comes first, so that whatever is there after a crash says what it is.
	if err := w.create(filepath.Join(paths.BaseDir, MarkFile), strings.NewReader(unfinished)); err != nil {
		return done, nil, err
	}
	if err := w.sync(); err != nil {
		return done, nil, err
	}
	for _, dir := range []string{paths.KeyDir, paths.WorkDir, paths.QueueDir} {
		if err := w.mkdir(dir); err != nil {
			return done, nil, err
		}
	}
	done.Elsewhere = map[string]string{}
	for {
		name, r, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return done, nil, err
		}
		file, wanted, err := place(name, &paths, a.Manifest.Files)
		if err != nil {
			return done, nil, err
		}
		if wanted != "" {
			done.Elsewhere[wanted] = file
		}
		if err := w.create(file, r); err != nil {
			return done, nil, err
		}
	}
	return done, w.undo, w.sync()
}

// place says which file an entry becomes. Of what the configuration wants outside of the base directory, wanted is where.
func place(name string, paths *config.ServerPaths, files []File) (file, wanted string, err error) {
	kind, rest, _ := strings.Cut(name, "/")
	rest = filepath.FromSlash(rest)
	switch kind {
	case "mix", "keys":
		return filepath.Join(paths.KeyDir, rest), "", nil
	case "authority":
		return filepath.Join(paths.StorageDir, rest), "", nil
	case "optout":
		return filepath.Join(paths.OptOutDir, rest), "", nil
	case "blocks":
		return filepath.Join(paths.BlocksDir, rest), "", nil
	case "queue":
		return filepath.Join(paths.QueueDir, rest), "", nil
	case "vault":
		return filepath.Join(paths.BaseDir, rest), "", nil
	case "stats":
		return paths.StatsFile, "", nil
	case "files":
		digits, below, _ := strings.Cut(rest, string(filepath.Separator))
		n, err := strconv.Atoi(digits)
		if err != nil || n >= len(files) {
			return "", "", fmt.Errorf("%w: a file has no name", ErrFormat)
		}
		want := filepath.Join(filepath.FromSlash(files[n].Path), below)
		if filepath.IsLocal(want) {
			return filepath.Join(paths.BaseDir, want), "", nil
		}
		name := below
		if name == "" {
			name = filepath.Base(want)
		}
		return filepath.Join(paths.BaseDir, "restored", digits, name), want, nil
	}
	return "", "", fmt.Errorf("%w: an entry is where none should be", ErrFormat)
}

// A writer creates files and directories and can remove them again.
type writer struct {
	files, dirs []string
	touched     map[string]bool // directories that have to be synced
}

// mkdir makes a directory and those above it.
func (w *writer) mkdir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := w.mkdir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	w.dirs = append(w.dirs, dir)
	w.touch(filepath.Dir(dir))
	return nil
}

func (w *writer) touch(dir string) {
	if w.touched == nil {
		w.touched = map[string]bool{}
	}
	w.touched[dir] = true
}

// create writes a file that is not there yet.
func (w *writer) create(name string, content io.Reader) (err error) {
	dir := filepath.Dir(name)
	if err := w.mkdir(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w.files = append(w.files, name)
	w.touch(dir)
	_, err = io.Copy(f, readErrors{content})
	return errors.Join(err, f.Sync(), f.Close())
}

// readErrors tells what is wrong with the archive from what is wrong with the disk.
type readErrors struct{ r io.Reader }

func (r readErrors) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return n, err
}

func (w *writer) sync() error {
	for dir := range w.touched {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// undo removes what was created, and whatever came to be in directories that were.
func (w *writer) undo() (err error) {
	for _, f := range slices.Backward(w.files) {
		if rerr := os.Remove(f); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	for _, d := range slices.Backward(w.dirs) {
		err = errors.Join(err, os.RemoveAll(d))
	}
	return err
}
