package mmtp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// quietTime is how long a stranger must have sent nothing before its connection may make way for a peer whose network has as many.
const quietTime = 10 * time.Second

// door decides who is let in: it counts connections in all and per source, and how often each source comes.
//
// When all places are taken, a newcomer gets the place of another: of the connection that has been silent for longest in the network
// with most connections, if that has more than the newcomer's; otherwise of the one that has been silent for longest anywhere, if it
// has been so for quietTime. Honest peers send what they have and can connect again; whoever takes places to shut others out cannot keep
// them. A known peer gets a place whoever has to make way, and never makes way itself.
type door struct {
	limits func() *Limits
	known  func(netip.Addr) bool

	mu     sync.Mutex
	total  int
	counts map[netip.Prefix]int // for all levels
	guests map[netip.Prefix]map[*guest]bool
	rates  rates
}

// A guest is a connection that was let in.
type guest struct {
	source  source
	known   bool
	leaving bool // is being closed for another; has no place any more
	close   func()
	heard   atomic.Int64 // when it sent its last packet, or was let in; nanoseconds of real time since 1970
}

func newDoor(limits func() *Limits, known func(netip.Addr) bool) *door {
	if known == nil {
		known = func(netip.Addr) bool { return false }
	}
	return &door{limits: limits, known: known, counts: map[netip.Prefix]int{}, guests: map[netip.Prefix]map[*guest]bool{}}
}

// admit lets a connection in or returns nil. The caller must call leave when it is over. close may be called at any time before, to
// end it.
func (d *door) admit(addr net.Addr, close func()) *guest {
	src, ip := sourceOf(addr)
	g := &guest{source: src, known: len(src) > 0 && d.known(ip), close: close}
	now := time.Now()
	g.heard.Store(now.UnixNano())
	l := d.limits()

	d.mu.Lock()
	defer d.mu.Unlock()
	for i, p := range g.counted() {
		if d.counts[p] >= l.MaxPerSource*levels[i].share {
			return nil
		}
	}
	if !d.rates.allow(l, src, g.known, now) {
		return nil
	}
	if d.total >= l.MaxConnections {
		victim := d.victim(g, now)
		if victim == nil {
			return nil
		}
		d.remove(victim)
		victim.leaving = true
		victim.close()
	}
	d.total++
	for _, p := range src {
		d.counts[p]++
	}
	n := src.network()
	if d.guests[n] == nil {
		d.guests[n] = map[*guest]bool{}
	}
	d.guests[n][g] = true
	return g
}

// counted are the levels whose limits bind a guest: of a known one, its own address alone, so that its neighbours cannot shut it out.
func (g *guest) counted() source {
	if g.known {
		return g.source[:1]
	}
	return g.source
}

// share is what a guest has its turns with: those of its network, or, if it is known, of its own address.
func (g *guest) share() netip.Prefix {
	if g.known {
		return g.source[0]
	}
	return g.source.network()
}

// victim is who makes way for newcomer; nil if nobody does. The caller holds mu.
func (d *door) victim(newcomer *guest, now time.Time) *guest {
	var crowded netip.Prefix
	most := 0
	for n, list := range d.guests {
		if len(list) > most {
			crowded, most = n, len(list)
		}
	}
	if most > len(d.guests[newcomer.source.network()])+1 {
		if g := quietest(d.guests[crowded]); g != nil {
			return g
		}
	}
	var all *guest
	for _, list := range d.guests {
		if g := quietest(list); g != nil && (all == nil || g.heard.Load() < all.heard.Load()) {
			all = g
		}
	}
	if all == nil || !newcomer.known && now.UnixNano()-all.heard.Load() < int64(quietTime) {
		return nil
	}
	return all
}

// quietest is the stranger who has sent nothing for longest.
func quietest(list map[*guest]bool) *guest {
	var out *guest
	for g := range list {
		if !g.known && (out == nil || g.heard.Load() < out.heard.Load()) {
			out = g
		}
	}
	return out
}

// leave gives the place of a guest back.
func (d *door) leave(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !g.leaving {
		d.remove(g)
	}
}

// remove is leave for those who hold mu.
func (d *door) remove(g *guest) {
	d.total--
	for _, p := range g.source {
		if d.counts[p]--; d.counts[p] == 0 {
			delete(d.counts, p)
		}
	}
	n := g.source.network()
	if delete(d.guests[n], g); len(d.guests[n]) == 0 {
		delete(d.guests, n)
	}
}

// open is how many connections there are.
func (d *door) open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total
}
