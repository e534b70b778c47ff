package cli

import (
	"context"
	"errors"
	"fmt"

	"mixminion/client"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// queueing is what a user wants of the queue when sending.
type queueing struct {
	only  bool // keep the packets for a later flush
	never bool // never write them to the disk
	named bool // the user has given a path
	what  contents
}

// contents is what the packets carry, for the last line that the user sees.
type contents int

const (
	oneMessage contents = iota
	severalMessages
	dummy
)

// sent is what to say when the network has all packets.
func (c contents) sent() string {
	switch c {
	case dummy:
		return "Done: the network has your packet. It will go nowhere, and looks like any other."
	case severalMessages:
		return "Done: the network has your messages. They will arrive after some hours; nobody, you included, can call them back."
	}
	return "Done: the network has your message. It will arrive after some hours; nobody, you included, can call it back."
}

func (q *queueing) flags(f *pflag.FlagSet) {
	f.BoolVar(&q.only, "queue", false, "send nothing now: keep the packets until mixminion flush")
	f.BoolVar(&q.never, "no-queue", false, "send at once and never write the packets to the disk")
}

func (q *queueing) check() error {
	if q.only && q.never {
		return errors.New("packets that are to wait must be kept: leave out --no-queue")
	}
	return nil
}

// newQueue makes the command that is send with --queue.
func newQueue(s *streams, configFile *string) *cobra.Command {
	cmd := newSend(s, configFile)
	cmd.Use = "queue -t ADDRESS... | -R FILE | --mail [ADDRESS...]"
	cmd.Short = "Make a message ready to be sent later"
	cmd.Long = "Does what send does, up to the point where the packets would leave: they wait in the queue\n" +
		"of your home directory, and mixminion flush sends them. Their path is chosen now and may\n" +
		"stop working after some days. Addresses, paths and options are those of mixminion send."
	f := cmd.Flags()
	f.Lookup("queue").Hidden, f.Lookup("queue").DefValue = true, "true"
	f.Lookup("no-queue").Hidden = true
	if err := f.Set("queue", "true"); err != nil {
		panic(err) // a flag that is no boolean is a mistake in this file
	}
	return cmd
}

// handOver gives the packets of a message to the network, as q wants it.
func (u *user) handOver(ctx context.Context, s *streams, ready *client.Prepared, q queueing) (err error) {
	a, err := u.dialAgent(ctx)
	if err != nil {
		return err
	}
	if a != nil {
		defer func() { err = errors.Join(err, a.Close()) }()
	}
	switch {
	case q.never && a != nil:
		s.warn("%s", pastAgent)
		fallthrough
	case q.never:
		return u.deliver(ctx, s, ready, q.what)
	case a != nil:
		return u.giveToAgent(ctx, s, a, ready, q.named)
	}
	return u.locked(ctx, s, func() error {
		ids, err := u.Enqueue(ctx, ready)
		if err != nil {
			return fmt.Errorf("nothing was sent: %w", err)
		}
		if q.only {
			s.say("%s in the queue. To send: mixminion flush", waiting(len(ids)))
			return nil
		}
		p := newProgress(s)
		result, err := u.Flush(ctx, client.Named(ids), 0, p)
		p.clear()
		if err != nil {
			return fmt.Errorf("%w. The packets are kept in the queue; to send them: mixminion flush", err)
		}
		if result.Sent == len(ids) {
			s.say("%s", q.what.sent())
		}
		return report(ctx, s, result, len(ids))
	})
}

// pastAgent warns of sending while an agent runs.
const pastAgent = "warning: an agent runs, and hides when you write; this shows it to whoever watches your line"

// deliver sends without the queue.
func (u *user) deliver(ctx context.Context, s *streams, ready *client.Prepared, what contents) error {
	p := newProgress(s)
	err := u.Deliver(ctx, ready, p)
	p.clear()
	var unsent *client.SendError
	if errors.As(err, &unsent) {
		return fmt.Errorf("%w. Nothing was kept: send the message again when you are online, or choose another path", err)
	}
	if err != nil {
		return err
	}
	s.say("%s", what.sent())
	return nil
}

// report says which packets stay behind, even to those who want to hear of errors only: the status will be 0, since nothing is lost.
func report(ctx context.Context, s *streams, r *client.FlushResult, total int) error {
	for _, err := range r.Damaged {
		s.warn("%v", err)
	}
	if r.Kept == 0 {
		return nil
	}
	for _, cause := range r.Causes {
		if ctx.Err() == nil {
			s.warn("%v", cause)
		}
	}
	s.warn("%d of %s not sent and kept in the queue; to send later: mixminion flush", r.Kept, count(total, "packet"))
	return ctx.Err()
}

// warn says what even those want to know who want to hear of errors only.
func (s *streams) warn(format string, args ...any) {
	_, _ = fmt.Fprintf(s.err, "mixminion: "+format+"\n", args...) // nobody to tell if standard error is gone
}

func waiting(n int) string {
	if n == 1 {
		return "1 packet waits"
	}
	return fmt.Sprintf("%d packets wait", n)
}
