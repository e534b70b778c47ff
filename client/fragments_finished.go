package client

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mixminion/internal/store/durable"
	"mixminion/message"
)

const (
	finishedFile = "finished"
	// maxFinished bounds how many IDs are remembered. The oldest are forgotten first.
	maxFinished = 10000
)

// How a message ended.
const (
	removed  = "removed"  // by the user
	rejected = "rejected" // its fragments contradicted each other
)

// finished remembers the IDs of messages that need no more fragments, oldest first: a line "ID how" each in its file.
type finished struct {
	lines []string
	set   map[message.ID]bool
}

func (l *finished) has(id message.ID) bool { return l.set[id] }

// read reads the file. A damaged one is no obstacle: damaged tells about it, and the lines that make sense are used.
func (l *finished) read(dir string) (damaged, err error) {
	l.set = map[message.ID]bool{}
	file := filepath.Join(dir, finishedFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		id, how, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		b, err := hex.DecodeString(id)
		if err != nil || len(b) != message.IDLen || how != removed && how != rejected {
			damaged = fmt.Errorf("%w: %s: some finished messages are forgotten, so that late fragments of them may show up again", ErrFragmentFile, file)
			continue
		}
		l.append(message.ID(b), how)
	}
	return damaged, nil
}

func (l *finished) append(id message.ID, how string) {
	if !l.set[id] {
		l.set[id] = true
		l.lines = append(l.lines, hex.EncodeToString(id[:])+" "+how+"\n")
	}
}

// add remembers messages, durably.
func (l *finished) add(dir, how string, ids ...message.ID) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	next := finished{slices.Clone(l.lines), map[message.ID]bool{}}
	for id := range l.set {
		next.set[id] = true
	}
	for _, id := range ids {
		next.append(id, how)
	}
	if surplus := len(next.lines) - maxFinished; surplus > 0 {
		for _, line := range next.lines[:surplus] {
			if b, err := hex.DecodeString(line[:2*message.IDLen]); err == nil {
				delete(next.set, message.ID(b))
			}
		}
		next.lines = next.lines[surplus:]
	}
	if err := durable.WriteFile(filepath.Join(dir, finishedFile), []byte(strings.Join(next.lines, "")), 0o600); err != nil {
		return err
	}
	*l = next
	return nil
}
