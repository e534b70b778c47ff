//go:build legacytls

package testnet_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/testnet"
	"mixminion/internal/testnet/oldnode"
	"mixminion/internal/testnet/testdir"
	"mixminion/mix"
	"mixminion/packet"
	"mixminion/path"
)

// A bothKinds network has alder and birch, whose LegacyTLS is yes, cedar, whose is no, and hazel, a mix that knows no TLS 1.3.
type bothKinds struct {
	hazel *oldnode.Node
	sink  *testnet.Sink
	user  *client.Client
	clk   *clock.Manual
	all   []*directory.Descriptor
}

func startBothKinds(t *testing.T) *bothKinds {
	t.Helper()
	n := &bothKinds{clk: clock.NewManual(evening)}
	var err error
	if n.sink, err = testnet.NewSink(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := testdir.Keys()
	if n.hazel, err = oldnode.Start("hazel", keys[0], keys[1], n.clk.Now); err != nil {
		t.Fatal(err)
	}
	var listed atomic.Pointer[[]*directory.Descriptor]
	listed.Store(new([]*directory.Descriptor))
	mixes, err := testnet.Start(context.Background(), testnet.Options{
		Dir: t.TempDir(), Mixes: 3, SMTP: n.sink.Addr, Rule: mix.Rule{Algorithm: mix.Timed}, Interval: 5 * time.Minute, Clock: n.clk,
		Configure: func(c *mix.Config) {
			c.Servers = func() []*directory.Descriptor { return *listed.Load() }
			c.LegacyIncoming = c.Nickname != "cedar"
			c.LegacyOutgoing = c.LegacyIncoming
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(mixes.Close(), n.hazel.Close(), n.sink.Close()); err != nil {
			t.Error(err)
		}
	})
	text := append(mixes.Descriptors(), n.hazel.Descriptor...)
	for _, part := range directory.SplitDescriptors(text) {
		d, err := directory.ParseDescriptor(part)
		if err != nil {
			t.Fatal(err)
		}
		n.all = append(n.all, d)
	}
	listed.Store(&n.all)
	if n.user, err = client.Open(t.TempDir(), client.Options{Clock: n.clk}); err != nil {
		t.Fatal(err)
	}
	unlock, err := n.user.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.user.Import(text); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	return n
}

func spec(t *testing.T, s string) path.Spec {
	t.Helper()
	out, err := path.ParseSpec(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// until lets time pass until something has happened.
func (n *bothKinds) until(t *testing.T, happened func() bool) {
	t.Helper()
	step := time.NewTicker(10 * time.Millisecond)
	defer step.Stop()
	for !happened() {
		select {
		case <-step.C:
			n.clk.Advance(time.Minute)
		case <-t.Context().Done():
			t.Fatal("in vain")
		}
	}
}

// Messages go over paths of both kinds of mixes: through the old one, out of it, and into the network by it.
func TestLegacyNetwork(t *testing.T) {
	n := startBothKinds(t)
	for _, p := range []string{"alder,hazel:birch", "alder,birch:hazel,alder", "hazel:birch", "hazel,alder:hazel,birch", "cedar,alder:hazel,birch"} {
		send(t, n.user, "bob@example.com", client.Message{Path: spec(t, p), Body: []byte("Over " + p + "\n")})
		if d := delivered(t, await(t, n.sink, n.clk)); string(d.Body) != "Over "+p+"\n" {
			t.Errorf("%s: body %q", p, d.Body)
		}
	}
	for _, p := range []string{"alder:hazel", "hazel,birch:cedar,alder,hazel", "hazel:hazel"} {
		send(t, n.user, "bob@example.com", client.Message{Path: spec(t, p), Body: []byte("Over " + p + "\n")})
		n.until(t, func() bool { return len(n.hazel.Mails) > 0 })
		if m := <-n.hazel.Mails; m.To != "bob@example.com" || m.Body != "Over "+p+"\n" {
			t.Errorf("%s: %+v", p, m)
		}
	}
	if n.hazel.Links() == 0 || n.hazel.Refused() == 0 {
		t.Errorf("%d legacy links, TLS 1.3 was tried %d times", n.hazel.Links(), n.hazel.Refused())
	}
}

// Nothing joins a mix that speaks TLS 1.3 alone to one that does not: neither paths, nor the mix itself when a packet demands it.
func TestLegacyNetworkKeepsApart(t *testing.T) {
	n := startBothKinds(t)
	to, err := client.ParseAddress("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"alder,cedar:hazel", "alder,hazel:cedar", "cedar:hazel,birch", "hazel:cedar"} {
		if _, err := n.user.Prepare(t.Context(), client.Message{To: to, Path: spec(t, p)}, nil); !errors.Is(err, path.ErrRelay) {
			t.Errorf("%s: %v", p, err)
		}
	}
	messages := make([]client.Message, 40)
	for i := range messages {
		messages[i] = client.Message{To: to}
	}
	random, err := n.user.PrepareAll(t.Context(), messages, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range random.Packets {
		hops := strings.FieldsFunc(p.Route, func(r rune) bool { return r == ',' || r == ':' })
		for i, h := range hops {
			if h == "hazel" && (i == 0 || hops[i-1] == "cedar" || i+1 < len(hops) && hops[i+1] == "cedar") || p.Legacy {
				t.Errorf("%s, legacy %v", p.Route, p.Legacy)
			}
		}
	}

	// A sender who does not heed descriptors.
	node := func(name string) packet.Node {
		i := slices.IndexFunc(n.all, func(d *directory.Descriptor) bool { return d.Nickname == name })
		return n.all[i].Node()
	}
	bad, err := packet.BuildForward(rand.Reader, []packet.Node{node("cedar")}, []packet.Node{node("hazel")}, packet.Exit{Type: packet.TypeDrop}, new(packet.Payload))
	if err != nil {
		t.Fatal(err)
	}
	err = n.user.Deliver(t.Context(), &client.Prepared{Packets: []client.PreparedPacket{{First: node("cedar").Hop, Packet: bad}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.until(t, func() bool { return n.hazel.Refused() >= 2 })
	if links := n.hazel.Links(); links > 0 {
		t.Errorf("%d legacy links", links)
	}
}
