package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"mixminion/internal/uniform"
	"mixminion/message"
	"mixminion/mmtp"
	"mixminion/packet"
	"mixminion/path"
)

// A Message is something to send.
type Message struct {
	To      Address
	Headers message.Headers
	Body    []byte
	Path    path.Spec // the zero value chooses at random
	// EncryptTo is a key that the message is encrypted to, headers and all (E2E-spec 2.2.3); nil for a message that its exit reads, as
	// mail must be. Each packet of a long message arrives by itself then.
	EncryptTo *rsa.PublicKey
	// DeliverFragments has the exit deliver the fragments of a long message one by one, for a recipient who can put them together.
	DeliverFragments bool
}

// A Prepared message is packets that are ready to be handed to the network.
type Prepared struct {
	Packets  []PreparedPacket // in random order
	Warnings []path.Warning
	// Overcompressed warns that the recipient will get the message compressed, since it expands too much.
	Overcompressed bool
}

// PreparedPacket is one packet with the server that gets it first.
type PreparedPacket struct {
	First packet.Hop
	// Legacy says that a link of TLS 1.0 may be made to First, if none of TLS 1.3 comes about: the user's path names it, and its descriptor
	// does not say that it speaks TLS 1.3. Only programs that were built with the tag legacytls can make such links.
	Legacy bool
	Route  string // the nicknames of its path, for the user's eyes
	Packet *packet.Packet
}

// A Watcher is told how the work goes on. Its methods are called from several goroutines at once.
type Watcher interface {
	Wrapped(done, total int)
	Sent(done, total int)
}

// Prepare turns a message into packets: it encodes it, chooses a path for each packet and wraps them, on all processors. w may be nil.
func (c *Client) Prepare(ctx context.Context, m Message, w Watcher) (*Prepared, error) {
	return c.PrepareAll(ctx, []Message{m}, w)
}

