// Package pickle reads the few shapes in which Mixminion 0.0.8 kept a user's files in Python's pickle format, protocol 1.
//
// A pickle is a program for a small machine with a stack, and Python's own machine can be made to call anything. This one knows only the
// instructions that those files consist of; it calls nothing and builds nothing. An object is the name of its class and the values
// of its fields, and whoever reads it judges both. What a pickle may take of memory is bounded by its length, which is bounded itself.
package pickle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxLen is how long a pickle may be, in bytes: a packet and its address have 33 KB.
const MaxLen = 64 << 10

const (
	maxStack = 64  // values that are not part of another one yet
	maxMemo  = 256 // values that may be named a second time
	maxName  = 128 // characters in the names of a module and a class
)

// ErrForm says that something is no pickle, or none of the shapes that are known here.
var ErrForm = errors.New("not of a known form")

// An Object is an object as it was stored.
type Object struct {
	Class  string // with its module, like "mixminion.Packet.MMTPHostInfo"
	Fields map[string]any
}

// Instructions, by Python's names for them.
const (
	opMark           = '('
	opStop           = '.'
	opNone           = 'N'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opBinInt2        = 'M'
	opBinString      = 'T'
	opShortBinString = 'U'
	opTuple          = 't'
	opEmptyDict      = '}'
	opSetItem        = 's'
	opSetItems       = 'u'
	opGlobal         = 'c'
	opObj            = 'o'
	opBuild          = 'b'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opBinGet         = 'h'
	opLongBinGet     = 'j'
)

// What lies on the stack besides values.
type (
	mark  struct{}
	class string
)

// Load reads a pickle. A value is nil, an int, []byte (a string), []any (a tuple), map[string]any (a dictionary) or *Object. Strings share
// memory with data. The error wraps ErrForm.
func Load(data []byte) (any, error) {
	if len(data) > MaxLen {
		return nil, fmt.Errorf("%w: more than %d KB", ErrForm, MaxLen>>10)
	}
	m := machine{rest: data, memo: map[uint32]any{}}
	for {
		value, done, err := m.step()
		if err != nil {
			return nil, fmt.Errorf("%w: %w at byte %d", ErrForm, err, len(data)-len(m.rest))
		}
		if done {
			return value, nil
		}
	}
}

type machine struct {
	rest  []byte
	stack []any
	memo  map[uint32]any
}

var (
	errShort = errors.New("it is cut off")
	errShape = errors.New("values that do not belong together")
)

// step does one instruction. done is true for the last one.
func (m *machine) step() (value any, done bool, err error) {
	op, err := m.take(1)
	if err != nil {
		return nil, false, err
	}
	switch op[0] {
	case opStop:
		if len(m.stack) != 1 || len(m.rest) != 0 || !isValue(m.stack[0]) {
			return nil, false, errShape
		}
		return m.stack[0], true, nil
	case opMark:
		err = m.push(mark{})
	case opNone:
		err = m.push(nil)
	case opBinInt, opBinInt1, opBinInt2:
		err = m.integer(op[0])
	case opShortBinString, opBinString:
		err = m.text(op[0])
	case opTuple:
		err = m.tuple()
	case opEmptyDict:
		err = m.push(map[string]any{})
	case opSetItem, opSetItems:
		err = m.setItems(op[0])
	case opGlobal, opObj, opBuild:
		err = m.object(op[0])
	case opBinPut, opLongBinPut, opBinGet, opLongBinGet:
		err = m.remember(op[0])
	default:
		err = fmt.Errorf("an instruction (%#02x) that is not followed here", op[0])
	}
	return nil, false, err
}

func (m *machine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.rest) {
		return nil, errShort
	}
	b := m.rest[:n:n]
	m.rest = m.rest[n:]
	return b, nil
}

func isValue(v any) bool {
	switch v.(type) {
	case mark, class:
		return false
	}
	return true
}

func (m *machine) push(v any) error {
	if len(m.stack) >= maxStack {
		return errors.New("too much at once")
	}
	m.stack = append(m.stack, v)
	return nil
}

// pop takes the topmost value.
func (m *machine) pop() (any, error) {
	n := len(m.stack)
	if n == 0 {
		return nil, errShape
	}
	v := m.stack[n-1]
	m.stack = m.stack[:n-1]
	return v, nil
}

