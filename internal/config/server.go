package config

import (
	"net/netip"
	"path/filepath"
	"strings"
)

// Server is mixminiond.conf. [Server.Sections] says what each field means.
type Server struct {
	File

	Host               Host
	Main               Main
	Pinging            Pinging
	Directories        ServerDirectories
	IncomingMMTP       IncomingMMTP
	OutgoingMMTP       OutgoingMMTP
	DeliveryMBOX       DeliveryMBOX
	DeliverySMTP       DeliverySMTP
	DeliverySMTPViaMix DeliverySMTPViaMix
	DeliveryFragmented DeliveryFragmented
	Gateway            Gateway
	Directory          Directory
}

// Host is the section [Host] of both programs.
type Host struct {
	ShredCommand  Command
	EntropySource Path
	TrustedUser   Lines
	FileParanoia  bool
}

// Main is the section [Server].
type Main struct {
	BaseDir   Path
	LogFile   Path
	StatsFile Path
	KeyDir    Path
	WorkDir   Path
	QueueDir  Path
	PidFile   Path

	LogLevel      LogLevel
	LogFormat     LogFormat
	EchoMessages  bool
	Daemon        bool
	LogStats      bool
	StatsInterval Interval
	MetricsListen Loopback

	StoreKey           StoreKey
	EncryptIdentityKey bool
	EncryptPrivateKey  bool
	IdentityKeyBits    int
	PublicKeyLifetime  Interval
	PublicKeyOverlap   Interval

	Mode               Mode
	Nickname           Nickname
	ContactEmail       Mailbox
	ContactFingerprint string
	Comments           string
	MyFamily           Family

	ModulePath Path
	Module     Lines

	MixAlgorithm   MixAlgorithm
	MixInterval    Interval
	MixJitter      Fraction
	MixPoolRate    Fraction
	MixPoolMinSize int
	MixCover       int

	Timeout           Interval
	MaxDisk           Size
	MaxBandwidth      Size
	MaxBandwidthSpike Size
}

// Pinging is the section of the same name.
type Pinging struct {
	Enabled             bool
	RecomputeInterval   Interval
	ServerPingPeriod    Interval
	DullChainPingPeriod Interval
	ChainPingPeriod     Interval
	ServerProbePeriod   Interval
	RetainData          Interval
	RetainResults       Interval
}

// ServerDirectories is the section [DirectoryServers] of a server.
type ServerDirectories struct {
	Publish    bool
	PublishURL URLBases
	Authority  Authorities
	ServerURL  URLBases
	Proxy      string
	MaxSkew    Interval
}

// IncomingMMTP is the section [Incoming/MMTP].
type IncomingMMTP struct {
	Enabled    bool
	IP         netip.Addr
	Hostname   Hostname
	Port       Port
	IPv4       bool
	ListenIP   netip.Addr
	ListenPort Port
	ListenIP6  netip.Addr

	MaxConnections          int
	MaxConnectionsPerSource int
	ConnectionRate          int
	TotalConnectionRate     int
	LegacyTLS               bool
	HandshakeTimeout        Interval
	PacketTimeout           Interval

	Allow AddressSets
	Deny  AddressSets
}

// Listen returns the addresses to listen on: an IPv4 one, unless the mix has
// none, and an IPv6 one when ListenIP6 is given.
func (i *IncomingMMTP) Listen() []netip.AddrPort {
	ip, port := i.ListenIP, i.ListenPort
	if !ip.IsValid() {
		ip = i.IP
	}
	if port == 0 {
		port = i.Port
	}
	var out []netip.AddrPort
	if i.IPv4 {
		out = append(out, netip.AddrPortFrom(ip, uint16(port)))
	}
	if i.ListenIP6.IsValid() {
		out = append(out, netip.AddrPortFrom(i.ListenIP6, uint16(port)))
	}
	return out
}

// OutgoingMMTP is the section [Outgoing/MMTP].
type OutgoingMMTP struct {
	Enabled          bool
	Retry            IntervalList
	MaxConnections   int
	IPv4, IPv6       bool
	PrivateAddresses bool
	LegacyTLS        bool
	Allow            AddressSets
	Deny             AddressSets
}

// Mail holds the keys that the exits which write mail have in common.
type Mail struct {
	Advertise        bool
	Retry            IntervalList
	MaximumSize      Size
	AllowFromAddress bool
	ReturnAddress    Mailbox
	FromTag          string
	SubjectLine      string
	XAbuse           string
	Comments         string
	Message          string
	TemplateDir      Path
	OptOutAddress    Mailbox
	DKIMKey          DKIMKeys
	DKIMDomain       Hostname
}

