package delivery_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"mixminion/client"
	"mixminion/delivery"
	"mixminion/delivery/mail/dkim"
	"mixminion/internal/crypt"
	"mixminion/message"
)

// encrypted is a message to dora that only key opens.
func encrypted(t *testing.T, id uint64, key *rsa.PublicKey, text string) delivery.Item {
	t.Helper()
	it := item(t, id, "dora@example.com", "")
	encoded, err := message.Encode(rand.Reader, []byte(text), message.ForwardOverhead)
	if err != nil {
		t.Fatal(err)
	}
	it.Payload = &encoded.Payloads[0]
	tag, err := message.EncryptForward(rand.Reader, it.Payload, key)
	if err != nil {
		t.Fatal(err)
	}
	copy(it.Info, tag[:])
	return it
}

// What Postfix has put into a Maildir is what was sent: its signatures are good, and the recipient's decode gets every message out of the
// mails as they lie there.
func testDecodingWhatPostfixDelivers(t *testing.T, server *postfixServer) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := crypt.StdProvider{}.Decrypter(key)
	if err != nil {
		t.Fatal(err)
	}
	items := append(everyKind(t, "dora@example.com"), encrypted(t, 10, &key.PublicKey, "\nfor dora alone\n"))
	for i := range items {
		items[i].Queued = time.Now() // verifiers look at the clock
	}

	cfg := config(server.Addr)
	cfg.Mail.OptOut = "stop@exit.example.org"
	signer, err := dkim.New("exit.example.org", "test", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Mail.Keys = []*dkim.Key{signer}
	if _, err := deliver(t.Context(), t, newSMTP(t, cfg), items); err != nil {
		t.Fatal(err)
	}

	for _, text := range server.mails(t, "dora", len(items)) {
		list, err := msgauth.VerifyWithOptions(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")), &msgauth.VerifyOptions{
			LookupTXT: func(string) ([]string, error) { return []string{signer.Record()}, nil },
		})
		if err != nil || len(list) != 1 || list[0].Err != nil {
			t.Errorf("mail %s: signatures %+v, %v", messageID(t, text), list, err)
		}
	}

	c, err := client.Open(t.TempDir(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]message.Form{}
	fragments, unreadable := 0, 0
	for r, err := range c.DecodePath(t.Context(), filepath.Join(server.Mail(), "dora"), client.DecodeOptions{
		Force: true,
		Keys: func() (message.Keys, error) {
			return message.Keys{Private: []message.PrivateKey{{Name: "dora", Key: opener}}}, nil
		},
	}) {
		switch {
		case errors.Is(err, message.ErrNotForUs):
			unreadable++
		case err != nil:
			t.Error(err)
		case r.Fragment != nil:
			fragments++
		default:
			got[string(bytes.TrimSuffix(bytes.ReplaceAll(r.Body, []byte("\r\n"), []byte("\n")), []byte("\n")))] = r.Form
		}
	}
	if fragments != 1 || unreadable != 1 {
		t.Errorf("%d fragments and %d messages for others, want one of each", fragments, unreadable)
	}
	for text, form := range map[string]message.Form{
		"Hello\n.\n..\nFrom the start\n-- \nDemo": message.FormPlaintext,
		"Schöne Grüße\n.\nüber das Netz":          message.FormPlaintext,
		strings.Repeat("a long line ", 500):       message.FormPlaintext,
		"binary \x00\xff":                         message.FormBinary,
		strings.Repeat("z", 60<<10):               message.FormOvercompressed,
		"Latin-1: \xfcber":                        message.FormBinary,
		"":                                        message.FormPlaintext,
		"for dora alone":                          message.FormEncrypted,
	} {
		if f, found := got[text]; !found || f != form {
			t.Errorf("message %.60q: form %q (found: %t), want %q", text, f, found, form)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d messages", len(got))
	}
}
