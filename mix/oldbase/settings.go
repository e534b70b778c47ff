package oldbase

import (
	"errors"
	"fmt"
	"strings"

	"mixminion/directory"
	"mixminion/internal/config"
)

// maxErrors bounds how often a configuration is tried again without what was wrong.
const maxErrors = 200

// ParseSettings reads a mixminiond.conf of 0.0.8. What this program does not know, or would not take, is left out, and
// a note says so of each; a section that lacks what it needs is left out as a whole. A nickname and contact address
// that are missing come from the descriptor, which may be nil.
func ParseSettings(text []byte, name string, d *directory.Descriptor) (cfg *config.Server, notes []string, err error) {
	lines := strings.Split(string(text), "\n")
	for range maxErrors {
		cfg, err = config.ParseServer([]byte(strings.Join(lines, "\n")), name)
		if err == nil {
			return cfg, notes, nil
		}
		wrong := first(err)
		if wrong == nil || wrong.Line < 1 || wrong.Line > len(lines) {
			return nil, notes, err
		}
		i := wrong.Line - 1
		isSection := strings.HasPrefix(lines[i], "[")
		switch {
		case isSection && wrong.Section == "Server":
			value := ""
			if d != nil {
				value = map[string]string{"Nickname": d.Nickname, "Contact-Email": d.Contact}[wrong.Key]
			}
			if value == "" {
				return nil, notes, err
			}
			// It stands in the same line, so that the numbers of all others stay.
			lines[i] += "\n" + wrong.Key + ": " + value
			lines = strings.Split(strings.Join(lines, "\n"), "\n")
		case isSection:
			notes = append(notes, fmt.Sprintf("section left out: %v", wrong))
			blank(lines, i, func(line string) bool { return strings.HasPrefix(line, "[") })
		default:
			notes = append(notes, fmt.Sprintf("left out: %v", wrong))
			blank(lines, i, func(line string) bool { return line != "" && line[0] != ' ' && line[0] != '\t' && line[0] != '#' })
		}
	}
	return nil, notes, err
}

// blank empties a line and those after it up to one that ends them.
func blank(lines []string, i int, ends func(string) bool) {
	lines[i] = ""
	for i++; i < len(lines) && !ends(lines[i]); i++ {
		lines[i] = ""
	}
}

// first returns the first mistake that has a line.
func first(err error) *config.Error {
	all := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		all = j.Unwrap()
	}
	for _, e := range all {
		var c *config.Error
		if errors.As(e, &c) && c.Line > 0 {
			return c
		}
	}
	return nil
}

// SettingsOf makes a configuration of what a descriptor says of its server, and notes what it does not say.
func SettingsOf(d *directory.Descriptor) (cfg *config.Server, notes []string, err error) {
	cfg = config.DefaultServer()
	m := &cfg.Main
	m.ContactFingerprint, m.Comments = d.ContactFingerprint, d.Comments
	err = errors.Join(m.Nickname.Set(d.Nickname), m.ContactEmail.Set(d.Contact))
	if in := d.Incoming; in != nil && err == nil {
		cfg.IncomingMMTP.Enabled = true
		cfg.IncomingMMTP.Port = config.Port(in.Port)
		err = cfg.IncomingMMTP.Hostname.Set(in.Hostname)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("its descriptor: %w", err)
	}
	cfg.OutgoingMMTP.Enabled = d.Outgoing != nil
	if d.SMTP != nil {
		notes = append(notes, "it delivered mail. By which mail server only its mixminiond.conf says, so [Delivery/SMTP] is off")
	}
	if d.MBOX != nil {
		notes = append(notes, "it delivered to mailboxes of its own. Which ones only its mixminiond.conf says, so [Delivery/MBOX] is off")
	}
	return cfg, notes, nil
}
