package config

import (
	"errors"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameValues compares configurations without the memory of their lines.
var sameValues = []cmp.Option{
	cmpopts.IgnoreTypes(File{}), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, Loopback{}),
}

// goodServer is the least that a mix needs.
const goodServer = "[Server]\nNickname: alice\nContact-Email: alice@example.com\n"

func goodDefaults() *Server {
	s := DefaultServer()
	s.Main.Nickname, s.Main.ContactEmail = "alice", "alice@example.com"
	return s
}

// Every exported leaf field is bound to exactly one key, and the other way round.
func TestTablesCoverTheStructs(t *testing.T) {
	for _, schema := range []Schema{new(Server), new(Client)} {
		fields := map[any]string{}
		var walk func(v reflect.Value, path string)
		walk = func(v reflect.Value, path string) {
			for i := range v.NumField() {
				f, name := v.Field(i), path+"."+v.Type().Field(i).Name
				p := f.Addr().Interface()
				_, isValue := p.(Value)
				_, isFile := p.(*File)
				switch {
				case isFile:
				case f.Kind() == reflect.Struct && !isValue && f.Type().PkgPath() != "net/netip":
					walk(f, name)
				default:
					fields[p] = name
				}
			}
		}
		v := reflect.ValueOf(schema).Elem()
		walk(v, v.Type().Name())

		seen := map[where]bool{}
		for _, s := range schema.Sections() {
			for _, k := range s.Keys {
				if _, ok := fields[k.To]; !ok {
					t.Errorf("[%s] %s is bound to a field twice, or to none", s.Name, k.Name)
				}
				delete(fields, k.To)
				if w := (where{s.Name, k.Name}); seen[w] {
					t.Errorf("%v stands twice in the table", w)
				} else {
					seen[w] = true
				}
				if k.Doc == "" || k.Kind() == "" {
					t.Errorf("[%s] %s: no documentation", s.Name, k.Name)
				}
			}
		}
		for _, name := range fields {
			t.Errorf("field %s has no key", name)
		}
	}
}

// A file that lacks a section means the defaults of its keys.
func TestMissingSectionsMeanDefaults(t *testing.T) {
	for _, text := range []string{"", "\n# nothing\n", "[Host]\n", "[User]\r\n[Security]\r\n"} {
		got, err := ParseClient([]byte(text), "rc")
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if d := cmp.Diff(DefaultClient(), got, sameValues...); d != "" {
			t.Errorf("%q: (-defaults +parsed)\n%s", text, d)
		}
		if w := got.Warnings(); len(w) > 0 {
			t.Errorf("%q: warnings %q", text, w)
		}
	}
	got, err := ParseServer([]byte(goodServer), "conf")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(goodDefaults(), got, sameValues...); d != "" {
		t.Errorf("(-defaults +parsed)\n%s", d)
	}
	if got.IncomingMMTP.Enabled || got.Pinging.Enabled {
		t.Error("a role is on without its section")
	}
}

func TestExamplesParseToTheDefaults(t *testing.T) {
	server, err := ParseServer([]byte(ExampleServer()), "example")
	if err != nil {
		t.Fatalf("server: %v\n%s", err, ExampleServer())
	}
	want := DefaultServer()
	want.Main.Nickname, want.Main.ContactEmail = server.Main.Nickname, server.Main.ContactEmail
	if d := cmp.Diff(want, server, sameValues...); d != "" {
		t.Errorf("server (-defaults +parsed)\n%s", d)
	}
	client, err := ParseClient([]byte(ExampleClient()), "example")
	if err != nil {
		t.Fatalf("client: %v\n%s", err, ExampleClient())
	}
	if d := cmp.Diff(DefaultClient(), client, sameValues...); d != "" {
		t.Errorf("client (-defaults +parsed)\n%s", d)
	}

	// With every commented key switched on, the files still parse.
	commented := regexp.MustCompile(`(?m)^#([A-Z][A-Za-z0-9-]*: .)`)
	if _, err := ParseServer([]byte(commented.ReplaceAllString(ExampleServer(), "$1")), "uncommented"); err != nil {
		t.Error(err)
	}
	if _, err := ParseClient([]byte(commented.ReplaceAllString(ExampleClient(), "$1")), "uncommented"); err != nil {
		t.Error(err)
	}
	for _, text := range []string{ExampleServer(), ExampleClient()} {
		for line := range strings.Lines(text) {
			if len(line) > 81 && strings.HasPrefix(line, "# ") {
				t.Errorf("long comment: %s", line)
			}
		}
	}
}

