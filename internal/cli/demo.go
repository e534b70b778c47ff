package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mixminion/client"
	"mixminion/internal/config"
	"mixminion/internal/testnet"
	"mixminion/message"
	"mixminion/message/keyring"
	"mixminion/mix"
	"mixminion/path"

	"github.com/spf13/cobra"
)

const (
	demoText = "Dear Bob,\n\n" +
		"nobody on the way knew both of us.\n\n" +
		"Alice\n"
	demoAnswer = "Dear stranger,\n\nI can answer you, and I do not know who you are.\n\nBob\n"

	demoTo   = "bob@example.com"
	demoHome = "alice@example.net"

	demoInterval = 300 * time.Millisecond
	demoTimeout  = 60 * time.Second
	demoMixes    = 6
	minDemoMixes = 4

	demoAuthorities = 3

	// shownBody is how much of a mail is printed.
	shownBody = 1200
)

func newDemo(s *streams) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Send a message through a network of mixes on this machine",
		Long: "Starts a network of mixes, directory authorities and a mail server in this process, on\n" +
			"loopback. The authorities vote on the directory of today; then standard input, or a\n" +
			"text of its own, is sent through the mixes into a mailbox, and answered through a\n" +
			"reply block. The mixes are real, but their pool is a fast one for show: it sends\n" +
			"everything on at once and hides nobody.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{streams: s, demoOptions: o}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().Var(&o.size, "size", "send a text of this `SIZE`, like 1M, in place of standard input")
	cmd.Flags().IntVar(&o.servers, "servers", demoMixes, "how many mixes to start, `N` from 4 to 24")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "leave the network running and say how to use it from another terminal")
	return cmd
}

type demoOptions struct {
	size    sizeFlag
	servers int
	keep    bool
}

// sizeFlag is a config.Size as a flag: 1M, 100 KB.
type sizeFlag config.Size

func (f *sizeFlag) Set(text string) error { return (*config.Size)(f).Set(text) }
func (f *sizeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return config.Size(*f).String()
}
func (f *sizeFlag) Type() string { return "size" }

// demo is one run.
type demo struct {
	*streams
	demoOptions

	sink  *testnet.Sink
	clock *testnet.Night
	net   *testnet.Network
	user  *client.Client

	mu      sync.Mutex
	begun   time.Time
	batches map[string]int
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.servers < minDemoMixes || d.servers > len(testnet.Names) {
		return fmt.Errorf("--servers: a path needs %d different mixes, and there are names for %d", minDemoMixes, len(testnet.Names))
	}
	if d.size > testnet.MaximumSize {
		return fmt.Errorf("--size: the exits of the demo take at most %s", config.Size(testnet.MaximumSize))
	}
	d.begun = time.Now()
	body, err := d.text()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mixminion-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := d.start(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.net.Close(), d.sink.Close()) }()

	if err := d.forward(ctx, body); err != nil {
		return err
	}
	if err := d.reply(ctx); err != nil {
		return err
	}
	d.print("\nBoth messages arrived intact, after %.1f seconds.", time.Since(d.begun).Seconds())
	if d.keep {
		return d.wait(ctx, dir)
	}
	return nil
}

// print writes a line of the demo's story.
func (d *demo) print(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format+"\n", args...) // a closed output is no reason to fail: the status tells the outcome
}

// text is what is sent.
func (d *demo) text() ([]byte, error) {
	switch {
	case d.size > 0:
		var b bytes.Buffer
		line := make([]byte, 48)
		for b.Len() < int(d.size) {
			rand.Read(line)
			b.WriteString(base64.StdEncoding.EncodeToString(line) + "\n")
		}
		return append(b.Bytes()[:d.size-1], '\n'), nil
	case isTerminal(d.in):
		return []byte(demoText), nil
	}
	body, err := readAll(d.in, "standard input", testnet.MaximumSize)
	if err == nil && len(body) == 0 {
		body = []byte(demoText)
	}
	return body, err
}

func (d *demo) start(ctx context.Context, dir string) (err error) {
	d.print("Starting %d directory authorities, %d mixes and a mail server on loopback. The pool of the mixes\n"+
		"is a fast one, for show: it lets everything go every %v and would hide nobody.\n", demoAuthorities, d.servers, demoInterval)
	if d.sink, err = testnet.NewSink(ctx); err != nil {
		return err
	}
	d.batches = map[string]int{}
	d.clock = testnet.NewNight()
	d.net, err = testnet.Start(ctx, testnet.Options{
		Dir: filepath.Join(dir, "network"), Mixes: d.servers, Authorities: demoAuthorities, SMTP: d.sink.Addr,
		Rule: mix.Rule{Algorithm: mix.Timed}, Interval: demoInterval, Watch: d.watch, Clock: d.clock,
	})
	if err != nil {
		return errors.Join(err, d.sink.Close())
	}
	if err := d.vote(ctx); err != nil {
		return errors.Join(err, d.net.Close(), d.sink.Close())
	}
	if err := d.download(ctx, dir); err != nil {
		return errors.Join(err, d.net.Close(), d.sink.Close())
	}
	return nil
}

// maxBatchLines is how many batches of one mix are told of, so that a long message does not flood the screen.
const maxBatchLines = 3

