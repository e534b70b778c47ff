package directory

import (
	"bytes"
	"testing"
)

// A body that is taken must still be taken when it was passed on: published with a blank behind each empty value, and with many signatures.
func TestBodyLengthLeavesRoom(t *testing.T) {
	line := []byte("K:\n")
	body := bytes.Repeat(line, maxBodyLen/4)
	if err := checkBodyLen(body); err != nil {
		t.Fatal(err)
	}
	if n := len(appendPublished(nil, body)); n > maxBodyLen {
		t.Errorf("%d bytes are published", n)
	}
	if err := checkBodyLen(append(body, line...)); err == nil {
		t.Error("a body that is published with too many bytes is taken")
	}
	keys, _ := authorities(t)
	signer, err := NewSigner(body, keys[0])
	if err != nil {
		t.Fatal(err)
	}
	// Keys may be twice as long.
	if n := maxBodyLen + MaxSigners*2*len(formatSigned([]Signer{signer}, nil)); n > MaxDirectoryLen {
		t.Errorf("%d bytes with all signatures", n)
	}
}