func TestCommentedKeepsValues(t *testing.T) {
	want := goodDefaults()
	want.Main.BaseDir = "/srv/mix"
	want.Main.MyFamily = Family{"bob", "carol"}
	want.IncomingMMTP.Enabled, want.IncomingMMTP.Hostname, want.IncomingMMTP.IPv4 = true, "mix.example.com", false
	want.IncomingMMTP.ListenIP6 = netip.IPv6Unspecified()
	want.DeliveryFragmented.MaximumSize = MB
	got, err := ParseServer([]byte(want.Commented()), "conf")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, sameValues...); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if n := strings.Count(want.Commented(), "\n# "); n < 50 {
		t.Errorf("%d lines of comments", n)
	}
}

func TestGrammar(t *testing.T) {
	const text = "# comment\r\n" +
		"  # indented comment\n" +
		"[Server]  \n" +
		"Nickname:alice\n" +
		"Contact-Email = alice@example.com\n" +
		"Contact-Fingerprint\tAB CD : EF\n" +
		"Comments: one\n\t two  three \n# in between\n   four\n" +
		"\n" +
		"PublicKeyLifetime   10 days\n" +
		"Homedir: ~/minion\n" +
		"[DirectoryServers]\nServerURL: http://a/\nServerURL http://b/\n" +
		"[Incoming/MMTP]\nEnabled no\nDeny: *\nDeny: 10.1.2.3/255.0.0.0 80-90\nAllow: ::1 5\n"
	got, err := ParseServer([]byte(text), "conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"Nickname", string(got.Main.Nickname), "alice"},
		{"Contact-Email", string(got.Main.ContactEmail), "alice@example.com"},
		{"Contact-Fingerprint", got.Main.ContactFingerprint, "AB CD : EF"},
		{"Comments", got.Main.Comments, "one two  three four"},
		{"PublicKeyLifetime", got.Main.PublicKeyLifetime.String(), "10 days"},
		{"BaseDir", string(got.Main.BaseDir), "~/minion"},
		{"ServerURL", got.Directories.ServerURL.String(), "http://a/; http://b/"},
		{"Deny", got.IncomingMMTP.Deny.String(), "0.0.0.0/0; 10.0.0.0/8 80-90"},
		{"Allow", got.IncomingMMTP.Allow.String(), "::1/128 5-5"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.name, c.got, c.want)
		}
	}
	if !got.Given("Server", "BaseDir") || !got.Given("Server", "Homedir") || got.Given("Server", "LogFile") {
		t.Error("Given is wrong")
	}
	warnings := strings.Join(got.Warnings(), "\n")
	for _, want := range []string{
		"conf:13: [Server] Homedir: is an old name; write BaseDir",
		"[Incoming/MMTP] Deny: connections are not filtered",
	} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning %q in\n%s", want, warnings)
		}
	}
}

