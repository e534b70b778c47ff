package mix

import (
	"net/netip"
	"sync"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/packet"
)

// applyLimits puts the limits of c into use.
func (m *Mix) applyLimits(c *Config) {
	m.store.SetMaxBytes(c.MaxDisk)
	m.dispatch.client.SetMaxConnections(c.MaxOutgoing)
	m.dispatch.wakeUp() // it asks live for its number of links
	m.bandwidth.Set(c.Bandwidth, c.BandwidthSpike)
	if m.topUp.aim(c.Cover) {
		select {
		case m.coverChanged <- struct{}{}:
		default:
		}
	}
	if s := m.server.Load(); s != nil {
		s.SetLimits(c.Incoming)
	}
}

// maxKnown bounds how many mixes are remembered; a directory lists fewer.
const maxKnown = 10000

// knownMixes are the addresses of mixes of the directory, as they were when links to them proved their identity keys. Links from there are
// believed to be theirs, which gives them a place among many strangers and nothing else. It is in memory only.
type knownMixes struct {
	mu        sync.RWMutex
	addresses map[netip.Addr]crypt.KeyID
	mixes     map[crypt.KeyID][2]netip.Addr // the last address of each, IPv4 and IPv6
}

// at reports whether a known mix has an address.
func (k *knownMixes) at(a netip.Addr) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, ok := k.addresses[a]
	return ok
}

func (k *knownMixes) learn(id crypt.KeyID, a netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mixes == nil || len(k.mixes) >= maxKnown {
		k.addresses, k.mixes = map[netip.Addr]crypt.KeyID{}, map[crypt.KeyID][2]netip.Addr{}
	}
	version := 0
	if a.Is6() {
		version = 1
	}
	both := k.mixes[id]
	if old := both[version]; old != a && k.addresses[old] == id {
		delete(k.addresses, old)
	}
	both[version] = a
	k.mixes[id] = both
	k.addresses[a] = id
}

// learn notes where a link led. That the server has the identity key is not enough: anybody could make us connect through an address of
// theirs. So host and port must be those of the descriptor, too.
func (m *Mix) learn(to packet.Hop, at netip.Addr) {
	if m.isListed(to) {
		m.known.learn(to.KeyID, at)
	}
}

// isListed reports whether a next hop is a server of the directory, by a descriptor that is valid now.
func (m *Mix) isListed(hop packet.Hop) bool {
	for _, s := range m.listed() {
		if s.Node().Hop == hop {
			return true
		}
	}
	return false
}

// listedHops are the servers of the directory, by the names that their queues have.
func (m *Mix) listedHops() map[string]bool {
	hops := map[string]bool{}
	for _, s := range m.listed() {
		hops[hopQueue(s.Node().Hop)] = true
	}
	return hops
}

func (m *Mix) listed() []*directory.Descriptor {
	if m.cfg.Servers == nil && !m.dirs.client.Trusts() {
		return nil
	}
	servers, err := m.servers()
	if err != nil {
		return nil // covering says so
	}
	now := m.cfg.Clock.Now()
	return directory.Newest(servers, now, now)
}
