package mix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/mail"
	"mixminion/delivery/mail/dkim"
	"mixminion/internal/config"
)

// MailOptions returns the form of the mails of an exit, with the templates and the keys that its section names. contact is the operator's
// address; base and home are what the files are relative to.
func MailOptions(c *config.Mail, contact, base, home string) (mail.Options, error) {
	o := mail.Options{
		ReturnAddress: string(c.ReturnAddress), AllowFrom: c.AllowFromAddress, FromTag: c.FromTag,
		Abuse: c.XAbuse, Comments: c.Comments, Disclaimer: c.Message, OptOut: string(c.OptOutAddress), Contact: contact,
	}
	// The default is in a template too, where the operator may change it.
	if subject := strings.TrimSpace(string(mail.ShippedTemplate(mail.TemplateSubject))); c.SubjectLine != subject {
		o.Subject = c.SubjectLine
	}
	var err error
	dir := c.TemplateDir.In(base, home)
	if dir != "" {
		if o.Templates, err = readTemplates(dir); err != nil {
			return mail.Options{}, fmt.Errorf("TemplateDir: %w", err)
		}
	}
	for _, twice := range []struct{ key, value, name string }{
		{"SubjectLine", o.Subject, mail.TemplateSubject}, {"Message", o.Disclaimer, mail.TemplateDisclaimer},
	} {
		if _, found := o.Templates[twice.name]; found && twice.value != "" {
			return mail.Options{}, fmt.Errorf("%s is given, and %s is there too; keep one of them", twice.key, filepath.Join(dir, twice.name))
		}
	}
	if o.Keys, err = dkimKeys(c, base, home); err != nil {
		return mail.Options{}, err
	}
	if _, err = mail.NewWriter(o); err != nil {
		var wrong *mail.TemplateError
		if errors.As(err, &wrong) {
			wrong.Name = filepath.Join(dir, wrong.Name)
		}
		return mail.Options{}, err
	}
	return o, nil
}

// A MailForm is what the mails of one exit look like.
type MailForm struct {
	Section string
	Config  *config.Mail
	Options func() (mail.Options, error)
}

// MailForms returns the form of the mails of each exit that writes some. home is what "~/" stands for.
func MailForms(c *config.Server, home string) (forms []MailForm) {
	contact, base := string(c.Main.ContactEmail), c.Paths(home).BaseDir
	if x := &c.DeliverySMTP; x.Enabled {
		forms = append(forms, MailForm{"Delivery/SMTP", &x.Mail, func() (mail.Options, error) { return MailOptions(&x.Mail, contact, base, home) }})
	}
	if x := &c.DeliveryMBOX; x.Enabled {
		forms = append(forms, MailForm{"Delivery/MBOX", &x.Mail, func() (mail.Options, error) { return mboxMail(x, contact, base, home) }})
	}
	return forms
}

// readTemplates reads the files of a directory whose names end as those of templates do. Others, which editors leave, count for nothing.
func readTemplates(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".txt" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if mail.ShippedTemplate(e.Name()) == nil {
			out[e.Name()] = nil // whoever made it thinks that it counts
			continue
		}
		if out[e.Name()], err = readUpTo(filepath.Join(dir, e.Name()), mail.MaxTemplate+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// maxKeyFile is more than any private key in PEM form has.
const maxKeyFile = 1 << 16

func dkimKeys(c *config.Mail, base, home string) (keys []*dkim.Key, err error) {
	domain := string(c.DKIMDomain)
	if domain == "" {
		_, domain, _ = strings.Cut(string(c.ReturnAddress), "@")
	}
	for _, k := range c.DKIMKey {
		file := k.File.In(base, home)
		data, err := readUpTo(file, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("DKIMKey: %w", err)
		}
		signer, err := dkim.ParseKey(data)
		clear(data)
		if err != nil {
			return nil, fmt.Errorf("DKIMKey: %s: %w", file, err)
		}
		key, err := dkim.New(domain, k.Selector, signer)
		if err != nil {
			return nil, fmt.Errorf("DKIMKey: %s: %w", file, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// readUpTo reads the first bytes of a plain file.
func readUpTo(name string, limit int64) (_ []byte, err error) {
	// A pipe would hold up the start of the mix.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is no plain file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// Notices returns what sends finished mails of the operator's own, of the domain of the exit, to one address each, without a sender in the
// envelope, so that nothing comes back. They go the way of the exit's mail, with its signatures. What is returned has an error only
// if it may go better another time: a mail that was refused for good is done with. Errors name no address.
func Notices(c *config.DeliverySMTP, base, home string, log *slog.Logger, now func() time.Time) (func(ctx context.Context, to string, data []byte) error, error) {
	cfg, err := TransportConfig(&c.Relay, base, home, log)
	if err != nil {
		return nil, err
	}
	transport, err := delivery.NewTransport(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := dkimKeys(&c.Mail, base, home)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, to string, data []byte) error {
		head, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
		head = data[:len(head)+4]
		var fields []byte
		for _, k := range keys {
			field, err := k.Sign(head, body, now().UTC().Truncate(time.Hour))
			if err != nil {
				return err
			}
			fields = append(fields, field...)
		}
		outcomes, err := delivery.SendOne(ctx, transport, delivery.Envelope{To: []string{to}}, append(fields, data...))
		if err == nil && outcomes[0].Status == delivery.Retry {
			err = fmt.Errorf("the mail server does not take the mail now: %s", outcomes[0].Reason)
		}
		return err
	}, nil
}