func TestMalformedFiles(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown section", "[Sever]\nx: y\n", `f:1: unknown section "[Sever]"; did you mean [Server]?`},
		{"section in capitals", "[server]\n", `f:1: unknown section "[server]"; capitals matter: [Server]`},
		{"far section", "[Quux]\n", `f:1: unknown section "[Quux]"` + "\n"},
		{"open section", "[Server\n", `f:1: section without a closing bracket: "[Server"`},
		{"section twice", "[Server]\n[Host]\n[Server]\n", "f:3: section [Server] stands a second time; the first is in line 1"},
		{"indented section", "[Server]\n [Host]\n", `f:2: a section must begin in the first column: "[Host]"`},
		{"unknown key", "[Server]\nMixIntervall: 1 hour\n", `f:2: unknown key "MixIntervall" in section [Server]; did you mean MixInterval?`},
		{"key in capitals", "[Server]\nmixinterval: 1 hour\n", "capitals matter: MixInterval"},
		{"key of another section", "[Server]\nHostname: a\n", "f:2: unknown key \"Hostname\" in section [Server]; it belongs in section [Incoming/MMTP]"},
		{"key before sections", "Nickname: a\n", `f:1: key "Nickname" stands before the first [Section]`},
		{"key twice", "[Server]\nNickname: a\nNickname: b\n", "f:3: [Server] Nickname is given a second time; the first is in line 2"},
		{"key and its old name", "[Server]\nBaseDir: a\nHomedir: b\n", "f:3: [Server] Homedir is given a second time"},
		{"no key", "[Server]\n: x\n", `f:2: expected "Key: value", found ": x"`},
		{"key alone", "[Server]\nNickname\n", `f:2: expected "Key: value", found "Nickname"`},
		{"continuation of nothing", "[Server]\n x\n", "f:2: a line that begins with a blank"},
		{"continuation after an empty line", "[Server]\nComments: a\n\n b\n", "f:4: a line that begins with a blank"},
		{"not ASCII", "[Server]\nComments: caf\u00e9 x\n", "f:2:14: character U+00E9 is not printable ASCII"},
		{"control character", "[Server]\nComments: \x07\n", "f:2:11: character U+0007"},
		{"byte order mark", "\ufeff[Server]\n", "f:1:1: character U+FEFF"},
		{"not UTF-8", "[Server]\nComments: \xff\n", "f:2:11: character U+FFFD"},
		{"tab in a value", "[Server]\nComments: a\tb\n", "f:2: [Server] Comments: a value must not contain tabs"},
		{"long value", "[Server]\nMixInterval: " + strings.Repeat("z", 5000) + "\n", "zzz...\" is not an interval"},
		{"huge file", strings.Repeat("#\n", MaxFileSize), "f: file has 2097152 bytes; at most 1048576 are read"},
		{"required key of a section", goodServer + "[Outgoing/MMTP]\n", "f:4: [Outgoing/MMTP] Enabled: is missing, but required"},
		{"nickname missing", "", "f: [Server] Nickname: is missing; give this mix a name"},
		{"bad nickname once", "[Server]\nNickname: 1a\n", "f:2: [Server] Nickname: \"1a\" is not a nickname"},
		{"interval", "[Server]\nMixInterval: 5 minuts\n", "f:2: [Server] MixInterval: \"5 minuts\" is not an interval"},
		{"size", "[Server]\nMaxDisk: 10Gx\n", `f:2: [Server] MaxDisk: "10Gx" is not a size`},
		{"boolean", "[Server]\nLogStats: maybe\n", `f:2: [Server] LogStats: "maybe" is neither yes nor no`},
		{"number", "[Server]\nMixPoolMinSize: -1\n", `"-1" is not a whole number`},
		{"algorithm", "[Server]\nMixAlgorithm: fast\n", `"fast" is none of Timed, DynamicPool, BinomialDynamicPool`},
		{"empty path", "[Server]\nBaseDir:\n", "a file name must not be empty"},
		{"address", "[Incoming/MMTP]\nEnabled: yes\nIP: 1.2.3\n", `"1.2.3" is not an IP address`},
		{"port", "[Incoming/MMTP]\nEnabled: yes\nPort: 0\n", `"0" is not a port number`},
		{"listener", "[Directory]\nListen: 80\n", `"80" is not an address and a port`},
		{"listener without port", "[Directory]\nListen: [::1]\n", `"[::1]" is not an address and a port`},
		{"URL base", "[Directory]\nURL: http://a/b\n", `"http://a/b" does not end with a /`},
		{"URL with query", "[Directory]\nURL: http://a/?/\n", `"http://a/?/" does not end with a /`},
		{"URL without host", "[Directory]\nURL: http:///\n", `does not begin with http:// or https:// and a host`},
		{"URL of a file", "[Directory]\nURL: file://a/\n", `does not begin with http:// or https:// and a host`},
		{"URL with password", "[Directory]\nURL: http://a:b@c/\n", `does not begin with http:// or https:// and a host`},
		{"authority", "[Directory]\nAuthority: http://a/\n", `is not a fingerprint and a URL`},
		{"fingerprint", "[Directory]\nAuthority: 0123G http://a/\n", `"0123G" is not a fingerprint`},
		{"URL of an authority", "[Directory]\nAuthority: " + finger + " http://a\n", `"http://a" does not end with a /`},
		{"key of the directory", "[Directory]\nAutoAprove: yes\n", `unknown key "AutoAprove" in section [Directory]; did you mean AutoApprove?`},
		{"DKIM key without file", "[Delivery/SMTP]\nEnabled: no\nDKIMKey: mix1\n", `"mix1" is not a selector and a file`},
		{"DKIM selector", "[Delivery/SMTP]\nEnabled: no\nDKIMKey: a;b dkim.key\n", `"a;b dkim.key" is not a selector and a file`},
		{"DKIM selector twice", "[Delivery/SMTP]\nEnabled: no\nDKIMKey: a x\nDKIMKey: A y\n", `the selector "A" is given twice`},
		{"many DKIM keys", "[Delivery/SMTP]\nEnabled: no\nDKIMKey: a x\nDKIMKey: b x\nDKIMKey: c x\nDKIMKey: d x\nDKIMKey: e x\n", "more than 4 keys"},
		{"DKIM domain alone", goodServer + "[Delivery/SMTP]\nEnabled: yes\nSMTPServer: a\nReturnAddress: a@b.example\nDKIMDomain: b.example\n", "f:8: [Delivery/SMTP] DKIMDomain: is given without DKIMKey"},
		{"other DKIM domain", goodServer + "[Delivery/SMTP]\nEnabled: yes\nSMTPServer: a\nReturnAddress: a@ab.example\nDKIMKey: a x\nDKIMDomain: b.example\n", "f:9: [Delivery/SMTP] DKIMDomain: is b.example; it must be"},
		{"mailbox", "[Server]\nContact-Email: me\n", `"me" is not a plain mail address`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := ParseServer([]byte(c.text), "f")
			if err == nil || s != nil {
				t.Fatal("no error")
			}
			if got := err.Error() + "\n"; !strings.Contains(got, c.want) {
				t.Errorf("error is\n%swant\n%s", got, c.want)
			}
			var e *Error
			if !errors.As(err, &e) || e.File != "f" {
				t.Errorf("not an *Error of f: %#v", err)
			}
		})
	}
}

