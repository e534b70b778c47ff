package directory

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mixminion/internal/crypt"
)

// editDirectory changes a directory once and signs it again.
func editDirectory(t testing.TB, text, find, replace string) []byte {
	t.Helper()
	where := regexp.MustCompile("(?m)" + find).FindStringIndex(text)
	if where == nil {
		t.Fatalf("no %q in the directory", find)
	}
	return []byte(text[:where[0]] + replace + text[where[1]:])
}

func bodyText(t testing.TB) string {
	return string(parsedDirectory(t, readFile(t, "consensus-0")).Body())
}

func TestParseDirectoryRefuses(t *testing.T) {
	body := bodyText(t)
	fingerprint := regexp.MustCompile(`[0-9A-F]{40}`).FindString(body)
	alpha := regexp.MustCompile(`(?s)\[Server\].*?\[Testing\].*?\n\[`).FindString(body)
	alpha = strings.TrimSuffix(alpha, "[")
	for name, e := range map[string]edit{
		"nothing":                     {`(?s)\A.*\z`, ""},
		"descriptors only":            {`(?s)\A.*?\[Server\]`, "[Server]"},
		"empty line":                  {`^Status`, "\nStatus"},
		"empty line at the end":       {`\z`, "\n"},
		"blank in front":              {`\A`, " "},
		"continuation":                {`^Status`, " Status"},
		"comment":                     {`^Status`, "# Status\nStatus"},
		"not ASCII":                   {`^Status`, "Gr\u00fcn: ja\nStatus"},
		"entry first":                 {`\A`, "A: b\n"},
		"no Directory-Info":           {`^\[Directory-Info\]`, "[Directory-Information]"},
		"unknown section in front":    {`\A`, "[Weather]\n"},
		"unknown section in between":  {`^\[Recommended-Software\]`, "[Weather]\n[Recommended-Software]"},
		"second Directory-Info":       {`^\[Recommended-Software\]`, "[Directory-Info]\n[Recommended-Software]"},
		"late Directory-Info":         {`^\[Server\]`, "[Directory-Info]\n[Server]"},
		"late Signed-Directory":       {`^\[Server\]`, "[Signed-Directory]\n[Server]"},
		"no Recommended-Software":     {`(?s)\[Recommended-Software\].*?\[Server\]`, "[Server]"},
		"second Recommended-Software": {`^\[Server\]`, "[Recommended-Software]\n[Server]"},
		"unknown section twice":       {`^\[Server\]`, "[Weather]\n[Weather]\n[Server]"},
		"no version":                  {`^Version.*\n`, ""},
		"version 1.0":                 {`^Version: 0.3`, "Version: 1.0"},
		"second Version":              {`^Version.*`, "Version: 0.3\nVersion: 0.3"},
		"no Status":                   {`^Status.*\n`, ""},
		"Status opinion":              {`^Status.*`, "Status: opinion"},
		"Status in capitals":          {`^Status.*`, "Status: Consensus"},
		"no Valid-After":              {`^Valid-After.*\n`, ""},
		"no Valid-Until":              {`^Valid-Until.*\n`, ""},
		"bad date":                    {`^Valid-After.*`, "Valid-After: 2026-02-30"},
		"two days":                    {`^Valid-Until.*`, "Valid-Until: 2026-12-30"},
		"no day":                      {`^Valid-Until.*`, "Valid-Until: 2026-11-21"},
		"no Recommended-Servers":      {`^Recommended-Servers.*\n`, ""},
		"not a nickname":              {`^Recommended-Servers: `, "Recommended-Servers: 0, "},
		"empty nickname":              {`^Recommended-Servers: `, "Recommended-Servers: a,,"},
		"too many nicknames":          {`^Recommended-Servers: `, "Recommended-Servers: " + strings.Repeat("a, ", maxRecommended)},
		"no voters":                   {`(^Voting-Server.*\n)+`, ""},
		"voter without URL":           {`^Voting-Server.*`, "Voting-Server: " + fingerprint},
		"voter's URL without slash":   {`^Voting-Server.*`, "Voting-Server: " + fingerprint + " http://a.example"},
		"voter's URL of a file":       {`^Voting-Server.*`, "Voting-Server: " + fingerprint + " file:///etc/"},
		"voter's URL with a blank":    {`^Voting-Server.*`, "Voting-Server: " + fingerprint + " http://a.example/a /"},
		"voter's URL without host":    {`^Voting-Server.*`, "Voting-Server: " + fingerprint + " http:///"},
		"voter's URL long":            {`^Voting-Server.*`, "Voting-Server: " + fingerprint + " http://" + strings.Repeat("a", MaxURLLen) + "/"},
		"fingerprint in small":        {`^Voting-Server.*`, "Voting-Server: " + strings.ToLower(fingerprint) + " http://a.example/"},
		"fingerprint short":           {`^Voting-Server.*`, "Voting-Server: " + fingerprint[1:] + " http://a.example/"},
		"voter twice":                 {`^Voting-Server: .*`, "Voting-Server: " + fingerprint + " http://a.example/\nVoting-Server: " + fingerprint + " http://a.example/"},
		"too many voters":             {`^Voting-Server: .*`, manyVoters(fingerprint)},
		"no MixminionClient":          {`^MixminionClient.*\n`, ""},
		"no MixminionServer":          {`^MixminionServer.*\n`, ""},
		"bad version of a client":     {`^MixminionClient.*`, "MixminionClient: newest"},
		"long version":                {`^MixminionClient.*`, "MixminionClient: 0." + strings.Repeat("1", maxVersionLen)},
		"too many versions":           {`^MixminionClient.*`, "MixminionClient: 1" + strings.Repeat(", 1", maxVersions)},
		"history without hash":        {`^\[Server\]`, "[Directory-History]\nVersion: 0.1\n[Server]"},
		"history with short hash":     {`^\[Server\]`, "[Directory-History]\nVersion: 0.1\nPrevious-SHA256: AAAA\n[Server]"},
		"history without version":     {`^\[Server\]`, "[Directory-History]\nPrevious-SHA256: " + strings.Repeat("A", 43) + "=\n[Server]"},
		"too many sections":           {`^\[Server\]`, manySections() + "[Server]"},
		"descriptor twice":            {`^\[Server\]`, alpha + "[Server]"},
		"descriptors out of order":    {`\z`, alpha},
		"descriptor changed":          {`^Port: .*`, "Port: 1"},
		"too many descriptors":        {`\z`, strings.Repeat("[Server]\n", MaxServers)},
		"too long":                    {`\z`, strings.Repeat("A: "+strings.Repeat("b", 1000)+"\n", MaxDirectoryLen/1000)},
	} {
		_, err := ParseDirectory(editDirectory(t, body, e.find, e.replace))
		var syntax *SyntaxError
		switch {
		case err == nil:
			t.Errorf("%s: accepted", name)
		case !errors.As(err, &syntax) && !errors.Is(err, ErrDirectoryVersion) && !errors.Is(err, ErrDigest):
			t.Errorf("%s: error %v of type %T", name, err, err)
		}
	}
}