// PrepareAll prepares several messages, such as the same one for several recipients. Each is encoded and gets its paths by itself, as if
// there were no others, and the packets of all leave in one random order. When one of them cannot be prepared, none is.
func (c *Client) PrepareAll(ctx context.Context, messages []Message, w Watcher) (*Prepared, error) {
	out := &Prepared{}
	var jobs []func() (PreparedPacket, error)
	for i := range messages {
		some, err := c.plan(&messages[i], out)
		if err != nil && len(messages) > 1 {
			err = fmt.Errorf("message %d of %d: %w", i+1, len(messages), err)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, some...)
	}
	var err error
	out.Packets, err = wrap(ctx, len(jobs), w, func(i int) (PreparedPacket, error) { return jobs[i]() })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// plan encodes a message and chooses its paths. What is left to do for each packet it returns as a function.
func (c *Client) plan(m *Message, out *Prepared) ([]func() (PreparedPacket, error), error) {
	e, err := m.encode()
	if err != nil {
		return nil, err
	}
	e.req.Kind = path.Forward
	e.req.From = c.clock.Now()
	e.req.Until = e.req.From.Add(MaxRetry)
	e.req.Count = len(e.payloads)
	e.req.LegacyLinks = mmtp.LegacyAvailable
	paths, warnings, err := c.selectPaths(m.Path, e.req)
	if err != nil {
		return nil, err
	}
	for _, warning := range warnings {
		if !slices.Contains(out.Warnings, warning) {
			out.Warnings = append(out.Warnings, warning)
		}
	}
	out.Overcompressed = out.Overcompressed || e.over
	jobs := make([]func() (PreparedPacket, error), len(e.payloads))
	for i := range jobs {
		jobs[i] = func() (PreparedPacket, error) {
			x := e.exit
			switch {
			case m.EncryptTo != nil && x.Type != packet.TypeDrop:
				tag, err := message.EncryptForward(rand.Reader, &e.payloads[i], m.EncryptTo)
				if err != nil {
					return PreparedPacket{}, err
				}
				x.Tag = &tag
			case x.Type.HasTag():
				tag, err := message.PlainTag(rand.Reader)
				if err != nil {
					return PreparedPacket{}, err
				}
				x.Tag = &tag
			}
			leg1, leg2 := paths[i].Nodes()
			p, err := packet.BuildForward(rand.Reader, leg1, leg2, x, &e.payloads[i])
			return newPrepared(paths[i], p), err
		}
	}
	return jobs, nil
}

// encoded is a message as payloads.
type encoded struct {
	payloads []packet.Payload
	exit     packet.Exit  // what it is to the exit, without tag
	req      path.Request // what kind of exit it needs
	over     bool         // overcompressed
}

// encode turns the message into payloads and says what kind of exit they need.
func (m *Message) encode() (*encoded, error) {
	e := &encoded{
		exit: packet.Exit{Type: m.To.Type, Info: m.To.Info},
		req:  path.Request{Exit: m.To.Type, InfoLen: len(m.To.Info), LastHop: m.To.LastHop, Recipients: m.To.Mailboxes()},
	}
	if m.To.Type == packet.TypeDrop {
		e.payloads = make([]packet.Payload, 1)
		rand.Read(e.payloads[0][:])
		return e, nil
	}
	if err := m.Headers.Validate(); err != nil {
		return nil, fmt.Errorf("message headers: %w", err)
	}
	prefix, err := m.Headers.Encode()
	if err != nil {
		return nil, fmt.Errorf("message headers: %w", err)
	}
	whole := append(prefix, m.Body...)
	e.req.Size, e.req.UsesFrom = len(m.Body), strings.TrimSpace(m.Headers.From) != ""
	if m.DeliverFragments && m.EncryptTo == nil && m.Headers != (message.Headers{}) {
		return nil, errors.New("headers cannot be used when fragments are delivered one by one: no exit sees the whole message")
	}
	if m.EncryptTo != nil {
		return e, m.encodeEncrypted(e, whole)
	}
	enc, err := message.EncodeForServer(rand.Reader, whole, m.To.Type, m.To.Info)
	switch {
	case err != nil || !enc.Fragmented:
	case m.DeliverFragments:
		// What an exit mails is a fragment, and the first implementation puts no headers, not even an empty line, in front of
		// a message that its recipient puts together.
		enc, err = message.Encode(rand.Reader, m.Body, 0)
		if err == nil && (!enc.Fragmented || bytes.HasPrefix(m.Body, []byte("\n"))) {
			// Without the empty line the message fits into one packet, whose first lines the exit would take for headers; or it
			// begins with a line that the reader would take for that empty one.
			enc, err = message.Encode(rand.Reader, whole, 0)
		}
		e.req.Size = packet.PayloadLen
	default:
		e.exit = packet.Exit{Type: packet.TypeFragment}
		e.req.Fragments = len(enc.Payloads)
	}
	if err != nil {
		return nil, err
	}
	e.payloads, e.over = enc.Payloads, enc.Overcompressed()
	return e, nil
}

// encodeEncrypted fills e for a message that is encrypted; the packets are when they are wrapped. Its exit sees a payload that says
// nothing of size, sender or the other packets.
func (m *Message) encodeEncrypted(e *encoded, whole []byte) error {
	if !m.To.Type.HasTag() {
		return fmt.Errorf("encrypt message: packets of type %v have no place for a decoding handle", m.To.Type)
	}
	if bits := m.EncryptTo.N.BitLen(); bits != userKeyBits {
		return fmt.Errorf("encrypt message: %w: it has %d bits", ErrPublicKey, bits)
	}
	enc, err := message.Encode(rand.Reader, whole, message.ForwardOverhead)
	if err != nil {
		return err
	}
	e.payloads, e.over = enc.Payloads, enc.Overcompressed()
	e.req.Size, e.req.UsesFrom = packet.PayloadLen, false
	return nil
}

// wrap builds n packets on all processors and returns them in random order.
func wrap(ctx context.Context, n int, w Watcher, build func(i int) (PreparedPacket, error)) ([]PreparedPacket, error) {
	out := make([]PreparedPacket, n)
	errs := make([]error, n)
	var next, done atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				out[i], errs[i] = build(i)
				if d := int(done.Add(1)); w != nil {
					w.Wrapped(d, n)
				}
			}
		})
	}
	workers.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, fmt.Errorf("wrap message: %w", err)
	}
	return out, uniform.ShuffleSlice(rand.Reader, out)
}

