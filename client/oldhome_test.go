package client_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/client/pickle"
	"mixminion/internal/clock"
	"mixminion/internal/config"
	"mixminion/packet"
)

// oldQueued is the packet in a file msg_X of Mixminion 0.0.8.
func oldQueued(t *testing.T, file string) (p *packet.Packet, day time.Time) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pickle.Load(data)
	if err != nil {
		t.Fatal(err)
	}
	tuple := v.([]any)
	return (*packet.Packet)(tuple[1].([]byte)), time.Unix(int64(tuple[3].(int)), 0).UTC()
}

// TestOldHomeQueue: the servers and the packet that a user of 0.0.8 has are of use here.
func TestOldHomeQueue(t *testing.T) {
	var want struct {
		For     string `json:"queued_for"`
		Packets int    `json:"queued_packets"`
	}
	readJSON(t, "testdata/home-0.0.8.json", &want)
	home := oldHome(t)
	queue := filepath.Join(home, "queue")
	files, err := filepath.Glob(filepath.Join(queue, "msg_*"))
	if err != nil || len(files) != want.Packets {
		t.Fatalf("%q: %v", files, err)
	}
	p, day := oldQueued(t, files[0])
	c, err := client.Open(home, client.Options{Clock: clock.NewManual(day.Add(36 * time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	servers, err := c.Servers()
	if err != nil || len(servers) == 0 {
		t.Fatalf("%d servers: %v", len(servers), err)
	}
	check := func(when, prefix string) string {
		t.Helper()
		q, err := c.Queue()
		if err != nil || len(q.Packets) != want.Packets || q.Damaged != nil {
			t.Fatalf("%s: %+v: %v", when, q, err)
		}
		got := q.Packets[0]
		for _, d := range servers {
			if d.KeyID() == got.First.KeyID && want.For != fmt.Sprintf("%s at %s", d.Nickname, got.First) {
				t.Errorf("%s: for %s at %s, want %s", when, d.Nickname, got.First, want.For)
			}
		}
		if !got.Day.Equal(day) || !strings.HasPrefix(got.ID, prefix) {
			t.Errorf("%s: %+v", when, got)
		}
		return got.ID
	}
	check("before", "msg_")

	lock(t, c)
	removed, damaged, err := c.Clean(60, nil)
	if err != nil || removed != nil || damaged != 0 {
		t.Fatalf("%v, %d: %v", removed, damaged, err)
	}
	id := check("after", "pkt_")
	if names := queueNames(t, home); !slices.Equal(names, []string{id}) {
		t.Errorf("in the queue: %q", names)
	}
	text, err := os.ReadFile(filepath.Join(queue, id))
	if err != nil || !strings.Contains(string(text), string(p[:])) {
		t.Errorf("the packet has changed: %v", err)
	}
	info, err := os.Stat(filepath.Join(queue, id))
	if err != nil || !info.ModTime().Equal(day) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: %v", info, err)
	}
}

// TestInteropOldClientFile: the configuration file beside that home is read, and nothing in it needs a warning.
func TestInteropOldClientFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(oldHome(t)), ".mixminionrc"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.ParseClient(text, ".mixminionrc")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"UserDir: " + c.User.UserDir.String(), "SURBAddress: " + c.Security.SURBAddress, "SURBLifetime: " + c.Security.SURBLifetime.String(),
		"Timeout: " + c.Network.Timeout.String(),
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("%s does not stand in the file", line)
		}
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
}

// oldPacketFile makes a file msg_X, as 0.0.8 would have for a packet.
func oldPacketFile(p client.PreparedPacket, midnight time.Time) []byte {
	little := func(n, size int) (b []byte) {
		for range size {
			b = append(b, byte(n))
			n >>= 8
		}
		return b
	}
	b := []byte("(U\x08PACKET-0q\x01T")
	b = append(append(b, little(packet.Size, 4)...), p.Packet[:]...)
	b = append(b, "q\x02(cmixminion.Packet\nMMTPHostInfo\nq\x03oq\x04}q\x05(U\x08hostnameq\x06U"...)
	b = append(append(b, byte(len(p.First.Host))), p.First.Host...)
	b = append(append(b, "U\x04portq\x07M"...), little(int(p.First.Port), 2)...)
	b = append(append(b, "U\x07keyinfoq\x08U\x14"...), p.First.KeyID[:]...)
	return append(append(append(b, "ubJ"...), little(int(midnight.Unix()), 4)...), "tq\x09."...)
}

// What 0.0.8 has queued is sent, once, in whatever state it was found.
func TestFlushOld(t *testing.T) {
	c, _, home := newHome(t)
	e := listen(t, mixServers()[0], new(entry))
	lock(t, c)
	p := packets(t, 3, e.hop)
	in := func(name string) string { return filepath.Join(home, "queue", name) }
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(in(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	midnight := noon.Truncate(day)
	for i, pk := range p.Packets {
		write(fmt.Sprintf("msg_%d", i), oldPacketFile(pk, midnight))
		write(fmt.Sprintf("meta_%d", i), []byte("x"))
	}
	// The first was taken over by a process that died before it could delete the old files.
	if _, _, err := c.Clean(60, nil); err != nil {
		t.Fatal(err)
	}
	checkQueue(t, c, home, 3)
	write("msg_0", oldPacketFile(p.Packets[0], midnight))
	write("meta_0", []byte("x"))
	// One died while it wrote, and of one packet the second file was left.
	if err := os.Mkdir(in("new_old"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join("new_old", "pkt_HALF"), []byte("x"))
	write("meta_gone", []byte("x"))
	q, err := c.Queue()
	if err != nil || len(q.Packets) != 3 {
		t.Errorf("%+v: %v", q, err)
	}
	if r := flush(t, c, nil, 0); r.Sent != 3 || r.Kept != 0 || r.Damaged != nil {
		t.Errorf("%+v", r)
	}
	e.checkHas(t, []*packet.Packet{p.Packets[0].Packet, p.Packets[1].Packet, p.Packets[2].Packet})
	checkQueue(t, c, home, 0)
}

// What is no packet of 0.0.8 is left alone, and named.
func TestOldQueueMalformed(t *testing.T) {
	c, _, home := newHome(t)
	hop := mixServers()[0].hop()
	good := func() client.PreparedPacket { return client.PreparedPacket{First: hop, Packet: new(packet.Packet)} }
	midnight := noon.Truncate(day)
	badHost, badPort := good(), good()
	badHost.First.Host, badPort.First.Port = "a b", 0
	whole := string(oldPacketFile(good(), midnight))
	for name, text := range map[string]string{
		"empty":   "",
		"cut off": whole[:len(whole)-1],
		"longer":  whole + ".",
		"other":   strings.Replace(whole, "PACKET-0", "PACKET-9", 1),
		"class":   strings.Replace(whole, "MMTPHostInfo", "MMTPHostInfO", 1),
		"field":   strings.Replace(whole, "keyinfo", "keyInfo", 1),
		"host":    string(oldPacketFile(badHost, midnight)),
		"port":    string(oldPacketFile(badPort, midnight)),
		"day":     string(oldPacketFile(good(), time.Unix(-86400, 0))),
		"tuple":   "(U\x08PACKET-0t.",
		"none":    "N.",
		"call":    "cos\nsystem\n(U\x02idtR.",
		"long":    strings.Repeat("(", pickle.MaxLen+1),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(home, "queue", "msg_bad")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			q, err := c.Queue()
			if err != nil || len(q.Packets) != 0 || len(q.Damaged) != 1 || !strings.Contains(q.Damaged[0].Error(), client.ErrOldForm.Error()) {
				t.Errorf("%+v: %v", q, err)
			}
		})
	}
}
