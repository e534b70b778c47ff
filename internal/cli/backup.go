package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mixminion/internal/config"
	"mixminion/internal/store/durable"
	"mixminion/internal/vault"
	"mixminion/mix"
	"mixminion/mix/backup"

	"filippo.io/age"
	"github.com/spf13/cobra"
)

type backupOptions struct {
	store      passphrase // that StoreKey asks for
	recipients []string
	passphrase passphrase
	move       bool
}

func newBackup(s *streams, configFile *string) *cobra.Command {
	var o backupOptions
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the identity and the configuration, or move the mix",
		Long: "Writes an encrypted backup of what a mix needs to be itself again: the configuration, the files that\n" +
			"it names, the identity key, the list of those who want no mail, and of a directory authority its\n" +
			"identity key and decisions. It holds no packet keys and no packets: these must not outlive their time.\n" +
			"It is encrypted to a passphrase or, with --recipient, to a key of age; mixminiond restore reads it. The\n" +
			"mix may run.\n\n" +
			"With --move the mix moves to another machine: packet keys with their replay logs, packets and statistics go\n" +
			"along. The mix must have been stopped. First its base directory is marked, and does not start again; two\n" +
			"mixes with the same packet keys would betray where packets go.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeBackup(cmd.Context(), s, *configFile, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.recipients, "recipient", "r", nil, "encrypt to this public key of age, `KEY`, and not to a passphrase; may be given again")
	f.IntVar(&o.passphrase.fd, "passphrase-fd", -1, "read the passphrase, one line, from descriptor `N`")
	f.IntVar(&o.store.fd, "store-passphrase-fd", -1, "read the passphrase that [Server] StoreKey asks for, one line, from descriptor `N`")
	f.BoolVar(&o.move, "move", false, "move the mix, with packet keys and packets, which must not run")
	return cmd
}

func writeBackup(ctx context.Context, s *streams, configFile, target string, o backupOptions) (err error) {
	home, err := userHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	cfg, configFile, err := readServerConfig(configFile, home)
	if err != nil {
		return err
	}
	text, err := readLimited(configFile, maxConfig)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("%s exists already; a backup replaces nothing", target)
	}
	src := backup.Source{Config: cfg, Text: text, Home: home, Software: software, Now: time.Now()}
	paths := cfg.Paths(home)
	if o.move {
		lock, err := lockBase(paths.BaseDir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
		if _, _, err := findVault(paths); err != nil {
			return err // it would be of no use elsewhere
		}
	}
	if cfg.IncomingMMTP.Enabled {
		src.Identity, src.Fingerprint, err = mix.IdentityPEM(paths.KeyDir, nil)
		switch {
		case errors.Is(err, mix.ErrKeySealed) && o.move:
			// What it is encrypted with goes along, locked.
			src.Identity, err = os.ReadFile(filepath.Join(paths.KeyDir, "identity.key"))
		case errors.Is(err, mix.ErrKeySealed):
			unlocked, uerr := unlock(ctx, s, cfg, home, o.store)
			if uerr != nil {
				return uerr
			}
			src.Identity, src.Fingerprint, err = mix.IdentityPEM(paths.KeyDir, unlocked)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return errors.New("there is nothing worth a backup yet: mixminiond init or the first start make the identity key")
		}
		if err != nil {
			return err
		}
	}
	to, err := o.keys(ctx, s)
	if err != nil {
		return err
	}
	if o.move {
		return moveTo(s, &src, target, paths.BaseDir, to)
	}
	m, items, missing, err := src.Collect(backup.Identity)
	if err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	if err := createBackup(target, m, items, to); err != nil {
		return err
	}
	sayMissing(s, missing)
	s.say("Wrote the backup %s of %s. Keep it where nobody looks; who can open it can pretend to be this mix.", target, m.Nickname)
	s.say("What it is not: a copy of packet keys or packets. After a restore the mix makes new packet keys.")
	return nil
}