const finger = "0123456789ABCDEF0123456789ABCDEF01234567"

func TestCrossChecks(t *testing.T) {
	const smtp = "[Delivery/SMTP]\nEnabled: yes\nReturnAddress: a@b\n"
	const in = "[Incoming/MMTP]\nEnabled: yes\nHostname: a\n"
	for _, c := range []struct{ name, text, want string }{
		{"lifetime", "PublicKeyLifetime: 23 hours\nPublicKeyOverlap: 6 hours\n", "f:4: [Server] PublicKeyLifetime: is 23 hours; it must be at least 1 day"},
		{"short overlap", "PublicKeyOverlap: 5 hours\n", "f:4: [Server] PublicKeyOverlap: is 5 hours; it must be from 6 to 72 hours"},
		{"long overlap", "PublicKeyOverlap: 73 hours\n", "from 6 to 72 hours"},
		{"overlap above lifetime", "PublicKeyLifetime: 1 day\n", "PublicKeyOverlap: is 2 days, not shorter than PublicKeyLifetime, 1 day"},
		{"key bits", "IdentityKeyBits: 1024\n", "must be from 2048 to 4096"},
		{"rate", "MixPoolRate: 0\n", "above 0%"},
		{"jitter", "MixJitter: 100%\n", "must be below 100%"},
		{"interval", "MixInterval: 0 seconds\n", "must be longer than nothing"},
		{"cover", "MixCover: 10001\n", "it must be at most 10000 packets"},
		{"statistics", "StatsInterval: 30 minutes\n", "at least 1 hour"},
		{"metrics for all", "MetricsListen: 0.0.0.0:9748\n", "not an address of loopback"},
		{"metrics for others", "MetricsListen: 192.0.2.1:9748\n", "not an address of loopback"},
		{"metrics at a name", "MetricsListen: localhost:9748\n", "not an address of loopback"},
		{"metrics without port", "MetricsListen: 127.0.0.1\n", "not an address of loopback"},
		{"disk", "MaxDisk: 100K\n", "give at least 64M"},
		{"bandwidth", "MaxBandwidth: 1K\n", "at least 4K"},
		{"spike", "MaxBandwidth: 100K\nMaxBandwidthSpike: 1K\n", "MaxBandwidthSpike: is 1K; it must be at least 4K"},
		{"no connections in", in + "MaxConnections: 0\n", "MaxConnections: is 0; it must be from 1 to 1000000"},
		{"no source", in + "MaxConnectionsPerSource: 0\n", "MaxConnectionsPerSource: is 0"},
		{"no rate", in + "ConnectionRate: 0\n", "ConnectionRate: is 0"},
		{"endless rate", in + "TotalConnectionRate: 1000001\n", "TotalConnectionRate: is 1000001"},
		{"no time to greet", in + "HandshakeTimeout: 0 seconds\n", "HandshakeTimeout: must be longer than nothing"},
		{"no time for packets", in + "PacketTimeout: 0 seconds\n", "PacketTimeout: must be longer than nothing"},
		{"comments", "Comments: " + strings.Repeat("x", 1025) + "\n", "has 1025 characters"},
		{"hostname", "[Incoming/MMTP]\nEnabled: yes\n", "f:4: [Incoming/MMTP] Hostname: is missing"},
		{"not IPv6", "[Incoming/MMTP]\nEnabled: yes\nHostname: a\nListenIP6: 127.0.0.1\n", "127.0.0.1 is not an IPv6 address"},
		{"IPv6 at an address", "[Incoming/MMTP]\nEnabled: yes\nHostname: 192.0.2.1\nListenIP6: ::\n", "with ListenIP6 it must be a name"},
		{"no address at all", "[Incoming/MMTP]\nEnabled: yes\nHostname: a\nIPv4: no\n", "ListenIP6 is missing: nobody could reach"},
		{"nothing to dial with", "[Outgoing/MMTP]\nEnabled: yes\nIPv4: no\n", "there is nothing to make connections with"},
		{"family", "MyFamily: a, b_c\n", "neither a nickname nor a fingerprint"},
		{"large family", strings.Repeat("MyFamily: a\n", 65), "names 65 mixes"},
		{"connections", "[Outgoing/MMTP]\nEnabled: yes\nMaxConnections: 0\n", "must be at least 1"},
		{"no mail server", smtp, "f:4: [Delivery/SMTP] SMTPServer: is missing"},
		{"nobody", smtp + "SMTPServer: x\nMaximumRecipients: 0\n", "must be from 1 to 8"},
		{"nine people", smtp + "SMTPServer: x\nMaximumRecipients: 9\n", "must be from 1 to 8"},
		{"command with -t", smtp + "SendmailCommand: sendmail -t\n", "must not have -t"},
		{"log in by a command", smtp + "SendmailCommand: sendmail\nSMTPUser: u\nSMTPPasswordFile: p\n", "logs in nowhere"},
		{"server twice", smtp + "SMTPServer: x\nSMTPServer: x\n", "is given twice"},
		{"exempt from the ceiling", smtp + "SMTPServer: x\nCeilingExempt: a@b.org, b.org\n", `"b.org" is neither a mail address nor @host`},
		{"no return address", "[Delivery/SMTP]\nEnabled: yes\nSMTPServer: x\n", "ReturnAddress: is missing"},
		{"two ways", smtp + "SMTPServer: x\nSendmailCommand: y\n", "given together with SMTPServer"},
		{"two exits", smtp + "SMTPServer: x\n[Delivery/SMTP-Via-Mixmaster]\nEnabled: yes\n", "must be no while"},
		{"password without user", smtp + "SMTPServer: x\nSMTPPasswordFile: p\n", "given without SMTPUser"},
		{"user without password", smtp + "SMTPServer: x\nSMTPTLS: implicit\nSMTPUser: p\n", "given without SMTPPasswordFile"},
		{"password in the clear", smtp + "SMTPServer: x\nSMTPUser: u\nSMTPPasswordFile: p\n", "could be read on the way"},
		{"mbox", "[Delivery/MBOX]\nEnabled: yes\nSMTPServer: x\n", "AddressFile: is missing"},
		{"fragments without exit", "[Delivery/Fragmented]\nEnabled: yes\nMaximumSize: 1M\n", "needs [Delivery/SMTP] or [Delivery/MBOX]"},
		{"directory without address", "[Directory]\nEnabled: yes\nURL: http://a/\n", "f:4: [Directory] Listen: is missing"},
		{"directory without URL", "[Directory]\nEnabled: yes\nListen: 127.0.0.1:0\n", "f:4: [Directory] URL: is missing"},
		{"member twice", "[Directory]\nEnabled: no\nAuthority: " + finger + " http://a/\nAuthority: " + strings.ToLower(finger) + " http://b/\n",
			"[Directory] Authority: " + finger + " stands in two lines"},
		{"fragments without size", smtp + "SMTPServer: x\n[Delivery/Fragmented]\nEnabled: yes\n", "MaximumSize: is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseServer([]byte(goodServer+c.text), "f")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is\n%v\nwant\n%s", err, c.want)
			}
		})
	}
	if err := goodDefaults().Validate(); err != nil {
		t.Error(err)
	}
	if err := DefaultClient().Validate(); err != nil {
		t.Error(err)
	}
	if err := new(Client).Validate(); err == nil {
		t.Error("an empty client passes")
	}
	for _, text := range []string{"[Security]\nSURBLifetime: 0 days\n", "[Network]\nTimeout: 0 sec\n", "[Security]\nSURBPath:\n"} {
		if _, err := ParseClient([]byte(text), "f"); err == nil {
			t.Errorf("%q passes", text)
		}
	}
	ok := goodServer + smtp + "SMTPServer: localhost:2525\nSMTPUser: u\nSMTPPasswordFile: p\n"
	if _, err := ParseServer([]byte(ok), "f"); err != nil {
		t.Errorf("a password over loopback: %v", err)
	}
}

