package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"mixminion/directory"
	"mixminion/internal/config"
	"mixminion/internal/control"
	"mixminion/mix"

	"github.com/spf13/cobra"
)

const (
	askDestroyKey = "destroy-key"
	askRotateKeys = "rotate-keys"
)

type (
	destroyArgs struct{ Name string }
	rotated     struct{ Name string }
)

// rotateKeys is the daemon's side of mixminiond keys rotate.
func (d *daemon) rotateKeys(ctx context.Context, _ json.RawMessage) (any, error) {
	if d.mix == nil {
		return nil, errNoMix
	}
	name, err := d.mix.Rotate(ctx)
	if err != nil {
		return nil, err
	}
	return rotated{name}, nil
}

// destroyKey is the daemon's side of mixminiond keys delete.
func (d *daemon) destroyKey(ctx context.Context, args json.RawMessage) (any, error) {
	if d.mix == nil {
		return nil, errNoMix
	}
	var a destroyArgs
	if err := control.ParseArgs(args, &a); err != nil {
		return nil, err
	}
	if err := d.mix.DestroyKey(ctx, a.Name); err != nil {
		return nil, err
	}
	d.log.Warn("a packet key was destroyed at the operator's wish", "keys", a.Name)
	return nothing{}, nil
}

func newKeys(s *streams, configFile *string) *cobra.Command {
	root := &cobra.Command{
		Use:   "keys",
		Short: "List the packet keys of the mix, begin or destroy one, lock what is encrypted anew",
		Long: "Works on packet keys: those that take off the layers of packets. A mix makes new ones and destroys\n" +
			"old ones by itself, as PublicKeyLifetime and PublicKeyOverlap say. Without a command of its own it\n" +
			"lists them.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return listKeys(s, *configFile) },
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "List the packet keys",
		Long: "Lists the packet keys: for packets of which days each is, until when it is taken, whether it is in use,\n" +
			"and roughly how large its replay log is. The mix need not run.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return listKeys(s, *configFile) },
	}
	var sure bool
	var forDelete, forRotate passphrase
	destroy := &cobra.Command{
		Use:   "delete NAME",
		Short: "Destroy a packet key with its replay log",
		Long: "Destroys a packet key with its descriptor and its replay log, for instance because somebody may have\n" +
			"read it. Packets on their way that are encrypted to it are lost, and reply blocks that go through it\n" +
			"are dead. If no other key is valid now, the mix makes a new one, and publishes it. The mix may run or\n" +
			"not. Give --yes if you mean it.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !sure {
				return fmt.Errorf("packets that are encrypted to %s will be lost, and reply blocks that go through it are dead; if you mean it, add --yes", args[0])
			}
			if _, err := destroyKeys(cmd.Context(), s, *configFile, forDelete, args...); err != nil {
				return err
			}
			s.say("Destroyed %s. Disks that write elsewhere may keep old copies of it.", args[0])
			return nil
		},
	}
	destroy.Flags().BoolVar(&sure, "yes", false, "really do it")
	forDelete.registerStore(destroy)
	rotate := &cobra.Command{
		Use:   "rotate [now]",
		Short: "Begin a new packet key now",
		Long: "Makes a new packet key that is valid from today on, and has it published at once. Senders use it from\n" +
			"then on. The old keys are accepted for as long as they were announced, so that no packet and no reply\n" +
			"block is lost; to get rid of a key that somebody may have read, destroy it with keys delete. At most\n" +
			"three keys can be in use at once: if there would be more, the command says from which day on it is\n" +
			"possible. The mix may run or not.",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"now"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return rotateKeys(cmd.Context(), s, *configFile, forRotate)
		},
	}
	forRotate.registerStore(rotate)
	root.AddCommand(list, rotate, destroy, newLockKeys(s, configFile))
	return root
}

func rotateKeys(ctx context.Context, s *streams, configFile string, p passphrase) error {
	base, err := baseDir(configFile)
	if err != nil {
		return err
	}
	var r rotated
	err = control.Call(ctx, base, askRotateKeys, nil, &r)
	if errors.Is(err, control.ErrNotRunning) {
		err = whileStopped(ctx, s, configFile, base, p, func(c mix.Config) (err error) {
			r.Name, err = mix.RotateStopped(c)
			return err
		})
		if err == nil {
			s.say("%s is in use from now on. The mix does not run: the next start publishes it.", r.Name)
		}
		return err
	}
	if err == nil {
		s.say("%s is in use from now on, and is being published. The old keys are accepted for as long as they were announced.", r.Name)
	}
	return err
}