func manyVoters(fingerprint string) string {
	var b strings.Builder
	for i := range MaxVoters + 1 {
		fmt.Fprintf(&b, "Voting-Server: %s http://a.example/%d/\n", fingerprint, i)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func manySections() string {
	var b strings.Builder
	for i := range headLimits.Sections {
		fmt.Fprintf(&b, "[S%d]\n", i)
	}
	return b.String()
}

func TestParseDirectorySingleSigned(t *testing.T) {
	text := "[Directory]\nVersion: 0.2\nPublished: 2026-11-22 17:23:58\nValid-After: 2026-11-22\nValid-Until: 2026-11-23\nRecommended-Servers: alpha\n" +
		"[Signature]\nDirectoryIdentity: AAAA\nDirectoryDigest: AAAA\nDirectorySignature: AAAA\n[Recommended-Software]\nMixminionClient: 0.0.7\nMixminionServer: 0.0.7\n" +
		string(readFile(t, "ServerDesc-Alpha"))
	for _, text := range []string{text, strings.ReplaceAll(text, "\n", "\r\n"), "[Directory]\n"} {
		if _, err := ParseDirectory([]byte(text)); !errors.Is(err, ErrSingleSigned) {
			t.Error(err)
		}
	}
}

func TestParseDirectoryTakes(t *testing.T) {
	text := string(readFile(t, "directory-3-signed"))
	hash := sha256.Sum256(nil)
	history := "[Directory-History]\nVersion: 0.1\nPrevious-SHA256: " + encodeBase64(hash[:]) + "\nWeather: fine\n"
	whole := parsedDirectory(t, []byte(text))
	for name, c := range map[string]struct {
		edit
		notes int
		holds func(*Directory) bool
	}{
		"unknown section":            {edit{`^\[Server\]`, "[Weather]\nVersion: 9\n[Server]"}, 1, nil},
		"unknown keys":               {edit{`^Status`, "Weather: fine\nWeather: mixed\nStatus"}, 2, nil},
		"unknown key of a signature": {edit{`^Directory-Digest`, "Weather: fine\nDirectory-Digest"}, 1, nil},
		"history":                    {edit{`^\[Server\]`, history + "[Server]"}, 1, func(d *Directory) bool { return *d.Previous == hash }},
		"history of another version": {edit{`^\[Server\]`, "[Directory-History]\nVersion: 0.2\n[Server]"}, 1, func(d *Directory) bool { return d.Previous == nil }},
		"nobody recommended": {edit{`^Recommended-Servers: .*`, "Recommended-Servers:"}, 0,
			func(d *Directory) bool { return len(d.Recommended) == 0 && !d.Recommends(d.Servers[0]) }},
		"unsorted recommendations": {edit{`^Recommended-Servers: .*`, "Recommended-Servers: bravo,ALPHA ,  bravo"}, 0,
			func(d *Directory) bool { return slices.Equal(d.Recommended, []string{"alpha", "bravo"}) }},
		"no servers":        {edit{`(?s)^\[Server\].*\z`, ""}, 0, func(d *Directory) bool { return len(d.Servers) == 0 }},
		"broken descriptor": {edit{`^Nickname: bravo`, "Nickname: br_vo"}, 1, func(d *Directory) bool { return len(d.Servers) == len(whole.Servers)-1 && d.Notes[0].Corrupt }},
		"new descriptor":    {edit{`^Descriptor-Version: 0.2`, "Descriptor-Version: 0.9"}, 1, func(d *Directory) bool { return len(d.Servers) == len(whole.Servers)-1 }},
		"huge descriptor": {edit{`^\[Testing\]`, "[Testing]\nA: " + strings.Repeat("x", MaxDescriptorLen)}, 1,
			func(d *Directory) bool { return len(d.Servers) == len(whole.Servers)-1 }},
	} {
		d, err := ParseDirectory(editDirectory(t, text, c.find, c.replace))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(d.Notes) != c.notes || c.holds != nil && !c.holds(d) {
			t.Errorf("%s: notes %v, %+v", name, d.Notes, d.Info)
		}
		if slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Line < 2 }) {
			t.Errorf("%s: notes without lines: %v", name, d.Notes)
		}
	}
}

