package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/delivery/mail"
	"mixminion/delivery/optout"
	"mixminion/internal/config"
	"mixminion/mix"

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
	root.AddCommand(newOptOutReceive(s, configFile))
	return root
}

func newOptOutReceive(s *streams, configFile *string) *cobra.Command {
	var sender, maildir string
	cmd := &cobra.Command{
		Use:   "receive",
		Short: "Handle the mails that come to OptOutAddress",
		Long: "Reads a mail that has come to OptOutAddress from standard input, or those in a Maildir, which are then\n" +
			"removed. A request is answered with a mail that has a token in its subject; when that mail is answered\n" +
			"in turn, the address is put on the list. Everything else is passed over in silence: mails of programs,\n" +
			"bounces, lists, requests in the name of who is on the list already, and what is more than OptOutPerDay\n" +
			"or than two mails to one person in a day. Answers leave the way that [Delivery/SMTP] says.\n\n" +
			"The status is 75 if it should be tried again later, as mail servers expect. Nothing is said about who asked.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("sender") {
				sender = inmail.NoSender
			}
			return temporary(receiveOptOuts(cmd.Context(), s, *configFile, sender, maildir))
		},
	}
	cmd.Flags().StringVar(&sender, "sender", "", "the `ADDRESS` of the sender in the mail's envelope; without it, Return-Path says it")
	cmd.Flags().StringVar(&maildir, "maildir", "", "handle the mails in this Maildir `DIRECTORY`")
	cmd.MarkFlagsMutuallyExclusive("sender", "maildir")
	return cmd
}

func receiveOptOuts(ctx context.Context, s *streams, file, sender, maildir string) error {
	home, err := userHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	cfg, paths, err := optOutConfig(file)
	if err != nil {
		return err
	}
	c := &cfg.DeliverySMTP
	if !c.Enabled || c.OptOutAddress == "" {
		return errors.New("[Delivery/SMTP] OptOutAddress is not given, so there is nothing to receive")
	}
	send, err := mix.Notices(c, paths.BaseDir, home, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return err
	}
	list, err := optout.Open(paths.OptOutDir, time.Now, nil)
	if err != nil {
		return err
	}
	desk := &optout.Desk{List: list, Address: string(c.OptOutAddress), PerDay: c.OptOutPerDay, Send: send, Now: time.Now}
	handle := func(raw []byte) error {
		err := desk.Receive(ctx, raw, sender)
		if errors.Is(err, inmail.ErrMalformed) {
			return nil // whoever sent it would not be the one to hear of it
		}
		return err
	}
	if maildir != "" {
		return inmail.Maildir(ctx, maildir, optout.MaxMail, handle)
	}
	raw, err := inmail.ReadLimited(s.in, optout.MaxMail)
	if err != nil && !errors.Is(err, inmail.ErrTooLarge) {
		return err
	}
	return handle(raw)
}

func optOutNews(changed bool, yes, no string) string {
	if changed {
		return yes
	}
	return no
}

func optOutConfig(file string) (*config.Server, config.ServerPaths, error) {
	home, err := userHomeDir()
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
