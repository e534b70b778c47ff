package directory

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mixminion/internal/crypt"
)

// testKeys are the private keys that come with the vectors: making keys is what takes the time in tests like these.
var testKeys = sync.OnceValues(func() ([]*rsa.PrivateKey, error) {
	var v struct {
		Keys []string `json:"directory_identities_pkcs1_der"`
	}
	if err := json.Unmarshal(directoryJSON, &v); err != nil {
		return nil, err
	}
	var keys []*rsa.PrivateKey
	for _, k := range v.Keys {
		der, err := base64.StdEncoding.DecodeString(k)
		if err != nil {
			return nil, err
		}
		key, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) < 2 {
		return nil, errors.New("the vectors hold fewer than two keys")
	}
	return keys, nil
})

func keys(t testing.TB) (identity *rsa.PrivateKey, packetKey *rsa.PublicKey) {
	t.Helper()
	k, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k[0], &k[1].PublicKey
}

// sampleFields describe a server that does everything.
func sampleFields(packetKey *rsa.PublicKey) Fields {
	return Fields{
		Nickname:       "sample-1",
		Published:      time.Date(2026, 11, 20, 11, 59, 59, 0, time.UTC),
		ValidAfter:     time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		ValidUntil:     time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC),
		PacketKey:      packetKey,
		PacketVersions: []string{"0.3"},
		Software:       "Mixminion 0.1",
		Secure:         true,
		Contact:        "admin@example.org",
		Incoming:       &Incoming{Hostname: "mix.example.org", Port: 48099, Protocols: []string{"0.3"}},
		Outgoing:       &Outgoing{Protocols: []string{"0.3"}},
		SMTP:           &Delivery{MaximumSize: 100, AllowFrom: true},
		MBOX:           &Delivery{MaximumSize: 32},
		Fragmented:     &Fragmented{MaximumFragments: 66},
	}
}

func TestSignDescriptor(t *testing.T) {
	identity, packetKey := keys(t)
	text, err := SignDescriptor(identity, sampleFields(packetKey))
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDescriptor(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleFields(packetKey), d.Fields, cmp.Comparer(netipEqual)); diff != "" {
		t.Error(diff)
	}
	if d.KeyID() != crypt.NewKeyID(&identity.PublicKey) {
		t.Error("wrong identity")
	}
	if strings.Contains(string(text), "IP:") {
		t.Error("an address that was not given is in the descriptor")
	}
}

func netipEqual(a, b netip.Addr) bool { return a == b }

