// Package path reads path specifications such as "alice,?,*2:~3,bob" and chooses the servers that packets go through. The source
// is path-spec.
//
// The package is pure: it does no I/O, reads no clock and logs nothing. What a user should hear about comes back as Warnings.
//
// Who can predict a choice can follow a message, so the randomness that Select is given must come from the system's generator.
package path

import (
	"strings"

	"mixminion/directory"
	"mixminion/packet"
)

// DefaultHops is the number of servers on a path when the user gives no specification: all different, in a forward path two in each leg.
const DefaultHops = 4

// Kind says what a path is for.
type Kind int

// The kinds of paths. Only forward paths have two legs (path-spec 2.1).
const (
	Forward Kind = iota // a packet to an exit address
	Reply               // a packet to a reply block
	SURB                // a reply block
)

// A Path is the servers that a packet visits, in order. Leg2 is empty in the paths of replies and reply blocks.
type Path struct {
	Leg1, Leg2 []*directory.Descriptor
}

// String gives the path's nicknames in the form "a,b:c,d".
func (p Path) String() string {
	if len(p.Leg2) == 0 {
		return nicknames(p.Leg1)
	}
	return nicknames(p.Leg1) + ":" + nicknames(p.Leg2)
}

// Nodes gives both legs in the form that packet.BuildForward takes.
func (p Path) Nodes() (leg1, leg2 []packet.Node) { return nodes(p.Leg1), nodes(p.Leg2) }

// First is the server that the packet is handed to.
func (p Path) First() *directory.Descriptor { return p.Leg1[0] }

// Last is the server at the end of the path.
func (p Path) Last() *directory.Descriptor {
	if n := len(p.Leg2); n > 0 {
		return p.Leg2[n-1]
	}
	return p.Leg1[len(p.Leg1)-1]
}

func nicknames(leg []*directory.Descriptor) string {
	names := make([]string, len(leg))
	for i, d := range leg {
		names[i] = d.Nickname
	}
	return strings.Join(names, ",")
}

func nodes(leg []*directory.Descriptor) []packet.Node {
	out := make([]packet.Node, len(leg))
	for i, d := range leg {
		out[i] = d.Node()
	}
	return out
}
