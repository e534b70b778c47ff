package mix_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/mix"
)

func TestDamagedIdentity(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	good, err := keyDir()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good["identity.key"])
	for name, data := range map[string][]byte{
		"empty":         {},
		"no PEM":        []byte("not a key\n"),
		"cut":           good["identity.key"][:500],
		"wrong bytes":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: block.Bytes[:100]}),
		"wrong PKCS#1":  pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: block.Bytes}),
		"elliptic":      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ecDER}),
		"a certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			path := r.keyPath("identity.key")
			mustWrite(t, path, data)
			if err := r.tryOpen(); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			if !bytes.Equal(mustRead(t, path), data) || !exists(t, r.keyPath("key_0001", "mix.key")) {
				t.Error("the files were changed")
			}
		})
	}
}

// A damaged file of a key set stops the mix: the operator may have a copy. Nothing is destroyed.
func TestDamagedKeySet(t *testing.T) {
	for name, damage := range map[string]func(r *rig){
		"key":                func(r *rig) { mustWrite(t, r.keyPath("key_0001", "mix.key"), []byte("x")) },
		"descriptor":         func(r *rig) { mustWrite(t, r.keyPath("key_0001", "ServerDesc"), []byte("x")) },
		"descriptor missing": func(r *rig) { _ = os.Remove(r.keyPath("key_0001", "ServerDesc")) },
		"other key": func(r *rig) {
			der, err := x509.MarshalPKCS8PrivateKey(testKey(t, 0))
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, r.keyPath("key_0001", "mix.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			damage(r)
			if err := r.tryOpen(); err == nil || !strings.Contains(err.Error(), "key_0001") {
				t.Errorf("the error does not name the key set: %v", err)
			}
			if !exists(t, r.keyPath("key_0001", "mix.key")) {
				t.Error("the key was destroyed")
			}
		})
	}
}

// What a crash leaves in the middle of making or destroying a key set is cleared away.
func TestCrashLeftovers(t *testing.T) {
	for _, c := range []struct {
		name    string
		crash   func(t *testing.T, r *rig)
		message string // what the log says
	}{
		{"while it was made", func(t *testing.T, r *rig) {
			if err := os.Remove(r.keyPath("key_0001", "mix.key")); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"as soon as it was made", func(t *testing.T, r *rig) {
			if err := os.RemoveAll(r.keyPath("key_0001")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(r.keyPath("key_0001"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"while it was destroyed", func(t *testing.T, r *rig) {
			if err := os.Rename(r.keyPath("key_0001", "mix.key"), r.keyPath("key_0001", "mix.dead")); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"when its log was gone", func(t *testing.T, r *rig) {
			if err := os.Rename(r.keyPath("key_0001", "mix.key"), r.keyPath("key_0001", "mix.dead")); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(r.keyPath("key_0001", "replay")); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"log lost", func(t *testing.T, r *rig) {
			if err := os.RemoveAll(r.keyPath("key_0001", "replay")); err != nil {
				t.Fatal(err)
			}
		}, "a packet key has lost its replay log and is destroyed"},
		{"log emptied", func(t *testing.T, r *rig) { damageLog(t, r, func([]byte) []byte { return nil }) },
			"a packet key has lost its replay log and is destroyed"},
		{"log corrupted", func(t *testing.T, r *rig) {
			damageLog(t, r, func(b []byte) []byte {
				for i := range b {
					b[i] ^= 0x55
				}
				return b
			})
		}, "a packet key has lost its replay log and is destroyed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			old := descriptors(t, r.cfg.KeyDir)["key_0001"]
			c.crash(t, r)
			r.open()
			d := r.mix.Descriptors()
			if len(d) != 1 || d[0].PacketKey.Equal(old.PacketKey) {
				t.Fatal("the old packet key is still announced")
			}
			if d[0].KeyID() != old.KeyID() {
				t.Error("the identity changed")
			}
			if sets := r.keySets(); len(sets) != 1 || exists(t, r.keyPath(sets[0], "mix.dead")) {
				t.Errorf("key sets %v", sets)
			}
			if c.message != "" && r.log.count(c.message) != 1 {
				t.Error("the log does not tell of the loss")
			}
			if c.message == "" && r.log.count("level=ERROR") != 0 {
				t.Error("the log tells of an error")
			}
			r.checkKeys("afterwards")
		})
	}
}

// damageLog changes every file of the replay log of the first key set.
func damageLog(t *testing.T, r *rig, change func([]byte) []byte) {
	t.Helper()
	err := filepath.WalkDir(r.keyPath("key_0001", "replay"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.WriteFile(path, change(mustRead(t, path)), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// When an expired key cannot be destroyed the mix goes on with its next key all the same, and destroys the old one when it can.
func TestStubbornKey(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.Interval = 1000 * day
	r.run()
	r.clk.await(t, time.Hour)
	dead := r.keyPath("key_0001", "mix.dead")
	if err := os.MkdirAll(dead, 0o700); err != nil { // the key cannot be renamed to this
		t.Fatal(err)
	}
	mustWrite(t, r.keyPath("key_0001", "mix.dead", "x"), nil)
	r.clk.Advance(40 * day)
	r.clk.await(t, time.Hour)
	if r.log.count("level=ERROR") != 1 {
		t.Error("the failure was not logged")
	}
	if d := r.mix.Descriptors(); len(d) == 0 || !d[0].LiveAt(r.clk.Now()) {
		t.Error("there is no key that is valid now")
	}
	if err := os.RemoveAll(dead); err != nil {
		t.Fatal(err)
	}
	r.clk.Advance(time.Hour)
	r.clk.await(t, time.Hour)
	r.reopen()
	if got := r.keySets(); slices.Contains(got, "key_0001") || len(got) == 0 {
		t.Errorf("key sets %v", got)
	}
}

// Hashes of a key that is gone must not keep the segments of the store for ever.
func TestOrphansAreDropped(t *testing.T) {
	r := newRig(t, nil).run()
	next := newFakeHop(t, r.clk, 0)
	p, _ := r.relayed(next.Node)
	r.mustSend(p)
	r.close()
	if err := os.RemoveAll(r.keyPath("key_0001", "replay")); err != nil { // lost: the key is destroyed
		t.Fatal(err)
	}
	r.run()
	r.mixOnce()
	eventually(t, "the packet arrives", func() bool { return r.mix.Counts().Relayed == 1 })
	r.close()
	for range 3 {
		r.run()
		r.mixOnce()
		r.close()
	}
	segs, err := filepath.Glob(filepath.Join(r.cfg.QueueDir, "*.seg"))
	if err != nil || len(segs) > 2 || filepath.Base(segs[0]) == "0000000001.seg" {
		t.Errorf("segments %v, %v", segs, err)
	}
}

// Packet keys without their identity key mean that a file was lost, not that the mix is new.
func TestLostIdentity(t *testing.T) {
	r := newRig(t, nil)
	if err := os.Remove(r.keyPath("identity.key")); err != nil {
		t.Fatal(err)
	}
	if err := r.tryOpen(); !errors.Is(err, mix.ErrNoIdentity) || !strings.Contains(err.Error(), r.keyPath("identity.key")) {
		t.Errorf("%v", err)
	}
	if exists(t, r.keyPath("identity.key")) || !exists(t, r.keyPath("key_0001", "mix.key")) {
		t.Error("the keys were changed")
	}
}
