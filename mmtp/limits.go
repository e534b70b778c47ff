package mmtp

import (
	"cmp"
	"time"

	"mixminion/packet"
)

// DefaultMaxConnections is how many connections a server has at one time unless it is told otherwise.
const DefaultMaxConnections = 1000

// Limits are what a server grants its peers. Zero values mean the defaults given. They can be changed while the server runs, see
// [Server.SetLimits].
type Limits struct {
	MaxConnections int // connections in all: DefaultMaxConnections
	// MaxPerSource is how many connections one source may have, an IPv4 address or an IPv6 /64: 16. The networks around it may have a
	// multiple, see levels.
	MaxPerSource int
	// Rate is how many connections one source may make in a minute: 60. Networks may make a multiple of it, too.
	Rate int
	// TotalRate is how many connections all sources may make in a minute, the known mixes not counted: 6000. Each costs a TLS handshake.
	TotalRate int

	HandshakeTimeout time.Duration // TLS and version exchange: 30 s
	IdleTimeout      time.Duration // between two packets: 5 min
	PacketTimeout    time.Duration // from the first byte of a packet to its last: 2 min
}

func (l Limits) withDefaults() Limits {
	l.MaxConnections = cmp.Or(l.MaxConnections, DefaultMaxConnections)
	l.MaxPerSource = cmp.Or(l.MaxPerSource, 16)
	l.Rate = cmp.Or(l.Rate, 60)
	l.TotalRate = cmp.Or(l.TotalRate, 6000)
	l.HandshakeTimeout = cmp.Or(l.HandshakeTimeout, 30*time.Second)
	l.IdleTimeout = cmp.Or(l.IdleTimeout, 5*time.Minute)
	l.PacketTimeout = cmp.Or(l.PacketTimeout, 2*time.Minute)
	return l
}

// SetLimits puts other limits into use. What is open stays open, even if there are more connections than l allows now; a wait that has
// begun ends by the old limits.
func (s *Server) SetLimits(l Limits) {
	l = l.withDefaults()
	s.limits.Store(&l)
	s.buffers.set(cmp.Or(s.cfg.MaxBuffered, (l.MaxConnections+1024)*packet.Size) / packet.Size)
}
