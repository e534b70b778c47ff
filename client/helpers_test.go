package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/message/keyring"
	"mixminion/packet"
	"mixminion/path"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is what the clocks of the tests show at first.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// A mixServer is a server whose private keys the tests have.
type mixServer struct {
	name                string
	identity, packetKey *rsa.PrivateKey
	unwrapper           *packet.Unwrapper
}

var serverNames = []string{"alder", "birch", "cedar", "dogwood", "elm", "fir"}

// mixServers makes the servers, once: their keys are what takes the time.
var mixServers = sync.OnceValue(func() []*mixServer {
	servers := make([]*mixServer, len(serverNames))
	var made sync.WaitGroup
	for i := range servers {
		made.Go(func() { servers[i] = newMixServer(serverNames[i]) })
	}
	made.Wait()
	return servers
})

func newMixServer(name string) *mixServer {
	key := func() *rsa.PrivateKey {
		k, err := crypt.GenerateKey(2048)
		if err != nil {
			panic(err)
		}
		return k
	}
	s := &mixServer{name: name, identity: key(), packetKey: key()}
	opener, err := crypt.StdProvider{}.Decrypter(s.packetKey)
	if err != nil {
		panic(err)
	}
	if s.unwrapper, err = packet.NewUnwrapper(opener); err != nil {
		panic(err)
	}
	return s
}

func (s *mixServer) host() string { return s.name + ".example.net" }

func (s *mixServer) hop() packet.Hop {
	return packet.Hop{Host: s.host(), Port: 48099, KeyID: crypt.NewKeyID(&s.identity.PublicKey)}
}

// A change makes a server's descriptor different from the others.
type change func(*directory.Fields)