func TestSignDescriptorRefuses(t *testing.T) {
	identity, packetKey := keys(t)
	for name, spoil := range map[string]func(*Fields){
		"no nickname":           func(f *Fields) { f.Nickname = "" },
		"bad nickname":          func(f *Fields) { f.Nickname = "9lives" },
		"long nickname":         func(f *Fields) { f.Nickname = strings.Repeat("n", 25) },
		"no packet key":         func(f *Fields) { f.PacketKey = nil },
		"one key for both":      func(f *Fields) { f.PacketKey = &identity.PublicKey },
		"no packet version":     func(f *Fields) { f.PacketVersions = nil },
		"no contact":            func(f *Fields) { f.Contact = "" },
		"long contact":          func(f *Fields) { f.Contact = strings.Repeat("c", 257) },
		"contact in two lines":  func(f *Fields) { f.Contact = "a\nComments: b" },
		"long comments":         func(f *Fields) { f.Comments = strings.Repeat("c", 1025) },
		"comments not ASCII":    func(f *Fields) { f.Comments = "gr\u00fcn" },
		"long fingerprint":      func(f *Fields) { f.ContactFingerprint = strings.Repeat("c", 129) },
		"long software":         func(f *Fields) { f.Software = strings.Repeat("c", 256) },
		"blanks around":         func(f *Fields) { f.Software = " Mixminion" },
		"secure with reason":    func(f *Fields) { f.WhyInsecure = "Timed pool" },
		"insecure, no reason":   func(f *Fields) { f.Secure = false },
		"fractions of a second": func(f *Fields) { f.Published = f.Published.Add(time.Millisecond) },
		"not from midnight":     func(f *Fields) { f.ValidAfter = f.ValidAfter.Add(time.Hour) },
		"no lifetime":           func(f *Fields) { f.ValidUntil = f.ValidAfter },
		"year 10000":            func(f *Fields) { f.ValidUntil = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no host":               func(f *Fields) { f.Incoming.Hostname = "" },
		"IPv6 host":             func(f *Fields) { f.Incoming.Hostname = "2001:db8::1" },
		"half an address":       func(f *Fields) { f.Incoming.Hostname = "127.1" },
		"address out of range":  func(f *Fields) { f.Incoming.Hostname = "127.0.0.256" },
		"dots":                  func(f *Fields) { f.Incoming.Hostname = "a..b" },
		"IPv6 in IP":            func(f *Fields) { f.Incoming.IP = netip.MustParseAddr("2001:db8::1") },
		"port 0":                func(f *Fields) { f.Incoming.Port = 0 },
		"no protocol":           func(f *Fields) { f.Outgoing.Protocols = nil },
		"empty protocol":        func(f *Fields) { f.Incoming.Protocols = []string{""} },
		"tiny messages only":    func(f *Fields) { f.SMTP.MaximumSize = 31 },
		"IPv6 at an IPv4 host": func(f *Fields) {
			f.Incoming.Hostname, f.Incoming.Protocols = "192.0.2.1", MMTPProtocols(true, true)
		},
		"family of no name":       func(f *Fields) { f.Family = []string{"9lives"} },
		"family with a separator": func(f *Fields) { f.Family = []string{"a b"} },
		"large family":            func(f *Fields) { f.Family = manyNames(MaxFamily + 1) },
		"no fragments":            func(f *Fields) { f.Fragmented.MaximumFragments = 0 },
		"no recipients":           func(f *Fields) { f.SMTP.MaximumRecipients = -1 },
		"nine recipients":         func(f *Fields) { f.SMTP.MaximumRecipients = 9 },
		"two mailboxes":           func(f *Fields) { f.MBOX.MaximumRecipients = 2 },
	} {
		f := sampleFields(packetKey)
		spoil(&f)
		if _, err := SignDescriptor(identity, f); !errors.Is(err, ErrFields) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignedDescriptorsParse(t *testing.T) {
	identity, packetKey := keys(t)
	day := 24 * time.Hour
	rapid.Check(t, func(t *rapid.T) {
		line := func(most int) *rapid.Generator[string] {
			return rapid.Custom(func(t *rapid.T) string {
				return strings.Trim(rapid.StringOfN(rapid.RuneFrom([]rune("ab[]: #,\tXY~")), 1, most, -1).Draw(t, "line"), blanks)
			})
		}
		f := Fields{
			Nickname:       rapid.StringMatching(`[A-Za-z][A-Za-z0-9-]{0,23}`).Draw(t, "nickname"),
			Published:      time.Unix(rapid.Int64Range(0, 1<<34).Draw(t, "published"), 0).UTC(),
			ValidAfter:     time.Unix(0, 0).UTC().Add(day * time.Duration(rapid.IntRange(0, 30000).Draw(t, "after"))),
			PacketKey:      packetKey,
			PacketVersions: rapid.SliceOfN(rapid.StringMatching(`[0-9]\.[0-9]`), 1, 4).Draw(t, "versions"),
			Software:       line(255).Draw(t, "software"),
			Contact:        "c" + line(255).Draw(t, "contact"),
			Comments:       line(1024).Draw(t, "comments"),

			ContactFingerprint: line(128).Draw(t, "fingerprint"),
		}
		f.ValidUntil = f.ValidAfter.Add(day * time.Duration(rapid.IntRange(1, 100).Draw(t, "days")))
		f.WhyInsecure = line(300).Draw(t, "why")
		f.Secure = f.WhyInsecure == ""
		if family := rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Z][A-Z0-9-]{0,23}|[0-9A-F]{40}`), 1, 5, rapid.ID).Draw(t, "family"); rapid.Bool().Draw(t, "has family") {
			f.Family = sortFamily(family)
		}
		protocols := rapid.SliceOfN(rapid.StringMatching(`[0-9]\.[0-9]`), 1, 3)
		delivery := rapid.Custom(func(t *rapid.T) *Delivery {
			return &Delivery{MaximumSize: rapid.IntRange(32, 1<<30).Draw(t, "size"), AllowFrom: rapid.Bool().Draw(t, "from")}
		})
		if rapid.Bool().Draw(t, "incoming") {
			f.Incoming = &Incoming{
				Hostname:  rapid.StringMatching(`[a-z0-9]{1,20}(\.[a-z0-9-]{1,20}){0,4}\.[a-z]{2,8}|10\.0\.0\.[1-9]`).Draw(t, "host"),
				Port:      rapid.Uint16Min(1).Draw(t, "port"),
				Protocols: protocols.Draw(t, "protocols"),
				TLS:       rapid.SampledFrom([][]string{nil, {TLS13}, {TLS13, TLSLegacy}}).Draw(t, "TLS"),
			}
			if rapid.Bool().Draw(t, "ip") {
				f.Incoming.IP = netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "last")})
			}
		}
		if rapid.Bool().Draw(t, "outgoing") {
			f.Outgoing = &Outgoing{Protocols: protocols.Draw(t, "protocols"), TLS: rapid.SampledFrom([][]string{nil, {TLS13}, {TLS13, TLSLegacy}}).Draw(t, "TLS")}
		}
		if rapid.Bool().Draw(t, "smtp") {
			f.SMTP = delivery.Draw(t, "delivery")
			f.SMTP.MaximumRecipients = rapid.IntRange(0, 8).Draw(t, "recipients")
		}
		if rapid.Bool().Draw(t, "mbox") {
			f.MBOX = delivery.Draw(t, "delivery")
		}
		if rapid.Bool().Draw(t, "frag") {
			f.Fragmented = &Fragmented{rapid.IntRange(1, 1<<20).Draw(t, "fragments")}
		}
		text, err := SignDescriptor(identity, f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseDescriptor(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, d.Fields, cmp.Comparer(netipEqual)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Whatever single byte of a descriptor is changed, nobody takes it for what the server signed.
func TestChangedDescriptorsAreRefused(t *testing.T) {
	text := readFile(t, loadVectors(t).Servers[0].File)
	for i := range text {
		changed := append([]byte(nil), text...)
		if changed[i] ^= 1; changed[i] == '\t' || changed[i] == '\v' {
			changed[i] = 'x'
		}
		d, err := ParseDescriptor(changed)
		if err == nil {
			t.Fatalf("byte %d changed to %q: still accepted as %s", i, changed[i], d.Nickname)
		}
	}
}

func BenchmarkParseDescriptor(b *testing.B) {
	text := readFile(b, loadVectors(b).Servers[0].File)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := ParseDescriptor(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignDescriptor(b *testing.B) {
	identity, packetKey := keys(b)
	f := sampleFields(packetKey)
	for b.Loop() {
		if _, err := SignDescriptor(identity, f); err != nil {
			b.Fatal(err)
		}
	}
}
