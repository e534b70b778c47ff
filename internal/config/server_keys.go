package config

const (
	later    = "not available in this version"
	noFilter = "connections are not filtered by address; use the packet filter of the system"

	enabledDoc = "Whether to do this at all: yes or no."
)

// Sections is the table of all sections and keys of mixminiond.conf.
func (s *Server) Sections() []Section {
	return []Section{
		s.Host.section(),
		{
			Name: "Server",
			Doc:  "The mix itself: its name, its files, its keys and how it mixes.",
			Keys: s.Main.keys(),
		},
		{
			Name:   "Pinging",
			Doc:    "Measuring how reliable other mixes are.",
			Unused: later,
			Keys:   s.Pinging.keys(),
		},
		{
			Name: "DirectoryServers",
			Doc:  "Where this mix publishes its descriptor and learns of other mixes.",
			Keys: []Key{
				{Name: "Publish", To: &s.Directories.Publish, Default: "no",
					Doc: "Whether to publish the descriptor of this mix, so that people can use it."},
				{Name: "PublishURL", To: &s.Directories.PublishURL, Example: "https://dir.example.com/",
					Doc: "The URL of a directory server to publish to, without the upload at its end. Without this key, all authorities."},
				{Name: "Authority", To: &s.Directories.Authority, Example: authorityExample, Doc: authorityDoc},
				{Name: "ServerURL", To: &s.Directories.ServerURL, Example: mirrorExample, Doc: mirrorDoc},
				{Name: "Proxy", To: &s.Directories.Proxy, Default: "none", Doc: proxyDoc},
				{Name: "MaxSkew", To: &s.Directories.MaxSkew, Default: "10 minutes", Unused: skewUnused, Doc: skewDoc},
			},
		},
		{
			Name: "Incoming/MMTP",
			Doc:  "Receiving packets from users and other mixes.",
			Keys: s.IncomingMMTP.keys(),
		},
		{
			Name: "Outgoing/MMTP",
			Doc:  "Sending packets to other mixes.",
			Keys: s.OutgoingMMTP.keys(),
		},
		{
			Name: "Delivery/MBOX",
			Doc:  "Delivering messages to users of this mix, whom senders know by a name only. Where their mail goes stands in an address file.",
			Keys: s.DeliveryMBOX.keys(),
		},
		{
			Name: "Delivery/SMTP",
			Doc:  "Delivering messages to any mail address. Expect complaints; set X-Abuse and Message so that people know where to turn.",
			Keys: s.DeliverySMTP.keys(),
		},
		{
			Name:   "Delivery/SMTP-Via-Mixmaster",
			Doc:    "Delivering messages through a network of Type II remailers.",
			Unused: later,
			Keys:   s.DeliverySMTPViaMix.keys(),
		},
		{
			Name: "Delivery/Fragmented",
			Doc:  "Putting messages together that arrive in several packets, before they are delivered by mail.",
			Keys: []Key{
				{Name: "Enabled", To: &s.DeliveryFragmented.Enabled, Required: true, Example: "no", Doc: enabledDoc},
				{Name: "MaximumSize", To: &s.DeliveryFragmented.MaximumSize, Example: "1M",
					Doc: "The largest message to put together, compressed. Needed when Enabled."},
				{Name: "MaximumInterval", To: &s.DeliveryFragmented.MaximumInterval, Default: "2 days",
					Doc: "How long to wait for the missing fragments of a message, counted from the midnight after the first one."},
				{Name: "MaximumStorage", To: &s.DeliveryFragmented.MaximumStorage, Default: "256M",
					Doc: "The disk space for fragments of messages that are not whole. When it is used up, those messages go that have got few fragments " +
						"and none for the longest time: who sends fragments that never become messages displaces little but his own."},
				{Name: "MaximumMessages", To: &s.DeliveryFragmented.MaximumMessages, Default: "10000",
					Doc: "How many messages may wait for fragments at a time. It bounds memory."},
			},
		},
		{
			Name: "Gateway",
			Doc: "Taking in ordinary mail that holds a reply block and a text, and sending the text through the block: so anybody can answer an anonymous " +
				"message without software. It needs [Incoming/MMTP] and [Outgoing/MMTP].",
			Keys: s.Gateway.keys(),
		},
		{
			Name: "Directory",
			Doc:  "Being a directory authority: collecting descriptors of mixes and voting with others on which of them users should know.",
			Keys: s.Directory.keys(),
		},
	}
}

