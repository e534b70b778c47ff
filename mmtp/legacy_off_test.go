//go:build !legacytls

package mmtp

import (
	"context"
	"errors"
	"testing"

	"mixminion/packet"
)

func TestLegacyIsNotThere(t *testing.T) {
	if _, err := NewLegacyIdentity(testKeys()[0], "alice", fixedClock); !errors.Is(err, ErrNoLegacy) {
		t.Error(err)
	}
	l := listen(t)
	defer func() { _ = l.Close() }()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	c := newTestClient(t, ClientConfig{Legacy: func(packet.Hop) bool { t.Error("asked in vain"); return true }})
	if _, err := c.Probe(context.Background(), hopTo(t, l.Addr())); err == nil {
		t.Error("a link to nobody")
	}
}
