package checkup

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"mixminion/packet"
)

// How long a name and a mail server may take to answer.
const (
	namePatience = 10 * time.Second
	mailPatience = 20 * time.Second
)

func tryListen(ctx context.Context, addr netip.AddrPort) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	return l.Close()
}

// name looks at the name under which others are to reach the mix.
func (c *checker) name() {
	const about = "published name"
	host := string(c.cfg.IncomingMMTP.Hostname)
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else {
		ctx, cancel := context.WithTimeout(c.ctx, namePatience)
		defer cancel()
		if addrs, err = c.host.LookupHost(ctx, host); err != nil || len(addrs) == 0 {
			c.add(Problem, about, "give the name an A record at your name server, or write a name that has one as Hostname in [Incoming/MMTP]",
				"%s has no address, so no other mix can find this one", host)
			return
		}
	}
	public := false
	var list []string
	for _, a := range addrs {
		a = a.Unmap()
		list = append(list, a.String())
		public = public || !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified()
	}
	if !public {
		c.add(Warning, about, "use a name with a public address, unless this is a test network",
			"%s is %s, which the rest of the world cannot reach", host, strings.Join(list, ", "))
		return
	}
	has := func(is func(netip.Addr) bool) bool {
		return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return is(a.Unmap()) })
	}
	switch in := &c.cfg.IncomingMMTP; {
	case in.IPv4 && !has(netip.Addr.Is4):
		c.add(Problem, about, "give the name an A record, or write IPv4: no in [Incoming/MMTP]",
			"%s is %s, and the descriptor says that this mix is reached over IPv4", host, strings.Join(list, ", "))
	case in.ListenIP6.IsValid() && !has(netip.Addr.Is6):
		c.add(Problem, about, "give the name an AAAA record, or take ListenIP6 out of [Incoming/MMTP]",
			"%s is %s, and the descriptor says that this mix is reached over IPv6", host, strings.Join(list, ", "))
	case !in.ListenIP6.IsValid() && has(netip.Addr.Is6):
		c.add(Note, about, "write ListenIP6: :: in [Incoming/MMTP], or take the AAAA record out",
			"%s is %s, and this mix does not listen on IPv6", host, strings.Join(list, ", "))
	default:
		c.add(OK, about, "", "%s is %s", host, strings.Join(list, ", "))
	}
}

// ports looks whether the mix can listen.
func (c *checker) ports() {
	const about = "port"
	for _, addr := range c.cfg.IncomingMMTP.Listen() {
		switch err := c.host.Listen(c.ctx, addr); {
		case err == nil:
			c.add(OK, about, "", "%v is free to listen on", addr)
		case errors.Is(err, syscall.EADDRINUSE) && c.host.Running:
			c.add(OK, about, "", "this mix runs, and something listens on %v", addr)
		case errors.Is(err, syscall.EADDRINUSE):
			c.add(Problem, about, "find out what it is (ss -tlnp), and end it or choose another ListenPort",
				"something else listens on %v already", addr)
		case errors.Is(err, syscall.EACCES):
			c.add(Problem, about, "choose a port from 1024 on, or give the service the capability CAP_NET_BIND_SERVICE",
				"this user may not listen on %v", addr)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			c.add(Problem, about, "write an address of this machine as ListenIP, or 0.0.0.0 for all of them",
				"%v is no address of this machine", addr.Addr())
		default:
			c.add(Problem, about, "see ListenIP and ListenPort in [Incoming/MMTP]", "cannot listen on %v: %v", addr, err)
		}
	}
}

// mailServer looks whether the mail server of an exit takes mail from here.
func (c *checker) mailServer(m MailServer) {
	relay, section := &c.cfg.DeliverySMTP.Relay, "[Delivery/SMTP]"
	if m.Exit == packet.TypeMBOX {
		relay, section = &c.cfg.DeliveryMBOX.Relay, "[Delivery/MBOX]"
	}
	ctx, cancel := context.WithTimeout(c.ctx, mailPatience)
	defer cancel()
	if err := m.Probe(ctx); err != nil {
		c.add(Problem, "mail server", "start it, or correct SMTPServer, SMTPTLS, SMTPUser and SMTPPasswordFile, or SendmailCommand, in "+section+"; "+
			"until it answers, mail waits here", "%v", err)
		return
	}
	switch {
	case len(relay.SendmailCommand) > 0:
		c.add(OK, "mail server", "", "%s is there", relay.SendmailCommand[0])
	case len(relay.SMTPServer) > 1:
		c.add(OK, "mail server", "", "%s: all of them answer", relay.SMTPServer.String())
	default:
		c.add(OK, "mail server", "", "%s answers", relay.SMTPServer.String())
	}
}
