package config

import "time"

// Client is .mixminionrc. [Client.Sections] says what each field means.
type Client struct {
	File

	Host        Host
	Directories ClientDirectories
	User        User
	Security    Security
	Network     Network
	Agent       Agent
}

// ClientDirectories is the section [DirectoryServers] of a client.
type ClientDirectories struct {
	Authority               Authorities
	ServerURL               URLBases
	Proxy                   string
	DirectoryTimeout        Interval
	UseOldDirectory         bool
	MaxSkew                 Interval
	AllowOldDirectoryFormat bool
}

// User is the section of the same name.
type User struct {
	UserDir Path
}

// Security is the section of the same name.
type Security struct {
	SURBAddress    string
	SURBLifetime   Interval
	ForwardPath    string
	ReplyPath      string
	SURBPath       string
	BlockServers   List
	BlockEntries   List
	BlockExits     List
	PathLength     string
	SURBPathLength string
}

// Network is the section of the same name.
type Network struct {
	Timeout Interval
	IPv4    bool
}

// Agent is the section of the same name.
type Agent struct {
	MeanInterval    Interval
	PacketsPerEvent int
}

// Limits of an agent.
const (
	maxMeanInterval    = 365 * day
	maxPacketsPerEvent = 100
)

// DefaultClient returns the defaults, which pass Validate.
func DefaultClient() *Client {
	c := new(Client)
	setDefaults(c.Sections())
	return c
}

