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
	"mixminion/mix/oldbase"
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
	case oldbase.Is(base):
		c.add(Problem, about, "take it over: mixminiond import "+base+" --base-dir NEW --config NEW.conf", "%s belongs to a server of Mixminion 0.0.8", base)
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
	most := c.cfg.Main.MaxDisk
	used := sizeOf(c.paths.QueueDir) + sizeOf(c.paths.KeyDir)
	least := store.MinRoom(int64(most))
	switch room := inMB(free); {
	case free < least:
		c.add(Problem, about, "make room", "only %s are free where %s lies; with less than %s every packet is rejected", room, c.paths.QueueDir, inMB(least))
	case int64(most) < used+least:
		c.add(Warning, about, "raise MaxDisk, or wait until packets have left",
			"packets and replay logs take %s, and with a MaxDisk of %s hardly any packet is taken", inMB(used), most)
	case free < int64(most)-used:
		c.add(Warning, about, "make room, or lower MaxDisk", "packets may take %s more, and only %s are free where %s lies",
			inMB(int64(most)-used), room, c.paths.QueueDir)
	default:
		c.add(OK, about, "", "%s are free; packets take %s at most", room, most)
	}
}

func inMB(bytes int64) config.Size { return config.Size(bytes >> 20 << 20) }

// sizeOf is what the files below a directory take, as far as they can be seen.
func sizeOf(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
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
