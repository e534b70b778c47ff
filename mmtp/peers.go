package mmtp

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mixminion/packet"
)

// take waits for the caller's turn to talk to a server.
func (c *Client) take(ctx context.Context, to packet.Hop) (*peer, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	p := c.peers[to]
	if p == nil {
		p = &peer{hop: to, turn: make(chan struct{}, 1)}
		c.peers[to] = p
	}
	p.calls++
	c.mu.Unlock()
	select {
	case p.turn <- struct{}{}:
		return p, nil
	case <-ctx.Done():
		c.leave(p)
		return nil, context.Cause(ctx)
	}
}

func (c *Client) giveBack(p *peer) {
	<-p.turn
	c.leave(p)
}

func (c *Client) leave(p *peer) {
	c.mu.Lock()
	p.calls--
	c.forget(p)
	c.mu.Unlock()
	c.users.Done()
}

// forget drops a peer that nothing refers to. The caller holds mu.
func (c *Client) forget(p *peer) {
	if p.calls == 0 && p.idle == nil {
		delete(c.peers, p.hop)
	}
}

// linkTo returns a link to a peer whose turn the caller has: the idle one if it is alive and young, or a new one.
func (c *Client) linkTo(ctx context.Context, p *peer) (l *link, reused bool, err error) {
	c.mu.Lock()
	l = c.takeIdle(p)
	c.mu.Unlock()
	if l != nil {
		if l.alive() && c.young(l) {
			return l, true, nil
		}
		l.close()
		c.releasePlace()
	}
	if err := c.takePlace(ctx); err != nil {
		return nil, false, err
	}
	l, err = c.connect(ctx, p.hop, expectKeyID(p.hop.KeyID))
	if err != nil {
		c.releasePlace()
		return nil, false, err
	}
	return l, false, nil
}

// young reports whether l may still be used (minion-spec 4 wants new keys after 15 minutes).
func (c *Client) young(l *link) bool {
	age := c.cfg.Now().Sub(l.opened)
	return age >= 0 && age < c.cfg.MaxLinkAge
}

// drop closes a link that will not be used again.
func (c *Client) drop(l *link) {
	l.close()
	c.releasePlace()
}

// keep makes l the idle link of p, or closes it if it is of no use or another call needs its place.
func (c *Client) keep(p *peer, l *link) {
	c.mu.Lock()
	if c.closed || len(c.waiting) > 0 || c.open > c.most || !l.alive() || !c.young(l) {
		c.mu.Unlock()
		c.drop(l)
		return
	}
	defer c.mu.Unlock()
	p.idle = l
	c.idles++
	p.idleSince = c.idles
	c.users.Add(1)
	p.idleTimer = time.AfterFunc(c.cfg.IdleTimeout, func() {
		defer c.users.Done()
		c.expire(p, l)
	})
}

// expire closes l if it is still the idle link of p.
func (c *Client) expire(p *peer, l *link) {
	c.mu.Lock()
	if p.idle != l {
		c.mu.Unlock()
		return
	}
	p.idle = nil
	c.forget(p)
	c.mu.Unlock()
	c.drop(l)
}

// takeIdle takes the idle link, if any, from p. The caller holds mu.
func (c *Client) takeIdle(p *peer) *link {
	l := p.idle
	if l == nil {
		return nil
	}
	p.idle = nil
	if p.idleTimer.Stop() {
		c.users.Done()
	}
	c.forget(p)
	return l
}

// takePlace waits until one more link may be made. The link that has been idle for longest makes way.
func (c *Client) takePlace(ctx context.Context) error {
	c.mu.Lock()
	var old []*link // more than one if there may be fewer links than before
	for c.open >= c.most {
		p := c.longestIdle()
		if p == nil {
			break
		}
		old = append(old, c.takeIdle(p))
		c.open--
	}
	var w chan struct{}
	if c.open < c.most {
		c.open++
	} else {
		w = make(chan struct{})
		c.waiting = append(c.waiting, w)
	}
	c.mu.Unlock()
	for _, l := range old {
		l.close()
	}
	if w == nil {
		return nil
	}
	select {
	case <-w:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	if i := slices.Index(c.waiting, w); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		c.mu.Unlock()
	} else {
		c.mu.Unlock()
		c.releasePlace() // we got it at the same moment
	}
	return context.Cause(ctx)
}

func (c *Client) longestIdle() *peer {
	var oldest *peer
	for _, p := range c.peers {
		if p.idle != nil && (oldest == nil || p.idleSince < oldest.idleSince) {
			oldest = p
		}
	}
	return oldest
}

// releasePlace gives the place of a link that is closed to the call that waits for longest.
func (c *Client) releasePlace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.handOut()
}

// handOut gives free places to the calls that wait for one. The caller holds mu.
func (c *Client) handOut() {
	for c.open < c.most && len(c.waiting) > 0 {
		c.open++
		close(c.waiting[0])
		c.waiting = slices.Delete(c.waiting, 0, 1)
	}
}

// SetMaxConnections changes ClientConfig.MaxConnections; 0 means the default. If there are more links than that, those
// in use stay until they are idle.
func (c *Client) SetMaxConnections(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = cmp.Or(n, defaultLinks)
	c.handOut()
}
