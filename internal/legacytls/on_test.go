//go:build legacytls

package legacytls

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zmap/zcrypto/tls"
	zx509 "github.com/zmap/zcrypto/x509"
	"go.uber.org/goleak"

	"mixminion/internal/testnet/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// identity makes a chain as nodes of 0.0.8 do: the certificate of a key of the given size, signed with SHA-1 by another, and that one's.
func identity(t testing.TB, bits int) *Identity {
	t.Helper()
	owner, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	id := &Identity{Key: key}
	for _, c := range []struct {
		name string
		key  *rsa.PublicKey
	}{{"victim<MMTP>", &key.PublicKey}, {"victim", &owner.PublicKey}} {
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(4711), Subject: pkix.Name{Organization: []string{"Mixminion network"}, CommonName: c.name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), SignatureAlgorithm: x509.SHA1WithRSA,
		}, &x509.Certificate{Subject: pkix.Name{CommonName: "victim"}}, c.key, owner)
		if err != nil {
			t.Fatal(err)
		}
		id.Chain = append(id.Chain, der)
	}
	return id
}

// pinned approves the chain of id only.
func pinned(id *Identity) func([]*x509.Certificate) error {
	return func(chain []*x509.Certificate) error {
		if len(chain) != len(id.Chain) || !bytes.Equal(chain[0].Raw, id.Chain[0]) {
			return errors.New("another chain")
		}
		return nil
	}
}

// listen runs serve for one connection on loopback.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		serve(conn)
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// echo answers everything, and close_notify with close_notify.
func echo(ctx context.Context, id *Identity) func(net.Conn) {
	return func(raw net.Conn) {
		conn, err := Server(ctx, raw, id)
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn) // the client notices
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, raw)
	}
}

func TestBothEnds(t *testing.T) {
	id := identity(t, 1024)
	conn, err := Client(t.Context(), dial(t, listen(t, echo(t.Context(), id))), time.Now, pinned(id))
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 100_000)
	_, _ = rand.Read(sent) // it never fails
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := conn.Write(sent); err != nil {
			t.Error(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(conn)
	wg.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
	}
	if log := conn.(*tls.Conn).GetHandshakeLog(); log.KeyMaterial != nil || log.ServerKeyExchange != nil {
		t.Error("the library still has the secrets of the handshake")
	}
}

// forger poses as victim: it shows the victim's certificates and signs with a key of its own.
func forger(t *testing.T, victim *Identity, version uint16) func(net.Conn) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return func(raw net.Conn) {
		conn := tls.Server(raw, &tls.Config{
			Certificates: []tls.Certificate{{Certificate: victim.Chain, PrivateKey: libraryKey(key)}},
			CipherSuites: []uint16{suite}, MinVersion: version, MaxVersion: version, SessionTicketsDisabled: true,
		})
		if conn.Handshake() == nil {
			_, _ = conn.Write([]byte("forged"))
		}
	}
}

// A server that has the certificates of another and not the key must fail, by either guard.
func TestForgery(t *testing.T) {
	victim := identity(t, 1024)
	for name, version := range map[string]uint16{"TLS 1.0": tls.VersionTLS10, "TLS 1.1": tls.VersionTLS11, "TLS 1.2": tls.VersionTLS12} {
		t.Run(name, func(t *testing.T) {
			conn, err := Client(t.Context(), dial(t, listen(t, forger(t, victim, version))), time.Now, pinned(victim))
			if err == nil || conn != nil {
				t.Fatal("the forger passed for the victim")
			}
			if !strings.Contains(err.Error(), "verification error") {
				t.Errorf("it failed for another reason: %v", err)
			}

			// Without the first guard the library does not mind, and only the second one is left.
			careless := clientConfig(time.Now)
			careless.InsecureSkipVerify = true
			conn, err = handshake(t.Context(), dial(t, listen(t, forger(t, victim, version))), careless, pinned(victim))
			if !errors.Is(err, ErrSignature) || conn != nil {
				t.Errorf("the second guard: %v", err)
			}
		})
	}
}

