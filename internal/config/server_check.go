package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/message"
	"mixminion/packet"
)

// Validate checks what no single value shows. Its error joins one [*Error]
// for each mistake.
func (s *Server) Validate() error {
	p := &problems{file: &s.File}
	s.Main.check(p)
	s.checkNetwork(p)
	s.checkDelivery(p)
	s.checkGateway(p)
	checkAuthorities(p, "DirectoryServers", s.Directories.Authority)
	s.Directory.check(p)
	return p.err()
}

func (m *Main) check(p *problems) {
	const in = "Server"
	if m.Nickname == "" {
		p.add(in, "Nickname", "is missing; give this mix a name")
	}
	if m.ContactEmail == "" {
		p.add(in, "Contact-Email", "is missing; give the mail address of the operator")
	}
	if len(m.ContactFingerprint) > 128 {
		p.add(in, "Contact-Fingerprint", "has %d characters; a descriptor holds 128", len(m.ContactFingerprint))
	}
	if len(m.MyFamily) > directory.MaxFamily {
		p.add(in, "MyFamily", "names %d mixes; a descriptor holds %d", len(m.MyFamily), directory.MaxFamily)
	}
	if len(m.Comments) > 1024 {
		p.add(in, "Comments", "has %d characters; a descriptor holds 1024", len(m.Comments))
	}
	if m.BaseDir == "" {
		p.add(in, "BaseDir", "is missing; name a directory for the files of this mix")
	}
	if m.StoreKey.From == StoreKeyNone {
		const need = "is yes, and nothing says what unlocks the keys at the start: set StoreKey, for example to \"file /etc/mixminion/store.key\""
		if m.EncryptIdentityKey {
			p.add(in, "EncryptIdentityKey", need)
		}
		if m.EncryptPrivateKey {
			p.add(in, "EncryptPrivateKey", need)
		}
	}
	if m.IdentityKeyBits < 2048 || m.IdentityKeyBits > 4096 {
		p.add(in, "IdentityKeyBits", "is %d; it must be from 2048 to 4096", m.IdentityKeyBits)
	}
	lifetime, overlap := m.PublicKeyLifetime, m.PublicKeyOverlap
	if lifetime < Interval(day) {
		p.add(in, "PublicKeyLifetime", "is %s; it must be at least 1 day", lifetime)
	}
	if overlap < Interval(6*time.Hour) || overlap > Interval(72*time.Hour) {
		p.add(in, "PublicKeyOverlap", "is %s; it must be from 6 to 72 hours", overlap)
	} else if overlap >= Interval(lifetime.Duration().Truncate(day)) {
		p.add(in, "PublicKeyOverlap", "is %s, not shorter than PublicKeyLifetime, %s in whole days: three keys would be in use at once",
			overlap, lifetime)
	}
	if m.StatsInterval < Interval(time.Hour) {
		p.add(in, "StatsInterval", "is %s; it must be at least 1 hour, as finer counts help to follow packets",
			m.StatsInterval)
	}
	if m.MixInterval <= 0 {
		p.add(in, "MixInterval", "must be longer than nothing")
	}
	if m.MixJitter < 0 || m.MixJitter >= 1 {
		p.add(in, "MixJitter", "is %s; it must be below 100%%", m.MixJitter)
	}
	if m.MixPoolRate <= 0 || m.MixPoolRate > 1 {
		p.add(in, "MixPoolRate", "is %s; it must be above 0%% and at most 100%%", m.MixPoolRate)
	}
	if m.MixCover > MaxMixCover {
		p.add(in, "MixCover", "is %d; it must be at most %d packets in an hour", m.MixCover, MaxMixCover)
	}
	if m.Timeout <= 0 {
		p.add(in, "Timeout", "must be longer than nothing")
	}
	if m.MaxDisk < minDisk {
		p.add(in, "MaxDisk", "is %s; that is too little for packets to be moved about, so give at least %s", m.MaxDisk, minDisk)
	}
	if m.MaxBandwidth != 0 && m.MaxBandwidth < 4*KB {
		p.add(in, "MaxBandwidth", "is %s; it must be at least 4K", m.MaxBandwidth)
	}
	if m.MaxBandwidthSpike != 0 && m.MaxBandwidthSpike < 4*KB {
		p.add(in, "MaxBandwidthSpike", "is %s; it must be at least 4K", m.MaxBandwidthSpike)
	}
}