func TestNoteNamesTheLine(t *testing.T) {
	text := editDirectory(t, string(readFile(t, "directory-3-signed")), `^Nickname: bravo`, "Nickname: br_vo")
	d := parsedDirectory(t, text)
	line := 1 + bytes.Count(text[:bytes.Index(text, []byte("br_vo"))], []byte("\n"))
	if len(d.Notes) != 1 || d.Notes[0].Line != line {
		t.Errorf("%v, want line %d", d.Notes, line)
	}
}

func TestLineEndsOfDirectories(t *testing.T) {
	text := string(readFile(t, "directory-3-signed"))
	for name, changed := range map[string]string{
		"CRLF":        strings.ReplaceAll(text, "\n", "\r\n"),
		"CR":          strings.ReplaceAll(text, "\n", "\r"),
		"trailing":    strings.ReplaceAll(text, "\n", " \t\n"),
		"no final NL": strings.TrimSuffix(text, "\n"),
	} {
		d := parsedDirectory(t, []byte(changed))
		if string(d.Text()) != text {
			t.Errorf("%s: text was not restored", name)
		}
		if d.signer(d.Signers[0].Fingerprint()) == nil {
			t.Errorf("%s: signature is lost", name)
		}
	}
}

// Whatever single byte of a signed directory is changed, it loses a signature or is refused.
func TestChangedDirectoriesLoseSignatures(t *testing.T) {
	text := readFile(t, "directory-3-signed")
	_, trusted := authorities(t)
	cache := new(Cache)
	for i := 0; i < len(text); i += 7 {
		changed := bytes.Clone(text)
		if changed[i] ^= 1; changed[i] == '\t' || changed[i] == '\v' {
			changed[i] = 'x'
		}
		d, err := cache.ParseDirectory(changed)
		if err != nil {
			continue
		}
		valid := 0
		for _, a := range trusted {
			if d.SignedBy(a.Fingerprint) {
				valid++
			}
		}
		if valid == len(trusted) {
			t.Fatalf("byte %d changed to %q: all signatures still count", i, changed[i])
		}
	}
}

