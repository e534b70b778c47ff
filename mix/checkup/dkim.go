package checkup

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"

	"mixminion/delivery/mail/dkim"
	"mixminion/internal/config"
	"mixminion/mix"
)

// mail looks at what the exit writes: the operator's texts, and whether receivers can check its signatures.
func (c *checker) mail() {
	if !c.cfg.DeliverySMTP.Enabled {
		return
	}
	section := &c.cfg.DeliverySMTP.Mail
	base := c.paths.BaseDir
	o, err := mix.MailOptions(section, string(c.cfg.Main.ContactEmail), base, c.home)
	if err != nil {
		c.add(Problem, "mail form", "correct it; a reload with it would be refused", "%v", err)
		return
	}
	own := "as shipped"
	if section.TemplateDir != "" {
		own = "from " + section.TemplateDir.In(base, c.home)
	}
	c.add(OK, "mail form", "", "the texts around messages are %s", own)
	if o.OptOut == "" {
		c.add(Note, "opt-out", "", "OptOutAddress is not given, so no mail says how to get no more of them")
	}
	c.keyFiles(section)
	if len(o.Keys) > 0 && !slices.ContainsFunc(o.Keys, (*dkim.Key).Everywhere) {
		c.add(Warning, "DKIM", "add an RSA key: mixminiond mail dkim-key FILE", "there is no RSA key, and not all receivers know Ed25519")
	}
	for _, k := range o.Keys {
		name := k.RecordName()
		mend := "publish what mixminiond mail dkim-record prints"
		ctx, cancel := context.WithTimeout(c.ctx, patience)
		records, err := c.host.LookupTXT(ctx, name)
		cancel()
		var dns *net.DNSError
		switch {
		case errors.As(err, &dns) && dns.IsNotFound:
			c.add(Problem, "DKIM", mend, "there is no TXT record %s, so receivers cannot check the signatures", name)
		case err != nil:
			c.add(Warning, "DKIM", "", "cannot tell whether the record %s is published: %v", name, err)
		default:
			if err := k.CheckRecord(records); err != nil {
				c.add(Problem, "DKIM", mend, "%s: %v", name, err)
				continue
			}
			c.add(OK, "DKIM", "", "%s has the key", name)
		}
	}
}

// keyFiles looks at who may read the keys that sign mail.
func (c *checker) keyFiles(section *config.Mail) {
	for _, k := range section.DKIMKey {
		file := k.File.In(c.paths.BaseDir, c.home)
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
			c.add(Problem, "DKIM", "chmod 600 "+file+", and think about who could have read it", "others may read the private key %s", file)
		}
	}
}
