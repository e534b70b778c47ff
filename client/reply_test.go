package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/message"
	"mixminion/message/keyring"
	"mixminion/packet"
	"mixminion/path"
)

// identity adds a secret to a new keyring.
func identity(t testing.TB, name string, now time.Time) (*keyring.Keyring, []byte) {
	t.Helper()
	ring := new(keyring.Keyring)
	key, err := ring.Generate(rand.Reader, name, now, now.Add(client.SURBLifetime))
	if err != nil {
		t.Fatal(err)
	}
	return ring, key.Secret
}

// generate makes reply blocks.
func generate(t testing.TB, c *client.Client, n int, to client.Address, secret []byte, spec path.Spec, lifetime time.Duration) []*packet.SURB {
	t.Helper()
	made, err := c.GenerateSURBs(t.Context(), n, to, secret, spec, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return made.SURBs
}

// open takes a reply to its end and opens it as the recipient does: from the exit's armor, with the keyring.
func open(t testing.TB, c *client.Client, ring *keyring.Keyring, to client.Address, j journey) message.Opened {
	t.Helper()
	d := j.delivered(t, to)
	if d.Form != message.FormEncrypted {
		t.Fatalf("form %s", d.Form)
	}
	all, err := message.ParseDelivered(d.Armor())
	if err != nil || len(all) != 1 {
		t.Fatalf("%d armored messages: %v", len(all), err)
	}
	o, err := all[0].Open(c.Keys(ring))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestReply(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	ring, secret := identity(t, "Twain", noon)
	if err := saveKeyring(t, c, ring, []byte("password")); err != nil {
		t.Fatal(err)
	}
	to := parseAddress(t, "alice@example.com")
	made, err := c.GenerateSURBs(t.Context(), 3, to, secret, path.Spec{}, client.SURBLifetime)
	if err != nil || len(made.SURBs) != 3 || len(made.Handles) != 3 || made.Warnings != nil {
		t.Fatalf("reply blocks %+v: %v", made, err)
	}
	surbs := made.SURBs
	ids := map[any]bool{}
	for _, s := range surbs {
		ids[s.ID()] = true
		if want := noon.Truncate(day).Add(client.SURBLifetime); !s.Expires.Equal(want) {
			t.Errorf("expires %v, want %v", s.Expires, want)
		}
	}
	if len(ids) != 3 {
		t.Error("reply blocks repeat")
	}
	// The correspondent gets them as a text.
	if surbs, err = packet.ParseArmoredSURBs(packet.ArmorSURBs(surbs)); err != nil {
		t.Fatal(err)
	}

	w := new(watcher)
	const body = "FROM:somebody\n\nAn answer.\n"
	p, used, err := c.PrepareReply(t.Context(), client.Reply{Body: []byte(body)}, surbs, w)
	if err != nil || used != 1 || len(p.Packets) != 1 || p.Warnings != nil || p.Overcompressed {
		t.Fatalf("%d reply blocks used: %v", used, err)
	}
	w.check(t, "wrapped", w.wrapped, 1, 1)
	j := carry(t, p.Packets[0])
	known := strings.Split(p.Packets[0].Route, ",")
	if len(known) != path.DefaultHops || !distinct(known) || !slices.Equal(known, j.route[:len(known)]) {
		t.Errorf("sent over %s, went over %v", p.Packets[0].Route, j.route)
	}
	if hidden := j.route[len(known):]; len(hidden) != path.DefaultHops || !distinct(hidden) {
		t.Errorf("the reply block leads over %v", hidden)
	}
	if !slices.Contains(j.headers, surbs[0].Header) {
		t.Error("the first reply block was not the one used")
	}
	stored, err := c.Keyring([]byte("password"))
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, c, stored, to, j)
	if want := (message.Opener{Via: message.ViaIdentity, Name: "twain"}); o.By != want {
		t.Errorf("opened by %+v", o.By)
	}
	msg, err := o.Message(0)
	if err != nil {
		t.Fatal(err)
	}
	if headers, got := message.ParseHeaders(msg); headers != (message.Headers{}) || string(got) != body {
		t.Errorf("headers %+v, body %q", headers, got)
	}
	// Nobody else can.
	stranger, _ := identity(t, "", noon)
	d := j.delivered(t, to)
	if _, err := d.Open(c.Keys(stranger)); !errors.Is(err, message.ErrNotForUs) {
		t.Errorf("opened by a stranger: %v", err)
	}
}

func TestLongReply(t *testing.T) {
	const fragments = 3
	c, _ := newClient(t, descriptors(t))
	ring, secret := identity(t, "", noon)
	to := parseAddress(t, "mbox:alice@cedar")
	surbs := generate(t, c, fragments+2, to, secret, parseSpec(t, "?,birch"), client.SURBLifetime)
	body := randomText(t, 40_000)
	if _, used, err := c.PrepareReply(t.Context(), client.Reply{Body: body}, surbs[:fragments-1], nil); !errors.Is(err, client.ErrTooFewSURBs) || used != 0 ||
		!strings.Contains(err.Error(), "3 needed, 2 given") {
		t.Errorf("%d reply blocks used: %v", used, err)
	}
	if _, used, err := c.PrepareReply(t.Context(), client.Reply{Body: body}, nil, nil); !errors.Is(err, client.ErrTooFewSURBs) || used != 0 {
		t.Errorf("%d reply blocks used: %v", used, err)
	}
	p, used, err := c.PrepareReply(t.Context(), client.Reply{Body: body, Path: parseSpec(t, "elm,fir")}, surbs, nil)
	if err != nil || used != fragments || len(p.Packets) != fragments {
		t.Fatalf("%d reply blocks used: %v", used, err)
	}
	if len(p.Warnings) != 1 || p.Warnings[0].Code != path.WarnShort {
		t.Errorf("warnings %v", p.Warnings)
	}
	taken := map[int]int{}
	var all []*message.Fragment
	for _, pk := range p.Packets {
		j := carry(t, pk)
		if len(j.route) != 5 || j.route[0] != "elm" || j.route[1] != "fir" || j.route[3] != "birch" || j.route[4] != "cedar" {
			t.Errorf("route %v", j.route)
		}
		for i, s := range surbs {
			if slices.Contains(j.headers, s.Header) {
				taken[i]++
			}
		}
		o := open(t, c, ring, to, j)
		if o.Kind != message.KindFragment {
			t.Fatalf("kind %v", o.Kind)
		}
		all = append(all, o.Fragment)
	}
	for i := range surbs {
		want := 0
		if i < used {
			want = 1
		}
		if taken[i] != want {
			t.Errorf("reply block %d was used %d times", i, taken[i])
		}
	}
	compressed := reassemble(t, all)
	msg, err := message.Decompress(compressed, message.ReassembledLimit(len(compressed)))
	if err != nil {
		t.Fatal(err)
	}
	if _, got := message.ParseHeaders(msg); !bytes.Equal(got, body) {
		t.Error("another message came out")
	}
}

func TestSURBsExpire(t *testing.T) {
	c, clk := newClient(t, descriptors(t))
	_, secret := identity(t, "", noon)
	surbs := generate(t, c, 2, parseAddress(t, "alice@example.com"), secret, path.Spec{}, 3*day)
	reply := func(surbs []*packet.SURB) error {
		_, _, err := c.PrepareReply(t.Context(), client.Reply{Body: []byte("x")}, surbs, nil)
		return err
	}
	clk.Advance(12 * time.Hour)
	if err := reply(surbs[1:]); err != nil {
		t.Error("before:", err)
	}
	clk.Advance(2 * day)
	if err := reply(surbs); err == nil || !strings.Contains(err.Error(), "a reply block expired on 2026-11-23") {
		t.Error("expired:", err)
	}
	fresh := generate(t, c, 1, parseAddress(t, "alice@example.com"), secret, path.Spec{}, 3*day)
	if err := reply([]*packet.SURB{surbs[0], fresh[0]}); err == nil {
		t.Error("an expired one in front is accepted")
	}
	if err := reply([]*packet.SURB{fresh[0], surbs[0]}); err != nil {
		t.Error("an expired one that is not needed:", err)
	}
}

func TestGenerateSURBsRefuses(t *testing.T) {
	_, secret := identity(t, "", noon)
	to := parseAddress(t, "alice@example.com")
	relays := func(f *directory.Fields) { f.SMTP, f.MBOX = nil, nil }
	for name, c := range map[string]struct {
		servers  []byte
		to       client.Address
		path     string
		lifetime time.Duration
		want     error
	}{
		"lifetime beyond the servers'": {descriptors(t), to, "", 30 * day, path.ErrTooFewServers},
		"named servers leave":          {descriptors(t), to, "alder,birch", 30 * day, path.ErrNotUsable},
		"some servers leave": {slices.Concat(mixServers()[0].descriptor(t), mixServers()[1].descriptor(t), mixServers()[2].descriptor(t),
			mixServers()[3].descriptor(t, lifetime(-time.Hour, 0, 7))), to, "", client.SURBLifetime, path.ErrTooFewServers},
		"negative lifetime": {descriptors(t), to, "", -time.Hour, client.ErrSURBLifetime},
		"no exit":           {descriptors(t, relays), to, "", client.SURBLifetime, path.ErrNoExit},
		"two legs":          {descriptors(t), to, "alder:birch", client.SURBLifetime, path.ErrSwap},
		"address too long": {descriptors(t), client.Address{Type: packet.TypeSMTP, Info: make([]byte, packet.HeaderLen)}, "",
			client.SURBLifetime, packet.ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			user, _ := newClient(t, c.servers)
			spec := path.Spec{}
			if c.path != "" {
				spec = parseSpec(t, c.path)
			}
			made, err := user.GenerateSURBs(t.Context(), 2, c.to, secret, spec, c.lifetime)
			if !errors.Is(err, c.want) || made != nil {
				t.Errorf("%+v, error %v", made, err)
			}
		})
	}
	// The last day that all servers serve.
	c, _ := newClient(t, descriptors(t))
	if _, err := c.GenerateSURBs(t.Context(), 1, to, secret, path.Spec{}, 29*day+12*time.Hour); err != nil {
		t.Error(err)
	}
}

