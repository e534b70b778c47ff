package delivery

import (
	"mixminion/delivery/ceiling"
	"mixminion/message"
)

// recipients are the addresses of a message that a mail is still to go to.
type recipients struct {
	names  []string
	bits   []uint8 // of each in served
	served uint8   // those that are done with
	kind   ceiling.Kind
	held   uint8 // those that have had their share of the day
}

// open returns which of the addresses of a message are neither served nor blocked.
func (x *SMTP) open(all []string, served uint8) recipients {
	to := recipients{served: served}
	for i, addr := range all {
		bit := uint8(1) << i
		switch {
		case served&bit != 0:
		case x.blocked(addr):
			to.served |= bit
		default:
			to.names = append(to.names, addr)
			to.bits = append(to.bits, bit)
		}
	}
	return to
}

// kindOf says which ceiling a message counts towards. What the exit cannot read may be an answer to somebody's pseudonym.
func kindOf(f message.Form) ceiling.Kind {
	if f == message.FormEncrypted || f == message.FormFragment {
		return ceiling.Opaque
	}
	return ceiling.Readable
}

// takeShare leaves those out who have had enough for today, and counts the mail for the others.
func (r *recipients) takeShare(c *ceiling.Ceiling) {
	var names []string
	var bits []uint8
	for i, name := range r.names {
		if c.Take(r.kind, name) {
			names, bits = append(names, name), append(bits, r.bits[i])
		} else {
			r.held |= r.bits[i]
		}
	}
	r.names, r.bits = names, bits
}

// giveBack takes back the count of those who certainly did not get the mail.
func (r *recipients) giveBack(c *ceiling.Ceiling, outcomes []Outcome) {
	for i, o := range outcomes {
		if o.Status != Delivered && o.Reason != Unsure {
			c.GiveBack(r.kind, r.names[i])
		}
	}
}

// envelope is where the mail of item goes. What is settled for one address is made durable at once, while others are still open.
func (r recipients) envelope(from string, item Item) Envelope {
	e := Envelope{From: from, To: r.names, Queued: item.Queued}
	if item.Settle == nil || len(r.names) == 1 && r.held == 0 {
		return e // the outcome of the whole follows at once
	}
	served := r.served
	e.Settled = func(i int) {
		if before := served; before != before|r.bits[i] {
			served |= r.bits[i]
			item.Settle(served)
		}
	}
	return e
}

// outcome makes the outcome of a message of those of its recipients. As long as one of them is to be tried again the message is, and
// only that one gets it then; when nobody is left it counts as delivered if anybody got it now.
func (r recipients) outcome(each []Outcome) Outcome {
	var retry, last *Outcome
	served := r.served
	for i := range each {
		switch {
		case each[i].Status == Retry && retry == nil:
			retry = &each[i]
		case each[i].Status == Retry:
		default:
			served |= r.bits[i]
			if last == nil || each[i].Status == Delivered {
				last = &each[i]
			}
		}
	}
	switch {
	case retry != nil:
		return Outcome{Status: Retry, Reason: retry.Reason, Served: served, Held: r.held}
	case r.held != 0:
		return Outcome{Status: Retry, Reason: Ceiling, Served: served, Held: r.held}
	}
	return *last
}
