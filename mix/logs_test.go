package mix_test

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/mail"
	"mixminion/internal/crypt"
	"mixminion/internal/logging"
	"mixminion/internal/testnet/freeport"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/mmtp"
	"mixminion/packet"
)

// hostileMailServer refuses everybody and names everything that it was told.
type hostileMailServer struct {
	net.Listener
	refused sync.WaitGroup
}

func (s *hostileMailServer) serve() {
	for {
		conn, err := s.Accept()
		if err != nil {
			return
		}
		s.talk(conn)
	}
}

func (s *hostileMailServer) talk(conn net.Conn) {
	defer conn.Close()
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(conn, format+"\r\n", args...) }
	say("220 ready")
	for in := bufio.NewScanner(conn); in.Scan(); {
		switch verb, rest, _ := strings.Cut(in.Text(), " "); strings.ToUpper(verb) {
		case "EHLO":
			say("250 hello %s", conn.RemoteAddr())
		case "RCPT":
			code := "451 4.7.1"
			if strings.Contains(rest, "gone") {
				code = "550 5.1.1"
			}
			say("%s %s at %s", code, rest, conn.RemoteAddr())
			s.refused.Done()
		case "QUIT":
			say("221 %s", rest)
			return
		default:
			say("250 ok")
		}
	}
}

// mailFor builds a packet that the mix mails to an address.
func (r *rig) mailFor(to string) *packet.Packet {
	r.t.Helper()
	e, err := message.Encode(rand.Reader, []byte("\n"), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	tag, err := message.PlainTag(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	exit := packet.Exit{Type: packet.TypeSMTP, Tag: &tag, Info: []byte(to)}
	p, err := packet.BuildForward(rand.Reader, []packet.Node{r.node}, []packet.Node{r.node}, exit, &e.Payloads[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// knock connects to the mix and lets talk misbehave.
func (r *rig) knock(private *[]string, talk func(net.Conn)) {
	r.t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(r.node.Host, fmt.Sprint(r.node.Port)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	*private = append(*private, conn.LocalAddr().String())
	talk(conn)
	_, _ = io.Copy(io.Discard, conn) // until the mix has had enough
}

// A mix whose hops are dead or refuse, whose mail server names whom it refuses, and whose visitors misbehave, logs
// everything there is to log: and none of those who had to do with it is in there.
func TestLogsNameNobody(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		t.Run(fmt.Sprint("JSON ", asJSON), func(t *testing.T) { logsNameNobody(t, asJSON) })
	}
}

func logsNameNobody(t *testing.T, asJSON bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := &hostileMailServer{Listener: l}
	var serving sync.WaitGroup
	serving.Go(host.serve)
	defer serving.Wait()
	defer l.Close()
	r := newRig(t, func(c *mix.Config) {
		c.Incoming.MaxConnections = 8
	})
	var settings logging.Settings
	settings.Set(logging.LevelTrace, asJSON)
	r.cfg.Logger = logging.New(r.log, &settings)
	smtp, err := delivery.NewSMTP(delivery.SMTPConfig{
		Mail: mail.Options{ReturnAddress: "nobody@exit.example"},
		TransportConfig: delivery.TransportConfig{
			Servers: []string{l.Addr().String()}, TLS: delivery.TLSOff, Logger: r.cfg.Logger, Now: r.clk.Now,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Exits = []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: smtp, Retry: mix.Schedule{time.Minute, day}}}
	r.run()

	// Hops of all kinds.
	var private []string
	good, down, rejecting, foreign := newFakeHop(t, r.clk, 0), newFakeHop(t, r.clk, 1), newFakeHop(t, r.clk, 2), newFakeHop(t, r.clk, 3)
	down.mode.Store(int32(hopDown))
	rejecting.mode.Store(int32(hopRejects))
	other, unknown, closed := foreign.Node, foreign.Node, down.Node
	other.KeyID = crypt.KeyID{1, 2, 3}
	unknown.Host = "nowhere.invalid"
	closed.Port = freeport.Port(t)
	var sent []*packet.Packet
	for _, next := range []packet.Node{good.Node, down.Node, rejecting.Node, other, unknown, closed} {
		p, _ := r.relayed(next)
		sent = append(sent, p)
		private = append(private, fmt.Sprint(next.Host, ":", next.Port), fmt.Sprint(next.Port), next.KeyID.String(), next.KeyID.Fingerprint(),
			base64.StdEncoding.EncodeToString(next.KeyID[:]))
	}
	private = append(private, unknown.Host)
	// Mails of which none is taken.
	people := []string{"bob@recipient.example", "gone@recipient.example"}
	host.refused.Add(len(people))
	for _, to := range people {
		sent = append(sent, r.mailFor(to))
		private = append(private, to)
	}
	private = append(private, "recipient.example", "nobody@exit.example")
	r.mustSend(sent...)
	r.mustSend(sent[0]) // a replay
	for _, p := range sent {
		hash := crypt.Hash(p[:])
		private = append(private, hex.EncodeToString(hash[:]), base64.StdEncoding.EncodeToString(hash[:]), hex.EncodeToString(p[:8]))
	}

	// Visitors.
	r.knock(&private, func(c net.Conn) { _, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n")) })
	r.knock(&private, func(c net.Conn) {
		link := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		_, _ = link.Write([]byte("no protocol that anybody knows\r\n"))
	})
	spoiled := *sent[0]
	spoiled[100] ^= 1
	_ = r.send([]mmtp.Item{{Packet: &spoiled}})
	for range 12 { // more than there is room for
		conn, err := net.Dial("tcp", net.JoinHostPort(r.node.Host, fmt.Sprint(r.node.Port)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		private = append(private, conn.LocalAddr().String())
	}

	r.mixOnce()
	eventually(t, "a hop has its packet", func() bool { return r.mix.Counts().Relayed == 1 })
	host.refused.Wait()
	eventually(t, "trouble is logged", func() bool { return r.log.count("cannot pass packets on") > 0 })
	_ = l.Close() // and then there is no mail server
	before := r.log.count("mail server")
	eventually(t, "trouble with the mail server is logged", func() bool {
		r.mix.FlushQueues()
		return r.log.count("mail server") > before
	})
	r.close()
	text := strings.ToLower(r.log.String())
	if strings.Count(text, "\n") < 3 {
		t.Errorf("too little is logged to be judged: %s", text)
	}
	for _, s := range private {
		// The mail server's address is in the configuration, and its port may be part of a number.
		if strings.Contains(strings.ReplaceAll(text, l.Addr().String(), ""), strings.ToLower(s)) {
			t.Errorf("the log holds %s:\n%s", s, text)
		}
	}
}
