package client_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/delivery/mail"
	"mixminion/directory"
	"mixminion/packet"
)

// A message that fits one packet arrives as it is, whatever its first lines look like.
func TestDeliverFragmentsKeepsHeaderLikeBody(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	to := parseAddress(t, "bob@example.com")
	for _, body := range []string{"Note:this line is lost\n\nThe rest.\n", "FROM:forged without Allow-From\nSUBJECT:forged\n\nText\n", "\nfirst line is empty\n"} {
		p, err := c.Prepare(t.Context(), client.Message{To: to, Body: []byte(body), DeliverFragments: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		j := carry(t, p.Packets[0])
		d := j.delivered(t, to)
		if string(d.Body) != body {
			t.Errorf("sent %q, arrives as %q with headers %+v", body, d.Body, d.Headers)
		}
	}
}

// An exit mails a message that fits one packet whole, so its size limit counts.
func TestDeliverFragmentsHeedsSize(t *testing.T) {
	c, _ := newClient(t, descriptors(t, maxSize(32)))
	m := client.Message{To: parseAddress(t, "bob@example.com"), Body: bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\n"), 2000)}
	_, without := c.Prepare(t.Context(), m, nil)
	m.DeliverFragments = true
	p, with := c.Prepare(t.Context(), m, nil)
	if without == nil || with == nil {
		t.Errorf("86 KB in one packet for exits that take 32 KB: without flag %v; with flag %v, %d packets", without, with, len(p.Packets))
	}
}

// Addresses that every exit would drop without a word are refused here.
func TestRawAddressesThatNoExitTakes(t *testing.T) {
	for _, s := range []string{"0x0100:not a mailbox", "0x0100", "0x0101", "0x0100:bob@127.0.0.1", "0x0100:a@b\r\nX: y"} {
		a, err := client.ParseAddress(s)
		if err != nil {
			continue
		}
		if _, err := mail.ParseAddress(a.Info); a.Type == packet.TypeSMTP && err != nil || len(a.Info) == 0 {
			t.Errorf("%q accepted as %v %q", s, a.Type, a.Info)
		}
	}
}

func TestMboxWithEmptyServer(t *testing.T) {
	if a, err := client.ParseAddress("mbox:bob@"); err == nil {
		t.Errorf("accepted, for any server: %+v", a)
	}
}

func TestMailboxBeginningWith0x(t *testing.T) {
	if _, err := client.ParseAddress("0xbob@example.com"); err != nil {
		t.Error(err)
	}
}

// Descriptors that come by mail have blank lines around them.
func TestImportBlankLines(t *testing.T) {
	s := mixServers()
	a, b := s[0].descriptor(t), s[1].descriptor(t)
	for name, text := range map[string][]byte{
		"in front": slices.Concat([]byte("\n"), a), "behind": slices.Concat(a, []byte("\n")), "between": slices.Concat(a, []byte("\n"), b),
	} {
		c, _ := newClient(t)
		added, err := importTexts(t, c, text)
		if err != nil {
			t.Errorf("%s: added %v, error %q", name, nicknames(added), err)
		}
	}
}

// A nickname stays taken when the descriptor has expired.
func TestNicknameOfExpired(t *testing.T) {
	s := mixServers()
	c, clk := newClient(t, s[0].descriptor(t, lifetime(-time.Hour, 0, 2)))
	clk.Advance(5 * day)
	impostor := s[1].descriptor(t, func(f *directory.Fields) { f.Nickname = "alder" })
	if added, err := importTexts(t, c, impostor); err == nil {
		t.Errorf("another key took over the nickname of an expired server: %v", nicknames(added))
	}
}

func TestBlankFrom(t *testing.T) {
	c, _ := newClient(t, descriptors(t, noFrom))
	m := client.Message{To: parseAddress(t, "bob@example.com")}
	m.Headers.From = " "
	if _, err := c.Prepare(t.Context(), m, nil); err != nil && strings.Contains(err.Error(), "From") {
		t.Errorf("no From header would be sent, but: %v", err)
	}
}