func TestPrepareReplyRefuses(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	_, secret := identity(t, "", noon)
	surbs := generate(t, c, 1, parseAddress(t, "alice@example.com"), secret, path.Spec{}, client.SURBLifetime)
	if _, used, err := c.PrepareReply(t.Context(), client.Reply{Path: parseSpec(t, "alder:birch")}, surbs, nil); !errors.Is(err, path.ErrSwap) || used != 0 {
		t.Errorf("%d used: %v", used, err)
	}
	stranger, _ := newClient(t)
	if _, used, err := stranger.PrepareReply(t.Context(), client.Reply{}, surbs, nil); !errors.Is(err, path.ErrTooFewServers) || used != 0 {
		t.Errorf("%d used: %v", used, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, _, err := c.PrepareReply(ctx, client.Reply{}, surbs, nil); !errors.Is(err, context.Canceled) || p != nil && p.Packets != nil {
		t.Error(err)
	}
}

func TestLongReplyInRandomOrder(t *testing.T) {
	const tries = 4
	c, _ := newClient(t, descriptors(t))
	ring, secret := identity(t, "", noon)
	to := parseAddress(t, "alice@example.com")
	surbs := generate(t, c, 6*tries, to, secret, parseSpec(t, "alder"), client.SURBLifetime)
	body := randomText(t, 100_000)
	sorted, paired := 0, 0
	for range tries {
		p, used, err := c.PrepareReply(t.Context(), client.Reply{Body: body, Path: parseSpec(t, "birch")}, surbs, nil)
		if err != nil {
			t.Fatal(err)
		}
		var order, bySURB []uint32
		bySURB = make([]uint32, used)
		for _, pk := range p.Packets {
			j := carry(t, pk)
			f := open(t, c, ring, to, j).Fragment
			order = append(order, f.Index)
			i := slices.IndexFunc(surbs[:used], func(s *packet.SURB) bool { return slices.Contains(j.headers, s.Header) })
			if i < 0 {
				t.Fatal("a packet through a reply block that was not counted")
			}
			bySURB[i] = f.Index
		}
		if slices.IsSorted(order) {
			sorted++
		}
		if slices.IsSorted(bySURB) {
			paired++
		}
		surbs = surbs[used:]
	}
	if sorted == tries || paired == tries {
		t.Errorf("of %d tries the packets came in order %d times, and the reply blocks were used in order %d times", tries, sorted, paired)
	}
}
