package message

import (
	"encoding/base64"
	"errors"
	"fmt"
	"iter"

	"mixminion/internal/armor"
	"mixminion/packet"
)

// Form is how an exit delivers what it got: the value of the armor header "Message-type" (E2E-spec 3.1.1).
type Form string

// The forms of delivered messages.
const (
	FormPlaintext      Form = "plaintext"      // the body as text
	FormBinary         Form = "binary"         // the body in base64
	FormOvercompressed Form = "overcompressed" // a compressed message, headers included
	FormFragment       Form = "fragment"       // a payload that holds a fragment
	FormEncrypted      Form = "encrypted"      // a payload that the exit cannot open, with its decoding handle
)

// The headers of an armored message (E2E-spec 3.1.1).
const (
	headerForm   = "Message-type"
	headerHandle = "Decoding-handle"
)

// Delivered is a message as it is handed from an exit to a recipient.
type Delivered struct {
	Form    Form
	Body    []byte      // a body without headers, compressed data or a payload, as Form tells
	Tag     *packet.Tag // FormEncrypted only
	Headers Headers     // FormPlaintext and FormBinary, on the exit's side: the mail headers that the sender asked for
}

// DecodeForExit makes of a payload what an exit delivers. The result may share memory with p. The error wraps ErrPayload or ErrCorrupt
// when a payload with the right hash makes no sense; such a packet is dropped.
func DecodeForExit(p *packet.Payload, tag packet.Tag) (Delivered, error) {
	d, err := DecodePayload(p)
	if err != nil {
		return Delivered{}, err
	}
	switch d.Kind {
	case KindFragment:
		return Delivered{Form: FormFragment, Body: p[:]}, nil
	case KindSingleton:
		return expand(d.Data, SingletonLimit(len(d.Data)))
	}
	return Delivered{Form: FormEncrypted, Body: p[:], Tag: &tag}, nil
}

// DecodeReassembled makes of a compressed message, as ParseServerSide gives it, what an exit delivers. The error wraps ErrCorrupt.
func DecodeReassembled(compressed []byte) (Delivered, error) {
	return expand(compressed, ReassembledLimit(len(compressed)))
}

func expand(compressed []byte, limit int) (Delivered, error) {
	msg, err := Decompress(compressed, limit)
	if errors.Is(err, ErrOvercompressed) {
		return Delivered{Form: FormOvercompressed, Body: compressed}, nil
	} else if err != nil {
		return Delivered{}, err
	}
	d := Delivered{Form: FormPlaintext}
	d.Headers, d.Body = ParseHeaders(msg)
	if !isText(d.Body) {
		d.Form = FormBinary
	}
	return d, nil
}

// isText reports whether a body may be delivered as text: no byte of it is a control character other than tab and line breaks.
// Bytes above 0x7F are let through, because the body may be in any encoding; 0xFF, DEL and NUL are in none.
func isText(body []byte) bool {
	for _, c := range body {
		switch {
		case c == '\t', c == '\n', c == '\v', c == '\r', c >= 0x20 && c <= 0x7e, c >= 0x80 && c <= 0xfe:
		default:
			return false
		}
	}
	return true
}

// Armor returns the message in ASCII armor, with lines that end with a bare NL.
func (d *Delivered) Armor() []byte {
	b := armor.Block{
		Type:    armor.TypeMessage,
		Headers: []armor.Header{{Key: headerForm, Value: string(d.Form)}},
		Body:    d.Body,
		Dashed:  d.Form == FormPlaintext,
	}
	if d.Tag != nil {
		b.Headers = append(b.Headers, armor.Header{Key: headerHandle, Value: base64.StdEncoding.EncodeToString(d.Tag[:])})
	}
	return armor.Encode(b)
}

// AllDelivered iterates over the armored messages in a text, which may hold anything else as well. A damaged one yields an error that
// wraps ErrForm or one of package armor, and the iteration goes on.
func AllDelivered(text []byte) iter.Seq2[Delivered, error] {
	return func(yield func(Delivered, error) bool) {
		for b, err := range armor.All(text, armor.TypeMessage) {
			var d Delivered
			if err == nil {
				d, err = fromBlock(&b)
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// ParseDelivered returns all armored messages in a text. It fails at the first damaged one, and with armor.ErrNoBlock if there is none.
func ParseDelivered(text []byte) ([]Delivered, error) {
	var list []Delivered
	for d, err := range AllDelivered(text) {
		if err != nil {
			return list, err
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return nil, armor.ErrNoBlock
	}
	return list, nil
}

func fromBlock(b *armor.Block) (Delivered, error) {
	form, _ := b.Header(headerForm)
	d := Delivered{Form: Form(form), Body: b.Body}
	switch d.Form {
	case FormPlaintext, FormBinary, FormOvercompressed:
		return d, nil
	case FormFragment, FormEncrypted:
		if len(d.Body) != packet.PayloadLen {
			return Delivered{}, fmt.Errorf("%w: %s message of %d bytes, not %d", ErrForm, form, len(d.Body), packet.PayloadLen)
		}
	default:
		return Delivered{}, fmt.Errorf("%w: its Message-type is unknown or missing", ErrForm)
	}
	if d.Form == FormEncrypted {
		handle, _ := b.Header(headerHandle)
		tag, err := base64.StdEncoding.Strict().DecodeString(handle)
		if err != nil || len(tag) != packet.TagLen {
			return Delivered{}, fmt.Errorf("%w: an encrypted message needs a Decoding-handle of %d bytes", ErrForm, packet.TagLen)
		}
		d.Tag = (*packet.Tag)(tag)
	}
	return d, nil
}

// Open gets at the contents of a delivered message. For FormPlaintext and FormBinary they are the body, KindText; for the other forms
// what the function Open finds, to be passed to Message or, if it is a fragment, to an Assembly.
func (d *Delivered) Open(keys Keys) (Opened, error) {
	switch d.Form {
	case FormPlaintext, FormBinary:
		return Opened{Decoded: Decoded{Kind: KindText, Data: d.Body}}, nil
	case FormOvercompressed:
		return Opened{Decoded: Decoded{Kind: KindSingleton, Data: d.Body}}, nil
	}
	if len(d.Body) != packet.PayloadLen {
		return Opened{}, fmt.Errorf("%w: no payload", ErrForm)
	}
	p := (*packet.Payload)(d.Body)
	if d.Form == FormEncrypted && d.Tag != nil {
		return Open(*d.Tag, p, keys)
	}
	plain, err := DecodePayload(p)
	if err == nil && plain.Kind == KindEncrypted {
		err = fmt.Errorf("%w: it was damaged on its way", ErrPayload)
	}
	return Opened{Decoded: plain}, err
}
