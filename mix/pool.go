package mix

import (
	"fmt"
	"io"

	"mixminion/internal/uniform"
)

// Algorithm is a batching rule: it decides which packets of the pool leave at a mix (minion-spec A.1).
type Algorithm int

// The three rules. Binomial is the one to run; Timed is for tests and for show.
const (
	// Binomial lets each packet leave with the same probability, on average as many as Cottrell: what leaves says little about what is left.
	Binomial Algorithm = iota
	// Cottrell lets a fixed share of the pool leave and always keeps some packets: the dynamic pool of Mixmaster.
	Cottrell
	// Timed lets everything leave at every mix. Whoever floods such a mix sees through it.
	Timed
)

// String names the algorithm as descriptors of the first implementation do.
func (a Algorithm) String() string {
	switch a {
	case Binomial:
		return "BinomialCottrellMixPool"
	case Cottrell:
		return "CottrellMixPool"
	case Timed:
		return "TimedMixPool"
	}
	return fmt.Sprintf("Algorithm(%d)", int(a))
}

// Rule is a batching rule with its parameters.
type Rule struct {
	Algorithm Algorithm
	MinSize   int     // packets that always stay, for Binomial and Cottrell
	Rate      float64 // largest share of the pool that leaves: of each batch for Cottrell, on average for Binomial
}

// Pick returns which packets of a pool of n leave now, as indices in random order.
func (r Rule) Pick(rnd io.Reader, n int) ([]int, error) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if err := uniform.ShuffleSlice(rnd, order); err != nil {
		return nil, err
	}
	if r.Algorithm == Timed {
		return order, nil
	}
	if n <= r.MinSize {
		return nil, nil
	}
	most := n - r.MinSize
	mean := min(most, max(1, int(float64(n)*r.Rate)))
	if r.Algorithm == Cottrell {
		return order[:mean], nil
	}
	leave := 0
	for range n {
		v, err := uniform.Int(rnd, n)
		if err != nil {
			return nil, err
		}
		if v < mean {
			leave++
		}
	}
	// The pool keeps its minimum even when the dice fall high: without this an attacker who waits long enough sees it empty.
	return order[:min(leave, most)], nil
}
