package cli

import (
	"context"
	"net/netip"

	"mixminion/internal/config"
	"mixminion/mix"
	"mixminion/mix/metrics"
)

// listenMetrics shows metrics where a configuration wants them; nil if nowhere.
func (d *daemon) listenMetrics(ctx context.Context, c *config.Server) (*metrics.Server, error) {
	addr := netip.AddrPort(c.Main.MetricsListen)
	if !addr.IsValid() {
		return nil, nil
	}
	return metrics.Listen(ctx, addr, Version, func() *mix.Hour {
		if d.mix == nil {
			return nil // an authority alone
		}
		return d.mix.LastHour()
	})
}

// closeMetrics stops showing metrics.
func (d *daemon) closeMetrics() error {
	if d.metrics == nil {
		return nil
	}
	err := d.metrics.Close()
	d.metrics = nil
	return err
}
