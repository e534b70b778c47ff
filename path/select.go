package path

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/packet"
)

// Select chooses paths over the given servers: as many as the request asks for, each satisfying spec (path-spec 3.2)
// and valid for what the request says (path-spec 2). Of several descriptors of a server the newest valid one counts,
// and where descriptors contradict each other the one that comes first (see directory.Newest).
//
// Without a specification a path has DefaultHops different servers; a LastHop is the last of them. All ordered choices
// of servers that are valid - the first hop takes connections and is no blocked entry, the last one can deliver the
// message and is no blocked exit, each one relays to the next, no two are of one family - have the same probability. So
// when there are no other restrictions the exit is uniform among the servers that can deliver, and the other hops are
// uniform, without replacement, among all the others. If fewer than DefaultHops servers are usable, or no valid choice
// exists, that is an error: the default never weakens itself.
//
// With a specification the random hops are chosen by the same rule, the servers that it names being given. Only if no valid choice of
// different servers exists, servers are repeated, not side by side if that can be avoided, and a Warning says so. Servers that are named
// need not be recommended, may be on an exclusion list, and may be of one family, with a Warning; their descriptors must be valid all
// the same. A random hop is never of one family with any other server on the path. Shortness and repetition are warned about.
//
// Links that descriptors rule out are never used (path-spec 2.3): a server that is reached over IPv6 only comes only
// behind one that dials IPv6, and two servers that follow each other have a version of TLS in common, also where the
// legs meet and in front of a reply block. A path begins at a server with TLS 1.3. Another one must be named; a reply
// block, whose maker makes no link to it, may always begin there, a packet only with Request.LegacyLinks. Allow and
// Deny entries are disregarded, as path-spec 2.3 says: no mix has ever obeyed them, and they would let a mix choose its
// neighbours.
//
// If the exit reassembles fragments, the last hop of the first path is the last hop of all of them.
func Select(rnd io.Reader, servers []*directory.Descriptor, spec Spec, req Request) ([]Path, []Warning, error) {
	n, err := req.count()
	if err != nil {
		return nil, nil, err
	}
	s := newSelector(rnd, servers, req)
	if err := s.prepare(spec); err != nil {
		return nil, nil, err
	}
	if err := s.checkSupply(); err != nil {
		return nil, nil, err
	}
	paths := make([]Path, 0, n)
	for i := range n {
		t, err := s.expand()
		if err != nil {
			return nil, nil, err
		}
		hops, err := s.choose(i, t)
		if err != nil {
			return nil, nil, err
		}
		if req.Fragments > 0 {
			s.sharedExit = hops[len(hops)-1]
		}
		if err := s.warn(i, t, hops); err != nil {
			return nil, nil, err
		}
		paths = append(paths, makePath(hops, t.split))
	}
	return paths, s.warnings, nil
}

// A server is a descriptor with what is compared often.
type server struct {
	*directory.Descriptor
	key    crypt.KeyID
	name   string // in lower case
	hop    packet.Hop
	family family
}

func newServer(d *directory.Descriptor) *server {
	node := d.Node()
	return &server{
		Descriptor: d, key: node.KeyID, name: strings.ToLower(d.Nickname), hop: node.Hop, family: newFamily(d, node.KeyID),
	}
}

func (a *server) same(b *server) bool { return a == b || a.key == b.key || a.name == b.name }

type selector struct {
	rnd  io.Reader
	req  Request
	all  []*directory.Descriptor
	spec Spec
	// strict says that nothing may be repeated: the user did not ask for any particular path.
	strict bool

	known   map[string]*server // by nickname: valid at the time in question, recommended or not
	byKey   map[crypt.KeyID]*server
	usable  []*server // what random hops are drawn from
	entries []*server // those that may be first
	exits   []*server // those that may be last

	// The exclusion lists, in lower case.
	blocked, noEntry, noExit map[string]bool

	resolved   map[Element]*server // the servers that the specification names
	sharedExit *server
	warnings   warnings
}

func newSelector(rnd io.Reader, all []*directory.Descriptor, req Request) *selector {
	s := &selector{
		rnd: rnd, req: req, all: all,
		known: make(map[string]*server), byKey: make(map[crypt.KeyID]*server), resolved: make(map[Element]*server),
		blocked: nameSet(req.BlockServers), noEntry: nameSet(req.BlockEntries), noExit: nameSet(req.BlockExits),
	}
	for _, d := range directory.Newest(all, req.From, req.Until) {
		srv := newServer(d)
		s.known[srv.name], s.byKey[srv.key] = srv, srv
		if s.blocked[srv.name] || usabilityError(d) != nil || req.Recommended != nil && !req.Recommended(d) {
			continue
		}
		s.usable = append(s.usable, srv)
		if req.canEnter(d) && d.AcceptsTLS13() && !s.noEntry[srv.name] {
			s.entries = append(s.entries, srv)
		}
		if req.exitError(d) == nil && !s.noExit[srv.name] {
			s.exits = append(s.exits, srv)
		}
	}
	return s
}

func nameSet(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[strings.ToLower(n)] = true
	}
	return set
}

// usabilityError tells why a server cannot be anywhere on a path.
func usabilityError(d *directory.Descriptor) error {
	switch {
	case d.Incoming == nil:
		return fmt.Errorf("%w: %s takes no connections", ErrNotUsable, d.Nickname)
	case !d.UnwrapsVersion(packet.Version):
		return fmt.Errorf("%w: %s does not handle packets of version %s", ErrNotUsable, d.Nickname, packet.Version)
	}
	return nil
}

