package directory

import (
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/internal/crypt"
)

// resign gives text the digest and the signature that fit it.
func resign(t testing.TB, text string) []byte {
	t.Helper()
	identity, _ := keys(t)
	digest := descriptorDigest(clean([]byte(text)))
	signature, err := crypt.Sign(identity, digest)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string][]byte{"Digest": digest[:], "Signature": signature} {
		line := regexp.MustCompile(`(?m)^` + key + `:.*$`).FindString(text)
		text = strings.Replace(text, line, key+": "+base64.StdEncoding.EncodeToString(value), 1)
	}
	return []byte(text)
}

func sampleText(t testing.TB) string {
	t.Helper()
	identity, packetKey := keys(t)
	text, err := SignDescriptor(identity, sampleFields(packetKey))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// An edit replaces what a regular expression finds, once.
type edit struct{ find, replace string }

func (e edit) apply(t testing.TB, text string) []byte {
	t.Helper()
	re := regexp.MustCompile("(?m)" + e.find)
	where := re.FindStringIndex(text)
	if where == nil {
		t.Fatalf("no %q in the sample", e.find)
	}
	return resign(t, text[:where[0]]+e.replace+text[where[1]:])
}

func TestParseDescriptorRefuses(t *testing.T) {
	sample := sampleText(t)
	weak, err := crypt.GenerateKey(1024)
	if err != nil {
		t.Fatal(err)
	}
	short := base64.StdEncoding.EncodeToString(crypt.EncodePublicKey(&weak.PublicKey))
	for name, e := range map[string]edit{
		"no Server section":        {`\A\[Server\]`, "[Serving]"},
		"Server not first":         {`\A`, "[Testing]\n"},
		"second Server section":    {`\z`, "[Server]\n"},
		"second section":           {`\z`, "[Delivery/SMTP]\nVersion: 0.1\nMaximum-Size: 32\nAllow-From: no\n"},
		"second unknown section":   {`\z`, "[New]\n[New]\n"},
		"second Nickname":          {`^Contact:`, "Nickname: other\nContact:"},
		"second Hostname":          {`^Hostname: .*`, "Hostname: a.example\nHostname: b.example"},
		"second Maximum-Size":      {`^Allow-From:`, "Maximum-Size: 32\nAllow-From:"},
		"version 1.0":              {`^Descriptor-Version: 0.2`, "Descriptor-Version: 1.0"},
		"no version":               {`^Descriptor-Version.*\n`, ""},
		"no Nickname":              {`^Nickname.*\n`, ""},
		"no Identity":              {`^Identity.*\n`, ""},
		"no Published":             {`^Published.*\n`, ""},
		"no Valid-After":           {`^Valid-After.*\n`, ""},
		"no Valid-Until":           {`^Valid-Until.*\n`, ""},
		"no Contact":               {`^Contact.*\n`, ""},
		"no Packet-Key":            {`^Packet-Key.*\n`, ""},
		"no Packet-Versions":       {`^Packet-Versions.*\n`, ""},
		"nickname with a digit":    {`^Nickname: `, "Nickname: 1"},
		"nickname with underscore": {`^Nickname: s`, "Nickname: s_"},
		"nickname of 25":           {`^Nickname: .*`, "Nickname: " + strings.Repeat("n", 25)},
		"identity not base64":      {`^Identity: M`, "Identity: ."},
		"identity cut":             {`^(Identity: MIIBCgKCAQEA).*`, "Identity: MIIBCgKCAQEA"},
		"packet key too short":     {`^Packet-Key: .*`, "Packet-Key: " + short},
		"identity too short":       {`^Identity: .*`, "Identity: " + short},
		"date without century":     {`^Valid-After: 20`, "Valid-After: "},
		"13th month":               {`^Valid-After: .*`, "Valid-After: 2026-13-01"},
		"30th of February":         {`^Valid-After: .*`, "Valid-After: 2026-02-30"},
		"mixed date style":         {`^Valid-After: .*`, "Valid-After: 2026/11-20"},
		"time without seconds":     {`^Published: .*`, "Published: 2026-11-20 12:00"},
		"short hour":               {`^Published: .*`, "Published: 2026-11-20 2:00:00"},
		"date and time with T":     {`^Published: .*`, "Published: 2026-11-20T12:00:00"},
		"empty fraction":           {`^Published: .*`, "Published: 2026-11-20 12:00:00."},
		"lifetime backwards":       {`^Valid-Until: .*`, "Valid-Until: 2026-11-19"},
		"no lifetime":              {`^Valid-Until: .*`, "Valid-Until: 2026-11-20"},
		"long Contact":             {`^Contact: `, "Contact: " + strings.Repeat("c", 256)},
		"long Comments":            {`^Contact: `, "Comments: " + strings.Repeat("c", 1025) + "\nContact: "},
		"long fingerprint":         {`^Contact: `, "Contact-Fingerprint: " + strings.Repeat("c", 129) + "\nContact: "},
		"maybe secure":             {`^Secure-Configuration: yes`, "Secure-Configuration: maybe"},
		"empty Packet-Versions":    {`^Packet-Versions: .*`, "Packet-Versions: 0.3,,0.4"},
		"empty family":             {`^Contact: `, "MyFamily: \nContact: "},
		"second family":            {`^Contact: `, "MyFamily: a\nMyFamily: b\nContact: "},
		"family of a bad name":     {`^Contact: `, "MyFamily: a,b_c\nContact: "},
		"short fingerprint":        {`^Contact: `, "MyFamily: " + strings.Repeat("A", 39) + "\nContact: "},
		"large family":             {`^Contact: `, "MyFamily: " + strings.Join(manyNames(MaxFamily+1), ",") + "\nContact: "},
		"too much text":            {`\z`, "[Testing]\n" + strings.Repeat("a: "+strings.Repeat("b", 1000)+"\n", 66)},
		"empty line at the end":    {`\z`, "\n"},
	} {
		if d, err := ParseDescriptor(e.apply(t, sample)); err == nil {
			t.Errorf("%s: accepted as %+v", name, d.Fields)
		} else {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) && !errors.Is(err, ErrVersion) {
				t.Errorf("%s: error %v of type %T", name, err, err)
			}
		}
	}
}

