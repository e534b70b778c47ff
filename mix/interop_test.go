package mix_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mixminion/delivery"
	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/firstimpl"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/packet"
)

// oldNode is the mix as 0.0.8 sees it.
func (r *rig) oldNode() firstimpl.Node {
	return firstimpl.Node{Host: r.node.Host, Port: r.node.Port, KeyID: r.node.KeyID[:], Key: r.node.PacketKey}
}

// TestInteropFragmentsAtExit: a mix puts together and delivers the message whose fragments the first implementation
// made, wrapped as it wraps.
func TestInteropFragmentsAtExit(t *testing.T) {
	const vectors = "../message/testdata/"
	var file struct {
		Server struct {
			Address  string
			Seed     string `json:"message_is_newline_plus_prng_of"`
			Length   int    `json:"message_length"`
			File     string `json:"payload_file"`
			Size     int    `json:"payload_size"`
			Payloads int
			Type     uint16 `json:"routing_type"`
		} `json:"server_side"`
	}
	text, err := os.ReadFile(vectors + "fragments.json")
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	v := file.Server
	all, err := os.ReadFile(vectors + v.File)
	if err != nil || len(all) != v.Payloads*v.Size {
		t.Fatalf("%d bytes: %v", len(all), err)
	}
	seed, err := hex.DecodeString(v.Seed)
	if err != nil {
		t.Fatal(err)
	}
	exit := &wholeExit{}
	r := gatherRig(t, exit, nil).run()
	way := []firstimpl.Node{r.oldNode()}
	var packets []*packet.Packet
	for payload := range slices.Chunk(all, v.Size) {
		p, err := firstimpl.BuildForward(rand.Reader, way, way, firstimpl.Exit{Type: uint16(packet.TypeFragment)}, payload)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, (*packet.Packet)(p))
	}
	slices.Reverse(packets)
	r.mustSend(packets...)
	r.mixOnce()
	eventually(t, "the message is delivered", func() bool { return len(exit.seen()) == 1 })
	got := exit.seen()[0]
	if uint16(got.Type) != v.Type || string(got.Info) != v.Address {
		t.Errorf("delivered as %v", got.Type)
	}
	d, err := message.DecodeReassembled(got.Reassembled)
	if err != nil || !bytes.Equal(d.Body, crypt.Stream(crypt.Key(seed), v.Length)) {
		t.Errorf("another message: %v", err)
	}
}

// TestInteropPacketsThroughMix: a packet as 0.0.8 builds it is relayed and delivered by a mix that runs; of the same
// packet twice one. Pings end here.
func TestInteropPacketsThroughMix(t *testing.T) {
	var delivered packet.Payload // an exit keeps no payload
	exit := &wholeExit{answer: func(it delivery.Item) delivery.Outcome {
		delivered = *it.Payload
		return delivery.Outcome{Status: delivery.Delivered}
	}}
	r := gatherRig(t, exit, nil).run()
	payload := make([]byte, packet.PayloadLen)
	sum := sha1.Sum(payload[22:])
	copy(payload[2:], sum[:])
	way := []firstimpl.Node{r.oldNode(), r.oldNode()}
	info := append(make([]byte, packet.TagLen), somebody...)
	built, err := firstimpl.BuildForward(rand.Reader, way, way, firstimpl.Exit{Type: uint16(packet.TypeSMTP), Info: info}, payload)
	if err != nil {
		t.Fatal(err)
	}
	p, again := packet.Packet(built), packet.Packet(built)
	// Its pinger sends these.
	sum = sha1.Sum(payload)
	ping, err := firstimpl.BuildForward(rand.Reader, way, way, firstimpl.Exit{Type: uint16(packet.TypePing), Info: sum[:]}, payload)
	if err != nil {
		t.Fatal(err)
	}
	r.mustSend(&p, &again, (*packet.Packet)(ping))
	r.close()
	if pool, _ := r.stored(); pool != 1 {
		t.Errorf("%d packets in the pool", pool)
	}
	r.run()
	r.mixOnce()
	eventually(t, "the message is delivered", func() bool { return len(exit.seen()) > 0 })
	r.close()
	seen := exit.seen()
	if len(seen) != 1 || seen[0].Type != packet.TypeSMTP || !bytes.Equal(seen[0].Info, info) || !bytes.Equal(delivered[:], payload) {
		t.Errorf("%d deliveries, %+v", len(seen), seen)
	}
}

// TestInteropMaximumFragments: an exit that puts a megabyte together says so with the number of packets that 0.0.8 says.
func TestInteropMaximumFragments(t *testing.T) {
	c, err := fromConfig(t, fullConfig)
	if err != nil {
		t.Fatal(err)
	}
	var f directory.Fields
	for _, x := range c.Exits {
		x.Advertise(&f)
	}
	g, err := message.NewGeometry(1<<20, 0)
	if err != nil || g.Packets() != 66 || f.Fragmented == nil || f.Fragmented.MaximumFragments != 66 {
		t.Errorf("%d packets, %+v: %v", g.Packets(), f.Fragmented, err)
	}
}

// TestInteropPublishedDescriptors: what a mix with all options on writes for publication passes the rules of 0.0.8,
// which finds there how to reach it, and skips what is new.
func TestInteropPublishedDescriptors(t *testing.T) {
	for _, c := range []struct {
		name, change, by string
		skipped          []string
	}{
		{"all", "", "", []string{"Delivery/SMTP/Maximum-Recipients", "Server/MyFamily"}},
		{"no family", "MyFamily: 0123456789abcdef0123456789abcdef01234567, south\n", "", []string{"Delivery/SMTP/Maximum-Recipients"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			users := filepath.Join(dir, "users")
			mustWrite(t, users, []byte("bob: bob@home.example\n"))
			text := fullConfig + "[Delivery/MBOX]\nEnabled: yes\nAddressFile: " + users + "\nRemoveContact: stop@example.com\n" +
				"ReturnAddress: nobody@example.com\nSMTPServer: localhost\n"
			for _, change := range [][2]string{
				{"BaseDir: ~/mix", "BaseDir: " + dir}, {"QueueDir: /queues\n", ""}, {"IdentityKeyBits: 3072\n", ""}, {"IPv4: no\n", ""}, {c.change, c.by},
			} {
				text = strings.Replace(text, change[0], change[1], 1)
			}
			cfg, err := fromConfig(t, text)
			if err != nil {
				t.Fatal(err)
			}
			copyKeys(t, cfg.KeyDir)
			cfg.Clock = newTestClock(start)
			m, err := mix.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}()
			files, err := filepath.Glob(filepath.Join(cfg.KeyDir, "key_*", "ServerDesc"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%q: %v", files, err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				d, err := firstimpl.ReadDescriptor(string(text), start)
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				id := m.KeyID()
				if d.Host != "mix.example.com" || d.Port != 1234 || string(d.KeyID) != string(id[:]) || !d.StartsPaths() || !d.CanRelayTo(d) ||
					len(d.Exits) != 3 {
					t.Errorf("0.0.8 reads %+v", d)
				}
				// Entries about the link are for our own servers alone.
				d.Skipped = slices.DeleteFunc(d.Skipped, func(s string) bool { return strings.HasSuffix(s, "/MMTP/TLS-Versions") })
				slices.Sort(d.Skipped)
				if !slices.Equal(d.Skipped, c.skipped) {
					t.Errorf("0.0.8 skips %q", d.Skipped)
				}
			}
		})
	}
}
