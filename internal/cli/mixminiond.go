package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"mixminion/internal/config"
	"mixminion/internal/harden"
	"mixminion/mix"

	"github.com/spf13/cobra"
)

func newMixminiond(s *streams) *cobra.Command {
	var configFile string
	root := &cobra.Command{
		Use:   "mixminiond",
		Short: "Run a mix or a directory authority",
		Long: "Mixminiond runs a mix: a server that receives packets, takes off one layer of their\n" +
			"encryption, holds them back, shuffles them, and passes them on. It can also run a directory\n" +
			"authority, one of those that agree each day on which mixes there are.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return errors.New("say which command you want")
		},
	}
	root.PersistentFlags().StringVarP(&configFile, "config", "f", "",
		"read the configuration from `FILE` (default ~/.mixminiond.conf, ~/etc/mixminiond.conf, /etc/mixminiond.conf, /etc/mixminion/mixminiond.conf)")
	root.PersistentFlags().BoolVarP(&s.quiet, "quiet", "Q", false, "say nothing but errors")
	root.AddCommand(newInit(s, &configFile), newStart(s, &configFile), newDirectory(s, &configFile), newCheck(s, &configFile), newVersion(s, "Mixminiond"), newCompletion(s, "mixminiond"))
	return root
}

func newStart(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "start",
		Short: "Run the mix, the directory authority, or both, in the foreground",
		Long: "Runs what the configuration enables until it is interrupted: a mix ([Incoming/MMTP]), a\n" +
			"directory authority ([Directory]), or both. The first start of a mix makes the identity key, a\n" +
			"packet key and the server descriptor; that of an authority makes its identity key and prints the\n" +
			"line by which others know it. On SIGTERM or Ctrl-C the mix takes no more packets, acknowledges\n" +
			"those it has, and ends; everything it holds goes on after the next start.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return start(cmd.Context(), s, *configFile) },
	}
}

// start runs what the configuration enables until ctx is done.
func start(ctx context.Context, s *streams, file string) (err error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	cfg, file, err := readServerConfig(file, home)
	if err != nil {
		return err
	}
	s.say("Configuration: %s", file)
	for _, w := range cfg.Warnings() {
		s.say("Warning: %s", w)
	}
	if err := harden.LockMemory(); err != nil {
		s.say("Warning: %v.", err)
	}
	if !cfg.IncomingMMTP.Enabled && !cfg.Directory.Enabled {
		return fmt.Errorf("%s: neither [Incoming/MMTP] nor [Directory] is enabled, so there is nothing to do: write Enabled: yes in one of them", file)
	}
	paths := cfg.Paths(home)
	if err := os.MkdirAll(paths.BaseDir, 0o700); err != nil {
		return fmt.Errorf("make the base directory: %w", err)
	}
	logFile, err := os.OpenFile(paths.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, logFile.Close()) }()
	log := newLogger(s, cfg.Main.LogLevel, logFile)

	var roles []role
	defer func() {
		for _, r := range roles {
			err = errors.Join(err, r.close())
		}
	}()
	if cfg.IncomingMMTP.Enabled {
		r, err := mixRole(ctx, s, cfg, file, home, log)
		if err != nil {
			return err
		}
		roles = append(roles, r)
	}
	if cfg.Directory.Enabled {
		r, err := authorityRole(ctx, s, cfg, file, home, log)
		if err != nil {
			return err
		}
		roles = append(roles, r)
	}
	return runRoles(ctx, roles)
}

// A role is one of the things that a daemon can do.
type role struct {
	run   func(context.Context) error
	close func() error
}

// runRoles runs all until ctx is done or one of them cannot go on.
func runRoles(ctx context.Context, roles []role) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(roles))
	var running sync.WaitGroup
	for i, r := range roles {
		running.Go(func() {
			defer cancel()
			errs[i] = r.run(ctx)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// mixRole opens the mix and its sockets.
func mixRole(ctx context.Context, s *streams, cfg *config.Server, file, home string, log *slog.Logger) (_ role, err error) {
	mixConfig, err := mix.FromConfig(cfg, home, software, log)
	if err != nil {
		return role{}, fmt.Errorf("%s: %w", file, err)
	}
	mixConfig.Provider = newProvider()
	m, err := mix.Open(mixConfig)
	if err != nil {
		return role{}, err
	}
	listeners, err := listen(ctx, cfg.IncomingMMTP.Listen())
	if err != nil {
		return role{}, errors.Join(err, m.Close())
	}
	run := func(ctx context.Context) error {
		if m.Fresh() {
			s.say("This is the first start: %s has a new identity, key %s.", cfg.Main.Nickname, m.KeyID().Fingerprint())
		}
		for _, l := range listeners {
			s.say("%s listens on %s.", cfg.Main.Nickname, l.Addr())
		}
		s.say("Its descriptor, for mixminion import-server: %s", filepath.Join(cfg.Paths(home).KeyDir, mix.CurrentDescriptorFile))
		log.Info("mix started", "version", Version)
		err := m.Run(ctx, listeners...)
		if err == nil {
			log.Info("mix stopped")
			s.say("%s has stopped.", cfg.Main.Nickname)
		}
		return err
	}
	return role{run, func() error { return errors.Join(closeAll(listeners), m.Close()) }}, nil
}

// closeAll closes listeners, of which some may be closed already.
func closeAll(listeners []net.Listener) (err error) {
	for _, l := range listeners {
		if cerr := l.Close(); !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	return err
}

func readServerConfig(file, home string) (*config.Server, string, error) {
	places := []string{file}
	if file == "" {
		places = []string{filepath.Join(home, ".mixminiond.conf"), filepath.Join(home, "etc", "mixminiond.conf"),
			"/etc/mixminiond.conf", "/etc/mixminion/mixminiond.conf"}
	}
	for _, place := range places {
		data, err := readLimited(place, maxConfig)
		if file == "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("read configuration: %w", err)
		}
		cfg, err := config.ParseServer(data, place)
		return cfg, place, err
	}
	return nil, "", errors.New("no configuration found: give one with -f FILE")
}

// listen opens the sockets; on an error it closes those it has.
func listen(ctx context.Context, addrs []netip.AddrPort) (listeners []net.Listener, err error) {
	for _, a := range addrs {
		network := "tcp4"
		if a.Addr().Is6() {
			network = "tcp6"
		}
		l, err := new(net.ListenConfig).Listen(ctx, network, a.String())
		if err != nil {
			for _, l := range listeners {
				err = errors.Join(err, l.Close())
			}
			return nil, fmt.Errorf("listen for packets: %w", err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// newLogger logs to the log file and, since the mix runs in the foreground, to standard error.
func newLogger(s *streams, level config.LogLevel, file io.Writer) *slog.Logger {
	levels := map[config.LogLevel]slog.Level{
		config.LogTrace: slog.LevelDebug, config.LogDebug: slog.LevelDebug, config.LogInfo: slog.LevelInfo,
		config.LogWarn: slog.LevelWarn, config.LogError: slog.LevelError, config.LogFatal: slog.LevelError + 4,
	}
	least, ok := levels[level]
	if !ok {
		return slog.New(slog.DiscardHandler)
	}
	w := file
	if !s.quiet {
		w = io.MultiWriter(file, s.err)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: least}))
}
