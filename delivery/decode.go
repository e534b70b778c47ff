package delivery

import (
	"bytes"
	"unicode/utf8"

	"mixminion/delivery/mail"
	"mixminion/message"
	"mixminion/packet"
)

// splitInfo parts the routing information of item into decoding handle and address. Messages that were put together here have no
// handle.
func splitInfo(item Item) (tag packet.Tag, addr []byte, ok bool) {
	if item.Payload == nil || !item.Type.HasTag() {
		return packet.Tag{}, item.Info, true
	}
	if len(item.Info) < packet.TagLen {
		return packet.Tag{}, nil, false
	}
	return packet.Tag(item.Info), item.Info[packet.TagLen:], true
}

// decode makes of item what its recipient gets to see. A reason other than None says why there is nothing to see.
func decode(item Item, tag packet.Tag, maximumSize int) (mail.Message, Reason) {
	var d message.Delivered
	var err error
	if item.Payload != nil {
		d, err = message.DecodeForExit(item.Payload, tag)
	} else {
		d, err = message.DecodeReassembled(item.Reassembled)
	}
	switch {
	case err != nil:
		return mail.Message{}, Corrupt
	case len(d.Body) > maximumSize:
		return mail.Message{}, TooLarge
	}
	if d.Form == message.FormPlaintext {
		if utf8.Valid(d.Body) {
			d.Body = unixLines(d.Body)
		} else {
			// A text in another character set does not say in which; no mail program could show it.
			d.Form = message.FormBinary
		}
	}
	return mail.Message{Form: d.Form, Headers: d.Headers, Armored: d.Armor()}, None
}

// unixLines makes LF of CRLF and of a lone CR, as the mail would, and makes it before the armor marks the lines that begin with a
// dash: a line that began to be one only later could pass for the end of the armor.
func unixLines(text []byte) []byte {
	if bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
}
