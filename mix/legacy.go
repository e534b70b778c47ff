package mix

import "mixminion/packet"

// legacyHop returns the function that says to which next hops a legacy link may be made; nil if to none.
func (m *Mix) legacyHop() func(packet.Hop) bool {
	if !m.cfg.LegacyOutgoing {
		return nil
	}
	return m.isLegacy
}

// isLegacy reports whether a next hop is a server of the directory whose descriptor, valid now, does not say that it
// speaks TLS 1.3. Of a server that is not in the directory nothing is known, so it is taken to speak TLS 1.3: otherwise
// an attacker who breaks its handshakes would get a legacy link.
func (m *Mix) isLegacy(hop packet.Hop) bool {
	legacy := false
	for _, s := range m.listed() {
		if s.KeyID() != hop.KeyID {
			continue
		}
		if s.AcceptsTLS13() {
			return false
		}
		legacy = legacy || s.Node().Hop == hop
	}
	return legacy
}