func TestParseDescriptorChecksDigestAndSignature(t *testing.T) {
	sample := sampleText(t)
	other := resign(t, strings.Replace(sample, "admin@", "root@", 1))
	line := func(key string, text []byte) string {
		return regexp.MustCompile(`(?m)^` + key + `: .*$`).FindString(string(text))
	}
	wrongSignature := strings.Replace(sample, line("Signature", []byte(sample)), line("Signature", other), 1)
	if _, err := ParseDescriptor([]byte(wrongSignature)); !errors.Is(err, crypt.ErrSignature) {
		t.Errorf("signature of another text: %v", err)
	}
	wrongDigest := strings.Replace(sample, line("Digest", []byte(sample)), line("Digest", other), 1)
	if _, err := ParseDescriptor([]byte(wrongDigest)); !errors.Is(err, ErrDigest) {
		t.Errorf("digest of another text: %v", err)
	}
	shortSignature := strings.Replace(sample, line("Signature", []byte(sample)), "Signature: AAAA", 1)
	if _, err := ParseDescriptor([]byte(shortSignature)); !errors.Is(err, crypt.ErrSignature) {
		t.Errorf("short signature: %v", err)
	}
	shortDigest := strings.Replace(sample, line("Digest", []byte(sample)), "Digest: AAAA", 1)
	if _, err := ParseDescriptor([]byte(shortDigest)); err == nil {
		t.Error("short digest accepted")
	}
	k, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	stranger := base64.StdEncoding.EncodeToString(crypt.EncodePublicKey(&k[1].PublicKey))
	if _, err := ParseDescriptor(edit{`^Identity: .*`, "Identity: " + stranger}.apply(t, sample)); !errors.Is(err, crypt.ErrSignature) {
		t.Errorf("signed by another key: %v", err)
	}
}