func (h *Host) section() Section {
	return Section{
		Name: "Host",
		Doc:  "The machine that the program runs on.",
		Keys: []Key{
			{Name: "ShredCommand", To: &h.ShredCommand,
				Unused: "no command is run to erase files; keep them on an encrypted disk",
				Doc:    "A command that erases files."},
			{Name: "EntropySource", To: &h.EntropySource,
				Unused: "randomness always comes from the operating system",
				Doc:    "A file to read random bytes from."},
			{Name: "TrustedUser", To: &h.TrustedUser, Unused: later,
				Doc: "A user, by name or number, who may own directories above ours."},
			{Name: "FileParanoia", To: &h.FileParanoia, Default: "yes", Unused: later,
				Doc: "Whether to refuse private directories that other users could read or replace."},
		},
	}
}

func (m *Main) keys() []Key {
	return []Key{
		{Name: "Nickname", To: &m.Nickname, Required: true, Example: "yournickname",
			Doc: "The name of this mix: at most 24 letters, digits and hyphens, a letter first. Users write it in paths."},
		{Name: "Contact-Email", To: &m.ContactEmail, Required: true, Example: "you@example.com",
			Doc: "A mail address where the operator can be reached. It is published."},
		{Name: "Contact-Fingerprint", To: &m.ContactFingerprint,
			Doc: "The fingerprint of the operator's OpenPGP key. It is published."},
		{Name: "Comments", To: &m.Comments,
			Doc: "A remark about this mix. It is published."},
		{Name: "MyFamily", To: &m.MyFamily, Example: "0123456789ABCDEF0123456789ABCDEF01234567",
			Doc: "The other mixes that you run: their fingerprints, as mixminion list-servers -F fingerprint prints them, or nicknames, " +
				"separated by commas. Each must name the others in turn; then no path of a user goes through two of them. It is published."},
		{Name: "Mode", To: &m.Mode, Default: "relay",
			Doc: "relay serves everybody; local, for one's own packets only, is " + later + "."},

		{Name: "BaseDir", Alias: "Homedir", To: &m.BaseDir, Default: "/var/spool/minion",
			Doc: "The directory that holds all files of this mix. The files below are relative to it."},
		{Name: "LogFile", To: &m.LogFile, Default: "log",
			Doc: "The log."},
		{Name: "StatsFile", To: &m.StatsFile, Default: "stats",
			Doc: "The statistics, which mixminiond stats prints."},
		{Name: "KeyDir", To: &m.KeyDir, Default: "keys",
			Doc: "The directory of the private keys."},
		{Name: "WorkDir", To: &m.WorkDir, Default: "work",
			Doc: "The directory of everything that only the program itself needs."},
		{Name: "QueueDir", To: &m.QueueDir, Default: "work/queues",
			Doc: "The directory of the packets that wait."},
		{Name: "PidFile", To: &m.PidFile, Default: "pid",
			Doc: "The file that holds the process id while the mix runs."},

		{Name: "LogLevel", To: &m.LogLevel, Default: "WARN",
			Doc: "The least severe lines that are logged: TRACE, DEBUG, INFO, WARN, ERROR, FATAL or NEVER."},
		{Name: "LogFormat", To: &m.LogFormat, Default: "text",
			Doc: "The form of the lines: text, as people read them, or json, for programs. Neither says who talks to whom."},
		{Name: "EchoMessages", To: &m.EchoMessages, Default: "no",
			Doc: "Whether to print the log on the terminal even with --quiet; without that option it is printed anyway."},
		{Name: "Daemon", To: &m.Daemon, Default: "no",
			Doc: "Whether mixminiond start puts the program into the background. A service manager wants it in the foreground."},
		{Name: "LogStats", To: &m.LogStats, Default: "yes",
			Doc: "Whether to count events and write the counts, rounded up to hundreds, to StatsFile."},
		{Name: "StatsInterval", To: &m.StatsInterval, Default: "1 day",
			Doc: "The time that one set of counts covers, in whole hours: finer counts would help to follow packets."},

		{Name: "MetricsListen", To: &m.MetricsListen, Default: "none", Example: "127.0.0.1:9748",
			Doc: "Where a Prometheus server on this machine can ask for counts of full hours, rounded up to hundreds: an address of loopback and a " +
				"port. Every user of the machine can ask, too. none: nowhere."},

		{Name: "StoreKey", To: &m.StoreKey, Default: "none",
			Doc: "What unlocks, at each start, the master key under which waiting packets and replay logs are encrypted: file NAME, a file of 32 random bytes or more, " +
				"on a device that is not taken together with this disk; passphrase; credential NAME, which systemd passes to the service; " +
				"or none, and they lie in clear."},
		{Name: "EncryptIdentityKey", To: &m.EncryptIdentityKey, Default: "no",
			Doc: "Whether to keep the identity key encrypted under the StoreKey, which is needed then."},
		{Name: "EncryptPrivateKey", To: &m.EncryptPrivateKey, Default: "no",
			Doc: "Whether to keep the packet keys encrypted under the StoreKey, which is needed then. Without the StoreKey a stolen disk opens no packet."},
		{Name: "IdentityKeyBits", To: &m.IdentityKeyBits, Default: "2048",
			Doc: "The length of a new identity key, 2048 to 4096."},
		{Name: "PublicKeyLifetime", To: &m.PublicKeyLifetime, Default: "30 days",
			Doc: "How long a packet key is announced, at least a day."},
		{Name: "PublicKeyOverlap", To: &m.PublicKeyOverlap, Default: "48 hours",
			Doc: "How long packets for an old packet key are still accepted, 6 to 72 hours. Then the key is destroyed with its replay log."},

		{Name: "MixAlgorithm", To: &m.MixAlgorithm, Default: "BinomialDynamicPool",
			Doc: "How a batch is picked: BinomialDynamicPool, DynamicPool or, for tests only, Timed. " + mixAlgorithmSynonyms},
		{Name: "MixInterval", To: &m.MixInterval, Default: "5 minutes",
			Doc: "The time from one batch to the next."},
		{Name: "MixJitter", To: &m.MixJitter, Default: "20%",
			Doc: "How much each MixInterval is shortened or lengthened at random, at most."},
		{Name: "MixPoolRate", To: &m.MixPoolRate, Default: "40%",
			Doc: "The part of the pool that one batch may hold at most."},
		{Name: "MixPoolMinSize", To: &m.MixPoolMinSize, Default: "16",
			Doc: "The number of packets that always stay in the pool."},
		{Name: "MixCover", To: &m.MixCover, Default: "120",
			Doc: "How many packets should come into the pool in an hour, on average. What is missing is made up with dummies, which go to random " +
				"other mixes and end there; at least half of MixCover is always made. 0 switches cover traffic off."},

		{Name: "Timeout", To: &m.Timeout, Default: "5 minutes",
			Doc: "How long a connection may be silent before it is closed."},
		// 10G is about 320,000 packets, hours of a busy mix whose neighbours
		// are down, and still leaves a small rented server's disk half empty.
		{Name: "MaxDisk", To: &m.MaxDisk, Default: "10G",
			Doc: "The disk space that waiting packets may take. When it is used up, new packets are rejected and their senders try again later."},
		{Name: "MaxBandwidth", To: &m.MaxBandwidth, Example: "500K",
			Doc: "Bytes to send and receive in a second over MMTP, both together, on average. All connections that are active get the same share. " +
				"Without this key there is no limit."},
		{Name: "MaxBandwidthSpike", To: &m.MaxBandwidthSpike, Example: "2M",
			Doc: "Bytes that may pass at once after a pause. Without this key, five times MaxBandwidth."},

		{Name: "ModulePath", To: &m.ModulePath, Unused: later,
			Doc: "A directory of delivery modules."},
		{Name: "Module", To: &m.Module, Unused: later,
			Doc: "A delivery module to load."},
	}
}

