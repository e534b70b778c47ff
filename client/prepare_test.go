package client_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/message"
	"mixminion/packet"
	"mixminion/path"
)

// Changes that take an ability away.
func noSMTP(f *directory.Fields) { f.SMTP = nil }
func noFrom(f *directory.Fields) {
	f.SMTP = &directory.Delivery{MaximumSize: f.SMTP.MaximumSize}
}
func noFragments(f *directory.Fields) { f.Fragmented = nil }
func maxSize(kb int) change {
	return func(f *directory.Fields) { f.SMTP = &directory.Delivery{MaximumSize: kb, AllowFrom: true} }
}
func maxFragments(n int) change {
	return func(f *directory.Fields) { f.Fragmented = &directory.Fragmented{MaximumFragments: n} }
}

// except gives the descriptors of all servers with the same changes, but without them for the one at place i.
func except(t testing.TB, i int, changes ...change) []byte {
	t.Helper()
	var text []byte
	for j, s := range mixServers() {
		if j == i {
			text = append(text, s.descriptor(t)...)
		} else {
			text = append(text, s.descriptor(t, changes...)...)
		}
	}
	return text
}

func TestPrepareOnePacket(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	to := parseAddress(t, "bob@example.com")
	headers := message.Headers{From: "A friend", InReplyTo: "<1@example.com>", References: "<0@example.com>", Subject: "Meeting"}
	for name, m := range map[string]client.Message{
		"text":           {Body: []byte("Hello through the mixes.\n")},
		"headers":        {Headers: headers, Body: []byte("Hello.\n")},
		"empty":          {},
		"like a header":  {Body: []byte("SUBJECT:not a header\n\nbody\n")},
		"binary":         {Body: []byte("\x00\x01\xff")},
		"compresses":     {Body: bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\n"), 450)},
		"does not":       {Body: randomText(t, 28000)},
		"delivered bare": {Body: []byte("Hello.\n"), DeliverFragments: true},
	} {
		t.Run(name, func(t *testing.T) {
			m.To = to
			p, err := c.Prepare(t.Context(), m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Packets) != 1 || p.Warnings != nil || p.Overcompressed {
				t.Fatalf("%d packets, warnings %v, overcompressed %t", len(p.Packets), p.Warnings, p.Overcompressed)
			}
			j := carry(t, p.Packets[0])
			checkRoute(t, p.Packets[0], j)
			if len(j.route) != path.DefaultHops || !distinct(j.route) {
				t.Errorf("route %v", j.route)
			}
			d := j.delivered(t, to)
			if d.Headers != m.Headers || !bytes.Equal(d.Body, m.Body) {
				t.Errorf("form %s, headers %+v, %d bytes; want %+v, %d bytes", d.Form, d.Headers, len(d.Body), m.Headers, len(m.Body))
			}
		})
	}
}

func TestPrepareFragments(t *testing.T) {
	const fragments, needed = 6, 4
	c, _ := newClient(t, descriptors(t))
	to := parseAddress(t, "bob@example.com")
	m := client.Message{To: to, Headers: message.Headers{Subject: "Long"}, Body: randomText(t, 100_000)}
	w := new(watcher)
	p, err := c.Prepare(t.Context(), m, w)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Packets) != fragments || p.Overcompressed || p.Warnings != nil {
		t.Fatalf("%d packets, overcompressed %t, warnings %v", len(p.Packets), p.Overcompressed, p.Warnings)
	}
	w.check(t, "wrapped", w.wrapped, fragments, fragments)
	if w.sent != nil {
		t.Error("told of sending")
	}
	var all []*message.Fragment
	exits, routes := map[string]bool{}, map[string]bool{}
	for _, pk := range p.Packets {
		j := carry(t, pk)
		checkRoute(t, pk, j)
		if len(j.route) != path.DefaultHops || !distinct(j.route) {
			t.Errorf("route %v", j.route)
		}
		exits[j.exit()], routes[pk.Route] = true, true
		if j.result.Type != packet.TypeFragment || len(j.result.Info) != 0 {
			t.Errorf("type %v, %d bytes of routing information", j.result.Type, len(j.result.Info))
		}
		all = append(all, j.fragment(t))
	}
	if len(exits) != 1 {
		t.Errorf("exits %v", exits)
	}
	if len(routes) < 2 {
		t.Errorf("all packets go over %v", routes)
	}
	for _, some := range [][]*message.Fragment{all[:needed], all[fragments-needed:]} {
		dest, compressed, err := message.ParseServerSide(reassemble(t, some))
		if err != nil {
			t.Fatal(err)
		}
		if dest.Type != to.Type || !bytes.Equal(dest.Info, to.Info) {
			t.Errorf("destination %v %q", dest.Type, dest.Info)
		}
		d, err := message.DecodeReassembled(compressed)
		if err != nil {
			t.Fatal(err)
		}
		if d.Headers != m.Headers || !bytes.Equal(d.Body, m.Body) {
			t.Error("another message came out")
		}
	}
}

