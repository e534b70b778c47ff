package cli

import (
	"context"
	"fmt"
	"time"

	"mixminion/internal/config"
	"mixminion/internal/control"
	"mixminion/mix"

	"github.com/spf13/cobra"
)

// What an operator asks a daemon for, and what both sides say to each other about it.
const (
	askStatus    = "status"
	askStop      = "stop"
	askReload    = "reload"
	askFlush     = "flush-queue"
	askDrain     = "drain"
	askRepublish = "republish"
)

type (
	nothing      struct{}
	daemonStatus struct {
		Version, Since string
		Authority      bool
		Mix            *mix.Status
	}
	reloaded    struct{ Warnings []string }
	drainArgs   struct{ Off bool }
	republished struct{ Servers int }
)

// addControl adds the commands that talk to a daemon that runs.
func addControl(root *cobra.Command, s *streams, configFile *string) {
	add := func(use, short, long string, run func(ctx context.Context, base string) error) *cobra.Command {
		cmd := &cobra.Command{
			Use: use, Short: short, Long: long, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				base, err := baseDir(*configFile)
				if err != nil {
					return err
				}
				return run(cmd.Context(), base)
			},
		}
		root.AddCommand(cmd)
		return cmd
	}
	add("status", "Say how it stands with the mix that runs",
		"Asks the mix that runs with this configuration since which day it runs, what its keys are, and roughly\n"+
			"how much it holds. All numbers are rounded up, since exact ones help to follow packets. The status\n"+
			"is 1 if nothing runs.",
		func(ctx context.Context, base string) error { return printStatus(ctx, s, base) })
	add("stop", "End the mix that runs",
		"Tells what runs with this configuration to end, as SIGTERM does, and waits until it has ended. Packets\n"+
			"that it has are acknowledged, and go on after the next start.",
		func(ctx context.Context, base string) error {
			if err := control.CallToEnd(ctx, base, askStop); err != nil {
				return err
			}
			s.say("It has stopped.")
			return nil
		})
	add("reload", "Have the mix that runs read its configuration again",
		"Puts the configuration into use as it is now, all of it or nothing, and opens the log anew. No\n"+
			"connection is closed and no packet is lost. What cannot change while the mix runs is refused by\n"+
			"name: its nickname, directories, ports and the like. SIGHUP does the same, and logs what is wrong.",
		func(ctx context.Context, base string) error {
			var r reloaded
			if err := control.Call(ctx, base, askReload, nil, &r); err != nil {
				return err
			}
			for _, w := range r.Warnings {
				s.say("Warning: %s", w)
			}
			s.say("The configuration is in use.")
			return nil
		})
	add("flush-queue", "Try at once what waits for another attempt",
		"Has the mix that runs try everything that waits for another mix or the mail server now, whatever its\n"+
			"retry schedule says. Packets in the pool stay there until they are mixed.",
		func(ctx context.Context, base string) error {
			if err := control.Call(ctx, base, askFlush, nil, nil); err != nil {
				return err
			}
			s.say("What waits is being tried.")
			return nil
		})
	var off bool
	drain := add("drain", "Have the mix take no more packets",
		"From now on the mix that runs refuses packets, and their senders keep them and try again later. What\n"+
			"it holds goes on as ever. The pool always keeps some packets, since letting the last ones go would\n"+
			"show whose they are; with cover traffic, dummies take their place in time. It lasts until the mix\n"+
			"stops, or until drain --off.",
		func(ctx context.Context, base string) error {
			if err := control.Call(ctx, base, askDrain, drainArgs{off}, nil); err != nil {
				return err
			}
			if off {
				s.say("The mix takes packets again.")
			} else {
				s.say("The mix takes no more packets.")
			}
			return nil
		})
	drain.Flags().BoolVar(&off, "off", false, "take packets again")
	add("republish", "Publish the descriptor again",
		"Has the mix that runs hand its descriptors to all directory servers again, now. It does so daily, and\n"+
			"whenever they change, without being told.",
		func(ctx context.Context, base string) error {
			var r republished
			if err := control.Call(ctx, base, askRepublish, nil, &r); err != nil {
				return err
			}
			s.say("The descriptors go to %s; the log tells what came of it.", count(r.Servers, "directory server"))
			return nil
		})
}

// baseDir is where the daemon of a configuration is found.
func baseDir(file string) (string, error) {
	home, err := userHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home directory: %w", err)
	}
	cfg, _, err := readServerConfig(file, home)
	if err != nil {
		return "", err
	}
	return cfg.Paths(home).BaseDir, nil
}

func printStatus(ctx context.Context, s *streams, base string) error {
	var st daemonStatus
	if err := control.Call(ctx, base, askStatus, nil, &st); err != nil {
		return err
	}
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	say("Mixminiond %s has run since %s.", st.Version, st.Since)
	if st.Authority {
		say("A directory authority runs.")
	}
	if m := st.Mix; m != nil {
		sayMix(say, m)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(s.out, line); err != nil {
			return err
		}
	}
	return nil
}

func sayMix(say func(string, ...any), m *mix.Status) {
	say("The mix %s runs, key %s.", m.Nickname, m.Key)
	for _, k := range m.Keys {
		say("%s", keyLine(k))
	}
	switch {
	case m.LegacyIncoming && m.LegacyOutgoing:
		say("LegacyTLS is on: mixes of series 0.0.8 send to it, and it to them, over TLS 1.0.")
	case m.LegacyIncoming:
		say("LegacyTLS is on: mixes of series 0.0.8 send to it over TLS 1.0.")
	case m.LegacyOutgoing:
		say("LegacyTLS is on: it sends to mixes of series 0.0.8 over TLS 1.0.")
	}
	switch {
	case m.Drained:
		say("It takes no more packets, and those of others have all left: it can be stopped for as long as you like.")
	case m.Draining:
		say("It takes no more packets, and may still hold some of others.")
	}
	if m.Damaged {
		say("It has found packets or replay hashes that cannot be read, and are lost. Look whether the disk has errors;")
		say("mixminiond check --store finds what else is damaged when the mix is stopped.")
	}
	if m.Full {
		say("It rejects packets, since there is no room for them: raise MaxDisk, or make room on the disk.")
	}
	say("At most %d packets are in the pool, and at most %d on their way out.", m.Pool, m.Waiting)
	if m.Held > 0 {
		say("At most %d of these wait because their recipients have had their share of the day (RecipientCeiling).", m.Held)
	}
	disk := config.Size(m.Disk)
	say("At most %d connections to it are open; packets and replay logs take at most %s.", m.Connections, disk.String())
	switch {
	case !m.Directory.IsZero():
		say("Its directory is of %s, and %s.", m.Directory.UTC().Format(time.DateOnly), listing(m))
	default:
		say("It has no directory.")
	}
}

// listing says how the directory has a mix.
func listing(m *mix.Status) string {
	switch {
	case m.Recommended:
		return "recommends this mix"
	case m.Listed:
		return "lists this mix, but does not recommend it, so that nobody sends to it"
	}
	return "does not list this mix, so that nobody sends to it"
}

func keyLine(k mix.KeyStatus) string {
	use := "not yet in use"
	if k.InUse {
		use = "in use"
	}
	return fmt.Sprintf("Packet key %s: for packets of %s to %s, taken until %s; %s.", k.Name,
		k.From.UTC().Format(time.DateOnly), k.Until.UTC().Format(time.DateOnly), k.Accepted.UTC().Format(time.DateOnly), use)
}