func (p *Pinging) keys() []Key {
	return []Key{
		{Name: "Enabled", To: &p.Enabled, Example: "no", Doc: enabledDoc},
		{Name: "RecomputeInterval", To: &p.RecomputeInterval, Default: "30 minutes",
			Doc: "The time from one computation of results to the next."},
		{Name: "ServerPingPeriod", To: &p.ServerPingPeriod, Default: "2 hours",
			Doc: "The time from one ping of a mix to the next."},
		{Name: "DullChainPingPeriod", To: &p.DullChainPingPeriod, Default: "4 days",
			Doc: "The time from one ping of a pair of mixes to the next."},
		{Name: "ChainPingPeriod", To: &p.ChainPingPeriod, Default: "1 day",
			Doc: "The same for a pair that may be broken."},
		{Name: "ServerProbePeriod", To: &p.ServerProbePeriod, Default: "1 hour",
			Doc: "The time from one probe of a link to the next."},
		{Name: "RetainData", To: &p.RetainData, Default: "30 days",
			Doc: "How long single pings are kept."},
		{Name: "RetainResults", To: &p.RetainResults, Default: "1 year",
			Doc: "How long results are kept."},
	}
}

func (i *IncomingMMTP) keys() []Key {
	return []Key{
		{Name: "Enabled", To: &i.Enabled, Required: true, Example: "no", Doc: enabledDoc},
		{Name: "Hostname", To: &i.Hostname, Example: "mix.example.com",
			Doc: "The name under which others reach this mix. Needed when Enabled. It is published."},
		{Name: "IP", To: &i.IP, Default: "0.0.0.0",
			Doc: "The IPv4 address under which others reach this mix; 0.0.0.0 stands for all addresses of the machine. " +
				"Old descriptors need one; today's software goes by Hostname."},
		{Name: "Port", To: &i.Port, Default: "48099",
			Doc: "The port under which others reach this mix."},
		{Name: "IPv4", To: &i.IPv4, Default: "yes",
			Doc: "Whether others reach this mix over IPv4. A mix without is used only behind mixes that have IPv6 themselves. It is published."},
		{Name: "ListenIP", To: &i.ListenIP,
			Doc: "The IPv4 address to listen on, if it is not IP."},
		{Name: "ListenIP6", To: &i.ListenIP6, Example: "::",
			Doc: "An IPv6 address to listen on too, :: for all. Without it, only IPv4 is served. With it, Hostname must be a name that leads to an IPv6 address, " +
				"and the descriptor says that this mix can be reached there."},
		{Name: "ListenPort", To: &i.ListenPort,
			Doc: "The port to listen on, if it is not Port."},
		{Name: "LegacyTLS", To: &i.LegacyTLS, Default: "no",
			Doc: "Whether mixes of series 0.0.8 may send here. Their links are made with TLS 1.0, which protects who talks to whom badly; what is in packets is " +
				"encrypted by itself. Others go on with TLS 1.3. Needs a mixminiond that was built with the tag legacytls. It is published."},
		// About 60 MB of memory when all of them stop in the middle of a packet.
		{Name: "MaxConnections", To: &i.MaxConnections, Default: "1000",
			Doc: "How many connections there may be at the same time: bounds memory and open files. When all places are taken, who has most connections or " +
				"has been silent for longest makes way; mixes of the directory always get one."},
		{Name: "MaxConnectionsPerSource", To: &i.MaxConnectionsPerSource, Default: "16",
			Doc: "How many of these one IPv4 address, or one IPv6 /64, may have, so that nobody takes all places. A /24 in IPv4 and a /48 in IPv6 may have " +
				"4 times as many, a /32 in IPv6 16 times."},
		{Name: "ConnectionRate", To: &i.ConnectionRate, Default: "60",
			Doc: "How many connections such a source may make in a minute, networks as many times more, so that nobody keeps the processor busy with handshakes."},
		{Name: "TotalConnectionRate", To: &i.TotalConnectionRate, Default: "6000",
			Doc: "How many connections all together may make in a minute, the mixes of the directory not counted: protects the processor against many sources."},
		{Name: "HandshakeTimeout", To: &i.HandshakeTimeout, Default: "30 seconds",
			Doc: "How long a peer may take to set up encryption and agree on the version, so that peers who do not speak take no places."},
		{Name: "PacketTimeout", To: &i.PacketTimeout, Default: "2 minutes",
			Doc: "How long one packet may take from its first byte to its last, so that peers who stop in the middle of one take no memory for long."},
		{Name: "Allow", To: &i.Allow, Unused: noFilter, Doc: "Addresses to accept connections from."},
		{Name: "Deny", To: &i.Deny, Unused: noFilter, Doc: "Addresses to refuse connections from."},
	}
}

