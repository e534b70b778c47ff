package inbox_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"mixminion/authority/inbox"
	"mixminion/directory"
)

func unpack(t *testing.T, gz []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func pack(t testing.TB, texts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, text := range texts {
		if _, err := z.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func rawList(t *testing.T, w *world) []byte {
	t.Helper()
	gz, err := w.RawList()
	if err != nil {
		t.Fatal(err)
	}
	return gz
}

// The list holds what would be voted for if all were approved, and depends on nothing else.
func TestRawList(t *testing.T) {
	w := newWorld(t)
	if got := unpack(t, rawList(t, w)); got != "" {
		t.Errorf("the list of no servers is %q", got)
	}
	old := descriptor(t, 1, "alice", published(noon.Add(-oneDay)), lifetime(-3, 3))
	alice := descriptor(t, 1, "alice", lifetime(0, 9))
	bob, carol, dave := descriptor(t, 2, "Bob"), descriptor(t, 3, "carol"), descriptor(t, 4, "dave")
	for _, text := range [][]byte{carol, old, alice, dave, bob, descriptor(t, 5, "late", lifetime(31, 50)), descriptor(t, 1, "alice", published(noon), lifetime(40, 50))} {
		w.add(text)
	}
	w.decide("carol", inbox.Rejected)
	w.decide("dave", inbox.Banned)
	w.decide("bob", inbox.Approved)
	first := rawList(t, w)
	if got := unpack(t, first); got != string(alice)+string(bob)+string(carol) {
		t.Errorf("the list is\n%s", got)
	}
	if again := rawList(t, w); &again[0] != &first[0] {
		t.Error("the list is made anew without need")
	}
	other := newWorld(t)
	for _, text := range [][]byte{bob, alice, carol} {
		other.add(text)
	}
	if !bytes.Equal(rawList(t, other), first) {
		t.Error("the same descriptors give other bytes")
	}
	w.add(descriptor(t, 6, "Carol"))
	if got := unpack(t, rawList(t, w)); strings.Count(got, "arol\n") != 1 || !strings.Contains(got, "Nickname: Carol\n") {
		t.Errorf("a nickname of a rejected server:\n%s", got)
	}
	w.clock.Advance(9 * oneDay)
	if got := unpack(t, rawList(t, w)); strings.Contains(got, "alice") && !strings.Contains(got, "late") {
		t.Errorf("nine days later the list is\n%s", got)
	}

	for _, c := range []struct {
		method string
		status int
		length int
	}{{"GET", 200, len(rawList(t, w))}, {"HEAD", 200, 0}, {"POST", 405, -1}} {
		rec := httptest.NewRecorder()
		w.RawServers().ServeHTTP(rec, httptest.NewRequest(c.method, "/current-raw-servers.gz", nil))
		if rec.Code != c.status || c.length >= 0 && rec.Body.Len() != c.length {
			t.Errorf("%s: %d, %d bytes", c.method, rec.Code, rec.Body.Len())
		}
	}
}

// Each descriptor of another authority's list is judged as if it had been uploaded here.
func TestAddRawList(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	alice, bob := descriptor(t, 1, "alice"), descriptor(t, 2, "bob")
	w.add(alice)
	gz := pack(t, alice, bob, descriptor(t, 3, "alice"), []byte("[Server]\nrubbish\n"),
		descriptor(t, 4, "dave", lifetime(-9, -1)), replace(descriptor(t, 5, "eve"), "\n", "\r\n"), reseal(bob))
	sum, err := w.AddRawList(ctx, bytes.NewReader(gz), "other")
	if err != nil || sum.New != 2 || sum.Known != 1 || sum.Refused != 4 || len(sum.Errs) != 4 {
		t.Errorf("%+v %v", sum, err)
	}
	if !slices.ContainsFunc(sum.Errs, func(err error) bool { return errors.Is(err, directory.ErrConflict) }) {
		t.Errorf("%v", sum.Errs)
	}
	want := []string{"alice pending automatic 1", "bob pending automatic 1", "eve pending automatic 1"}
	if got := w.list(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// What one authority publishes another one can take.
	other := newWorld(t)
	sum, err = other.AddRawList(ctx, bytes.NewReader(rawList(t, w)), "w")
	if err != nil || sum.New != 3 || sum.Refused != 0 || !bytes.Equal(rawList(t, other), rawList(t, w)) {
		t.Errorf("%+v %v", sum, err)
	}

	for name, gz := range map[string][]byte{
		"no gzip":    []byte("[Server]\n"),
		"cut short":  rawList(t, w)[:100],
		"a bomb":     pack(t, make([]byte, inbox.MaxListLen+1)),
		"many items": pack(t, bytes.Repeat([]byte("[Server]\n"), 10_001)),
		"empty file": nil,
	} {
		if sum, err := w.AddRawList(ctx, bytes.NewReader(gz), "other"); err == nil || sum.New > 0 {
			t.Errorf("%s: %+v %v", name, sum, err)
		}
	}
	if sum, err := w.AddRawList(ctx, bytes.NewReader(pack(t)), "other"); err != nil || sum.New+sum.Known+sum.Refused > 0 {
		t.Errorf("an empty list: %+v %v", sum, err)
	}
	if sum, err := w.AddRawList(ctx, bytes.NewReader(pack(t, bytes.Repeat([]byte("[Server]\n"), 100))), "other"); err != nil || sum.Refused != 100 || len(sum.Errs) > 20 {
		t.Errorf("rubbish: %+v %v", sum, err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.AddRawList(gone, bytes.NewReader(gz), "other"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func FuzzAddRawList(f *testing.F) {
	good := descriptor(f, 1, "alice")
	f.Add(good)
	f.Add(slices.Concat(good, good, []byte("\n\n[Server]"), replace(good, "\n", "\r\n")))
	f.Add([]byte("[Server]\n[Server]\n\n[Server]\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := newWorld(t)
		sum, err := w.AddList(t.Context(), text, "fuzz")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(unpack(t, rawList(t, w))); (n > 0) != (sum.New > 0) {
			t.Fatalf("%+v, a list of %d bytes", sum, n)
		}
	})
}
