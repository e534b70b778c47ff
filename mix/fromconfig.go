package mix

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/blacklist"
	"mixminion/delivery/ceiling"
	"mixminion/delivery/optout"
	"mixminion/delivery/reassemble"
	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/config"
	"mixminion/mmtp"
	"mixminion/packet"
)

// FromConfig makes a Config of an operator's file. home is what "~/" stands for, software what the descriptor says of this program.
func FromConfig(c *config.Server, home, software string, log *slog.Logger) (Config, error) {
	paths := c.Paths(home)
	out := Config{
		KeyDir: paths.KeyDir, QueueDir: paths.QueueDir, BlocksDir: paths.BlocksDir,
		Nickname: string(c.Main.Nickname), Contact: string(c.Main.ContactEmail),
		ContactFingerprint: c.Main.ContactFingerprint, Comments: c.Main.Comments, Family: c.Main.MyFamily, Software: software,
		StatsFile: paths.StatsFile, StatsInterval: c.Main.StatsInterval.Duration(), LogStats: c.Main.LogStats,
		IdentityKeyBits: c.Main.IdentityKeyBits, EncryptIdentityKey: c.Main.EncryptIdentityKey, EncryptPrivateKey: c.Main.EncryptPrivateKey,
		KeyLifetime: c.Main.PublicKeyLifetime.Duration(), KeyOverlap: c.Main.PublicKeyOverlap.Duration(),
		Hostname: string(c.IncomingMMTP.Hostname), Port: uint16(c.IncomingMMTP.Port),
		IncomingLinks: directory.MMTPProtocols(c.IncomingMMTP.IPv4, c.IncomingMMTP.ListenIP6.IsValid()),
		Incoming: mmtp.Limits{
			MaxConnections: c.IncomingMMTP.MaxConnections, MaxPerSource: c.IncomingMMTP.MaxConnectionsPerSource,
			Rate: c.IncomingMMTP.ConnectionRate, TotalRate: c.IncomingMMTP.TotalConnectionRate,
			HandshakeTimeout: c.IncomingMMTP.HandshakeTimeout.Duration(), PacketTimeout: c.IncomingMMTP.PacketTimeout.Duration(),
			IdleTimeout: c.Main.Timeout.Duration(),
		},
		Bandwidth: int64(c.Main.MaxBandwidth), BandwidthSpike: int64(c.Main.MaxBandwidthSpike),
		Rule: Rule{
			Algorithm: algorithms[c.Main.MixAlgorithm],
			MinSize:   c.Main.MixPoolMinSize, Rate: float64(c.Main.MixPoolRate),
		},
		Interval: c.Main.MixInterval.Duration(), Jitter: float64(c.Main.MixJitter), Cover: float64(c.Main.MixCover),
		MaxDisk: int64(c.Main.MaxDisk), Relay: c.OutgoingMMTP.Enabled,
		OutgoingLinks: directory.MMTPProtocols(c.OutgoingMMTP.IPv4, c.OutgoingMMTP.IPv6), DialPrivate: c.OutgoingMMTP.PrivateAddresses,
		OutgoingRetry: Schedule(c.OutgoingMMTP.Retry), MaxOutgoing: c.OutgoingMMTP.MaxConnections,
		Logger: log,
	}
	for _, legacy := range []struct {
		section string
		on      bool
	}{{"Incoming/MMTP", c.IncomingMMTP.LegacyTLS}, {"Outgoing/MMTP", c.OutgoingMMTP.LegacyTLS}} {
		if legacy.on && !mmtp.LegacyAvailable {
			return Config{}, fmt.Errorf("[%s] LegacyTLS is yes: %w; say no, or take a mixminiond that was built with it", legacy.section, mmtp.ErrNoLegacy)
		}
	}
	out.LegacyIncoming, out.LegacyOutgoing = c.IncomingMMTP.LegacyTLS, c.OutgoingMMTP.LegacyTLS
	if err := out.setDirectories(&c.Directories, filepath.Join(paths.WorkDir, "dir")); err != nil {
		return Config{}, fmt.Errorf("[DirectoryServers]: %w", err)
	}
	if c.DeliverySMTP.Enabled {
		exit, err := smtpExit(&c.DeliverySMTP, string(c.Main.ContactEmail), paths, home, log)
		if err != nil {
			return Config{}, fmt.Errorf("[Delivery/SMTP]: %w", err)
		}
		out.Exits = append(out.Exits, exit)
	}
	if c.DeliveryMBOX.Enabled {
		exit, err := mboxExit(&c.DeliveryMBOX, string(c.Main.ContactEmail), paths, home, log)
		if err != nil {
			return Config{}, fmt.Errorf("[Delivery/MBOX]: %w", err)
		}
		out.Exits = append(out.Exits, exit)
	}
	if c.DeliveryFragmented.Enabled {
		if len(out.Exits) == 0 {
			return Config{}, errors.New("[Delivery/Fragmented]: there is no exit that whole messages could go to; enable [Delivery/SMTP] or [Delivery/MBOX]")
		}
		f := &c.DeliveryFragmented
		exit, err := FragmentExit(Gather{
			Limits: reassemble.Limits{Size: int64(f.MaximumSize), Bytes: int64(f.MaximumStorage), Messages: f.MaximumMessages},
			Wait:   f.MaximumInterval.Duration(),
		})
		if err != nil {
			return Config{}, fmt.Errorf("[Delivery/Fragmented]: %w", err)
		}
		out.Exits = append(out.Exits, exit)
	}
	return out, nil
}