// One reading reports everything, in the order of the file.
func TestErrorsComeTogether(t *testing.T) {
	const text = "x\n[Server]\nNickname: 1\nFoo: 2\nMixInterval: z\n[Bar]\n[Outgoing/MMTP]\n"
	_, err := ParseServer([]byte(text), "f")
	var lines []int
	for _, e := range unjoin(err) {
		lines = append(lines, e.Line)
	}
	// Line 2 is where Contact-Email is missing.
	if d := cmp.Diff([]int{1, 2, 3, 4, 5, 6, 7}, lines); d != "" {
		t.Errorf("lines (-want +got)\n%s\n%v", d, err)
	}
	_, err = ParseServer([]byte(strings.Repeat("x\n", 1000)), "f")
	if n := len(unjoin(err)); n != maxErrors+1 {
		t.Errorf("%d errors are reported", n)
	}
}

func TestWarnings(t *testing.T) {
	server := goodServer + "BaseDir: /var/lib/minion\n"
	const network = "[Incoming/MMTP]\nEnabled: yes\nHostname: a\n[Outgoing/MMTP]\nEnabled: yes\n"
	const smtp = "[Delivery/SMTP]\nEnabled: yes\nReturnAddress: a@b\nSMTPServer: x\n"
	const directory = "[Directory]\nEnabled: yes\nListen: [::1]:80\nListen: localhost:0\nURL: https://a.example/b/\n"
	for _, c := range []struct{ name, text, want string }{
		{"none", server + network + smtp, ""},
		{"defaults spelled out", server + "Daemon: no\nEncryptIdentityKey: no\n" + network + "[DirectoryServers]\nMaxSkew: 10 min\n", ""},
		{"idle", server, "f: neither [Incoming/MMTP] nor"},
		{"base directory", goodServer + network, "f: [Server] BaseDir: is not given; using /var/spool/minion"},
		{"short keys", server + "PublicKeyLifetime: 7 days\n" + network, "PublicKeyLifetime: is 7 days: at times"},
		{"fast", server + "MixInterval: 1 minute\n" + network, "f:5: [Server] MixInterval: is 1 minute: batches"},
		{"timed", server + "MixAlgorithm: timed\n" + network, "Timed sends everything"},
		{"pool", server + "MixPoolMinSize: 2\n" + network, "so small a pool"},
		{"cover", server + "MixCover: 0\n" + network, "without cover traffic"},
		{"rate", server + "MixPoolRate: 0.9\n" + network, "MixPoolRate: is 90%"},
		{"log", server + "LogLevel: trace\n" + network, "TRACE writes more"},
		{"local", server + "Mode: local\n" + network, "relay for everybody"},
		{"module", server + "Module: a.b\n" + network, "Module: not available in this version"},
		{"pinger", server + network + "[Pinging]\nEnabled: yes\n", "f:10: [Pinging] not available in this version"},
		{"pinger of 0.0.8", server + network + "[Pinging]\nRetainResults: 1 year\n", "f:10: [Pinging] not available in this version"},
		{"no pinger", server + network + "[Pinging]\nEnabled: no\n", ""},
		{"mbox", server + network + "[Delivery/MBOX]\nEnabled: yes\nSMTPServer: x\nReturnAddress: a@b\nAddressFile: f\nRemoveContact: a@b\n", ""},
		{"shred", server + network + "[Host]\nShredCommand: rm -f\n", "no command is run"},
		{"retry ends", server + network + "Retry: every 1 hour for 5 hours\n", "gives up after 5 hours"},
		{"retry goes on", server + network + "Retry: every 1 day for 20 days\n", "goes on for 20 days"},
		{"few retries", server + network + "Retry: 1 day, 1 day\n", "only 2 attempts"},
		{"many retries", server + network + "Retry: every 30 minutes for 2 days\n", "96 attempts"},
		{"fast retries", server + network + "Retry: 1 minute, every 7 hours for 2 days\n", "waits only 1 minute"},
		{"size", server + network + smtp + "MaximumSize: 33000\n", "33000 bytes is taken as 33K"},
		{"small size", server + network + smtp + "MaximumSize: 1K\n", "1K is taken as 32K"},
		{"authority", server + directory + "Authority: " + finger + " http://a/\n", ""},
		{"open authority", server + directory + "AutoApprove: yes\n", "[Directory] AutoApprove: is yes: anybody"},
		{"lonely authority", server + directory, "[Directory] Authority: is not given"},
		{"clear mail", server + network + smtp + "SMTPTLS: off\n", "SMTPTLS: is off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := ParseServer([]byte(c.text), "f")
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(s.Warnings(), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("warnings are %q, want %q", got, c.want)
			}
		})
	}
	c, err := ParseClient([]byte("[Security]\nPathLength: 4\n[Network]\nConnectionTimeout: 3 sec\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) != 3 {
		t.Errorf("client: %q", w)
	}
}

