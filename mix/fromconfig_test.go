package mix_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/delivery/reassemble"
	"mixminion/directory"
	"mixminion/internal/config"
	"mixminion/mix"
	"mixminion/mmtp"
	"mixminion/packet"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const leastConfig = `
[Server]
BaseDir: /var/mix
Nickname: tested
Contact-Email: operator@example.com
[Incoming/MMTP]
Enabled: yes
Hostname: mix.example.com
`

// standardLimits are the defaults of the configuration, which package mmtp has, too.
var standardLimits = mmtp.Limits{
	MaxConnections: mmtp.DefaultMaxConnections, MaxPerSource: 16, Rate: 60, TotalRate: 6000,
	HandshakeTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute, PacketTimeout: 2 * time.Minute,
}

var otherLimits = mmtp.Limits{
	MaxConnections: 200, MaxPerSource: 8, Rate: 30, TotalRate: 600,
	HandshakeTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute, PacketTimeout: time.Minute,
}

const fullConfig = `
[Server]
BaseDir: ~/mix
KeyDir: secret
QueueDir: /queues
Nickname: tested
Contact-Email: operator@example.com
Contact-Fingerprint: 0123 4567
Comments: a comment
MyFamily: 0123456789abcdef0123456789abcdef01234567, south
IdentityKeyBits: 3072
PublicKeyLifetime: 20 days
PublicKeyOverlap: 12 hours
MixAlgorithm: DynamicPool
MixInterval: 10 minutes
MixJitter: 10%
MixPoolRate: 60%
MixPoolMinSize: 7
MixCover: 33
StatsFile: numbers
StatsInterval: 12 hours
LogStats: no
MaxDisk: 2G
Timeout: 3 minutes
MaxBandwidth: 500K
MaxBandwidthSpike: 1M
[Incoming/MMTP]
Enabled: yes
Hostname: mix.example.com
Port: 1234
ListenIP6: ::
MaxConnections: 200
MaxConnectionsPerSource: 8
ConnectionRate: 30
TotalConnectionRate: 600
HandshakeTimeout: 10 seconds
PacketTimeout: 1 minute
[Outgoing/MMTP]
Enabled: yes
IPv4: no
IPv6: yes
PrivateAddresses: yes
Retry: 1 hour for 3 hours
MaxConnections: 5
[Delivery/SMTP]
Enabled: yes
SMTPServer: localhost
ReturnAddress: nobody@example.com
MaximumSize: 200K
MaximumRecipients: 3
AllowFromAddress: no
Retry: 2 hours for 4 hours
[Delivery/Fragmented]
Enabled: yes
MaximumSize: 1M
MaximumInterval: 3 days
MaximumStorage: 64M
MaximumMessages: 500
`

func fromConfig(t *testing.T, text string) (mix.Config, error) {
	t.Helper()
	c, err := config.ParseServer([]byte(text), "mixminiond.conf")
	if err != nil {
		t.Fatal(err)
	}
	return mix.FromConfig(c, "/home/op", "Mixminion 9", slog.New(slog.DiscardHandler))
}

// plain compares what is not a function or an interface.
var plain = cmpopts.IgnoreFields(mix.Config{}, "Exits", "Directories", "Clock", "Logger", "Provider", "Watch")