// SizeLimit is MaximumSize as it is enforced and advertised: in whole
// kilobytes, and never less than fits into one packet.
func (m *Mail) SizeLimit() Size {
	return max(32*KB, (m.MaximumSize+KB-1)/KB*KB)
}

// Relay says to which mail servers, or command, an exit hands its mail, and how.
type Relay struct {
	SMTPServer       HostPorts
	SMTPTLS          TLSMode
	SMTPUser         string
	SMTPPasswordFile Path
	SMTPHelo         Hostname
	SMTPCAFile       Path
	SendmailCommand  Command
}

// DeliveryMBOX is the section [Delivery/MBOX].
type DeliveryMBOX struct {
	Enabled       bool
	AddressFile   Path
	RemoveContact Mailbox
	Mail
	Relay
}

// DeliverySMTP is the section [Delivery/SMTP].
type DeliverySMTP struct {
	Enabled           bool
	BlacklistFile     Path
	MaximumRecipients int
	OptOutPerDay      int
	RecipientCeiling  int
	EncryptedCeiling  int
	CeilingExempt     List
	Mail
	Relay
}

// DeliverySMTPViaMix is the section [Delivery/SMTP-Via-Mixmaster].
type DeliverySMTPViaMix struct {
	Enabled    bool
	MixCommand Command
	Server     string
	Mail
}

// DeliveryFragmented is the section [Delivery/Fragmented].
type DeliveryFragmented struct {
	Enabled         bool
	MaximumSize     Size
	MaximumInterval Interval
	MaximumStorage  Size
	MaximumMessages int
}

// Gateway is the section of the same name.
type Gateway struct {
	Enabled     bool
	Address     Mailbox
	LMTPListen  HostPort
	Maildir     Path
	MaximumSize Size
	PerSender   int
	PerDay      int
	Receipt     bool
}

// DefaultServer returns the defaults. They do not pass Validate as they are:
// a mix needs a nickname and a contact address.
func DefaultServer() *Server {
	s := new(Server)
	setDefaults(s.Sections())
	return s
}

// ParseServer reads mixminiond.conf; see [Parse].
func ParseServer(data []byte, name string) (*Server, error) {
	s := new(Server)
	if err := Parse(data, name, s); err != nil {
		return nil, err
	}
	if s.Given("Pinging", "") && !s.Given("Pinging", "Enabled") {
		s.Pinging.Enabled = true // as in 0.0.8, whose other sections all need the key
	}
	return s, nil
}

// ServerPaths are the files and directories of a server, without "~/" and joined
// to the base directory.
type ServerPaths struct {
	BaseDir, LogFile, StatsFile, KeyDir, WorkDir, QueueDir, PidFile string
	// OptOutDir holds the list of those who want no mail.
	OptOutDir string
	// BlocksDir holds the logs of the reply blocks that the gateway has used.
	BlocksDir string
	// StorageDir belongs to the section [Directory].
	StorageDir string
}

// Paths resolves the paths of the section [Server] for a user's home directory.
func (s *Server) Paths(home string) ServerPaths {
	base := s.Main.BaseDir.In("", home)
	return ServerPaths{
		BaseDir:   base,
		LogFile:   s.Main.LogFile.In(base, home),
		StatsFile: s.Main.StatsFile.In(base, home),
		KeyDir:    s.Main.KeyDir.In(base, home),
		WorkDir:   s.Main.WorkDir.In(base, home),
		QueueDir:  s.Main.QueueDir.In(base, home),
		PidFile:   s.Main.PidFile.In(base, home),
		OptOutDir: filepath.Join(base, "optout"),
		BlocksDir: filepath.Join(base, "gateway"),

		StorageDir: s.Directory.StorageDir.In(base, home),
	}
}

// In resolves a path: "~/" stands for home, and what is not absolute is
// joined to dir. An empty path, an optional file that is not given, stays empty.
func (v Path) In(dir, home string) string {
	p := string(v)
	switch {
	case p == "" || filepath.IsAbs(p):
		return p
	case p == "~":
		return home
	case strings.HasPrefix(p, "~/"):
		return filepath.Join(home, p[2:])
	}
	return filepath.Join(dir, p)
}