// minBandwidth is the least with which a few connections carry packets before their peers lose patience.
const minBandwidth = 64 * KB

func (i *IncomingMMTP) checkLimits(p *problems) {
	for _, k := range []struct {
		name  string
		value int
	}{
		{"MaxConnections", i.MaxConnections}, {"MaxConnectionsPerSource", i.MaxConnectionsPerSource},
		{"ConnectionRate", i.ConnectionRate}, {"TotalConnectionRate", i.TotalConnectionRate},
	} {
		if k.value < 1 || k.value > maxLimit {
			p.add("Incoming/MMTP", k.name, "is %d; it must be from 1 to %d", k.value, maxLimit)
		}
	}
	if i.HandshakeTimeout <= 0 {
		p.add("Incoming/MMTP", "HandshakeTimeout", "must be longer than nothing")
	}
	if i.PacketTimeout <= 0 {
		p.add("Incoming/MMTP", "PacketTimeout", "must be longer than nothing")
	}
}

// maxLimit is far above what a machine can bear.
const maxLimit = 1_000_000

// MaxMixCover is the greatest MixCover: every packet costs each server on its way a private-key operation.
const MaxMixCover = 10000

// MaxOptOutPerDay bounds what has to be remembered of a day.
const MaxOptOutPerDay = 100_000

// minDisk leaves the packet store room for some packets beside what it keeps free to work with.
const minDisk = 64 * MB

// minUseful is the shortest lifetime of packet keys with which there is always one that covers the six days that a packet may travel;
// see package mix on how the periods of keys overlap.
const minUseful = Interval(18 * day)

func (s *Server) checkNetwork(p *problems) {
	if in := &s.IncomingMMTP; in.Enabled {
		if in.Hostname == "" {
			p.add("Incoming/MMTP", "Hostname", "is missing; other mixes reach this one by it")
		}
		if !in.IPv4 && !in.ListenIP6.IsValid() {
			p.add("Incoming/MMTP", "IPv4", "is no, and ListenIP6 is missing: nobody could reach this mix")
		}
		if _, err := netip.ParseAddr(string(in.Hostname)); err == nil && in.ListenIP6.IsValid() {
			p.add("Incoming/MMTP", "Hostname", "is an address; with ListenIP6 it must be a name, by which others find both addresses")
		}
		for _, a := range in.Listen() {
			if a.Port() == 0 {
				p.add("Incoming/MMTP", "Port", "is missing")
				break
			}
		}
		if in.ListenIP6.IsValid() && (!in.ListenIP6.Is6() || in.ListenIP6.Is4In6()) {
			p.add("Incoming/MMTP", "ListenIP6", "%s is not an IPv6 address", in.ListenIP6)
		}
		in.checkLimits(p)
	}
	if out := &s.OutgoingMMTP; out.Enabled {
		if !out.IPv4 && !out.IPv6 {
			p.add("Outgoing/MMTP", "IPv4", "is no, and IPv6 too: there is nothing to make connections with")
		}
		if out.MaxConnections < 1 {
			p.add("Outgoing/MMTP", "MaxConnections", "is %d; it must be at least 1", out.MaxConnections)
		}
		if len(out.Retry) == 0 {
			p.add("Outgoing/MMTP", "Retry", "is empty")
		}
	}
}

