package mix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"time"

	"mixminion/delivery"
	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/config"
	"mixminion/internal/crypt"
	"mixminion/internal/vault"
	"mixminion/mmtp"
	"mixminion/packet"
)

// Config is what a mix needs to know. FromConfig makes one of an operator's file.
type Config struct {
	// Dirs. KeyDir holds the keys, QueueDir the packet store. They are made, with mode 0700, if missing.
	KeyDir, QueueDir string
	// BlocksDir holds the logs of the reply blocks that Mix.Reply has used; it is made when it is needed. "" means that there are no replies.
	BlocksDir string

	Nickname           string
	Contact            string
	ContactFingerprint string
	Comments           string
	Family             []string // the other mixes of the operator: nicknames, fingerprints
	Software           string   // "Mixminion" and a version, for the descriptor

	IdentityKeyBits int // for the first start
	KeyLifetime     time.Duration
	KeyOverlap      time.Duration
	Hostname        string // where others reach this mix
	Port            uint16
	IncomingLinks   []string // how: directory.MMTPProtocols; nil means over IPv4
	// LegacyIncoming takes links of TLS 1.0 too, and LegacyOutgoing makes them to servers of the directory that do not speak TLS 1.3. They
	// need mmtp.LegacyAvailable.
	LegacyIncoming, LegacyOutgoing bool
	Incoming                       mmtp.Limits
	// Bandwidth is how many bytes may be sent and received in a second over MMTP, on average; 0 means any number. BandwidthSpike is how many
	// may pass at once; 0 means the default of package mmtp.
	Bandwidth, BandwidthSpike int64

	// Vault, if not nil, is the master key under which packets and replay logs are encrypted on the disk.
	Vault *vault.Vault
	// EncryptIdentityKey and EncryptPrivateKey say whether the identity key and the packet keys are; then there is a Vault.
	EncryptIdentityKey, EncryptPrivateKey bool

	// StatsFile is where counts are written after each StatsInterval, in whole hours, if LogStats; with "" nothing is counted.
	StatsFile     string
	StatsInterval time.Duration
	LogStats      bool

	Rule          Rule
	Interval      time.Duration // between two mixes
	Jitter        float64       // each interval is this share longer or shorter, at random
	MaxDisk       int64         // bytes that the packet store may take
	Relay         bool          // pass packets on to other mixes
	OutgoingRetry Schedule
	MaxOutgoing   int      // connections
	OutgoingLinks []string // directory.MMTPProtocols; nil means over IPv4
	// DialPrivate lets packets lead to addresses of this machine and of private networks.
	DialPrivate bool
	Resolver    *net.Resolver // looks up the names of other mixes; nil means the system's

	// Cover is how many packets the mix wants to arrive in its pool in an hour. What is missing it makes up with dummies; 0 means none.
	Cover float64
	// Servers returns the servers that cover traffic goes to; nil means those that the mix's directory recommends.
	Servers func() []*directory.Descriptor

	Exits []ExitConfig

	// Directories says where the directory is held and who is trusted to sign it; the mix fills in the clock. If nobody is trusted, none is
	// downloaded.
	Directories dirclient.Options
	// PublishTo are the URL bases of the directory servers that the descriptors are published to.
	PublishTo []string

	Clock    clock.Clock
	Logger   *slog.Logger
	Provider crypt.Provider

	// Tick is how long acknowledgements and packets are gathered before they are written to disk together. 0 means DefaultTick.
	Tick time.Duration
	// Workers is how many packets are unwrapped at one time. 0 means one for each processor.
	Workers int
	// Watch, if not nil, is told of batches as they leave, by their size alone. The demo shows them.
	Watch func(Batch)
}

// DefaultTick is long enough for a disk to be given several packets at once and short beside a network round trip.
const DefaultTick = 5 * time.Millisecond

// ExitConfig is one exit and what the descriptor says of it.
type ExitConfig struct {
	Type  packet.RoutingType
	Exit  delivery.Exit
	Retry Schedule
	// Gather, for the type FRAGMENT, takes the place of Exit and Retry: messages are put together of their fragments and go to the other
	// exits.
	Gather *Gather
	// Advertise, if not nil, adds the exit's section to the descriptor.
	Advertise func(*directory.Fields)
	// Upkeep, if not nil, is called when the mix starts and every hour.
	Upkeep func(ctx context.Context) error
}

