package message_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/packet"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(read(t, name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decrypter(t testing.TB, der []byte) crypt.Decrypter {
	t.Helper()
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	d, err := crypt.StdProvider{}.Decrypter(key)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCompressVectors(t *testing.T) {
	var file struct {
		Compress []struct{ Message, Compressed []byte }
	}
	readJSON(t, "primitives.json", &file)
	for i, v := range file.Compress {
		if got := message.Compress(v.Message); !bytes.Equal(got, v.Compressed) {
			t.Errorf("%d: compresses to other bytes", i)
		}
		got, err := message.Decompress(v.Compressed, len(v.Message))
		if err != nil || !bytes.Equal(got, v.Message) {
			t.Errorf("%d: does not come back: %v", i, err)
		}
		if _, err := message.Decompress(v.Compressed, len(v.Message)-1); !errors.Is(err, message.ErrOvercompressed) {
			t.Errorf("%d: one byte over the limit: %v", i, err)
		}
	}
}

type server struct {
	Nickname string
	Key      []byte `json:"packet_key_pkcs1_der"`
}

type packetCase struct {
	Name, Packet string
	Message      []byte
	Recipient    []byte `json:"recipient_key_pkcs1_der"`
	Secret       string `json:"surb_secret"`
	Steps        []struct {
		Server, Action string
		Payload        string `json:"payload_sha1"`
		Tag            string
	}
}

// Whole packets are carried along their path and then decoded by the exit and, if need be, by the recipient.
func TestPacketVectors(t *testing.T) {
	var servers []server
	readJSON(t, "servers.json", &servers)
	keys := map[string]crypt.Decrypter{}
	for _, s := range servers {
		keys[s.Nickname] = decrypter(t, s.Key)
	}
	var cases []packetCase
	readJSON(t, "packets.json", &cases)
	for _, tc := range cases {
		t.Run(tc.Name, func(t *testing.T) {
			t.Parallel()
			p := packet.Packet(read(t, tc.Packet))
			var res packet.Result
			for _, step := range tc.Steps {
				u, err := packet.NewUnwrapper(keys[step.Server])
				if err != nil {
					t.Fatal(err)
				}
				if res, err = u.Unwrap(&p); err != nil {
					t.Fatal(err)
				}
			}
			last := tc.Steps[len(tc.Steps)-1]
			if last.Action != "deliver" {
				return
			}
			payload := (*packet.Payload)(p[2*packet.HeaderLen:])
			tag := packet.Tag(unhex(t, last.Tag))
			if sum := sha1.Sum(payload[:]); hex.EncodeToString(sum[:]) != last.Payload {
				t.Fatal("wrong payload")
			}
			if !bytes.HasPrefix(res.Info, tag[:]) {
				t.Fatal("wrong tag")
			}
			checkPacketCase(t, tc, tag, payload)
		})
	}
}

func checkPacketCase(t *testing.T, tc packetCase, tag packet.Tag, payload *packet.Payload) {
	var keys message.Keys
	want := message.Opener{}
	if tc.Secret != "" {
		keys.Identities = []message.Identity{{Name: "other", Secret: []byte("some other secret")}, {Name: "dave", Secret: unhex(t, tc.Secret)}}
		want = message.Opener{Via: message.ViaIdentity, Name: "dave"}
	}
	if tc.Recipient != nil {
		keys.Private = []message.PrivateKey{{Name: "carol", Key: decrypter(t, tc.Recipient)}}
		want = message.Opener{Via: message.ViaKey, Name: "carol"}
	}
	d, err := message.DecodeForExit(payload, tag)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := want.Via != message.ViaNone
	if (d.Form == message.FormEncrypted) != encrypted {
		t.Fatalf("the exit calls it %s", d.Form)
	}
	opened, err := message.Open(tag, payload, keys)
	if err != nil {
		t.Fatal(err)
	}
	if opened.By != want {
		t.Errorf("opened by %v, not %v", opened.By, want)
	}
	msg, err := opened.Message(0)
	if err != nil || !bytes.Equal(msg, tc.Message) {
		t.Errorf("wrong message, %v", err)
	}
	if !encrypted {
		h, body := message.ParseHeaders(tc.Message)
		if d.Headers != h || !bytes.Equal(d.Body, body) {
			t.Error("the exit delivers something else")
		}
		return
	}
	if _, err := message.Open(tag, payload, message.Keys{}); !errors.Is(err, message.ErrNotForUs) {
		t.Errorf("without keys: %v", err)
	}
}