func TestParseDescriptorSkips(t *testing.T) {
	sample := sampleText(t)
	for name, c := range map[string]struct {
		edit
		corrupt bool
		caps    string
	}{
		"unknown section":               {edit{`\z`, "[Delivery/News]\nVersion: 7\nVersion: 8\n"}, false, "mbox smtp relay frag"},
		"unknown key":                   {edit{`^Contact:`, "Weather: fine\nWeather: mixed\nContact:"}, false, "mbox smtp relay frag"},
		"unknown key in SMTP":           {edit{`^Maximum-Size:`, "Weather: fine\nMaximum-Size:"}, false, "mbox smtp relay frag"},
		"SMTP of another version":       {edit{`^\[Delivery/SMTP\]\nVersion: 0.1`, "[Delivery/SMTP]\nVersion: 0.2"}, false, "mbox relay frag"},
		"other version, other contents": {edit{`^\[Delivery/SMTP\]\nVersion: 0.1`, "[Delivery/SMTP]\nVersion: 1.0\nMaximum-Size: big"}, false, "mbox relay frag"},
		"SMTP without version":          {edit{`^\[Delivery/SMTP\]\nVersion: 0.1\n`, "[Delivery/SMTP]\n"}, true, "mbox relay frag"},
		"SMTP without size":             {edit{`^Maximum-Size: 100\n`, ""}, true, "mbox relay frag"},
		"size not a number":             {edit{`^Maximum-Size: 100`, "Maximum-Size: 100K"}, true, "mbox relay frag"},
		"negative size":                 {edit{`^Maximum-Size: 100`, "Maximum-Size: -1"}, true, "mbox relay frag"},
		"size with plus":                {edit{`^Maximum-Size: 100`, "Maximum-Size: +100"}, true, "mbox relay frag"},
		"huge size":                     {edit{`^Maximum-Size: 100`, "Maximum-Size: 99999999999999999999"}, true, "mbox relay frag"},
		"recipients":                    {edit{`^Maximum-Size: 100`, "Maximum-Size: 100\nMaximum-Recipients: 0"}, true, "mbox relay frag"},
		"recipients not a number":       {edit{`^Maximum-Size: 100`, "Maximum-Size: 100\nMaximum-Recipients: all"}, true, "mbox relay frag"},
		"recipients of MBOX":            {edit{`^Maximum-Size: 32`, "Maximum-Size: 32\nMaximum-Recipients: 2"}, false, "mbox smtp relay frag"},
		"MBOX from":                     {edit{`^Allow-From: no`, "Allow-From: No"}, true, "smtp relay frag"},
		"no fragments":                  {edit{`^Maximum-Fragments: 66`, "Maximum-Fragments:"}, true, "mbox smtp relay"},
		"no outgoing protocols":         {edit{`^\[Outgoing/MMTP\]\nVersion: 0.1\nProtocols: 0.3`, "[Outgoing/MMTP]\nVersion: 0.1"}, true, "mbox smtp frag"},
		"bad host":                      {edit{`^Hostname: .*`, "Hostname: ::1"}, true, ""},
		"port 0":                        {edit{`^Port: .*`, "Port: 0"}, true, ""},
		"port 65536":                    {edit{`^Port: .*`, "Port: 65536"}, true, ""},
		"incoming of another version":   {edit{`^\[Incoming/MMTP\]\nVersion: 0.1`, "[Incoming/MMTP]\nVersion: 1.0"}, false, ""},
	} {
		d, err := ParseDescriptor(c.apply(t, sample))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.Join(d.Capabilities(), " "); got != c.caps {
			t.Errorf("%s: capabilities %q, want %q", name, got, c.caps)
		}
		if len(d.Notes) == 0 || slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Line == 0 }) {
			t.Errorf("%s: notes %v", name, d.Notes)
		}
		if got := slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Corrupt }); got != c.corrupt {
			t.Errorf("%s: corrupt %v, notes %v", name, got, d.Notes)
		}
	}
}