// moveTo writes a backup of the other kind. From the first moment that somebody could restore it, the base directory is not usable.
func moveTo(s *streams, src *backup.Source, target, base string, to []age.Recipient) error {
	m, items, missing, err := src.Collect(backup.Move)
	if err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	name, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	paths := src.Config.Paths(src.Home)
	for _, dir := range []string{paths.BaseDir, paths.KeyDir, paths.QueueDir} {
		if inside(dir, name) {
			return fmt.Errorf("%s lies in %s, which is to be removed after the move: write it elsewhere", target, dir)
		}
	}
	if err := backup.SetMark(base, movingText(name)); err != nil {
		return fmt.Errorf("mark the base directory: %w", err)
	}
	if err := createBackup(target, m, items, to); err != nil {
		if _, serr := os.Lstat(target); errors.Is(serr, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("nothing was moved: %w", errors.Join(err, backup.ClearMark(base)))
		}
		return err
	}
	if err := backup.SetMark(base, movedText(m.Made, name)); err != nil {
		return fmt.Errorf("the mix was moved into %s, but its mark is not up to date: %w", target, err)
	}
	sayMissing(s, missing)
	s.say("%s is in %s now, with its packet keys, replay logs and packets, and starts here no more.", m.Nickname, target)
	if key := src.Config.Main.StoreKey; key.From != config.StoreKeyNone {
		caution(s, "its packets are encrypted. Take along what StoreKey names (%s): it is not in the file, and without it they cannot be read", key.String())
	}
	s.say("Bring the file to the other machine, and there: mixminiond restore %s", filepath.Base(target))
	s.say("When it runs there, destroy the file and all its copies, and remove %s.", base)
	return nil
}

func movingText(target string) string {
	return fmt.Sprintf("it was being moved into %s by mixminiond backup --move, which did not come to its end. If that file exists, the mix is in it: "+
		"restore it, and remove this directory. If it does not exist, nothing was moved: destroy %[1]s.*%s if it is there, since it holds packet keys, "+
		"remove the file %s, and start the mix again.", target, tmpSuffix, backup.MarkFile)
}

// inside reports whether a file that need not exist lies below a directory, whatever links lead there.
func inside(dir, file string) bool {
	top, err := os.Stat(dir)
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return false
	}
	for {
		if info, err := os.Stat(real); err == nil && os.SameFile(info, top) {
			return true
		}
		up := filepath.Dir(real)
		if up == real {
			return false
		}
		real = up
	}
}

func movedText(day, target string) string {
	return fmt.Sprintf("on %s the mix was moved into %s by mixminiond backup --move, with its packet keys and packets. Two mixes with the same packet "+
		"keys would betray where packets go. When it runs elsewhere, remove this directory. Only if the file was never restored, and no copy of it is left: "+
		"remove the file %s, and start the mix again.", day, target, backup.MarkFile)
}

func sayMissing(s *streams, missing []string) {
	for _, what := range missing {
		caution(s, "not in the backup, since it does not exist: %s", what)
	}
}

func createBackup(target string, m backup.Manifest, items []backup.Item, to []age.Recipient) error {
	err := createWith(target, func(w io.Writer) error { return backup.Write(w, m, items, to...) })
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w; a backup replaces nothing", target, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}

// keys finds out what to encrypt to.
func (o *backupOptions) keys(ctx context.Context, s *streams) ([]age.Recipient, error) {
	if len(o.recipients) > 0 {
		to, err := age.ParseRecipients(strings.NewReader(strings.Join(o.recipients, "\n")))
		if err != nil {
			return nil, fmt.Errorf("--recipient: %w", err)
		}
		return to, nil
	}
	ask, tries, err := o.passphrase.source(ctx, s)
	if errors.Is(err, errNoPassphrase) {
		return nil, errBackupPassphrase
	}
	if err != nil {
		return nil, err
	}
	text, err := ask("Passphrase for the backup: ")
	if err != nil {
		return nil, err
	}
	if tries > 1 { // a person types it
		again, err := ask("The same passphrase again: ")
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(text, again) {
			return nil, errors.New("the two passphrases differ; nothing was written")
		}
	}
	if len(text) == 0 {
		return nil, errors.New("a backup needs a passphrase: who opens it can pretend to be this mix")
	}
	r, err := backup.Passphrase(text)
	return []age.Recipient{r}, err
}

var errBackupPassphrase = errors.New("the backup needs a passphrase, and there is no terminal to ask for it: give it with --passphrase-fd")

type restoreOptions struct {
	store      passphrase // that StoreKey asks for
	identity   string
	passphrase passphrase
	baseDir    string
}

func newRestore(s *streams, configFile *string) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a backup into an empty base directory",
		Long: "Restores what mixminiond backup wrote: the base directory, which must be empty or missing, and the\n" +
			"configuration, which goes to the file given by --config, or else where init writes it. Nothing is\n" +
			"replaced. Files that the configuration wants outside of the base directory are put into restored in\n" +
			"it, for you to move.\n\n" +
			"The mix gets new packet keys, which the next start publishes; after backup --move it has those that it\n" +
			"had, with its packets, and FILE is renamed to FILE.restored. A move must be restored once, on one machine.\n\n" +
			"Restore only what you have made: a configuration can name commands to be run.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return restoreBackup(cmd.Context(), s, *configFile, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.identity, "identity", "i", "", "open the backup with the secret keys of age in `FILE`")
	f.IntVar(&o.passphrase.fd, "passphrase-fd", -1, "read the passphrase, one line, from descriptor `N`")
	f.IntVar(&o.store.fd, "store-passphrase-fd", -1, "read the new passphrase that [Server] StoreKey asks for, one line, from descriptor `N`")
	f.StringVar(&o.baseDir, "base-dir", "", "restore into this `DIRECTORY`, and write it into the configuration")
	return cmd
}

