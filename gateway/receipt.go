package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"mixminion/internal/clock"
)

// receiptText is the same for all mails, and whether or not anything could be sent: it must not help anybody to find out which blocks were
// used.
const receiptText = `Your mail has come in. If there was a text in it, and a reply block that
is good and has not been used before, or enough of them for a long text,
then the text is on its way to whoever made the block.

This gateway cannot tell you more. It keeps neither your mail nor your
address. You get one such answer for each of your mails.
`

// receiptsEvery is how often receipts are sent. Whoever counts the moments until a receipt comes learns nothing about
// the block: a mail that is sent takes a little longer than one that is not.
const receiptsEvery = 5 * time.Second

// acknowledge has a receipt sent. When too many wait already there is none: nothing depends on it.
func (g *Gateway) acknowledge(to string) {
	if g.cfg.Receipt == nil {
		return
	}
	select {
	case g.receipts <- to:
	default:
	}
}

// sendReceipts sends receipts until ctx is done.
func (g *Gateway) sendReceipts(ctx context.Context, c clock.Clock) {
	warned := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.After(receiptsEvery):
		}
		for range len(g.receipts) {
			to := <-g.receipts
			if g.cfg.Unwilling(to) {
				continue
			}
			err := g.cfg.Receipt(ctx, to, g.receipt(to))
			if now := g.cfg.Now(); err != nil && ctx.Err() == nil && now.Sub(warned) > time.Hour {
				warned = now
				g.cfg.Logger.Warn("the gateway's receipts cannot be sent; they are not tried again", "error", err)
			}
		}
	}
}

// receipt writes a receipt.
func (g *Gateway) receipt(to string) []byte {
	var id [16]byte
	rand.Read(id[:])
	_, domain, _ := strings.Cut(g.cfg.Address, "@")
	head := fmt.Sprintf("From: %s\nTo: %s\nSubject: Your mail has come in\nDate: %s\nMessage-ID: <%s@%s>\n"+
		"Auto-Submitted: auto-replied\nPrecedence: bulk\nX-Auto-Response-Suppress: All\nMIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n",
		g.cfg.Address, to, g.cfg.Now().UTC().Truncate(time.Hour).Format("Mon, 02 Jan 2006 15:04:05 +0000"), hex.EncodeToString(id[:]), domain)
	return []byte(strings.ReplaceAll(head+receiptText, "\n", "\r\n"))
}
