package mmtp

import (
	"bytes"
	"crypto/sha1"
	"crypto/subtle"
	"encoding"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"

	"mixminion/internal/crypt"
	"mixminion/packet"
)

// What the protocol fixes (minion-spec 4; the version is the one that nodes of series 0.0.8 speak).
const (
	version     = "0.3"
	versionLine = "MMTP " + version + "\r\n"
	maxLine     = 4096 // bytes of a version line, CRLF included

	cmdSend = "SEND\r\n"
	cmdJunk = "JUNK\r\n"
	cmdLen  = len(cmdSend)

	received  = "RECEIVED\r\n"
	rejected  = "REJECTED\r\n"
	answerLen = len(received) + crypt.HashLen

	frameLen = cmdLen + packet.Size + crypt.HashLen
)

type answerFrame [answerLen]byte

// digests are the three that belong to one packet or one piece of junk: the client's, and the server's for either answer.
type digests struct{ sent, received, rejected crypt.Digest }

// digester computes digests with one pass over the packet.
type digester struct {
	hash  hash.Hash
	state []byte
	sum   []byte
}

var digesters = sync.Pool{New: func() any { return &digester{hash: sha1.New()} }}

func digestsOf(p *packet.Packet, junk bool) digests {
	d := digesters.Get().(*digester)
	defer digesters.Put(d)
	d.hash.Reset()
	d.hash.Write(p[:])
	d.state, _ = d.hash.(encoding.BinaryAppender).AppendBinary(d.state[:0]) // crypto/sha1 documents that it cannot fail
	if junk {
		return digests{d.finish("JUNK"), d.finish("RECEIVED JUNK"), d.finish("REJECTED")}
	}
	return digests{d.finish("SEND"), d.finish("RECEIVED"), d.finish("REJECTED")}
}

// finish returns Hash(packet | suffix).
func (d *digester) finish(suffix string) crypt.Digest {
	_ = d.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(d.state) // it is our own state
	d.sum = append(d.sum[:0], suffix...)
	d.hash.Write(d.sum)
	d.sum = d.hash.Sum(d.sum[:0])
	return crypt.Digest(d.sum)
}

func sameDigest(a, b crypt.Digest) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// appendFrame appends the command, the packet and its digest.
func appendFrame(b []byte, p *packet.Packet, junk bool, sent crypt.Digest) []byte {
	if junk {
		b = append(b, cmdJunk...)
	} else {
		b = append(b, cmdSend...)
	}
	b = append(b, p[:]...)
	return append(b, sent[:]...)
}

func makeAnswer(line string, digest crypt.Digest) (f answerFrame) {
	copy(f[copy(f[:], line):], digest[:])
	return f
}

// parseAnswer reads a server's answer. It returns an error that wraps ErrProtocol if that is neither RECEIVED nor REJECTED.
func parseAnswer(f *answerFrame) (accepted bool, digest crypt.Digest, err error) {
	switch string(f[:len(received)]) {
	case received:
		accepted = true
	case rejected:
	default:
		return false, digest, fmt.Errorf("%w: unknown answer", ErrProtocol)
	}
	return accepted, crypt.Digest(f[len(received):]), nil
}

// readLine reads one line that ends in CRLF and returns it without. Neither side may go on before it has the other's line, so bytes that
// arrive together with the line but behind it are an error.
func readLine(r io.Reader) (string, error) {
	buf := make([]byte, 0, 64)
	for {
		if len(buf) == maxLine {
			return "", fmt.Errorf("%w: line of more than %d bytes", ErrProtocol, maxLine)
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(4*cap(buf), maxLine)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if i := bytes.IndexByte(buf, '\n'); i >= 0 {
			switch {
			case i == 0 || buf[i-1] != '\r':
				return "", fmt.Errorf("%w: line without CRLF", ErrProtocol)
			case i < len(buf)-1:
				return "", fmt.Errorf("%w: data before the versions were agreed", ErrProtocol)
			}
			return string(buf[:i-1]), nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
	}
}

// offersOurVersion reports whether a client's line lists our version. It returns an error that wraps ErrProtocol if the line is not
// "MMTP " and a list of versions separated by commas.
func offersOurVersion(line string) (bool, error) {
	list, ok := strings.CutPrefix(line, "MMTP ")
	if !ok {
		return false, fmt.Errorf("%w: no version line", ErrProtocol)
	}
	found := false
	for v := range strings.SplitSeq(list, ",") {
		if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false, fmt.Errorf("%w: malformed version line", ErrProtocol)
		}
		found = found || v == version
	}
	return found, nil
}