func TestParseDescriptorTakes(t *testing.T) {
	sample := sampleText(t)
	for name, c := range map[string]struct {
		edit
		holds func(*Descriptor) bool
	}{
		"slashes in dates": {edit{`^Valid-After: .*`, "Valid-After: 2026/11/20"},
			func(d *Descriptor) bool { return d.ValidAfter.Equal(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)) }},
		"slashes in times": {edit{`^Published: .*`, "Published: 2026/11/20 01:02:03"},
			func(d *Descriptor) bool { return d.Published.Equal(time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC)) }},
		"milliseconds": {edit{`^Published: .*`, "Published: 2026-11-20 01:02:03.999"},
			func(d *Descriptor) bool { return d.Published.Equal(time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC)) }},
		"upper case host": {edit{`^Hostname: .*`, "Hostname: MIX.Example.ORG"},
			func(d *Descriptor) bool { return d.Node().Host == "mix.example.org" }},
		"IPv4 host": {edit{`^Hostname: .*`, "Hostname: 192.0.2.7"},
			func(d *Descriptor) bool { return d.Node().Host == "192.0.2.7" }},
		"senseless IP": {edit{`^Hostname:`, "IP: somewhere\nHostname:"},
			func(d *Descriptor) bool { return !d.Incoming.IP.IsValid() && len(d.Notes) == 0 }},
		"foreign Key-Digest": {edit{`^Key-Digest: .*`, "Key-Digest: ?"},
			func(d *Descriptor) bool { return d.Node().KeyID == d.KeyID() }},
		"Allow and Deny": {edit{`^Hostname:`, "Allow: *\nDeny: 10.0.0.0/255.0.0.0\nDeny: 192.0.2.1\nHostname:"},
			func(d *Descriptor) bool { return len(d.Notes) == 0 }},
		"several protocols": {edit{`^Protocols: 0.3`, "Protocols: 0.2 ,0.3,\t1.0"},
			func(d *Descriptor) bool { return d.AcceptsConnections() && len(d.Incoming.Protocols) == 3 }},
		"family": {edit{`^Contact: `, "MyFamily: alice ,bob, " + strings.Repeat("aB", 20) + "\nContact: "},
			func(d *Descriptor) bool {
				return slices.Equal(d.Family, []string{"alice", "bob", strings.Repeat("AB", 20)}) && len(d.Notes) == 0
			}},
		"IPv6 only": {edit{`^Protocols: 0.3`, "Protocols: 0.3-IPv6"},
			func(d *Descriptor) bool {
				return !d.AcceptsConnections() && d.AcceptsConnections(MMTPVersionIPv6) && len(d.Notes) == 0
			}},
		"no Software": {edit{`^Software: .*\n`, ""}, func(d *Descriptor) bool { return d.Software == "" }},
		"another packet version": {edit{`^Packet-Versions: .*`, "Packet-Versions: 0.4"},
			func(d *Descriptor) bool { return d.UnwrapsVersion("0.4") && !d.UnwrapsVersion("0.3") }},
		"Testing with anything": {edit{`\z`, "[Testing]\nDigest: x\nSignature: y\nVersion: 9\nVersion: 9\n"},
			func(d *Descriptor) bool { return len(d.Notes) == 0 }},
	} {
		d, err := ParseDescriptor(c.apply(t, sample))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !c.holds(d) {
			t.Errorf("%s: %+v, notes %v", name, d.Fields, d.Notes)
		}
	}
}

func TestSyntaxErrorNamesTheLine(t *testing.T) {
	_, err := ParseDescriptor(edit{`^Nickname: .*`, "Nickname: -"}.apply(t, sampleText(t)))
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Line != 3 || !strings.HasPrefix(err.Error(), "line 3: Nickname: ") {
		t.Error(err)
	}
}

func FuzzParseDescriptor(f *testing.F) {
	for _, s := range loadVectors(f).Servers {
		f.Add(readFile(f, s.File))
	}
	f.Add([]byte(sampleText(f)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := ParseDescriptor(text); err == nil {
			mustBeSound(t, d)
		}
		// Most of the parser is behind the signature only for those who have no key.
		sections, err := Parse(text, DescriptorLimits)
		if err != nil {
			return
		}
		p := descriptorParser{d: &Descriptor{}}
		if p.parse(sections) == nil {
			mustBeSound(t, p.d)
		}
	})
}

func mustBeSound(t *testing.T, d *Descriptor) {
	t.Helper()
	bits := d.Identity.N.BitLen()
	node := d.Node()
	switch {
	case !ValidNickname(d.Nickname), bits < 2048, bits > 4096, d.PacketKey.N.BitLen() != 2048, !d.ValidUntil.After(d.ValidAfter),
		d.Incoming != nil && (node.Port == 0 || !validHost(node.Host) || node.Host != strings.ToLower(node.Host)):
		t.Fatalf("%+v", d.Fields)
	}
	d.Capabilities()
}
