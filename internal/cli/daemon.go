package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"mixminion/internal/config"
	"mixminion/internal/control"
	"mixminion/internal/harden"
	"mixminion/internal/localsock"
	"mixminion/internal/logging"
	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
	"mixminion/mix"
	"mixminion/mix/backup"
	"mixminion/mix/metrics"
	"mixminion/mix/oldbase"
)

// A daemon is mixminiond while it runs.
type daemon struct {
	s          *streams
	file, home string
	options    startOptions
	begun      time.Time
	output     logFile
	log        *slog.Logger
	mix        *mix.Mix // nil: it is an authority only
	authority  bool
	stop       context.CancelFunc

	mu      sync.Mutex
	cfg     *config.Server  // in use
	metrics *metrics.Server // nil: none
}

// start runs what the configuration enables until ctx is done, or until it is told to stop.
func start(ctx context.Context, s *streams, file string, o startOptions) (err error) {
	d := &daemon{s: s, options: o, begun: time.Now()}
	if d.home, err = userHomeDir(); err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	if d.cfg, d.file, err = d.readConfig(file); err != nil {
		return err
	}
	d.authority = d.cfg.Directory.Enabled
	s.say("Configuration: %s", d.file)
	for _, w := range d.cfg.Warnings() {
		s.say("Warning: %s", w)
	}
	if err := harden.LockMemory(); err != nil {
		s.say("Warning: %v.", err)
	}
	if !d.cfg.IncomingMMTP.Enabled && !d.cfg.Directory.Enabled {
		return fmt.Errorf("%s: neither [Incoming/MMTP] nor [Directory] is enabled, so there is nothing to do: write Enabled: yes in one of them", d.file)
	}
	if o.background || d.cfg.Main.Daemon && !o.foreground {
		return d.startInBackground(ctx)
	}
	return d.run(ctx)
}

// readConfig reads the configuration, in which the options of start take the place of what is written.
func (d *daemon) readConfig(file string) (*config.Server, string, error) {
	cfg, file, err := readServerConfig(file, d.home)
	if err != nil {
		return nil, "", err
	}
	if d.options.severity != "" {
		if err := cfg.Main.LogLevel.Set(d.options.severity); err != nil {
			return nil, "", fmt.Errorf("--severity: %w", err)
		}
	}
	cfg.Main.EchoMessages = cfg.Main.EchoMessages || d.options.echo
	return cfg, file, nil
}

func (d *daemon) run(ctx context.Context) (err error) {
	s := d.s
	ctx, d.stop = context.WithCancel(ctx)
	defer d.stop()
	// Who waits for the end hears of it when the lock is free again.
	var server *control.Server
	defer func() {
		if server != nil {
			err = errors.Join(err, server.Close())
		}
	}()
	paths := d.cfg.Paths(d.home)
	if err := os.MkdirAll(paths.BaseDir, 0o700); err != nil {
		return fmt.Errorf("make the base directory: %w", err)
	}
	lock, err := lockBase(paths.BaseDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := d.openLog(paths.LogFile); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.output.close()) }()

	roles, err := d.roles(ctx)
	defer func() {
		for _, r := range roles {
			err = errors.Join(err, r.close())
		}
	}()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(paths.PidFile, fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0o644); err != nil {
		return fmt.Errorf("write the process id: %w", err)
	}
	defer func() { err = errors.Join(err, removePID(paths.PidFile)) }()
	if d.metrics, err = d.listenMetrics(ctx, d.cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.closeMetrics()) }()
	running := append([]role{d.hangups(), thisServiceManager().role(func() { d.status() })}, roles...)
	if server, err = control.Listen(paths.BaseDir, d.handlers()); err != nil {
		s.say("Warning: %v; so no other mixminiond command will reach this one%s.", err, mendSocket(err))
		// A service says nothing on its terminal.
		d.log.Warn("no control socket, so no other mixminiond command will reach this one; see mixminiond check", "error", err)
	} else {
		running = append(running, role{run: server.Serve})
	}
	if err := runRoles(ctx, running); err != nil {
		d.log.Log(ctx, logging.LevelFatal, "mixminiond cannot go on", "error", err)
		return err
	}
	return nil
}

// lockBase keeps other processes off a base directory, which exists, until the lock is closed. It refuses one that is marked as unusable, and
// one of 0.0.8: packet keys whose replay logs are not found would be destroyed there.
func lockBase(base string) (*os.File, error) {
	if oldbase.Is(base) {
		return nil, errOldBase(base)
	}
	lock, err := lockfile.Try(filepath.Join(base, backup.BaseLock))
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("the base directory %s is in use by another process; to see how that one does: mixminiond status", base)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the base directory: %w", err)
	}
	if err := backup.CheckMark(base); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func errOldBase(base string) error {
	return fmt.Errorf("%s belongs to a server of Mixminion 0.0.8; to take it over: mixminiond import %[1]s --base-dir NEW --config NEW.conf", base)
}

func mendSocket(err error) string {
	switch {
	case errors.Is(err, localsock.ErrNotPrivate):
		return ". To mend it: chmod 700 the directory"
	case errors.Is(err, localsock.ErrNameTooLong):
		return ". To mend it: take a BaseDir with a shorter name"
	}
	return ""
}

