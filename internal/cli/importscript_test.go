package cli_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"

	"github.com/rogpeppe/go-internal/testscript"
)

// oldBase writes a base directory as 0.0.8 leaves it, with a packet key of today whose replay log holds two hashes, one
// of them in the journal.
func oldBase(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: oldbase directory")
	}
	dir := ts.MkAbs(args[0])
	identity, err := crypt.GenerateKey(2048)
	ts.Check(err)
	key, err := crypt.GenerateKey(2048)
	ts.Check(err)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	desc, err := directory.SignDescriptor(identity, directory.Fields{
		Nickname: "gamma", Contact: "admin@example.com", Published: time.Now().UTC().Truncate(time.Second), ValidAfter: today, ValidUntil: today.AddDate(0, 0, 30),
		PacketKey: &key.PublicKey, PacketVersions: []string{"0.3"}, Software: "Mixminion 0.0.8alpha3", Secure: true,
		Incoming: &directory.Incoming{Hostname: "127.0.0.1", Port: 47003, Protocols: []string{"0.3"}, TLS: directory.TLSVersions(false)},
		Outgoing: &directory.Outgoing{Protocols: []string{"0.3"}, TLS: directory.TLSVersions(false)}, SMTP: &directory.Delivery{MaximumSize: 32},
	})
	ts.Check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	owner := crypt.NewKeyID(&key.PublicKey)
	data := append(append(owner[:], make([]byte, 512-len(owner))...), '1')
	for name, content := range map[string][]byte{
		"version":                  []byte("1001"),
		"stats":                    []byte("# counts\n"),
		"pid":                      []byte("999999999 \n"),
		"keys/identity.key":        pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(identity)}),
		"keys/key_0007/mix.key":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		"keys/key_0007/ServerDesc": desc,
		"work/hashlogs/hash_0007.dir": fmt.Appendf(nil, "'KEYID', (0, 20)\n'%x', (512, 1)\n",
			[]byte("the first hash      ")),
		"work/hashlogs/hash_0007.dat":         data,
		"work/hashlogs/hash_0007_jrnl":        []byte("the hash of journal "),
		"work/queues/mix/msg_abcdefgh":        []byte("a packet"),
		"work/queues/outgoing/meta_abcdefgh":  []byte("meta"),
		"work/queues/deliver/SMTP/rmv_123456": []byte("gone"),
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		ts.Check(os.MkdirAll(filepath.Dir(file), 0o700))
		ts.Check(os.WriteFile(file, content, 0o600))
	}
}