type armorCase struct {
	Name, File, Tag string
	Message         []byte
	MessageFile     string `json:"message_file"`
	Count           int
}

func armorCases(t testing.TB) []armorCase {
	var cases []armorCase
	readJSON(t, "armor.json", &cases)
	return cases
}

// What an exit makes of a message is the vector, byte for byte.
func TestArmorVectors(t *testing.T) {
	for _, tc := range armorCases(t) {
		if tc.Count > 0 {
			continue // fragments have random parts: see TestArmoredFragments
		}
		t.Run(tc.Name, func(t *testing.T) {
			e, err := message.Encode(newRand(1), tc.Message, 0)
			if err != nil || len(e.Payloads) != 1 {
				t.Fatal(err)
			}
			d, err := message.DecodeForExit(&e.Payloads[0], packet.Tag(unhex(t, tc.Tag)))
			if err != nil {
				t.Fatal(err)
			}
			text := read(t, tc.File)
			if !bytes.Equal(d.Armor(), text) {
				t.Errorf("armored differently:\n%s", d.Armor())
			}
			back, err := message.ParseDelivered(text)
			if err != nil || len(back) != 1 {
				t.Fatal(err)
			}
			if back[0].Form != d.Form || !bytes.Equal(back[0].Body, d.Body) {
				t.Error("read differently")
			}
			checkArmorContents(t, tc, &back[0])
		})
	}
}

func checkArmorContents(t *testing.T, tc armorCase, d *message.Delivered) {
	opened, err := d.Open(message.Keys{})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := opened.Message(0)
	want := tc.Message
	if d.Form == message.FormOvercompressed {
		if !errors.Is(err, message.ErrOvercompressed) {
			t.Errorf("expands without being asked to: %v", err)
		}
		msg, err = opened.Message(len(want))
	} else {
		_, want = message.ParseHeaders(want)
	}
	if err != nil || !bytes.Equal(msg, want) {
		t.Errorf("wrong contents, %v", err)
	}
}

func TestArmoredFragments(t *testing.T) {
	for _, tc := range armorCases(t) {
		if tc.Count == 0 {
			continue
		}
		text := read(t, tc.File)
		list, err := message.ParseDelivered(text)
		if err != nil || len(list) != tc.Count {
			t.Fatal(len(list), err)
		}
		var again []byte
		var a *message.Assembly
		data := map[uint32][]byte{}
		for i := range list {
			p := packet.Payload(list[i].Body)
			d, err := message.DecodeForExit(&p, packet.Tag{})
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, d.Armor()...)
			opened, err := list[i].Open(message.Keys{})
			if err != nil || opened.Kind != message.KindFragment {
				t.Fatal(opened.Kind, err)
			}
			f := opened.Fragment
			if a == nil {
				if a, err = message.NewAssembly(f, opened.By); err != nil {
					t.Fatal(err)
				}
			}
			if keep, err := a.Add(f, opened.By); err != nil {
				t.Fatal(err)
			} else if keep {
				data[f.Index] = f.Data
			}
		}
		if !bytes.Equal(again, text) {
			t.Error("armored differently")
		}
		compressed, err := a.Reassemble(func(i uint32) ([]byte, error) { return data[i], nil })
		if err != nil {
			t.Fatal(err)
		}
		msg, err := message.Decompress(compressed, message.ReassembledLimit(len(compressed)))
		if err != nil {
			t.Fatal(err)
		}
		if _, body := message.ParseHeaders(msg); !bytes.Equal(body, read(t, tc.MessageFile)) {
			t.Error("wrong message")
		}

	}
}

func TestReplyVectors(t *testing.T) {
	var surbs struct{ Secret string }
	readJSON(t, "surbs.json", &surbs)
	var packets []packetCase
	readJSON(t, "packets.json", &packets)
	keys := message.Keys{Identities: []message.Identity{{Name: "dave", Secret: unhex(t, surbs.Secret)}}}
	keys.Identities = append(keys.Identities, keyringIdentities(t)...)
	open := func(file, identity string) []byte {
		text := read(t, file)
		list, err := message.ParseDelivered(text)
		if err != nil || len(list) != 1 || list[0].Form != message.FormEncrypted {
			t.Fatal(file, err)
		}
		if !bytes.Equal(list[0].Armor(), text) {
			t.Error(file, "is armored differently")
		}
		opened, err := list[0].Open(keys)
		if err != nil || opened.By != (message.Opener{Via: message.ViaIdentity, Name: identity}) {
			t.Fatal(file, opened.By, err)
		}
		msg, err := opened.Message(0)
		if err != nil {
			t.Fatal(file, err)
		}
		return msg
	}
	for _, p := range packets {
		if p.Secret != "" && !bytes.Equal(open("reply.asc", "dave"), p.Message) {
			t.Error("reply.asc: wrong message")
		}
	}
	_, body := message.ParseHeaders(open("reply-marktwain.asc", "marktwain"))
	if !bytes.Equal(body, read(t, "reply-marktwain.txt")) {
		t.Error("reply-marktwain.asc: wrong message")
	}
}

