// Package testnet runs a whole network of mixes and directory authorities in one process, on loopback. Tests and the demo use it. It calls
// the same constructors as the programs do; what differs is in their configuration: a short mix interval, and a clock that may be moved
// by hand.
package testnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"mixminion/delivery"
	"mixminion/delivery/mail"
	"mixminion/delivery/reassemble"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/mix"
	"mixminion/packet"
)

// Options of a network.
type Options struct {
	Dir   string // where the mixes and authorities keep their files
	Mixes int
	// Authorities is how many directory authorities there are. They vote when Vote is called.
	Authorities int
	// Group, if there are no Authorities, are those outside of the network that the mixes publish to and trust.
	Group    []directory.Voter
	SMTP     string // host:port of the server that takes the mail
	Rule     mix.Rule
	Interval time.Duration
	Clock    clock.Clock // the system's by default
	Logger   *slog.Logger
	// Watch, if not nil, is told of every batch.
	Watch func(nickname string, b mix.Batch)
	// Configure, if not nil, changes the configuration of each mix before it is opened. It is called from several goroutines.
	Configure func(c *mix.Config)
}

// Names of the mixes, in order. A network can have as many.
var Names = []string{
	"alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ironwood", "juniper", "kapok", "larch",
	"maple", "nutmeg", "oak", "pine", "quince", "rowan", "spruce", "tamarack", "ulmo", "viburnum", "willow", "yew",
}

// A Node is one mix of the network.
type Node struct {
	Nickname string
	Addr     string
	Mix      *mix.Mix
	cfg      mix.Config
}

// A Network is running mixes, and the directory authorities that they publish to.
type Network struct {
	Nodes       []*Node
	Directories []*DirectoryNode

	clock  clock.Clock
	group  []directory.Voter // Options.Group
	ctx    context.Context   // of all that runs
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	err    error
}

// MaximumSize is what the exits of a network take, in bytes.
const MaximumSize = 16 << 20

// Start opens and runs the mixes. Close stops them.
func Start(ctx context.Context, o Options) (*Network, error) {
	if o.Mixes < 1 || o.Mixes > len(Names) {
		return nil, fmt.Errorf("a network can have 1 to %d mixes, not %d", len(Names), o.Mixes)
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Network{clock: o.Clock, group: o.Group, ctx: ctx, cancel: cancel, Nodes: make([]*Node, o.Mixes)}
	if err := n.openAuthorities(ctx, o); err != nil {
		cancel()
		err = errors.Join(err, n.closeAuthorities())
		n.done.Wait()
		return nil, err
	}
	listeners := make([]net.Listener, o.Mixes)
	errs := make([]error, o.Mixes)
	var opening sync.WaitGroup
	for i := range o.Mixes {
		opening.Go(func() { n.Nodes[i], listeners[i], errs[i] = n.open(ctx, o, Names[i]) })
	}
	opening.Wait()
	if err := errors.Join(errs...); err != nil {
		cancel()
		err = errors.Join(err, n.closeAuthorities())
		n.done.Wait()
		for i, node := range n.Nodes {
			if node != nil {
				err = errors.Join(err, listeners[i].Close(), node.Mix.Close())
			}
		}
		return nil, err
	}
	for i, node := range n.Nodes {
		n.done.Go(func() {
			err := node.Mix.Run(ctx, listeners[i])
			if err = errors.Join(err, node.Mix.Close()); err != nil {
				n.failed(fmt.Errorf("mix %s: %w", node.Nickname, err))
			}
		})
	}
	return n, nil
}

// failed notes what Close will return.
func (n *Network) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = errors.Join(n.err, err)
}

func (n *Network) open(ctx context.Context, o Options, name string) (*Node, net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("mix %s: %w", name, err)
	}
	node := &Node{Nickname: name, Addr: l.Addr().String()}
	node.cfg, err = config(o, name, uint16(l.Addr().(*net.TCPAddr).Port))
	node.cfg.PublishTo, node.cfg.Directories = n.publishTo(), n.Trust()
	node.cfg.Directories.Dir = filepath.Join(o.Dir, name, "dir")
	if o.Configure != nil {
		o.Configure(&node.cfg)
	}
	if err == nil {
		node.Mix, err = mix.Open(node.cfg)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("mix %s: %w", name, err), l.Close())
	}
	return node, l, nil
}

func config(o Options, name string, port uint16) (mix.Config, error) {
	exit, err := delivery.NewSMTP(delivery.SMTPConfig{
		Mail:        mail.Options{ReturnAddress: "nobody@" + name + ".example", AllowFrom: true},
		MaximumSize: MaximumSize, MaximumRecipients: packet.MaxRecipients,
		TransportConfig: delivery.TransportConfig{Servers: []string{o.SMTP}, TLS: delivery.TLSOff, Logger: o.Logger},
	})
	if err != nil {
		return mix.Config{}, err
	}
	retry := mix.Schedule{time.Second, time.Second, time.Minute, time.Hour}
	exits := []mix.ExitConfig{{Type: packet.TypeSMTP, Exit: exit, Retry: retry, Advertise: func(f *directory.Fields) {
		f.SMTP = &directory.Delivery{MaximumSize: MaximumSize >> 10, AllowFrom: true, MaximumRecipients: packet.MaxRecipients}
	}}}
	fragments, err := mix.FragmentExit(mix.Gather{
		Limits: reassemble.Limits{Size: MaximumSize, Bytes: 1 << 30, Messages: 10_000}, Wait: 24 * time.Hour,
	})
	if err != nil {
		return mix.Config{}, err
	}
	base := filepath.Join(o.Dir, name)
	cfg := mix.Config{
		KeyDir: filepath.Join(base, "keys"), QueueDir: filepath.Join(base, "queues"),
		Nickname: name, Contact: "operator@" + name + ".example", Software: "Mixminion testnet",
		KeyLifetime: 30 * 24 * time.Hour, KeyOverlap: 48 * time.Hour,
		Hostname: "127.0.0.1", Port: port,
		Rule: o.Rule, Interval: o.Interval, Jitter: 0.2, Relay: true, DialPrivate: true, OutgoingRetry: retry,
		Exits: append(exits, fragments),
		Clock: o.Clock, Logger: o.Logger,
	}
	if o.Watch != nil {
		cfg.Watch = func(b mix.Batch) { o.Watch(name, b) }
	}
	return cfg, nil
}

// Descriptors returns the descriptors of all mixes, one after the other, as import-server takes them.
func (n *Network) Descriptors() []byte {
	var text []byte
	for _, node := range n.Nodes {
		for _, d := range node.Mix.Descriptors() {
			text = append(text, d.Text()...)
		}
	}
	return text
}

// Close stops everything and waits for it. It returns what went wrong while it ran.
func (n *Network) Close() error {
	n.cancel()
	for _, d := range n.Directories {
		if err := d.server.Close(); err != nil {
			n.failed(err)
		}
	}
	n.done.Wait()
	for _, d := range n.Directories {
		if err := d.Authority.Close(); err != nil {
			n.failed(err)
		}
	}
	return n.err
}
