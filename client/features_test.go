package client_test

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/message"
)

func TestParseFeature(t *testing.T) {
	for _, f := range client.Features() {
		for _, name := range []string{f.String(), strings.ToLower(f.String()), strings.ToUpper(f.Abbreviation())} {
			if got, err := client.ParseFeature(name); got != f || err != nil {
				t.Errorf("%q: %v, %v", name, got, err)
			}
		}
	}
	for name, want := range map[string]client.Feature{
		"capabilities":          client.FeatureCaps,
		"Fingerprint":           client.FeatureFingerprint,
		"port":                  {Section: "Incoming/MMTP", Key: "Port"},
		"delivery/smtp:version": {Section: "Delivery/SMTP", Key: "Version"},
	} {
		if got, err := client.ParseFeature(name); got != want || err != nil {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"":               `no such feature: ""`,
		"nonsense":       `no such feature: "nonsense"`,
		"Server:Port":    `no such feature: "Server:Port"`,
		"Testing:Port":   `no such feature: "Testing:Port"`,
		"maximum-size":   `no such feature: "maximum-size" can be Delivery/MBOX:Maximum-Size, Delivery/SMTP:Maximum-Size`,
		"Status:caps":    `no such feature: "Status:caps"`,
		"Server:Server:": `no such feature: "Server:Server:"`,
	} {
		if _, err := client.ParseFeature(name); !errors.Is(err, client.ErrFeature) || err.Error() != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestListFeatures(t *testing.T) {
	alder, birch := mixServers()[0], mixServers()[1]
	parse := func(s *mixServer, changes ...change) *directory.Descriptor {
		t.Helper()
		d, err := directory.ParseDescriptor(s.descriptor(t, changes...))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	today := noon.Truncate(day)
	at := func(from, until int, more ...change) change {
		return func(f *directory.Fields) {
			f.ValidAfter, f.ValidUntil = today.Add(time.Duration(from)*day), today.Add(time.Duration(until)*day)
			f.Published = f.ValidAfter.Add(-time.Hour)
			for _, m := range more {
				m(f)
			}
		}
	}
	noSMTP := func(f *directory.Fields) { f.SMTP, f.MBOX = nil, nil }
	first, second := parse(alder, at(-10, 5)), parse(alder, at(3, 20))
	third := parse(alder, at(20, 40, noSMTP))
	other := parse(birch, at(-1, 30, noSMTP))
	all := []*directory.Descriptor{other, third, first, second}
	date := func(n int) string { return today.Add(time.Duration(n) * day).Format(time.DateOnly) }

	caps, status := client.FeatureCaps, client.FeatureStatus
	port := client.Feature{Section: "Incoming/MMTP", Key: "Port"}
	size := client.Feature{Section: "Delivery/SMTP", Key: "Maximum-Size"}
	const full = "mbox smtp relay frag"
	for _, test := range []struct {
		name string
		q    client.FeatureQuery
		want []string
	}{
		{"now", client.FeatureQuery{Features: []client.Feature{caps, status}, Now: noon},
			[]string{"alder -10 5 " + full + "|(ok)", "birch -1 30 relay frag|(ok)"}},
		{"later", client.FeatureQuery{Features: []client.Feature{caps}, Now: today.Add(25 * day)},
			[]string{"alder 20 40 relay frag", "birch -1 30 relay frag"}},
		{"overlap", client.FeatureQuery{Features: []client.Feature{caps}, Now: today.Add(4 * day), Names: []string{"ALDER", "alder"}},
			[]string{"alder 3 20 " + full}},
		{"not yet", client.FeatureQuery{Features: []client.Feature{caps}, Now: today.Add(-90 * day)},
			[]string{"alder -10 5 " + full, "birch -1 30 relay frag"}},
		{"joined", client.FeatureQuery{Features: []client.Feature{caps}, Times: true},
			[]string{"alder -10 20 " + full, "alder 20 40 relay frag", "birch -1 30 relay frag"}},
		{"apart", client.FeatureQuery{Features: []client.Feature{caps}, Apart: true},
			[]string{"alder -10 5 " + full, "alder 3 20 " + full, "alder 20 40 relay frag", "birch -1 30 relay frag"}},
		{"one", client.FeatureQuery{Features: []client.Feature{port, size}, Names: []string{"Birch"}, Now: noon},
			[]string{"birch -1 30 48099|<none>"}},
		{"fingerprint", client.FeatureQuery{Features: []client.Feature{client.FeatureFingerprint}, Names: []string{"birch"}, Now: noon},
			[]string{"birch -1 30 " + other.Fingerprint()}},
		{"blocked", client.FeatureQuery{Features: []client.Feature{status}, Now: noon,
			BlockServers: []string{"Alder"}, BlockEntries: []string{"birch", "alder"}, BlockExits: []string{"BIRCH"}},
			[]string{"alder -10 5 (blocked,blocked as entry)", "birch -1 30 (blocked as entry,blocked as exit)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rows, err := client.ListFeatures(all, test.q)
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, r := range rows {
				got = append(got, strings.Join([]string{r.Nickname, r.From.Format(time.DateOnly), r.Until.Format(time.DateOnly),
					strings.Join(r.Values, "|")}, " "))
			}
			for _, w := range test.want {
				f := strings.SplitN(w, " ", 4)
				want = append(want, strings.Join([]string{f[0], date(atoi(t, f[1])), date(atoi(t, f[2])), f[3]}, " "))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := client.ListFeatures(all, client.FeatureQuery{Names: []string{"birch", "elm"}}); !errors.Is(err, client.ErrUnknownServer) {
		t.Errorf("unknown server: %v", err)
	}
	if rows, err := client.ListFeatures(nil, client.FeatureQuery{}); rows != nil || err != nil {
		t.Errorf("no servers: %v, %v", rows, err)
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCountPackets(t *testing.T) {
	to, err := client.ParseAddress("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 100<<10)
	rand.Read(random)
	for _, test := range []struct {
		m    client.Message
		want int
	}{
		{client.Message{To: client.Address{}}, 1},
		{client.Message{To: to, Body: []byte("Hello.")}, 1},
		{client.Message{To: to, Body: random}, 6},
		{client.Message{To: to, Body: random, DeliverFragments: true}, 6},
	} {
		if n, err := client.CountPackets(test.m); n != test.want || err != nil {
			t.Errorf("%v, %d bytes: %d packets, %v", test.m.To.Type, len(test.m.Body), n, err)
		}
	}
	if n, err := client.CountReplyPackets(message.Headers{Subject: "x"}, random); n != 6 || err != nil {
		t.Errorf("reply: %d packets, %v", n, err)
	}
	bad := message.Headers{Subject: "x\ny"}
	if _, err := client.CountReplyPackets(bad, nil); !errors.Is(err, message.ErrHeader) {
		t.Errorf("reply with a bad header: %v", err)
	}
	if _, err := client.CountPackets(client.Message{To: to, Headers: bad}); !errors.Is(err, message.ErrHeader) {
		t.Errorf("message with a bad header: %v", err)
	}
}
