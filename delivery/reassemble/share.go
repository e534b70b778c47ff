package reassemble

import (
	"container/list"
	"math/bits"

	"mixminion/packet"
)

// classes is how many classes of messages there are, by how many fragments are kept of them: 1, 2 or 3, 4 to 7, 8 or more. Each has a
// reserve, an equal share of the limits; what one does not use the others may.
const classes = 4

// load is what messages take.
type load struct {
	messages int
	bytes    int64
}

// class is one class of messages.
type class struct {
	order list.List // of *Message: the one that has waited longest for another fragment first
	load
}

// classOf returns the class of a message of which n fragments are kept.
func classOf(n int) int { return min(bits.Len(uint(n)), classes) - 1 }

func (m *Message) load() load { return load{1, int64(len(m.refs)) * packet.PayloadLen} }

// join puts a message into the class where it belongs, as the one that has got a fragment last.
func (p *Pool) join(m *Message) {
	m.class = classOf(len(m.refs))
	c := &p.classes[m.class]
	m.place = c.order.PushBack(m)
	c.add(m.load(), 1)
	p.total.add(m.load(), 1)
}

// leave takes a message out of its class, if it is in one. It is called before anything of the message changes.
func (p *Pool) leave(m *Message) {
	if m.place == nil {
		return
	}
	c := &p.classes[m.class]
	c.order.Remove(m.place)
	m.place = nil
	c.add(m.load(), -1)
	p.total.add(m.load(), -1)
}

func (l *load) add(more load, sign int) {
	l.messages += sign * more.messages
	l.bytes += int64(sign) * more.bytes
}

// Shrink gives up messages until what is held is within the limits, and returns their fragments. It gives up the lowest
// class that uses more than its reserve, and in it the message that has waited longest for a fragment. So no message is
// given up for those of other classes as long as its own keeps to its reserve, and none for newer ones of its class
// before these have filled that reserve.
//
// The IDs of these messages are not remembered: if enough fragments of one are still to come, it will be whole all the same.
func (p *Pool) Shrink() (erase []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var over func(load) bool // uses more than its reserve
		switch {
		case p.total.bytes > p.limits.Bytes:
			over = func(l load) bool { return l.bytes > p.limits.Bytes/classes }
		case p.total.messages > p.limits.Messages:
			over = func(l load) bool { return l.messages > p.limits.Messages/classes }
		default:
			return erase
		}
		for i := range p.classes {
			if c := &p.classes[i]; over(c.load) {
				erase = append(erase, p.drop(c.order.Front().Value.(*Message))...)
				break
			}
		}
	}
}
