package mix_test

import (
	"testing"

	"mixminion/internal/crypt"
	"mixminion/mix"
)

// While a mix drains, its dummies take the place of others' packets in the pool; when the last of those has left, it says so, and goes on
// holding dummies.
func TestDrainWithCover(t *testing.T) {
	r, hops := coverRig(t, func(c *mix.Config) {
		c.Rule = mix.Rule{Algorithm: mix.Cottrell, MinSize: 4, Rate: 0.5}
		c.OutgoingRetry = everyHour
	})
	r.run()
	var sent []crypt.Digest
	for range 4 { // as many as the pool keeps
		p, digest := r.relayed(hops[0].Node)
		r.mustSend(p)
		sent = append(sent, digest)
	}
	left := func() (n int) {
		for _, digest := range sent {
			n += hops[0].times(digest)
		}
		return n
	}
	r.mix.Drain(true)
	eventually(t, "others' packets have left", func() bool {
		if r.mix.Status().Drained && left() < len(sent) {
			t.Fatalf("drained when %d of %d packets have left", left(), len(sent))
		}
		r.clk.Advance(testInterval)
		return r.mix.Status().Drained && r.log.count("drained") == 1
	})
	if n := left(); n != len(sent) {
		t.Errorf("%d of %d packets have left", n, len(sent))
	}
	r.close()
	if pool, _ := r.stored(); pool < 4 {
		t.Errorf("the pool keeps %d packets", pool)
	}
}