// ParseClient reads .mixminionrc; see [Parse].
func ParseClient(data []byte, name string) (*Client, error) {
	c := new(Client)
	if err := Parse(data, name, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Sections is the table of all sections and keys of .mixminionrc.
func (c *Client) Sections() []Section {
	const noLength = "write a path instead, like *4 for four random mixes"
	return []Section{
		c.Host.section(),
		{
			Name: "DirectoryServers",
			Doc:  "Where to learn which mixes there are.",
			Keys: []Key{
				{Name: "Authority", To: &c.Directories.Authority, Example: authorityExample, Doc: authorityDoc},
				{Name: "ServerURL", To: &c.Directories.ServerURL, Example: mirrorExample, Doc: mirrorDoc},
				{Name: "Proxy", To: &c.Directories.Proxy, Example: "none",
					Doc: proxyDoc + " Without this key nothing is downloaded while the environment names a proxy."},
				{Name: "DirectoryTimeout", To: &c.Directories.DirectoryTimeout, Default: "1 minute",
					Doc: "How long to wait for a document of a directory server."},
				{Name: "UseOldDirectory", To: &c.Directories.UseOldDirectory, Default: "no",
					Doc: "Whether to go on using a directory that ended more than 48 hours ago, if no newer one can be had. " +
						"The mixes that it lists may be gone or in wrong hands."},
				{Name: "MaxSkew", To: &c.Directories.MaxSkew, Default: "10 minutes", Unused: skewUnused, Doc: skewDoc},
				{Name: "AllowOldDirectoryFormat", To: &c.Directories.AllowOldDirectoryFormat, Default: "yes",
					Unused: "directories of the time before 0.0.8 have but one signature and are never used",
					Doc:    "Whether to read directories of the time before 0.0.8."},
			},
		},
		{
			Name: "User",
			Doc:  "Your own files.",
			Keys: []Key{
				{Name: "UserDir", To: &c.User.UserDir, Default: "~/.mixminion",
					Doc: "The directory for keys, waiting packets and what is known about mixes."},
			},
		},
		{
			Name: "Security",
			Doc:  "Paths and reply blocks. A path names mixes or, better, asks for random ones.",
			Keys: []Key{
				{Name: "ForwardPath", To: &c.Security.ForwardPath, Default: "*4",
					Doc: "The path of messages."},
				{Name: "ReplyPath", To: &c.Security.ReplyPath, Default: "*4",
					Doc: "The path of replies, up to the first mix of the reply block."},
				{Name: "SURBPath", To: &c.Security.SURBPath, Default: "*4",
					Doc: "The path inside reply blocks."},
				{Name: "SURBAddress", To: &c.Security.SURBAddress,
					Doc: "Your address, to which reply blocks lead."},
				{Name: "SURBLifetime", To: &c.Security.SURBLifetime, Default: "7 days",
					Doc: "How long a reply block can be used."},
				{Name: "BlockServers", To: &c.Security.BlockServers,
					Doc: "Mixes that random paths never use, by nickname."},
				{Name: "BlockEntries", To: &c.Security.BlockEntries,
					Doc: "Mixes that random paths never use first."},
				{Name: "BlockExits", To: &c.Security.BlockExits,
					Doc: "Mixes that random paths never use last."},
				{Name: "PathLength", To: &c.Security.PathLength, Unused: noLength,
					Doc: "The length of paths, in old versions."},
				{Name: "SURBPathLength", To: &c.Security.SURBPathLength, Unused: noLength,
					Doc: "The length of paths in reply blocks, in old versions."},
			},
		},
		{
			Name: "Network",
			Doc:  "Connections.",
			Keys: []Key{
				{Name: "Timeout", Alias: "ConnectionTimeout", To: &c.Network.Timeout, Default: "2 minutes",
					Doc: "How long to wait for a mix that does not answer."},
				{Name: "IPv4", To: &c.Network.IPv4, Default: "yes",
					Doc: "Whether this machine has IPv4. If not, paths begin at mixes that are reached over IPv6, which sets you apart from others."},
			},
		},
		{
			Name: "Agent",
			Doc:  "The agent, which lets packets and dummies leave at random times.",
			Keys: []Key{
				{Name: "MeanInterval", To: &c.Agent.MeanInterval, Default: "30 minutes",
					Doc: "How long it is from one departure to the next, on average."},
				{Name: "PacketsPerEvent", To: &c.Agent.PacketsPerEvent, Default: "1",
					Doc: "How many packets leave each time."},
			},
		},
	}
}

// Validate checks what no single value shows. Its error joins one [*Error]
// for each mistake.
func (c *Client) Validate() error {
	p := &problems{file: &c.File}
	if c.User.UserDir == "" {
		p.add("User", "UserDir", "is missing; name a directory")
	}
	if c.Security.SURBLifetime < Interval(time.Hour) {
		p.add("Security", "SURBLifetime", "is %s; a reply block must live for at least 1 hour to be of use",
			c.Security.SURBLifetime)
	}
	for _, k := range []struct{ name, value string }{
		{"ForwardPath", c.Security.ForwardPath},
		{"ReplyPath", c.Security.ReplyPath},
		{"SURBPath", c.Security.SURBPath},
	} {
		if k.value == "" {
			p.add("Security", k.name, "is empty; write a path like *4")
		}
	}
	checkAuthorities(p, "DirectoryServers", c.Directories.Authority)
	if c.Directories.DirectoryTimeout <= 0 {
		p.add("DirectoryServers", "DirectoryTimeout", "must be longer than nothing")
	}
	if c.Network.Timeout <= 0 {
		p.add("Network", "Timeout", "must be longer than nothing")
	}
	if m := c.Agent.MeanInterval; m <= 0 || m > Interval(maxMeanInterval) {
		p.add("Agent", "MeanInterval", "is %s; it must be longer than nothing, and at most a year", m)
	}
	if n := c.Agent.PacketsPerEvent; n < 1 || n > maxPacketsPerEvent {
		p.add("Agent", "PacketsPerEvent", "is %d; write a number from 1 to %d", n, maxPacketsPerEvent)
	}
	return p.err()
}

// Warnings lists what is legal but unwise, and what is given but not used by
// this version: one sentence each.
func (c *Client) Warnings() []string {
	w := warnings{file: &c.File}
	w.unused(c.Sections())
	warnOldURLs(&w, "ServerURL", c.Directories.ServerURL)
	switch t := c.Network.Timeout; {
	case t < Interval(5*time.Second):
		w.add("Network", "Timeout", "is %s: many mixes will seem dead", t)
	case t > Interval(2*time.Minute):
		w.add("Network", "Timeout", "is %s: more than two minutes only makes you wait", t)
	}
	switch m := c.Agent.MeanInterval; {
	case m < Interval(time.Minute):
		w.add("Agent", "MeanInterval", "is %s: that many dummies are a burden for the mixes; it is meant for tests", m)
	case m > Interval(day):
		w.add("Agent", "MeanInterval", "is %s: your messages will wait very long", m)
	}
	return w.list
}
