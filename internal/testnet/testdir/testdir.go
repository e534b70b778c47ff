// Package testdir makes signed directories and serves them over HTTP, for tests of programs that download them. Its
// keys are ready-made and no secret.
package testdir

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rsa"
	"crypto/x509"
	_ "embed" // the keys
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

//go:embed keys.pem
var keyText []byte

// Keys returns the ready-made RSA keys.
var Keys = sync.OnceValue(func() []*rsa.PrivateKey {
	var keys []*rsa.PrivateKey
	for rest := keyText; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return keys
		}
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
})

// Authorities returns n authorities, whose keys are the first ones, all with the given URLs.
func Authorities(n int, urls ...string) []directory.Authority {
	var list []directory.Authority
	for _, k := range Keys()[:n] {
		list = append(list, directory.Authority{Fingerprint: crypt.NewKeyID(&k.PublicKey).Fingerprint(), URLs: urls})
	}
	return list
}

// Server signs the descriptor of a server, with the ready-made key of that number counted from the last one, valid for 30 days from day on.
// edit may be nil.
func Server(nickname string, key int, day time.Time, edit func(*directory.Fields)) (*directory.Descriptor, error) {
	keys := Keys()
	f := directory.Fields{
		Nickname: nickname, Published: day, ValidAfter: day, ValidUntil: day.AddDate(0, 0, 30),
		PacketKey: &keys[0].PublicKey, PacketVersions: []string{"0.3"}, Software: "Mixminion testnet",
		Contact: "operator@" + strings.ToLower(nickname) + ".example", Secure: true,
		Incoming: &directory.Incoming{Hostname: strings.ToLower(nickname) + ".example", Port: 48099, Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
		Outgoing: &directory.Outgoing{Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
		SMTP:     &directory.Delivery{MaximumSize: 100},
	}
	if edit != nil {
		edit(&f)
	}
	text, err := directory.SignDescriptor(keys[len(keys)-1-key], f)
	if err != nil {
		return nil, err
	}
	return directory.ParseDescriptor(text)
}

// Spec says what directory to publish.
type Spec struct {
	Day         time.Time // midnight UTC
	Servers     []*directory.Descriptor
	Recommended []string          // all servers if nil
	Voters      []directory.Voter // three authorities that do not answer if nil
	Versions    []string          // of clients and servers
	Status      directory.Status
	// Signers and Detached are the numbers of the authorities that sign in the directory and beside it.
	Signers, Detached []int
}

// Publish makes the two files that authorities publish.
func Publish(s Spec) (gz, sig []byte, err error) {
	keys := Keys()
	info := directory.Info{
		Status: s.Status, ValidAfter: s.Day, ValidUntil: s.Day.AddDate(0, 0, 1), Recommended: s.Recommended, Voters: s.Voters,
		ClientVersions: s.Versions, ServerVersions: s.Versions,
	}
	if info.Status == "" {
		info.Status = directory.Consensus
	}
	if info.Recommended == nil {
		for _, d := range s.Servers {
			info.Recommended = append(info.Recommended, strings.ToLower(d.Nickname))
		}
	}
	if info.Voters == nil {
		for _, a := range Authorities(3) {
			info.Voters = append(info.Voters, directory.Voter{Fingerprint: a.Fingerprint, URL: "http://127.0.0.1:9/"}) // nobody answers there
		}
	}
	body, err := directory.FormatDirectory(info, s.Servers)
	if err != nil {
		return nil, nil, err
	}
	var signers []*rsa.PrivateKey
	for _, i := range s.Signers {
		signers = append(signers, keys[i])
	}
	text, err := directory.SignDirectory(body, signers...)
	if err != nil {
		return nil, nil, err
	}
	var detached []directory.Detached
	for _, i := range s.Detached {
		d, err := directory.SignDetached(body, keys[i])
		if err != nil {
			return nil, nil, err
		}
		detached = append(detached, d)
	}
	if sig, err = directory.FormatDetached(detached); err != nil {
		return nil, nil, err
	}
	gz, err = Gzip(text)
	return gz, sig, err
}

// Gzip compresses text.
func Gzip(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// A Site is a directory server: it serves files, and takes uploads at /upload.
type Site struct {
	URL string // the URL base

	server *http.Server
	done   chan error
	mu     sync.Mutex
	clock  func() time.Time
	files  map[string][]byte
	upload http.HandlerFunc
	seen   []*http.Request
}

// Serve starts a site on loopback. Close ends it.
func Serve() (*Site, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve a directory: %w", err)
	}
	s := &Site{URL: "http://" + l.Addr().String() + "/", files: map[string][]byte{}, done: make(chan error, 1)}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { s.done <- s.server.Serve(l) }()
	return s, nil
}

// Close ends the site.
func (s *Site) Close() error {
	err := s.server.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Put sets files: name, contents, name, contents...
func (s *Site) Put(files map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, data := range files {
		s.files[name] = data
	}
}

// Publish serves a directory as the current one.
func (s *Site) Publish(spec Spec) error {
	gz, sig, err := Publish(spec)
	if err == nil {
		s.Put(map[string][]byte{"current.gz": gz, "current.gz.sig": sig})
	}
	return err
}

// OnUpload sets what happens to uploads.
func (s *Site) OnUpload(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upload = h
}

// SetClock makes answers carry a Date. Without it they have none.
func (s *Site) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = now
}

// Requests returns all requests so far.
func (s *Site) Requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	data, ok := s.files[strings.TrimPrefix(path.Clean(r.URL.Path), "/")]
	upload, clock := s.upload, s.clock
	s.seen = append(s.seen, r)
	s.mu.Unlock()
	w.Header()["Date"] = nil
	if clock != nil {
		w.Header().Set("Date", clock().UTC().Format(http.TimeFormat))
	}
	switch {
	case r.URL.Path == "/upload" && r.Method == http.MethodPost && upload != nil:
		upload(w, r)
	case !ok:
		http.NotFound(w, r)
	default:
		_, _ = w.Write(data) // the test sees it if nothing came
	}
}
