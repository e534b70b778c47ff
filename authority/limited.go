package authority

import (
	"net"
	"net/netip"
	"sync"
)

// A room is what all listeners together have room for: a number of connections, and few of one source, so that nobody alone keeps the other
// authorities out during the vote. Loopback and private addresses have no such limit: they are the web server in front, or a test network.
type room struct {
	slots     chan struct{}
	perSource int

	mu      sync.Mutex
	sources map[netip.Prefix]int // those with connections
}

func newRoom(all, perSource int) *room {
	return &room{slots: make(chan struct{}, all), perSource: perSource, sources: map[netip.Prefix]int{}}
}

// enter counts a connection of a source, or reports that it has enough.
func (r *room) enter(source netip.Prefix) bool {
	if !source.IsValid() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sources[source] >= r.perSource {
		return false
	}
	r.sources[source]++
	return true
}

func (r *room) leave(source netip.Prefix) {
	if source.IsValid() {
		r.mu.Lock()
		if r.sources[source]--; r.sources[source] <= 0 {
			delete(r.sources, source)
		}
		r.mu.Unlock()
	}
	<-r.slots
}

// sourceOf is the part of an address that stands for one source; not valid for those without a limit.
func sourceOf(addr net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(addr.String())
	ip := ap.Addr().Unmap().WithZone("")
	if err != nil || ip.IsLoopback() || ip.IsPrivate() {
		return netip.Prefix{}
	}
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// limited accepts as many connections at a time as there is room for.
type limited struct {
	net.Listener
	room   *room
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.room.slots
			return nil, err
		}
		source := sourceOf(conn.RemoteAddr())
		if l.room.enter(source) {
			return &limitedConn{Conn: conn, room: l.room, source: source}, nil
		}
		_ = conn.Close() // who is turned away has nothing to lose
	}
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	room   *room
	source netip.Prefix
	once   sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { c.room.leave(c.source) })
	return c.Conn.Close()
}