// SendError says that some packets could not be handed to the network.
type SendError struct {
	Unsent []PreparedPacket
	Total  int
	Causes []error // one for each server that could not be reached
}

func (e *SendError) Error() string {
	var causes []string
	for _, c := range e.Causes {
		causes = append(causes, c.Error())
	}
	return fmt.Sprintf("%d of %d packets could not be handed to the network: %s", len(e.Unsent), e.Total, strings.Join(causes, "; "))
}

// Unwrap returns the causes.
func (e *SendError) Unwrap() []error { return e.Causes }

// maxAtOnce is how many servers a message is handed to at the same time.
const maxAtOnce = 8

// Deliver hands the packets of p to their first servers, in their random order within each server, without the queue. Packets that no
// server took come back in a *SendError. w may be nil.
func (c *Client) Deliver(ctx context.Context, p *Prepared, w Watcher) error {
	list := make([]outgoing, len(p.Packets))
	for i, pk := range p.Packets {
		list[i] = outgoing{first: entry{pk.First, pk.Legacy}, load: func() (*packet.Packet, error) { return pk.Packet, nil }}
	}
	done := c.handOver(ctx, list, w)
	if len(done.unsent) == 0 {
		return nil
	}
	failure := &SendError{Total: len(p.Packets), Causes: done.causes}
	for _, i := range done.unsent {
		failure.Unsent = append(failure.Unsent, p.Packets[i])
	}
	return failure
}

// An outgoing packet is read when its turn comes.
type outgoing struct {
	first entry
	load  func() (*packet.Packet, error)
	taken func() // called when the server has it; may be nil
}

// handedOver is what became of some outgoing packets.
type handedOver struct {
	unsent []int        // the indexes of those that were not taken
	causes []error      // why: one for each server that has not taken all of its packets
	legacy []packet.Hop // servers to which legacy links were tried
}

// handOver hands packets to their first servers, to several at once.
func (c *Client) handOver(ctx context.Context, list []outgoing, w Watcher) handedOver {
	groups := map[entry][]int{}
	var order []entry
	for i, out := range list {
		if groups[out.first] == nil {
			order = append(order, out.first)
		}
		groups[out.first] = append(groups[out.first], i)
	}
	links := c.newLinks()
	defer links.close()

	var result handedOver
	var mu sync.Mutex
	var sent atomic.Int64
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxAtOnce)
	for _, e := range order {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			left, err := sendGroup(ctx, links.to(e), e.hop, list, groups[e], func() {
				if d := int(sent.Add(1)); w != nil {
					w.Sent(d, len(list))
				}
			})
			if len(left) > 0 {
				err = c.explainLink(e, err)
				mu.Lock()
				defer mu.Unlock()
				result.unsent = append(result.unsent, left...)
				result.causes = append(result.causes, err)
			}
		})
	}
	wg.Wait()
	result.legacy = links.tried
	return result
}

// sendGroup sends the packets of list that group names over one link, and returns those that the server did not take.
func sendGroup(ctx context.Context, link *mmtp.Client, hop packet.Hop, list []outgoing, group []int, taken func()) (unsent []int, err error) {
	ok := make(map[int]bool, len(group))
	var refused, unread error
	err = link.Send(ctx, hop, func(yield func(mmtp.Item) bool) {
		for _, i := range group {
			p, err := list[i].load()
			if err != nil {
				unread = err
				continue
			}
			if !yield(mmtp.Item{Packet: p, Done: func(err error) {
				if err != nil {
					refused = err
					return
				}
				ok[i] = true
				if list[i].taken != nil {
					list[i].taken()
				}
				taken()
			}}) {
				return
			}
		}
	})
	if err == nil && refused != nil {
		err = fmt.Errorf("%s: %w", hop, refused)
	}
	if err == nil {
		err = unread
	}
	for _, i := range group {
		if !ok[i] {
			unsent = append(unsent, i)
		}
	}
	return unsent, err
}
