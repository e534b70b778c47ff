package testnet

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mixminion/authority"
	"mixminion/authority/inbox"
	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/crypt"
)

const (
	// authorityBits is the length of the keys of authorities that live for a minute.
	authorityBits = 2048
	// headerTimeout bounds a request to an authority.
	headerTimeout = time.Minute
	// publishPoll is how often AwaitPublished looks.
	publishPoll = 10 * time.Millisecond
)

// A DirectoryNode is one directory authority of the network. It approves every mix that comes.
type DirectoryNode struct {
	Addr      string
	Authority *authority.Authority

	cfg      authority.Config
	inbox    *inbox.Inbox
	key      *rsa.PrivateKey
	listener net.Listener
	server   *http.Server
}

// URL is where the authority publishes, with a slash at the end.
func (d *DirectoryNode) URL() string { return "http://" + d.Addr + "/" }

// openAuthorities makes the keys and sockets of all authorities, which must know each other before one of them can be opened.
func (n *Network) openAuthorities(ctx context.Context, o Options) (err error) {
	n.Directories = make([]*DirectoryNode, o.Authorities)
	errs := make([]error, o.Authorities)
	var making sync.WaitGroup
	for i := range n.Directories {
		making.Go(func() { n.Directories[i], errs[i] = newDirectoryNode(ctx) })
	}
	making.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, d := range n.Directories {
		if err := d.open(o, filepath.Join(o.Dir, fmt.Sprintf("authority%d", i+1)), n.Group()); err != nil {
			return err
		}
		d.server = &http.Server{Handler: d.Authority.Handler(), ReadHeaderTimeout: headerTimeout, ErrorLog: log.New(io.Discard, "", 0)}
		n.done.Go(func() {
			if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
				n.failed(fmt.Errorf("directory authority %s: %w", d.Addr, err))
			}
		})
	}
	return nil
}

func newDirectoryNode(ctx context.Context) (*DirectoryNode, error) {
	key, err := crypt.GenerateKey(authorityBits)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("directory authority: %w", err)
	}
	return &DirectoryNode{Addr: l.Addr().String(), key: key, listener: l}, nil
}

func (d *DirectoryNode) open(o Options, dir string, group []directory.Voter) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("directory authority: %w", err)
	}
	d.inbox, err = inbox.Open(inbox.Config{Dir: dir, AutoApprove: true, Clock: o.Clock, Logger: o.Logger})
	if err != nil {
		return err
	}
	d.cfg = authority.Config{
		Dir: dir, Identity: d.key, Group: group, Source: d.inbox, Exchange: d.inbox, Upload: d.inbox.Upload(),
		Contact: "operator@" + d.Addr, Policy: "This authority is part of a network for show and approves everybody.",
		Clock: o.Clock, Logger: o.Logger,
	}
	d.Authority, err = authority.Open(d.cfg)
	return err
}

// closeAuthorities frees what openAuthorities has taken, as far as it came.
func (n *Network) closeAuthorities() (err error) {
	for _, d := range n.Directories {
		if d == nil {
			continue
		}
		if d.server != nil {
			err = errors.Join(err, d.server.Close())
		} else {
			err = errors.Join(err, d.listener.Close())
		}
		if d.Authority != nil {
			err = errors.Join(err, d.Authority.Close())
		}
	}
	return err
}

// Group is the voting group.
func (n *Network) Group() []directory.Voter {
	group := n.group
	for _, d := range n.Directories {
		group = append(group, directory.Voter{Fingerprint: authority.Fingerprint(d.key), URL: d.URL()})
	}
	return group
}

// Trust is how clients and mixes of the network get the directory.
func (n *Network) Trust() dirclient.Options {
	return dirclient.Options{Trusted: authority.Members(n.Group())}
}

func (n *Network) publishTo() (urls []string) {
	for _, v := range n.Group() {
		urls = append(urls, v.URL)
	}
	return urls
}

// AwaitPublished waits until every authority has a descriptor of every mix.
func (n *Network) AwaitPublished(ctx context.Context) error {
	poll := time.NewTicker(publishPoll)
	defer poll.Stop()
	for {
		missing := false
		for _, d := range n.Directories {
			have := map[crypt.KeyID]bool{}
			servers, err := d.inbox.Servers()
			if err != nil {
				return err
			}
			for _, s := range servers {
				have[s.ID] = len(s.Descriptors) > 0
			}
			missing = missing || slices.ContainsFunc(n.Nodes, func(node *Node) bool { return !have[node.Mix.KeyID()] })
		}
		if !missing {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the mixes to publish: %w", ctx.Err())
		case <-poll.C:
		}
	}
}

// A Ballot is what one authority did in an election.
type Ballot struct {
	URL         string
	Fingerprint string
	Votes       int // servers in its vote
	Recommended int
	Counted     int // votes of others and its own that it shows
	Current     *directory.Directory
}

// Vote leads the authorities through a night, from now to the midnight that follows: they vote, agree, and publish. It
// moves the clock of the network by advance. From then on the authorities follow their schedule by that clock. It may
// be called once.
func (n *Network) Vote(ctx context.Context, advance func(time.Duration)) ([]Ballot, error) {
	now := n.clock.Now()
	midnight := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	next := make([]time.Time, len(n.Directories))
	for {
		for i, d := range n.Directories {
			if next[i].After(now) {
				continue
			}
			var err error
			if next[i], err = d.Authority.Step(ctx, now); err != nil {
				return nil, fmt.Errorf("directory authority %s: %w", d.Addr, err)
			}
		}
		if !now.Before(midnight) {
			break
		}
		soonest := midnight
		for _, t := range next {
			if t.Before(soonest) {
				soonest = t
			}
		}
		advance(soonest.Sub(now))
		now = soonest
	}
	ballots, err := n.count(midnight)
	if err != nil {
		return nil, err
	}
	for _, d := range n.Directories {
		n.done.Go(func() {
			if err := d.Authority.Run(n.ctx); err != nil {
				n.failed(fmt.Errorf("directory authority %s: %w", d.Addr, err))
			}
		})
	}
	return ballots, nil
}

// count reads what the authorities have published, over HTTP as everybody can.
func (n *Network) count(day time.Time) ([]Ballot, error) {
	fetch := dirclient.NewFetcher(dirclient.FetchOptions{Now: n.clock.Now})
	get := func(url string) (*directory.Directory, error) {
		doc, err := fetch.Get(n.ctx, url, directory.MaxDirectoryLen)
		if err != nil {
			return nil, err
		}
		text, err := dirclient.Gunzip(doc.Body, directory.MaxDirectoryLen)
		if err != nil {
			return nil, err
		}
		return directory.ParseDirectory(text)
	}
	var out []Ballot
	for i, voter := range n.Group() {
		date := voter.URL + day.Format(time.DateOnly)
		own, err := get(date + "-vote.gz")
		if err != nil {
			return nil, fmt.Errorf("the vote of %s: %w", voter.URL, err)
		}
		b := Ballot{URL: voter.URL, Fingerprint: voter.Fingerprint, Votes: servers(own), Recommended: len(own.Recommended), Counted: 1}
		for _, other := range n.Group() {
			if _, err := get(date + "-vote-" + other.Fingerprint + ".gz"); err == nil {
				b.Counted++
			}
		}
		b.Current = n.Directories[i].Authority.Current()
		out = append(out, b)
	}
	return out, nil
}

// servers counts the servers in a directory, which may have several descriptors each.
func servers(d *directory.Directory) int {
	names := map[string]bool{}
	for _, s := range d.Servers {
		names[strings.ToLower(s.Nickname)] = true
	}
	return len(names)
}
