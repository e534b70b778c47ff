package checkup_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mixminion/internal/config"
	"mixminion/mix/checkup"
	"mixminion/packet"
)

// good is a machine on which all is well.
func good() checkup.Host {
	return checkup.Host{
		LookupHost: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("8.8.4.4")}, nil
		},
		Listen:      func(context.Context, netip.AddrPort) error { return nil },
		MailServers: []checkup.MailServer{{Exit: packet.TypeSMTP, Probe: func(context.Context) error { return nil }}},
		FreeBytes:   func(string) (int64, error) { return 1 << 40, nil },
		OpenFiles:   func() (uint64, error) { return 1 << 20, nil },
		ClockError:  func() error { return nil },
		MemoryLock:  func() error { return nil },
	}
}

func newConfig(t *testing.T, base string) *config.Server {
	t.Helper()
	cfg, err := config.ParseServer(fmt.Appendf(nil, "[Server]\nNickname: alder\nContact-Email: op@example.com\nMode: relay\nBaseDir: %s\n"+
		"[Incoming/MMTP]\nEnabled: yes\nHostname: alder.example.com\n[Outgoing/MMTP]\nEnabled: yes\n", base), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func mkdirs(t *testing.T, base string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(base, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestAllIsWell(t *testing.T) {
	base := t.TempDir()
	mkdirs(t, base)
	found := map[string]bool{}
	for _, f := range checkup.Run(t.Context(), newConfig(t, base), "/home/x", good()) {
		if f.Level != checkup.OK {
			t.Errorf("%+v", f)
		}
		found[f.About] = true
	}
	for _, about := range []string{"configuration", "files", "disk", "published name", "port", "clock", "open files", "memory", "mail server"} {
		if !found[about] {
			t.Errorf("nothing is said about: %s", about)
		}
	}
}

func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, h *checkup.Host, base string)
		level  checkup.Level
		about  string
		text   string
		mend   string
	}{
		"no directory": {func(t *testing.T, _ *checkup.Host, base string) {
			if err := os.RemoveAll(base); err != nil {
				t.Fatal(err)
			}
		}, checkup.Note, "files", "first start", ""},
		"base directory is a file": {func(t *testing.T, _ *checkup.Host, base string) {
			if err := errors.Join(os.RemoveAll(base), os.WriteFile(base, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, checkup.Problem, "files", "no directory", "BaseDir"},
		"base directory of 0.0.8": {func(t *testing.T, _ *checkup.Host, base string) {
			if err := os.WriteFile(filepath.Join(base, "version"), []byte("1001"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, checkup.Problem, "files", "belongs to a server of Mixminion 0.0.8", "mixminiond import"},
		"open directory": {func(t *testing.T, _ *checkup.Host, base string) {
			if err := os.Chmod(base, 0o755); err != nil {
				t.Fatal(err)
			}
		}, checkup.Warning, "files", "others may look into", "chmod 700"},
		"open key": {func(t *testing.T, _ *checkup.Host, base string) {
			if err := os.WriteFile(filepath.Join(base, "keys", "identity.key"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, checkup.Problem, "files", "others may read", "chmod 600"},
		"damaged identity": {func(t *testing.T, _ *checkup.Host, base string) {
			if err := os.WriteFile(filepath.Join(base, "keys", "identity.key"), []byte("no key"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, checkup.Problem, "identity", "identity.key", "backup"},
		"lost identity": {func(t *testing.T, _ *checkup.Host, base string) {
			if err := os.Mkdir(filepath.Join(base, "keys", "key_0001"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, checkup.Problem, "identity", "missing", "backup"},
		"full disk": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.FreeBytes = func(string) (int64, error) { return 5 << 20, nil }
		}, checkup.Problem, "disk", "only 5M are free", "make room"},
		"nearly full disk": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.FreeBytes = func(string) (int64, error) { return 132<<20 - 1, nil }
		}, checkup.Problem, "disk", "with less than 132M every packet is rejected", "make room"},
		"small disk": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.FreeBytes = func(string) (int64, error) { return 132 << 20, nil }
		}, checkup.Warning, "disk", "only 132M are free", "MaxDisk"},
		"as much as MaxDisk": {func(t *testing.T, _ *checkup.Host, base string) {
			queues := filepath.Join(base, "work", "queues")
			name := filepath.Join(queues, "0000000001.seg")
			if err := errors.Join(os.MkdirAll(queues, 0o700), os.WriteFile(name, nil, 0o600), os.Truncate(name, 10<<30)); err != nil {
				t.Fatal(err)
			}
		}, checkup.Warning, "disk", "take 10G, and with a MaxDisk of 10G hardly any packet is taken", "raise MaxDisk"},
		"unknown room": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.FreeBytes = func(string) (int64, error) { return 0, errors.ErrUnsupported }
		}, checkup.Note, "disk", "cannot tell", ""},
		"unknown name": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.LookupHost = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
		}, checkup.Problem, "published name", "alder.example.com has no address", "A record"},
		"private name": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.LookupHost = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.168.1.7"), netip.MustParseAddr("::1")}, nil
			}
		}, checkup.Warning, "published name", "192.168.1.7, ::1", "public address"},
		"port in use": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.Listen = func(context.Context, netip.AddrPort) error { return fmt.Errorf("listen: %w", syscall.EADDRINUSE) }
		}, checkup.Problem, "port", "already", "ListenPort"},
		"the mix runs": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.Listen = func(context.Context, netip.AddrPort) error { return fmt.Errorf("listen: %w", syscall.EADDRINUSE) }
			h.Running = true
		}, checkup.OK, "port", "this mix runs", ""},
		"low port": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.Listen = func(context.Context, netip.AddrPort) error { return fmt.Errorf("listen: %w", syscall.EACCES) }
		}, checkup.Problem, "port", "may not listen", "1024"},
		"foreign address": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.Listen = func(context.Context, netip.AddrPort) error { return fmt.Errorf("listen: %w", syscall.EADDRNOTAVAIL) }
		}, checkup.Problem, "port", "no address of this machine", "ListenIP"},
		"other trouble with the port": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.Listen = func(context.Context, netip.AddrPort) error { return errors.New("broken") }
		}, checkup.Problem, "port", "broken", "ListenIP"},
		"clock": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.ClockError = func() error { return errors.New("nothing keeps it right") }
		}, checkup.Warning, "clock", "nothing keeps", "NTP"},
		"few files": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.OpenFiles = func() (uint64, error) { return 256, nil }
		}, checkup.Warning, "open files", "the limit is 256", "LimitNOFILE"},
		"swap": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.MemoryLock = func() error { return errors.New("may be swapped") }
		}, checkup.Warning, "memory", "may be swapped", ""},
		"mail server": {func(_ *testing.T, h *checkup.Host, _ string) {
			h.MailServers[0].Probe = func(context.Context) error { return errors.New("connection refused") }
		}, checkup.Problem, "mail server", "connection refused", "SMTPServer"},
	} {
		t.Run(name, func(t *testing.T) {
			base := filepath.Join(t.TempDir(), "base")
			mkdirs(t, base)
			host := good()
			c.change(t, &host, base)
			var got []string
			for _, f := range checkup.Run(t.Context(), newConfig(t, base), "/home/x", host) {
				if f.Level == c.level && f.About == c.about && strings.Contains(f.Text, c.text) && strings.Contains(f.Mend, c.mend) {
					return
				}
				got = append(got, fmt.Sprintf("%v %s: %s (%s)", f.Level, f.About, f.Text, f.Mend))
			}
			t.Errorf("not found; there is\n%s", strings.Join(got, "\n"))
		})
	}
}

