package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/freeport"
	"mixminion/packet"
)

// offlineMixes gives descriptors of four mixes that nobody runs.
func offlineMixes(t *testing.T) []byte {
	t.Helper()
	const day = 24 * time.Hour
	now := time.Now().UTC()
	port := freeport.Port(t)
	texts := make([][]byte, minDemoMixes)
	var made sync.WaitGroup
	for i := range texts {
		made.Go(func() {
			identity, err := crypt.GenerateKey(2048)
			if err != nil {
				t.Error(err)
				return
			}
			packetKey, err := crypt.GenerateKey(2048)
			if err != nil {
				t.Error(err)
				return
			}
			texts[i], err = directory.SignDescriptor(identity, directory.Fields{
				Nickname: fmt.Sprintf("mix%d", i), Published: now.Truncate(time.Second),
				ValidAfter: now.Truncate(day), ValidUntil: now.Truncate(day).Add(30 * day),
				PacketKey: &packetKey.PublicKey, PacketVersions: []string{packet.Version},
				Secure: true, Contact: "operator@example.net",
				Incoming: &directory.Incoming{Hostname: "127.0.0.1", Port: port, Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
				Outgoing: &directory.Outgoing{Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
				SMTP:     &directory.Delivery{MaximumSize: 100},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	made.Wait()
	return bytes.Join(texts, nil)
}

// What a user is told when the mixes he knows do not help him.
func TestOffline(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("MIXMINIONRC", "")
	rc := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(home, ".mixminionrc"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(in []byte, status int, want string, args ...string) {
		t.Helper()
		var out, errOut bytes.Buffer
		got := Mixminion(args, bytes.NewReader(in), &out, &errOut)
		if got != status || out.Len() > 0 || !regexp.MustCompile(want).Match(errOut.Bytes()) {
			t.Errorf("%v: status %d, output %q, errors %q", args, got, out.String(), errOut.String())
		}
	}
	rc("")
	mixes := offlineMixes(t)
	run(mixes, 0, `(?s)^Imported mix0 \(127\.0\.0\.1:\d+\), valid until \d{4}-\d\d-\d\d\.\n.*Imported mix3 [^\n]*\n$`, "import-server", "-")
	run(mixes, 1, `(?s)not imported from -: mix0: .*known already.*1 of 1 files were not imported completely\n$`, "import-server", "-")
	run(mixes, 1, `^mixminion: not imported from -: .*\nmixminion: 1 of 1 files were not imported completely\n$`, "-Q", "import-server", "-")

	text := []byte("Hello.\n")
	const unsent = `mixminion: 1 of 1 packets could not be handed to the network: .*Nothing was kept: send the message again`
	run(text, 1, `(?s)^The message fits into one packet. Its path: mix\d,mix\d:mix\d,mix\d\.\n`+unsent, "send", "--no-queue", "-t", "bob@example.com")
	run(text, 1, `^`+unsent, "-Q", "send", "--no-queue", "-t", "bob@example.com")
	run(nil, 1, `(?s)^Making a packet that goes nowhere\.\n.*`+unsent, "send", "--no-queue", "-t", "drop")
	run(text, 1, `^Warning: a path of 2 hops is shorter`, "send", "--no-queue", "-t", "bob@example.com", "-P", "mix1:mix2")
	run(text, 1, `does not allow a From header`, "send", "--no-queue", "-t", "bob@example.com", "--from", "Carol")
	run(text, 1, `headers cannot be used when fragments are delivered`, "send", "--no-queue", "-t", "bob@example.com", "--subject", "x", "--deliver-fragments")
	run(text, 1, `takes 1 in one packet.*; nothing was sent. To send a packet to each recipient, leave out --share-packet`,
		"send", "--no-queue", "-t", "bob@example.com,eve@example.com", "--share-packet")
	run(text, 1, `does not support MBOX`, "send", "--no-queue", "-t", "mbox:bob@mix1")

	rc("[Security]\nForwardPath: mix3,mix2:mix1,mix0\n")
	run(text, 1, `Its path: mix3,mix2:mix1,mix0\.`, "send", "--no-queue", "-t", "bob@example.com")
	run(text, 1, `Its path: mix0,mix1:mix2,mix3\.`, "send", "--no-queue", "-t", "bob@example.com", "-P", "mix0,mix1:mix2,mix3")
	for _, key := range []string{"BlockServers", "BlockEntries", "BlockExits"} {
		rc("[Security]\n" + key + ": mix0, mix1\nForwardPath: mix0,mix2:mix3,mix1\n")
		run(text, 1, `Warning: mix\d is blocked`, "send", "--no-queue", "-t", "bob@example.com")
	}
	rc("[Security]\nBlockServers: mix0\n")
	run(text, 1, `too few usable servers`, "send", "--no-queue", "-t", "bob@example.com")

	// None of it changed what the home directory knows.
	files, err := filepath.Glob(filepath.Join(home, ".mixminion", "*", "*"))
	if err != nil || len(files) != minDemoMixes {
		t.Errorf("files %s: %v", strings.Join(files, " "), err)
	}
}