func TestDeliverFragments(t *testing.T) {
	// None of the exits reassembles, or takes as much as the whole.
	c, _ := newClient(t, descriptors(t, noFragments, maxSize(32)))
	to := parseAddress(t, "bob@example.com")
	m := client.Message{To: to, Body: randomText(t, 40_000), DeliverFragments: true}
	p, err := c.Prepare(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []*message.Fragment
	tags := map[packet.Tag]bool{}
	for _, pk := range p.Packets {
		j := carry(t, pk)
		if d := j.delivered(t, to); d.Form != message.FormFragment {
			t.Errorf("form %s", d.Form)
		}
		tag, _, err := packet.SplitTag(j.result.Type, j.result.Info)
		if err != nil {
			t.Fatal(err)
		}
		tags[*tag] = true
		all = append(all, j.fragment(t))
	}
	if len(all) != 3 || len(tags) != 3 {
		t.Errorf("%d packets with %d decoding handles", len(all), len(tags))
	}
	compressed := reassemble(t, all)
	got, err := message.Decompress(compressed, message.ReassembledLimit(len(compressed)))
	if err != nil || !bytes.Equal(got, m.Body) {
		t.Errorf("another message came out: %v", err)
	}

	m.Headers.Subject = "x"
	if _, err := c.Prepare(t.Context(), m, nil); err == nil || !strings.Contains(err.Error(), "headers cannot be used when fragments are delivered one by one") {
		t.Errorf("with headers: %v", err)
	}
	m.Headers, m.DeliverFragments = message.Headers{}, false
	if _, err := c.Prepare(t.Context(), m, nil); !errors.Is(err, path.ErrNoExit) {
		t.Errorf("to be reassembled: %v", err)
	}
}

func TestPrepareDrop(t *testing.T) {
	c, _ := newClient(t, descriptors(t, noSMTP, noFragments))
	p, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "drop"), Body: []byte("not sent")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Packets) != 1 {
		t.Fatalf("%d packets", len(p.Packets))
	}
	j := carry(t, p.Packets[0])
	checkRoute(t, p.Packets[0], j)
	if j.result.Action != packet.Drop || len(j.route) != path.DefaultHops || !distinct(j.route) {
		t.Errorf("fate %v after %v", j.result.Action, j.route)
	}
}

