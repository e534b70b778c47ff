package config

// Limits of a gateway's mails.
const (
	minGatewayMail = 16 * KB // a reply block has about 3 KB
	maxGatewayMail = 16 * MB
	maxGatewayDay  = 1_000_000
)

func (s *Server) checkGateway(p *problems) {
	const in = "Gateway"
	g := &s.Gateway
	if !g.Enabled {
		return
	}
	if g.Address == "" {
		p.add(in, "Address", "is missing; give the mail address of the gateway")
	}
	if !s.IncomingMMTP.Enabled || !s.OutgoingMMTP.Enabled {
		p.add(in, "Enabled", "needs [Incoming/MMTP] and [Outgoing/MMTP] enabled too: what comes in leaves through the mix")
	}
	if g.Receipt && !s.DeliverySMTP.Enabled {
		p.add(in, "Receipt", "is yes, and [Delivery/SMTP] is not enabled, which says how mail leaves; say no, or enable it")
	}
	if g.LMTPListen.Host != "" && (!g.LMTPListen.isLoopback() || g.LMTPListen.Port == 0) {
		p.add(in, "LMTPListen", "must be an address of this machine itself with a port, such as 127.0.0.1:2424: nobody is asked for a password there")
	}
	if g.MaximumSize < minGatewayMail || g.MaximumSize > maxGatewayMail {
		p.add(in, "MaximumSize", "is %s; it must be from %s to %s", g.MaximumSize, Size(minGatewayMail), Size(maxGatewayMail))
	}
	for _, limit := range []struct {
		name  string
		value int
	}{{"PerSender", g.PerSender}, {"PerDay", g.PerDay}} {
		if limit.value < 1 || limit.value > maxGatewayDay {
			p.add(in, limit.name, "is %d; it must be from 1 to %d", limit.value, maxGatewayDay)
		}
	}
}
