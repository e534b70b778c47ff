package inbox_test

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"mixminion/authority/inbox"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/internal/store/crashfs"
)

// noon is when the tests begin.
var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

const oneDay = 24 * time.Hour

func midnight(days int) time.Time { return noon.Truncate(oneDay).Add(time.Duration(days) * oneDay) }

// primes are the parts of the moduli of test keys: of 64 bits, so that a key costs next to nothing, and anybody can break it.
var primes = findPrimes(80)

var exponent = big.NewInt(crypt.PublicExponent)

func findPrimes(n int) (list []*big.Int) {
	one := big.NewInt(1)
	for c := uint64(1<<64 - 59); len(list) < n; c -= 2 {
		p := new(big.Int).SetUint64(c)
		phi := new(big.Int).Sub(p, one)
		if p.ProbablyPrime(20) && new(big.Int).GCD(nil, nil, phi, exponent).Cmp(one) == 0 {
			list = append(list, p)
		}
	}
	return list
}

// factors chooses 32 of the primes.
func factors(number uint64) []*big.Int {
	r := rand.New(rand.NewPCG(number, 1))
	var out []*big.Int
	for _, i := range r.Perm(len(primes))[:32] {
		out = append(out, primes[i])
	}
	return out
}

// key makes the identity key of that number.
func key(number uint64) *rsa.PrivateKey {
	n, lambda := big.NewInt(1), big.NewInt(1)
	for _, p := range factors(number) {
		phi := new(big.Int).Sub(p, big.NewInt(1))
		n.Mul(n, p)
		lambda.Mul(lambda, phi)
	}
	d := new(big.Int).ModInverse(exponent, lambda)
	d.Mod(d, lambda)
	return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: crypt.PublicExponent}, D: d}
}

func fingerprint(number uint64) string {
	return crypt.NewKeyID(&key(number).PublicKey).Fingerprint()
}

// packetKey makes a public key that nobody has the private key of.
func packetKey(number uint64) *rsa.PublicKey {
	r := rand.New(rand.NewPCG(number, 2))
	words := make([]byte, 256)
	for i := range words {
		words[i] = byte(r.Uint32())
	}
	words[0] |= 0x80
	words[255] |= 1
	return &rsa.PublicKey{N: new(big.Int).SetBytes(words), E: crypt.PublicExponent}
}

// fields describes a mix that lives from yesterday on for thirty days.
func fields(nickname string) directory.Fields {
	return directory.Fields{
		Nickname: nickname, Published: noon.Add(-time.Hour), ValidAfter: midnight(-1), ValidUntil: midnight(29),
		PacketKey: packetKey(1), PacketVersions: []string{"0.3"}, Software: "test", WhyInsecure: "a test",
		Contact:  "operator@example.com",
		Incoming: &directory.Incoming{Hostname: "mix.example.com", Port: 48099, Protocols: []string{"0.3"}},
		Outgoing: &directory.Outgoing{Protocols: []string{"0.3"}},
	}
}

// descriptor signs a descriptor with the key of that number.
func descriptor(t testing.TB, number uint64, nickname string, change ...func(*directory.Fields)) []byte {
	t.Helper()
	f := fields(nickname)
	for _, c := range change {
		c(&f)
	}
	text, err := directory.SignDescriptor(key(number), f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func published(at time.Time) func(*directory.Fields) {
	return func(f *directory.Fields) { f.Published = at }
}

func lifetime(after, until int) func(*directory.Fields) {
	return func(f *directory.Fields) { f.ValidAfter, f.ValidUntil = midnight(after), midnight(until) }
}

// A world is an inbox on a simulated disk, with a clock.
type world struct {
	*inbox.Inbox
	t       testing.TB
	cfg     inbox.Config
	disk    *crashfs.FS
	flooded uint64
	clock   *clock.Manual
}

func newWorld(t testing.TB, change ...func(*inbox.Config)) *world {
	t.Helper()
	w := &world{t: t, disk: crashfs.New(), clock: clock.NewManual(noon)}
	w.cfg = inbox.Config{Dir: "/inbox", FS: w.disk, Clock: w.clock}
	for _, c := range change {
		c(&w.cfg)
	}
	w.reopen()
	return w
}

func (w *world) reopen() {
	w.t.Helper()
	b, err := inbox.Open(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Inbox = b
}

// add adds a descriptor that must not be refused.
func (w *world) add(text []byte) inbox.Receipt {
	w.t.Helper()
	r, err := w.Add(w.t.Context(), text, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) decide(name string, d inbox.Decision) {
	w.t.Helper()
	if _, err := w.Decide(w.t.Context(), name, d, ""); err != nil {
		w.t.Fatal(err)
	}
}

// list gives the names and the decisions of all servers.
func (w *world) list() (out []string) {
	w.t.Helper()
	servers, err := w.Servers()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range servers {
		out = append(out, fmt.Sprintf("%s %s %s %d", s.Nickname, s.Decision, s.Recommend, len(s.Descriptors)))
	}
	return out
}

func nicknames(list []*directory.Descriptor) (out []string) {
	for _, d := range list {
		out = append(out, d.Nickname)
	}
	return out
}
