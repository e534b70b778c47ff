//go:build legacytls

package legacytls

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// crafted is what a server says that this package would not be.
type crafted struct {
	version, suite uint16
	p, g           *big.Int
	key            *rsa.PrivateKey // signs
}

// serve sends the first flight of a server and returns the value of the client's key exchange.
func (c crafted) serve(conn net.Conn, id *Identity) ([]byte, error) {
	hello, err := readRecord(conn)
	if err != nil || len(hello) < 38 {
		return nil, err
	}
	clientRandom, serverRandom := hello[6:38], bytes.Repeat([]byte{7}, 32)
	serverHello := binary.BigEndian.AppendUint16(nil, c.version)
	serverHello = append(append(serverHello, serverRandom...), 0)
	serverHello = append(binary.BigEndian.AppendUint16(serverHello, c.suite), 0)
	var chain []byte
	for _, der := range id.Chain {
		chain = append(chain, sized(3, der)...)
	}
	x, err := rand.Int(rand.Reader, c.p)
	if err != nil {
		return nil, err
	}
	y := new(big.Int).Exp(c.g, x, c.p)
	params := bytes.Join([][]byte{sized(2, c.p.Bytes()), sized(2, c.g.Bytes()), sized(2, y.Bytes())}, nil)
	signed := bytes.Join([][]byte{clientRandom, serverRandom, params}, nil)
	m, s := md5.Sum(signed), sha1.Sum(signed)
	signature, err := rsa.SignPKCS1v15(nil, c.key, crypto.MD5SHA1, append(m[:], s[:]...))
	if err != nil {
		return nil, err
	}
	for _, msg := range [][]byte{
		message(2, serverHello), message(messageCertificate, sized(3, chain)),
		message(messageServerKeyExchange, append(params, sized(2, signature)...)), message(14, nil),
	} {
		if _, err := conn.Write(record(recordHandshake, msg)); err != nil {
			return nil, err
		}
	}
	answer, err := readRecord(conn)
	if err != nil {
		return nil, err
	}
	if len(answer) < 6 || answer[0] != 16 { // an alert
		return nil, errors.New("no key exchange")
	}
	return answer[6:], nil
}

func readRecord(r io.Reader) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	_, err := io.ReadFull(r, body)
	return body, err
}

// group512 is the group of a server of series 0.0.8, which it made at its first start.
func group512(t *testing.T) (p, g *big.Int) {
	text, err := os.ReadFile("testdata/dhparam.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	var params struct{ P, G *big.Int }
	if _, err := asn1.Unmarshal(block.Bytes, &params); err != nil {
		t.Fatal(err)
	}
	return params.P, params.G
}

// OpenSSL no longer takes groups of 512 bits, so the server is made by hand. It ends when it has the client's key exchange.
func TestClientOfCraftedServers(t *testing.T) {
	id := identity(t, 1024)
	other, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p, g := group512(t)
	good := crafted{version: 0x0301, suite: suite, p: p, g: g, key: id.Key}
	for name, c := range map[string]struct {
		change func(*crafted)
		want   string // of the error; "": the client goes on
	}{
		"group of 512 bits":  {func(*crafted) {}, ""},
		"another's key":      {func(c *crafted) { c.key = other }, "verification error"},
		"SSL 3.0":            {func(c *crafted) { c.version = 0x0300 }, "version"},
		"RSA-3DES":           {func(c *crafted) { c.suite = 0x000a }, "cipher"},
		"suite of 256 bits":  {func(c *crafted) { c.suite = 0x0039 }, "cipher"},
		"anonymous":          {func(c *crafted) { c.suite = 0x0034 }, "cipher"},
		"a smaller group":    {func(c *crafted) { c.p = new(big.Int).Rsh(p, 1); c.p.SetBit(c.p, 0, 1) }, "group of 511 bits"},
		"a useless exponent": {func(c *crafted) { c.g = big.NewInt(1) }, "out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			server := good
			c.change(&server)
			value := make(chan []byte, 1)
			address := listen(t, func(conn net.Conn) {
				got, _ := server.serve(conn, id) // nil if there was none
				value <- got
			})
			_, err := Client(t.Context(), dial(t, address), time.Now, pinned(id))
			if err == nil {
				t.Fatal("a link was made")
			}
			if c.want != "" {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("not for the reason %q: %v", c.want, err)
				}
				return
			}
			if y := new(big.Int).SetBytes(<-value); y.Cmp(big.NewInt(1)) <= 0 || y.Cmp(p) >= 0 {
				t.Errorf("the client's value has %d bits: %v", y.BitLen(), err)
			}
		})
	}
}