func (o *OutgoingMMTP) keys() []Key {
	return []Key{
		{Name: "Enabled", To: &o.Enabled, Required: true, Example: "no", Doc: enabledDoc},
		{Name: "Retry", To: &o.Retry, Default: "every 1 hour for 1 day, 7 hours for 5 days",
			Doc: "The waits between attempts to reach another mix. After the last one its packets are given up."},
		{Name: "MaxConnections", To: &o.MaxConnections, Default: "16",
			Doc: "How many mixes to send to at the same time."},
		{Name: "IPv4", To: &o.IPv4, Default: "yes",
			Doc: "Whether to make connections over IPv4. It is published."},
		{Name: "IPv6", To: &o.IPv6, Default: "no",
			Doc: "Whether to make connections over IPv6. Say yes if this machine has it: only then can mixes without IPv4 follow this one. It is published."},
		{Name: "PrivateAddresses", To: &o.PrivateAddresses, Default: "no",
			Doc: "Whether to connect to addresses of this machine and of private networks too: for test networks. " +
				"Packets may name any host, and so anybody could reach services that only this machine or its network should."},
		{Name: "LegacyTLS", To: &o.LegacyTLS, Default: "no",
			Doc: "Whether to send to mixes of series 0.0.8, over links of TLS 1.0 that who records them can often read: what is in packets is encrypted by itself. " +
				"A mix whose descriptor says that it speaks TLS 1.3 is never sent to in that way. Needs a mixminiond that was built with the tag legacytls. It is published."},
		{Name: "Allow", To: &o.Allow, Unused: noFilter, Doc: "Addresses to connect to."},
		{Name: "Deny", To: &o.Deny, Unused: noFilter, Doc: "Addresses not to connect to."},
	}
}

