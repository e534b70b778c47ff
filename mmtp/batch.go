package mmtp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"
)

// batch is the work of one call of Send. All its methods run in that call.
type batch struct {
	client *Client
	peer   *peer

	link     *link
	unwatch  func() bool // stops ctx from closing link
	reused   bool        // link was there before this call
	answered bool        // link has answered something in this call
	pending  []Item      // written and unanswered, oldest first
}

func (b *batch) run(ctx context.Context, items iter.Seq[Item]) (err error) {
	if err := b.open(ctx); err != nil {
		return err
	}
	settled := false
	defer func() {
		if !settled { // items or a Done panicked: the state of the link is unknown
			b.abandon()
		}
	}()
	for item := range items {
		if err = b.send(ctx, item); err != nil {
			break
		}
	}
	if err == nil {
		err = b.await(ctx, 0)
	}
	settled = true
	if err != nil {
		return b.fail(ctx, err)
	}
	b.keep()
	return nil
}

// open gets a link, an idle one or a new one.
func (b *batch) open(ctx context.Context) error {
	l, reused, err := b.client.linkTo(ctx, b.peer)
	if err != nil {
		return err
	}
	b.link, b.reused, b.answered = l, reused, false
	b.unwatch = context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	return nil
}

// keep gives the link back, if it is whole, for the next call.
func (b *batch) keep() {
	b.link.wipe()
	if b.unwatch() {
		b.client.keep(b.peer, b.link)
	} else {
		b.client.drop(b.link)
	}
	b.link = nil
}

func (b *batch) abandon() {
	if b.link == nil {
		return
	}
	b.unwatch()
	b.client.drop(b.link)
	b.link = nil
}

// send writes an item, and returns when the window allows the next one.
func (b *batch) send(ctx context.Context, item Item) error {
	if item.Packet == nil {
		return b.refuse(item, errors.New("item without a packet"))
	}
	if err := b.renew(ctx); err != nil {
		return b.refuse(item, err)
	}
	b.pending = append(b.pending, item)
	if err := b.link.write(item.Packet, item.Junk); err != nil {
		if err := b.retry(ctx, err); err != nil {
			return err
		}
	}
	return b.await(ctx, b.link.window-1)
}

// renew replaces the link if it has become too old, or if the server closed it in good order when nothing was unanswered.
func (b *batch) renew(ctx context.Context) error {
	young := b.client.young(b.link)
	if !young {
		if err := b.await(ctx, 0); err != nil {
			return err
		}
	}
	alive := b.link.alive()
	b.collect() // after alive: what a dead link answered is all there
	if len(b.pending) > 0 || alive && young {
		return nil
	}
	if !alive && errors.Is(b.link.err, ErrProtocol) {
		return b.link.err
	}
	b.abandon()
	return b.open(ctx)
}

// refuse makes fail report err to an item that was taken but not written.
func (b *batch) refuse(item Item, err error) error {
	b.pending = append(b.pending, item)
	return err
}

// await reports the answers that have come, and waits until at most n items are unanswered.
func (b *batch) await(ctx context.Context, n int) error {
	for {
		b.collect()
		if len(b.pending) <= n {
			return nil
		}
		timer := time.NewTimer(b.client.cfg.AnswerTimeout)
		select {
		case accepted := <-b.link.results:
			timer.Stop()
			b.report(accepted)
		case <-b.link.dead:
			timer.Stop()
			if b.collect(); len(b.pending) <= n {
				return nil
			}
			if err := b.retry(ctx, b.link.err); err != nil {
				return err
			}
		case <-timer.C:
			return fmt.Errorf("no answer within %v: %w", b.client.cfg.AnswerTimeout, os.ErrDeadlineExceeded)
		}
	}
}

// collect reports the answers that are there already.
func (b *batch) collect() {
	for {
		select {
		case accepted := <-b.link.results:
			b.report(accepted)
		default:
			return
		}
	}
}

// report tells the oldest pending item its fate.
func (b *batch) report(accepted bool) {
	b.answered = true
	item := b.pending[0]
	b.pending[0] = Item{} // the packet may be freed
	b.pending = b.pending[1:]
	if item.Done == nil {
		return
	}
	if accepted {
		item.Done(nil)
	} else {
		item.Done(ErrRejected)
	}
}

// retry deals with a broken link. A server may close an idle link just when we begin to use it; so if the link is an old one that
// has answered nothing in this call, everything is sent once more on a new link. Otherwise it returns the reason.
func (b *batch) retry(ctx context.Context, err error) error {
	err = b.link.cause(err)
	b.link.close()
	b.collect()
	if !b.reused || b.answered || ctx.Err() != nil || errors.Is(err, ErrProtocol) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	b.abandon()
	if err := b.open(ctx); err != nil {
		return err
	}
	for _, item := range b.pending {
		if err := b.link.write(item.Packet, item.Junk); err != nil {
			return b.link.cause(err)
		}
	}
	return nil
}

// fail closes the link and reports to every pending item why it is unanswered.
func (b *batch) fail(ctx context.Context, err error) error {
	if b.link != nil {
		b.link.close()
		b.collect()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	b.abandon()
	pending := b.pending
	b.pending = nil
	for _, item := range pending {
		if item.Done != nil {
			item.Done(err)
		}
	}
	return err
}
