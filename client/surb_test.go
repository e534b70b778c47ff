package client_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/message/keyring"
	"mixminion/packet"
	"mixminion/path"
)

// TestSURBHandle: the handle that the maker of a reply block learns is the one that comes back with the answer.
func TestSURBHandle(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	_, secret := identity(t, "", noon)
	to := parseAddress(t, "alice@example.com")
	made, err := c.GenerateSURBs(t.Context(), 3, to, secret, path.Spec{}, client.SURBLifetime)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range made.Handles {
		if !crypt.IsSURBSeed(h, secret) {
			t.Errorf("handle %d is none of this identity", i)
		}
		p, _, err := c.PrepareReply(t.Context(), client.Reply{}, made.SURBs[i:], nil)
		if err != nil {
			t.Fatal(err)
		}
		j := carry(t, p.Packets[0])
		tag, _, err := packet.SplitTag(j.result.Type, j.result.Info)
		if err != nil || *tag != h {
			t.Errorf("handle %d comes back as %x, not %x: %v", i, tag, h, err)
		}
	}
}

func TestReplyHeaders(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	ring, secret := identity(t, "", noon)
	to := parseAddress(t, "alice@example.com")
	surbs := generate(t, c, 1, to, secret, path.Spec{}, client.SURBLifetime)
	bad := client.Reply{Headers: message.Headers{From: `a"b`}}
	if _, n, err := c.PrepareReply(t.Context(), bad, surbs, nil); err == nil || n != 0 {
		t.Error("a bad header was accepted")
	}
	r := client.Reply{Headers: message.Headers{Subject: "Re: hello"}, Body: []byte("An answer.\n")}
	p, _, err := c.PrepareReply(t.Context(), r, surbs, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, c, ring, to, carry(t, p.Packets[0]))
	msg, err := o.Message(0)
	if err != nil {
		t.Fatal(err)
	}
	if headers, body := message.ParseHeaders(msg); headers != r.Headers || !bytes.Equal(body, r.Body) {
		t.Errorf("headers %+v, body %q", headers, body)
	}
}

func TestSURBLifetime(t *testing.T) {
	c, clk := newClient(t, descriptors(t))
	_, secret := identity(t, "", noon)
	to := parseAddress(t, "alice@example.com")
	for now, want := range map[time.Duration]error{0: nil, 9 * time.Hour: nil, 9*time.Hour + time.Second: client.ErrSURBLifetime} {
		clk.Advance(noon.Add(now).Sub(clk.Now()))
		if _, err := c.GenerateSURBs(t.Context(), 1, to, secret, path.Spec{}, day); !errors.Is(err, want) {
			t.Errorf("%v after noon, for a day: %v", now, err)
		}
	}
	for _, lifetime := range []time.Duration{0, -day, time.Hour} {
		if _, err := c.GenerateSURBs(t.Context(), 1, to, secret, path.Spec{}, lifetime); !errors.Is(err, client.ErrSURBLifetime) {
			t.Errorf("for %v: %v", lifetime, err)
		}
	}
}

func TestSURBKey(t *testing.T) {
	c, clk := newClient(t)
	ring := new(keyring.Keyring)
	first, changed, err := c.SURBKey(ring, "Twain", client.SURBLifetime)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if again, changed, err := c.SURBKey(ring, "tWAIN", client.SURBLifetime); err != nil || changed || !bytes.Equal(again.Secret, first.Secret) {
		t.Errorf("another key: %v", err)
	}
	if other, changed, err := c.SURBKey(ring, "", client.SURBLifetime); err != nil || !changed || bytes.Equal(other.Secret, first.Secret) {
		t.Errorf("not another key: %v", err)
	}
	// It rotates, and the old key stays as long as answers may come for it.
	clk.Advance(keyring.Lifetime - keyring.MinRemaining + 2*day)
	second, changed, err := c.SURBKey(ring, "twain", client.SURBLifetime)
	if err != nil || !changed || bytes.Equal(second.Secret, first.Secret) || len(ring.Keys()) != 3 {
		t.Errorf("%d keys, changed %v: %v", len(ring.Keys()), changed, err)
	}
	if long, changed, err := c.SURBKey(ring, "twain", keyring.Lifetime+10*day); err != nil || !changed || long.Expires.Before(clk.Now().Add(keyring.Lifetime+10*day)) {
		t.Errorf("expires %v: %v", long.Expires, err)
	}
	clk.Advance(keyring.MinRemaining + day)
	if _, changed, err := c.SURBKey(ring, "third", client.SURBLifetime); err != nil || !changed {
		t.Error(err)
	}
	if slices.ContainsFunc(ring.Keys(), func(k keyring.Key) bool { return bytes.Equal(k.Secret, first.Secret) }) {
		t.Error("an expired key stays in the keyring")
	}
	if _, _, err := c.SURBKey(ring, "\n", client.SURBLifetime); !errors.Is(err, keyring.ErrIdentity) {
		t.Error(err)
	}
}

func TestReadSURBs(t *testing.T) {
	surbs := []*packet.SURB{block(1, noon.Truncate(day)), block(2, noon.Truncate(day))}
	var bin []byte
	for _, s := range surbs {
		bin = s.AppendBinary(bin)
	}
	armored := packet.ArmorSURBs(surbs)
	for name, data := range map[string][]byte{
		"binary": bin, "armored": armored, "in a mail": slices.Concat([]byte("Hello,\n\nuse these:\n"), armored, []byte("Bye\n")),
		"from Windows": bytes.ReplaceAll(armored, []byte("\n"), []byte("\r\n")),
	} {
		got, err := client.ReadSURBs(data)
		if err != nil || len(got) != len(surbs) {
			t.Errorf("%s: %d, %v", name, len(got), err)
			continue
		}
		for i, s := range got {
			if s.ID() != surbs[i].ID() {
				t.Errorf("%s: block %d is another", name, i)
			}
		}
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("Hello.\n"), "cut off": armored[:len(armored)-50], "binary, cut off": bin[:len(bin)-1],
	} {
		if got, err := client.ReadSURBs(data); err == nil {
			t.Errorf("%s: %d blocks", name, len(got))
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}
