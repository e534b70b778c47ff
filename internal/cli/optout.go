package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/delivery/mail"
	"mixminion/delivery/optout"
	"mixminion/internal/config"

	"github.com/spf13/cobra"
)

func newOptOut(s *streams, configFile *string) *cobra.Command {
	root := &cobra.Command{
		Use:   "optout",
		Short: "Work on the list of those who want no anonymous mail",
		Long: "Works on the list of mail addresses to which this mix delivers nothing. A mix that runs heeds every\n" +
			"change at once, also for mail that waits. Of an address the list keeps only a keyed hash, so nobody\n" +
			"can read from it who is there; ask about one address at a time. Letters in upper and lower case are\n" +
			"the same, and what follows a \"+\" before the \"@\" does not count. To block a whole domain, use\n" +
			"BlacklistFile.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return errors.New("say which command you want")
		},
	}
	const dash = "\n\nWith - instead of an address it is read from standard input, and does not show in lists of processes."
	add := func(use, short, long string, do func(ctx context.Context, l *optout.List, addr string) error) {
		root.AddCommand(&cobra.Command{
			Use: use + " ADDRESS", Short: short, Long: long + dash, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				addr, err := givenAddress(s, args[0])
				if err != nil {
					return err
				}
				_, paths, err := optOutConfig(*configFile)
				if err != nil {
					return err
				}
				l, err := optout.Open(paths.OptOutDir, time.Now, nil)
				if err != nil {
					return err
				}
				return do(cmd.Context(), l, addr)
			},
		})
	}
	add("check", "Ask whether an address is on the list",
		"Says whether an address is on the list. The status is 1 if it is not.",
		func(_ context.Context, l *optout.List, addr string) error {
			if !l.Has(addr) {
				return errors.New("this address is not on the list")
			}
			_, err := fmt.Fprintln(s.out, "This address is on the list.")
			return err
		})
	add("add", "Put an address on the list",
		"Puts an address on the list, as if its owner had asked for it by mail and confirmed it.",
		func(ctx context.Context, l *optout.List, addr string) error {
			added, err := l.Add(ctx, addr)
			if err == nil {
				s.say("%s", optOutNews(added, "This address is on the list now.", "This address was on the list already."))
			}
			return err
		})
	add("remove", "Take an address off the list",
		"Takes an address off the list. Be sure that its owner wants it: somebody may ask in another's name.",
		func(ctx context.Context, l *optout.List, addr string) error {
			removed, err := l.Remove(ctx, addr)
			if err == nil {
				s.say("%s", optOutNews(removed, "This address is off the list now.", "This address was not on the list."))
			}
			return err
		})
	return root
}

func optOutNews(changed bool, yes, no string) string {
	if changed {
		return yes
	}
	return no
}

func optOutConfig(file string) (*config.Server, config.ServerPaths, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, config.ServerPaths{}, fmt.Errorf("find the home directory: %w", err)
	}
	cfg, _, err := readServerConfig(file, home)
	if err != nil {
		return nil, config.ServerPaths{}, err
	}
	return cfg, cfg.Paths(home), nil
}

// givenAddress reads an address from the command line or, for "-", from standard input.
func givenAddress(s *streams, arg string) (string, error) {
	if arg == "-" {
		text, err := inmail.ReadLimited(s.in, 4096)
		if err != nil {
			return "", fmt.Errorf("read the address: %w", err)
		}
		arg = string(text)
	}
	addr, err := mail.ParseAddress([]byte(strings.TrimSpace(arg)))
	if err != nil {
		return "", errors.New("write the address as name@host: mail is delivered to no other form")
	}
	return addr, nil
}
