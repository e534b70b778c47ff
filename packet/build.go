package packet

import (
	"fmt"
	"io"

	"mixminion/internal/crypt"
)

// BuildForward wraps payload into a packet that goes over leg1, is swapped, goes over leg2 and leaves as exit says (minion-spec 3.2.4.3).
// For an encrypted forward message payload and tag come from the message package; for a dummy the exit type is TypeDrop and
// the payload is random. It fails before any work if the path does not fit (see CheckForward).
func BuildForward(rnd io.Reader, leg1, leg2 []Node, exit Exit, payload *Payload) (*Packet, error) {
	if err := CheckForward(hops(leg1), hops(leg2), exit); err != nil {
		return nil, fmt.Errorf("build packet: %w", err)
	}
	for _, leg := range [][]Node{leg1, leg2} {
		if err := checkKeys(leg); err != nil {
			return nil, fmt.Errorf("build packet: %w", err)
		}
	}
	secrets, err := drawSecrets(rnd, len(leg1)+len(leg2))
	if err != nil {
		return nil, err
	}
	defer clear(secrets)
	secrets1, secrets2 := secrets[:len(leg1)], secrets[len(leg1):]
	header2, err := buildHeader(rnd, plan(leg2, secrets2, exit.Type, exit.routingInfo()))
	if err != nil {
		return nil, err
	}
	swap := plan(leg1, secrets1, TypeSwapFwdHost, leg2[0].AppendRoutingInfo(nil))
	header1, err := buildHeader(rnd, swap)
	if err != nil {
		return nil, err
	}
	p := assemble(header1, header2, payload)
	for i := len(secrets2) - 1; i >= 0; i-- {
		crypt.SPRPEncrypt(crypt.SubSPRPKey(secrets2[i][:], crypt.LabelPayloadEncrypt), payloadOf(p))
	}
	seal(p, secrets1)
	return p, nil
}

// BuildReply wraps payload into a packet that goes over leg1 and then over the path that surb hides (E2E-spec 2.2.4). The caller sees to
// it that no SURB is used twice and none after its expiry.
func BuildReply(rnd io.Reader, leg1 []Node, surb *SURB, payload *Payload) (*Packet, error) {
	if err := CheckReply(hops(leg1), surb); err != nil {
		return nil, fmt.Errorf("build reply: %w", err)
	}
	if err := checkKeys(leg1); err != nil {
		return nil, fmt.Errorf("build reply: %w", err)
	}
	secrets, err := drawSecrets(rnd, len(leg1))
	if err != nil {
		return nil, err
	}
	defer clear(secrets)
	header1, err := buildHeader(rnd, plan(leg1, secrets, surb.Type, surb.Info))
	if err != nil {
		return nil, err
	}
	p := assemble(header1, &surb.Header, payload)
	crypt.SPRPDecrypt(crypt.SubSPRPKey(surb.Key[:], crypt.LabelPayloadEncrypt), payloadOf(p))
	seal(p, secrets)
	return p, nil
}

// seal ties header 2 and payload together, so that neither survives a change in the other, and wraps both for the hops of leg 1
// (phase 2 of minion-spec 3.2.4.3).
func seal(p *Packet, secrets []crypt.Key) {
	header2, payload := p[HeaderLen:2*HeaderLen], payloadOf(p)
	sum := crypt.Hash(payload)
	crypt.SPRPEncrypt(crypt.SubSPRPKey(sum[:], crypt.LabelHideHeader), header2)
	sum = crypt.Hash(header2)
	crypt.SPRPEncrypt(crypt.SubSPRPKey(sum[:], crypt.LabelHidePayload), payload)
	for i := len(secrets) - 1; i >= 0; i-- {
		crypt.SPRPEncrypt(crypt.SubSPRPKey(secrets[i][:], crypt.LabelHeaderEncrypt), header2)
		crypt.SPRPEncrypt(crypt.SubSPRPKey(secrets[i][:], crypt.LabelPayloadEncrypt), payload)
	}
}

func assemble(header1, header2 *[HeaderLen]byte, payload *Payload) *Packet {
	p := new(Packet)
	copy(p[:], header1[:])
	copy(p[HeaderLen:], header2[:])
	copy(payloadOf(p), payload[:])
	return p
}

func payloadOf(p *Packet) []byte { return p[2*HeaderLen:] }