func keyringIdentities(t testing.TB) []message.Identity {
	var file struct {
		Keys []struct{ Identity, Secret string }
	}
	readJSON(t, "keyring.json", &file)
	var list []message.Identity
	for _, k := range file.Keys {
		list = append(list, message.Identity{Name: k.Identity, Secret: unhex(t, k.Secret)})
	}
	return list
}

type fragmentsFile struct {
	Geometry []struct {
		Length, Overhead, K, N, Chunks int
		Capacity                       int   `json:"fragment_capacity"`
		Padded                         int64 `json:"padded_length"`
	}
	Server struct {
		Address     string
		Seed        string `json:"message_is_newline_plus_prng_of"`
		Length      int    `json:"message_length"`
		File        string `json:"payload_file"`
		Size        int    `json:"payload_size"`
		Payloads    int
		RoutingType uint16 `json:"routing_type"`
	} `json:"server_side"`
}

func TestGeometryVectors(t *testing.T) {
	var file fragmentsFile
	readJSON(t, "fragments.json", &file)
	for _, v := range file.Geometry {
		g, err := message.NewGeometry(int64(v.Length), v.Overhead)
		want := message.Geometry{Capacity: v.Capacity, K: v.K, N: v.N, Chunks: v.Chunks}
		if err != nil || g != want || g.PaddedLen() != v.Padded {
			t.Errorf("%d bytes, overhead %d: %+v padded to %d, %v", v.Length, v.Overhead, g, g.PaddedLen(), err)
		}
	}
}

// The payloads of a message that the first implementation made for an exit to put together.
func TestServerSideVector(t *testing.T) {
	var file fragmentsFile
	readJSON(t, "fragments.json", &file)
	v := file.Server
	all := read(t, v.File)
	want := append([]byte("\n"), crypt.Stream(crypt.Key(unhex(t, v.Seed)), v.Length)...)
	if len(all) != v.Size*v.Payloads {
		t.Fatal("wrong file length")
	}
	var fragments []*message.Fragment
	for p := range bytesChunks(all, v.Size) {
		d, err := message.DecodePayload((*packet.Payload)(p))
		if err != nil || d.Kind != message.KindFragment {
			t.Fatal(err)
		}
		fragments = append(fragments, d.Fragment)
	}
	for first := range fragments {
		order := append(append([]*message.Fragment{}, fragments[first:]...), fragments[:first]...)
		whole, err := reassemble(order)
		if err != nil {
			t.Fatal(err)
		}
		to, compressed, err := message.ParseServerSide(whole)
		if err != nil || string(to.Info) != v.Address || to.Type != packet.RoutingType(v.RoutingType) {
			t.Fatalf("goes to %v, %v", to.Type, err)
		}
		d, err := message.DecodeReassembled(compressed)
		if err != nil || d.Form != message.FormBinary || !bytes.Equal(d.Body, want[1:]) {
			t.Error("wrong message", err)
		}
	}
	// The same message encoded by us has the same data packets, since nothing but padding and ID is random.
	e, err := message.EncodeForServer(newRand(1), want, packet.RoutingType(v.RoutingType), []byte(v.Address))
	if err != nil || !e.Fragmented || len(e.Payloads) != v.Payloads {
		t.Fatal(len(e.Payloads), err)
	}
	for i, p := range e.Payloads {
		d, err := message.DecodePayload(&p)
		if err != nil || int(d.Fragment.Index) != i || d.Fragment.Size != fragments[i].Size {
			t.Fatal(err)
		}
		if end := (i + 1) * len(d.Fragment.Data); end <= int(d.Fragment.Size) && !bytes.Equal(d.Fragment.Data, fragments[i].Data) {
			t.Errorf("packet %d differs", i)
		}
	}
}
