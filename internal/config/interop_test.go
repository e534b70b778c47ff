package config

import (
	"fmt"
	"strings"
	"testing"
)

// An oldKey is a key of 0.0.8 with a value that is legal there, and what it is here; "" if it is the same.
type oldKey struct{ section, key, value, want string }

// leftOut is what 0.0.8 read and did not heed, and we do not keep.
const leftOut = "left out"

// oldServer has all keys of a mixminiond.conf of 0.0.8, with its odd spellings of values.
var oldServer = []oldKey{
	{"Host", "ShredCommand", "rm -f", ""},
	{"Host", "EntropySource", "/dev/urandom", ""},
	{"Host", "TrustedUser", "root", ""},
	{"Host", "FileParanoia", "off", "no"},
	{"Server", "BaseDir", "/var/spool/minion", ""},
	{"Server", "LogFile", "log", ""},
	{"Server", "StatsFile", "stats", ""},
	{"Server", "KeyDir", "keys", ""},
	{"Server", "WorkDir", "work", ""},
	{"Server", "QueueDir", "work/queues", ""},
	{"Server", "PidFile", "pid", ""},
	{"Server", "LogLevel", "Warn", "WARN"},
	{"Server", "EchoMessages", "0", "no"},
	{"Server", "Daemon", "True", "yes"},
	{"Server", "LogStats", "y", "yes"},
	{"Server", "StatsInterval", "1.5 days", "36 hours"},
	{"Server", "EncryptIdentityKey", "n", "no"},
	{"Server", "EncryptPrivateKey", "FALSE", "no"},
	{"Server", "IdentityKeyBits", "2048", ""},
	{"Server", "PublicKeyLifetime", "1 mon", "30 days"},
	{"Server", "PublicKeyOverlap", "24 hours", "1 day"},
	{"Server", "Mode", "Relay", "relay"},
	{"Server", "Nickname", "Alice-2", ""},
	{"Server", "Contact-Email", "alice@example.com", ""},
	{"Server", "Contact-Fingerprint", "AB CD : EF = 01", ""},
	{"Server", "Comments", "a = b: c", ""},
	{"Server", "ModulePath", "/usr/lib/minion", ""},
	{"Server", "Module", "mixminion.testSupport.DirectoryStoreModule", ""},
	{"Server", "MixAlgorithm", "cottrell", "DynamicPool"},
	{"Server", "MixInterval", "30 min", "30 minutes"},
	{"Server", "MixPoolRate", "0.6", "60%"},
	{"Server", "MixPoolMinSize", "5", ""},
	{"Server", "Timeout", "5 mins", "5 minutes"},
	{"Server", "MaxBandwidth", "100 kb", "100K"},
	{"Server", "MaxBandwidthSpike", "1.5 Mb", "1536K"},
	{"Pinging", "Enabled", "no", ""},
	{"Pinging", "RecomputeInterval", "30 minutes", ""},
	{"Pinging", "ServerPingPeriod", "2 hours", ""},
	{"Pinging", "DullChainPingPeriod", "4 days", ""},
	{"Pinging", "ChainPingPeriod", "1 day", ""},
	{"Pinging", "ServerProbePeriod", "1 hour", ""},
	{"Pinging", "RetainData", "30 days", ""},
	{"Pinging", "RetainResults", "1 year", "365 days"},
	{"DirectoryServers", "ServerURL", "http://mixminion.net/directory/Directory.gz", leftOut},
	{"DirectoryServers", "PublishURL", "http://mixminion.net/minion-cgi/publish", leftOut},
	{"DirectoryServers", "Publish", "no", ""},
	{"DirectoryServers", "MaxSkew", "10 minutes", ""},
	{"Incoming/MMTP", "Enabled", "yes", ""},
	{"Incoming/MMTP", "IP", "192.0.2.1", ""},
	{"Incoming/MMTP", "Hostname", "mix.example.com", ""},
	{"Incoming/MMTP", "Port", "48099", ""},
	{"Incoming/MMTP", "ListenIP", "10.0.0.1", ""},
	{"Incoming/MMTP", "ListenPort", "4000", ""},
	{"Incoming/MMTP", "Allow", "*", "0.0.0.0/0"},
	{"Incoming/MMTP", "Deny", "10.1.2.3/255.0.0.0 80-90", "10.0.0.0/8 80-90"},
	{"Outgoing/MMTP", "Enabled", "on", "yes"},
	{"Outgoing/MMTP", "Retry", "every 1 hour for 1 day, 7 hours for 5 days", "every 1 hour for 1 day, every 7 hours for 126 hours"},
	{"Outgoing/MMTP", "MaxConnections", "16", ""},
	{"Outgoing/MMTP", "Allow", "192.0.2.0/24 48099", "192.0.2.0/24 48099-48099"},
	{"Outgoing/MMTP", "Deny", "*", "0.0.0.0/0"},
	{"Delivery/MBOX", "Enabled", "1", "yes"},
	{"Delivery/MBOX", "AddressFile", "/etc/aliases", ""},
	{"Delivery/MBOX", "ReturnAddress", "nobody@example.com", ""},
	{"Delivery/MBOX", "RemoveContact", "off@example.com", ""},
	{"Delivery/MBOX", "SMTPServer", "localhost:25", ""},
	{"Delivery/MBOX", "Advertise", "yes", ""},
	{"Delivery/MBOX", "Retry", "7 hours for 6 days", "every 7 hours for 147 hours"},
	{"Delivery/MBOX", "MaximumSize", "100k", "100K"},
	{"Delivery/SMTP", "Enabled", "yes", ""},
	{"Delivery/SMTP", "BlacklistFile", "/etc/blacklist", ""},
	{"Delivery/SMTP", "ReturnAddress", "nobody@example.com", ""},
	{"Delivery/SMTP", "SendmailCommand", "/usr/sbin/sendmail -i", ""},
	{"Delivery/SMTP", "Advertise", "no", ""},
	{"Delivery/SMTP", "Retry", "1 hour, every 2 hours for 4 hours", "1 hour, every 2 hours for 4 hours"},
	{"Delivery/SMTP", "MaximumSize", "100 Kbs", "100K"},
	{"Delivery/SMTP", "AllowFromAddress", "no", ""},
	{"Delivery/SMTP", "SubjectLine", "Type III Anonymous Message", ""},
	{"Delivery/SMTP", "X-Abuse", "abuse@example.com", ""},
	{"Delivery/SMTP", "Comments", "no answers", ""},
	{"Delivery/SMTP", "Message", "a text of one line", ""},
	{"Delivery/SMTP", "FromTag", "[Anon]", ""},
	{"Delivery/SMTP-Via-Mixmaster", "Enabled", "no", ""},
	{"Delivery/SMTP-Via-Mixmaster", "MixCommand", "/usr/bin/mixmaster -x", ""},
	{"Delivery/SMTP-Via-Mixmaster", "Server", "austria", ""},
	{"Delivery/SMTP-Via-Mixmaster", "SubjectLine", "x", ""},
	{"Delivery/Fragmented", "Enabled", "yes", ""},
	{"Delivery/Fragmented", "MaximumSize", "1 mb", "1M"},
	{"Delivery/Fragmented", "MaximumInterval", "2 days", ""},
}

