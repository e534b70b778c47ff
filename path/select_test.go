package path

import (
	"crypto/rsa"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/packet"
)

func TestSelectRefuses(t *testing.T) {
	surb := func(hop packet.Hop) *packet.SURB {
		return &packet.SURB{Type: packet.TypeSwapFwdHost, Info: hop.AppendRoutingInfo(nil)}
	}
	old := func(d *directory.Descriptor) {
		d.Incoming.Protocols, d.Outgoing.Protocols = []string{"0.1"}, []string{"0.1"}
	}
	for _, c := range []struct {
		name    string
		servers func([]*directory.Descriptor) []*directory.Descriptor // given a to e
		spec    string
		change  func(*Request)
		want    error
		says    string
	}{
		{"no servers", func([]*directory.Descriptor) []*directory.Descriptor { return nil }, "", nil, ErrTooFewServers, "0 of the 0 known"},
		{"three servers", func(d []*directory.Descriptor) []*directory.Descriptor { return d[:3] }, "", nil, ErrTooFewServers, "3 of the 3 known"},
		{"one twice", func(d []*directory.Descriptor) []*directory.Descriptor { return append(d[:3], d[0], testServer("A")) }, "", nil, ErrTooFewServers, "3 of the 3"},
		{"two blocked", nil, "", func(r *Request) { r.BlockServers = []string{"A", "b"} }, ErrTooFewServers, "3 of the 5 known"},
		{"two not recommended", nil, "", func(r *Request) {
			r.Recommended = func(d *directory.Descriptor) bool { return d.Nickname > "b" }
		}, ErrTooFewServers, "3 of the 5"},
		{"expired before the end", nil, "", func(r *Request) { r.Until = start.AddDate(0, 0, 31) }, ErrTooFewServers, "0 of the 0"},
		{"not valid yet", nil, "", func(r *Request) { r.From = start.AddDate(0, 0, -1) }, ErrTooFewServers, ""},
		{"another packet version", nil, "", nil, ErrTooFewServers, "3 of the 5"},
		{"no random one at all", func([]*directory.Descriptor) []*directory.Descriptor { return nil }, "?,?", nil, ErrTooFewServers, "at least 1"},
		{"reply over three", func(d []*directory.Descriptor) []*directory.Descriptor { return d[:3] }, "", func(r *Request) { *r = Request{Kind: Reply, From: start, Until: end} }, ErrTooFewServers, ""},

		{"nobody delivers", each(relayOnly), "", nil, ErrNoExit, "a does not support SMTP"},
		{"nobody delivers, specified", each(relayOnly), "?,?", nil, ErrNoExit, ""},
		{"exits blocked", nil, "", func(r *Request) { r.BlockExits = strings.Split("abcde", "") }, ErrNoExit, "all are blocked as exits"},
		{"message too large", nil, "", func(r *Request) { r.Size = 100*1024 + 1 }, ErrNoExit, "101 KB"},
		{"too many fragments", nil, "", func(r *Request) { r.Fragments = 67 }, ErrNoExit, "67 fragments"},
		{"two recipients", nil, "", func(r *Request) { r.Recipients = 2 }, ErrNoExit, "a takes 1 in one packet"},
		{"eight recipients", each(func(d *directory.Descriptor) { d.SMTP.MaximumRecipients = 7 }), "?,?", func(r *Request) { r.Recipients = 8 }, ErrNoExit, "takes 7 in one packet"},
		{"nine recipients", each(func(d *directory.Descriptor) { d.SMTP.MaximumRecipients = 1000 }), "", func(r *Request) { r.Recipients = 9 }, ErrNoExit, "takes 8 in one packet"},
		{"recipients at a named exit", nil, "b,a", func(r *Request) { r.Recipients = 2 }, ErrExit, "a takes 1 in one packet"},
		{"entries blocked", nil, "", func(r *Request) { r.BlockEntries = strings.Split("abcde", "") }, ErrNoPath, "0 of them as the first"},
		{"only one relays", each(func(d *directory.Descriptor) {
			if d.Nickname > "a" {
				exitOnly(d)
			}
		}), "", nil, ErrNoPath, ""},
		{"nobody relays", each(exitOnly), "?,?:?", nil, nil, "a path goes through"},
		{"address too long", nil, "", func(r *Request) { r.InfoLen = 3000 }, packet.ErrTooLong, ""},
		{"address absurdly long", nil, "a,b", func(r *Request) { r.InfoLen = 1 << 62 }, packet.ErrTooLong, ""},
		{"legs too long", nil, "*20:*2", nil, packet.ErrTooLong, ""},
		{"named legs too long", nil, strings.Repeat("a,", 30) + "a:b", nil, packet.ErrTooLong, "32 hops"},
		{"far too long", nil, "*32,*32,*32:a", nil, packet.ErrTooLong, "more than 64"},

		{"unknown name", nil, "zz,a", nil, ErrUnknownServer, `"zz"`},
		{"file without lookup", nil, "'zz',a", nil, ErrUnknownServer, `"zz"`},
		{"named, but expired", func(d []*directory.Descriptor) []*directory.Descriptor {
			d[0].ValidUntil = end.Add(-time.Second)
			return d
		}, "a,b", nil, ErrNotUsable, "no descriptor of a is valid"},
		{"named with another version", nil, "v,a", nil, ErrNotUsable, "packets of version"},
		{"named without connections", func(d []*directory.Descriptor) []*directory.Descriptor { d[0].Incoming = nil; return d }, "a,b", nil, ErrNotUsable, "takes no connections"},
		{"old server first", func(d []*directory.Descriptor) []*directory.Descriptor { old(d[0]); return d }, "a,b", nil, ErrNotUsable, "first hop"},
		{"cannot relay", func(d []*directory.Descriptor) []*directory.Descriptor { old(d[1]); return d }, "a,b:c", nil, ErrRelay, "a to b"},
		{"exit does not relay", func(d []*directory.Descriptor) []*directory.Descriptor { exitOnly(d[1]); return d }, "a,b:c", nil, ErrRelay, "b to c"},
		{"exit relays to reply block", func(d []*directory.Descriptor) []*directory.Descriptor { exitOnly(d[1]); return d }, "a,b", func(r *Request) {
			*r = Request{Kind: Reply, From: start, Until: end, SURBs: []*packet.SURB{surb(testServer("d").Node().Hop)}}
		}, ErrRelay, "b to d"},
		{"named exit does not deliver", func(d []*directory.Descriptor) []*directory.Descriptor { relayOnly(d[1]); return d }, "a,b", nil, ErrExit, "b does not support SMTP"},
		{"named exit and From", func(d []*directory.Descriptor) []*directory.Descriptor { d[1].SMTP.AllowFrom = false; return d }, "a,b", func(r *Request) { r.UsesFrom = true }, ErrExit, "From"},
		{"address' server does not deliver", func(d []*directory.Descriptor) []*directory.Descriptor { relayOnly(d[1]); return d }, "", func(r *Request) { r.LastHop = "b" }, ErrExit, ""},
		{"address' server unknown", nil, "", func(r *Request) { r.LastHop = "zz" }, ErrUnknownServer, ""},

		{"one hop", nil, "a", nil, ErrTooShort, "2 hops"},
		{"empty leg", nil, "a:*0", nil, ErrTooShort, "each leg"},
		{"reply with swap point", nil, "a:b", func(r *Request) { r.Kind = Reply }, ErrSwap, ""},
		{"SURB with swap point", nil, "a:b", func(r *Request) { r.Kind = SURB }, ErrSwap, ""},

		{"no such kind", nil, "", func(r *Request) { r.Kind = 7 }, ErrRequest, ""},
		{"negative count", nil, "", func(r *Request) { r.Count = -1 }, ErrRequest, ""},
		{"time backwards", nil, "", func(r *Request) { r.Until = start.Add(-1) }, ErrRequest, ""},
		{"two reply blocks for three", nil, "", func(r *Request) {
			*r = Request{Kind: Reply, From: start, Until: end, Count: 3, SURBs: make([]*packet.SURB, 2)}
		}, ErrRequest, ""},
		{"reply blocks for a forward path", nil, "", func(r *Request) { r.SURBs = make([]*packet.SURB, 1) }, ErrRequest, ""},
		{"broken reply block", nil, "", func(r *Request) {
			*r = Request{Kind: Reply, From: start, Until: end, SURBs: []*packet.SURB{{Type: packet.TypeSMTP}}}
		}, ErrRequest, "reply block 1"},
		{"reply with address", nil, "", func(r *Request) { *r = Request{Kind: Reply, From: start, Until: end, LastHop: "a"} }, ErrRequest, ""},
		{"reply with reassembly", nil, "", func(r *Request) { *r = Request{Kind: Reply, From: start, Until: end, Fragments: 3} }, ErrRequest, ""},
	} {
		servers := testServers(5)
		if c.servers != nil {
			servers = c.servers(servers)
		}
		if c.name == "another packet version" {
			servers[3].PacketVersions, servers[4].PacketVersions = []string{"0.4"}, nil
		}
		servers = append(servers[:len(servers):len(servers)], testServer("v", func(d *directory.Descriptor) { d.PacketVersions = []string{"0.4"}; d.ValidUntil = end }))
		if c.name != "named with another version" {
			servers = servers[:len(servers)-1]
		}
		var spec Spec
		if c.spec != "" {
			spec = mustParse(t, c.spec)
		}
		req := forward()
		if c.change != nil {
			c.change(&req)
		}
		paths, warnings, err := Select(seeded(1), servers, spec, req)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, paths, err)
			continue
		}
		text := warningTexts(warnings)
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, c.says) {
			t.Errorf("%s: %q does not say %q", c.name, text, c.says)
		}
	}
}

