package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"mixminion/authority"
	"mixminion/internal/config"
)

// authorityRole opens the directory authority and its sockets.
func authorityRole(ctx context.Context, s *streams, cfg *config.Server, file, home string, log *slog.Logger) (_ role, err error) {
	ac, fresh, err := authority.FromConfig(cfg, home, log)
	if err != nil {
		return role{}, fmt.Errorf("%s: [Directory]: %w", file, err)
	}
	line := authority.OwnLine(cfg, ac)
	if fresh {
		s.say("This is the first start of this directory authority: it has a new identity, key %s.", line.Fingerprint)
	}
	s.say("Its line for the configurations of the other authorities and of users: Authority: %s", line)
	a, err := authority.Open(ac)
	if errors.Is(err, authority.ErrGroup) {
		return role{}, fmt.Errorf("%s: [Directory]: %w; put the line of every member in, that of this authority too", file, err)
	}
	if err != nil {
		return role{}, err
	}
	var listeners []net.Listener
	for _, addr := range cfg.Directory.Listen {
		l, err := new(net.ListenConfig).Listen(ctx, tcpFamily(addr), addr)
		if err != nil {
			return role{}, errors.Join(fmt.Errorf("listen for directory requests: %w", err), closeAll(listeners), a.Close())
		}
		listeners = append(listeners, l)
	}
	run := func(ctx context.Context) error {
		for _, l := range listeners {
			s.say("The directory authority listens on %s.", l.Addr())
		}
		log.Info("directory authority started", "version", Version, "authorities", len(ac.Group))
		err := a.Run(ctx, listeners...)
		if err == nil {
			log.Info("directory authority stopped")
			s.say("The directory authority has stopped.")
		}
		return err
	}
	return role{run, func() error { return errors.Join(closeAll(listeners), a.Close()) }}, nil
}

// tcpFamily keeps 0.0.0.0 from taking the port of [::] as well.
func tcpFamily(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return "tcp"
	case ap.Addr().Is4():
		return "tcp4"
	}
	return "tcp6"
}
