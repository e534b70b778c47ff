// Package oldnode runs mixes that look from outside like those of series 0.0.8: their links are of TLS 1.0 to 1.2
// alone, and their descriptors do not say of which kind. They pass each packet on, or deliver it, at once. Tests of
// programs with the tag legacytls use them.
//
// They are made of the same parts as our own mixes. So they show what becomes of packets in a network of both kinds, and not that 0.0.8 was
// understood; docs/interop.md says what does.
package oldnode

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/mmtp"
	"mixminion/packet"
)

// A Mail is what a node would have mailed.
type Mail struct{ To, Body string }

// A Node is a running mix.
type Node struct {
	Hop        packet.Hop
	Descriptor []byte
	Mails      chan Mail

	unwrapper *packet.Unwrapper
	client    *mmtp.Client
	ctx       context.Context
	cancel    context.CancelFunc
	done      sync.WaitGroup
	links     atomic.Int32
	refused   atomic.Int32

	mu  sync.Mutex
	err error
}

// Links counts the connections on which nobody asked for TLS 1.3, and Refused the others.
func (n *Node) Links() int   { return int(n.links.Load()) - n.Refused() }
func (n *Node) Refused() int { return int(n.refused.Load()) }

// Start runs a node with the given keys on loopback, until Close. The descriptor is valid for a month. The error is
// mmtp.ErrNoLegacy in programs without the tag.
func Start(nickname string, identity, packetKey *rsa.PrivateKey, now func() time.Time) (*Node, error) {
	n := &Node{Mails: make(chan Mail, 16)}
	legacy, err := mmtp.NewLegacyIdentity(identity, nickname, now)
	if err != nil {
		return nil, err
	}
	modern, err := mmtp.NewLinkIdentity(identity, nickname, now)
	if err != nil {
		return nil, err
	}
	server, err := mmtp.NewServer(mmtp.ServerConfig{
		Certificate: func() (*tls.Certificate, error) { return modern.Certificate() }, Legacy: legacy, Handler: n, DrainTimeout: time.Second,
	})
	if err != nil {
		return nil, err
	}
	opener, err := crypt.StdProvider{}.Decrypter(packetKey)
	if err != nil {
		return nil, err
	}
	if n.unwrapper, err = packet.NewUnwrapper(opener); err != nil {
		return nil, err
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	l, err := new(net.ListenConfig).Listen(n.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.Hop = packet.Hop{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), KeyID: crypt.NewKeyID(&identity.PublicKey)}
	if n.Descriptor, err = n.describe(nickname, identity, &packetKey.PublicKey, now()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	n.client = mmtp.NewClient(mmtp.ClientConfig{Now: now, Dial: dial, Legacy: func(packet.Hop) bool { return true }})
	n.done.Go(func() { n.note(server.Serve(n.ctx, &listener{l, n})) })
	return n, nil
}

func (n *Node) describe(nickname string, identity *rsa.PrivateKey, packetKey *rsa.PublicKey, now time.Time) ([]byte, error) {
	const day = 24 * time.Hour
	today := now.UTC().Truncate(day)
	return directory.SignDescriptor(identity, directory.Fields{
		Nickname: nickname, Published: now.Add(-time.Minute).Truncate(time.Second), ValidAfter: today, ValidUntil: today.Add(30 * day),
		PacketKey: packetKey, PacketVersions: []string{packet.Version}, Software: "Mixminion 0.0.8alpha3", Contact: "operator@example.net",
		WhyInsecure: "Software is alpha",
		Incoming:    &directory.Incoming{Hostname: n.Hop.Host, Port: n.Hop.Port, Protocols: []string{directory.MMTPVersion}},
		Outgoing:    &directory.Outgoing{Protocols: []string{directory.MMTPVersion}},
		SMTP:        &directory.Delivery{MaximumSize: 100, AllowFrom: true},
	})
}

// Close stops the node and returns what went wrong while it ran.
func (n *Node) Close() error {
	n.cancel()
	n.done.Wait()
	n.client.Close()
	return n.err
}

func (n *Node) note(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = errors.Join(n.err, err)
}

// Room is for the server of package mmtp, and so is Handle.
func (n *Node) Room() bool { return true }

// Handle passes a packet on, perhaps to this node again, before it acknowledges it.
func (n *Node) Handle(kind mmtp.Kind, p *packet.Packet, ack func(accepted bool)) {
	if kind != mmtp.KindPacket {
		ack(true)
		return
	}
	n.done.Go(func() {
		err := n.pass(p)
		if err != nil && n.ctx.Err() == nil {
			n.note(err)
		}
		ack(err == nil)
	})
}

func (n *Node) pass(p *packet.Packet) error {
	r, err := n.unwrapper.Unwrap(p)
	if err != nil {
		return err
	}
	if r.Action == packet.Relay {
		return n.client.Send(n.ctx, r.Next, slices.Values([]mmtp.Item{{Packet: p}}))
	}
	if r.Action != packet.Deliver || r.Type != packet.TypeSMTP {
		return nil
	}
	tag, to, err := packet.SplitTag(r.Type, r.Info)
	if err != nil {
		return err
	}
	if tag == nil {
		return errors.New("a mail without a decoding handle")
	}
	d, err := message.DecodeForExit((*packet.Payload)(p[2*packet.HeaderLen:]), *tag)
	if err != nil {
		return err
	}
	select {
	case n.Mails <- Mail{string(to), string(d.Body)}:
		return nil
	default:
		return fmt.Errorf("more than %d mails", cap(n.Mails))
	}
}