func (d *DeliveryMBOX) keys() []Key {
	keys := []Key{
		{Name: "Enabled", To: &d.Enabled, Required: true, Example: "no", Doc: enabledDoc},
		{Name: "AddressFile", To: &d.AddressFile, Example: "/etc/mixminion/mbox.aliases",
			Doc: "The file of the users, one \"name: address\" on a line; # begins a comment. Upper and lower case of names differ. It is read again when " +
				"it changes. Needed when Enabled."},
		{Name: "RemoveContact", To: &d.RemoveContact, Example: "you@example.com",
			Doc: "Whom a user asks to be taken off. It stands above every message, unless TemplateDir has a text of yours for that place. Needed when Enabled."},
	}
	return append(append(keys, d.Mail.keys()...), d.Relay.keys()...)
}

func (d *DeliverySMTP) keys() []Key {
	keys := []Key{
		{Name: "Enabled", To: &d.Enabled, Required: true, Example: "no", Doc: enabledDoc},
		{Name: "BlacklistFile", To: &d.BlacklistFile, Example: "/etc/mixminion/blacklist",
			Doc: "The file of recipients who want no anonymous mail, a rule on each line: Deny address bob@example.com, Deny user bob, " +
				"Deny onehost example.com, Deny allhosts example.com (and all hosts below it), or Deny pattern /regular expression/. " +
				"It is read again when it changes. Those who wrote to OptOutAddress need not stand here."},
		{Name: "MaximumRecipients", To: &d.MaximumRecipients, Default: "8",
			Doc: "How many addresses one packet may name, 1 to 8. They get one mail and see each other."},
		{Name: "OptOutPerDay", To: &d.OptOutPerDay, Default: "200",
			Doc: "How many mails mixminiond optout receive sends in a day, at most, to those who write to OptOutAddress: anybody can write there in others' names."},
		{Name: "RecipientCeiling", To: &d.RecipientCeiling, Default: "10",
			Doc: "How many mails in plain text one recipient gets in a day (UTC). The rest waits, so that nobody can be buried in mail. 0 means any number."},
		{Name: "EncryptedCeiling", To: &d.EncryptedCeiling, Default: "500",
			Doc: "The same for encrypted mails and fragments, which may be the answers that somebody waits for."},
		{Name: "CeilingExempt", To: &d.CeilingExempt, Example: "list@example.com, @example.org",
			Doc: "Recipients without a ceiling, separated by commas: mailing lists, say. @example.org stands for everybody at that host."},
	}
	return append(append(keys, d.Mail.keys()...), d.Relay.keys()...)
}

