package inbox_test

import (
	"fmt"
	"strings"
	"testing"

	"mixminion/authority/inbox"
)

// network fills an inbox on a real disk with approved servers.
func network(b *testing.B, servers int) (*world, [][]byte) {
	b.Helper()
	dir := b.TempDir()
	w := newWorld(b, func(c *inbox.Config) { c.Dir, c.FS, c.AutoApprove = dir, nil, true })
	var texts [][]byte
	for i := range servers {
		text := descriptor(b, uint64(i), fmt.Sprint("mix-", i))
		w.add(text)
		texts = append(texts, text)
	}
	b.ReportAllocs()
	return w, texts
}

// BenchmarkUpload uploads what is known already.
func BenchmarkUpload(b *testing.B) {
	w, texts := network(b, 200)
	body := formOf(texts[0])
	for b.Loop() {
		w.clock.Advance(oneDay / 1e5)
		if status, got := post(w.Inbox, strings.NewReader(body), from("127.0.0.1:1")); status != 200 {
			b.Fatal(status, got)
		}
	}
}

func BenchmarkCandidates(b *testing.B) {
	w, _ := network(b, 200)
	for b.Loop() {
		if n := len(w.Candidates(noon)); n != 200 {
			b.Fatal(n)
		}
	}
}

func BenchmarkRawList(b *testing.B) {
	w, _ := network(b, 200)
	for b.Loop() {
		if _, err := w.RawList(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	w, _ := network(b, 200)
	for b.Loop() {
		w.reopen()
	}
}
