package path

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"mixminion/directory"
	"mixminion/packet"
)

// Errors of Select. packet.ErrTooLong says that a path with its address does not fit into a header.
var (
	ErrRequest       = errors.New("malformed request for a path")
	ErrTooFewServers = errors.New("too few usable servers")
	ErrUnknownServer = errors.New("unknown server")
	ErrNotUsable     = errors.New("server cannot be used")
	ErrExit          = errors.New("server cannot deliver this message")
	ErrNoExit        = errors.New("no usable server can deliver this message")
	ErrRelay         = errors.New("servers cannot relay to each other")
	ErrNoPath        = errors.New("no path satisfies the specification")
	ErrLegacyEntry   = errors.New("it takes no links of TLS 1.3, as mixes of series 0.0.8 do not")
)

// A Request says what paths are for. From and Until are always needed, the rest as it applies.
type Request struct {
	Kind Kind

	// From and Until bound the time in which the descriptor of each hop must be valid: for a packet now and the end of its
	// longest retry, for a reply block its whole lifetime.
	From, Until time.Time

	// Exit is how the message leaves the network, and InfoLen how many bytes its address takes without tag. Forward and SURB only.
	Exit    packet.RoutingType
	InfoLen int
	// LastHop is the nickname of the server that the address itself names, as mbox:NAME@SERVER does; "" if there is none.
	LastHop string
	// Size is the length of the message in bytes before compression; 0 if it is not known.
	Size int
	// Recipients is how many addresses the routing information of an SMTP packet names; 0 means one.
	Recipients int
	// UsesFrom says that the message brings its own From header.
	UsesFrom bool
	// Fragments is the number of packets that the exit has to reassemble; 0 if it has not. Exit is then still how the whole
	// message leaves; all paths get the same last hop.
	Fragments int

	// SURBs are the reply blocks that replies go to, one for each path. Reply only.
	SURBs []*packet.SURB

	// Links are the protocols of the links that the user can make to the first hop: directory.MMTPProtocols. None means links over
	// IPv4 only. Users who can make both are better off with the default: the fewer users differ, the less a first hop says of them.
	// Not for SURB, whose first hop is reached by other mixes and must always have IPv4.
	Links []string

	// LegacyLinks says that the user's program can make links of TLS 1.0, so that a path may begin, with a Warning, at a server without TLS
	// 1.3 if the specification names it. Without it such a path is refused, with ErrLegacyEntry. Random first hops have TLS 1.3 in any case.
	LegacyLinks bool

	// Count is the number of paths; 0 means one, or one for each of SURBs.
	Count int

	// Nicknames of servers that are not chosen at random at all, as the first hop, as the last hop.
	BlockServers, BlockEntries, BlockExits []string
	// Recommended says which servers may be chosen at random; nil means all.
	Recommended func(*directory.Descriptor) bool
	// Lookup finds the descriptor that a File element of the specification names; nil means that files are not allowed.
	Lookup func(name string) (*directory.Descriptor, error)
}

// count checks the request and returns how many paths it asks for.
func (r *Request) count() (int, error) {
	n := max(r.Count, 1)
	switch {
	case r.Kind != Forward && r.Kind != Reply && r.Kind != SURB:
		return 0, fmt.Errorf("%w: kind %d", ErrRequest, r.Kind)
	case r.Count < 0 || r.Size < 0 || r.Fragments < 0 || r.Recipients < 0 || r.InfoLen < 0:
		return 0, fmt.Errorf("%w: negative number", ErrRequest)
	case r.Until.Before(r.From):
		return 0, fmt.Errorf("%w: the time ends before it begins", ErrRequest)
	case r.Kind == Reply && r.LastHop != "" || r.Kind != Forward && r.Fragments > 0:
		return 0, fmt.Errorf("%w: a reply has no address", ErrRequest)
	case len(r.SURBs) > 0 && r.Kind != Reply:
		return 0, fmt.Errorf("%w: reply blocks without a reply", ErrRequest)
	case len(r.SURBs) > 0 && r.Count == 0:
		n = len(r.SURBs)
	case len(r.SURBs) > 0 && r.Count != len(r.SURBs):
		return 0, fmt.Errorf("%w: %d paths for %d reply blocks", ErrRequest, r.Count, len(r.SURBs))
	}
	return n, nil
}