// The first guard trusts nothing but what was approved.
func TestRootIsTheApprovedCertificate(t *testing.T) {
	id, other := identity(t, 1024), identity(t, 1024)
	for name, c := range map[string]struct {
		root *Identity
		ok   bool
	}{"the approved one": {id, true}, "another": {other, false}} {
		root, err := zx509.ParseCertificate(c.root.Chain[0])
		if err != nil {
			t.Fatal(err)
		}
		pool := zx509.NewCertPool()
		pool.AddCert(root)
		conn := tls.Client(dial(t, listen(t, echo(t.Context(), id))), &tls.Config{
			RootCAs: pool, ServerName: "victim<MMTP>", CipherSuites: []uint16{suite}, ForceSuites: true, MaxVersion: tls.VersionTLS12,
		})
		if err := conn.Handshake(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientRefuses(t *testing.T) {
	id := identity(t, 1024)
	refused := errors.New("refused")
	_, err := Client(t.Context(), dial(t, listen(t, echo(t.Context(), id))), time.Now, func([]*x509.Certificate) error { return refused })
	if !errors.Is(err, refused) {
		t.Errorf("a chain that was not approved: %v", err)
	}
	late := func() time.Time { return time.Now().Add(48 * time.Hour) }
	if _, err := Client(t.Context(), dial(t, listen(t, echo(t.Context(), id))), late, pinned(id)); err == nil {
		t.Error("an expired certificate was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	silent := listen(t, func(c net.Conn) { cancel(); _, _ = io.Copy(io.Discard, c) })
	if _, err := Client(ctx, dial(t, silent), time.Now, pinned(id)); !errors.Is(err, context.Canceled) {
		t.Errorf("a silent server: %v", err)
	}
}

// hello is a ClientHello that a node of series 0.0.8 sent.
func TestServerTakesARecordedHello(t *testing.T) {
	data, err := os.ReadFile("testdata/link-from-client.bin")
	if err != nil {
		t.Fatal(err)
	}
	hello := data[:5+int(binary.BigEndian.Uint16(data[3:]))]
	id := identity(t, 1024)
	conn := dial(t, listen(t, echo(t.Context(), id)))
	if _, err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	f := &flight{Conn: conn, approve: func(c []*x509.Certificate) error { chain = c; return nil }}
	var answer []byte
	for !bytes.Contains(answer, []byte{14, 0, 0, 0}) { // ServerHelloDone
		buf := make([]byte, 4096)
		n, err := f.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		answer = append(answer, buf[:n]...)
	}
	if len(chain) != 2 || !bytes.Equal(chain[0].Raw, id.Chain[0]) {
		t.Error("the server showed other certificates")
	}
	// ServerHello: type, length, version, random, no session, suite.
	if body := answer[5:]; body[4] != 3 || body[5] != 1 || !bytes.Equal(body[39+int(body[38]):][:2], []byte{0, 0x33}) {
		t.Errorf("version %x, suite %x", body[4:6], body[39+int(body[38]):][:2])
	}
}

// openssl returns the command, which must speak TLS 1.0.
func openssl(t *testing.T) string {
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no openssl command")
		}
		t.Skip("no openssl command")
	}
	return path
}

func writePEM(t *testing.T, file, kind string, ders ...[]byte) string {
	t.Helper()
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openSSLServer runs openssl s_server for one connection; it answers lines with the same in reverse.
func openSSLServer(t *testing.T, id *Identity, args ...string) string {
	command := openssl(t)
	address := freeport.Addr(t)
	cmd := exec.CommandContext(t.Context(), command, append([]string{
		"s_server", "-accept", address, "-naccept", "1", "-rev", "-cert", writePEM(t, "cert", "CERTIFICATE", id.Chain[0]),
		"-cert_chain", writePEM(t, "chain", "CERTIFICATE", id.Chain[1]),
		"-key", writePEM(t, "key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(id.Key)),
	}, args...)...)
	var out bytes.Buffer
	ready := &waiter{want: "ACCEPT", found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = ready, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	select {
	case <-ready.found:
	case <-ended:
		t.Fatalf("openssl does not listen: %s", out.String())
	}
	return address
}

// waiter closes found when it has been written want.
type waiter struct {
	want  string
	found chan struct{}
	text  strings.Builder
	done  bool
}

func (w *waiter) Write(p []byte) (int, error) {
	w.text.Write(p)
	if !w.done && strings.Contains(w.text.String(), w.want) {
		w.done = true
		close(w.found)
	}
	return len(p), nil
}

func TestClientOfOpenSSL(t *testing.T) {
	for name, args := range map[string][]string{
		"TLS 1.0": {"-tls1"}, "TLS 1.1": {"-tls1_1"}, "TLS 1.2": {"-tls1_2"}, "any version": nil, "without tickets": {"-tls1", "-no_ticket"},
	} {
		t.Run(name, func(t *testing.T) {
			id := identity(t, 1024)
			address := openSSLServer(t, id, append(args, "-cipher", "DHE-RSA-AES128-SHA:@SECLEVEL=0")...)
			conn, err := Client(t.Context(), dial(t, address), time.Now, pinned(id))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "MMTP 0.3\n"); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 9)
			if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "3.0 PTMM\n" {
				t.Errorf("%q, %v", buf, err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for name, args := range map[string][]string{
		"RSA key exchange": {"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"},
		"ECDHE":            {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"},
		"TLS 1.3":          {"-tls1_3", "-cipher", "DEFAULT:@SECLEVEL=0"},
	} {
		t.Run(name, func(t *testing.T) {
			id := identity(t, 2048)
			if _, err := Client(t.Context(), dial(t, openSSLServer(t, id, args...)), time.Now, pinned(id)); err == nil {
				t.Error("a link was made")
			}
		})
	}
}

func TestServerOfOpenSSL(t *testing.T) {
	command := openssl(t)
	id := identity(t, 2048)
	run := func(t *testing.T, args ...string) (string, error) {
		address := listen(t, echo(t.Context(), id))
		cmd := exec.CommandContext(t.Context(), command, append([]string{"s_client", "-connect", address, "-nocommands"}, args...)...)
		stdin, err := cmd.StdinPipe() // open, so that it does not end before the answer
		if err != nil {
			t.Fatal(err)
		}
		seen := &waiter{want: "\nMMTP 0.3\n", found: make(chan struct{})}
		cmd.Stdout, cmd.Stderr = seen, io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(stdin, "MMTP 0.3\n") // fails if the command has ended already, which is seen below
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-seen.found:
			_ = stdin.Close()
			err = <-ended
		case err = <-ended:
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
		}
		return seen.text.String(), err
	}
	for name, version := range map[string]string{"TLSv1": "-tls1", "TLSv1.1": "-tls1_1", "TLSv1.2": "-tls1_2"} {
		t.Run(name, func(t *testing.T) {
			out, err := run(t, version, "-cipher", "DHE-RSA-AES128-SHA:DES-CBC3-SHA:@SECLEVEL=0")
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range []string{"Server Temp Key: DH, 2048 bits", "Cipher is DHE-RSA-AES128-SHA", "New, "} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing in:\n%s", want, out)
				}
			}
		})
	}
	for name, args := range map[string][]string{
		"3DES only": {"-tls1", "-cipher", "DES-CBC3-SHA:@SECLEVEL=0"}, "RSA key exchange": {"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"},
		"ECDHE": {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"}, "TLS 1.3": {"-tls1_3"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := run(t, args...); err == nil {
				t.Errorf("a link was made:\n%s", out)
			}
		})
	}
}
