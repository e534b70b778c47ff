package client

import (
	"context"
	"crypto/rand"
	"fmt"

	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/packet"
)

// Probe connects to a server, without any mix in between, and returns the keyid that it proves to have. If to.KeyID is not zero it
// must be that one, or the error wraps mmtp.ErrKeyID. legacy says that the user has named a server whose descriptor does not say that it
// speaks TLS 1.3, so that a legacy link may be made. The server, and whoever watches the user's line, learns that the user asked.
func (c *Client) Probe(ctx context.Context, to packet.Hop, legacy bool) (crypt.KeyID, error) {
	l, e := c.newLinks(), entry{to, legacy}
	defer l.close()
	id, err := l.to(e).Probe(ctx, to)
	return id, c.explainLink(e, err)
}

// CountPackets returns how many packets a message takes, without choosing paths for them.
func CountPackets(m Message) (int, error) {
	e, err := m.encode()
	if err != nil {
		return 0, err
	}
	return len(e.payloads), nil
}

// CountReplyPackets returns how many packets, and so how many reply blocks, a reply takes.
func CountReplyPackets(h message.Headers, body []byte) (int, error) {
	prefix, err := h.Encode()
	if err != nil {
		return 0, fmt.Errorf("message headers: %w", err)
	}
	enc, err := message.Encode(rand.Reader, append(prefix, body...), 0)
	if err != nil {
		return 0, err
	}
	return len(enc.Payloads), nil
}
