package legacytls

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
)

// scripted is a connection that gives what it holds, a few bytes at a time.
type scripted struct {
	net.Conn
	data []byte
	step int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.data)
	s.data = s.data[n:]
	return n, nil
}

func record(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 3, 1}, uint16(len(body))), body...)
}

func message(kind byte, body []byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func sized(n int, b []byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	return append(bytes.Clone(head[4-n:]), b...)
}

func exchange(p, g, y *big.Int) []byte {
	return bytes.Join([][]byte{sized(2, p.Bytes()), sized(2, g.Bytes()), sized(2, y.Bytes()), sized(2, []byte("signature"))}, nil)
}

// recording is what a server of series 0.0.8 sent on one link.
func recording(t testing.TB) []byte {
	data, err := os.ReadFile("testdata/link-from-server.bin")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The recorded link: two certificates and a group of 512 bits, however the bytes arrive.
func TestFlightOfARecordedLink(t *testing.T) {
	data := recording(t)
	for _, step := range []int{1, 7, 1024, len(data)} {
		var chain []*x509.Certificate
		f := &flight{Conn: &scripted{data: data, step: step}, approve: func(c []*x509.Certificate) error { chain = c; return nil }}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("step %d: %d bytes of %d, %v", step, len(got), len(data), err)
		}
		if len(chain) != 2 || !f.over {
			t.Errorf("step %d: %d certificates, over %v", step, len(chain), f.over)
		}
	}
}

func TestFlightIsRefused(t *testing.T) {
	one := big.NewInt(1)
	p := new(big.Int).SetBit(new(big.Int), 1023, 1)
	p.Add(p, one)
	g, y := big.NewInt(2), big.NewInt(12345)
	last := new(big.Int).Sub(p, one)
	small := new(big.Int).Add(new(big.Int).Lsh(one, 510), one)
	huge := new(big.Int).Add(new(big.Int).Lsh(one, 4096), one)
	skx := func(body []byte) []byte { return record(recordHandshake, message(messageServerKeyExchange, body)) }
	certs := func(body []byte) []byte { return record(recordHandshake, message(messageCertificate, body)) }
	good := certificatesOf(t, recording(t))

	for name, data := range map[string][]byte{
		"group of 511 bits":            skx(exchange(small, g, y)),
		"group of 4097 bits":           skx(exchange(huge, g, y)),
		"group of 0":                   skx(exchange(new(big.Int), g, y)),
		"even modulus":                 skx(exchange(last, g, y)),
		"generator 1":                  skx(exchange(p, one, y)),
		"value 0":                      skx(exchange(p, g, new(big.Int))),
		"value 1":                      skx(exchange(p, g, one)),
		"value -1":                     skx(exchange(p, g, last)),
		"value of the modulus":         skx(exchange(p, g, p)),
		"nothing in the key exchange":  skx(nil),
		"short key exchange":           skx([]byte{0, 9, 1}),
		"no list of certificates":      certs(nil),
		"short list of certificates":   certs([]byte{0, 0, 9, 1}),
		"more behind the certificates": certs(append(bytes.Clone(good), 0)),
		"not a certificate":            certs(sized(3, sized(3, []byte("nothing")))),
		"certificates twice":           append(certs(good), certs(good)...),
		"too many certificates":        certs(sized(3, bytes.Repeat(good[3:], 3))),
		"record too long":              {recordHandshake, 3, 1, 0xff, 0xff},
		"message too long":             record(recordHandshake, []byte{2, 0xff, 0, 0}),
		"flight too long":              bytes.Repeat(record(recordHandshake, message(2, make([]byte, 1000))), 40),
	} {
		f := &flight{Conn: &scripted{data: data, step: 100}, approve: func([]*x509.Certificate) error { return nil }}
		if _, err := io.ReadAll(f); !errors.Is(err, ErrHandshake) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := &flight{Conn: &scripted{data: skx(exchange(p, g, y)), step: 100}}
	if _, err := io.ReadAll(f); err != nil {
		t.Errorf("good values: %v", err)
	}
}

func TestFlightOfARefusedChain(t *testing.T) {
	refused := errors.New("refused")
	f := &flight{Conn: &scripted{data: recording(t), step: 1 << 20}, approve: func([]*x509.Certificate) error { return refused }}
	buf := make([]byte, 4096)
	for range 2 {
		if n, err := f.Read(buf); n != 0 || !errors.Is(err, refused) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}

// certificatesOf returns the body of the Certificate message of a flight.
func certificatesOf(t testing.TB, data []byte) []byte {
	var messages []byte
	for len(data) >= 5 && data[0] == recordHandshake {
		n := 5 + int(binary.BigEndian.Uint16(data[3:]))
		messages, data = append(messages, data[5:n]...), data[n:]
	}
	for len(messages) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(messages[2:]))
		if messages[0] == messageCertificate {
			return messages[4:n]
		}
		messages = messages[n:]
	}
	t.Fatal("no certificates")
	return nil
}

func FuzzFlight(f *testing.F) {
	f.Add(recording(f), 100)
	f.Add(record(recordHandshake, message(messageServerKeyExchange, exchange(big.NewInt(23), big.NewInt(5), big.NewInt(8)))), 1)
	f.Add(record(recordHandshake, message(messageCertificate, sized(3, sized(3, []byte("nothing"))))), 3)
	f.Add([]byte{recordHandshake, 3, 1, 0xff, 0xff}, 5)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		fl := &flight{Conn: &scripted{data: bytes.Clone(data), step: max(1, step)}, approve: func([]*x509.Certificate) error { return nil }}
		got, _ := io.ReadAll(fl) // what it says of the data is not known here
		if !bytes.HasPrefix(data, got) {
			t.Fatal("other bytes than were sent")
		}
		if len(fl.records) > maxFlight || len(fl.messages) > maxFlight {
			t.Fatal("holds more than it may")
		}
	})
}
