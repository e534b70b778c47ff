package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"

	"mixminion/internal/config"
	"mixminion/internal/vault"
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
	root.AddCommand(newInit(s, &configFile), newStart(s, &configFile), newDirectory(s, &configFile), newCheck(s, &configFile))
	addControl(root, s, &configFile)
	root.AddCommand(newBackup(s, &configFile), newRestore(s, &configFile), newImport(s, &configFile))
	root.AddCommand(newKeys(s, &configFile), newDescriptor(s, &configFile), newStats(s, &configFile), newMail(s, &configFile))
	root.AddCommand(newOptOut(s, &configFile), newGateway(s, &configFile))
	root.AddCommand(newDeleteAllKeys(s, &configFile), newUpgrade(s, &configFile))
	root.AddCommand(newVersion(s, "Mixminiond"), newCompletion(s, "mixminiond"))
	return root
}

// startOptions are those of mixminiond start. They go before what the configuration says.
type startOptions struct {
	passphrase                   passphrase // for StoreKey
	severity                     string
	echo, background, foreground bool
}

func newStart(s *streams, configFile *string) *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run the mix, the directory authority, or both",
		Long: "Runs what the configuration enables until it is interrupted: a mix ([Incoming/MMTP]), a\n" +
			"directory authority ([Directory]), or both. The first start of a mix makes the identity key, a\n" +
			"packet key and the server descriptor; that of an authority makes its identity key and prints the\n" +
			"line by which others know it. On SIGTERM or Ctrl-C the mix takes no more packets, acknowledges\n" +
			"those it has, and ends; everything it holds goes on after the next start.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.background && o.foreground {
				return errors.New("--daemon and --nodaemon contradict each other")
			}
			return start(cmd.Context(), s, *configFile, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.background, "daemon", false, "run in the background, as Daemon: yes does; return when the mix takes packets")
	f.BoolVar(&o.foreground, "nodaemon", false, "stay in the foreground, whatever Daemon says")
	f.BoolVar(&o.echo, "echo", false, "print the log on the terminal, even with --quiet, as EchoMessages: yes does")
	f.StringVar(&o.severity, "severity", "", "log what is at least of this `LEVEL`, whatever LogLevel says")
	o.passphrase.registerStore(cmd)
	return cmd
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
func mixRole(ctx context.Context, s *streams, cfg *config.Server, file, home string, key *vault.Vault, log *slog.Logger) (_ role, m *mix.Mix, err error) {
	mixConfig, err := mix.FromConfig(cfg, home, software, log)
	if err != nil {
		return role{}, nil, fmt.Errorf("%s: %w", file, err)
	}
	mixConfig.Provider, mixConfig.Vault = newProvider(), key
	m, err = mix.Open(mixConfig)
	if err != nil {
		return role{}, nil, err
	}
	listeners, err := listen(ctx, cfg.IncomingMMTP.Listen())
	if err != nil {
		return role{}, nil, errors.Join(err, m.Close())
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
	return role{run, func() error { return errors.Join(closeAll(listeners), m.Close()) }}, m, nil
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

// configPlaces are where a configuration is looked for.
func configPlaces(home string) []string {
	return []string{filepath.Join(home, ".mixminiond.conf"), filepath.Join(home, "etc", "mixminiond.conf"),
		"/etc/mixminiond.conf", "/etc/mixminion/mixminiond.conf"}
}

func readServerConfig(file, home string) (*config.Server, string, error) {
	places := []string{file}
	if file == "" {
		places = configPlaces(home)
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