func (s *Server) checkDelivery(p *problems) {
	if d := &s.DeliveryMBOX; d.Enabled {
		const in = "Delivery/MBOX"
		if d.AddressFile == "" {
			p.add(in, "AddressFile", "is missing; name the file that lists the local users")
		}
		if d.RemoveContact == "" {
			p.add(in, "RemoveContact", "is missing; give the address where users ask to be taken off")
		}
		d.Mail.check(p, in)
		d.Relay.check(p, in)
	}
	if d := &s.DeliverySMTP; d.Enabled {
		const in = "Delivery/SMTP"
		if d.MaximumRecipients < 1 || d.MaximumRecipients > packet.MaxRecipients {
			p.add(in, "MaximumRecipients", "is %d; it must be from 1 to %d", d.MaximumRecipients, packet.MaxRecipients)
		}
		if d.OptOutPerDay < 1 || d.OptOutPerDay > MaxOptOutPerDay {
			p.add(in, "OptOutPerDay", "is %d; it must be from 1 to %d", d.OptOutPerDay, MaxOptOutPerDay)
		}
		for _, addr := range d.CeilingExempt {
			probe := addr
			if strings.HasPrefix(addr, "@") {
				probe = "x" + addr
			}
			if new(Mailbox).Set(probe) != nil {
				p.add(in, "CeilingExempt", "%s is neither a mail address nor @host", quote(addr))
			}
		}
		d.Mail.check(p, in)
		d.Relay.check(p, in)
		if s.DeliverySMTPViaMix.Enabled {
			p.add("Delivery/SMTP-Via-Mixmaster", "Enabled", "must be no while [Delivery/SMTP] is enabled")
		}
	}
	if d := &s.DeliveryFragmented; d.Enabled {
		const in = "Delivery/Fragmented"
		if d.MaximumSize <= 0 {
			p.add(in, "MaximumSize", "is missing; say how large a message may be")
		}
		if d.MaximumInterval <= 0 {
			p.add(in, "MaximumInterval", "must be longer than nothing")
		}
		if least := minStorage(d.MaximumSize); d.MaximumStorage < least {
			p.add(in, "MaximumStorage", "is %s; for messages of MaximumSize, %s, it must be at least %s", d.MaximumStorage, d.MaximumSize, least)
		}
		if d.MaximumMessages < 100 || d.MaximumMessages > 1_000_000 {
			p.add(in, "MaximumMessages", "is %d; it must be from 100 to 1000000", d.MaximumMessages)
		}
		if !s.DeliveryMBOX.Enabled && !s.DeliverySMTP.Enabled {
			p.add(in, "Enabled", "needs [Delivery/SMTP] or [Delivery/MBOX] enabled too: nothing else could deliver what it puts together")
		}
	}
}

// minStorage is the least MaximumStorage for messages of a size: a quarter of it, which is what a class of messages has
// for its own (package reassemble), holds two of the largest.
func minStorage(size Size) Size {
	g, err := message.NewGeometry(int64(size), 0)
	if err != nil {
		return 0 // another check says so
	}
	return (8*Size(g.Chunks*g.K)*packet.PayloadLen + MB - 1) / MB * MB
}

func (m *Mail) check(p *problems, in string) {
	if m.ReturnAddress == "" {
		p.add(in, "ReturnAddress", "is missing; give the address that bounces go to")
	}
	if len(m.Retry) == 0 {
		p.add(in, "Retry", "is empty")
	}
	if d := string(m.DKIMDomain); d != "" {
		_, domain, _ := strings.Cut(string(m.ReturnAddress), "@")
		switch {
		case len(m.DKIMKey) == 0:
			p.add(in, "DKIMDomain", "is given without DKIMKey")
		case !strings.HasSuffix("."+strings.ToLower(domain), "."+strings.ToLower(d)):
			p.add(in, "DKIMDomain", "is %s; it must be the domain of ReturnAddress or one above it, or receivers make nothing of the signature", d)
		}
	}
}

func (r *Relay) check(p *problems, in string) {
	switch {
	case len(r.SMTPServer) > 0 && len(r.SendmailCommand) > 0:
		p.add(in, "SendmailCommand", "is given together with SMTPServer; keep one of them")
	case len(r.SendmailCommand) > 0:
		if slices.Contains(r.SendmailCommand[1:], "-t") {
			p.add(in, "SendmailCommand", "must not have -t: each recipient has a run of the command of its own, and with -t each would reach all of them")
		}
		if r.SMTPUser != "" {
			p.add(in, "SMTPUser", "is given with SendmailCommand, which logs in nowhere")
		}
	case len(r.SMTPServer) == 0:
		p.add(in, "SMTPServer", "is missing; without a mail server, or SendmailCommand, every message would be lost")
	}
	if r.SMTPUser == "" {
		if r.SMTPPasswordFile != "" {
			p.add(in, "SMTPPasswordFile", "is given without SMTPUser")
		}
		return
	}
	if r.SMTPPasswordFile == "" {
		p.add(in, "SMTPUser", "is given without SMTPPasswordFile")
	}
	if r.SMTPTLS != TLSRequired && r.SMTPTLS != TLSImplicit && !r.SMTPServer.isLoopback() {
		p.add(in, "SMTPTLS", "is %s; with SMTPUser it must be required or implicit, or the password could be read on the way",
			string(r.SMTPTLS))
	}
}

