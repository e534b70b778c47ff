package agent

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixminion/client"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/testnet/testdir"
	"mixminion/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var serverNames = []string{"alder", "birch", "cedar", "dogwood", "elm", "fir"}

// descriptors are those of servers that nobody runs, good for years from a day on. The first three deliver mail.
func descriptors(t testing.TB, now time.Time) []byte {
	t.Helper()
	today := now.UTC().Truncate(24 * time.Hour)
	var all []byte
	for i, name := range serverNames {
		f := directory.Fields{
			Nickname: name, Published: now.Add(-time.Hour).Truncate(time.Second), ValidAfter: today, ValidUntil: today.AddDate(5, 0, 0),
			PacketKey: &testdir.Keys()[2*i+1].PublicKey, PacketVersions: []string{packet.Version}, Secure: true, Contact: "operator@example.net",
			Incoming: &directory.Incoming{Hostname: name + ".example.net", Port: 48099, Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
			Outgoing: &directory.Outgoing{Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
		}
		if i < 3 {
			f.SMTP = &directory.Delivery{MaximumSize: 2048, AllowFrom: true}
		}
		text, err := directory.SignDescriptor(testdir.Keys()[2*i], f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// home opens a new home directory that knows the servers.
func home(t testing.TB, clk clock.Clock) *client.Client {
	t.Helper()
	c, err := client.Open(filepath.Join(t.TempDir(), "h"), client.Options{Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Import(descriptors(t, clk.Now())); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs an agent until the test ends, or stop is called, which gives the error of Run.
func start(t testing.TB, a *Agent) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

// fill queues packets to an address, from as many messages.
func fill(t testing.TB, c *client.Client, n int) {
	t.Helper()
	to, err := client.ParseAddress("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	all := new(client.Prepared)
	for range n {
		p, err := c.Prepare(t.Context(), client.Message{To: to, Body: []byte("Dear Bob,\n")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all.Packets = append(all.Packets, p.Packets...)
	}
	enqueue(t, c, all)
}

func enqueue(t testing.TB, c *client.Client, p *client.Prepared) {
	t.Helper()
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unlock(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := c.Enqueue(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}
