package message_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mixminion/internal/armor"
	"mixminion/message"
	"mixminion/packet"
)

func TestForms(t *testing.T) {
	for name, tc := range map[string]struct {
		msg  string
		form message.Form
	}{
		"empty message": {"", message.FormPlaintext},
		"no body":       {"\n", message.FormPlaintext},
		"text":          {"\nhello\r\n\t\vx~", message.FormPlaintext},
		"utf-8":         {"\ncaf\xc3\xa9", message.FormPlaintext},
		"latin-1":       {"\n\x80\xfe", message.FormPlaintext},
		"0xff":          {"\na\xff", message.FormBinary},
		"NUL":           {"\n\x00", message.FormBinary},
		"form feed":     {"\n\x0c", message.FormBinary},
		"escape":        {"\n\x1b[0m", message.FormBinary},
		"DEL":           {"\n\x7f", message.FormBinary},
		"headers":       {"FROM:f\n\nhello", message.FormPlaintext},
	} {
		e, err := message.Encode(newRand(1), []byte(tc.msg), 0)
		if err != nil {
			t.Fatal(err)
		}
		d, err := message.DecodeForExit(&e.Payloads[0], packet.Tag{})
		if err != nil || d.Form != tc.form || d.Tag != nil {
			t.Errorf("%s: %s, %v", name, d.Form, err)
		}
		h, body := message.ParseHeaders([]byte(tc.msg))
		if d.Headers != h || !bytes.Equal(d.Body, body) {
			t.Errorf("%s: %+v %q", name, d.Headers, d.Body)
		}
	}
}