func TestPrepareOtherTypes(t *testing.T) {
	const draws = 10
	c, _ := newClient(t, except(t, 3, func(f *directory.Fields) { f.MBOX = nil }))
	for range draws {
		// Only one server has mailboxes.
		p, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "mbox:bob"), Body: []byte("x")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(p.Packets[0].Route, ",dogwood") {
			t.Fatal(p.Packets[0].Route)
		}
	}
	to := parseAddress(t, "mbox:bob@DogWood")
	p, err := c.Prepare(t.Context(), client.Message{To: to, Body: []byte("Hello.")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := carry(t, p.Packets[0])
	if d := j.delivered(t, to); j.exit() != "dogwood" || string(d.Body) != "Hello." {
		t.Errorf("body %q at %s", d.Body, j.exit())
	}
	for address, want := range map[string]error{"mbox:bob@elm": path.ErrExit, "mbox:bob@nobody": path.ErrUnknownServer} {
		if _, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, address)}, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", address, err)
		}
	}

	to = parseAddress(t, "0x1234:some text")
	p, err = c.Prepare(t.Context(), client.Message{To: to, Body: []byte("Hello.")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || p.Warnings[0].Code != path.WarnUnknownExit {
		t.Errorf("warnings %v", p.Warnings)
	}
	j = carry(t, p.Packets[0])
	if d := j.delivered(t, to); string(d.Body) != "Hello." {
		t.Errorf("body %q", d.Body)
	}
}

func TestPreparePath(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	m := client.Message{To: parseAddress(t, "bob@example.com"), Body: []byte("x"), Path: parseSpec(t, "elm,ALDER,elm:birch")}
	p, err := c.Prepare(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := carry(t, p.Packets[0])
	checkRoute(t, p.Packets[0], j)
	if d := cmp.Diff([]string{"elm", "alder", "elm", "birch"}, j.route); d != "" {
		t.Error(d)
	}
	if len(p.Warnings) != 1 || p.Warnings[0].Code != path.WarnRepeat {
		t.Errorf("warnings %v", p.Warnings)
	}
	m.Path = parseSpec(t, "elm,nobody:birch")
	if _, err := c.Prepare(t.Context(), m, nil); !errors.Is(err, path.ErrUnknownServer) {
		t.Error(err)
	}
	m.Path = parseSpec(t, "*16:*17")
	if _, err := c.Prepare(t.Context(), m, nil); !errors.Is(err, packet.ErrTooLong) && !errors.Is(err, path.ErrNoPath) {
		t.Error(err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	text := bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\n"), 2000) // 86 KB, and one packet when compressed
	to := parseAddress(t, "bob@example.com")
	for name, c := range map[string]struct {
		servers []byte
		m       client.Message
		want    error
	}{
		"no servers":       {nil, client.Message{}, path.ErrTooFewServers},
		"no servers, drop": {nil, client.Message{To: client.Address{Type: packet.TypeDrop}}, path.ErrTooFewServers},
		"three servers": {slices.Concat(mixServers()[0].descriptor(t), mixServers()[1].descriptor(t), mixServers()[2].descriptor(t)),
			client.Message{}, path.ErrTooFewServers},
		"servers that leave within a retry": {descriptors(t, lifetime(-time.Hour, 0, 6)), client.Message{}, path.ErrTooFewServers},
		"servers of tomorrow":               {descriptors(t, lifetime(-time.Hour, 1, 30)), client.Message{}, path.ErrTooFewServers},
		"no exit":                           {descriptors(t, noSMTP), client.Message{}, path.ErrNoExit},
		"too large":                         {descriptors(t, maxSize(85)), client.Message{Body: text}, path.ErrNoExit},
		"too large in fragments":            {descriptors(t, maxSize(97)), client.Message{Body: randomText(t, 100_000)}, path.ErrNoExit},
		"no reassembly":                     {descriptors(t, noFragments), client.Message{Body: randomText(t, 100_000)}, path.ErrNoExit},
		"too many fragments":                {descriptors(t, maxFragments(5)), client.Message{Body: randomText(t, 100_000)}, path.ErrNoExit},
		"From":                              {descriptors(t, noFrom), client.Message{Headers: message.Headers{From: "Bob"}}, path.ErrNoExit},
		"header":                            {descriptors(t), client.Message{Headers: message.Headers{Subject: "two\nlines"}}, message.ErrHeader},
		"exit of the path": {except(t, 3, noSMTP),
			client.Message{Path: path.Spec{Leg1: []path.Element{{Name: "alder"}, {Name: "birch"}}}}, path.ErrExit},
		"impossible type": {descriptors(t), client.Message{To: client.Address{Type: packet.TypeFwdHost}}, message.ErrPayload},
	} {
		t.Run(name, func(t *testing.T) {
			user, _, _ := newHome(t)
			if c.servers != nil {
				if _, err := importTexts(t, user, c.servers); err != nil {
					t.Fatal(err)
				}
			}
			if c.m.To.Type == 0 && c.want != nil && !strings.Contains(name, "drop") {
				c.m.To = to
			}
			p, err := user.Prepare(t.Context(), c.m, nil)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v", err)
			}
			if p != nil {
				t.Error("something was prepared all the same")
			}
		})
	}
}

// Just as much as an exit allows goes there, and nowhere else.
func TestOnlyExitThatCan(t *testing.T) {
	const draws = 6
	for name, c := range map[string]struct {
		lack change
		m    client.Message
	}{
		"SMTP":      {noSMTP, client.Message{Body: []byte("x")}},
		"From":      {noFrom, client.Message{Headers: message.Headers{From: "Bob"}}},
		"size":      {maxSize(32), client.Message{Body: bytes.Repeat([]byte("x"), 32<<10+1)}},
		"fragments": {maxFragments(2), client.Message{Body: randomText(t, 40_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			c.m.To = parseAddress(t, "bob@example.com")
			user, _ := newClient(t, except(t, 2, c.lack))
			for range draws {
				p, err := user.Prepare(t.Context(), c.m, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, pk := range p.Packets {
					if !strings.HasSuffix(pk.Route, ",cedar") {
						t.Fatalf("route %s", pk.Route)
					}
				}
			}
		})
	}
	for name, c := range map[string]struct {
		limit change
		m     client.Message
	}{
		"size":      {maxSize(32), client.Message{Body: bytes.Repeat([]byte("x"), 32<<10)}},
		"fragments": {maxFragments(3), client.Message{Body: randomText(t, 40_000)}},
		"no From":   {noFrom, client.Message{Headers: message.Headers{Subject: "x"}}},
	} {
		c.m.To = parseAddress(t, "bob@example.com")
		user, _ := newClient(t, descriptors(t, c.limit))
		if _, err := user.Prepare(t.Context(), c.m, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOvercompressed(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	p, err := c.Prepare(t.Context(), client.Message{To: parseAddress(t, "bob@example.com"), Body: make([]byte, 1<<20)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Overcompressed {
		t.Error("no warning")
	}
}

func TestPrepareCancelled(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	m := client.Message{To: parseAddress(t, "bob@example.com"), Body: randomText(t, 400_000)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := c.Prepare(ctx, m, nil); !errors.Is(err, context.Canceled) || p != nil && p.Packets != nil {
		t.Errorf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	w := &watcher{onWrapped: cancel}
	p, err := c.Prepare(ctx, m, w)
	if !errors.Is(err, context.Canceled) || p != nil && p.Packets != nil {
		t.Errorf("cancelled in the middle: %v", err)
	}
	// Each processor may have had one packet in hand.
	if len(w.wrapped) > runtime.GOMAXPROCS(0) {
		t.Errorf("%d packets were wrapped", len(w.wrapped))
	}
}

// The order of packets tells nothing of the order of fragments. By chance six packets come in order once in 720 times, four times in a
// row never.
func TestRandomOrder(t *testing.T) {
	const tries = 4
	c, _ := newClient(t, descriptors(t))
	m := client.Message{To: parseAddress(t, "bob@example.com"), Body: randomText(t, 100_000), Path: parseSpec(t, "alder:birch")}
	for range tries {
		p, err := c.Prepare(t.Context(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		var order []uint32
		for _, pk := range p.Packets {
			j := carry(t, pk)
			order = append(order, j.fragment(t).Index)
		}
		if !slices.IsSorted(order) {
			return
		}
	}
	t.Errorf("the packets came in order %d times", tries)
}

func TestPrepareAtOnce(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			m := client.Message{To: parseAddress(t, "bob@example.com"), Body: randomText(t, 30_000*i)}
			if _, err := c.Prepare(t.Context(), m, new(watcher)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		if _, err := importTexts(t, c, mixServers()[0].descriptor(t, lifetime(0, 0, 30))); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}