// Warnings lists what is legal but unwise, and what is given but not used by
// this version: one sentence each, for the operator's terminal and log.
func (s *Server) Warnings() []string {
	w := warnings{file: &s.File}
	w.unused(s.Sections())
	s.Main.warn(&w)
	warnOldURLs(&w, "ServerURL", s.Directories.ServerURL)
	warnOldURLs(&w, "PublishURL", s.Directories.PublishURL)
	if !s.IncomingMMTP.Enabled && !s.OutgoingMMTP.Enabled && !s.Directory.Enabled {
		w.add("", "", "neither [Incoming/MMTP] nor [Outgoing/MMTP] is enabled: this mix will do nothing")
	} else if s.IncomingMMTP.Enabled && !s.OutgoingMMTP.Enabled {
		w.add("Outgoing/MMTP", "Enabled", "is no: packets for other mixes cannot leave")
	}
	if s.IncomingMMTP.Enabled && s.IncomingMMTP.ListenIP6.IsValid() && s.OutgoingMMTP.Enabled && !s.OutgoingMMTP.IPv6 {
		w.add("Outgoing/MMTP", "IPv6", "is no, though this mix listens at an IPv6 address; if it can make connections over IPv6, say so")
	}
	if s.IncomingMMTP.Enabled && s.IncomingMMTP.LegacyTLS {
		w.add("Incoming/MMTP", "LegacyTLS", "is yes: mixes of series 0.0.8 may send here over TLS 1.0; say no when there are none left")
	}
	if s.OutgoingMMTP.Enabled && s.OutgoingMMTP.LegacyTLS {
		w.add("Outgoing/MMTP", "LegacyTLS", "is yes: packets go to mixes of series 0.0.8 over TLS 1.0; say no when there are none left")
	}
	if s.OutgoingMMTP.Enabled && s.OutgoingMMTP.PrivateAddresses {
		w.add("Outgoing/MMTP", "PrivateAddresses", "is yes: anybody's packets can make this mix connect to services of this machine and "+
			"its network; it is for tests")
	}
	if s.OutgoingMMTP.Enabled {
		w.retry("Outgoing/MMTP", s.OutgoingMMTP.Retry)
	}
	if s.DeliveryMBOX.Enabled {
		s.DeliveryMBOX.Mail.warn(&w, "Delivery/MBOX")
		s.DeliveryMBOX.Relay.warn(&w, "Delivery/MBOX")
	}
	if s.DeliverySMTP.Enabled {
		s.DeliverySMTP.Mail.warn(&w, "Delivery/SMTP")
		s.DeliverySMTP.Relay.warn(&w, "Delivery/SMTP")
	}
	s.Directory.warn(&w)
	return w.list
}