func TestFromConfig(t *testing.T) {
	ipv4 := directory.MMTPProtocols(true, false)
	for name, c := range map[string]struct {
		text string
		want mix.Config
	}{
		// The defaults of the house: binomial pool, 5 minutes and a fifth more or less, 16 stay, 40 % leave, keys for 30 days and 48 hours.
		"defaults": {leastConfig, mix.Config{
			KeyDir: "/var/mix/keys", QueueDir: filepath.Join("/var/mix", "work", "queues"), BlocksDir: filepath.Join("/var/mix", "gateway"),
			Nickname: "tested", Contact: "operator@example.com", Software: "Mixminion 9",
			StatsFile: filepath.Join("/var/mix", "stats"), StatsInterval: day, LogStats: true,
			IdentityKeyBits: 2048, KeyLifetime: 30 * day, KeyOverlap: 2 * day,
			Hostname: "mix.example.com", Port: 48099, IncomingLinks: ipv4, OutgoingLinks: ipv4, Incoming: standardLimits,
			Rule:     mix.Rule{Algorithm: mix.Binomial, MinSize: 16, Rate: 0.4},
			Interval: 5 * time.Minute, Jitter: 0.2, Cover: 120, MaxDisk: 10 << 30,
			OutgoingRetry: outgoingDefault(), MaxOutgoing: 16,
		}},
		"all": {fullConfig, mix.Config{
			KeyDir: "/home/op/mix/secret", QueueDir: "/queues", BlocksDir: filepath.Join("/home/op/mix", "gateway"),
			Nickname: "tested", Contact: "operator@example.com", ContactFingerprint: "0123 4567", Comments: "a comment",
			Family:    []string{"0123456789ABCDEF0123456789ABCDEF01234567", "south"},
			StatsFile: filepath.Join("/home/op/mix", "numbers"), StatsInterval: 12 * time.Hour,
			Software: "Mixminion 9", IdentityKeyBits: 3072, KeyLifetime: 20 * day, KeyOverlap: 12 * time.Hour,
			Hostname: "mix.example.com", Port: 1234, IncomingLinks: directory.MMTPProtocols(true, true),
			OutgoingLinks: directory.MMTPProtocols(false, true), DialPrivate: true, Incoming: otherLimits, Bandwidth: 500 << 10, BandwidthSpike: 1 << 20,
			Rule:     mix.Rule{Algorithm: mix.Cottrell, MinSize: 7, Rate: 0.6},
			Interval: 10 * time.Minute, Jitter: 0.1, Cover: 33, MaxDisk: 2 << 30, Relay: true,
			OutgoingRetry: mix.Schedule{time.Hour, time.Hour, time.Hour}, MaxOutgoing: 5,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fromConfig(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, plain); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// outgoingDefault is "every 1 hour for 1 day, 7 hours for 5 days", of which the last pause may end a little later.
func outgoingDefault() (s mix.Schedule) {
	for range 24 {
		s = append(s, time.Hour)
	}
	for total := time.Duration(0); total < 5*day; total += 7 * time.Hour {
		s = append(s, 7*time.Hour)
	}
	return s
}

func TestAlgorithmsOfTheConfiguration(t *testing.T) {
	for text, want := range map[string]mix.Algorithm{
		"BinomialDynamicPool": mix.Binomial, "DynamicPool": mix.Cottrell, "Timed": mix.Timed, "timed": mix.Timed,
	} {
		got, err := fromConfig(t, strings.Replace(leastConfig, "Nickname", "MixAlgorithm: "+text+"\nNickname", 1))
		if err != nil || got.Rule.Algorithm != want {
			t.Errorf("%s: %v, %v", text, got.Rule.Algorithm, err)
		}
	}
}

func TestExitsOfTheConfiguration(t *testing.T) {
	c, err := fromConfig(t, fullConfig)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Exits) != 2 {
		t.Fatalf("%d exits", len(c.Exits))
	}
	var f directory.Fields
	for i, want := range []mix.ExitConfig{
		{Type: packet.TypeSMTP, Retry: mix.Schedule{2 * time.Hour, 2 * time.Hour}},
		{Type: packet.TypeFragment, Gather: &mix.Gather{
			Limits: reassemble.Limits{Size: 1 << 20, Bytes: 64 << 20, Messages: 500}, Wait: 3 * day,
		}},
	} {
		got := c.Exits[i]
		if got.Exit == nil && got.Gather == nil || got.Advertise == nil {
			t.Fatalf("exit %d is not whole", i)
		}
		got.Advertise(&f)
		if got.Type == packet.TypeSMTP && got.Upkeep == nil {
			t.Error("nobody looks after the counts of the opt-out desk")
		}
		got.Exit, got.Advertise, got.Upkeep = nil, nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(&directory.Delivery{MaximumSize: 200, MaximumRecipients: 3}, f.SMTP); diff != "" {
		t.Error(diff)
	}
	// A megabyte is 37 chunks of 28 KB, and some more for what may get lost.
	if f.Fragmented == nil || f.Fragmented.MaximumFragments < 37 || f.Fragmented.MaximumFragments > 74 {
		t.Errorf("%+v", f.Fragmented)
	}

	c, err = fromConfig(t, strings.Replace(fullConfig, "SMTPServer", "Advertise: no\nSMTPServer", 1))
	if err != nil || c.Exits[0].Advertise != nil {
		t.Errorf("an exit that should be silent is advertised: %v", err)
	}
}

func TestMBOXOfTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	text := fullConfig + `[Delivery/MBOX]
Enabled: yes
AddressFile: ` + file + `
RemoveContact: stop@example.com
ReturnAddress: nobody@example.com
SMTPServer: localhost
MaximumSize: 64K
Retry: 1 hour for 2 hours
`
	if _, err := fromConfig(t, text); err == nil || !strings.Contains(err.Error(), "[Delivery/MBOX]: AddressFile") {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(file, []byte("bob bob@home.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fromConfig(t, text); err == nil || !strings.Contains(err.Error(), "line 1") || strings.Contains(err.Error(), "home.example") {
		t.Errorf("with a mistake: %v", err)
	}
	if err := os.WriteFile(file, []byte("bob: bob@home.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := fromConfig(t, text)
	if err != nil || len(c.Exits) != 3 {
		t.Fatalf("%d exits, %v", len(c.Exits), err)
	}
	x := c.Exits[1]
	if x.Type != packet.TypeMBOX || x.Exit == nil || len(x.Retry) != 2 {
		t.Errorf("%+v", x)
	}
	var f directory.Fields
	x.Advertise(&f)
	if diff := cmp.Diff(&directory.Delivery{MaximumSize: 64, AllowFrom: true}, f.MBOX); diff != "" {
		t.Error(diff)
	}
}

func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	text := strings.Replace(fullConfig, "SMTPServer", "SMTPTLS: implicit\nSMTPUser: me\nSMTPPasswordFile: "+file+"\nSMTPServer", 1)
	if _, err := fromConfig(t, text); err == nil || !strings.Contains(err.Error(), "[Delivery/SMTP]: SMTPPasswordFile") {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(file, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fromConfig(t, text); err != nil {
		t.Error(err)
	}
}

// A blacklist with a mistake stops the start, with its line, and stops a reload, too.
func TestBlacklistFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "blacklist")
	text := strings.Replace(fullConfig, "SMTPServer", "BlacklistFile: "+file+"\nSMTPServer", 1)
	if _, err := fromConfig(t, text); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "[Delivery/SMTP]: BlacklistFile") {
		t.Errorf("without the file: %v", err)
	}
	for rules, says := range map[string]string{
		"Deny user postmaster\n":              "",
		"Deny user a\nDeny pattern /(?=a)/\n": file + ": line 2: ",
	} {
		if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := fromConfig(t, text)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error %v, want %q", rules, err, says)
		}
	}
}

func TestTransportsOfTheConfiguration(t *testing.T) {
	for lines, says := range map[string]string{
		"SMTPServer: localhost\nSMTPServer: [::1]:2525":   "",
		"SMTPServer: localhost\nSMTPServer: localhost:25": "is given twice",
		"SendmailCommand: /nonexistent/sendmail":          "mail command",
	} {
		_, err := fromConfig(t, strings.Replace(fullConfig, "SMTPServer: localhost", lines, 1))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q", lines, err, says)
		}
	}
}

// What a configuration describes can be opened, and its descriptor says the same.
func TestOpenFromConfig(t *testing.T) {
	dir := t.TempDir()
	text := strings.NewReplacer("~/mix", dir, "/queues", filepath.Join(dir, "q"), "IdentityKeyBits: 3072\n", "", "20 days", "30 days").Replace(fullConfig)
	c, err := fromConfig(t, text)
	if err != nil {
		t.Fatal(err)
	}
	copyKeys(t, c.KeyDir)
	c.Clock = newTestClock(start)
	m, err := mix.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d := m.Descriptors()[0]
	if d.Nickname != "tested" || d.Incoming.Port != 1234 || d.Incoming.Hostname != "mix.example.com" || d.Outgoing == nil ||
		d.SMTP == nil || d.Fragmented == nil || d.Software != "Mixminion 9" || d.Secure {
		t.Errorf("%s", d.Text())
	}
}

// The descriptor warns of configurations that protect less.
func TestWhyInsecure(t *testing.T) {
	for want, change := range map[string]func(*mix.Config){
		"Software is under development":                                                     func(*mix.Config) {},
		"Software is under development, Mix algorithm is not secure":                        func(c *mix.Config) { c.Rule = mix.Rule{Algorithm: mix.Timed} },
		"Software is under development, Mix pool is small":                                  func(c *mix.Config) { c.Rule.MinSize = 4 },
		"Software is under development, Mix interval is short":                              func(c *mix.Config) { c.Interval = 4 * time.Minute },
		"Software is under development, Mix algorithm is not secure, Mix interval is short": func(c *mix.Config) { c.Rule.Algorithm, c.Interval = mix.Timed, time.Second },
	} {
		r := newRig(t, func(c *mix.Config) {
			c.Rule = mix.Rule{Algorithm: mix.Binomial, MinSize: 5, Rate: 0.4}
			change(c)
		}).open()
		if d := r.mix.Descriptors()[0]; d.WhyInsecure != want || d.Secure {
			t.Errorf("%q, want %q", d.WhyInsecure, want)
		}
	}
}
