package inbox

import (
	"context"
	"time"

	"mixminion/directory"
)

// AddParsed is Add for a descriptor that need not have been parsed: tests of floods have no time for signatures.
func (b *Inbox) AddParsed(ctx context.Context, d *directory.Descriptor, source string) error {
	return b.change(ctx, func(now time.Time) error {
		_, err := b.add(d, source, now)
		return err
	})
}