// destroyKeys destroys packet keys, whether or not the mix runs, and returns how many.
func destroyKeys(ctx context.Context, s *streams, configFile string, p passphrase, names ...string) (gone int, err error) {
	base, err := baseDir(configFile)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		err := control.Call(ctx, base, askDestroyKey, destroyArgs{name}, nil)
		if errors.Is(err, control.ErrNotRunning) {
			err = whileStopped(ctx, s, configFile, base, p, func(c mix.Config) error {
				more, err := mix.DestroyStopped(c, names[gone:]...)
				gone += more
				return err
			})
			return gone, err
		}
		if err != nil {
			return gone, err
		}
		gone++
	}
	return gone, nil
}

// whileStopped works on the keys of a mix that does not run, and keeps it from being started meanwhile.
func whileStopped(ctx context.Context, s *streams, configFile, base string, p passphrase, work func(mix.Config) error) (err error) {
	home, err := userHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	cfg, _, err := readServerConfig(configFile, home)
	if err != nil {
		return err
	}
	c, err := mixConfig(configFile)
	if err != nil {
		return err
	}
	lock, err := lockBase(base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if c.Vault, err = unlock(ctx, s, cfg, home, p); err != nil {
		return err
	}
	return work(c)
}

func listKeys(s *streams, configFile string) error {
	c, err := mixConfig(configFile)
	if err != nil {
		return err
	}
	keys, err := mix.ReadKeys(c)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		s.say("There are no packet keys yet: mixminiond init and the first start make them.")
	}
	for _, k := range keys {
		log := config.Size(k.Log)
		if _, err := fmt.Fprintf(s.out, "%s Its replay log takes at most %s.\n", keyLine(k), log.String()); err != nil {
			return err
		}
	}
	return nil
}

// mixConfig reads what a mix is to be.
func mixConfig(file string) (mix.Config, error) {
	home, err := userHomeDir()
	if err != nil {
		return mix.Config{}, fmt.Errorf("find the home directory: %w", err)
	}
	cfg, file, err := readServerConfig(file, home)
	if err != nil {
		return mix.Config{}, err
	}
	c, err := mix.FromConfig(cfg, home, software, slog.New(slog.DiscardHandler))
	if err != nil {
		return mix.Config{}, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func newStats(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Print the statistics",
		Long: "Prints what the mix has counted in each StatsInterval, rounded up to hundreds. The mix need not run.\n" +
			"Only intervals that are over, and of which it ran through three quarters at least, are in it.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			c, err := mixConfig(*configFile)
			if err != nil {
				return err
			}
			f, err := os.Open(c.StatsFile)
			if errors.Is(err, fs.ErrNotExist) {
				return errors.New("there are no statistics yet: they are written after the mix has run for a StatsInterval, unless LogStats is no")
			}
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			_, err = io.Copy(s.out, f)
			return err
		},
	}
}

func newDescriptor(s *streams, configFile *string) *cobra.Command {
	root := &cobra.Command{
		Use:   "descriptor",
		Short: "Print the mix's descriptors, or verify some",
		Long: "Prints the descriptors that others need to use the mix. There are several while a new packet key\n" +
			"is announced and the one before is still valid.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := mixConfig(*configFile)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(c.KeyDir, mix.CurrentDescriptorFile))
			if errors.Is(err, fs.ErrNotExist) {
				return errors.New("there is no descriptor yet: mixminiond init and the first start make it")
			}
			if err != nil {
				return err
			}
			_, err = s.out.Write(text)
			return err
		},
	}
	verify := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check the form and the signature of descriptors",
		Long: "Checks that files hold descriptors, and that each is signed by the key that it names, and says whose\n" +
			"they are. Whether that is the mix that you mean, its fingerprint tells.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			for _, file := range files {
				if err := verifyDescriptors(s, file); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			return nil
		},
	}
	root.AddCommand(verify)
	return root
}

func verifyDescriptors(s *streams, file string) error {
	text, err := readLimited(file, maxDescriptors)
	if err != nil {
		return err
	}
	parts := directory.SplitDescriptors(text)
	if len(parts) == 0 {
		return errors.New("there is no descriptor in it")
	}
	for _, part := range parts {
		d, err := directory.ParseDescriptor(part)
		if err != nil {
			return err
		}
		state := "good"
		if d.Expired(time.Now()) {
			state = "expired"
		}
		_, err = fmt.Fprintf(s.out, "%s %s %s, valid from %s to %s\n", state, d.Nickname, d.Fingerprint(),
			d.ValidAfter.UTC().Format(time.DateOnly), d.ValidUntil.UTC().Format(time.DateOnly))
		if err != nil {
			return err
		}
	}
	return nil
}
