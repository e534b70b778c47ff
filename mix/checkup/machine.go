package checkup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mixminion/internal/config"
	"mixminion/internal/store"
	"mixminion/mix"
)

// files looks at who may read what belongs to the mix.
func (c *checker) files() {
	const about = "files"
	base := c.paths.BaseDir
	info, err := os.Stat(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.add(Note, about, "", "%s is not there yet; the first start makes it", base)
		return
	case err != nil:
		c.add(Problem, about, "let the user that runs the mix enter the directory", "%v", err)
		return
	case !info.IsDir():
		c.add(Problem, about, "write a directory as BaseDir", "%s is no directory", base)
		return
	}
	bad := 0
	for _, dir := range []string{base, c.paths.KeyDir} {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
			c.add(Warning, about, "chmod 700 "+dir, "others may look into %s", dir)
			bad++
		}
	}
	err = filepath.WalkDir(c.paths.KeyDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".key") {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			c.add(Problem, about, "chmod 600 "+path+", and think about who could have read it", "others may read the private key %s", path)
			bad++
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.add(Note, about, "", "there are no keys yet; the first start makes them")
	case err != nil:
		c.add(Problem, about, "let the user that runs the mix read its keys", "%v", err)
	case bad == 0:
		c.add(OK, about, "", "%s and the keys are readable by this user alone", base)
	}
	if err := mix.CheckIdentity(c.paths.KeyDir); err != nil {
		c.add(Problem, "identity", "restore it from a backup; without it this is another mix", "%v", err)
	}
}

// disk looks whether the packet store can grow as far as it may.
func (c *checker) disk() {
	const about = "disk"
	dir := c.paths.QueueDir
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	free, err := c.host.FreeBytes(dir)
	if err != nil {
		c.add(Note, about, "", "cannot tell how much room there is: %v", err)
		return
	}
	room := config.Size(free >> 20 << 20)
	want := c.cfg.Main.MaxDisk
	switch {
	case free < store.MinRoom(int64(want)):
		c.add(Problem, about, "make room", "only %s are free where %s lies: the mix rejects all packets", room, c.paths.QueueDir)
		return
	case room < want:
		c.add(Warning, about, "make room, or lower MaxDisk", "packets may take %s, and only %s are free where %s lies", want, room, c.paths.QueueDir)
		return
	}
	c.add(OK, about, "", "%s are free; packets take %s at most", room, c.cfg.Main.MaxDisk)
}

func (c *checker) clock() {
	const about = "clock"
	if err := c.host.ClockError(); err != nil {
		c.add(Warning, about, "install and start an NTP service (apt install systemd-timesyncd); keys and descriptors have dates", "%v", err)
		return
	}
	c.add(OK, about, "", "the system says that its clock is set")
}

// spareFiles is what a mix needs beside connections: its store, logs, keys and standard streams.
const spareFiles = 64

func (c *checker) limits() {
	want := uint64(c.cfg.IncomingMMTP.MaxConnections + c.cfg.OutgoingMMTP.MaxConnections + spareFiles)
	switch have, err := c.host.OpenFiles(); {
	case err != nil:
		c.add(Note, "open files", "", "cannot tell how many this user may have: %v", err)
	case have < want:
		c.add(Warning, "open files", "raise LimitNOFILE in the systemd unit, or ulimit -n", "the limit is %d; with all its connections the mix needs %d", have, want)
	default:
		c.add(OK, "open files", "", "the limit of %d is enough", have)
	}
	if err := c.host.MemoryLock(); err != nil {
		c.add(Warning, "memory", "", "%v", err)
	} else {
		c.add(OK, "memory", "", "it can be locked, so that no secret goes to swap")
	}
}
