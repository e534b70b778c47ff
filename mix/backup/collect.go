package backup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mixminion/internal/config"
	"mixminion/internal/vault"
)

// A Source is what an archive is made of.
type Source struct {
	Config   *config.Server
	Text     []byte // that Config was read from
	Home     string // what "~/" stands for
	Software string
	Now      time.Time

	// Identity is the mix's identity key in PEM, and Fingerprint its name; empty if there is no mix.
	Identity    []byte
	Fingerprint string
}

// The files of a mix beside those that the configuration names.
const (
	identityFile  = "identity.key"
	decisionsFile = "decisions"
	lockFile      = "lock"
)

// Collect lists what belongs into an archive. It also returns what is not there and should be, for people to read.
func (s *Source) Collect(kind Kind) (m Manifest, items []Item, missing []string, err error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return m, nil, nil, err
	}
	m = Manifest{
		Kind: kind, ID: hex.EncodeToString(id), Made: s.Now.UTC().Format(time.DateOnly), Software: s.Software,
		Nickname: string(s.Config.Main.Nickname), Fingerprint: s.Fingerprint,
	}
	items = []Item{{Name: configName, Data: s.Text}}
	if s.Identity != nil {
		items = append(items, Item{Name: "mix/" + identityFile, Data: s.Identity})
	}
	paths := s.Config.Paths(s.Home)
	if s.Config.Directory.Enabled {
		for _, name := range []string{identityFile, decisionsFile} {
			if file := filepath.Join(paths.StorageDir, name); exists(file) {
				items = append(items, Item{Name: "authority/" + name, File: file})
			}
		}
	}
	more, err := directoryItems("optout", paths.OptOutDir)
	if err != nil {
		return m, nil, nil, err
	}
	items = append(items, more...)
	for _, f := range s.Config.NamedFiles(s.Home) {
		name := "files/" + strconv.Itoa(len(m.Files))
		more, err := namedItems(name, f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, fmt.Sprintf("%s, which %s names", f.Path, f.Key))
			continue
		}
		if err != nil {
			return m, nil, nil, err
		}
		m.Files = append(m.Files, File{Key: f.Key, Path: within(paths.BaseDir, f.Path)})
		items = append(items, more...)
	}
	if kind == Move {
		more, err := moveItems(&paths)
		if err != nil {
			return m, nil, nil, err
		}
		items = append(items, more...)
	}
	return m, items, missing, nil
}

// within makes a path relative to the base directory if it lies there.
func within(base, path string) string {
	if rel, err := filepath.Rel(base, path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return path
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// directoryItems are the regular files right in a directory, which need not exist.
func directoryItems(name, dir string) (items []Item, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && passing(e.Name()) {
			items = append(items, Item{Name: name + "/" + e.Name(), File: filepath.Join(dir, e.Name())})
		}
	}
	return items, nil
}

// passing reports whether a file is worth keeping: no lock, nothing half written, and not the ballast of the store.
func passing(name string) bool {
	return name != lockFile && name != "ballast" && !strings.HasSuffix(name, ".tmp") && !strings.HasPrefix(name, ".")
}

// namedItems are a file, or the files in a directory and those below it.
func namedItems(name, path string) (items []Item, err error) {
	// What a link leads to is meant.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []Item{{Name: name, File: path}}, nil
	}
	err = filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !passing(e.Name()) {
			return err
		}
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(path, file)
		if err == nil {
			items = append(items, Item{Name: name + "/" + filepath.ToSlash(rel), File: file})
		}
		return err
	})
	return items, err
}

// moveItems are packet keys with their replay logs, the packets, and the logs of the reply blocks that the gateway has used.
func moveItems(paths *config.ServerPaths) (items []Item, err error) {
	add := func(name, dir string) error {
		more, err := directoryItems(name, dir)
		items = append(items, more...)
		return err
	}
	sets, err := filepath.Glob(filepath.Join(paths.KeyDir, "key_*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range sets {
		name := "keys/" + filepath.Base(dir)
		if err := errors.Join(add(name, dir), add(name+"/replay", filepath.Join(dir, "replay"))); err != nil {
			return nil, err
		}
	}
	blocks, err := filepath.Glob(filepath.Join(paths.BlocksDir, "blocks-*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range blocks {
		if err := add("blocks/"+filepath.Base(dir), dir); err != nil {
			return nil, err
		}
	}
	if err := add("queue", paths.QueueDir); err != nil {
		return nil, err
	}
	// Still locked: what unlocks it stays with the operator.
	if file := filepath.Join(paths.BaseDir, vault.FileName); exists(file) {
		items = append(items, Item{Name: "vault/" + vault.FileName, File: file})
	}
	if exists(paths.StatsFile) {
		items = append(items, Item{Name: "stats", File: paths.StatsFile})
	}
	return items, nil
}
