package path

import "slices"

// A WarningCode says what a Warning is about.
type WarningCode int

// The warnings of Select.
const (
	WarnShort          WarningCode = iota // fewer hops than the default has
	WarnRepeat                            // a server comes twice
	WarnNotRecommended                    // a named server is not recommended
	WarnBlocked                           // a named server is on an exclusion list
	WarnUnknownExit                       // nobody can tell whether the last hop supports the exit type
	WarnFamily                            // two named servers are of one family
	WarnLegacy                            // the named first hop takes links of TLS 1.0 only
)

// A Warning tells the user what is unsafe or doubtful about the chosen paths.
type Warning struct {
	Code WarningCode
	Text string
}

func (w Warning) String() string { return w.Text }

// warnings collects each warning once.
type warnings []Warning

func (ws *warnings) add(code WarningCode, text string) {
	if w := (Warning{code, text}); !slices.Contains(*ws, w) {
		*ws = append(*ws, w)
	}
}
