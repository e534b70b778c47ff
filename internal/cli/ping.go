package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/internal/config"
	"mixminion/mmtp"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

// pingWarning is printed before anything is sent.
const pingWarning = `======================================================================
WARNING: ping connects from your machine straight to the mix, with no
mix in between. The mix, and whoever watches your line, sees that you
use Mixminion and which mix you asked about. Do not ping a mix just
before you send through it. It is a tool for operators, not a way to
find a good path.
======================================================================`

func newPing(s *streams, configFile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "ping SERVER...",
		Short: "See whether mixes answer",
		Long: "Connects to each SERVER, checks its key, and says whether it is up. SERVER is the nickname\n" +
			"of a mix that you know, a file with its descriptor, or host:port. Of a host and port\n" +
			"nothing is known, so its key cannot be checked; the port may be left out if the host has\n" +
			"a dot in it, and is then " + strconv.Itoa(config.MMTPPort) + ".\n\n" +
			"Whether a mix is up or not, the status is 0. Ping shows your interest to the mix and to\n" +
			"those who watch your line: do not use it before you send.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.pingAll(cmd.Context(), s, names)
		},
	}
}

func (u *user) pingAll(ctx context.Context, s *streams, names []string) error {
	servers, err := u.Servers()
	if err != nil {
		return err
	}
	targets := make([]pinged, len(names))
	for i, name := range names {
		if targets[i], err = pingTarget(servers, name, time.Now()); err != nil {
			return err
		}
	}
	s.say("%s", pingWarning)
	for i, name := range names {
		to := targets[i]
		s.detail("Connecting to %s port %d.", to.Host, to.Port)
		if to.legacy && mmtp.LegacyAvailable {
			s.say("Warning: links to %s are of an old kind (TLS 1.0), which can be broken.", name)
		}
		id, err := u.Probe(ctx, to.Hop, to.legacy)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			s.detail("Its key is %s.", id.Fingerprint())
		}
		if _, err := fmt.Fprint(s.out, pingResult(name, err)); err != nil {
			return err
		}
	}
	return nil
}

// pingResult is what there is to say after a mix was probed. A mix with another key than its descriptor says is not the mix that was
// asked for, so that one is down.
func pingResult(name string, err error) string {
	switch {
	case err == nil:
		return fmt.Sprintf(">>> Server seems to be running\n%s is up\n", name)
	case errors.Is(err, mmtp.ErrKeyID):
		return fmt.Sprintf(">>> Server seems to be running, but its key is wrong!\n%s is down\n", name)
	}
	return fmt.Sprintf(">>> Couldn't connect to server: %v\n%s is down\n", err, name)
}

// pinged is what a name means to ping.
type pinged struct {
	packet.Hop
	legacy bool // its descriptor does not say that it speaks TLS 1.3
}

// pingTarget finds out what a name means: first a nickname, then a file, then a host. The keyid of a host is zero: unknown.
func pingTarget(servers []*directory.Descriptor, name string, now time.Time) (pinged, error) {
	var found *directory.Descriptor
	for _, d := range servers {
		if d.HasNickname(name) && (found == nil || d.LiveAt(now) && (!found.LiveAt(now) || d.Published.After(found.Published))) {
			found = d
		}
	}
	if found == nil {
		if _, err := os.Stat(name); err != nil {
			hop, err := pingHost(name)
			return pinged{Hop: hop}, err
		}
		text, err := readLimited(name, maxDescriptors)
		if err != nil {
			return pinged{}, err
		}
		if found, err = directory.ParseDescriptor(text); err != nil {
			return pinged{}, fmt.Errorf("%s is not the descriptor of a mix: %w", name, err)
		}
	}
	if found.Incoming == nil {
		return pinged{}, fmt.Errorf("%s takes no connections, so it cannot be pinged", found.Nickname)
	}
	return pinged{Hop: found.Node().Hop, legacy: !found.AcceptsTLS13()}, nil
}

// pingHost reads host, host:port, [address] or [address]:port.
func pingHost(name string) (packet.Hop, error) {
	unknown := fmt.Errorf("%s is no mix that you know, no file and no host:port", name)
	if host, port, err := net.SplitHostPort(name); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || host == "" {
			return packet.Hop{}, fmt.Errorf("%s: a port is a number from 1 to 65535 behind the name of a host", name)
		}
		return packet.Hop{Host: host, Port: uint16(n)}, nil
	}
	host, bracketed := strings.CutPrefix(name, "[")
	if bracketed {
		if host, bracketed = strings.CutSuffix(host, "]"); !bracketed || net.ParseIP(host) == nil {
			return packet.Hop{}, unknown
		}
	} else if !strings.Contains(host, ".") || strings.ContainsAny(host, "/ ") {
		return packet.Hop{}, unknown
	}
	return packet.Hop{Host: host, Port: config.MMTPPort}, nil
}
