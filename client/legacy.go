package client

import (
	"fmt"
	"slices"
	"sync"

	"mixminion/mmtp"
	"mixminion/packet"
	"mixminion/path"
)

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
		if c.speaksTLS13(to) {
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

// speaksTLS13 reports whether a descriptor says so of the server that has the key of a hop. It is asked when a link is made: since the packet
// was wrapped, the server may have got newer programs. What cannot be found out counts as yes.
func (c *Client) speaksTLS13(to packet.Hop) bool {
	known, err := c.Servers()
	if err != nil {
		return true
	}
	for _, d := range known {
		if d.KeyID() == to.KeyID && d.AcceptsTLS13() {
			return true
		}
	}
	return false
}

func (l *links) to(e entry) *mmtp.Client {
	if e.legacy {
		return l.legacy
	}
	return l.modern
}

// explain adds to what went wrong with a link that this program cannot make a kind of links that might have been possible.
func (e entry) explain(err error) error {
	if err == nil || !e.legacy || mmtp.LegacyAvailable {
		return err
	}
	return fmt.Errorf("%w; %w", err, mmtp.ErrNoLegacy)
}

func (l *links) close() {
	l.modern.Close()
	l.legacy.Close()
}
