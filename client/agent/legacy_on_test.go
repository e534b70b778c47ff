//go:build legacytls

package agent

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"mixminion/client"
	"mixminion/internal/clock"
	"mixminion/internal/testnet/oldnode"
	"mixminion/internal/testnet/testdir"
	"mixminion/path"
)

// The agent keeps to what the user's paths name: it takes a packet to an old mix that its path names, and no dummy.
func TestLegacyDeparture(t *testing.T) {
	identity, err := rsa.GenerateKey(rand.Reader, 2048) // the ready-made ones are those of the servers in home
	if err != nil {
		t.Fatal(err)
	}
	node, err := oldnode.Start("hazel", identity, testdir.Keys()[0], clock.Real{}.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	c := home(t, clock.Real{})
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Import(node.Descriptor); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := path.ParseSpec("hazel:hazel")
	if err != nil {
		t.Fatal(err)
	}
	to, err := client.ParseAddress("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Prepare(t.Context(), client.Message{To: to, Body: []byte("Hello.\n"), Path: spec}, nil)
	if err != nil {
		t.Fatal(err)
	}
	enqueue(t, c, p)

	a, err := New(c, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	dummies, err := a.dummies()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range a.pick(t.Context(), dummies) {
		a.attempt(t.Context(), d)
	}
	if n, err := c.QueueLen(); n != 0 || err != nil || len(node.Mails) != 1 {
		t.Errorf("%d packets wait, %d mails, %v", n, len(node.Mails), err)
	}
	a.cfg.Path = spec
	if _, err := a.dummies(); err == nil {
		t.Error("a dummy begins at an old mix")
	}
}
