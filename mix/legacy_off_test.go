//go:build !legacytls

package mix

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"mixminion/internal/config"
	"mixminion/mmtp"
)

// A program without the tag refuses the setting and says why.
func TestLegacyTLSIsRefused(t *testing.T) {
	for section, set := range map[string]func(*config.Server){
		"[Incoming/MMTP]": func(c *config.Server) { c.IncomingMMTP.LegacyTLS = true },
		"[Outgoing/MMTP]": func(c *config.Server) { c.OutgoingMMTP.LegacyTLS = true },
	} {
		c := config.DefaultServer()
		set(c)
		_, err := FromConfig(c, t.TempDir(), "Mixminion test", slog.New(slog.DiscardHandler))
		if !errors.Is(err, mmtp.ErrNoLegacy) || !strings.Contains(err.Error(), section) || !strings.Contains(err.Error(), "-tags legacytls") {
			t.Errorf("%s: %v", section, err)
		}
	}
}
