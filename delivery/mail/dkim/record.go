package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNoRecord says that none of the TXT records of a name is one of a DKIM key.
var ErrNoRecord = errors.New("there is no DKIM record")

// ParseKey reads a private key in PEM form, as openssl and Generate write it. Its error quotes nothing of the file.
func ParseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no key in PEM form")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the key is encrypted, and nobody is there to type its passphrase")
	default:
		return nil, errors.New("the file holds something else than a private key")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("the private key cannot be read")
	}
	return signer, nil
}

// Generate makes a private key in PEM form: RSA with 2048 bits or, on demand, Ed25519, which not all receivers know.
func Generate(rnd io.Reader, useEd25519 bool) ([]byte, error) {
	var key any
	var err error
	if useEd25519 {
		_, key, err = ed25519.GenerateKey(rnd)
	} else {
		key, err = rsa.GenerateKey(rnd, 2048)
	}
	if err != nil {
		return nil, fmt.Errorf("make a DKIM key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a DKIM key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func marshalPublic(pub *rsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("DKIM key: %w", err)
	}
	return der, nil
}

// RecordName is the name that the TXT record of the key has to have.
func (k *Key) RecordName() string { return k.selector + "._domainkey." + k.domain }

// Record is the text that the TXT record of the key has to hold.
func (k *Key) Record() string {
	return "v=DKIM1; k=" + k.algorithm + "; p=" + base64.StdEncoding.EncodeToString(k.public)
}

// ZoneLine is the record as a line for the zone file of a name server, where no string may have more than 255 bytes.
func (k *Key) ZoneLine() string {
	return k.RecordName() + `. IN TXT ( "` + strings.Join(chunks(k.Record(), 200), `" "`) + `" )`
}

// CheckRecord looks for the key among the TXT records of its name. The error says what is wrong with them, ErrNoRecord that there is none.
func (k *Key) CheckRecord(records []string) error {
	err := ErrNoRecord
	for _, text := range records {
		tags := tagList(text)
		if tags == nil || tags["v"] != "" && tags["v"] != "DKIM1" {
			continue
		}
		published, given := tags["p"]
		if !given {
			continue
		}
		err = k.compare(tags, published)
		if err == nil {
			return nil
		}
	}
	return err
}

func (k *Key) compare(tags map[string]string, published string) error {
	if published == "" {
		return errors.New("the record says that the key was withdrawn")
	}
	algorithm := tags["k"]
	if algorithm == "" {
		algorithm = algRSA
	}
	public, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(published), ""))
	switch {
	case algorithm != k.algorithm:
		return fmt.Errorf("the record is for a key of another kind, not %s", k.algorithm)
	case err != nil || !bytes.Equal(public, k.public):
		return errors.New("the record has another key")
	case tags["h"] != "" && !listed(tags["h"], "sha256"):
		return errors.New("the record does not allow sha256")
	case tags["s"] != "" && !listed(tags["s"], "*") && !listed(tags["s"], "email"):
		return errors.New("the record does not allow mail")
	case listed(tags["t"], "y"):
		return errors.New("the record says that the key is only tested (t=y), so receivers ignore it")
	}
	return nil
}

func listed(list, word string) bool {
	for w := range strings.SplitSeq(list, ":") {
		if strings.TrimSpace(w) == word {
			return true
		}
	}
	return false
}

// tagList reads a list of tags (RFC 6376, 3.2); nil if text is none.
func tagList(text string) map[string]string {
	tags := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimRight(text, " \t"), ";"), ";") {
		name, value, found := strings.Cut(part, "=")
		if !found {
			return nil
		}
		tags[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return tags
}
