package config

import (
	"fmt"
	"slices"
	"strings"
)

// A NamedFile is a file or directory that a configuration names and the program only reads.
type NamedFile struct {
	Key  string // "[Section] Key"
	Path string // resolved
}

// ownFiles are the sections whose files belong to the program itself or to the machine.
var ownFiles = []string{"Host", "Server", "Directory"}

// NamedFiles lists what the configuration needs beside itself: lists of addresses, templates, passwords, keys that sign mail, certificates.
func (s *Server) NamedFiles(home string) (out []NamedFile) {
	base := s.Paths(home).BaseDir
	for _, section := range s.Sections() {
		if slices.Contains(ownFiles, section.Name) {
			continue
		}
		for _, k := range section.Keys {
			key := fmt.Sprintf("[%s] %s", section.Name, k.Name)
			switch to := k.To.(type) {
			case *Path:
				if *to != "" {
					out = append(out, NamedFile{key, to.In(base, home)})
				}
			case *DKIMKeys:
				for _, d := range *to {
					out = append(out, NamedFile{key, d.File.In(base, home)})
				}
			}
		}
	}
	return out
}

// WithBaseDir returns a mixminiond.conf with another BaseDir, and everything else as it was.
func WithBaseDir(text []byte, dir string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	var out []string
	in, done, dropping := false, false, false
	for _, line := range lines {
		trimmed := strings.TrimSpace(line)
		continued := trimmed != "" && (line[0] == ' ' || line[0] == '\t')
		if dropping && continued {
			continue
		}
		if trimmed != "" && trimmed[0] != '#' {
			dropping = false
		}
		if strings.HasPrefix(line, "[") {
			in = trimmed == "[Server]"
		}
		if name, _, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(trimmed, ":", " "), "=", " "), " "); in && (name == "BaseDir" || name == "Homedir") {
			dropping = true
			continue
		}
		out = append(out, line)
		if in && !done && strings.HasPrefix(line, "[") {
			if !strings.HasSuffix(line, "\n") {
				out = append(out, "\n")
			}
			out = append(out, "BaseDir: "+dir+"\n")
			done = true
		}
	}
	return []byte(strings.Join(out, ""))
}