// descriptor is the server's word that it can do everything, for a month.
func (s *mixServer) descriptor(t testing.TB, changes ...change) []byte {
	t.Helper()
	f := directory.Fields{
		Nickname:       s.name,
		Published:      noon.Add(-time.Hour),
		ValidAfter:     noon.Truncate(day),
		ValidUntil:     noon.Truncate(day).Add(30 * day),
		PacketKey:      &s.packetKey.PublicKey,
		PacketVersions: []string{packet.Version},
		Secure:         true,
		Contact:        "operator@example.net",
		Incoming:       &directory.Incoming{Hostname: s.host(), Port: 48099, Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
		Outgoing:       &directory.Outgoing{Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
		SMTP:           &directory.Delivery{MaximumSize: 2048, AllowFrom: true},
		MBOX:           &directory.Delivery{MaximumSize: 2048, AllowFrom: true},
		Fragmented:     &directory.Fragmented{MaximumFragments: 100},
	}
	for _, c := range changes {
		c(&f)
	}
	text, err := directory.SignDescriptor(s.identity, f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// descriptors gives those of all servers, with the same changes.
func descriptors(t testing.TB, changes ...change) []byte {
	t.Helper()
	var text []byte
	for _, s := range mixServers() {
		text = append(text, s.descriptor(t, changes...)...)
	}
	return text
}

// lifetime is a change that shifts a descriptor's publication and sets its days of validity, counted from today.
func lifetime(published time.Duration, after, until int) change {
	return func(f *directory.Fields) {
		f.Published = noon.Add(published)
		f.ValidAfter = noon.Truncate(day).Add(time.Duration(after) * day)
		f.ValidUntil = noon.Truncate(day).Add(time.Duration(until) * day)
	}
}

// newClient opens a new home directory that knows the servers of the texts.
func newClient(t testing.TB, texts ...[]byte) (*client.Client, *clock.Manual) {
	t.Helper()
	c, clk, _ := newHome(t, texts...)
	return c, clk
}

// importTexts imports descriptors under the lock.
func importTexts(t testing.TB, c *client.Client, text []byte) (added []*directory.Descriptor, err error) {
	t.Helper()
	underLock(t, c, func() { added, err = c.Import(text) })
	return added, err
}

// saveKeyring saves a keyring under the lock.
func saveKeyring(t testing.TB, c *client.Client, ring *keyring.Keyring, password []byte) (err error) {
	t.Helper()
	underLock(t, c, func() { err = c.SaveKeyring(ring, password) })
	return err
}

func underLock(t testing.TB, c *client.Client, work func()) {
	t.Helper()
	unlock, err := c.Lock(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	work()
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}

func newHome(t testing.TB, texts ...[]byte) (*client.Client, *clock.Manual, string) {
	t.Helper()
	home := t.TempDir()
	clk := clock.NewManual(noon)
	c, err := client.Open(home, client.Options{Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if _, err := importTexts(t, c, text); err != nil {
			t.Fatal(err)
		}
	}
	return c, clk, home
}

func parseAddress(t testing.TB, s string) client.Address {
	t.Helper()
	a, err := client.ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func parseSpec(t testing.TB, s string) path.Spec {
	t.Helper()
	spec, err := path.ParseSpec(s)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// A journey is what became of a packet that every server on its way unwrapped.
type journey struct {
	route   []string
	headers [][packet.HeaderLen]byte // the first header of what each server sent on
	result  packet.Result
	payload packet.Payload
}

// carry takes a packet through the network.
func carry(t testing.TB, p client.PreparedPacket) journey {
	t.Helper()
	var j journey
	pk, at := *p.Packet, p.First
	for len(j.route) < path.MaxHops {
		i := slices.IndexFunc(mixServers(), func(s *mixServer) bool { return s.hop() == at })
		if i < 0 {
			t.Fatalf("after %v the packet goes to an unknown server", j.route)
		}
		s := mixServers()[i]
		j.route = append(j.route, s.name)
		var err error
		if j.result, err = s.unwrapper.Unwrap(&pk); err != nil {
			t.Fatalf("%v: %v", j.route, err)
		}
		if j.result.Action != packet.Relay {
			copy(j.payload[:], pk[2*packet.HeaderLen:])
			return j
		}
		j.headers = append(j.headers, [packet.HeaderLen]byte(pk[:]))
		at = j.result.Next
	}
	t.Fatal("the packet does not come to its end")
	return j
}

// exit gives the last server's name.
func (j *journey) exit() string { return j.route[len(j.route)-1] }

// delivered checks that the packet leaves at an address, and gives what the exit makes of it.
func (j *journey) delivered(t testing.TB, to client.Address) message.Delivered {
	t.Helper()
	if j.result.Action != packet.Deliver || j.result.Type != to.Type {
		t.Fatalf("fate %v, type %v", j.result.Action, j.result.Type)
	}
	tag, info, err := packet.SplitTag(j.result.Type, j.result.Info)
	if err != nil || tag == nil || !bytes.Equal(info, to.Info) {
		t.Fatalf("tag %v, info %q: %v", tag, info, err)
	}
	d, err := message.DecodeForExit(&j.payload, *tag)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fragment gives the fragment that the packet carries.
func (j *journey) fragment(t testing.TB) *message.Fragment {
	t.Helper()
	d, err := message.DecodePayload(&j.payload)
	if err != nil || d.Kind != message.KindFragment {
		t.Fatalf("payload of kind %v: %v", d.Kind, err)
	}
	return d.Fragment
}

// reassemble puts fragments together, taking them in the order given until there are enough.
func reassemble(t testing.TB, fragments []*message.Fragment) []byte {
	t.Helper()
	a, err := message.NewAssembly(fragments[0], message.Opener{})
	if err != nil {
		t.Fatal(err)
	}
	data := map[uint32][]byte{}
	for _, f := range fragments {
		keep, err := a.Add(f, message.Opener{})
		if err != nil {
			t.Fatal(err)
		}
		if keep {
			data[f.Index] = f.Data
		}
	}
	whole, err := a.Reassemble(func(i uint32) ([]byte, error) { return data[i], nil })
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// checkRoute compares the way that a packet took with what its sender was told of it.
func checkRoute(t testing.TB, p client.PreparedPacket, j journey) {
	t.Helper()
	if want := strings.ReplaceAll(p.Route, ":", ","); strings.Join(j.route, ",") != want {
		t.Errorf("the packet went over %v, its route was to be %s", j.route, p.Route)
	}
}

// distinct reports whether no name comes twice.
func distinct(names []string) bool {
	sorted := slices.Sorted(slices.Values(names))
	return len(slices.Compact(sorted)) == len(names)
}

// A watcher records what it is told.
type watcher struct {
	mu            sync.Mutex
	wrapped, sent []int
	totals        map[int]bool
	onWrapped     func()
}

func (w *watcher) Wrapped(done, total int) { w.note(&w.wrapped, done, total, w.onWrapped) }
func (w *watcher) Sent(done, total int)    { w.note(&w.sent, done, total, nil) }

func (w *watcher) note(list *[]int, done, total int, then func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, done)
	if w.totals == nil {
		w.totals = map[int]bool{}
	}
	w.totals[total] = true
	if then != nil {
		then()
	}
}

// check tells whether each of 1 to n was told once, and the total always was the same.
func (w *watcher) check(t testing.TB, what string, told []int, n, total int) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(told))
	for i, d := range sorted {
		if d != i+1 {
			t.Errorf("%s: told %v", what, told)
			break
		}
	}
	if len(told) != n || len(w.totals) != 1 || !w.totals[total] {
		t.Errorf("%s: told %v of %v, want %d of %d", what, told, w.totals, n, total)
	}
}

// randomText is a body that does not compress.
func randomText(t testing.TB, n int) []byte {
	t.Helper()
	body := make([]byte, n)
	if _, err := rand.Read(body); err != nil {
		t.Fatal(err)
	}
	return body
}
