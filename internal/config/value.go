package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Value is what a key can be bound to. Set reads the text of a file; String
// writes text that Set reads back to the same value; Kind names the type.
type Value interface {
	Set(text string) error
	String() string
	Kind() string
}

// multiValue is a Value whose key may stand more than once: Set adds, and
// each of Values is the text of one line.
type multiValue interface {
	Value
	Values() []string
}

// bind wraps a pointer to a plain type; pointers to the package's own types
// are Values already.
func bind(to any) Value {
	switch p := to.(type) {
	case Value:
		return p
	case *string:
		return (*textValue)(p)
	case *bool:
		return (*boolValue)(p)
	case *int:
		return (*intValue)(p)
	case *netip.Addr:
		return (*addrValue)(p)
	}
	panic(fmt.Sprintf("config: a key is bound to a %T", to))
}

type textValue string

func (v *textValue) Set(text string) error { *v = textValue(text); return nil }
func (v *textValue) String() string        { return string(*v) }
func (v *textValue) Kind() string          { return "text" }

type boolValue bool

func (v *boolValue) Set(text string) error {
	switch strings.ToLower(text) {
	case "1", "yes", "y", "true", "on":
		*v = true
	case "0", "no", "n", "false", "off":
		*v = false
	default:
		return fmt.Errorf("%s is neither yes nor no", quote(text))
	}
	return nil
}

func (v *boolValue) String() string {
	if *v {
		return "yes"
	}
	return "no"
}

func (v *boolValue) Kind() string { return "yes or no" }

type intValue int

func (v *intValue) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("%s is not a whole number below %d", quote(text), int64(1)<<31)
	}
	*v = intValue(n)
	return nil
}

func (v *intValue) String() string { return strconv.Itoa(int(*v)) }
func (v *intValue) Kind() string   { return "number" }

type addrValue netip.Addr

func (v *addrValue) Set(text string) error {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return fmt.Errorf("%s is not an IP address", quote(text))
	}
	*v = addrValue(a)
	return nil
}

func (v *addrValue) String() string {
	if a := netip.Addr(*v); a.IsValid() {
		return a.String()
	}
	return ""
}

func (v *addrValue) Kind() string { return "IP address" }

// Path names a file or directory. It may begin with "~/", the home directory,
// and is otherwise relative to a directory that its key's text names.
type Path string

func (v *Path) Set(text string) error {
	if text == "" {
		return errors.New("a file name must not be empty")
	}
	*v = Path(text)
	return nil
}
func (v *Path) String() string { return string(*v) }
func (v *Path) Kind() string   { return "file" }

// Command is a program and its arguments, separated by blanks.
type Command []string

func (v *Command) Set(text string) error {
	*v = strings.Fields(text)
	if len(*v) == 0 {
		return errors.New("a command must not be empty")
	}
	return nil
}
func (v *Command) String() string { return strings.Join(*v, " ") }
func (v *Command) Kind() string   { return "command" }

// Lines is a repeatable key of free text: one element for each line.
type Lines []string

func (v *Lines) Set(text string) error {
	if text == "" {
		return errors.New("the value must not be empty")
	}
	*v = append(*v, text)
	return nil
}
func (v *Lines) String() string   { return strings.Join(*v, "; ") }
func (v *Lines) Values() []string { return *v }
func (v *Lines) Kind() string     { return "text" }

// List is a repeatable key of names separated by commas, all in one list.
type List []string

func (v *List) Set(text string) error {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			return fmt.Errorf("empty element in the list %s", quote(text))
		}
		*v = append(*v, item)
	}
	return nil
}
func (v *List) String() string { return strings.Join(*v, ", ") }
func (v *List) Values() []string {
	if len(*v) == 0 {
		return nil
	}
	return []string{v.String()}
}
func (v *List) Kind() string { return "list" }