func (d *daemon) openLog(name string) error {
	file, err := openLogFile(name)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	d.output.terminal, d.output.quiet = d.s.err, d.s.quiet
	d.log = logging.New(&d.output, &d.output.settings)
	return d.output.change(file, &d.cfg.Main)
}

// roles opens what the configuration enables. With an error too the roles that it returns are to be closed.
func (d *daemon) roles(ctx context.Context) (roles []role, err error) {
	if d.cfg.IncomingMMTP.Enabled {
		var r role
		key, err := unlock(ctx, d.s, d.cfg, d.home, d.options.passphrase)
		if err != nil {
			return roles, err
		}
		if r, d.mix, err = mixRole(ctx, d.s, d.cfg, d.file, d.home, key, d.log); err != nil {
			return roles, err
		}
		roles = append(roles, r)
	}
	if d.cfg.Gateway.Enabled {
		r, err := d.gatewayRole(ctx)
		if err != nil {
			return roles, fmt.Errorf("[Gateway]: %w", err)
		}
		roles = append(roles, r)
	}
	if d.cfg.Directory.Enabled {
		r, err := authorityRole(ctx, d.s, d.cfg, d.file, d.home, d.log)
		if err != nil {
			return roles, err
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// hangups reloads at SIGHUP.
func (d *daemon) hangups() role {
	return role{run: func(ctx context.Context) error {
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hup:
				if _, err := d.reload(ctx); err != nil {
					d.log.Error("not reloaded", "error", err)
				}
			}
		}
	}}
}

// reload reads the configuration, and all files that it names, again and puts them into use, or changes nothing and
// says why. It returns what is unwise about the new one.
func (d *daemon) reload(ctx context.Context) (warnings []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	newer, _, err := d.readConfig(d.file)
	if err != nil {
		return nil, err
	}
	if keys := d.cfg.NeedsRestart(newer); len(keys) > 0 {
		return nil, fmt.Errorf("nothing was changed, since this can only change when it is stopped and started anew: %s", strings.Join(keys, ", "))
	}
	file, err := openLogFile(newer.Paths(d.home).LogFile)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	shown := d.metrics
	if newer.Main.MetricsListen != d.cfg.Main.MetricsListen {
		if shown, err = d.listenMetrics(ctx, newer); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	if d.mix != nil {
		c, err := mix.FromConfig(newer, d.home, software, d.log)
		if err == nil {
			err = d.mix.Reload(ctx, c)
		}
		if err != nil {
			if shown != d.metrics && shown != nil {
				err = errors.Join(err, shown.Close())
			}
			return nil, fmt.Errorf("%s: %w", d.file, errors.Join(err, file.Close()))
		}
	}
	d.cfg = newer
	err = d.output.change(file, &newer.Main)
	if shown != d.metrics {
		err = errors.Join(err, d.closeMetrics())
		d.metrics = shown
	}
	d.log.Info("configuration reloaded")
	return newer.Warnings(), err
}

// handlers are what an operator can ask for.
func (d *daemon) handlers() map[string]control.Handler {
	return map[string]control.Handler{
		askStatus: func(context.Context, json.RawMessage) (any, error) { return d.status(), nil },
		askStop: func(context.Context, json.RawMessage) (any, error) {
			d.stop()
			return control.Hold, nil
		},
		askReload: func(ctx context.Context, _ json.RawMessage) (any, error) {
			warnings, err := d.reload(ctx)
			return reloaded{warnings}, err
		},
		askDestroyKey: d.destroyKey,
		askRotateKeys: d.rotateKeys,
		askFlush: d.mixHandler(func(m *mix.Mix, _ json.RawMessage) (any, error) {
			m.FlushQueues()
			return nothing{}, nil
		}),
		askDrain: d.mixHandler(func(m *mix.Mix, args json.RawMessage) (any, error) {
			var o drainArgs
			if err := control.ParseArgs(args, &o); err != nil {
				return nil, err
			}
			m.Drain(!o.Off)
			d.log.Warn("draining", "on", !o.Off)
			return nothing{}, nil
		}),
		askRepublish: d.mixHandler(func(m *mix.Mix, _ json.RawMessage) (any, error) {
			n := m.Republish()
			if n == 0 {
				return nil, errors.New("there is nobody to publish to: write Publish: yes and the Authority lines into [DirectoryServers]")
			}
			return republished{n}, nil
		}),
	}
}

var errNoMix = errors.New("what runs there is a directory authority alone, and no mix")

// mixHandler refuses what only a mix can do if there is none.
func (d *daemon) mixHandler(do func(*mix.Mix, json.RawMessage) (any, error)) control.Handler {
	return func(_ context.Context, args json.RawMessage) (any, error) {
		if d.mix == nil {
			return nil, errNoMix
		}
		return do(d.mix, args)
	}
}

// status waits for no reload, which may have to wait itself until the store is swept: the service manager watches over it.
func (d *daemon) status() daemonStatus {
	st := daemonStatus{Version: Version, Since: d.begun.UTC().Format(time.DateOnly), Authority: d.authority}
	if d.mix != nil {
		m := d.mix.Status()
		st.Mix = &m
	}
	return st
}

// removePID removes the file with the process id, which may be gone.
func removePID(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
