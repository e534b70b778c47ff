package client_test

import (
	"bytes"
	"slices"
	"testing"

	"mixminion/client"
	"mixminion/internal/clock"
)

// Whatever is imported, the home directory stays usable and holds what Import said it added.
func FuzzImport(f *testing.F) {
	s := mixServers()
	alder, birch := s[0].descriptor(f), s[1].descriptor(f)
	for _, seed := range [][]byte{
		nil, []byte("[Server]\n"), []byte("\n[Server]\n\n[Server]"), alder,
		slices.Concat(alder, birch), slices.Concat(alder, alder), slices.Concat([]byte("text\n"), alder, []byte("text\n"), birch),
		bytes.ReplaceAll(slices.Concat(alder, birch), []byte("\n"), []byte("\r\n")), alder[:len(alder)/2],
		s[0].descriptor(f, lifetime(-20*day, -20, 0)), s[0].descriptor(f, lifetime(day, 0, 30)),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := client.Open(t.TempDir(), client.Options{Clock: clock.NewManual(noon)})
		if err != nil {
			t.Fatal(err)
		}
		added, err := importTexts(t, c, text)
		if len(added) == 0 && err == nil {
			t.Error("nothing was added, and nobody is told why")
		}
		servers, err := c.Servers()
		if err != nil {
			t.Fatal(err)
		}
		if len(servers) != len(added) {
			t.Errorf("%d servers added, %d known", len(added), len(servers))
		}
		for _, d := range added {
			if !bytes.Contains(bytes.ReplaceAll(text, []byte("\r"), nil), []byte("Nickname: "+d.Nickname)) {
				t.Errorf("%s came from nowhere", d.Nickname)
			}
		}
		for _, d := range servers {
			if again, err := importTexts(t, c, d.Text()); err == nil {
				t.Errorf("%d servers added a second time", len(again))
			}
		}
	})
}
