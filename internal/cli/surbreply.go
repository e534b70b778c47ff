package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"mixminion/client"
	"mixminion/message"
	"mixminion/packet"

	"github.com/spf13/cobra"
)

// errNoUsableSURBs says that a reply cannot be sent.
var errNoUsableSURBs = errors.New("none of the reply blocks can be used: ask your correspondent for new ones")

// replyBlocks is what a user says about the reply blocks that a message is to go through.
type replyBlocks struct {
	files []string
	fd    int // negative: not given
}

func (r *replyBlocks) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&r.files, "reply-block", "R", nil,
		"send through the reply blocks in `FILE` in place of an address; may be given again; - is standard input")
	cmd.Flags().IntVar(&r.fd, "reply-block-fd", -1, "read reply blocks from descriptor `N`")
}

func (r *replyBlocks) given() bool { return len(r.files) > 0 || r.fd >= 0 }

// check finds contradictions. addressed says that there is an address as well; input is where the message comes from.
func (r *replyBlocks) check(addressed bool, input string) error {
	stdin := slices.Contains(r.files, "-")
	switch {
	case addressed && r.given():
		return errors.New("a reply block leads to its maker: use either -t ADDRESS or -R FILE")
	case (stdin || r.fd == 0) && input == "-":
		return errors.New("standard input cannot hold both the message and the reply blocks: read one of them from a file")
	case stdin && r.fd == 0:
		return errors.New("the reply blocks are in standard input twice: use either -R - or --reply-block-fd 0")
	}
	return nil
}

// read returns all blocks, in the order given.
func (r *replyBlocks) read(s *streams) ([]*packet.SURB, error) {
	var all []*packet.SURB
	stdinRead := false
	for _, name := range r.files {
		if name == "-" {
			if stdinRead {
				continue
			}
			stdinRead = true
		}
		surbs, err := readSURBFile(s, name)
		if err != nil {
			return nil, err
		}
		all = append(all, surbs...)
	}
	if r.fd < 0 {
		return all, nil
	}
	in, name := s.in, fmt.Sprintf("descriptor %d", r.fd)
	if r.fd > 0 {
		in = os.NewFile(uintptr(r.fd), name)
	}
	surbs, err := readSURBs(in, name)
	return append(all, surbs...), err
}

// reply sends a message through reply blocks. The exit cannot read it, so its headers travel inside, for those who decode it.
func (u *user) reply(ctx context.Context, s *streams, o sendOptions) error {
	r := client.Reply{Headers: message.Headers{Subject: o.subject, From: o.from, InReplyTo: o.inReplyTo, References: o.references}}
	if err := r.Headers.Validate(); err != nil {
		return err
	}
	var err error
	if r.Path, err = u.pathSpec(o.path, "ReplyPath", u.cfg.Security.ReplyPath); err != nil {
		return err
	}
	given, err := o.reply.read(s)
	if err != nil {
		return err
	}
	usable, skipped, err := u.UsableSURBs(given)
	if err != nil {
		return err
	}
	warnSkipped(s, skipped)
	if len(usable) == 0 {
		return errNoUsableSURBs
	}
	if r.Body, err = o.message(ctx, s); err != nil {
		return err
	}
	p := newProgress(s)
	ready, used, err := u.PrepareReply(ctx, r, usable, p)
	p.clear()
	switch {
	case errors.Is(err, client.ErrTooFewSURBs):
		return fmt.Errorf("%w. Ask your correspondent for more, or write less; none was used", err)
	case errors.Is(err, client.ErrSURBUsed):
		return fmt.Errorf("%w, by another mixminion just now; nothing was sent: try again", err)
	case err != nil:
		return err
	}
	describe(s, ready, 1)
	err = u.handOver(ctx, s, ready, o.queueing)
	s.say("Used %s; %s usable.", count(used, "reply block"), left(len(usable)-used))
	return err
}

func left(n int) string {
	switch n {
	case 0:
		return "none is left that is"
	case 1:
		return "1 is left that is"
	}
	return fmt.Sprintf("%d are left that are", n)
}

func warnSkipped(s *streams, k client.SkippedSURBs) {
	for _, g := range []struct {
		n   int
		why string
	}{
		{k.Repeated, "given more than once"},
		{k.Used, "already used"},
		{k.Expired, "expired"},
		{k.Short, fmt.Sprintf("too close to the end: less than %d hours", client.MinSURBLeft/time.Hour)},
	} {
		if g.n > 0 {
			s.say("Warning: skipping %s, %s.", count(g.n, "reply block"), g.why)
		}
	}
}