// setDirectories says where the mix publishes, and where the directory comes from and is held.
func (out *Config) setDirectories(c *config.ServerDirectories, dir string) (err error) {
	o := &out.Directories
	o.Dir, o.Mirrors = dir, c.ServerURL
	if o.Fetch.Proxy, err = dirclient.ParseProxy(c.Proxy); err != nil {
		return err
	}
	for _, a := range c.Authority {
		o.Trusted = append(o.Trusted, directory.Authority{Fingerprint: a.Fingerprint, URLs: []string{string(a.URL)}})
	}
	if len(c.Authority) == 0 {
		if o.Trusted, err = dirclient.Builtin(); err != nil {
			return err
		}
	}
	if !c.Publish {
		return nil
	}
	if out.PublishTo = c.PublishURL; len(out.PublishTo) == 0 {
		for _, a := range o.Trusted {
			out.PublishTo = append(out.PublishTo, a.URLs...)
		}
	}
	if len(out.PublishTo) == 0 {
		return errors.New("no directory server to publish to is known: write lines Authority: FINGERPRINT URL, or PublishURL: URL")
	}
	return nil
}

var algorithms = map[config.MixAlgorithm]Algorithm{
	config.BinomialDynamicPool: Binomial,
	config.DynamicPool:         Cottrell,
	config.Timed:               Timed,
}

func smtpExit(c *config.DeliverySMTP, contact string, paths config.ServerPaths, home string, log *slog.Logger) (ExitConfig, error) {
	base := paths.BaseDir
	form, err := MailOptions(&c.Mail, contact, base, home)
	if err != nil {
		return ExitConfig{}, err
	}
	transport, err := TransportConfig(&c.Relay, base, home, log)
	if err != nil {
		return ExitConfig{}, err
	}
	unwilling, err := optout.Open(paths.OptOutDir, time.Now, log)
	if err != nil {
		return ExitConfig{}, err
	}
	blocked := unwilling.Has
	if file := c.BlacklistFile.In(base, home); file != "" {
		denied, err := blacklist.Open(file, log)
		if err != nil {
			return ExitConfig{}, fmt.Errorf("BlacklistFile: %w", err)
		}
		blocked = func(addr string) bool { return denied.Blocked(addr) || unwilling.Has(addr) }
	}
	limits := ceiling.Limits{Exempt: c.CeilingExempt}
	limits.PerDay[ceiling.Readable], limits.PerDay[ceiling.Opaque] = c.RecipientCeiling, c.EncryptedCeiling
	limit, err := ceiling.New(limits, nil, nil)
	if err != nil {
		return ExitConfig{}, fmt.Errorf("CeilingExempt: %w", err)
	}
	exit, err := delivery.NewSMTP(delivery.SMTPConfig{
		Mail:        form,
		MaximumSize: int(c.SizeLimit()), MaximumRecipients: c.MaximumRecipients, Blocked: blocked, Ceiling: limit,
		TransportConfig: transport,
	})
	if err != nil {
		return ExitConfig{}, err
	}
	x := ExitConfig{Type: packet.TypeSMTP, Exit: exit, Retry: Schedule(c.Retry), Upkeep: unwilling.ForgetCounts}
	if c.Advertise {
		x.Advertise = func(f *directory.Fields) {
			f.SMTP = &directory.Delivery{
				MaximumSize: int(c.SizeLimit() / config.KB), AllowFrom: c.AllowFromAddress, MaximumRecipients: c.MaximumRecipients,
			}
		}
	}
	return x, nil
}
