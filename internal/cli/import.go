package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"mixminion/directory"
	"mixminion/internal/config"
	"mixminion/internal/store/durable"
	"mixminion/mix"
	"mixminion/mix/backup"
	"mixminion/mix/oldbase"

	"github.com/spf13/cobra"
)

type importOptions struct {
	oldConfig, baseDir string
}

func newImport(s *streams, configFile *string) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import DIRECTORY",
		Short: "Take over a server of Mixminion 0.0.8",
		Long: "Takes over the base directory of a server of Mixminion 0.0.8, which must not run: its identity, its\n" +
			"settings, its statistics, and those packet keys whose whole replay log can be read. In place of the\n" +
			"others new ones are made. Packets that wait there are not taken over. Nothing is changed in DIRECTORY; but\n" +
			"from then on the old server must not be started again, since two servers with the same packet keys would\n" +
			"betray where packets go.\n\n" +
			"The settings come from the mixminiond.conf in DIRECTORY or where 0.0.8 looks for it, or from the file given by\n" +
			"--old-config; without one, from the server descriptor. The new configuration goes to the file given by\n" +
			"--config, or else where init writes it, and the new base directory must be empty or missing.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return importMix(s, *configFile, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.oldConfig, "old-config", "", "read the settings of 0.0.8 from `FILE`")
	f.StringVar(&o.baseDir, "base-dir", "", "the new base `DIRECTORY` (default ~/.mixminiond, as root /var/lib/mixminion)")
	return cmd
}

func importMix(s *streams, file, old string, o importOptions) error {
	home, err := userHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	if old, err = filepath.Abs(old); err != nil {
		return err
	}
	if file == "" {
		file = usualConfig(home)
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("the configuration %s exists already; to write the new one elsewhere, give --config", file)
	}
	base := o.baseDir
	if base == "" {
		base = usualBase(home)
	}
	if base, err = filepath.Abs(base); err != nil {
		return err
	}
	im := &importer{s: s, home: home, old: old, base: base}
	if err := im.read(o.oldConfig); err != nil {
		return err
	}
	text := []byte(im.cfg.Commented())
	if im.cfg, err = config.ParseServer(text, file); err != nil {
		return err
	}
	if im.cfg.Main.BaseDir != config.Path(base) {
		return fmt.Errorf("the name of the directory %s does not fit into a configuration: take a simpler one", base)
	}
	if err := im.write(file, text); err != nil {
		return err
	}
	im.report(file)
	return nil
}

// An importer takes over an old base directory.
type importer struct {
	s               *streams
	home, old, base string

	layout   oldbase.Layout
	oldStats string
	named    []config.NamedFile // of the old configuration
	cfg      *config.Server     // the new one
	from     *oldbase.Base
	notes    []string
	used     []string // names of packet keys
}

// read reads all of the old server.
func (im *importer) read(oldConfig string) (err error) {
	im.layout, im.oldStats = oldbase.UsualLayout(im.old), filepath.Join(im.old, "stats")
	desc := newestDescriptor(im.layout.KeyDir)
	if oldConfig == "" {
		oldConfig = im.findConfig(desc)
	}
	if oldConfig != "" {
		text, err := readLimited(oldConfig, maxConfig)
		if err != nil {
			return err
		}
		var notes []string
		if im.cfg, notes, err = oldbase.ParseSettings(text, oldConfig, desc); err != nil {
			return err
		}
		im.notes = append(im.notes, notes...)
		im.cfg.Main.BaseDir = config.Path(im.old)
		p := im.cfg.Paths(im.home)
		im.layout = oldbase.Layout{Base: im.old, KeyDir: p.KeyDir, WorkDir: p.WorkDir, QueueDir: p.QueueDir, PidFile: p.PidFile}
		im.oldStats = p.StatsFile
		im.named = im.cfg.NamedFiles(im.home)
		im.notes = append(im.notes, im.cfg.Warnings()...)
	}
	if im.from, err = oldbase.Read(im.layout); err != nil {
		return err
	}
	if oldConfig == "" {
		if desc == nil {
			return fmt.Errorf("%s: there is no mixminiond.conf and no server descriptor; give the configuration with --old-config", im.old)
		}
		im.notes = append(im.notes, "there is no mixminiond.conf, so the settings are those of the server descriptor; to take over the others, give it with --old-config")
		var notes []string
		if im.cfg, notes, err = oldbase.SettingsOf(desc); err != nil {
			return err
		}
		im.notes = append(im.notes, notes...)
	}
	usual := config.DefaultServer().Main
	m := &im.cfg.Main
	m.BaseDir = config.Path(im.base)
	m.LogFile, m.StatsFile, m.KeyDir, m.WorkDir, m.QueueDir, m.PidFile = usual.LogFile, usual.StatsFile, usual.KeyDir, usual.WorkDir, usual.QueueDir, usual.PidFile
	return nil
}

// findConfig looks for the configuration of the old server; "" if it has none.
func (im *importer) findConfig(desc *directory.Descriptor) string {
	beside := filepath.Join(im.old, "mixminiond.conf")
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	for _, place := range configPlaces(im.home) {
		text, err := readLimited(place, maxConfig)
		if err != nil {
			continue
		}
		if cfg, _, err := oldbase.ParseSettings(text, place, desc); err == nil && filepath.Clean(cfg.Paths(im.home).BaseDir) == im.old {
			return place
		}
	}
	return ""
}

