package config

import (
	"slices"
	"strings"
	"testing"
)

// check and the log say that legacy links are on.
func TestLegacyTLSIsWarnedOf(t *testing.T) {
	s := DefaultServer()
	said := func(section string) bool {
		return slices.ContainsFunc(s.Warnings(), func(w string) bool { return strings.Contains(w, section) && strings.Contains(w, "LegacyTLS") })
	}
	s.IncomingMMTP.Enabled, s.OutgoingMMTP.Enabled = true, true
	if said("Incoming/MMTP") || said("Outgoing/MMTP") {
		t.Error("warned of what is off")
	}
	s.IncomingMMTP.LegacyTLS, s.OutgoingMMTP.LegacyTLS = true, true
	if !said("Incoming/MMTP") || !said("Outgoing/MMTP") {
		t.Errorf("warnings: %q", s.Warnings())
	}
}
