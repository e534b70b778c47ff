package mix_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

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
