package firstimpl

import (
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// A Node is a server on a path.
type Node struct {
	Host  string
	Port  uint16
	KeyID []byte
	Key   *rsa.PublicKey
	IPv4  bool // the server before names it by FWD/IPV4, as old versions did
}

// An Exit is what the last server is told.
type Exit struct {
	Type uint16
	Info []byte // with the decoding handle, where the type has one
}

// routing is how a packet is sent on to n.
func (n *Node) routing(swap bool) (Exit, error) {
	info := binary.BigEndian.AppendUint16(nil, n.Port)
	info = append(info, n.KeyID...)
	t := uint16(3)
	if n.IPv4 {
		ip, err := netip.ParseAddr(n.Host)
		if err != nil {
			return Exit{}, err
		}
		t, info = 1, append(ip.AsSlice(), info...)
	} else {
		info = append(info, n.Host...)
	}
	if swap {
		t++
	}
	return Exit{t, info}, nil
}

// header builds a header for the servers of a leg, the last of which reads end (minion-spec 3.2.4.1). There is a secret for each.
func header(rnd io.Reader, leg []Node, secrets [][]byte, end Exit) ([]byte, error) {
	routes := make([]Exit, len(leg))
	junk := [][]byte{nil} // what each server finds behind its header
	for i := range leg {
		routes[i] = end
		if i < len(leg)-1 {
			var err error
			if routes[i], err = leg[i+1].routing(false); err != nil {
				return nil, err
			}
		}
		before := junk[i]
		more := stream(subkey(secrets[i], "RANDOM JUNK"), fixedLen+oaepLen+len(routes[i].Info))
		junk = append(junk, crypt(subkey(secrets[i], "HEADER SECRET KEY"), append(append([]byte{}, before...), more...),
			headerLen-rsaLen-len(before)))
	}
	if len(junk[len(leg)]) > headerLen || headerLen-len(junk[len(leg)])+fixedLen+oaepLen+len(end.Info) < rsaLen {
		return nil, fmt.Errorf("%w: the path is too long", ErrRefused)
	}
	inner := make([]byte, headerLen-len(junk[len(leg)]))
	if _, err := io.ReadFull(rnd, inner); err != nil {
		return nil, err
	}
	for i := len(leg) - 1; i >= 0; i-- {
		info := routes[i].Info
		all := append(append([]byte{}, info...), inner...)
		rest := crypt(subkey(secrets[i], "HEADER SECRET KEY"), all[roomLen:], 0)
		plain := append([]byte{0, 3}, secrets[i]...)
		plain = append(plain, hash(rest, junk[i])...)
		plain = binary.BigEndian.AppendUint16(plain, uint16(len(info)))
		plain = binary.BigEndian.AppendUint16(plain, routes[i].Type)
		block, err := seal(leg[i].Key, append(plain, all[:roomLen]...))
		if err != nil {
			return nil, err
		}
		inner = append(block, rest...)
	}
	return inner, nil
}

func makeSecrets(rnd io.Reader, n int) ([][]byte, error) {
	secrets := make([][]byte, n)
	for i := range secrets {
		secrets[i] = make([]byte, 16)
		if _, err := io.ReadFull(rnd, secrets[i]); err != nil {
			return nil, err
		}
	}
	return secrets, nil
}

// BuildForward builds a forward packet (minion-spec 3.2.4.3).
func BuildForward(rnd io.Reader, leg1, leg2 []Node, exit Exit, payload []byte) ([]byte, error) {
	secrets, err := makeSecrets(rnd, len(leg2))
	if err != nil {
		return nil, err
	}
	header2, err := header(rnd, leg2, secrets, exit)
	if err != nil {
		return nil, err
	}
	for i := len(secrets) - 1; i >= 0; i-- {
		payload = lioness(secrets[i], "PAYLOAD ENCRYPT", payload, true)
	}
	swap, err := leg2[0].routing(true)
	if err != nil {
		return nil, err
	}
	return firstLeg(rnd, leg1, swap, header2, payload)
}

// BuildReply answers a reply block (E2E-spec 2.2.4).
func BuildReply(rnd io.Reader, leg1 []Node, s *SURB, payload []byte) ([]byte, error) {
	payload = lioness(s.Key, "PAYLOAD ENCRYPT", payload, false)
	return firstLeg(rnd, leg1, s.First, s.Header, payload)
}

func firstLeg(rnd io.Reader, leg1 []Node, swap Exit, header2, payload []byte) ([]byte, error) {
	secrets, err := makeSecrets(rnd, len(leg1))
	if err != nil {
		return nil, err
	}
	header2 = lioness(hash(payload), "HIDE HEADER", header2, true)
	payload = lioness(hash(header2), "HIDE PAYLOAD", payload, true)
	for i := len(secrets) - 1; i >= 0; i-- {
		header2 = lioness(secrets[i], "HEADER ENCRYPT", header2, true)
		payload = lioness(secrets[i], "PAYLOAD ENCRYPT", payload, true)
	}
	header1, err := header(rnd, leg1, secrets, swap)
	if err != nil {
		return nil, err
	}
	return append(append(header1, header2...), payload...), nil
}
