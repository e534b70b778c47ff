package client

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"mixminion/mmtp"
	"mixminion/packet"
	"mixminion/path"
)

var errNoPermission = errors.New("its descriptor says nothing of TLS 1.3, and this packet may not go over an older link: write the message again")

// newPrepared is a packet that goes over p.
func newPrepared(p path.Path, pk *packet.Packet) PreparedPacket {
	first := p.First()
	return PreparedPacket{First: first.Node().Hop, Legacy: !first.AcceptsTLS13(), Route: p.String(), Packet: pk}
}

// An entry is a first hop, and whether a legacy link may be made to it.
type entry struct {
	hop    packet.Hop
	legacy bool
}

// links are those to first hops. Packets without PreparedPacket.Legacy have links of their own, so that none of them travels over a legacy
// link that was made for another packet.
type links struct {
	modern, legacy *mmtp.Client

	mu    sync.Mutex
	tried []packet.Hop // with legacy links
}

// newLinks makes no link yet. The caller closes it.
func (c *Client) newLinks() *links {
	l := new(links)
	l.modern = c.transport(nil)
	l.legacy = c.transport(func(to packet.Hop) bool {
		if yes, _ := c.speaksTLS13(to); yes {
			return false
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if !slices.Contains(l.tried, to) {
			l.tried = append(l.tried, to)
		}
		return true
	})
	return l
}

// speaksTLS13 reports whether a descriptor says so of the server that has the key of a hop, and whether that server is known at all. It is
// asked when a link is made: since the packet was wrapped, the server may have got newer programs. What cannot be found out counts as yes.
func (c *Client) speaksTLS13(to packet.Hop) (yes, known bool) {
	servers, err := c.Servers()
	if err != nil {
		return true, false
	}
	for _, d := range servers {
		if d.KeyID() == to.KeyID {
			yes, known = yes || d.AcceptsTLS13(), true
		}
	}
	return yes, known
}

func (l *links) to(e entry) *mmtp.Client {
	if e.legacy {
		return l.legacy
	}
	return l.modern
}

// explainLink adds to what went wrong with a link why no legacy one was made.
func (c *Client) explainLink(e entry, err error) error {
	if err == nil {
		return nil
	}
	if e.legacy {
		if !mmtp.LegacyAvailable {
			err = fmt.Errorf("%w; %w", err, mmtp.ErrNoLegacy)
		}
		return err
	}
	if yes, known := c.speaksTLS13(e.hop); errors.Is(err, mmtp.ErrHandshake) && known && !yes {
		err = fmt.Errorf("%w; %w", err, errNoPermission)
	}
	return err
}

func (l *links) close() {
	l.modern.Close()
	l.legacy.Close()
}
