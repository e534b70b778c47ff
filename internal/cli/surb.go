package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"time"

	"mixminion/client"
	"mixminion/internal/store/durable"
	"mixminion/message/keyring"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

const (
	// maxGenerated bounds how many reply blocks are made at once; nobody can keep more apart.
	maxGenerated = 10_000
	// maxLifetimeDays is longer than any mix promises to keep a key.
	maxLifetimeDays = 365
)

type generateOptions struct {
	to, identity, path, output string
	count, days                int
	binary                     bool
	passphrase                 passphrase
}

func newGenerateSURB(s *streams, configFile *string) *cobra.Command {
	var o generateOptions
	cmd := &cobra.Command{
		Use:     "generate-surb -t ADDRESS",
		Aliases: []string{"generate-surbs"},
		Short:   "Make reply blocks, so that others can answer you",
		Long: "Makes reply blocks (SURBs) that lead to your address. Whoever has one can send you one packet,\n" +
			"and learns neither your address nor the way. Only your keyring opens what comes back: it is\n" +
			"made when there is none, and mixminion decode needs it.\n\n" +
			"Who may not learn that two names are the same person needs an identity for each of them.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			lifetime, err := o.lifetime(u, cmd.Flags().Changed("lifetime"))
			if err != nil {
				return err
			}
			return u.generateSURBs(cmd.Context(), s, o, lifetime)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.to, "to", "t", "", "lead to `ADDRESS` in place of SURBAddress in your configuration")
	f.IntVarP(&o.count, "count", "n", 1, "make `N` reply blocks")
	f.StringVar(&o.identity, "identity", "", "make them for the identity `NAME`, in place of the one without a name")
	f.IntVar(&o.days, "lifetime", 0, "make them good for `DAYS` in place of SURBLifetime in your configuration")
	f.StringVarP(&o.path, "path", "P", "", "lead over a path like `SPEC` in place of four random mixes")
	f.BoolVarP(&o.binary, "binary", "b", false, "write them in binary, not as text")
	f.StringVarP(&o.output, "output", "o", "-", "write them to `FILE`; - is standard output")
	o.passphrase.register(cmd)
	return cmd
}

// lifetime is how long the reply blocks are to be good.
func (o *generateOptions) lifetime(u *user, given bool) (time.Duration, error) {
	if !given {
		return u.cfg.Security.SURBLifetime.Duration(), nil
	}
	if o.days < 1 || o.days > maxLifetimeDays {
		return 0, fmt.Errorf("--lifetime: reply blocks cannot be good for %d days; give a number from 1 to %d", o.days, maxLifetimeDays)
	}
	return time.Duration(o.days) * oneDay, nil
}

func (u *user) generateSURBs(ctx context.Context, s *streams, o generateOptions, lifetime time.Duration) error {
	if o.count < 1 || o.count > maxGenerated {
		return fmt.Errorf("--count: %d reply blocks cannot be made; give a number from 1 to %d", o.count, maxGenerated)
	}
	if o.to == "" {
		o.to = u.cfg.Security.SURBAddress
	}
	if o.to == "" {
		return errors.New("no address given: use -t ADDRESS, or set SURBAddress in your configuration")
	}
	to, err := client.ParseAddress(o.to)
	if err != nil {
		return fmt.Errorf("%q: %w", o.to, err)
	}
	if to.Type == packet.TypeDrop {
		return errors.New("a reply block must lead to an address: packets to drop never arrive")
	}
	if err := keyring.CheckIdentity(o.identity); err != nil {
		return fmt.Errorf("--identity: %w", err)
	}
	spec, err := u.pathSpec(o.path, "SURBPath", u.cfg.Security.SURBPath)
	if err != nil {
		return err
	}
	if o.binary && o.output == "-" && isTerminal(s.out) {
		return errors.New("binary reply blocks are not for a terminal: use -o FILE")
	}
	if err := s.checkStatus(); err != nil {
		return err
	}
	// Nobody else has to wait while a person thinks of a passphrase.
	_, password, err := u.keyringOrNew(ctx, s, o.passphrase)
	if err != nil {
		return err
	}
	defer clear(password)
	return u.locked(ctx, s, func() error {
		ring, err := u.Keyring(password)
		if err != nil {
			return err
		}
		defer ring.Wipe()
		key, changed, err := u.SURBKey(ring, o.identity, lifetime)
		if err != nil {
			return err
		}
		made, err := u.GenerateSURBs(ctx, o.count, to, key.Secret, spec, lifetime)
		if errors.Is(err, client.ErrSURBLifetime) {
			return fmt.Errorf("%w; use a longer --lifetime", err)
		}
		if err != nil {
			return err
		}
		for _, w := range made.Warnings {
			s.say("Warning: %v.", w)
		}
		// The key is safe before the first block is: an answer that nobody can open would be lost.
		if changed {
			if err := u.SaveKeyring(ring, password); err != nil {
				return err
			}
			s.say("Your keyring has a new key %s. Answers can be read until %s.", forIdentity(key.Identity), key.Expires.Format(time.DateOnly))
		}
		return o.write(s, made, key.Identity)
	})
}

func forIdentity(name string) string {
	if name == "" {
		return "for the identity without a name"
	}
	return fmt.Sprintf("for the identity %q", name)
}

func (o *generateOptions) write(s *streams, made *client.NewSURBs, identity string) error {
	data := packet.ArmorSURBs(made.SURBs)
	if o.binary {
		data = nil
		for _, b := range made.SURBs {
			data = b.AppendBinary(data)
		}
	}
	if err := writeOutput(s, o.output, data); err != nil {
		return err
	}
	for _, h := range made.Handles {
		if err := s.status("GENERATED_SURB %s", base64.StdEncoding.EncodeToString(h[:])); err != nil {
			return err
		}
	}
	s.say("Made %s %s, good until %s.", count(len(made.SURBs), "reply block"), forIdentity(identity),
		made.SURBs[0].Expires.Format("2006-01-02 15:04 MST"))
	return nil
}

// writeOutput writes data to standard output ("-") or to a file, which is readable for the user only and either whole or not there.
func writeOutput(s *streams, name string, data []byte) (err error) {
	if name == "-" {
		_, err := s.out.Write(data)
		return err
	}
	if info, err := os.Lstat(name); err != nil || info.Mode().IsRegular() {
		return durable.WriteFile(name, data, 0o600)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0) // a device, a pipe, or a link to a file
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(data)
	return err
}
