package path

import (
	"errors"
	"fmt"
	"slices"

	"mixminion/internal/uniform"
	"mixminion/packet"
)

const (
	// maxDraws is how often random choices that turn out to be invalid are thrown away before the search takes over.
	maxDraws = 1000
	// maxSteps and maxMisfits bound the search, whose cost could otherwise grow exponentially with the path.
	maxSteps   = 20000
	maxMisfits = 500
)

// errStuck says that there is no choice under the given rules, or that none was found in reasonable time.
var errStuck = errors.New("no choice found")

// rules say which weaknesses a choice may have. Each level allows more than the one before.
type rules struct {
	mayMeetNext   bool // the last hop may be the first hop of the reply block
	mayRepeat     bool // a random hop may be a server that is elsewhere on the path
	mayBeAdjacent bool // even right beside it
}

var (
	strictLevels = []rules{{mayMeetNext: true}}
	levels       = []rules{{}, {mayMeetNext: true}, {mayMeetNext: true, mayRepeat: true}, {mayMeetNext: true, mayRepeat: true, mayBeAdjacent: true}}
)

// choose fills in the random slots of t for the i-th path.
func (s *selector) choose(i int, t template) ([]*server, error) {
	c := &chooser{selector: s, index: i, template: t}
	if s.sharedExit != nil {
		c.slots = slices.Clone(t.slots)
		c.slots[len(c.slots)-1] = s.sharedExit
	}
	var err error
	if c.next, err = s.surbStart(i); err != nil {
		return nil, err
	}
	if err := c.checkFixed(); err != nil {
		return nil, err
	}
	hops, err := c.draw()
	allowed := levels
	if s.strict {
		allowed = strictLevels
	}
	for _, r := range allowed {
		if !errors.Is(err, errStuck) {
			break
		}
		hops, err = c.search(r)
	}
	switch {
	case !errors.Is(err, errStuck):
		return hops, err
	case c.tooLong != nil:
		return nil, c.tooLong
	}
	apart := ""
	if slices.ContainsFunc(s.usable, func(srv *server) bool { return srv.family.names != nil }) {
		apart = ", and those of one operator are not used together"
	}
	return nil, fmt.Errorf("%w: %d servers are usable, %d of them as the first and %d as the last hop%s; "+
		"update the directory, or write another path", ErrNoPath, len(s.usable), len(s.entries), len(s.exits), apart)
}

// surbStart is the first hop of the i-th reply block, if there is one and its first hop is known.
func (s *selector) surbStart(i int) (*server, error) {
	if len(s.req.SURBs) == 0 {
		return nil, nil
	}
	surb := s.req.SURBs[i]
	hop, err := packet.ParseHop(surb.Type, surb.Info)
	if err != nil {
		return nil, fmt.Errorf("%w: reply block %d: %w", ErrRequest, i+1, err)
	}
	return s.byKey[hop.KeyID], nil
}

// A chooser finds the hops of one path.
type chooser struct {
	*selector
	template
	index   int
	next    *server // first hop of the reply block that the path leads to, if it is known
	tooLong error   // why a choice was refused that was fine otherwise
	misfits int     // how many were refused for that
	steps   int
}

// checkFixed finds the mistakes in what the user wrote that no choice of the other hops can mend.
func (c *chooser) checkFixed() error {
	random := false
	for i, a := range c.slots {
		if a == nil {
			random = true
			continue
		}
		if i == 0 && !c.req.canEnter(a.Descriptor) {
			return fmt.Errorf("%w: %s cannot be the first hop, because it takes no connections over %s",
				ErrNotUsable, a.Nickname, c.req.links())
		}
		if i == 0 && !c.req.canEnterNamed(a.Descriptor) {
			return fmt.Errorf("%w: %s cannot be the first hop, because %w; name another one in front of it",
				ErrNotUsable, a.Nickname, ErrLegacyEntry)
		}
		to := c.next
		if i+1 < len(c.slots) {
			to = c.slots[i+1]
		}
		if to != nil && !a.CanRelayTo(to.Descriptor) {
			return fmt.Errorf("%w: %s to %s", ErrRelay, a.Nickname, to.Nickname)
		}
	}
	if !random {
		return c.checkLength(c.slots)
	}
	return nil
}

