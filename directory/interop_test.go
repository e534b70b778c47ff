package directory

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/internal/firstimpl"
)

// descriptorHas checks what 0.0.8 needs to route packets to a server.
func descriptorHas(t testing.TB, old *firstimpl.Descriptor, want *Descriptor) {
	t.Helper()
	node := want.Node()
	if old.Nickname != want.Nickname || old.Host != node.Host || old.Port != node.Port || !bytes.Equal(old.KeyID, node.KeyID[:]) ||
		!old.PacketKey.Equal(want.PacketKey) || !old.ValidAfter.Equal(want.ValidAfter) || !old.ValidUntil.Equal(want.ValidUntil) {
		t.Errorf("0.0.8 takes the descriptor for %+v", old)
	}
}

// TestInteropVectorDescriptors: the rules that judge our descriptors pass those of the first implementation, and read
// the same in them as we do.
func TestInteropVectorDescriptors(t *testing.T) {
	v := loadVectors(t)
	for _, s := range v.Servers {
		old, err := firstimpl.ReadDescriptor(string(readFile(t, s.File)), time.Unix(v.Now, 0))
		if err != nil {
			t.Errorf("%s: %v", s.File, err)
			continue
		}
		descriptorHas(t, old, parsed(t, s.File))
		if len(old.Skipped) > 0 {
			t.Errorf("%s: skipped %q", s.File, old.Skipped)
		}
	}
}

// everything are fields with all that a descriptor of ours can say.
func everything(t testing.TB) Fields {
	_, packetKey := keys(t)
	f := sampleFields(packetKey)
	f.Secure, f.WhyInsecure = false, "Mix interval under 30 minutes"
	f.ContactFingerprint, f.Comments = "01 02 03", "a comment"
	f.Family = []string{"zoe", "alice"}
	f.Incoming.IP = netip.MustParseAddr("192.0.2.1")
	f.Incoming.Protocols, f.Outgoing.Protocols = MMTPProtocols(true, true), MMTPProtocols(true, true)
	f.SMTP.MaximumRecipients = 8
	return f
}

// TestInteropOurDescriptors: our descriptors pass the rules of 0.0.8, which skips what is new, and routes to all
// servers that have IPv4 only.
func TestInteropOurDescriptors(t *testing.T) {
	identity, packetKey := keys(t)
	only6 := everything(t)
	only6.Incoming.IP = netip.Addr{}
	only6.Incoming.Protocols, only6.Outgoing.Protocols = MMTPProtocols(false, true), MMTPProtocols(false, true)
	relay := sampleFields(packetKey)
	relay.SMTP, relay.MBOX, relay.Fragmented = nil, nil, nil
	quiet := sampleFields(packetKey)
	quiet.Outgoing = nil
	plain, err := SignDescriptor(identity, sampleFields(packetKey))
	if err != nil {
		t.Fatal(err)
	}
	standard, err := firstimpl.ReadDescriptor(string(plain), sampleFields(packetKey).Published)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		fields   Fields
		skipped  []string
		exits    int
		reached  bool
		relaysOn bool
	}{
		{"plain", sampleFields(packetKey), nil, 3, true, true},
		{"all", everything(t), []string{"Delivery/SMTP/Maximum-Recipients", "Server/MyFamily"}, 3, true, true},
		{"IPv6 alone", only6, []string{"Delivery/SMTP/Maximum-Recipients", "Server/MyFamily"}, 3, false, false},
		{"relay", relay, nil, 0, true, true},
		{"no connections out", quiet, nil, 3, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := SignDescriptor(identity, c.fields)
			if err != nil {
				t.Fatal(err)
			}
			old, err := firstimpl.ReadDescriptor(string(text), c.fields.Published)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			d, err := ParseDescriptor(text)
			if err != nil {
				t.Fatal(err)
			}
			descriptorHas(t, old, d)
			slices.Sort(old.Skipped)
			if !slices.Equal(old.Skipped, c.skipped) || len(old.Exits) != c.exits {
				t.Errorf("skipped %q, exits %q", old.Skipped, old.Exits)
			}
			other := *standard
			other.Nickname = "other"
			if other.CanRelayTo(old) != c.reached || old.StartsPaths() != c.reached || old.CanRelayTo(&other) != c.relaysOn {
				t.Error("0.0.8 would choose other paths")
			}
		})
	}
}