func TestSigners(t *testing.T) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	keys, trusted := authorities(t)
	section := func(identity, digest, signature []byte) string {
		return fmt.Sprintf("[Signed-Directory]\nDirectory-Identity: %s\nDirectory-Digest: %s\nDirectory-Signature: %s\n",
			encodeBase64(identity), encodeBase64(digest), encodeBase64(signature))
	}
	weak, err := crypt.GenerateKey(1024)
	if err != nil {
		t.Fatal(err)
	}
	weakSignature, err := crypt.Sign(weak, d.digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSigner(d.body, weak); !errors.Is(err, crypt.ErrKey) {
		t.Error("signs with a weak key:", err)
	}
	if _, err := SignDetached(d.body, weak); !errors.Is(err, crypt.ErrKey) {
		t.Error("signs with a weak key:", err)
	}
	der := crypt.EncodePublicKey(&keys[0].PublicKey)
	good, bad := d.Signers[0].Signature, d.Signers[1].Signature
	other := crypt.Hash([]byte("other"))
	for name, c := range map[string]struct {
		sections string
		signers  int
		counts   bool
	}{
		"none":                  {"", 0, false},
		"good":                  {section(der, d.digest[:], good), 1, true},
		"twice":                 {section(der, d.digest[:], good) + section(der, d.digest[:], good), 1, true},
		"bad, then good":        {section(der, d.digest[:], bad) + section(der, d.digest[:], good), 1, true},
		"good, then bad":        {section(der, d.digest[:], good) + section(der, d.digest[:], bad), 1, true},
		"of another key":        {section(der, d.digest[:], bad), 1, false},
		"wrong digest":          {section(der, other[:], good), 1, false},
		"short signature":       {section(der, d.digest[:], good[1:]), 1, false},
		"short digest":          {section(der, d.digest[1:], good), 0, false},
		"no key":                {section(nil, d.digest[:], good), 0, false},
		"weak key":              {section(crypt.EncodePublicKey(&weak.PublicKey), d.digest[:], weakSignature), 0, false},
		"without signature":     {"[Signed-Directory]\nDirectory-Identity: " + encodeBase64(der) + "\n", 0, false},
		"not base64":            {"[Signed-Directory]\nDirectory-Identity: ?\nDirectory-Digest: ?\nDirectory-Signature: ?\n", 0, false},
		"good and a broken one": {section(nil, nil, nil) + section(der, d.digest[:], good), 1, true},
	} {
		changed, err := ParseDirectory([]byte(c.sections + string(d.body)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(changed.Signers) != c.signers || changed.SignedBy(trusted[0].Fingerprint) != c.counts {
			t.Errorf("%s: %d signers, counts %v", name, len(changed.Signers), !c.counts)
		}
	}
	many := strings.Repeat(section(der, d.digest[:], good), MaxSigners+1) + string(d.body)
	if _, err := ParseDirectory([]byte(many)); err == nil {
		t.Error("too many signatures accepted")
	}
}

func TestWithSigners(t *testing.T) {
	whole := parsedDirectory(t, readFile(t, "directory-3-signed"))
	var ones []*Directory
	for i := range 3 {
		ones = append(ones, parsedDirectory(t, readFile(t, fmt.Sprintf("consensus-%d", i))))
	}
	stranger := parsedStranger(t, whole.body)
	bad := whole.Signers[0]
	bad.Signature = whole.Signers[1].Signature
	want := ones[0].WithSigners(ones[1].Signers[0], ones[2].Signers[0])
	for name, got := range map[string][]byte{
		"in another order": ones[2].WithSigners(ones[0].Signers[0], ones[1].Signers[0]),
		"repeated":         ones[1].WithSigners(slices.Concat(ones[2].Signers, ones[0].Signers, ones[2].Signers, ones[1].Signers)...),
		"with bad ones":    ones[0].WithSigners(bad, ones[1].Signers[0], Signer{}, stranger, ones[2].Signers[0]),
	} {
		if !bytes.Equal(want, got) {
			t.Errorf("%s: other bytes", name)
		}
	}
	d := parsedDirectory(t, want)
	if len(d.Signers) != 3 || !slices.IsSortedFunc(d.Signers, func(a, b Signer) int { return strings.Compare(a.Fingerprint(), b.Fingerprint()) }) {
		t.Error("signers are not sorted or not there")
	}
	// One authority that has signed twice gives everybody the same signature.
	again, err := NewSigner(whole.body, mustKeys(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ones[0].WithSigners(again), parsedDirectory(t, formatSigned([]Signer{again}, whole.body)).WithSigners(ones[0].Signers...)) {
		t.Error("two signatures of one authority: the order decides")
	}
}

func FuzzParseDirectory(f *testing.F) {
	for _, name := range vectorDirectories {
		f.Add(readFile(f, name))
	}
	f.Add([]byte(bodyText(f)))
	f.Add([]byte("[Directory]\nVersion: 0.2\n"))
	short := parsedDirectory(f, readFile(f, "vote-0"))
	hash := short.BodyHash()
	short.Previous = &hash
	body, err := FormatDirectory(short.Info, short.Servers[:1])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	cache := new(Cache)
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := cache.ParseDirectory(text)
		if err != nil {
			return
		}
		if len(d.Servers) > MaxServers || len(d.Signers) > MaxSigners || len(d.Voters) > MaxVoters {
			t.Fatal("beyond the limits")
		}
		again, err := ParseDirectory(d.Text())
		if err != nil || !bytes.Equal(again.body, d.body) {
			t.Fatalf("Text does not parse again: %v", err)
		}
		body, err := FormatDirectory(d.Info, d.Servers)
		if errors.Is(err, ErrDirectory) {
			return // a descriptor that only we can read
		}
		if err != nil {
			t.Fatal(err)
		}
		canonical, err := ParseDirectory(body)
		if err != nil {
			t.Fatalf("what FormatDirectory wrote does not parse: %v", err)
		}
		if twice, err := FormatDirectory(canonical.Info, canonical.Servers); err != nil || !bytes.Equal(twice, body) {
			t.Fatalf("not canonical: %v", err)
		}
	})
}