// resolve finds the server that an element names.
func (s *selector) resolve(e Element) error {
	if e.Kind != Named && e.Kind != File || s.resolved[e] != nil {
		return nil
	}
	srv, err := s.find(e)
	if err != nil {
		return err
	}
	if err := usabilityError(srv.Descriptor); err != nil {
		return err
	}
	s.resolved[e] = srv
	return nil
}

func (s *selector) find(e Element) (*server, error) {
	if srv := s.known[strings.ToLower(e.Name)]; srv != nil {
		return srv, nil
	}
	for _, d := range s.all {
		if d.HasNickname(e.Name) {
			return nil, s.notValid(d)
		}
	}
	if e.Kind == Named || s.req.Lookup == nil {
		return nil, fmt.Errorf("%w: no descriptor of %q; update the directory, or check the spelling", ErrUnknownServer, e.Name)
	}
	d, err := s.req.Lookup(e.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrUnknownServer, e.Name, err)
	}
	if !d.ValidOver(s.req.From, s.req.Until) {
		return nil, s.notValid(d)
	}
	if err := directory.CheckConflict(d, s.all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotUsable, err)
	}
	return newServer(d), nil
}

func (s *selector) notValid(d *directory.Descriptor) error {
	const day = "2006-01-02"
	return fmt.Errorf("%w: no descriptor of %s is valid from %s to %s; update the directory",
		ErrNotUsable, d.Nickname, s.req.From.UTC().Format(day), s.req.Until.UTC().Format(day))
}

// checkSupply finds out, before anything is drawn, what can never succeed.
func (s *selector) checkSupply() error {
	leg := *s.spec.lastLeg()
	last := s.resolved[leg[len(leg)-1]]
	if last != nil {
		if err := s.req.exitError(last.Descriptor); err != nil {
			return err
		}
	}
	if !s.req.knowsExit() {
		text := fmt.Sprintf("no way to tell if a server supports exit type %v", s.req.Exit)
		s.warnings.add(WarnUnknownExit, text)
	}
	random := false
	for _, leg := range [][]Element{s.spec.Leg1, s.spec.Leg2} {
		for _, e := range leg {
			random = random || s.resolved[e] == nil
		}
	}
	have, need := len(s.usable), 1
	if s.strict {
		need = DefaultHops
		if last != nil && !contains(s.usable, last) {
			have++
		}
	}
	switch {
	case random && have < need:
		return fmt.Errorf("%w: %d of the %d known are usable, and at least %d are needed; "+
			"update the directory, shorten the lists of blocked servers, or write a path yourself",
			ErrTooFewServers, have, len(s.known), need)
	case last == nil && len(s.exits) == 0:
		return s.noExitError()
	}
	return nil
}

func (s *selector) noExitError() error {
	reasons := errors.New("all are blocked as exits")
	for _, srv := range s.usable {
		if err := s.req.exitError(srv.Descriptor); err != nil {
			reasons = errors.New("for example, " + strings.TrimPrefix(err.Error(), ErrExit.Error()+": "))
			break
		}
	}
	return fmt.Errorf("%w: %w", ErrNoExit, reasons)
}

func contains(list []*server, srv *server) bool {
	for _, l := range list {
		if l.same(srv) {
			return true
		}
	}
	return false
}

func makePath(hops []*server, split int) Path {
	all := make([]*directory.Descriptor, len(hops))
	for i, h := range hops {
		all[i] = h.Descriptor
	}
	return Path{Leg1: all[:split:split], Leg2: all[split:]}
}

// warn reports what is weak about the i-th path, and what was overridden by naming a server.
func (s *selector) warn(i int, t template, hops []*server) error {
	if len(hops) < DefaultHops && !s.strict {
		s.warnings.add(WarnShort, fmt.Sprintf("a path of %d hops is shorter than the usual %d", len(hops), DefaultHops))
	}
	for i, h := range hops {
		if contains(hops[:i], h) {
			s.warnings.add(WarnRepeat, fmt.Sprintf("a path goes through %s more than once", h.Nickname))
		}
		if t.slots[i] == nil {
			continue
		}
		if s.req.Recommended != nil && !s.req.Recommended(h.Descriptor) {
			s.warnings.add(WarnNotRecommended, h.Nickname+" is not recommended")
		}
		if s.blocked[h.name] {
			s.warnings.add(WarnBlocked, h.Nickname+" is blocked, but the path names it")
		}
		if i == 0 && s.noEntry[h.name] {
			s.warnings.add(WarnBlocked, h.Nickname+" is blocked as an entry, but the path names it")
		}
		if i == 0 && s.req.Kind != SURB && !h.AcceptsTLS13() {
			s.warnings.add(WarnLegacy, "the path names "+h.Nickname+" as its first mix, and links to it are of an old kind (TLS 1.0), which can be broken; "+
				"a mix with TLS 1.3 in front of it is safer")
		}
		if i == len(hops)-1 && s.noExit[h.name] {
			s.warnings.add(WarnBlocked, h.Nickname+" is blocked as an exit, but the path names it")
		}
	}
	next, err := s.surbStart(i)
	if err != nil {
		return err
	}
	s.warnFamilies(hops, next)
	return nil
}

// warnFamilies reports relatives on a path that leads to next, which may be nil. Only servers that the user named can be any.
func (s *selector) warnFamilies(hops []*server, next *server) {
	for i, h := range hops {
		for _, before := range hops[:i] {
			if before.relatedTo(h) {
				s.warnings.add(WarnFamily, fmt.Sprintf("the path names %s and %s, and both have the same operator", before.Nickname, h.Nickname))
			}
		}
		if next != nil && next.relatedTo(h) {
			s.warnings.add(WarnFamily, fmt.Sprintf("the path names %s, and the reply block begins at %s, which has the same operator",
				h.Nickname, next.Nickname))
		}
	}
}