// checkLength tells whether the hops fit into their headers.
func (c *chooser) checkLength(path []*server) error {
	hops := make([]packet.Hop, len(path))
	for i, srv := range path {
		hops[i] = srv.hop
	}
	if err := c.req.fits(c.index, hops[:c.split], hops[c.split:]); err != nil {
		return fmt.Errorf("path of %d hops: %w", len(path), err)
	}
	return nil
}

// candidates is what a random slot is drawn from.
func (c *chooser) candidates(i int) []*server {
	first, last := i == 0, i == len(c.slots)-1
	switch {
	case first && last:
		var both []*server
		for _, srv := range c.entries {
			if contains(c.exits, srv) {
				both = append(both, srv)
			}
		}
		return both
	case first:
		return c.entries
	case last:
		return c.exits
	}
	return c.usable
}

// draw chooses by throwing away: it draws the first and last hop from all that may stand there, the others from all
// servers that are left, and starts again if the result is not valid. The servers left are equally many in every draw,
// so each valid choice is equally likely. It returns errStuck if different servers do not suffice or too many draws
// were in vain.
func (c *chooser) draw() ([]*server, error) {
	ends := c.randomEnds()
	for range maxDraws {
		if c.misfits > maxMisfits {
			break
		}
		path := append([]*server(nil), c.slots...)
		clash := false
		for _, i := range ends {
			set := c.candidates(i)
			if len(set) == 0 {
				return nil, errStuck
			}
			srv, err := pick(c.rnd, set)
			if err != nil {
				return nil, err
			}
			clash = clash || containsSet(path, srv)
			path[i] = srv
		}
		if clash {
			continue
		}
		enough, err := c.fill(path)
		if err != nil {
			return nil, err
		}
		if !enough {
			return nil, errStuck
		}
		if c.valid(path) {
			return path, nil
		}
	}
	return nil, errStuck
}

func (c *chooser) randomEnds() []int {
	var ends []int
	if c.slots[0] == nil {
		ends = append(ends, 0)
	}
	if last := len(c.slots) - 1; last > 0 && c.slots[last] == nil {
		ends = append(ends, last)
	}
	return ends
}

// containsSet is contains for a path with open slots.
func containsSet(path []*server, srv *server) bool {
	for _, p := range path {
		if p != nil && p.same(srv) {
			return true
		}
	}
	return false
}

// fill draws servers for the open slots of path from those that are not on it. It reports whether there are enough.
func (c *chooser) fill(path []*server) (bool, error) {
	var pool []*server
	for i := range path {
		if path[i] != nil {
			continue
		}
		if pool == nil {
			for _, srv := range c.usable {
				if !containsSet(path, srv) {
					pool = append(pool, srv)
				}
			}
		}
		if len(pool) == 0 {
			return false, nil
		}
		j, err := uniform.Int(c.rnd, len(pool))
		if err != nil {
			return false, err
		}
		path[i] = pool[j]
		pool[j] = pool[len(pool)-1]
		pool = pool[:len(pool)-1]
	}
	return true, nil
}

// valid reports whether each hop of a full path relays to the next, no random hop has relatives on it, and all hops fit.
func (c *chooser) valid(path []*server) bool {
	for i := range path {
		if !c.linked(path, i) || c.slots[i] == nil && c.related(path, path[i]) {
			return false
		}
	}
	return c.validEnd(path, rules{})
}

// validEnd reports whether the last hop of a full path relays to where the packet goes from there, and all hops fit.
func (c *chooser) validEnd(path []*server, r rules) bool {
	if c.next != nil {
		end := len(path) - 1
		if !path[end].CanRelayTo(c.next.Descriptor) || c.slots[end] == nil && !r.mayMeetNext && path[end].same(c.next) {
			return false
		}
	}
	if err := c.checkLength(path); err != nil {
		c.tooLong = err
		c.misfits++
		return false
	}
	return true
}

// linked reports whether the server at i, if it is not the first one, can be reached from the one before.
func (c *chooser) linked(path []*server, i int) bool {
	return i == 0 || path[i-1] == nil || path[i-1].CanRelayTo(path[i].Descriptor)
}
