package client_test

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"mixminion/client"
	"mixminion/packet"
)

// Packets that were never picked leave in place of any dummy, the others only where a dummy goes to their first hop.
func TestPick(t *testing.T) {
	c, _, home := newHome(t)
	lock(t, c)
	hops := []packet.Hop{{Host: "alder.example.net", Port: 1}, {Host: "birch.example.net", Port: 1}, {Host: "birch.example.net", Port: 2}}
	p := new(client.Prepared)
	for _, h := range hops[:2] {
		pk := client.PreparedPacket{First: h, Packet: new(packet.Packet)}
		if _, err := rand.Read(pk.Packet[:]); err != nil {
			t.Fatal(err)
		}
		p.Packets = append(p.Packets, pk)
	}
	enqueue(t, c, p)
	pick := func(skip func(string) bool, dummies ...packet.Hop) (names []string) {
		t.Helper()
		picked, err := c.Pick(dummies, skip)
		if err != nil || len(picked) != len(dummies) {
			t.Fatal(len(picked), err)
		}
		for _, pk := range picked {
			if pk.ID == "" {
				names = append(names, "-")
				continue
			}
			want := p.Packets[slices.Index(hops, pk.First)]
			if *pk.Packet != *want.Packet {
				t.Error("another packet")
			}
			names = append(names, pk.First.Host[:5])
		}
		return names
	}
	check := func(got []string, want string) {
		t.Helper()
		if s := strings.Join(got, " "); s != want {
			t.Errorf("picked %q, want %q", s, want)
		}
	}
	// Both are new, and come first, in any order.
	first := pick(nil, hops[2], hops[2], hops[0])
	slices.Sort(first[:2])
	check(first, "alder birch -")

	check(pick(nil, hops[2], hops[2]), "- -")
	check(pick(nil, hops[1], hops[0], hops[1]), "birch alder -")
	claimed := queueNames(t, home)
	check(pick(func(id string) bool { return slices.Contains(claimed, id) }, hops[0]), "-")
	for _, q := range checkQueue(t, c, home, 2) {
		if err := c.RemoveSent(q.ID); err != nil {
			t.Error(err)
		}
	}
	check(pick(nil, hops[0]), "-")
}
