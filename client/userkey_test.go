package client_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mixminion/client"
	"mixminion/internal/crypt"
	"mixminion/message"
	"mixminion/packet"
)

// rsaKeys are keys that some tests share.
var rsaKeys = sync.OnceValue(func() (keys struct{ good, small, exponent *rsa.PrivateKey }) {
	var err, err2 error
	keys.good, err = crypt.GenerateKey(2048)
	keys.small, err2 = crypt.GenerateKey(1024)
	if err = errors.Join(err, err2); err != nil {
		panic(err)
	}
	odd := *keys.good
	odd.E = 3
	keys.exponent = &odd
	return keys
})

func pemBlock(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkix(t *testing.T, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseUserKey(t *testing.T) {
	keys := rsaKeys()
	good := &keys.good.PublicKey
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	whole := pemBlock("PUBLIC KEY", pkix(t, good))
	for name, text := range map[string]string{
		"PKIX":         whole,
		"PKCS#1":       pemBlock("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(good)),
		"in a mail":    "Dear Bob,\nhere it is.\n\n" + whole + "\nAlice\n",
		"CRLF":         strings.ReplaceAll(whole, "\n", "\r\n"),
		"its own form": string(client.UserKey{Public: good}.PEM()),
	} {
		k, err := client.ParseUserKey([]byte(text))
		if err != nil || !k.Public.Equal(good) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := sha1.Sum(x509.MarshalPKCS1PublicKey(good)); k.Name != hex.EncodeToString(want[:4]) {
			t.Errorf("%s: name %s", name, k.Name)
		}
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":      {"", "no complete block"},
		"text":         {"Hello.\n", "no complete block"},
		"cut off":      {whole[:len(whole)/2], "no complete block"},
		"two":          {whole + whole, "more than one"},
		"private":      {pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys.good)), "private half"},
		"encrypted":    {pemBlock("ENCRYPTED PRIVATE KEY", []byte("x")), "private half"},
		"certificate":  {pemBlock("CERTIFICATE", []byte("x")), `a "CERTIFICATE"`},
		"noise":        {pemBlock("PUBLIC KEY", []byte("noise")), "damaged"},
		"PKCS#1 noise": {pemBlock("RSA PUBLIC KEY", []byte("noise")), "2048 bits"},
		"mislabelled":  {pemBlock("RSA PUBLIC KEY", pkix(t, good)), "2048 bits"},
		"no RSA":       {pemBlock("PUBLIC KEY", pkix(t, &other.PublicKey)), "no RSA key"},
		"1024 bits":    {pemBlock("PUBLIC KEY", pkix(t, &keys.small.PublicKey)), "modulus of 1024 bits"},
		"exponent":     {pemBlock("PUBLIC KEY", pkix(t, &keys.exponent.PublicKey)), "exponent is not 65537"},
	} {
		if _, err := client.ParseUserKey([]byte(c.text)); !errors.Is(err, client.ErrPublicKey) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseUserKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Add(client.UserKey{Public: &rsaKeys().good.PublicKey}.PEM())
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := client.ParseUserKey(text)
		if err != nil {
			return
		}
		if again, err := client.ParseUserKey(k.PEM()); err != nil || !again.Public.Equal(k.Public) || again.Name != k.Name {
			t.Errorf("comes back as %v, %v", again, err)
		}
	})
}

// decodeAll decodes text with user keys.
func decodeAll(t *testing.T, c *client.Client, keys []message.PrivateKey, text string) ([]client.Received, error) {
	t.Helper()
	var list []client.Received
	var errs []error
	o := client.DecodeOptions{Keys: func() (message.Keys, error) { return message.Keys{Private: keys}, nil }}
	for r, err := range c.Decode(t.Context(), strings.NewReader(text), o) {
		list, errs = append(list, r), append(errs, err)
	}
	return list, errors.Join(errs...)
}