func TestExitDropsCorrupt(t *testing.T) {
	for name, p := range map[string]*packet.Payload{
		"not compressed": craft([]byte{0, 5}, []byte("hello")),
		"empty":          craft([]byte{0, 0}, nil),
	} {
		if _, err := message.DecodeForExit(p, packet.Tag{}); !errors.Is(err, message.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := message.DecodeForExit(craft([]byte{0x7f, 0xff}, nil), packet.Tag{}); !errors.Is(err, message.ErrPayload) {
		t.Error(err)
	}
	if _, err := message.DecodeReassembled([]byte("x")); !errors.Is(err, message.ErrCorrupt) {
		t.Error(err)
	}
}

func armored(form, handle string, body []byte) []byte {
	b := armor.Block{Type: armor.TypeMessage, Body: body, Dashed: form == "plaintext"}
	if form != "" {
		b.Headers = append(b.Headers, armor.Header{Key: "Message-type", Value: form})
	}
	if handle != "" {
		b.Headers = append(b.Headers, armor.Header{Key: "Decoding-handle", Value: handle})
	}
	return armor.Encode(b)
}

func TestParseDeliveredMalformed(t *testing.T) {
	payload := make([]byte, packet.PayloadLen)
	const handle = "VyAvLay0AwzUnTxY+PNxCT7B9EY="
	for name, tc := range map[string]struct {
		text []byte
		want error
	}{
		"empty":              {nil, armor.ErrNoBlock},
		"reply block":        {armor.Encode(armor.Block{Type: armor.TypeReplyBlock}), armor.ErrNoBlock},
		"no form":            {armored("", "", payload), message.ErrForm},
		"unknown form":       {armored("html", "", payload), message.ErrForm},
		"upper case":         {armored("Encrypted", handle, payload), message.ErrForm},
		"no handle":          {armored("encrypted", "", payload), message.ErrForm},
		"short handle":       {armored("encrypted", "AAAA", payload), message.ErrForm},
		"bad handle":         {armored("encrypted", "*", payload), message.ErrForm},
		"short payload":      {armored("encrypted", handle, payload[1:]), message.ErrForm},
		"long payload":       {armored("encrypted", handle, append(payload, 0)), message.ErrForm},
		"short fragment":     {armored("fragment", "", payload[1:]), message.ErrForm},
		"not base64":         {bytes.Replace(armored("binary", "", payload), []byte("AAAA"), []byte("AA*A"), 1), armor.ErrBase64},
		"cut by the gateway": {append(armored("binary", "", payload)[:5000], "\n[...]\n"...), armor.ErrTruncated},
	} {
		if _, err := message.ParseDelivered(tc.text); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// A mailbox with damaged and foreign things between gives all that is sound.
func TestMailboxWithDamage(t *testing.T) {
	plain := armored("plaintext", "", []byte("hello\n-dash\n"))
	text := slices.Concat([]byte("From x\nSubject: a\n\n"), plain, []byte("\nFrom y\n"), armored("html", "", nil),
		armored("binary", "", []byte{1})[:80], []byte("\n"), plain, armor.Encode(armor.Block{Type: armor.TypeReplyBlock}))
	text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	var got []string
	for d, err := range message.AllDelivered(text) {
		switch {
		case errors.Is(err, message.ErrForm):
			got = append(got, "form")
		case errors.Is(err, armor.ErrNoEnd):
			got = append(got, "end")
		case err != nil:
			t.Error(err)
		default:
			got = append(got, string(d.Body))
		}
	}
	if want := []string{"hello\n-dash\n", "form", "end", "hello\n-dash\n"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, err := range message.AllDelivered(text) { // leaving early is allowed
		if err == nil {
			break
		}
	}
	if list, err := message.ParseDelivered(text); len(list) != 1 || !errors.Is(err, message.ErrForm) {
		t.Error(len(list), err)
	}
}

func TestOpenDelivered(t *testing.T) {
	for name, tc := range map[string]struct {
		d    message.Delivered
		kind message.Kind
		err  error
	}{
		"text":             {message.Delivered{Form: message.FormPlaintext, Body: []byte("a")}, message.KindText, nil},
		"compressed":       {message.Delivered{Form: message.FormOvercompressed, Body: []byte("a")}, message.KindSingleton, nil},
		"fragment":         {message.Delivered{Form: message.FormFragment, Body: craftFragment(0, 60000)[:]}, message.KindFragment, nil},
		"damaged fragment": {message.Delivered{Form: message.FormFragment, Body: make([]byte, packet.PayloadLen)}, 0, message.ErrPayload},
		"short fragment":   {message.Delivered{Form: message.FormFragment}, 0, message.ErrForm},
		"foreign":          {message.Delivered{Form: message.FormEncrypted, Body: make([]byte, packet.PayloadLen), Tag: &packet.Tag{}}, 0, message.ErrNotForUs},
		"no handle":        {message.Delivered{Form: message.FormEncrypted, Body: make([]byte, packet.PayloadLen)}, 0, message.ErrPayload},
	} {
		o, err := tc.d.Open(message.Keys{})
		if !errors.Is(err, tc.err) || err == nil && o.Kind != tc.kind {
			t.Errorf("%s: %v, %v", name, o.Kind, err)
		}
	}
}

// Every message, delivered by an exit and read by its recipient, arrives; a text may gain a newline at its end.
func TestDeliveryRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 200),
			rapid.SliceOfN(rapid.SampledFrom([]byte("ab- \n\r")), 0, 100),
		).Draw(t, "body")
		h := message.Headers{Subject: rapid.StringMatching(`[a-z]{0,5}`).Draw(t, "subject")}
		prefix, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		e, err := message.Encode(newRand(1), append(prefix, body...), 0)
		if err != nil {
			t.Fatal(err)
		}
		d, err := message.DecodeForExit(&e.Payloads[0], packet.Tag{})
		if err != nil || d.Headers != h {
			t.Fatal(d.Headers, err)
		}
		list, err := message.ParseDelivered(d.Armor())
		if err != nil || len(list) != 1 {
			t.Fatal(err)
		}
		o, err := list[0].Open(message.Keys{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := o.Message(0)
		if err != nil {
			t.Fatal(err)
		}
		if d.Form == message.FormPlaintext && !strings.HasSuffix(string(body), "\n") {
			body = append(body, '\n')
		}
		if !bytes.Equal(got, body) {
			t.Fatalf("%q becomes %q", body, got)
		}
	})
}

func FuzzParseDelivered(f *testing.F) {
	for _, name := range []string{"armor-plain.asc", "armor-binary.asc", "armor-overcompressed.asc", "reply.asc"} {
		f.Add(read(f, name))
	}
	f.Add(armored("fragment", "", craftFragment(0, 60000)[:]))
	f.Add(armored("encrypted", "AAAA", nil))
	keys := message.Keys{Identities: keyringIdentities(f)}
	f.Fuzz(func(t *testing.T, text []byte) {
		for d, err := range message.AllDelivered(text) {
			if err != nil {
				continue
			}
			o, err := d.Open(keys)
			if err != nil {
				continue
			}
			if _, err := o.Message(0); err != nil && !errors.Is(err, message.ErrCorrupt) &&
				!errors.Is(err, message.ErrOvercompressed) && !errors.Is(err, message.ErrIncomplete) {
				t.Fatal(err)
			}
		}
	})
}
