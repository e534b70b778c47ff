//go:build legacytls

package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/testnet/oldnode"
	"mixminion/internal/testnet/testdir"
	"mixminion/mmtp"
	"mixminion/packet"
	"mixminion/path"
)

// hazel is the old mix, as it will be when it is new.
func hazel() *mixServer {
	keys := testdir.Keys()
	return &mixServer{name: "hazel", identity: keys[0], packetKey: keys[1]}
}

// oldMix runs a mix of series 0.0.8, and opens and locks a home directory that knows it.
func oldMix(t *testing.T) (*oldnode.Node, *client.Client) {
	t.Helper()
	s := hazel()
	node, err := oldnode.Start(s.name, s.identity, s.packetKey, clock.NewManual(noon).Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	c, _ := newClient(t, node.Descriptor)
	lock(t, c)
	return node, c
}

// throughOld makes a packet whose path names the old mix, which also delivers it.
func throughOld(t *testing.T, c *client.Client) *client.Prepared {
	t.Helper()
	p, err := c.Prepare(t.Context(), client.Message{
		To: parseAddress(t, "bob@example.com"), Body: []byte("Hello.\n"), Path: parseSpec(t, "hazel:hazel"),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Packets[0].Legacy || !slices.ContainsFunc(p.Warnings, func(w path.Warning) bool { return w.Code == path.WarnLegacy }) {
		t.Errorf("permission %v, warnings %v", p.Packets[0].Legacy, p.Warnings)
	}
	return p
}

func checkMails(t *testing.T, node *oldnode.Node, n int) {
	t.Helper()
	if len(node.Mails) != n {
		t.Errorf("%d mails, want %d", len(node.Mails), n)
	}
	for range len(node.Mails) {
		if m := <-node.Mails; m.To != "bob@example.com" || m.Body != "Hello.\n" {
			t.Errorf("%+v", m)
		}
	}
}

// A path that names an old mix as its first hop is the permission for a legacy link to it, which the packet keeps in the queue. TLS 1.3 is
// tried first.
func TestLegacyFirstHop(t *testing.T) {
	node, c := oldMix(t)
	if err := c.Deliver(t.Context(), throughOld(t, c), nil); err != nil {
		t.Fatal(err)
	}
	checkMails(t, node, 1)
	if node.Refused() != 1 {
		t.Errorf("TLS 1.3 was tried %d times", node.Refused())
	}

	enqueue(t, c, throughOld(t, c))
	if r := flush(t, c, nil, 0); r.Sent != 1 || r.Kept != 0 || !slices.Equal(r.Legacy, []packet.Hop{node.Hop}) {
		t.Errorf("%+v", r)
	}
	checkMails(t, node, 1)

	enqueue(t, c, throughOld(t, c))
	picked, err := c.Pick([]packet.Hop{{Host: "elsewhere.example.net"}}, nil) // as the agent does
	if err != nil || !picked[0].Legacy {
		t.Fatalf("%v, %v", picked, err)
	}
	if err := c.Deliver(t.Context(), &client.Prepared{Packets: []client.PreparedPacket{picked[0].PreparedPacket}}, nil); err != nil {
		t.Error(err)
	}
	checkMails(t, node, 1)
}

// Packets without the permission, such as those of older queues, go over no legacy link, even if another packet has just made one.
func TestLegacyLinkNeedsPermission(t *testing.T) {
	node, c := oldMix(t)
	old := throughOld(t, c)
	old.Packets[0].Legacy = false
	enqueue(t, c, old)
	if r := flush(t, c, nil, 0); r.Kept != 1 || len(r.Causes) != 1 || len(r.Legacy) > 0 || node.Links() > 0 {
		t.Errorf("%+v, %d links", r, node.Links())
	} else if !strings.Contains(r.Causes[0].Error(), "write the message again") {
		t.Error(r.Causes[0])
	}
	enqueue(t, c, throughOld(t, c))
	if r := flush(t, c, nil, 0); r.Kept != 1 || r.Sent != 1 {
		t.Errorf("%+v", r)
	}
	checkMails(t, node, 1)
	if n, err := c.QueueLen(); n != 1 || err != nil {
		t.Errorf("%d packets wait, %v", n, err)
	}
}

// When the mix has said meanwhile that it speaks TLS 1.3, the permission has no effect, and neither has it when nothing can be known.
func TestLegacyLinkEndsWithAnUpgrade(t *testing.T) {
	node, c := oldMix(t)
	enqueue(t, c, throughOld(t, c))
	newer := hazel().descriptor(t, func(f *directory.Fields) {
		f.Published = noon.Add(-time.Second)
		f.Incoming.Hostname, f.Incoming.Port = node.Hop.Host, node.Hop.Port
	})
	links := node.Links()
	if _, err := c.Import(newer); err != nil {
		t.Fatal(err)
	}
	if r := flush(t, c, nil, 0); r.Kept != 1 || len(r.Legacy) > 0 || node.Links() != links {
		t.Errorf("%+v, %d links", r, node.Links()-links)
	}

	node, c = oldMix(t)
	enqueue(t, c, throughOld(t, c))
	if err := os.WriteFile(filepath.Join(c.Home(), "imported", "damaged"), []byte("[Server]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := flush(t, c, nil, 0); r.Kept != 1 || node.Links() > 0 {
		t.Errorf("%+v, %d links", r, node.Links())
	}
}

func TestLegacyDummies(t *testing.T) {
	_, c := oldMix(t)
	if p, err := c.Dummy(parseSpec(t, "hazel:hazel")); !errors.Is(err, path.ErrLegacyEntry) || p.Packet != nil {
		t.Errorf("a dummy begins at an old mix: %v", err)
	}
	if _, err := c.Dummy(parseSpec(t, "*2")); !errors.Is(err, path.ErrNoPath) {
		t.Errorf("a random dummy begins at an old mix: %v", err)
	}
}

func TestLegacyProbe(t *testing.T) {
	node, c := oldMix(t)
	if id, err := c.Probe(t.Context(), node.Hop, true); err != nil || id != node.Hop.KeyID {
		t.Errorf("%v, %v", id, err)
	}
	links := node.Links()
	if _, err := c.Probe(t.Context(), node.Hop, false); err == nil || node.Links() != links {
		t.Errorf("without permission: %v", err)
	}
	wrong := node.Hop
	wrong.KeyID[0] ^= 1
	if _, err := c.Probe(t.Context(), wrong, true); !errors.Is(err, mmtp.ErrKeyID) {
		t.Errorf("another key: %v", err)
	}
}