func restoreBackup(ctx context.Context, s *streams, configFile, archive string, o restoreOptions) (err error) {
	home, err := userHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	if configFile == "" {
		configFile = usualConfig(home)
	}
	if _, err := os.Lstat(configFile); err == nil {
		return fmt.Errorf("the configuration %s exists already; to restore another one beside it, give --config", configFile)
	}
	// The file that is renamed after a move must be the one that was read.
	if archive, err = filepath.EvalSymlinks(archive); err != nil {
		return err
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); !errors.Is(cerr, fs.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}()
	with, err := o.keys(ctx, s, f)
	if err != nil {
		return err
	}
	a, err := backup.NewReader(f, with...)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	switch moved := a.Manifest.Kind == backup.Move; {
	case moved && strings.HasSuffix(archive, backup.UsedSuffix):
		return fmt.Errorf("%s was restored already. Two mixes with the same packet keys would betray where packets go; "+
			"only if what was restored is gone for good, take %s off its name", archive, backup.UsedSuffix)
	case moved && strings.HasSuffix(archive, tmpSuffix):
		return fmt.Errorf("%s is what a backup --move left that did not come to its end: the mix has not left its old place; destroy this file", archive)
	}
	if o.baseDir != "" {
		dir, err := filepath.Abs(o.baseDir)
		if err != nil {
			return err
		}
		a.Config = config.WithBaseDir(a.Config, dir)
	}
	cfg, err := config.ParseServer(a.Config, "configuration in the backup")
	if err != nil {
		return err
	}
	paths := cfg.Paths(home)
	done, err := restoreInto(ctx, s, a, cfg, home, f, configFile, o)
	if err != nil {
		return fmt.Errorf("nothing was restored from %s: %w", archive, err)
	}
	s.say("Restored %s into %s; its configuration is %s. Look it over.", a.Manifest.Nickname, paths.BaseDir, configFile)
	for want, is := range done.elsewhere {
		s.say("The configuration wants the file %s: you find it in %s.", want, is)
	}
	if a.Manifest.Kind == backup.Move {
		s.say("It has the packet keys, replay logs and packets that it had. Destroy all copies of the backup, and the old base directory.")
	} else if done.keysLater {
		s.say("What StoreKey names is for the service alone: the first start makes a packet key, and encrypts what is to be. Packets and reply blocks for the old ones are lost.")
	} else if cfg.IncomingMMTP.Enabled {
		s.say("It has a new packet key. Packets and reply blocks for its old ones are lost.")
	}
	s.say("To start it, and publish its descriptor: mixminiond start -f %s", configFile)
	return nil
}

// restored is what there is to say of a restore.
type restored struct {
	elsewhere map[string]string // see backup.Restored
	keysLater bool              // the first start has to make packet keys
}

