package mix_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mixminion/internal/store"
	"mixminion/internal/vault"
	"mixminion/mix"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The crash tests run this same program as the mix that they kill.
	if dir := os.Getenv(crashDirEnv); dir != "" {
		if err := crashMix(dir, os.Getenv(crashAddrEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(exitCrashDirEnv); dir != "" {
		if err := crashExit(dir, os.Getenv(exitCrashServersEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// testVault is the master key of a mix in dir.
func testVault(dir string) (*vault.Vault, error) {
	secret, err := vault.Key([]byte("as long as a key must be at least, and more"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, vault.FileName)
	v, err := vault.Open(path, secret)
	if errors.Is(err, vault.ErrNoVault) {
		v, err = vault.Create(path, secret)
	}
	return v, err
}

// testDisk is what the packets of a mix with a testVault lie on.
func testDisk(t testing.TB, dir string) store.FS {
	t.Helper()
	v, err := testVault(dir)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := (&mix.Config{Vault: v}).Disk()
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

const day = 24 * time.Hour

// testConfig is a mix in dir that is reached at l and only relays.
func testConfig(dir string, l net.Listener) mix.Config {
	return mix.Config{
		KeyDir: filepath.Join(dir, "keys"), QueueDir: filepath.Join(dir, "queues"),
		Nickname: "tested", Contact: "operator@example.com", Software: "Mixminion test",
		KeyLifetime: 30 * day, KeyOverlap: 2 * day,
		Hostname: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port),
		Rule: mix.Rule{Algorithm: mix.Timed}, Interval: 5 * time.Minute, Relay: true, DialPrivate: true,
		OutgoingRetry: mix.Schedule{time.Minute, time.Hour, day},
	}
}
