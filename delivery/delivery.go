// Package delivery holds the exits of a mix: what takes a message that has reached the end of its path out of the network. The
// source is E2E-spec 3.
//
// A mix keeps one Exit per routing type. At every mix it hands each exit the messages picked for it, as a sequence: the exit pulls
// one after the other, so that a batch of any size takes the memory of one message, and says of each what became of it.
//
// Nothing that an exit logs or returns as an error names a recipient or tells one message from another.
package delivery

import (
	"context"
	"fmt"
	"iter"
	"time"

	"mixminion/packet"
)

// Item is one message at the end of its path.
type Item struct {
	// ID is the caller's name for the message. An exit only hands it back.
	ID uint64
	// Type is the routing type of the last subheader.
	Type packet.RoutingType
	// Info is the routing information: the decoding handle where the type has one, then the address.
	Info []byte
	// Served says which of the addresses in Info, in sorted order and from the lowest bit on, are done with since an earlier attempt.
	Served uint8
	// Settle, if not nil, takes note of more addresses that are done with while the message as a whole is not: Served as it is now. It
	// returns when that is durable. An exit calls it before it goes on, so that nobody gets a mail twice whose answer had come.
	Settle func(served uint8)
	// Payload is the payload that arrived. It may be overwritten once the outcome has been told.
	Payload *packet.Payload
	// Reassembled, when Payload is nil, is a whole compressed message that was put together from fragments here. Info then holds the
	// address alone, without decoding handle.
	Reassembled []byte
	// Nonce is a random number, drawn when the message was queued and kept with it: its public name in all attempts at delivery.
	Nonce [16]byte
	// Queued is when the message was queued for this exit, no finer than the mix interval.
	Queued time.Time
}

// Exit delivers messages of one routing type.
type Exit interface {
	// Deliver pulls items and calls done with the outcome of each one that it pulled, exactly once, before it pulls the next. It
	// stops early when ctx ends or when it is plain that no other item can be delivered now; what it did not pull has not been
	// attempted and is to be offered again.
	//
	// The error says, for the operator, why it stopped early. Nil means that every item was pulled, though some may have been refused.
	Deliver(ctx context.Context, items iter.Seq[Item], done func(id uint64, o Outcome)) error
}

// Status is what to do with a message after an attempt to deliver it.
type Status uint8

const (
	// Retry means: not delivered now; keep it and try again, as long as its schedule allows.
	Retry Status = iota
	// Delivered means: somebody else is responsible for it now; erase it.
	Delivered
	// Dropped means: it can never be delivered; erase it.
	Dropped
)

// String names the status for statistics.
func (s Status) String() string {
	switch s {
	case Retry:
		return "retry"
	case Delivered:
		return "delivered"
	case Dropped:
		return "dropped"
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// Reason is why a message was not delivered, in few enough classes to be counted.
type Reason uint8

const (
	// None means: it was delivered.
	None Reason = iota

	// Malformed means: the routing information has no decoding handle or no proper address.
	Malformed
	// Blocked means: the operator does not deliver to that address.
	Blocked
	// NoUser means: the address is a name of a user, and there is no such user.
	NoUser
	// Corrupt means: the payload is intact, and still what it holds is not a message.
	Corrupt
	// TooLarge means: the message is larger than this exit or the next mail server delivers.
	TooLarge
	// Refused means: the next mail server refused the message or its recipient for good.
	Refused

	// Deferred means: the next mail server refused the message or its recipient for now.
	Deferred
	// Unavailable means: the next mail server cannot be reached, or does not take mail from us at all.
	Unavailable
	// Unsure means: the connection broke after the message and before the answer. It may have arrived, and will be sent again with the
	// same Message-ID.
	Unsure
	// Ceiling means: not even tried, because the recipient has had its share of mails for today. It comes with Retry and is no failure.
	Ceiling
)

var reasonNames = [...]string{
	None: "none", Malformed: "malformed", Blocked: "blocked", NoUser: "no such user", Corrupt: "corrupt", TooLarge: "too large", Refused: "refused",
	Deferred: "deferred", Unavailable: "unavailable", Unsure: "unsure",
	Ceiling: "ceiling",
}

// String names the reason for statistics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Outcome is what became of one item. The zero value means: try again.
type Outcome struct {
	Status Status
	Reason Reason
	// Served comes with Retry, for a message with several addresses: those that are done with, for the Item of the next attempt.
	Served uint8
	// Held comes with Retry, too: the addresses, as in Served, that were not tried because they have had their share for today. The time
	// that the others have for further attempts does not count for them. Reason is Ceiling when there are no others.
	Held uint8
}

func delivered() Outcome            { return Outcome{Status: Delivered} }
func dropped(why Reason) Outcome    { return Outcome{Status: Dropped, Reason: why} }
func retryLater(why Reason) Outcome { return Outcome{Status: Retry, Reason: why} }