func (d *DeliverySMTPViaMix) keys() []Key {
	keys := []Key{
		{Name: "Enabled", To: &d.Enabled, Required: true, Example: "no", Doc: enabledDoc},
		{Name: "MixCommand", To: &d.MixCommand, Doc: "The command of the Type II client."},
		{Name: "Server", To: &d.Server, Doc: "The Type II remailer to deliver with."},
	}
	return append(keys, d.Mail.keys()...)
}

func (g *Gateway) keys() []Key {
	return []Key{
		{Name: "Enabled", To: &g.Enabled, Required: true, Example: "no", Doc: enabledDoc},
		{Name: "Address", To: &g.Address, Example: "answer@mix.example.com",
			Doc: "The mail address of the gateway. Have your mail server hand its mail to mixminiond gateway, to LMTPListen, or to Maildir. Needed when Enabled."},
		{Name: "LMTPListen", To: &g.LMTPListen, Example: "127.0.0.1:2424",
			Doc: "An address of this machine itself, with a port, at which mail servers can hand over mail by LMTP."},
		{Name: "Maildir", To: &g.Maildir, Example: "/var/mail/answer",
			Doc: "A Maildir to take mail from. It is looked at every minute, and what was taken is removed."},
		{Name: "MaximumSize", To: &g.MaximumSize, Default: "1M",
			Doc: "The largest mail to take in."},
		{Name: "PerSender", To: &g.PerSender, Default: "10",
			Doc: "How many mails to take from one sender in a day; the others wait at the mail server."},
		{Name: "PerDay", To: &g.PerDay, Default: "1000",
			Doc: "How many mails to take from all senders in a day."},
		{Name: "Receipt", To: &g.Receipt, Default: "yes",
			Doc: "Whether to answer each mail with a fixed text, the same whatever became of it. It goes the way of [Delivery/SMTP], which must be enabled."},
	}
}

