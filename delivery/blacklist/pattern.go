package blacklist

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// upTo finds a repetition without a lower bound, which Python takes for a count from 0 and Go for plain characters.
var upTo = regexp.MustCompile(`(^|[^\\])(\\\\)*\{,[0-9]*\}`)

// unlike are what Python's expressions have and Go's have not, and what to do instead. Go refuses all of them, too; this says it better.
var unlike = []struct{ what, instead string }{
	{"(?=", "looking ahead is not possible; write the rule without"},
	{"(?!", "looking ahead is not possible; write the rule without"},
	{"(?<=", "looking back is not possible; write the rule without"},
	{"(?<!", "looking back is not possible; write the rule without"},
	{"(?P=", "what a group has found cannot be asked for again"},
	{"(?#", "there are no comments within an expression"},
	{"(?(", "there are no conditions"},
	{`\Z`, `write \z or $ for the end`},
}

// compile compiles "/regex/".
func compile(value string) (*regexp.Regexp, error) {
	if len(value) < 3 || value[0] != '/' || value[len(value)-1] != '/' {
		return nil, errors.New("a pattern stands between two slashes: /regular expression/")
	}
	pattern := value[1 : len(value)-1]
	if len(pattern) > MaxPattern {
		return nil, fmt.Errorf("the expression has %d bytes; %d are allowed", len(pattern), MaxPattern)
	}
	if upTo.MatchString(pattern) {
		return nil, errors.New("the expression has a repetition without a lower bound: write {0,N} instead of {,N}")
	}
	re, err := regexp.Compile("(?i:" + pattern + ")")
	if err == nil {
		// The group must be closed by its own bracket, not by one of the pattern's.
		_, err = syntax.Parse(pattern, syntax.Perl)
	}
	if err == nil {
		return re, nil
	}
	for _, u := range unlike {
		if strings.Contains(pattern, u.what) {
			return nil, fmt.Errorf("the expression has %s: %s", u.what, u.instead)
		}
	}
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		if wrong.Code == syntax.ErrInvalidEscape && len(wrong.Expr) == 2 && '1' <= wrong.Expr[1] && wrong.Expr[1] <= '9' {
			return nil, fmt.Errorf("the expression has %s: what a group has found cannot be asked for again", wrong.Expr)
		}
		return nil, fmt.Errorf("the expression has a mistake: %s", wrong.Code)
	}
	return nil, errors.New("the expression has a mistake")
}