// TestInteropRulesRefuse: the rules that judge our descriptors refuse what breaks them.
func TestInteropRulesRefuse(t *testing.T) {
	identity, _ := keys(t)
	f := everything(t)
	text, err := SignDescriptor(identity, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"[Server]\n", "[Server]\n\n"}, {"[Server]\n", "[Server]\n# x\n"}, {"[Server]\n", "[Server]\n x\n"}, {"Comments: a", "Comments: \xe4"},
		{"Descriptor-Version: 0.2", "Descriptor-Version: 1.0"}, {"Nickname: s", "Nickname: 1"}, {"[Incoming/MMTP]\nVersion: 0.1", "[Incoming/MMTP]\nVersion: 0.2"},
		{"Published: ", "Published: x"}, {"Valid-Until: ", "Valid-Until: 20"}, {"Hostname: ", "Hostname: ."}, {"Hostname: mix", "Hostname: mix."},
		{"Port: 48099", "Port: 0"}, {"Port: 48099", "Port: 70000"}, {"Port: 48099\n", ""}, {"Port: 48099\n", "Port: 1\nPort: 2\n"},
		{"Contact: ", "Contact: " + strings.Repeat("x", 256)}, {"Comments: ", "Comments: " + strings.Repeat("x", 1024)}, {"Contact: admin@", "Contact: admin"},
		{"Packet-Versions: 0.3\n", ""}, {"Allow-From: yes", "Allow-From: maybe"}, {"Maximum-Size: 100", "Maximum-Size: -1"},
		{"[Outgoing/MMTP]", "[Incoming/MMTP]"}, {"Protocols: 0.3, 0.3-IPv6", "Protocols: "}, {"Nickname: sample-1", "Nickname: sample-2"},
		{"Signature: ", "Signature: AAAA"}, {"Maximum-Fragments: 66\n", ""},
	} {
		changed := strings.Replace(string(text), c[0], c[1], 1)
		if changed == string(text) {
			t.Errorf("%q does not stand in the descriptor", c[0])
		}
		if _, err := firstimpl.ReadDescriptor(changed, f.Published); err == nil {
			t.Errorf("%q instead of %q is taken", c[1], c[0])
		}
	}
	if _, err := firstimpl.ReadDescriptor(string(text), f.Published.Add(-11*time.Minute)); err == nil {
		t.Error("a descriptor of the future is taken")
	}
}

// TestInteropDirectories: the directories of the first implementation pass the rules, and ours do, with what 0.0.8 must
// skip: the hash of the directory of the day before.
func TestInteropDirectories(t *testing.T) {
	now := time.Unix(loadVectors(t).Now, 0)
	for _, name := range vectorDirectories {
		d, err := firstimpl.ReadDirectory(string(readFile(t, name)), now)
		if err != nil || len(d.Servers) == 0 || len(d.Skipped) > 0 {
			t.Errorf("%s: %+v: %v", name, d, err)
		}
	}
	info, servers := sampleDirectory(t)
	authorityKeys, _ := authorities(t)
	identity, _ := keys(t)
	own, err := SignDescriptor(identity, everything(t))
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDescriptor(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"as it is", func() {}},
		{"with the day before", func() { info.Previous = new([32]byte) }},
		{"with a new server", func() { servers = append(servers, d) }},
		{"with nobody recommended", func() { info.Recommended = nil }},
		{"without servers", func() { servers = nil }},
	} {
		c.change()
		body, err := FormatDirectory(info, servers)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		text, err := SignDirectory(body, authorityKeys...)
		if err != nil {
			t.Fatal(err)
		}
		old, err := firstimpl.ReadDirectory(string(text), now)
		if err != nil || old.Signers != len(authorityKeys) || len(old.Servers) != len(servers) || len(old.Recommended) != len(info.Recommended) {
			t.Errorf("%s: %+v: %v", c.name, old, err)
		} else if !slices.Equal(old.Skipped, map[bool][]string{true: {"Directory-History"}}[info.Previous != nil]) {
			t.Errorf("%s: skipped %q", c.name, old.Skipped)
		}
	}
}