func TestPaths(t *testing.T) {
	s := goodDefaults()
	s.Main.BaseDir, s.Main.LogFile, s.Main.KeyDir = "~/mix", "/var/log/mix", "~/keys"
	want := ServerPaths{
		BaseDir: "/home/u/mix", LogFile: "/var/log/mix", StatsFile: "/home/u/mix/stats", KeyDir: "/home/u/keys",
		WorkDir: filepath.Join("/home/u/mix", "work"), QueueDir: filepath.Join("/home/u/mix", "work", "queues"), PidFile: "/home/u/mix/pid",
		StorageDir: "/home/u/mix/directory", OptOutDir: "/home/u/mix/optout", BlocksDir: "/home/u/mix/gateway",
	}
	if d := cmp.Diff(want, s.Paths("/home/u")); d != "" {
		t.Error(d)
	}
	if p := Path("").In("a", "b"); p != "" {
		t.Errorf("an optional path became %q", p)
	}
}

func TestListen(t *testing.T) {
	const in = goodServer + "[Incoming/MMTP]\nEnabled: yes\nHostname: a\nIP: 192.0.2.1\n"
	for _, c := range []struct {
		text string
		want []string
	}{
		{in, []string{"192.0.2.1:48099"}},
		{in + "Port: 5\n", []string{"192.0.2.1:5"}},
		{in + "Port: 5\nIPv4: no\nListenIP6: ::\n", []string{"[::]:5"}},
		{in + "ListenIP: 127.0.0.1\nListenPort: 6\nListenIP6: ::1\n", []string{"127.0.0.1:6", "[::1]:6"}},
	} {
		s, err := ParseServer([]byte(c.text), "f")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range s.IncomingMMTP.Listen() {
			got = append(got, a.String())
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(d)
		}
	}
}