// canEnter reports whether a path can begin at d. A reply block begins where any mix can reach it.
func (r *Request) canEnter(d *directory.Descriptor) bool {
	if r.Kind == SURB {
		return d.AcceptsConnections()
	}
	return d.AcceptsConnections(r.Links...)
}

// canEnterNamed reports whether a path can begin at d, which takes connections, if the specification names it: where there is no TLS 1.3,
// the user must be able to make links without it. A reply block's maker makes no link to it.
func (r *Request) canEnterNamed(d *directory.Descriptor) bool {
	return r.Kind == SURB || d.AcceptsTLS13() || r.LegacyLinks && d.AcceptsTLS(directory.TLSLegacy)
}

// links names what the first hop must take, for people.
func (r *Request) links() string {
	if r.Kind != SURB && slices.Equal(r.Links, []string{directory.MMTPVersionIPv6}) {
		return "IPv6"
	}
	return "IPv4"
}

// exitError tells why d cannot be the last hop (path-spec 2.4); nil if it can. The specification's rule on Maximum-Fragments is
// turned around by a slip: an exit that takes more fragments than needed is what is wanted.
func (r *Request) exitError(d *directory.Descriptor) error {
	if r.Kind == Reply {
		return nil
	}
	var delivery *directory.Delivery
	switch r.Exit {
	case packet.TypeSMTP:
		delivery = d.SMTP
	case packet.TypeMBOX:
		delivery = d.MBOX
	default:
		delivery = &directory.Delivery{MaximumSize: r.Size/1024 + 1, AllowFrom: true}
	}
	switch {
	case delivery == nil:
		return fmt.Errorf("%w: %s does not support %v", ErrExit, d.Nickname, r.Exit)
	case r.UsesFrom && !delivery.AllowFrom:
		return fmt.Errorf("%w: %s does not allow a From header of your own", ErrExit, d.Nickname)
	case r.Recipients > delivery.Recipients() && r.Exit == packet.TypeSMTP:
		return fmt.Errorf("%w: it has %d recipients, and %s takes %d in one packet", ErrExit, r.Recipients, d.Nickname, delivery.Recipients())
	case (r.Size+1023)/1024 > delivery.MaximumSize:
		return fmt.Errorf("%w: it has %d KB, and %s takes at most %d", ErrExit, (r.Size+1023)/1024, d.Nickname, delivery.MaximumSize)
	}
	if r.Fragments > 0 || r.Exit == packet.TypeFragment {
		switch {
		case d.Fragmented == nil:
			return fmt.Errorf("%w: %s does not reassemble fragments", ErrExit, d.Nickname)
		case r.Fragments > d.Fragmented.MaximumFragments:
			return fmt.Errorf("%w: it has %d fragments, and %s reassembles at most %d",
				ErrExit, r.Fragments, d.Nickname, d.Fragmented.MaximumFragments)
		}
	}
	return nil
}

// knowsExit reports whether descriptors tell which servers support the exit type.
func (r *Request) knowsExit() bool {
	switch r.Exit {
	case packet.TypeSMTP, packet.TypeMBOX, packet.TypeFragment, packet.TypeDrop, packet.TypePing:
		return true
	}
	return r.Kind == Reply
}

// fits tells whether the i-th packet or reply block over the given hops has room for all of them.
func (r *Request) fits(i int, leg1, leg2 []packet.Hop) error {
	info := make([]byte, min(r.InfoLen, packet.HeaderLen+1))
	switch r.Kind {
	case SURB:
		return packet.CheckSURB(leg1, r.Exit, info)
	case Reply:
		if len(r.SURBs) == 0 {
			return nil
		}
		return packet.CheckReply(leg1, r.SURBs[i])
	}
	exit := packet.Exit{Type: r.Exit, Info: info}
	if r.Fragments > 0 {
		exit = packet.Exit{Type: packet.TypeFragment}
	}
	if exit.Type.HasTag() {
		exit.Tag = new(packet.Tag)
	}
	return packet.CheckForward(leg1, leg2, exit)
}