func (d *demo) watch(name string, b mix.Batch) {
	if b.Left == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batches[name]++
	switch n := d.batches[name]; {
	case n <= maxBatchLines:
		d.print("  %5.1f s  %s sends on a shuffled batch of %s", time.Since(d.begun).Seconds(), name, count(b.Left, "packet"))
	case n == maxBatchLines+1:
		d.print("  %5.1f s  %s sends on more batches", time.Since(d.begun).Seconds(), name)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// forward sends body to Bob and checks what he gets.
func (d *demo) forward(ctx context.Context, body []byte) error {
	to, err := client.ParseAddress(demoTo)
	if err != nil {
		return err
	}
	d.print("\nAlice sends %s to %s.", count(len(body), "byte"), demoTo)
	m := client.Message{To: to, Headers: message.Headers{Subject: "From the demo", From: "A friend"}, Body: body}
	if err := d.send(ctx, "", func(w client.Watcher) (*client.Prepared, error) { return d.user.Prepare(ctx, m, w) }); err != nil {
		return err
	}
	mail, err := d.await(ctx)
	if err != nil {
		return err
	}
	d.print("\nThe mail server got this for %s:\n", mail.To)
	d.show(mail.Data)
	got, err := testnet.Body(mail.Data)
	if err != nil {
		return err
	}
	all, err := message.ParseDelivered(got)
	if err != nil {
		return fmt.Errorf("the mail holds no message: %w", err)
	}
	if len(all) != 1 || !sameText(all[0].Body, body) {
		return errors.New("the message that arrived is not the one that was sent")
	}
	return nil
}

// sameText compares bodies but for the newline that a text gets at its end.
func sameText(a, b []byte) bool {
	return bytes.Equal(bytes.TrimSuffix(a, []byte("\n")), bytes.TrimSuffix(b, []byte("\n")))
}

// send prepares and delivers a message; behind says what follows the path that the sender knows.
func (d *demo) send(ctx context.Context, behind string, prepare func(client.Watcher) (*client.Prepared, error)) error {
	p := newProgress(d.streams)
	ready, err := prepare(p)
	p.clear()
	if err != nil {
		return err
	}
	if n := len(ready.Packets); n == 1 {
		d.print("It is wrapped into one packet of 32 KB, with a layer for each mix of its path: %s%s.", ready.Packets[0].Route, behind)
	} else {
		d.print("It is wrapped into %d packets of 32 KB, each with a path of its own. They end at one mix,\n"+
			"which puts the message together; not all of them need to arrive.", n)
	}
	err = d.user.Deliver(ctx, ready, p)
	p.clear()
	return err
}

func (d *demo) await(ctx context.Context) (testnet.Mail, error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	select {
	case m := <-d.sink.Mails:
		return m, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return testnet.Mail{}, fmt.Errorf("no mail arrived within %v", demoTimeout)
		}
		return testnet.Mail{}, ctx.Err()
	}
}

// show prints the beginning of a mail.
func (d *demo) show(data []byte) {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	rest := 0
	if len(text) > shownBody {
		cut := strings.LastIndex(text[:shownBody], "\n") + 1
		text, rest = text[:cut], len(text)-cut
	}
	for line := range strings.Lines(text) {
		d.print("  | %s", strings.TrimSuffix(line, "\n"))
	}
	if rest > 0 {
		d.print("  | [%s more]", count(rest, "byte"))
	}
}

// reply makes a reply block, answers through it as Bob would, and opens the answer as Alice would.
func (d *demo) reply(ctx context.Context) error {
	ring, now := new(keyring.Keyring), time.Now()
	key, err := ring.Generate(rand.Reader, "", now, now.Add(client.SURBLifetime))
	if err != nil {
		return err
	}
	home, err := client.ParseAddress(demoHome)
	if err != nil {
		return err
	}
	made, err := d.user.GenerateSURBs(ctx, 1, home, key.Secret, path.Spec{}, client.SURBLifetime)
	if err != nil {
		return err
	}
	d.print("\nNow Bob answers. He has a reply block of Alice's: it leads to her, and he cannot see where.")
	d.mu.Lock()
	clear(d.batches)
	d.mu.Unlock()
	err = d.send(ctx, ", and behind them those that the reply block hides", func(w client.Watcher) (*client.Prepared, error) {
		ready, _, err := d.user.PrepareReply(ctx, client.Reply{Body: []byte(demoAnswer)}, made.SURBs, w)
		return ready, err
	})
	if err != nil {
		return err
	}
	mail, err := d.await(ctx)
	if err != nil {
		return err
	}
	d.print("\nThe mail server got this for %s. Only she can read it:\n", mail.To)
	d.show(mail.Data)
	return d.decode(mail, ring)
}

func (d *demo) decode(mail testnet.Mail, ring *keyring.Keyring) error {
	body, err := testnet.Body(mail.Data)
	if err != nil {
		return err
	}
	all, err := message.ParseDelivered(body)
	if err != nil {
		return fmt.Errorf("the mail holds no message: %w", err)
	}
	opened, err := all[0].Open(d.user.Keys(ring))
	if err != nil {
		return err
	}
	text, err := opened.Message(message.SingletonLimit(len(opened.Data)))
	if err != nil {
		return err
	}
	_, answer := message.ParseHeaders(text)
	d.print("\nAlice opens it with her keyring:\n")
	d.show(answer)
	if string(answer) != demoAnswer {
		return errors.New("the answer that arrived is not the one that was sent")
	}
	return nil
}