// restoreInto restores all, or nothing.
func restoreInto(ctx context.Context, s *streams, a *backup.Reader, cfg *config.Server, home string, archive *os.File, configFile string, o restoreOptions) (out restored, err error) {
	paths := cfg.Paths(home)
	_, serr := os.Stat(paths.BaseDir)
	if err := os.MkdirAll(paths.BaseDir, 0o700); err != nil {
		return out, err
	}
	lock, err := lockBase(paths.BaseDir)
	if err != nil {
		return out, err
	}
	var empty []string // directories that were, and are to be again
	whole, written := false, false
	defer func() {
		err = errors.Join(err, lock.Close())
		if err == nil || whole {
			return
		}
		for _, dir := range empty {
			err = errors.Join(err, emptyAgain(dir, false))
		}
		if errors.Is(serr, fs.ErrNotExist) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(paths.BaseDir, backup.BaseLock)), os.Remove(paths.BaseDir))
		}
	}()
	done, undo, err := backup.Restore(a, backup.Place{Config: cfg, Home: home})
	if err != nil {
		return out, err
	}
	out.elsewhere = done.Elsewhere
	if cfg.IncomingMMTP.Enabled && a.Manifest.Kind == backup.Identity {
		_, _, err = makeKeysLocked(ctx, s, cfg, home, o.store)
		if out.keysLater = errors.Is(err, vault.ErrNoCredential); out.keysLater {
			err = nil
		}
	}
	if err == nil {
		err = writeNewConfig(configFile, a.Config, false)
		written = err == nil
	}
	if err == nil && a.Manifest.Kind == backup.Move {
		// Before the mix can start, so that a crash in between leaves no archive that looks as if nobody had restored it.
		if err = archive.Close(); err == nil { // not all systems rename an open file
			err = retire(archive.Name())
		}
	}
	if err != nil {
		if written {
			err = errors.Join(err, os.Remove(configFile))
		}
		// The mix may have made files beside those of the archive.
		empty = []string{paths.KeyDir, paths.QueueDir, paths.BaseDir}
		return out, errors.Join(err, undo())
	}
	whole = true
	return out, backup.ClearMark(paths.BaseDir)
}

// errNotRetired says why a move was not restored.
var errNotRetired = errors.New("a move must be restored once only, so its file gets another name, and that was not possible. " +
	"Move it, and do not copy it, to a directory of yours on a disk that can be written to; if it is on a medium that cannot, destroy that afterwards")

// retire gives the archive of a move the name of one that was restored, or leaves it as it was.
func retire(archive string) error {
	used := archive + backup.UsedSuffix
	if _, err := os.Lstat(used); err == nil {
		return fmt.Errorf("%w: %s: %w", errNotRetired, used, fs.ErrExist)
	}
	if err := os.Rename(archive, used); err != nil {
		return fmt.Errorf("%w: %w", errNotRetired, err)
	}
	if err := durable.SyncDir(filepath.Dir(archive)); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", errNotRetired, err), os.Rename(used, archive))
	}
	return nil
}

// keys finds out how to open an archive, and leaves it at its beginning.
func (o *restoreOptions) keys(ctx context.Context, s *streams, archive *os.File) (with []age.Identity, err error) {
	if o.identity != "" {
		f, err := os.Open(o.identity)
		if err != nil {
			return nil, fmt.Errorf("--identity: %w", err)
		}
		with, err = age.ParseIdentities(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("--identity %s: %w", o.identity, err)
		}
		return with, nil
	}
	head := make([]byte, 64)
	n, err := io.ReadFull(archive, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if !backup.NeedsPassphrase(head[:n]) {
		if !bytes.HasPrefix(head[:n], []byte("age-encryption.org/")) {
			return nil, fmt.Errorf("%s: %w", archive.Name(), backup.ErrFormat)
		}
		return nil, fmt.Errorf("%s is encrypted to a key of age: give the file with the secret one by --identity", archive.Name())
	}
	ask, _, err := o.passphrase.source(ctx, s)
	if errors.Is(err, errNoPassphrase) {
		return nil, errBackupPassphrase
	}
	if err != nil {
		return nil, err
	}
	text, err := ask("Passphrase of the backup: ")
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, backup.ErrWrongKey
	}
	i, err := backup.PassphraseIdentity(text)
	return []age.Identity{i}, err
}

// caution says what must not be missed, however quiet the program is to be.
func caution(s *streams, format string, args ...any) {
	_, _ = fmt.Fprintf(s.err, "Warning: "+format+".\n", args...)
}
