package mmtp

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"testing"
	"testing/iotest"
)

// oldHello is what a node of series 0.0.8 sends first, recorded.
func oldHello(t testing.TB) []byte {
	b, err := hex.DecodeString("160301003a0100003603" + "01a4876b4e71d3658c35d856d925a93e16bf6a9525b3cf00743e8ee1fab37e7b8900" + "00040033" +
		"00ff01000009002300" + "00000f000101")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newHello is what a client of this program sends first.
func newHello(t testing.TB) []byte {
	var sent firstWrite
	_ = tls.Client(&sent, clientTLS(fixedClock, nil)).Handshake() // it has no peer
	return sent.data
}

type firstWrite struct {
	disguised // has no connection
	data      []byte
}

func (f *firstWrite) Write(p []byte) (int, error) { f.data = append(f.data, p...); return len(p), nil }
func (f *firstWrite) Read([]byte) (int, error)    { return 0, io.EOF }
func (f *firstWrite) Close() error                { return nil }

// split puts what a record holds into records of n bytes.
func split(record []byte, n int) (out []byte) {
	for body := record[5:]; len(body) > 0; {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		out = append(out, record[:3]...)
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)))
		out = append(out, part...)
	}
	return out
}

func TestPeekHello(t *testing.T) {
	for name, c := range map[string]struct {
		hello  []byte
		modern bool
	}{"0.0.8": {oldHello(t), false}, "ours": {newHello(t), true}} {
		for _, sent := range [][]byte{c.hello, split(c.hello, 1), split(c.hello, 3), split(c.hello, 50)} {
			behind := append(bytes.Clone(sent), "what comes behind"...)
			r := bytes.NewReader(behind)
			read, hello, err := peekHello(iotest.OneByteReader(r))
			if err != nil || !bytes.Equal(read, sent) || r.Len() != len("what comes behind") {
				t.Fatalf("%s: %d bytes of %d, %v", name, len(read), len(sent), err)
			}
			if !bytes.Equal(hello, c.hello[9:]) || offersTLS13(hello) != c.modern {
				t.Errorf("%s: TLS 1.3: %v", name, offersTLS13(hello))
			}
		}
	}
}

func TestPeekHelloOfOtherThings(t *testing.T) {
	for name, sent := range map[string][]byte{
		"HTTP":             []byte("GET / HTTP/1.0\r\n\r\n"),
		"SSL 2":            {0x80, 0x2e, 1, 3, 1, 0, 0},
		"alert":            {21, 3, 1, 0, 2, 2, 40},
		"empty record":     {22, 3, 1, 0, 0},
		"too long record":  {22, 3, 1, 0x40, 1},
		"another message":  {22, 3, 1, 0, 4, 2, 0, 0, 0},
		"too long message": {22, 3, 1, 0, 4, 1, 1, 0, 0},
	} {
		if read, hello, err := peekHello(bytes.NewReader(sent)); err != nil || hello != nil || !bytes.HasPrefix(sent, read) {
			t.Errorf("%s: %x, %x, %v", name, read, hello, err)
		}
	}
	old := oldHello(t)
	for n := range old {
		if read, hello, err := peekHello(bytes.NewReader(old[:n])); err == nil || hello != nil || !bytes.Equal(read, old[:n]) {
			t.Errorf("%d bytes: %x, %x, %v", n, read, hello, err)
		}
	}
}

func TestOffersTLS13OfBrokenHellos(t *testing.T) {
	hello := newHello(t)[9:]
	offered := 0
	for n := range hello {
		if offersTLS13(hello[:n]) {
			offered++
		}
	}
	if offered > 0 {
		t.Errorf("TLS 1.3 was found in %d hellos that are cut off", offered)
	}
}

func FuzzPeekHello(f *testing.F) {
	f.Add(oldHello(f))
	f.Add(newHello(f))
	f.Add(split(oldHello(f), 1))
	f.Add([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		g := &greeted{Conn: &disguised{Conn: &reading{r: bytes.NewReader(data)}}}
		read, hello, _ := peekHello(g)
		if !bytes.HasPrefix(data, read) || len(read) > maxGreeting+tlsMaxRecord || len(hello) > maxGreeting {
			t.Fatal("read something else, or too much")
		}
		offersTLS13(hello)
	})
}

// reading is a connection that gives what r has.
type reading struct {
	disguised
	r io.Reader
}

func (c *reading) Read(p []byte) (int, error) { return c.r.Read(p) }
