package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/delivery/mail"
	"mixminion/delivery/optout"
	"mixminion/gateway"
	"mixminion/internal/clock"
	"mixminion/internal/localsock"
	"mixminion/mix"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

// gatewaySocket is where a gateway takes mail from our own user, in the base directory.
const gatewaySocket = "gateway.sock"

func newGateway(s *streams, configFile *string) *cobra.Command {
	var sender string
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Hand a mail to the gateway of the mix that runs",
		Long: "Reads a mail that has come to the address of [Gateway] from standard input, and hands it to the mix that\n" +
			"runs: the text in it goes to the owner of the reply block in it. This is for mail servers that hand mail\n" +
			"to programs; the mix also takes it by LMTP and from a Maildir, see LMTPListen and Maildir.\n\n" +
			"The status is 75 if the mail should be tried again later, as mail servers expect. When it is 0, the mail was\n" +
			"taken: what can be sent of it will leave, even after a crash. Nothing is said about what could not.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("sender") {
				sender = inmail.NoSender
			}
			return handToGateway(cmd.Context(), s, *configFile, sender)
		},
	}
	cmd.Flags().StringVar(&sender, "sender", "", "the `ADDRESS` of the sender in the mail's envelope; without it, the mail itself says it")
	return cmd
}

func handToGateway(ctx context.Context, s *streams, file, sender string) error {
	cfg, paths, err := optOutConfig(file)
	if err != nil {
		return temporary(err)
	}
	c := &cfg.Gateway
	if !c.Enabled {
		return temporary(errors.New("[Gateway] is not enabled"))
	}
	raw, err := inmail.ReadLimited(s.in, int(c.MaximumSize))
	if errors.Is(err, inmail.ErrTooLarge) {
		return fmt.Errorf("the mail has more than %s", &c.MaximumSize)
	}
	if err != nil {
		return temporary(err)
	}
	switch _, err := mail.ParseAddress([]byte(sender)); {
	case err == nil || sender == inmail.NoSender:
	case !strings.Contains(sender, "@"):
		sender = "" // mail servers write a word for the empty sender: MAILER-DAEMON, for instance
	default:
		sender = inmail.NoSender
	}
	if sender == inmail.NoSender {
		m, err := inmail.Read(raw)
		if err != nil {
			return nil // to refuse it would have the mail server write to somebody who perhaps has not written
		}
		sender = m.From
	}
	err = gateway.Submit(ctx, filepath.Join(paths.BaseDir, gatewaySocket), sender, string(c.Address), raw)
	if errors.Is(err, gateway.ErrLater) {
		return temporary(err)
	}
	return err
}

// replies is the mix as a gateway sees it.
type replies struct{ mix *mix.Mix }

// Ready implements gateway.Network.
func (r replies) Ready() error { return r.mix.CanReply() }

// Usable implements gateway.Network.
func (r replies) Usable(b *packet.SURB) error { return gatewayError(r.mix.BlockUsable(b)) }

// Reply implements gateway.Network.
func (r replies) Reply(ctx context.Context, name []byte, payloads []packet.Payload, blocks []*packet.SURB) error {
	return gatewayError(r.mix.Reply(ctx, name, payloads, blocks))
}

func gatewayError(err error) error {
	switch {
	case errors.Is(err, mix.ErrReplied):
		return gateway.ErrSent
	case errors.Is(err, mix.ErrBlock), errors.Is(err, mix.ErrBlockUsed):
		return gateway.ErrUnusable
	}
	return err
}

// gatewayRole opens the gateway of the mix.
func (d *daemon) gatewayRole(ctx context.Context) (role, error) {
	c, paths := &d.cfg.Gateway, d.cfg.Paths(d.home)
	unwilling, err := optout.Open(paths.OptOutDir, time.Now, d.log)
	if err != nil {
		return role{}, err
	}
	cfg := gateway.Config{
		Network: replies{d.mix}, Address: string(c.Address), MaxMail: int(c.MaximumSize), PerSender: c.PerSender, PerDay: c.PerDay,
		Unwilling: unwilling.Has, Now: time.Now, Logger: d.log,
	}
	if c.Receipt {
		cfg.Receipt = d.notice
	}
	g, err := gateway.New(cfg)
	if err != nil {
		return role{}, err
	}
	var listeners []net.Listener
	l, err := localsock.Listen(filepath.Join(paths.BaseDir, gatewaySocket))
	if err != nil {
		d.s.say("Warning: %v; so mixminiond gateway will not reach the gateway%s.", err, mendSocket(err))
	} else {
		listeners = append(listeners, gateway.Private(l))
	}
	if c.LMTPListen.Host != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.LMTPListen.Address(0))
		if err != nil {
			return role{}, errors.Join(fmt.Errorf("listen for the gateway: %w", err), closeAll(listeners))
		}
		listeners = append(listeners, l)
	}
	maildir := c.Maildir.In(paths.BaseDir, d.home)
	return role{
		run:   func(ctx context.Context) error { return g.Run(ctx, maildir, clock.Real{}, listeners...) },
		close: func() error { return closeAll(listeners) },
	}, nil
}

// notice sends a mail of the operator's own, as the configuration in use says.
func (d *daemon) notice(ctx context.Context, to string, data []byte) error {
	d.mu.Lock()
	c := d.cfg.DeliverySMTP
	base := d.cfg.Paths(d.home).BaseDir
	d.mu.Unlock()
	if !c.Enabled {
		return errors.New("[Delivery/SMTP] is not enabled any more")
	}
	send, err := mix.Notices(&c, base, d.home, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return err
	}
	return send(ctx, to, data)
}
