package delivery

import (
	"context"
	"iter"
	"sync/atomic"
)

// Drop is the exit of dummy messages: it forgets them and counts how many there were. The zero value is ready.
type Drop struct{ n atomic.Uint64 }

// Deliver forgets items.
func (d *Drop) Deliver(ctx context.Context, items iter.Seq[Item], done func(id uint64, o Outcome)) error {
	for item := range items {
		d.n.Add(1)
		done(item.ID, delivered())
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Count is how many messages have been forgotten.
func (d *Drop) Count() uint64 { return d.n.Load() }
