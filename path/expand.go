package path

import (
	"fmt"
	"math"

	"mixminion/packet"
)

// sigma is the standard deviation of "~N", in hops (path-spec 3.3).
const sigma = 1.5

// maxExpanded bounds the hops of an expanded specification. More than that fit into no header, however short the names are.
const maxExpanded = 2 * MaxHops

// A slot is one place in a path: a certain server, or nil for a random one.
type slot = *server

// A template is an expanded specification.
type template struct {
	slots []slot
	split int // how many slots are in the first leg
}

// defaultSpec is four random servers.
func defaultSpec(r *Request) Spec {
	leg := func(n int) []Element {
		out := make([]Element, n)
		for i := range out {
			out[i].Kind = Random
		}
		return out
	}
	var s Spec
	if r.Kind == Forward {
		s = Spec{Leg1: leg(DefaultHops / 2), Leg2: leg(DefaultHops / 2), Split: true}
	} else {
		s = Spec{Leg1: leg(DefaultHops)}
	}
	if r.LastHop != "" {
		last := s.lastLeg()
		(*last)[len(*last)-1] = Element{Kind: Named, Name: r.LastHop}
	}
	return s
}

func (s *Spec) lastLeg() *[]Element {
	if s.Split {
		return &s.Leg2
	}
	return &s.Leg1
}

// prepare brings a specification into the form that expand takes, and resolves its names.
func (s *selector) prepare(spec Spec) error {
	lastHop := s.req.LastHop != ""
	if err := spec.Check(s.req.Kind, lastHop); err != nil {
		return err
	}
	if spec.IsZero() {
		s.strict, spec = true, defaultSpec(&s.req)
	}
	onlyGaussian := spec.isGaussian()
	spec.Leg1, spec.Leg2 = withoutEmpty(spec.Leg1), withoutEmpty(spec.Leg2)
	for _, leg := range [][]Element{spec.Leg1, spec.Leg2} {
		for _, e := range leg {
			if err := s.resolve(e); err != nil {
				return err
			}
		}
	}
	if lastHop {
		e := Element{Kind: Named, Name: s.req.LastHop}
		if err := s.resolve(e); err != nil {
			return err
		}
		leg := spec.lastLeg()
		if n := len(*leg); n == 0 || s.resolved[(*leg)[n-1]] == nil || !s.resolved[(*leg)[n-1]].same(s.resolved[e]) {
			*leg = append(*leg, e)
		}
	} else if onlyGaussian && s.req.Kind == Forward {
		// One hop is set apart so that both legs get one, whatever is drawn (path-spec 3.3).
		spec.Leg1 = []Element{{Kind: Random}, {Kind: Gaussian, N: spec.Leg1[0].N - 1}}
	}
	s.spec = spec
	return nil
}

// expand draws the number of hops of each "~N" and lays out the slots.
func (s *selector) expand() (template, error) {
	var t template
	for i, leg := range [][]Element{s.spec.Leg1, s.spec.Leg2} {
		for _, e := range leg {
			n := 1
			switch e.Kind {
			case Count:
				n = e.N
			case Gaussian:
				z, err := normal(s.rnd)
				if err != nil {
					return t, err
				}
				n = max(1, int(math.Round(float64(e.N)+sigma*z)))
			}
			for range n {
				t.slots = append(t.slots, s.resolved[e])
			}
		}
		if i == 0 {
			t.split = len(t.slots)
		}
		if len(t.slots) > maxExpanded {
			return t, fmt.Errorf("%w: more than %d hops", packet.ErrTooLong, maxExpanded)
		}
	}
	if s.req.Kind == Forward && !s.spec.Split {
		t.split = (len(t.slots) + 1) / 2
	}
	return t, nil
}