// Name servers and mail servers that do not answer take their time together.
func TestServersAreAskedTogether(t *testing.T) {
	base := t.TempDir()
	mkdirs(t, base)
	var asked sync.WaitGroup
	asked.Add(3)
	errTogether := errors.New("all were asked")
	together := func(ctx context.Context) error {
		asked.Done()
		all := make(chan struct{})
		go func() {
			asked.Wait()
			close(all)
		}()
		select {
		case <-all:
			return errTogether
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	host := good()
	host.LookupHost = func(ctx context.Context, _ string) ([]netip.Addr, error) { return nil, together(ctx) }
	host.MailServers = []checkup.MailServer{{Exit: packet.TypeSMTP, Probe: together}, {Exit: packet.TypeMBOX, Probe: together}}
	var mailServers []string
	for _, f := range checkup.Run(t.Context(), newConfig(t, base), "/home/x", host) {
		if f.About == "mail server" {
			mailServers = append(mailServers, f.Text)
		}
	}
	if want := errTogether.Error(); !slices.Equal(mailServers, []string{want, want}) {
		t.Errorf("found %q", mailServers)
	}
}

// With what the machine really says there must be an answer to everything.
func TestRealMachine(t *testing.T) {
	cfg := newConfig(t, t.TempDir())
	cfg.IncomingMMTP.Hostname = "127.0.0.1"
	for _, f := range checkup.Run(t.Context(), cfg, "/home/x", checkup.Host{}) {
		if f.Text == "" || f.About == "" {
			t.Errorf("%+v", f)
		}
	}
}
