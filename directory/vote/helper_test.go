package vote

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

var day0 = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func day(n int) time.Time { return day0.AddDate(0, 0, n) }

// world is a group of authorities and some servers.
type world struct {
	t       testing.TB
	keys    []*rsa.PrivateKey // of the authorities
	servers []*rsa.PrivateKey
	group   []directory.Voter
	cache   directory.Cache
}

func newWorld(t testing.TB, authorities int) *world {
	t.Helper()
	w := &world{t: t}
	rest := readFile(t, "keys.pem")
	var keys []*rsa.PrivateKey
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if len(keys) < authorities+6 {
		t.Fatalf("only %d keys", len(keys))
	}
	w.keys, w.servers = keys[:authorities], keys[authorities:]
	for _, key := range w.keys {
		w.group = append(w.group, directory.Voter{Fingerprint: fingerprint(key), URL: "http://dir.example/" + fingerprint(key) + "/"})
	}
	slices.SortFunc(w.group, directory.CompareVoters)
	return w
}

func fingerprint(key *rsa.PrivateKey) string { return crypt.NewKeyID(&key.PublicKey).Fingerprint() }

// descriptor signs a descriptor of the n-th server.
func (w *world) descriptor(n int, nickname string, published time.Time, after, until int) *directory.Descriptor {
	w.t.Helper()
	text, err := directory.SignDescriptor(w.servers[n], directory.Fields{
		Nickname: nickname, Published: published, ValidAfter: day(after), ValidUntil: day(until),
		PacketKey: &w.keys[0].PublicKey, PacketVersions: []string{"0.3"}, Secure: true, Contact: "admin@example.org",
		Incoming: &directory.Incoming{Hostname: nickname + ".example.org", Port: 48099, Protocols: []string{"0.3"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.cache.ParseDescriptor(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// plain is a descriptor that nothing is wrong with.
func (w *world) plain(n int, nickname string) *directory.Descriptor {
	return w.descriptor(n, nickname, day(-1), -1, 29)
}

// text signs what an authority votes, after a change to the information that is right.
func (w *world) text(authority int, servers []*directory.Descriptor, change func(*directory.Info)) []byte {
	w.t.Helper()
	info := directory.Info{Status: directory.Vote, ValidAfter: day(0), ValidUntil: day(1), Voters: w.group}
	if change != nil {
		change(&info)
	}
	body, err := directory.FormatDirectory(info, servers)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := directory.SignDirectory(body, w.keys[authority])
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

func (w *world) parse(text []byte) *directory.Directory {
	w.t.Helper()
	d, err := w.cache.ParseDirectory(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) vote(authority int, servers []*directory.Descriptor, change func(*directory.Info)) *directory.Directory {
	w.t.Helper()
	return w.parse(w.text(authority, servers, change))
}

// tabulate counts votes for day 0 and expects that it works.
func (w *world) tabulate(votes ...*directory.Directory) *Result {
	w.t.Helper()
	r, err := Tabulate(day(0), w.group, votes)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

type descriptors = []*directory.Descriptor