func each(change func(*directory.Descriptor)) func([]*directory.Descriptor) []*directory.Descriptor {
	return func(ds []*directory.Descriptor) []*directory.Descriptor {
		for _, d := range ds {
			change(d)
		}
		return ds
	}
}

func warningTexts(ws []Warning) string {
	var texts []string
	for _, w := range ws {
		texts = append(texts, w.String())
	}
	return strings.Join(texts, "; ")
}

func codes(ws []Warning) []WarningCode {
	var out []WarningCode
	for _, w := range ws {
		out = append(out, w.Code)
	}
	slices.Sort(out)
	return out
}

func TestFixedPaths(t *testing.T) {
	notA := func(r *Request) { r.Recommended = func(d *directory.Descriptor) bool { return d.Nickname != "a" } }
	for _, c := range []struct {
		spec   string
		change func(*Request)
		want   string
		warn   []WarningCode
	}{
		{"a,b:c,d", nil, "a,b:c,d", nil},
		{"A,b , c,D", nil, "a,b:c,d", nil},
		{"a,b,c,d,e", nil, "a,b,c:d,e", []WarningCode{WarnFamily}},
		{"*0,a,b:*0,c,d", nil, "a,b:c,d", nil},
		{"a:b", nil, "a:b", []WarningCode{WarnShort}},
		{"a,b,c", nil, "a,b:c", []WarningCode{WarnShort}},
		{"a,b:a,c", nil, "a,b:a,c", []WarningCode{WarnRepeat}},
		{"a,a:a,a", nil, "a,a:a,a", []WarningCode{WarnRepeat}},
		{"'a',b:\"c\",d", nil, "a,b:c,d", nil},
		{"a,b:c,d", notA, "a,b:c,d", []WarningCode{WarnNotRecommended}},
		{"a,b:c,d", func(r *Request) { r.BlockServers = []string{"B"} }, "a,b:c,d", []WarningCode{WarnBlocked}},
		{"a,b:c,d", func(r *Request) { r.BlockEntries, r.BlockExits = []string{"a", "b"}, []string{"d", "c"} }, "a,b:c,d", []WarningCode{WarnBlocked, WarnBlocked}},
		{"a,b:c,d", func(r *Request) { r.Exit = 0x0123 }, "a,b:c,d", []WarningCode{WarnUnknownExit}},
		{"A,e:c,d", nil, "a,e:c,d", []WarningCode{WarnFamily}},
		{"a,b:c", func(r *Request) { r.LastHop = "e" }, "a,b:c,e", []WarningCode{WarnFamily}},
		{"a,b", func(r *Request) { r.Kind = SURB }, "a,b", []WarningCode{WarnShort}},
		{"a", func(r *Request) { r.Kind, r.Exit = Reply, 0 }, "a", []WarningCode{WarnShort}},
		{"a,b,c", func(r *Request) { r.LastHop = "D" }, "a,b:c,d", nil},
		{"a,b,c,d", func(r *Request) { r.LastHop = "D" }, "a,b:c,d", nil},
		{"a,b:c", func(r *Request) { r.LastHop = "D" }, "a,b:c,d", nil},
		{"a,b,c", func(r *Request) { r.LastHop, r.Kind = "d", SURB }, "a,b,c,d", nil},
		{"a", func(r *Request) { r.LastHop = "b" }, "a:b", []WarningCode{WarnShort}},
		{"a:*0", func(r *Request) { r.LastHop = "b" }, "a:b", []WarningCode{WarnShort}},
	} {
		req := forward()
		if c.change != nil {
			c.change(&req)
		}
		servers := testServers(5)
		servers[0].Family, servers[4].Family = []string{servers[4].Fingerprint()}, []string{"x", "A"}
		servers[1].Family = []string{"c"} // which knows nothing of it
		// Nothing is random here, so nothing may be drawn.
		paths, warnings, err := Select(&script{}, servers, mustParse(t, c.spec), req)
		if err != nil || len(paths) != 1 {
			t.Errorf("%s: %v, %v", c.spec, paths, err)
			continue
		}
		if paths[0].String() != c.want || !slices.Equal(codes(warnings), c.warn) {
			t.Errorf("%s: %v, warnings %v", c.spec, paths[0], warnings)
		}
	}
}