// oldClient has all keys of a .mixminionrc of 0.0.8.
var oldClient = []oldKey{
	{"Host", "ShredCommand", "rm -f", ""},
	{"Host", "EntropySource", "/dev/random", ""},
	{"Host", "TrustedUser", "0", ""},
	{"Host", "FileParanoia", "1", "yes"},
	{"DirectoryServers", "ServerURL", "http://mixminion.net/directory/Directory.gz", leftOut},
	{"DirectoryServers", "MaxSkew", "10 minutes", ""},
	{"DirectoryServers", "AllowOldDirectoryFormat", "true", "yes"},
	{"DirectoryServers", "DirectoryTimeout", "1 minute", ""},
	{"User", "UserDir", "~/.mixminion", ""},
	{"Security", "SURBAddress", "alice@example.com", ""},
	{"Security", "SURBLifetime", "1 week", "7 days"},
	{"Security", "ForwardPath", "~5", ""},
	{"Security", "ReplyPath", "?,*2", ""},
	{"Security", "SURBPath", "alice,~2", ""},
	{"Security", "BlockServers", "Mallory, eve", ""},
	{"Security", "BlockEntries", "trent,walter", "trent, walter"},
	{"Security", "BlockExits", "oscar", ""},
	{"Security", "PathLength", "4", ""},
	{"Security", "SURBPathLength", "3", ""},
	{"Network", "Timeout", "120 sec", "2 minutes"},
}

