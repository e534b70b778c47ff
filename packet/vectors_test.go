package packet_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type server struct {
	Nickname, Host string
	Port           uint16
	KeyID          hexBytes
	PacketKey      []byte `json:"packet_key_pkcs1_der"`

	key *rsa.PrivateKey
}

func (s *server) node() packet.Node {
	return packet.Node{Hop: packet.Hop{Host: s.Host, Port: s.Port, KeyID: crypt.KeyID(s.KeyID)}, PacketKey: &s.key.PublicKey}
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func servers(t testing.TB) map[string]*server {
	t.Helper()
	var list []*server
	load(t, "servers.json", &list)
	byName := map[string]*server{}
	for _, s := range list {
		key, err := x509.ParsePKCS1PrivateKey(s.PacketKey)
		if err != nil {
			t.Fatal(err)
		}
		s.key = key
		byName[s.Nickname] = s
	}
	return byName
}

func unwrapper(t testing.TB, keys ...*rsa.PrivateKey) *packet.Unwrapper {
	t.Helper()
	var decs []crypt.Decrypter
	for _, k := range keys {
		d, err := crypt.StdProvider{}.Decrypter(k)
		if err != nil {
			t.Fatal(err)
		}
		decs = append(decs, d)
	}
	u, err := packet.NewUnwrapper(decs...)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

type packetCase struct {
	Name, Packet string
	Steps        []struct {
		Action, Server string
		NextHost       string   `json:"next_host"`
		NextPort       uint16   `json:"next_port"`
		NextKeyID      hexBytes `json:"next_keyid"`
		PacketSHA1     hexBytes `json:"packet_sha1"`
		Address        []byte
		AppKey         hexBytes           `json:"application_key"`
		PayloadSHA1    hexBytes           `json:"payload_sha1"`
		Type           packet.RoutingType `json:"routing_type"`
		Tag            hexBytes
	}
}

func readPacket(t testing.TB, name string) *packet.Packet {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != packet.Size {
		t.Fatalf("%s has %d bytes", name, len(data))
	}
	return (*packet.Packet)(data)
}

// TestUnwrapVectors takes packets of the first implementation through all their hops.
func TestUnwrapVectors(t *testing.T) {
	known := servers(t)
	var cases []packetCase
	load(t, "packets.json", &cases)
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			p := readPacket(t, c.Packet)
			for i, step := range c.Steps {
				res, err := unwrapper(t, known[step.Server].key).Unwrap(p)
				if err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				switch step.Action {
				case "relay":
					want := packet.Hop{Host: step.NextHost, Port: step.NextPort, KeyID: crypt.KeyID(step.NextKeyID)}
					if sum := sha1.Sum(p[:]); res.Action != packet.Relay || res.Next != want || !bytes.Equal(sum[:], step.PacketSHA1) {
						t.Fatalf("step %d: %+v", i, res)
					}
				case "deliver":
					if res.Action != packet.Deliver || res.Type != step.Type || !bytes.Equal(res.ApplicationKey[:], step.AppKey) {
						t.Fatalf("step %d: %+v", i, res)
					}
					tag, address, err := packet.SplitTag(res.Type, res.Info)
					if err != nil || tag == nil || !bytes.Equal(tag[:], step.Tag) || !bytes.Equal(address, step.Address) {
						t.Fatalf("step %d: tag %x address %q: %v", i, tag, address, err)
					}
					if sum := sha1.Sum(p[2*packet.HeaderLen:]); !bytes.Equal(sum[:], step.PayloadSHA1) {
						t.Fatalf("step %d: payload differs", i)
					}
				case "drop":
					if res.Action != packet.Drop {
						t.Fatalf("step %d: %+v", i, res)
					}
				default:
					t.Fatalf("unknown action %q", step.Action)
				}
			}
		})
	}
}

func TestSURBVectors(t *testing.T) {
	var want struct {
		Address string
		Path    []string
		SURBs   []struct {
			Key        hexBytes `json:"encryption_key"`
			Expires    int64
			HeaderSHA1 hexBytes           `json:"header_sha1"`
			Info       []byte             `json:"routing_info"`
			Type       packet.RoutingType `json:"routing_type"`
		}
	}
	load(t, "surbs.json", &want)
	bin, err := os.ReadFile("testdata/surbs.bin")
	if err != nil {
		t.Fatal(err)
	}
	asc, err := os.ReadFile("testdata/surbs.asc")
	if err != nil {
		t.Fatal(err)
	}
	surbs, err := packet.ParseSURBs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(surbs) != len(want.SURBs) {
		t.Fatalf("%d blocks", len(surbs))
	}
	known := servers(t)
	var again []byte
	for i, s := range surbs {
		w := want.SURBs[i]
		sum := sha1.Sum(s.Header[:])
		if s.Expires.Unix() != w.Expires || !bytes.Equal(sum[:], w.HeaderSHA1) || !bytes.Equal(s.Key[:], w.Key) ||
			s.Type != w.Type || !bytes.Equal(s.Info, w.Info) {
			t.Errorf("block %d: fields differ", i)
		}
		if hop, err := s.FirstHop(); err != nil || hop != known[want.Path[0]].node().Hop {
			t.Errorf("block %d: first hop %v, %v", i, hop, err)
		}
		again = s.AppendBinary(again)
	}
	if !bytes.Equal(again, bin) {
		t.Error("binary form differs")
	}
	if got := packet.ArmorSURBs(surbs); !bytes.Equal(got, asc) {
		t.Errorf("armored form differs")
	}
	fromArmor, err := packet.ParseArmoredSURBs(asc)
	if err != nil || len(fromArmor) != len(surbs) {
		t.Fatalf("%d armored blocks: %v", len(fromArmor), err)
	}
	for i := range surbs {
		if fromArmor[i].ID() != surbs[i].ID() {
			t.Errorf("armored block %d differs", i)
		}
	}
}
