package checkup

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"

	"mixminion/delivery/mail/dkim"
	"mixminion/internal/config"
	"mixminion/mix"
)

// mails looks at what the exits write: the operator's texts, and whether receivers can check its signatures.
func (c *checker) mails() {
	seen := map[string]bool{}
	var records []*dkim.Key
	for _, form := range mix.MailForms(c.cfg, c.home) {
		o, err := form.Options()
		if err != nil {
			c.add(Problem, "mail form", "correct it; a reload with it would be refused", "[%s]: %v", form.Section, err)
			continue
		}
		own := "as shipped"
		if form.Config.TemplateDir != "" {
			own = "from " + form.Config.TemplateDir.In(c.paths.BaseDir, c.home)
		}
		c.add(OK, "mail form", "", "[%s]: the texts around messages are %s", form.Section, own)
		if o.OptOut == "" && form.Config == &c.cfg.DeliverySMTP.Mail {
			c.add(Note, "opt-out", "", "OptOutAddress is not given, so no mail says how to get no more of them")
		}
		c.keyFiles(form.Config)
		if len(o.Keys) > 0 && !slices.ContainsFunc(o.Keys, (*dkim.Key).Everywhere) {
			c.add(Warning, "DKIM", "add an RSA key: mixminiond mail dkim-key FILE", "there is no RSA key in [%s], and not all receivers know Ed25519", form.Section)
		}
		for _, k := range o.Keys {
			if name := k.RecordName() + k.Record(); !seen[name] {
				seen[name] = true
				records = append(records, k)
			}
		}
	}
	c.records(records)
}

// records looks for all keys at once: a name server that does not answer costs its time once.
func (c *checker) records(keys []*dkim.Key) {
	ctx, cancel := context.WithTimeout(c.ctx, namePatience)
	defer cancel()
	texts, errs := make([][]string, len(keys)), make([]error, len(keys))
	var all sync.WaitGroup
	for i, k := range keys {
		all.Go(func() { texts[i], errs[i] = c.host.LookupTXT(ctx, k.RecordName()) })
	}
	all.Wait()
	for i, k := range keys {
		c.record(k, texts[i], errs[i])
	}
}

// record says whether the name server has a key.
func (c *checker) record(k *dkim.Key, records []string, err error) {
	const about, mend = "DKIM", "publish what mixminiond mail dkim-record prints"
	name := k.RecordName()
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		c.add(Problem, about, mend, "there is no TXT record %s, so receivers cannot check the signatures", name)
	case err != nil:
		c.add(Warning, about, "", "cannot tell whether the record %s is published: %v", name, err)
	default:
		if err := k.CheckRecord(records); err != nil {
			c.add(Problem, about, mend, "%s: %v", name, err)
			return
		}
		c.add(OK, about, "", "%s has the key", name)
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
