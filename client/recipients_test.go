package client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/packet"
	"mixminion/path"
)

// show writes addresses so that they can be compared.
func show(list []client.Address) string {
	var out []string
	for _, a := range list {
		text := a.Type.String() + " " + strings.ReplaceAll(string(a.Info), "\x00", "+")
		if a.LastHop != "" {
			text += " at " + a.LastHop
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestParseAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"bob@example.com":            "SMTP bob@example.com",
		"a@x,b@x":                    "SMTP a@x; SMTP b@x",
		" b@x , a@x ":                "SMTP b@x; SMTP a@x",
		"mbox:one,two@alder":         "MBOX one,two at alder",
		"0xfffe:a,b":                 client.Address{Type: 0xfffe}.Type.String() + " a,b",
		"drop":                       "DROP ",
		"a@x,":                       "",
		",a@x":                       "",
		"a@x,,b@x":                   "",
		"a@x;b@x":                    "",
		"a@x b@x":                    "",
		"a@x,bob":                    "",
		`"a,b"@x`:                    "",
		"smtp:a@x,b@x":               "",
		"a@x,mbox:bob":               "",
		"a@x\x00b@x":                 "",
		"Bob <bob@example.com>, a@x": "",
	} {
		got, err := client.ParseAddresses(in)
		if want == "" && !errors.Is(err, client.ErrAddress) || want != "" && (err != nil || show(got) != want) {
			t.Errorf("%q: %s, %v", in, show(got), err)
		}
	}
}

func addresses(t *testing.T, texts ...string) []client.Address {
	t.Helper()
	var list []client.Address
	for _, text := range texts {
		list = append(list, parseAddress(t, text))
	}
	return list
}

func TestRecipients(t *testing.T) {
	for _, c := range []struct{ in, want, shared string }{
		{"b@x a@x B@x a@X", "SMTP B@x; SMTP a@x; SMTP b@x", "SMTP B@x+a@x+b@x"},
		{"mbox:bob@alder z@x mbox:bob@ALDER mbox:bob", "SMTP z@x; MBOX bob; MBOX bob at alder", "SMTP z@x; MBOX bob; MBOX bob at alder"},
		{"drop DROP", "DROP ", "DROP "},
		{"i@x h@x g@x f@x e@x d@x c@x b@x a@x", "SMTP a@x; SMTP b@x; SMTP c@x; SMTP d@x; SMTP e@x; SMTP f@x; SMTP g@x; SMTP h@x; SMTP i@x",
			"SMTP a@x+b@x+c@x+d@x+e@x+f@x+g@x+h@x; SMTP i@x"},
		{"", "", ""},
		{"drop a@x", "", ""},
	} {
		list, err := client.Recipients(addresses(t, strings.Fields(c.in)...))
		if (err != nil) != (c.want == "") || err != nil && !errors.Is(err, client.ErrRecipients) {
			t.Errorf("%s: %v", c.in, err)
		}
		if got := show(list); got != c.want {
			t.Errorf("%s: %s", c.in, got)
		}
		before := show(list)
		shared := client.Share(list)
		if got := show(shared); got != c.shared || show(list) != before {
			t.Errorf("%s: shared %s", c.in, got)
		}
		n := 0
		for _, a := range shared {
			n += a.Mailboxes()
		}
		if n != len(list) {
			t.Errorf("%s: %d mailboxes", c.in, n)
		}
	}
	if _, err := client.Recipients(slices.Repeat(addresses(t, "a@x"), 200)); err != nil {
		t.Error(err)
	}
	var many []client.Address
	for i := range client.MaxRecipients + 1 {
		many = append(many, client.Address{Type: packet.TypeSMTP, Info: []byte{byte('a' + i/26), byte('a' + i%26), '@', 'x'}})
	}
	if _, err := client.Recipients(many); !errors.Is(err, client.ErrRecipients) {
		t.Error(err)
	}
}

// A packet for several goes only over an exit that takes so many.
func TestPrepareShared(t *testing.T) {
	takes := func(n int) change {
		return func(f *directory.Fields) {
			f.SMTP = &directory.Delivery{MaximumSize: 100, AllowFrom: true, MaximumRecipients: n}
		}
	}
	m := client.Message{Body: []byte("Hello.\n"), To: client.Share(addresses(t, "a@x", "b@x", "c@x"))[0]}
	var text []byte
	for i, s := range mixServers() {
		n := 2
		if i == 3 {
			n = 3
		}
		text = append(text, s.descriptor(t, takes(n))...)
	}
	c, _ := newClient(t, text)
	want := mixServers()[3].name
	for range 5 {
		p, err := c.Prepare(t.Context(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(p.Packets[0].Route, ","+want) {
			t.Errorf("goes over %s", p.Packets[0].Route)
		}
	}
	c, _ = newClient(t, descriptors(t, takes(2)))
	if _, err := c.Prepare(t.Context(), m, nil); !errors.Is(err, path.ErrNoExit) {
		t.Error(err)
	}
}

// Several messages are prepared together or not at all, and nothing in the order of their packets says which belong together.
func TestPrepareAll(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	body := []byte("Hello.\n")
	spec := func(text string) path.Spec {
		s, err := path.ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	names := []string{mixServers()[0].name, mixServers()[1].name}
	messages := []client.Message{
		{To: parseAddress(t, "a@x"), Body: body, Path: spec(names[0] + ",?:?,?")},
		{To: parseAddress(t, "b@x"), Body: body, Path: spec(names[1] + ",?:?,?")},
	}
	first := map[string]int{}
	for range 40 {
		p, err := c.PrepareAll(t.Context(), messages, nil)
		if err != nil || len(p.Packets) != 2 {
			t.Fatalf("%v", err)
		}
		name, _, _ := strings.Cut(p.Packets[0].Route, ",")
		first[name]++
	}
	if first[names[0]] == 0 || first[names[1]] == 0 {
		t.Errorf("first packets %v", first)
	}
	messages[1].To.LastHop = "nobody"
	if p, err := c.PrepareAll(t.Context(), messages, nil); p != nil || !errors.Is(err, path.ErrUnknownServer) || !strings.Contains(err.Error(), "message 2 of 2") {
		t.Errorf("%v, %v", p, err)
	}
	if p, err := c.PrepareAll(t.Context(), nil, nil); err != nil || len(p.Packets) != 0 {
		t.Errorf("%v, %v", p, err)
	}
}