func (m *Main) warn(w *warnings) {
	if m.PublicKeyLifetime < minUseful {
		w.add("Server", "PublicKeyLifetime", "is %s: at times no descriptor of this mix is valid as long as a packet may travel, "+
			"and users cannot choose it; make it at least %s", m.PublicKeyLifetime, minUseful)
	}
	const in = "Server"
	if m.StoreKey.From == StoreKeyFile && m.StoreKey.inside(m.BaseDir) {
		w.add(in, "StoreKey", "the key lies in BaseDir, beside what it encrypts: who takes the one takes both; put it on another device")
	}
	if w.file.name != "" && !w.file.Given(in, "BaseDir") {
		w.add(in, "BaseDir", "is not given; using %s", m.BaseDir)
	}
	if m.Mode == ModeLocal {
		w.add(in, "Mode", "local is "+later+"; this mix will relay for everybody")
	}
	if m.LogLevel == LogTrace || m.LogLevel == LogDebug {
		w.add(in, "LogLevel", "%s writes more than a public mix should; it is for tests", m.LogLevel)
	}
	if m.LogStats && m.StatsInterval < Interval(2*time.Hour) {
		w.add(in, "StatsInterval", "is %s: counts of less than two hours help to follow packets", m.StatsInterval)
	}
	if m.MixAlgorithm == Timed {
		w.add(in, "MixAlgorithm", "Timed sends everything in every batch and protects nobody when traffic is low; it is for tests")
	} else {
		if m.MixPoolMinSize < 5 {
			w.add(in, "MixPoolMinSize", "is %d: so small a pool hides little", m.MixPoolMinSize)
		}
		if m.MixPoolRate > 0.6 {
			w.add(in, "MixPoolRate", "is %s: who floods this mix can empty the pool of others' packets quickly", m.MixPoolRate)
		}
	}
	if m.MixCover == 0 {
		w.add(in, "MixCover", "is 0: without cover traffic packets wait long on a quiet network, and who floods this mix can tell its packets apart")
	}
	if m.MaxBandwidth != 0 && m.MaxBandwidth < minBandwidth {
		w.add(in, "MaxBandwidth", "is %s: with less than %s a few connections at once take so long that their peers give up", m.MaxBandwidth, minBandwidth)
	}
	if m.MaxBandwidth == 0 && m.MaxBandwidthSpike != 0 {
		w.add(in, "MaxBandwidthSpike", "means nothing without MaxBandwidth")
	}
	if m.MixInterval < Interval(5*time.Minute) {
		w.add(in, "MixInterval", "is %s: batches of less than 5 minutes are small and hide little", m.MixInterval)
	}
}

func (m *Mail) warn(w *warnings, in string) {
	w.retry(in, m.Retry)
	if limit := m.SizeLimit(); limit != m.MaximumSize {
		w.add(in, "MaximumSize", "%s is taken as %s: whole kilobytes, at least 32K", m.MaximumSize, limit)
	}
}

func (r *Relay) warn(w *warnings, in string) {
	if r.SMTPTLS == TLSOff && !r.SMTPServer.isLoopback() {
		w.add(in, "SMTPTLS", "is off: recipients and messages can be read on the way to the mail server")
	}
}

// warnings collects the lines of Warnings.
type warnings struct {
	file *File
	list []string
}

func (w *warnings) add(section, key, format string, args ...any) {
	e := Error{
		File: w.file.name, Line: w.file.lines[where{section, key}],
		Section: section, Key: key, Err: fmt.Errorf(format, args...),
	}
	w.list = append(w.list, e.Error())
}

// unused warns about what is given but ignored, and about old names of keys.
// A key that is given with its default value changes nothing: no warning.
func (w *warnings) unused(sections []Section) {
	for _, s := range sections {
		if s.Unused != "" {
			enabled := s.find("Enabled")
			if w.file.Given(s.Name, "") && (enabled == nil || bind(enabled.To).String() == "yes") {
				w.add(s.Name, "", "%s", s.Unused)
			}
			continue
		}
		for _, k := range s.Keys {
			if k.Alias != "" && w.file.Given(s.Name, k.Alias) {
				w.add(s.Name, k.Alias, "is an old name; write %s", k.Name)
			}
			if k.Unused != "" && w.file.Given(s.Name, k.Name) && !k.isDefault() {
				w.add(s.Name, k.Name, "%s", k.Unused)
			}
		}
	}
}

// retry warns about a schedule that gives up too early or insists too long.
func (w *warnings) retry(in string, r IntervalList) {
	total := Interval(r.Total())
	switch {
	case total < Interval(day):
		w.add(in, "Retry", "gives up after %s: a short failure elsewhere will lose packets; a day at least is better", total)
	case total > Interval(14*day):
		w.add(in, "Retry", "goes on for %s: more than two weeks seldom helps", total)
	}
	switch {
	case len(r) < 5:
		w.add(in, "Retry", "has only %d attempts", len(r))
	case len(r) > 50:
		w.add(in, "Retry", "has %d attempts, more than 50", len(r))
	}
	for _, d := range r {
		if d < 5*time.Minute {
			w.add(in, "Retry", "waits only %s: attempts within 5 minutes burden both sides", Interval(d))
			break
		}
	}
}