// Messages that are encrypted to a user key are read with it, also when a newer one is there; and by nobody else.
func TestUserKeys(t *testing.T) {
	c, _, home := newHome(t, descriptors(t))
	if _, err := c.GenerateUserKey(nil); !errors.Is(err, client.ErrNotLocked) {
		t.Errorf("without the lock: %v", err)
	}
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var keys []client.UserKey
	for range 2 {
		k, err := c.GenerateUserKey([]byte("open sesame"))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if names, err := c.UserKeys(); err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
	private, err := c.OpenUserKeys([]byte("open sesame"))
	if err != nil || len(private) != 2 {
		t.Fatalf("%d keys: %v", len(private), err)
	}
	if none, err := c.OpenUserKeys([]byte("sesame")); len(none) != 0 || !errors.Is(err, client.ErrUserKeyPassword) {
		t.Errorf("%d keys with another passphrase: %v", len(none), err)
	}
	for _, k := range keys {
		file := filepath.Join(home, "keys", "user-"+k.Name)
		text, err := os.ReadFile(file + ".key")
		if err != nil || !bytes.HasPrefix(text, []byte("-----BEGIN AGE ENCRYPTED FILE-----\n")) {
			t.Errorf("%v\n%s", err, text)
		}
		info, err := os.Stat(file + ".key")
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		public, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		if read, err := client.ParseUserKey(public); err != nil || !read.Public.Equal(k.Public) {
			t.Error(err)
		}
		to := parseAddress(t, "bob@example.com")
		for _, m := range []client.Message{
			{Body: []byte("Hello in secret.\n")},
			{Headers: message.Headers{Subject: "Secret", From: "Alice"}, Body: []byte("Hello.\n"), DeliverFragments: true},
			{Body: []byte(randomText(t, 60_000))},
		} {
			m.To, m.EncryptTo = to, k.Public
			p, err := c.Prepare(t.Context(), m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := client.CountPackets(m); err != nil || n != len(p.Packets) {
				t.Errorf("%d packets, %d foretold, %v", len(p.Packets), n, err)
			}
			var mail strings.Builder
			for _, pk := range p.Packets {
				j := carry(t, pk)
				d := j.delivered(t, to)
				if d.Form != message.FormEncrypted || d.Headers != (message.Headers{}) || bytes.Contains(d.Body, m.Body) {
					t.Fatalf("delivered as %s", d.Form)
				}
				mail.Write(d.Armor())
			}
			got, err := decodeAll(t, c, private, mail.String())
			if err != nil || len(got) != len(p.Packets) {
				t.Fatalf("%d messages: %v", len(got), err)
			}
			by := message.Opener{Via: message.ViaKey, Name: k.Name}
			for _, r := range got {
				switch {
				case r.Fragment != nil && r.Fragment.For == by:
				case r.By != by || !bytes.Equal(r.Body, m.Body):
					t.Errorf("opened by %v", r.By)
				case m.Headers.Subject != "" && !bytes.Contains(r.Headers, []byte("SUBJECT:Secret\n")):
					t.Errorf("headers %q", r.Headers)
				}
			}
			others := slices.DeleteFunc(slices.Clone(private), func(p message.PrivateKey) bool { return p.Name == k.Name })
			if _, err := decodeAll(t, c, others, mail.String()); !errors.Is(err, message.ErrNotForUs) {
				t.Errorf("with another key: %v", err)
			}
		}
	}
}

func TestUserKeyFiles(t *testing.T) {
	c, _, home := newHome(t)
	lock(t, c)
	if _, err := c.GenerateUserKey(nil); err != nil {
		t.Fatal(err)
	}
	sealed, err := c.GenerateUserKey([]byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(home, "keys", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	small, err := x509.MarshalPKCS8PrivateKey(rsaKeys().small)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(home, "keys", "user-"+sealed.Name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	write("user-empty.key", "")
	write("user-noise.key", pemBlock("PRIVATE KEY", []byte("noise")))
	write("user-small.key", pemBlock("PRIVATE KEY", small))
	write("user-torn.key", string(text[:len(text)/2]))
	write("user-changed.key", strings.Replace(string(text), "\n", "\nAAAA", 1))
	write("user-long.key", strings.Repeat("x", 1<<20))
	write("user-other.pub", "no private half")
	write("stranger.key", "none of ours")
	keys, err := c.OpenUserKeys([]byte("open sesame"))
	if len(keys) != 2 || !errors.Is(err, client.ErrUserKey) || errors.Is(err, client.ErrUserKeyPassword) {
		t.Errorf("%d keys: %v", len(keys), err)
	}
	for _, name := range []string{"empty", "noise", "small", "torn", "changed", "long"} {
		if !strings.Contains(err.Error(), "your key "+name+": not a user key that this program can read") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if keys, err = c.OpenUserKeys(nil); len(keys) != 1 || !errors.Is(err, client.ErrUserKeyPassword) {
		t.Errorf("%d keys: %v", len(keys), err)
	}
}

func TestEncryptRefuses(t *testing.T) {
	c, _ := newClient(t, descriptors(t))
	keys := rsaKeys()
	for _, m := range []client.Message{
		{To: parseAddress(t, "bob@example.com"), EncryptTo: &keys.small.PublicKey},
		{To: parseAddress(t, "0x0105:ping"), EncryptTo: &keys.good.PublicKey},
	} {
		if _, err := c.Prepare(t.Context(), m, nil); err == nil || !strings.HasPrefix(err.Error(), "encrypt message: ") {
			t.Errorf("%v: %v", m.To.Type, err)
		}
	}
}

// What the first implementation encrypted is read with a key that lies where this program keeps them.
func TestUserKeyVector(t *testing.T) {
	const dir = "../message/testdata"
	readJSON := func(name string, into any) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var servers []struct {
		Nickname string
		Key      []byte `json:"packet_key_pkcs1_der"`
	}
	readJSON("servers.json", &servers)
	var cases []struct {
		Name, Packet string
		Message      []byte
		Recipient    []byte `json:"recipient_key_pkcs1_der"`
		Steps        []struct{ Server, Tag string }
	}
	readJSON("packets.json", &cases)
	unwrap := map[string]*packet.Unwrapper{}
	for _, s := range servers {
		key, err := x509.ParsePKCS1PrivateKey(s.Key)
		if err != nil {
			t.Fatal(err)
		}
		opener, err := crypt.StdProvider{}.Decrypter(key)
		if err != nil {
			t.Fatal(err)
		}
		if unwrap[s.Nickname], err = packet.NewUnwrapper(opener); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for _, v := range cases {
		if v.Recipient == nil {
			continue
		}
		found++
		data, err := os.ReadFile(filepath.Join(dir, v.Packet))
		if err != nil {
			t.Fatal(err)
		}
		p := packet.Packet(data)
		for _, step := range v.Steps {
			if _, err := unwrap[step.Server].Unwrap(&p); err != nil {
				t.Fatal(err)
			}
		}
		tag, err := hex.DecodeString(v.Steps[len(v.Steps)-1].Tag)
		if err != nil {
			t.Fatal(err)
		}
		d, err := message.DecodeForExit((*packet.Payload)(p[2*packet.HeaderLen:]), packet.Tag(tag))
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.ParsePKCS1PrivateKey(v.Recipient)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		c, _, home := newHome(t)
		if err := os.WriteFile(filepath.Join(home, "keys", "user-vector.key"), []byte(pemBlock("PRIVATE KEY", der)), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := c.OpenUserKeys(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeAll(t, c, keys, string(d.Armor()))
		if err != nil || len(got) != 1 {
			t.Fatalf("%d messages: %v", len(got), err)
		}
		if whole := append(bytes.Clone(got[0].Headers), got[0].Body...); got[0].By.Name != "vector" ||
			!bytes.Equal(bytes.TrimPrefix(v.Message, []byte("\n")), whole) {
			t.Errorf("by %s: %q", got[0].By.Name, whole)
		}
	}
	if found == 0 {
		t.Error("there is no such packet")
	}
}
