package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"mixminion/client"
	"mixminion/internal/testnet"
	"mixminion/message"
	"mixminion/mix"
	"mixminion/path"
)

// exampleNet is a network on loopback, with a mail server behind it.
type exampleNet struct {
	*testnet.Network
	sink *testnet.Sink
	dir  string
}

func startExample(ctx context.Context) *exampleNet {
	dir, err := os.MkdirTemp("", "mixminion-example-")
	if err != nil {
		log.Fatal(err)
	}
	sink, err := testnet.NewSink(ctx)
	if err != nil {
		log.Fatal(err)
	}
	net, err := testnet.Start(ctx, testnet.Options{
		Dir: filepath.Join(dir, "mixes"), Mixes: 4, SMTP: sink.Addr,
		Rule: mix.Rule{Algorithm: mix.Timed}, Interval: 100 * time.Millisecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	return &exampleNet{Network: net, sink: sink, dir: dir}
}

func (n *exampleNet) stop() {
	if err := errors.Join(n.Close(), n.sink.Close(), os.RemoveAll(n.dir)); err != nil {
		log.Print(err)
	}
}

// home makes the home directory of a user who knows all mixes.
func (n *exampleNet) home(ctx context.Context, name string) *client.Client {
	c, err := client.Open(filepath.Join(n.dir, name), client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	unlock, err := c.Lock(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Import(n.Descriptors())
	if err := errors.Join(err, unlock()); err != nil {
		log.Fatal(err)
	}
	return c
}

// Alice sends Bob a message, by way of the queue, and Bob reads it.
func Example() {
	ctx := context.Background()
	net := startExample(ctx)
	defer net.stop()
	alice := net.home(ctx, "alice")

	to, err := client.ParseAddress("bob@example.com")
	if err != nil {
		log.Fatal(err)
	}
	prepared, err := alice.Prepare(ctx, client.Message{
		To:      to,
		Headers: message.Headers{Subject: "Hello"},
		Body:    []byte("Nobody knows where this comes from.\n"),
	}, nil)
	if err != nil {
		log.Fatal(err) // nothing has left
	}
	for _, w := range prepared.Warnings {
		fmt.Println("Warning:", w)
	}

	unlock, err := alice.Lock(ctx, func() { fmt.Println("another program is at work") })
	if err != nil {
		log.Fatal(err)
	}
	_, err = alice.Enqueue(ctx, prepared) // from here on nothing gets lost
	if err == nil {
		var result *client.FlushResult
		if result, err = alice.Flush(ctx, nil, 0, nil); err == nil {
			fmt.Println(result.Sent, "sent,", result.Kept, "kept")
		}
	}
	if err := errors.Join(err, unlock()); err != nil {
		log.Fatal(err)
	}

	mail := <-net.sink.Mails
	bob := net.home(ctx, "bob")
	for m, err := range bob.Decode(ctx, bytes.NewReader(mail.Data), client.DecodeOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s got: %s", mail.To, m.Body)
	}
	// Output:
	// 1 sent, 0 kept
	// bob@example.com got: Nobody knows where this comes from.
}

// Alice makes a reply block, Bob answers through it, and she opens the answer.
func ExampleClient_GenerateSURBs() {
	ctx := context.Background()
	net := startExample(ctx)
	defer net.stop()
	alice, bob := net.home(ctx, "alice"), net.home(ctx, "bob")
	password := []byte("open sesame")

	home, err := client.ParseAddress("alice@example.net")
	if err != nil {
		log.Fatal(err)
	}
	unlock, err := alice.Lock(ctx, nil) // before the keyring is read, since it will be written
	if err != nil {
		log.Fatal(err)
	}
	var made *client.NewSURBs
	ring, err := alice.Keyring(password)
	if err == nil {
		key, fresh, keyErr := alice.SURBKey(ring, "Twain", client.SURBLifetime)
		if err = keyErr; err == nil && fresh {
			err = alice.SaveKeyring(ring, password) // first of all: without it no answer can be read
		}
		if err == nil {
			made, err = alice.GenerateSURBs(ctx, 1, home, key.Secret, path.Spec{}, client.SURBLifetime)
		}
	}
	if err := errors.Join(err, unlock()); err != nil {
		log.Fatal(err)
	}

	usable, skipped, err := bob.UsableSURBs(made.SURBs)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(usable), "usable,", skipped.Used, "used")
	answer, used, err := bob.PrepareReply(ctx, client.Reply{Body: []byte("I do not know who you are.\n")}, usable, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := bob.Deliver(ctx, answer, nil); err != nil {
		log.Fatal(err)
	}
	_, _, err = bob.PrepareReply(ctx, client.Reply{Body: []byte("P.S.\n")}, made.SURBs[:used], nil)
	fmt.Println("again:", errors.Is(err, client.ErrSURBUsed))

	mail := <-net.sink.Mails
	keys := func() (message.Keys, error) { return alice.Keys(ring), nil }
	for m, err := range alice.Decode(ctx, bytes.NewReader(mail.Data), client.DecodeOptions{Keys: keys}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("for %s: %s", m.By.Name, m.Body)
	}
	// Output:
	// 1 usable, 0 used
	// again: true
	// for twain: I do not know who you are.
}

// What users write for several recipients becomes a message for each, or for groups that share a packet.
func ExampleRecipients() {
	list, err := client.ParseAddresses("carol@example.com, bob@Example.com, alice@example.com, bob@example.com")
	if err == nil {
		list, err = client.Recipients(list)
	}
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range list {
		fmt.Printf("%v %s\n", a.Type, a.Info)
	}
	for _, a := range client.Share(list) {
		fmt.Printf("%d in one packet\n", a.Mailboxes())
	}
	// Output:
	// SMTP alice@example.com
	// SMTP bob@example.com
	// SMTP carol@example.com
	// 3 in one packet
}

// What is no key to encrypt to is refused with a reason.
func ExampleParseUserKey() {
	_, err := client.ParseUserKey([]byte("no key at all"))
	fmt.Println(errors.Is(err, client.ErrPublicKey))
	fmt.Println(err)
	// Output:
	// true
	// not a public key for messages: it has no complete block of the kind -----BEGIN PUBLIC KEY-----
}