// popMark takes all that lies above the topmost mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			above := append([]any{}, m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return above, nil
		}
	}
	return nil, errShape
}

// integer reads a number of four, one or two bytes, the least significant first; only that of four has a sign.
func (m *machine) integer(op byte) error {
	size := map[byte]int{opBinInt: 4, opBinInt1: 1, opBinInt2: 2}[op]
	b, err := m.take(size)
	if err != nil {
		return err
	}
	switch size {
	case 1:
		return m.push(int(b[0]))
	case 2:
		return m.push(int(binary.LittleEndian.Uint16(b)))
	}
	return m.push(int(int32(binary.LittleEndian.Uint32(b))))
}

func (m *machine) text(op byte) error {
	size := 1
	if op == opBinString {
		size = 4
	}
	n, err := m.number(size)
	if err != nil {
		return err
	}
	if n > MaxLen {
		return errShort
	}
	b, err := m.take(int(n))
	if err != nil {
		return err
	}
	return m.push(b)
}

// number reads an unsigned number of one or four bytes that belongs to an instruction.
func (m *machine) number(size int) (uint32, error) {
	b, err := m.take(size)
	if err != nil {
		return 0, err
	}
	if size == 1 {
		return uint32(b[0]), nil
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (m *machine) tuple() error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	for _, v := range items {
		if !isValue(v) {
			return errShape
		}
	}
	return m.push(items)
}

func (m *machine) setItems(op byte) error {
	var items []any
	if op == opSetItems {
		var err error
		if items, err = m.popMark(); err != nil {
			return err
		}
	} else {
		value, err := m.pop()
		if err != nil {
			return err
		}
		key, err := m.pop()
		if err != nil {
			return err
		}
		items = []any{key, value}
	}
	if len(m.stack) == 0 || len(items)%2 != 0 {
		return errShape
	}
	dict, ok := m.stack[len(m.stack)-1].(map[string]any)
	if !ok {
		return errShape
	}
	for i := 0; i < len(items); i += 2 {
		key, ok := items[i].([]byte)
		if !ok || len(key) > maxName || !isValue(items[i+1]) {
			return errShape
		}
		dict[string(key)] = items[i+1]
	}
	return nil
}

// object follows the instructions of objects: a class is named, an object without arguments is made of it, and gets its fields.
func (m *machine) object(op byte) error {
	switch op {
	case opGlobal:
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.push(class(module + "." + name))
	case opObj:
		items, err := m.popMark()
		if err != nil {
			return err
		}
		if len(items) != 1 {
			return errShape
		}
		name, ok := items[0].(class)
		if !ok {
			return errShape
		}
		return m.push(&Object{Class: string(name)})
	}
	state, err := m.pop()
	if err != nil {
		return err
	}
	fields, ok := state.(map[string]any)
	if !ok || len(m.stack) == 0 {
		return errShape
	}
	o, ok := m.stack[len(m.stack)-1].(*Object)
	if !ok || o.Fields != nil {
		return errShape
	}
	o.Fields = fields
	return nil
}

// line reads a name that ends with a line.
func (m *machine) line() (string, error) {
	line, _, ok := bytes.Cut(m.rest, []byte("\n"))
	if !ok {
		return "", errShort
	}
	if len(line) == 0 || len(line) > maxName {
		return "", errShape
	}
	for _, c := range line {
		if c <= ' ' || c > '~' {
			return "", errShape
		}
	}
	m.rest = m.rest[len(line)+1:]
	return string(line), nil
}

// remember follows the instructions for values that occur more than once.
func (m *machine) remember(op byte) error {
	size := 1
	if op == opLongBinPut || op == opLongBinGet {
		size = 4
	}
	n, err := m.number(size)
	if err != nil {
		return err
	}
	if op == opBinGet || op == opLongBinGet {
		v, ok := m.memo[n]
		if !ok {
			return errShape
		}
		return m.push(v)
	}
	if len(m.stack) == 0 || len(m.memo) >= maxMemo {
		return errShape
	}
	v := m.stack[len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return errShape
	}
	m.memo[n] = v
	return nil
}