// Batch describes one mix, in numbers that link nothing.
type Batch struct {
	Left, Kept int // packets that left the pool and that stayed
}

// maxCover is the greatest Config.Cover.
const maxCover = config.MaxMixCover

var errConfig = errors.New("mix configuration")

func (c *Config) check() error {
	switch {
	case c.KeyDir == "" || c.QueueDir == "":
		return fmt.Errorf("%w: directories missing", errConfig)
	case c.Interval <= 0:
		return fmt.Errorf("%w: mix interval must be positive", errConfig)
	case c.Jitter < 0 || c.Jitter >= 1:
		return fmt.Errorf("%w: jitter must be from 0 up to but not including 1", errConfig)
	case c.KeyLifetime < day:
		return fmt.Errorf("%w: packet keys must live for a day at least", errConfig)
	case c.KeyOverlap < 0 || c.KeyOverlap >= c.KeyLifetime:
		return fmt.Errorf("%w: packet keys must overlap for less than their lifetime", errConfig)
	case !(c.Cover >= 0 && c.Cover <= maxCover):
		return fmt.Errorf("%w: cover traffic must be from 0 to %d packets in an hour", errConfig, maxCover)
	case c.Rule.Algorithm != Timed && (c.Rule.Rate <= 0 || c.Rule.Rate > 1 || c.Rule.MinSize < 0):
		return fmt.Errorf("%w: pool rate must be above 0 and at most 1, and the minimum not negative", errConfig)
	}
	if (c.LegacyIncoming || c.LegacyOutgoing) && !mmtp.LegacyAvailable {
		return fmt.Errorf("%w: LegacyTLS: %w", errConfig, mmtp.ErrNoLegacy)
	}
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Provider == nil {
		c.Provider = crypt.StdProvider{}
	}
	if c.Tick <= 0 {
		c.Tick = DefaultTick
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.MaxOutgoing <= 0 {
		c.MaxOutgoing = 16
	}
	if c.IncomingLinks == nil {
		c.IncomingLinks = directory.MMTPProtocols(true, false)
	}
	if c.OutgoingLinks == nil {
		c.OutgoingLinks = directory.MMTPProtocols(true, false)
	}
	if c.Watch == nil {
		c.Watch = func(Batch) {}
	}
	return nil
}

// describe fills in what the descriptor says beside keys and dates (dir-spec 3).
func (c *Config) describe(f directory.Fields) directory.Fields {
	f.Nickname = c.Nickname
	f.PacketVersions = []string{packet.Version}
	f.Software = c.Software
	f.Contact = c.Contact
	f.ContactFingerprint = c.ContactFingerprint
	f.Comments = c.Comments
	f.Family = c.Family
	f.WhyInsecure = c.whyInsecure()
	f.Secure = f.WhyInsecure == ""
	f.Incoming = &directory.Incoming{Hostname: c.Hostname, Port: c.Port, Protocols: c.IncomingLinks, TLS: directory.TLSVersions(c.LegacyIncoming)}
	if c.Relay {
		f.Outgoing = &directory.Outgoing{Protocols: c.OutgoingLinks, TLS: directory.TLSVersions(c.LegacyOutgoing)}
	}
	for _, x := range c.Exits {
		if x.Advertise != nil {
			x.Advertise(&f)
		}
	}
	return f
}

// dialer connects as the descriptor says.
func (c *Config) dialer() mmtp.Dialer {
	return mmtp.Dialer{
		IPv4:    slices.Contains(c.OutgoingLinks, directory.MMTPVersion),
		IPv6:    slices.Contains(c.OutgoingLinks, directory.MMTPVersionIPv6),
		Private: c.DialPrivate, Resolver: c.Resolver,
	}
}

// minSafeInterval is the shortest mix interval that a descriptor calls secure.
const minSafeInterval = 5 * time.Minute

// whyInsecure tells the users of this mix what in its configuration weakens their anonymity.
func (c *Config) whyInsecure() string {
	why := "Software is under development"
	if c.Rule.Algorithm == Timed {
		why += ", Mix algorithm is not secure"
	} else if c.Rule.MinSize < 5 {
		why += ", Mix pool is small"
	}
	if c.Interval < minSafeInterval {
		why += ", Mix interval is short"
	}
	if c.LegacyIncoming || c.LegacyOutgoing {
		why += ", Legacy TLS is on"
	}
	return why
}
