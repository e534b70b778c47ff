package path

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits on a specification. No header has room for more hops than MaxHops.
const (
	MaxHops     = 32 // the largest number behind "*" or "~"
	maxElements = 64
	maxSpecLen  = 4096
)

// Errors about the shape of a path.
var (
	ErrTooShort = errors.New("path is too short")
	ErrSwap     = errors.New("a path to or in a reply block has one leg only, without ':'")
)

// ElementKind tells the elements of a specification apart.
type ElementKind int

// The kinds of elements (path-spec 3.1).
const (
	Named    ElementKind = iota // a server by its nickname
	File                        // a server by the file that its descriptor is in
	Random                      // "?": one random server
	Count                       // "*N": N random servers
	Gaussian                    // "~N": about N random servers
)

// An Element is one element of a path specification.
type Element struct {
	Kind ElementKind
	Name string // Named, File
	N    int    // Count, Gaussian
}

// String gives the element in its canonical form.
func (e Element) String() string {
	switch e.Kind {
	case Named:
		return e.Name
	case File:
		if strings.Contains(e.Name, "'") {
			return `"` + e.Name + `"`
		}
		return "'" + e.Name + "'"
	case Random:
		return "?"
	case Count:
		return "*" + strconv.Itoa(e.N)
	default:
		return "~" + strconv.Itoa(e.N)
	}
}

// least is the smallest number of servers that satisfy the element.
func (e Element) least() int {
	if e.Kind == Count {
		return e.N
	}
	return 1
}

// A Spec is a path specification. The zero value is no specification: Select then takes the default.
type Spec struct {
	Leg1 []Element
	Leg2 []Element // only with Split
	// Split says that the specification has a ":", so that its legs are given; otherwise Leg1 holds all of it.
	Split bool
}

// IsZero reports whether s is no specification.
func (s Spec) IsZero() bool { return len(s.Leg1) == 0 && len(s.Leg2) == 0 && !s.Split }

// String gives the specification in its canonical form; ParseSpec reads it back.
func (s Spec) String() string {
	if !s.Split {
		return legString(s.Leg1)
	}
	return legString(s.Leg1) + ":" + legString(s.Leg2)
}

func legString(leg []Element) string {
	parts := make([]string, len(leg))
	for i, e := range leg {
		parts[i] = e.String()
	}
	return strings.Join(parts, ",")
}

// Check tells whether paths of the given kind can have this shape: a forward path needs two hops and one in each leg, the others one hop
// and no ":" (path-spec 2.2). lastHop says that the address names a server that will be appended. Errors match
// ErrTooShort or ErrSwap.
func (s Spec) Check(kind Kind, lastHop bool) error {
	if s.IsZero() {
		return nil
	}
	if kind != Forward {
		if s.Split {
			return ErrSwap
		}
		if least(s.Leg1) == 0 && !lastHop {
			return fmt.Errorf("%w: it must have at least 1 hop", ErrTooShort)
		}
		return nil
	}
	appended := 0
	if lastHop {
		appended = 1
	}
	switch {
	case s.Split && (least(s.Leg1) == 0 || least(s.Leg2)+appended == 0):
		return fmt.Errorf("%w: each leg must have at least 1 hop", ErrTooShort)
	case !s.Split && !s.isGaussian() && least(s.Leg1)+appended < 2:
		return fmt.Errorf("%w: it must have at least 2 hops", ErrTooShort)
	}
	return nil
}

func least(leg []Element) int {
	n := 0
	for _, e := range leg {
		n += e.least()
	}
	return n
}

// isGaussian reports whether the specification is nothing but "~N", once elements of no length are gone.
func (s Spec) isGaussian() bool {
	leg := withoutEmpty(s.Leg1)
	return !s.Split && len(leg) == 1 && leg[0].Kind == Gaussian
}

// withoutEmpty removes the elements "*0" (path-spec 3.3).
func withoutEmpty(leg []Element) []Element {
	var out []Element
	for _, e := range leg {
		if e.Kind != Count || e.N > 0 {
			out = append(out, e)
		}
	}
	return out
}