func (m *Mail) keys() []Key {
	return []Key{
		{Name: "ReturnAddress", To: &m.ReturnAddress, Example: "nobody@example.com",
			Doc: "The sender of the mail, where bounces go. Needed when Enabled."},
		{Name: "MaximumSize", To: &m.MaximumSize, Default: "100K",
			Doc: "The largest message to deliver, in whole kilobytes, 32K at least."},
		{Name: "AllowFromAddress", To: &m.AllowFromAddress, Default: "yes",
			Doc: "Whether senders may choose the name beside ReturnAddress."},
		{Name: "FromTag", To: &m.FromTag, Default: "[Anon]",
			Doc: "What stands before a name that the sender chose."},
		{Name: "SubjectLine", To: &m.SubjectLine, Default: "Type III Anonymous Message",
			Doc: "The subject of mail whose sender chose none."},
		{Name: "X-Abuse", To: &m.XAbuse, Example: "complaints to abuse@example.com",
			Doc: "The mail header of this name: where to complain."},
		{Name: "Comments", To: &m.Comments,
			Doc: "The mail header of this name: what this mail is."},
		{Name: "Message", To: &m.Message,
			Doc: "A paragraph that stands above every message, in place of the disclaimer that is there without this key. Longer texts go into TemplateDir."},
		{Name: "TemplateDir", To: &m.TemplateDir, Example: "/etc/mixminion/templates",
			Doc: "A directory with the texts that stand around a message, for editing; mixminiond mail templates writes them there. What is missing there is " +
				"as shipped."},
		{Name: "OptOutAddress", To: &m.OptOutAddress, Example: "stop@example.com",
			Doc: "Where people write who want no anonymous mail any more. It stands below every message and in a header that mail programs make a button of. " +
				"It must be answered: have its mail handed to mixminiond optout receive. Without this key nothing is said about it."},
		{Name: "DKIMKey", To: &m.DKIMKey, Example: "mix1 dkim.key",
			Doc: "A selector, a blank, and the file of a private key that signs the mail, so that receivers trust it more; mixminiond mail dkim-key makes one, " +
				"mixminiond mail dkim-record shows what to publish. May be given again. Not needed if the mail server signs."},
		{Name: "DKIMDomain", To: &m.DKIMDomain, Example: "example.com",
			Doc: "The domain that the keys are published under, if it is not that of ReturnAddress but one above it."},
		{Name: "Advertise", To: &m.Advertise, Default: "yes",
			Doc: "Whether the descriptor of this mix says that it delivers."},
		{Name: "Retry", To: &m.Retry, Default: "7 hours for 6 days",
			Doc: "The waits between attempts to hand a message to the mail server."},
	}
}

func (r *Relay) keys() []Key {
	return []Key{
		{Name: "SMTPServer", To: &r.SMTPServer, Example: "localhost",
			Doc: "The mail server, host or host:port, that takes the mail; IPv6 addresses in brackets. The port is 25 or, with SMTPTLS implicit, 465 unless given. " +
				"May stand more than once: the next one is asked when those above it cannot be reached or take no mail from this mix, for a quarter of an hour at a time. " +
				"The keys below hold for all of them. This key or SendmailCommand is needed when Enabled."},
		{Name: "SMTPTLS", To: &r.SMTPTLS, Default: "opportunistic",
			Doc: "off; opportunistic: encrypt if the mail server offers it; required: STARTTLS with a good certificate or nothing; implicit: TLS from the first byte with a good certificate."},
		{Name: "SMTPUser", To: &r.SMTPUser,
			Doc: "The user name, if the mail server wants one. SMTPTLS must then be required or implicit."},
		{Name: "SMTPPasswordFile", To: &r.SMTPPasswordFile,
			Doc: "The file that holds the password of SMTPUser, on one line."},
		{Name: "SMTPHelo", To: &r.SMTPHelo,
			Default: "localhost",
			Doc:     "The name to greet the mail server with. The default does not tell the name of this machine."},
		{Name: "SMTPCAFile", To: &r.SMTPCAFile,
			Doc: "A PEM file of the certificates to trust, instead of the system's."},
		{Name: "SendmailCommand", To: &r.SendmailCommand, Example: "/usr/sbin/sendmail",
			Doc: "A command that takes the mail, instead of a mail server: a program and its arguments, separated by blanks; no shell looks at them. " +
				"It is run for each recipient, with -i -f ReturnAddress -- RECIPIENT added, and must say by the exit codes of sysexits.h what became of the mail."},
	}
}
