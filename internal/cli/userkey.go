package cli

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"

	"mixminion/client"
	"mixminion/message"

	"github.com/spf13/cobra"
)

// maxPublicKey bounds a file with a public key; there may be text around it.
const maxPublicKey = 1 << 20

type generateKeyOptions struct {
	output     string
	passphrase passphrase
}

func newGenerateKey(s *streams, configFile *string) *cobra.Command {
	var o generateKeyOptions
	cmd := &cobra.Command{
		Use:   "generate-key",
		Short: "Make a key that others can encrypt messages to",
		Long: "Makes an RSA key and writes its public half, in PEM form. Whoever has that can send you messages\n" +
			"that no exit and no mail server can read: mixminion send --encrypt-to FILE. Only you can open\n" +
			"them, with mixminion decode.\n\n" +
			"The private half stays in your home directory, under the passphrase of your keyring, which is\n" +
			"made when there is none. Make a new key as often as you like: the old ones are kept, so that\n" +
			"what was encrypted to them can still be read.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := openUser(s, *configFile)
			if err != nil {
				return err
			}
			return u.generateKey(cmd.Context(), s, o)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "-", "write the public half to `FILE`; - is standard output")
	o.passphrase.register(cmd)
	return cmd
}

func (u *user) generateKey(ctx context.Context, s *streams, o generateKeyOptions) error {
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
		exists, err := u.HasKeyring()
		if err != nil {
			return err
		}
		if !exists {
			// It holds no secret yet. But now there is one passphrase for all that is in this directory.
			if err := u.SaveKeyring(ring, password); err != nil {
				return err
			}
		}
		key, err := u.GenerateUserKey(password)
		if err != nil {
			return err
		}
		s.say("Made the key %s. Give away its public half; mixminion decode uses the private one.", key.Name)
		if err := writeOutput(s, o.output, key.PEM()); err != nil {
			return fmt.Errorf("%w. The key was made: you find its public half in keys/user-%s.pub in your home directory", err, key.Name)
		}
		return nil
	})
}

// keys opens all that messages may be encrypted to. A user key that does not open is told of, and stops no answer from being read.
func (u *user) keys(ctx context.Context, s *streams, p passphrase) (message.Keys, error) {
	ring, password, err := u.keyring(ctx, s, p)
	if err != nil {
		return message.Keys{}, err
	}
	defer func() { clear(password) }()
	keys := u.Keys(ring)
	keys.Private, err = u.OpenUserKeys(password)
	if errors.Is(err, client.ErrUserKeyPassword) && len(password) == 0 {
		// The keyring has no passphrase or is gone, so nobody was asked for one.
		ask, _, askErr := p.source(ctx, s)
		if askErr == nil {
			password, askErr = ask("Passphrase of your keys: ")
		}
		if askErr != nil {
			return message.Keys{}, askErr
		}
		keys.Private, err = u.OpenUserKeys(password)
	}
	if err != nil {
		s.warn("%v", err)
	}
	return keys, nil
}

// readPublicKey reads what --encrypt-to names; nil if it names nothing.
func readPublicKey(s *streams, name string) (*rsa.PublicKey, error) {
	if name == "" {
		return nil, nil
	}
	text, err := readLimited(name, maxPublicKey)
	if err != nil {
		return nil, fmt.Errorf("--encrypt-to: %w", err)
	}
	key, err := client.ParseUserKey(text)
	if err != nil {
		return nil, fmt.Errorf("--encrypt-to %s: %w", name, err)
	}
	s.say("Only the owner of the key %s will be able to read the message and its headers.", key.Name)
	return key.Public, nil
}