func TestFormatRoundTrip(t *testing.T) {
	s := goodDefaults()
	s.IncomingMMTP.Enabled, s.IncomingMMTP.Hostname = true, "mix.example.com"
	s.Main.MixInterval = Interval(90 * 1e9)
	s.Main.MixPoolRate = 0.07
	s.Main.MaxDisk = 300*MB + 5
	s.Directory.Listen = ListenAddresses{"[::]:80", "localhost:0"}
	s.Directory.Authority = Authorities{{finger, "http://a/"}, {strings.Repeat("A", 40), "https://b:1/c/"}}
	s.Directory.ClientVersions = List{"0.0.8", "0.1.0"}
	s.Directories.ServerURL = URLBases{"http://a/", "https://b/c/"}
	s.Directories.Authority = Authorities{{strings.Repeat("A1", 20), "http://a/"}, {strings.Repeat("B2", 20), "http://b/"}}
	s.DeliverySMTP.SMTPServer = HostPorts{{"::1", 25}, {"backup.example.com", 0}}
	s.DeliverySMTP.FromTag = ""
	text := Format(s)
	back, err := ParseServer(text, "formatted")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := cmp.Diff(s, back, sameValues...); d != "" {
		t.Errorf("(-before +after)\n%s\n%s", d, text)
	}
}
