package cli

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mixminion/delivery/mail"
	"mixminion/delivery/mail/dkim"
	"mixminion/internal/store/durable"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

func newMail(s *streams, configFile *string) *cobra.Command {
	root := &cobra.Command{
		Use:   "mail",
		Short: "Prepare and show the mails that the exit writes",
		Long: "Helps with what stands around a message that the exit mails: the operator's texts, and signatures by\n" +
			"which receivers tell that the mail comes from this exit.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), errors.New("say which command you want"))
		},
	}
	templates := &cobra.Command{
		Use:   "templates DIRECTORY",
		Short: "Write the texts around a message to files, for editing",
		Long: "Writes the texts that stand around every message to files in DIRECTORY: a subject, a disclaimer, notes\n" +
			"about messages that are not plain text, how to opt out. Files that are there already are kept. When\n" +
			"TemplateDir names the directory, the exit uses what is there, from the next reload on; a file that is\n" +
			"empty says nothing, and one that is removed is used as it was shipped. check finds mistakes.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return writeTemplates(s, args[0]) },
	}
	var form string
	sample := &cobra.Command{
		Use:   "sample",
		Short: "Print a mail as the exit would write it",
		Long: "Prints a mail to the operator as the exit would write it with the configuration as it is now, signed if\n" +
			"there are keys. The exit is [Delivery/SMTP] or, if that is not enabled, [Delivery/MBOX]. Nothing is sent.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return printSample(s, *configFile, message.Form(form)) },
	}
	sample.Flags().StringVar(&form, "form", string(message.FormPlaintext),
		"with a message of this `FORM`: plaintext, binary, encrypted, fragment or overcompressed")
	var useEd25519 bool
	key := &cobra.Command{
		Use:   "dkim-key FILE",
		Short: "Make a key that signs mail",
		Long: "Makes a private key for DKIM signatures and writes it to FILE, which must not be there yet. It is an RSA\n" +
			"key of 2048 bits, which all receivers know, unless you want another. To use it, name it in the\n" +
			"configuration (DKIMKey), publish what dkim-record prints, and reload when check finds it published.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return makeDKIMKey(s, args[0], useEd25519) },
	}
	key.Flags().BoolVar(&useEd25519, "ed25519", false, "make an Ed25519 key, which is short, and which some receivers do not know")
	record := &cobra.Command{
		Use:   "dkim-record",
		Short: "Print what to publish, so that receivers can check signatures",
		Long: "Prints a TXT record for each DKIMKey of the configuration, as a line for the zone file of the name\n" +
			"server. Where one has a form to fill in: the first word is the name, and the text between the double\n" +
			"quotes, put together, the contents. check tells whether the records are published.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return printRecords(s, *configFile) },
	}
	root.AddCommand(templates, sample, key, record)
	return root
}

func writeTemplates(s *streams, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	for _, name := range mail.TemplateNames() {
		file := filepath.Join(dir, name)
		if _, err := os.Lstat(file); err == nil {
			s.say("%s is there already; kept it.", file)
			continue
		}
		if err := durable.WriteFile(file, mail.ShippedTemplate(name), 0o644); err != nil {
			return fmt.Errorf("write a template: %w", err)
		}
		s.say("Wrote %s.", file)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	s.say("To use them, write into the section of the exit: TemplateDir: %s", abs)
	return nil
}

// exitForms returns the form of the mails of each configured exit, and the operator's address.
func exitForms(file string) (forms []mail.Options, contact string, err error) {
	home, err := userHomeDir()
	if err != nil {
		return nil, "", fmt.Errorf("find the home directory: %w", err)
	}
	cfg, file, err := readServerConfig(file, home)
	if err != nil {
		return nil, "", err
	}
	for _, form := range mix.MailForms(cfg, home) {
		o, err := form.Options()
		if err != nil {
			return nil, "", fmt.Errorf("%s: [%s]: %w", file, form.Section, err)
		}
		forms = append(forms, o)
	}
	if len(forms) == 0 {
		return nil, "", fmt.Errorf("%s: there is no exit that writes mail; enable [Delivery/SMTP] or [Delivery/MBOX]", file)
	}
	return forms, string(cfg.Main.ContactEmail), nil
}

func printSample(s *streams, file string, form message.Form) error {
	d := message.Delivered{Form: form, Body: make([]byte, packet.PayloadLen)}
	switch form {
	case message.FormPlaintext:
		d.Body = []byte("This is a sample: here stands the text of the message.\n")
	case message.FormBinary, message.FormFragment, message.FormOvercompressed:
	case message.FormEncrypted:
		d.Tag = new(packet.Tag)
	default:
		return fmt.Errorf("%q is no form of a message: take plaintext, binary, encrypted, fragment or overcompressed", string(form))
	}
	forms, contact, err := exitForms(file)
	if err != nil {
		return err
	}
	w, err := mail.NewWriter(forms[0])
	if err != nil {
		return err
	}
	m := mail.Message{To: []string{contact}, Form: form, Armored: d.Armor(), Date: time.Now()}
	if _, err := io.ReadFull(rand.Reader, m.ID[:]); err != nil {
		return fmt.Errorf("draw a Message-ID: %w", err)
	}
	data, err := w.Append(nil, m)
	if err != nil {
		return fmt.Errorf("a mail to %s: %w", contact, err)
	}
	_, err = s.out.Write(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))
	return err
}

func makeDKIMKey(s *streams, file string, useEd25519 bool) error {
	data, err := dkim.Generate(rand.Reader, useEd25519)
	if err != nil {
		return err
	}
	if err := createWhole(file, data); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; a key is never replaced: take another name", file)
	} else if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	s.say("Wrote %s.", file)
	s.say("To use it, write into the section of the exit: DKIMKey: mix%s %s", time.Now().UTC().Format("2006"), abs)
	return nil
}

func printRecords(s *streams, file string) error {
	forms, _, err := exitForms(file)
	if err != nil {
		return err
	}
	var lines []string
	for _, o := range forms {
		for _, k := range o.Keys {
			if line := k.ZoneLine() + "\n"; !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) == 0 {
		return errors.New("the configuration has no DKIMKey; mixminiond mail dkim-key makes a key")
	}
	_, err = io.WriteString(s.out, strings.Join(lines, ""))
	return err
}