func TestDefaultAppliesTheAddressServer(t *testing.T) {
	req := forward()
	req.Exit, req.LastHop, req.Count = packet.TypeMBOX, "C", 200
	req.Recommended = func(d *directory.Descriptor) bool { return d.Nickname != "c" }
	paths, warnings, err := Select(seeded(1), testServers(4), Spec{}, req)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range paths {
		seen[p.String()] = true
		if p.Last().Nickname != "c" || len(p.Leg1) != 2 || len(p.Leg2) != 2 {
			t.Fatalf("%v", p)
		}
	}
	if len(seen) != 6 || !slices.Equal(codes(warnings), []WarningCode{WarnNotRecommended}) {
		t.Errorf("%d different paths, warnings %v", len(seen), warnings)
	}
}

// The last hop before a reply block is not the first hop of the block, as long as there is any other.
func TestReplyAvoidsTheNextHop(t *testing.T) {
	servers := testServers(4)
	info := servers[1].Node().AppendRoutingInfo(nil)
	req := Request{Kind: Reply, From: start, Until: end}
	for range 500 {
		req.SURBs = append(req.SURBs, &packet.SURB{Type: packet.TypeSwapFwdHost, Info: info})
	}
	paths, _, err := Select(seeded(1), servers, Spec{}, req)
	if err != nil || len(paths) != 500 {
		t.Fatalf("%d paths, %v", len(paths), err)
	}
	for _, p := range paths {
		if len(p.Leg1) != 4 || len(p.Leg2) != 0 || p.Last().Nickname == "b" {
			t.Fatalf("%v", p)
		}
	}
	req.SURBs = req.SURBs[:1]
	for i := range servers {
		if i != 1 {
			exitOnly(servers[i])
		}
	}
	paths, _, err = Select(seeded(1), servers, mustParse(t, "?"), req)
	if err != nil || paths[0].String() != "b" {
		t.Errorf("the only server that relays was not taken: %v, %v", paths, err)
	}
}