// oldText writes keys in each of the ways that 0.0.8 reads, beginning with the given one.
func oldText(keys []oldKey, way int) string {
	var b strings.Builder
	section := ""
	for i, k := range keys {
		if k.section != section {
			section = k.section
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		switch (way + i) % 6 {
		case 0:
			fmt.Fprintf(&b, "%s: %s\n", k.key, k.value)
		case 1:
			fmt.Fprintf(&b, "%s=%s\r\n", k.key, k.value)
		case 2:
			fmt.Fprintf(&b, "%s = %s\n", k.key, k.value)
		case 3:
			fmt.Fprintf(&b, "# a comment: x\n%s:%s  \n", k.key, k.value)
		case 4:
			// The value goes on in a line that begins with a blank.
			fmt.Fprintf(&b, "%s: %s\n", k.key, strings.Replace(k.value, " ", "\n  ", 1))
		case 5:
			if k.value == "" || strings.ContainsAny(k.value[:1], ":=") {
				fmt.Fprintf(&b, "%s:\n", k.key)
			} else {
				fmt.Fprintf(&b, "%s %s\n", k.key, k.value)
			}
		}
	}
	return b.String()
}

func checkOldKeys(t *testing.T, schema Schema, keys []oldKey) {
	t.Helper()
	values := map[where]string{}
	for _, s := range schema.Sections() {
		for _, k := range s.Keys {
			values[where{s.Name, k.Name}] = bind(k.To).String()
		}
	}
	for _, k := range keys {
		want := k.want
		switch want {
		case "":
			want = k.value
		case leftOut:
			want = ""
		}
		if got, ok := values[where{k.section, k.key}]; !ok || got != want {
			t.Errorf("[%s] %s: %q is %q here, not %q", k.section, k.key, k.value, got, want)
		}
	}
}

// TestInteropServerFile: each key of a mixminiond.conf of 0.0.8 has its meaning here, however it is spelled.
func TestInteropServerFile(t *testing.T) {
	for way := range 6 {
		c, err := ParseServer([]byte(oldText(oldServer, way)), "mixminiond.conf")
		if err != nil {
			t.Fatal(err)
		}
		checkOldKeys(t, c, oldServer)
	}
}

// TestInteropClientFile: so does each key of a .mixminionrc.
func TestInteropClientFile(t *testing.T) {
	for way := range 6 {
		c, err := ParseClient([]byte(oldText(oldClient, way)), ".mixminionrc")
		if err != nil {
			t.Fatal(err)
		}
		checkOldKeys(t, c, oldClient)
	}
}

// TestInteropDirectoryAddresses: whoever has the addresses of the old directory server in a file is told that they do nothing.
func TestInteropDirectoryAddresses(t *testing.T) {
	c, err := ParseClient([]byte("[DirectoryServers]\nServerURL: http://mixminion.net/directory/Directory.gz\n"), "rc")
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(c.Warnings(), "\n"); !strings.Contains(w, "[DirectoryServers] ServerURL: names the directory server of 0.0.8") {
		t.Errorf("warnings %q", w)
	}
	for _, text := range []string{"ServerURL: http://a.example/x\n", "ServerURL: ftp://a.example/Directory.gz\n", "ServerURL: Directory.gz\n"} {
		if _, err := ParseClient([]byte("[DirectoryServers]\n"+text), "rc"); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestInteropOldNames: keys that 0.0.8 itself called old, and the one section that needs no Enabled there.
func TestInteropOldNames(t *testing.T) {
	s, err := ParseServer([]byte(goodServer+"Homedir: /srv/mix\n"), "mixminiond.conf")
	if err != nil || s.Main.BaseDir != "/srv/mix" {
		t.Errorf("Homedir: %v", err)
	}
	if s, err = ParseServer([]byte(goodServer+"[Pinging]\n"), "mixminiond.conf"); err != nil || !s.Pinging.Enabled {
		t.Errorf("[Pinging] without Enabled: %v", err)
	}
	c, err := ParseClient([]byte("[Network]\nConnectionTimeout: 20 seconds\n"), ".mixminionrc")
	if err != nil || c.Network.Timeout.String() != "20 seconds" {
		t.Errorf("ConnectionTimeout: %v", err)
	}
}
