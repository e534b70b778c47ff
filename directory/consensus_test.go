package directory

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/internal/crypt"
)

var vectorDirectories = []string{"vote-0", "vote-1", "vote-2", "consensus-0", "consensus-1", "consensus-2", "directory-3-signed"}

// directoryVectors is what directory.json says about the directories beside it.
type directoryVectors struct {
	ClientVersions []string    `json:"client_versions"`
	Nicknames      []string    `json:"descriptors_in_consensus"`
	Recommended    []string    `json:"recommended"`
	Voters         [][2]string `json:"voters"`
	Now            int64       `json:"now"`
}

func loadDirectoryVectors(t testing.TB) (v directoryVectors) {
	t.Helper()
	if err := json.Unmarshal(directoryJSON, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func parsedDirectory(t testing.TB, text []byte) *Directory {
	t.Helper()
	d, err := ParseDirectory(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// authorities gives the keys of the vectors' authorities and those who trust all of them.
func authorities(t testing.TB) (keys []*rsa.PrivateKey, trusted []Authority) {
	t.Helper()
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		trusted = append(trusted, Authority{Fingerprint: crypt.NewKeyID(&k.PublicKey).Fingerprint()})
	}
	return keys, trusted
}

func TestVectorDirectories(t *testing.T) {
	want := loadDirectoryVectors(t)
	var voters []Voter
	for _, v := range want.Voters {
		voters = append(voters, Voter{v[0], v[1]})
	}
	slices.SortFunc(voters, CompareVoters)
	keys, trusted := authorities(t)
	for _, name := range vectorDirectories {
		text := readFile(t, name)
		d, err := ParseDirectory(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(string(text), string(d.Text())); diff != "" {
			t.Errorf("%s: Text differs: %s", name, diff)
		}
		body, err := FormatDirectory(d.Info, d.Servers)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(string(d.Body()), string(body)); diff != "" {
			t.Errorf("%s: body written again differs: %s", name, diff)
		}
		if diff := cmp.Diff(voters, d.Voters); diff != "" {
			t.Errorf("%s: voters: %s", name, diff)
		}
		signers := []*rsa.PrivateKey{keys[(int(name[len(name)-1])-'0')%len(keys)]}
		status := Consensus
		switch name[:4] {
		case "vote":
			status = Vote
		case "dire":
			signers = keys
		}
		var got, expected []string
		for _, s := range d.Signers {
			got = append(got, s.Fingerprint())
			if s.Err != nil || !d.SignedBy(s.Fingerprint()) {
				t.Errorf("%s: signer %s: %v", name, s.Fingerprint(), s.Err)
			}
		}
		for _, k := range signers {
			expected = append(expected, crypt.NewKeyID(&k.PublicKey).Fingerprint())
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%s: signers: %s", name, diff)
		}
		if len(d.Notes) > 0 || d.Status != status || d.SignedBy(trusted[0].Fingerprint) != slices.Contains(expected, trusted[0].Fingerprint) {
			t.Errorf("%s: %s, notes %v", name, d.Status, d.Notes)
		}
		if d.Freshness(d.ValidAfter) != Fresh || d.CheckFresh(time.Unix(want.Now, 0).AddDate(0, 0, 1)) != nil {
			t.Errorf("%s: not usable on its day", name)
		}
	}
}

func TestVectorConsensusSays(t *testing.T) {
	want := loadDirectoryVectors(t)
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	var nicknames, recommended []string
	for _, s := range d.Servers {
		nicknames = append(nicknames, s.Nickname)
		if d.Recommends(s) {
			recommended = append(recommended, strings.ToLower(s.Nickname))
		}
	}
	for _, c := range [][2][]string{{want.Nicknames, nicknames}, {want.Recommended, recommended}, {want.Recommended, d.Recommended}, {want.ClientVersions, d.ClientVersions}} {
		if diff := cmp.Diff(c[0], c[1]); diff != "" {
			t.Error(diff)
		}
	}
	stranger := *d.Servers[0]
	stranger.Identity = d.Servers[1].Identity
	if d.Recommends(&stranger) {
		t.Error("recommends another server with the nickname of a good one")
	}
	if d.Previous != nil {
		t.Error("has a history")
	}
}

// sampleDirectory is a consensus of the vectors' five servers.
func sampleDirectory(t testing.TB) (Info, []*Descriptor) {
	d := parsedDirectory(t, readFile(t, "directory-3-signed"))
	return d.Info, d.Servers
}

func TestDirectoryRoundTrip(t *testing.T) {
	info, servers := sampleDirectory(t)
	keys, _ := authorities(t)
	hash := sha256.Sum256([]byte("the day before"))
	for name, change := range map[string]func(*Info){
		"as it is":         func(*Info) {},
		"vote":             func(i *Info) { i.Status = Vote },
		"history":          func(i *Info) { i.Previous = &hash },
		"nothing in lists": func(i *Info) { i.Recommended, i.ClientVersions, i.ServerVersions = nil, nil, nil },
		"lists unsorted": func(i *Info) {
			i.Recommended = []string{"Charlie", "alpha", "ALPHA"}
			i.Voters = append([]Voter{i.Voters[2]}, i.Voters...)
			i.ClientVersions = []string{"0.0.10", "0.0.9", "0.0.9", "0.0.9rc1"}
		},
		"two URLs": func(i *Info) {
			i.Voters = append(slices.Clone(i.Voters), Voter{i.Voters[0].Fingerprint, "https://another.example/d/"})
		},
	} {
		changed := info
		change(&changed)
		reversed := slices.Clone(servers)
		slices.Reverse(reversed)
		body, err := FormatDirectory(changed, reversed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := SignDirectory(body, keys...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		d := parsedDirectory(t, text)
		again, err := FormatDirectory(d.Info, d.Servers)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(body, again) || !bytes.Equal(body, d.Body()) || !bytes.Equal(text, d.Text()) {
			t.Errorf("%s: other bytes after reading", name)
		}
		if len(d.Notes) > 0 || len(d.Signers) != len(keys) {
			t.Errorf("%s: notes %v, %d signers", name, d.Notes, len(d.Signers))
		}
		for _, s := range d.Signers {
			if s.Err != nil {
				t.Errorf("%s: %v", name, s.Err)
			}
		}
		if (d.Previous == nil) != (changed.Previous == nil) || d.Previous != nil && *d.Previous != hash {
			t.Errorf("%s: history is lost", name)
		}
		if regexp.MustCompile(`(?m)^[^:]*:$`).Match(text) {
			t.Errorf("%s: an empty value without the blank that the grammar wants", name)
		}
		if d.BodyHash() != sha256.Sum256(body) || d.Digest() != crypt.Hash(body) {
			t.Errorf("%s: digests", name)
		}
	}
}

func TestFormatDirectoryRefuses(t *testing.T) {
	info, servers := sampleDirectory(t)
	identity, packetKey := keys(t)
	sign := func(change func(*Fields), key *rsa.PrivateKey) *Descriptor {
		f := sampleFields(packetKey)
		change(&f)
		text, err := SignDescriptor(key, f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseDescriptor(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	corrupt, err := ParseDescriptor(edit{`^Maximum-Size: 100`, "Maximum-Size: much"}.apply(t, sampleText(t)))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Info, *[]*Descriptor){
		"no status": func(i *Info, _ *[]*Descriptor) { i.Status = "" },
		"noon":      func(i *Info, _ *[]*Descriptor) { i.ValidAfter = i.ValidAfter.Add(12 * time.Hour) },
		"two days":  func(i *Info, _ *[]*Descriptor) { i.ValidUntil = i.ValidUntil.AddDate(0, 0, 1) },
		"year 10000": func(i *Info, _ *[]*Descriptor) {
			i.ValidAfter = day(365 * 8100)
			i.ValidUntil = i.ValidAfter.AddDate(0, 0, 1)
		},
		"no voters":         func(i *Info, _ *[]*Descriptor) { i.Voters = nil },
		"bad fingerprint":   func(i *Info, _ *[]*Descriptor) { i.Voters = []Voter{{"abc", "http://a.example/"}} },
		"bad URL":           func(i *Info, _ *[]*Descriptor) { i.Voters = []Voter{{i.Voters[0].Fingerprint, "http://a.example"}} },
		"bad nickname":      func(i *Info, _ *[]*Descriptor) { i.Recommended = []string{"a b"} },
		"comma in nickname": func(i *Info, _ *[]*Descriptor) { i.Recommended = []string{"a,"} },
		"bad version":       func(i *Info, _ *[]*Descriptor) { i.ServerVersions = []string{"0.0.8 beta"} },
		"line break":        func(i *Info, _ *[]*Descriptor) { i.ServerVersions = []string{"0.0.8\n[Server]"} },
		"too many voters": func(i *Info, _ *[]*Descriptor) {
			for n := range MaxVoters {
				i.Voters = append(i.Voters, Voter{i.Voters[0].Fingerprint, fmt.Sprintf("http://a.example/%d/", n)})
			}
		},
		"one descriptor twice": func(_ *Info, s *[]*Descriptor) { *s = append(*s, (*s)[0]) },
		"corrupt descriptor":   func(_ *Info, s *[]*Descriptor) { *s = append(*s, corrupt) },
		"one key, two names": func(_ *Info, s *[]*Descriptor) {
			*s = append(*s, sign(func(f *Fields) { f.Nickname = "one" }, identity), sign(func(f *Fields) { f.Nickname = "two" }, identity))
		},
		"one name, two keys": func(_ *Info, s *[]*Descriptor) {
			*s = append(*s, sign(func(f *Fields) { f.Nickname = "BRAVO" }, identity))
		},
	} {
		i, s := info, slices.Clone(servers)
		i.Voters = slices.Clone(i.Voters)
		spoil(&i, &s)
		if _, err := FormatDirectory(i, s); !errors.Is(err, ErrDirectory) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
