package checkup

import (
	"errors"
	"io/fs"
	"path/filepath"

	"mixminion/internal/config"
	"mixminion/internal/store"
)

// mostDamage is how many damaged places are named.
const mostDamage = 20

// Store reads all packets and replay logs of a mix that does not run. The disk is the one that its store needs: see [mix.Config.Disk].
func Store(disk store.FS, paths config.ServerPaths) []Finding {
	c := &checker{}
	about := "packets"
	rep, err := store.Check(disk, paths.QueueDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.add(Note, about, "", "there are none yet")
	case err != nil:
		c.add(Problem, about, "", "%v", err)
	default:
		c.damage(about, rep.Damage)
	}
	about = "replay logs"
	var damage []store.Damage
	for _, pattern := range []string{filepath.Join(paths.KeyDir, "key_*", "replay"), filepath.Join(paths.BlocksDir, "blocks-*")} {
		logs, err := filepath.Glob(pattern)
		if err != nil {
			c.add(Problem, about, "", "%v", err)
		}
		for _, dir := range logs {
			rep, err := store.CheckLog(disk, dir)
			switch {
			case errors.Is(err, store.ErrNoLog):
				c.add(Warning, about, "start the mix: it removes what is left there, and the packet key, if there is one", "there is none in %s", dir)
			case err != nil:
				c.add(Problem, about, "", "%v", err)
			}
			damage = append(damage, rep.Damage...)
		}
	}
	c.damage(about, damage)
	return c.out
}

func (c *checker) damage(about string, damage []store.Damage) {
	if len(damage) == 0 {
		c.add(OK, about, "", "all of it can be read")
		return
	}
	const mend = "look whether the disk has errors (dmesg, smartctl -a), and replace it if it has. Then start the mix: it leaves out what is damaged, and " +
		"destroys a packet key whose replay log it cannot use, and makes another one"
	for i, d := range damage {
		if i == mostDamage {
			c.add(Warning, about, "", "and %d more places", len(damage)-i)
			break
		}
		c.add(Warning, about, "", "damaged: %s", d)
	}
	c.add(Warning, about, mend, "what was at the damaged places is lost")
}