// newestDescriptor is the one published last in a key directory; nil if there is none.
func newestDescriptor(keyDir string) (newest *directory.Descriptor) {
	files, err := filepath.Glob(filepath.Join(keyDir, "key_*", "ServerDesc"))
	if err != nil {
		return nil
	}
	for _, f := range files {
		text, err := readLimited(f, directory.MaxDescriptorLen)
		if err != nil {
			continue
		}
		if d, err := directory.ParseDescriptor(text); err == nil && (newest == nil || d.Published.After(newest.Published)) {
			newest = d
		}
	}
	return newest
}

// write makes the new base directory and the configuration; or nothing.
func (im *importer) write(file string, text []byte) (err error) {
	entries, err := os.ReadDir(im.base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := err != nil
	if len(entries) > 0 {
		return fmt.Errorf("the new base directory %s is not empty; give another one with --base-dir", im.base)
	}
	if err := os.MkdirAll(im.base, 0o700); err != nil {
		return err
	}
	lock, err := lockBase(im.base)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, lock.Close())
		if err != nil {
			err = fmt.Errorf("nothing was imported: %w", errors.Join(err, emptyAgain(im.base, fresh)))
		}
	}()
	err = backup.SetMark(im.base, "an import has not come to its end here. Remove the directory and its configuration, and import again.")
	if err != nil {
		return err
	}
	if err := im.copyFiles(); err != nil {
		return err
	}
	c, err := mix.FromConfig(im.cfg, im.home, software, terminalLogger(im.s, slog.LevelError))
	if err != nil {
		return err
	}
	if err := mix.Import(c, im.from.Identity, im.keys(c.KeyOverlap)); err != nil {
		return err
	}
	if err := writeNewConfig(file, text, false); err != nil {
		return err
	}
	return backup.ClearMark(im.base)
}

// emptyAgain removes what an import has left in a base directory that was empty, and the directory if it was not there.
func emptyAgain(base string, all bool) error {
	if all {
		return os.RemoveAll(base)
	}
	entries, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(base, e.Name())))
	}
	return err
}

// keys picks the packet keys that are worth keeping, and notes what becomes of the others.
func (im *importer) keys(overlap time.Duration) (out []mix.ImportedKey) {
	now := time.Now()
	for _, k := range im.from.Keys {
		switch {
		case k.Descriptor != nil && now.After(k.Descriptor.ValidUntil.Add(overlap)):
			im.notes = append(im.notes, fmt.Sprintf("the packet key %s is not taken over: its time is over", k.Name))
		case k.Err != nil:
			im.notes = append(im.notes, fmt.Sprintf("the packet key %s is not taken over, and packets for it are lost: %v", k.Name, k.Err))
		default:
			out = append(out, mix.ImportedKey{Name: k.Name, Key: k.Private, Descriptor: k.Descriptor.Text(), Seen: k.Seen})
			im.used = append(im.used, k.Name)
		}
	}
	return out
}

// copyFiles copies what the old configuration names by relative names, and the statistics, whose form is the same.
func (im *importer) copyFiles() error {
	copyFile := func(from, to string) error {
		text, err := readLimited(from, maxDescriptors)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return durable.WriteFile(to, text, 0o600)
	}
	for _, f := range im.named {
		rel, err := filepath.Rel(im.old, f.Path)
		if err != nil || !filepath.IsLocal(rel) {
			continue // it stays where it is
		}
		if err := copyFile(f.Path, filepath.Join(im.base, rel)); err != nil {
			im.notes = append(im.notes, fmt.Sprintf("%s, which %s names, could not be copied: %v", f.Path, f.Key, err))
		}
	}
	err := copyFile(im.oldStats, im.cfg.Paths(im.home).StatsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		im.notes = append(im.notes, fmt.Sprintf("the statistics could not be copied: %v", err))
	}
	return nil
}

func (im *importer) report(file string) {
	for _, n := range im.notes {
		im.s.say("Note: %s", n)
	}
	if n := im.from.Packets; n > 0 {
		caution(im.s, "%s in the queues of 0.0.8 and not taken over; to deliver them, remove %s and %s, let 0.0.8 run until its queues are empty, and import again",
			count(n, "packet")+" left", im.base, file)
	}
	im.s.say("%s has its identity from %s, and the base directory %s. Its configuration is %s: look it over.", im.cfg.Main.Nickname, im.old, im.base, file)
	for _, name := range im.used {
		im.s.say("It has the packet key %s with its whole replay log.", name)
	}
	if len(im.used) > 0 {
		caution(im.s, "from now on 0.0.8 must never be started again with %s: two servers with the same packet keys betray where packets go. Remove it when this one runs", im.old)
	} else {
		im.s.say("It has a new packet key. Packets and reply blocks for its old ones are lost. Do not start 0.0.8 again: both would claim to be %s.", im.cfg.Main.Nickname)
	}
	im.s.say("What to do next:")
	im.s.say("  mixminiond check -f %s   looks for what could keep the mix from running well", file)
	im.s.say("  mixminiond start -f %s   runs it", file)
}
