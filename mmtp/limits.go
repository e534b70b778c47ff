package mmtp

import (
	"net"
	"net/netip"
	"sync"
)

// Sources are counted per network of these sizes: what one customer or one hosting account usually gets.
const (
	prefixIPv4 = 24
	prefixIPv6 = 48
)

// limiter counts open connections, in all and per source network.
type limiter struct {
	maxTotal, maxPrefix int

	mu     sync.Mutex
	total  int
	source map[netip.Prefix]int
}

func newLimiter(maxTotal, maxPrefix int) *limiter {
	return &limiter{maxTotal: maxTotal, maxPrefix: maxPrefix, source: make(map[netip.Prefix]int)}
}

// admit counts a new connection and returns how to give its place back; ok is false if there is no place.
func (l *limiter) admit(addr net.Addr) (release func(), ok bool) {
	prefix := sourcePrefix(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.maxTotal || prefix.IsValid() && l.source[prefix] >= l.maxPrefix {
		return nil, false
	}
	l.total++
	l.source[prefix]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total--
		if l.source[prefix]--; l.source[prefix] == 0 {
			delete(l.source, prefix)
		}
	}, true
}

// open is how many connections there are.
func (l *limiter) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// sourcePrefix returns the network of an address; the result is not valid if addr is not an IP address.
func sourcePrefix(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := prefixIPv6
	if ip.Is4() {
		bits = prefixIPv4
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