func TestLookup(t *testing.T) {
	filed := testServer("filed")
	req := forward()
	req.Lookup = func(name string) (*directory.Descriptor, error) {
		if name == "./desc" {
			return filed, nil
		}
		return nil, errors.New("no such file")
	}
	spec := mustParse(t, "./desc,a:b,'./desc'")
	paths, _, err := Select(seeded(1), testServers(4), spec, req)
	if err != nil || paths[0].String() != "filed,a:b,filed" || paths[0].First() != filed {
		t.Errorf("%v, %v", paths, err)
	}
	if _, _, err := Select(seeded(1), testServers(4), mustParse(t, "./other,a"), req); !errors.Is(err, ErrUnknownServer) || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	filed.ValidUntil = end.Add(-time.Hour)
	if _, _, err := Select(seeded(1), testServers(4), spec, req); !errors.Is(err, ErrNotUsable) {
		t.Error(err)
	}
	filed = testServer("A", func(d *directory.Descriptor) { d.Identity = &rsa.PublicKey{N: big.NewInt(99), E: 65537} })
	if _, _, err := Select(seeded(1), testServers(4), spec, req); !errors.Is(err, directory.ErrConflict) {
		t.Errorf("file under a name that belongs to another key: %v", err)
	}
}

func TestRandomSourceFails(t *testing.T) {
	for _, spec := range []string{"", "~3", "?,a", "*9,?", "a,?,b"} {
		var s Spec
		if spec != "" {
			s = mustParse(t, spec)
		}
		for n := range 6 {
			rnd := &script{words: make([]uint64, n)}
			if p, _, err := Select(rnd, testServers(5), s, forward()); err == nil && n < 1 {
				t.Errorf("%q: %v without any randomness", spec, p)
			}
		}
	}
}

func TestNodes(t *testing.T) {
	paths, _, err := Select(&script{}, testServers(4), mustParse(t, "a,b:c,d"), forward())
	if err != nil {
		t.Fatal(err)
	}
	leg1, leg2 := paths[0].Nodes()
	if len(leg1) != 2 || len(leg2) != 2 || leg2[1].KeyID != paths[0].Last().KeyID() || leg1[0].PacketKey != paths[0].First().PacketKey {
		t.Errorf("%v, %v", leg1, leg2)
	}
}

func BenchmarkSelectDefault(b *testing.B) {
	for _, c := range []struct {
		name     string
		servers  int
		families int // servers in each
	}{{"100 servers", 100, 0}, {"1000 servers", 1000, 0}, {"1000 servers in families of 20", 1000, 20}} {
		b.Run(c.name, func(b *testing.B) {
			servers, rnd, req := testServers(c.servers), seeded(1), forward()
			req.Count = 22
			for i, d := range servers {
				if c.families > 0 {
					for _, relative := range servers[i/c.families*c.families:][:c.families] {
						d.Family = append(d.Family, relative.Fingerprint())
					}
				}
			}
			for b.Loop() {
				if _, _, err := Select(rnd, servers, Spec{}, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
