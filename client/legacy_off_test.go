//go:build !legacytls

package client_test

import (
	"errors"
	"testing"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/mmtp"
	"mixminion/packet"
	"mixminion/path"
)

// A program that cannot make legacy links says so where it would need one.
func TestLegacyFirstHopIsRefused(t *testing.T) {
	old := mixServers()[0]
	c, _ := newClient(t, descriptors(t, func(f *directory.Fields) { f.Incoming.TLS, f.Outgoing.TLS = nil, nil }))
	spec := parseSpec(t, old.name+":"+old.name)
	if _, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop"), Path: spec}, nil); !errors.Is(err, path.ErrLegacyEntry) ||
		!errors.Is(err, mmtp.ErrNoLegacy) {
		t.Errorf("send: %v", err)
	}

	hop := down(t, old)
	if _, err := c.Probe(t.Context(), hop, true); !errors.Is(err, mmtp.ErrNoLegacy) {
		t.Errorf("ping: %v", err)
	}
	// As another program, which can, has left it in the queue.
	p := &client.Prepared{Packets: []client.PreparedPacket{{First: hop, Legacy: true, Packet: new(packet.Packet)}}}
	lock(t, c)
	enqueue(t, c, p)
	if r := flush(t, c, nil, 0); len(r.Causes) != 1 || !errors.Is(r.Causes[0], mmtp.ErrNoLegacy) {
		t.Errorf("flush: %+v", r)
	}
}
