package checkup_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mixminion/delivery/mail/dkim"
	"mixminion/internal/config"
	"mixminion/mix"
	"mixminion/mix/checkup"
)

// withExit is the configuration of newConfig with an exit.
func withExit(t *testing.T, base, more string) *config.Server {
	t.Helper()
	text := append(config.Format(newConfig(t, base)), "[Delivery/SMTP]\nEnabled: yes\nSMTPServer: localhost\nReturnAddress: nobody@alder.example.com\n"...)
	cfg, err := config.ParseServer(append(text, more...), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const mbox = "[Delivery/MBOX]\nEnabled: yes\nSMTPServer: localhost\nReturnAddress: a@b.example\nAddressFile: users\nRemoveContact: op@b.example\n"

func TestMailForm(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	mkdirs(t, base)
	data, err := dkim.Generate(rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"dkim.key": data, "disclaimer.txt": []byte("a\n{b}\n"), "damaged.key": nil} {
		if err := os.WriteFile(filepath.Join(base, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(base, "texts"), 0o700); err != nil {
		t.Fatal(err)
	}
	signed := withExit(t, base, "DKIMKey: a dkim.key\n")
	o, err := mix.MailOptions(&signed.DeliverySMTP.Mail, "op@example.com", base, "/home/x")
	if err != nil {
		t.Fatal(err)
	}
	record := func(string) ([]string, error) { return []string{"v=spf1 -all", o.Keys[0].Record()}, nil }
	for name, c := range map[string]struct {
		more   string
		lookup func(string) ([]string, error)
		mode   os.FileMode
		level  checkup.Level
		about  string
		text   string
		mend   string
	}{
		"as shipped":     {"", nil, 0o600, checkup.OK, "mail form", "as shipped", ""},
		"own texts":      {"TemplateDir: texts\n", nil, 0o600, checkup.OK, "mail form", "from " + filepath.Join(base, "texts"), ""},
		"users":          {mbox, nil, 0o600, checkup.OK, "mail form", "[Delivery/MBOX]: ", ""},
		"users' texts":   {mbox + "TemplateDir: .\n", nil, 0o600, checkup.Problem, "mail form", "[Delivery/MBOX]: ", "reload"},
		"no opt-out":     {"", nil, 0o600, checkup.Note, "opt-out", "OptOutAddress", ""},
		"bad template":   {"TemplateDir: .\n", nil, 0o600, checkup.Problem, "mail form", "disclaimer.txt:2: ", "reload"},
		"no key":         {"DKIMKey: a damaged.key\n", nil, 0o600, checkup.Problem, "mail form", "damaged.key", "reload"},
		"published":      {"DKIMKey: a dkim.key\n", record, 0o600, checkup.OK, "DKIM", "a._domainkey.alder.example.com has the key", ""},
		"only Ed25519":   {"DKIMKey: a dkim.key\n", record, 0o600, checkup.Warning, "DKIM", "no RSA key", "dkim-key"},
		"not published":  {"DKIMKey: a dkim.key\n", func(string) ([]string, error) { return nil, &net.DNSError{IsNotFound: true} }, 0o600, checkup.Problem, "DKIM", "there is no TXT record a._domainkey", "dkim-record"},
		"something else": {"DKIMKey: a dkim.key\n", func(string) ([]string, error) { return []string{"hello"}, nil }, 0o600, checkup.Problem, "DKIM", "no DKIM record", "dkim-record"},
		"other key":      {"DKIMKey: a dkim.key\n", func(string) ([]string, error) { return []string{"v=DKIM1; k=ed25519; p=AAAA"}, nil }, 0o600, checkup.Problem, "DKIM", "another key", "dkim-record"},
		"no network":     {"DKIMKey: a dkim.key\n", func(string) ([]string, error) { return nil, errors.New("network is down") }, 0o600, checkup.Warning, "DKIM", "cannot tell", ""},
		"open key":       {"DKIMKey: a dkim.key\n", record, 0o644, checkup.Problem, "DKIM", "others may read", "chmod 600"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Chmod(filepath.Join(base, "dkim.key"), c.mode); err != nil {
				t.Fatal(err)
			}
			host := good()
			host.LookupTXT = func(_ context.Context, name string) ([]string, error) {
				if c.lookup == nil {
					t.Errorf("looks up %s", name)
					return nil, errors.New("unexpected")
				}
				return c.lookup(name)
			}
			var got []string
			for _, f := range checkup.Run(t.Context(), withExit(t, base, c.more), "/home/x", host) {
				if f.Level == c.level && f.About == c.about && strings.Contains(f.Text, c.text) && strings.Contains(f.Mend, c.mend) {
					return
				}
				got = append(got, fmt.Sprintf("%v %s: %s (%s)", f.Level, f.About, f.Text, f.Mend))
			}
			t.Errorf("not found; there is\n%s", strings.Join(got, "\n"))
		})
	}
}

// A name server that does not answer takes its time once, however many keys there are.
func TestKeysAreLookedUpTogether(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	mkdirs(t, base)
	for _, name := range []string{"a.key", "b.key"} {
		data, err := dkim.Generate(rand.Reader, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var asked sync.WaitGroup
	asked.Add(2)
	host := good()
	host.LookupTXT = func(ctx context.Context, _ string) ([]string, error) {
		asked.Done()
		all := make(chan struct{})
		go func() {
			asked.Wait()
			close(all)
		}()
		select {
		case <-all:
			return nil, errors.New("both were asked for")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n := 0
	for _, f := range checkup.Run(t.Context(), withExit(t, base, "DKIMKey: a a.key\nDKIMKey: b b.key\n"), "/home/x", host) {
		if strings.Contains(f.Text, "both were asked for") {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d keys were looked up together", n)
	}
}
