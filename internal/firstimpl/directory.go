package firstimpl

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Directory is what 0.0.8 makes of a directory of format 0.3.
type Directory struct {
	Signers     int
	ValidAfter  time.Time
	Recommended []string
	Servers     []*Descriptor
	Skipped     []string // sections passed over
}

var voter = regexp.MustCompile(`^[0-9A-F]{40} https?://\S+$`)

// ReadDirectory checks a directory or vote by the rules of 0.0.8 (dir-spec 4.1). One malformed descriptor spoils all.
// Unlike 0.0.8 it verifies the signatures.
func ReadDirectory(text string, now time.Time) (*Directory, error) {
	all, err := sections(text)
	if err != nil {
		return nil, err
	}
	at := strings.Index(text, "\n[Directory-Info]\n") + 1
	body, d := text[at:], new(Directory)
	for len(all) > 0 && all[0].name == "Signed-Directory" {
		if err := checkSigner(&all[0], body); err != nil {
			return nil, err
		}
		all = all[1:]
		d.Signers++
	}
	if len(all) < 2 || all[0].name != "Directory-Info" || all[1].name != "Recommended-Software" {
		return nil, fmt.Errorf("%w: sections in front of the servers", ErrRefused)
	}
	if err := d.info(&all[0]); err != nil {
		return nil, err
	}
	for all = all[2:]; len(all) > 0 && all[0].name != "Server"; all = all[1:] {
		d.Skipped = append(d.Skipped, all[0].name)
	}
	if len(all) == 0 {
		return d, nil
	}
	_, servers, _ := strings.Cut(body, "\n[Server]\n")
	for s := range strings.SplitSeq(servers, "\n[Server]\n") {
		server, err := ReadDescriptor("[Server]\n"+strings.TrimSuffix(s, "\n")+"\n", now)
		if err != nil {
			return nil, err
		}
		d.Servers = append(d.Servers, server)
	}
	if !slices.IsSortedFunc(d.Servers, func(a, b *Descriptor) int {
		if c := strings.Compare(strings.ToLower(a.Nickname), strings.ToLower(b.Nickname)); c != 0 {
			return c
		}
		return a.ValidAfter.Compare(b.ValidAfter)
	}) {
		return nil, fmt.Errorf("%w: servers out of order", ErrRefused)
	}
	return d, nil
}

func checkSigner(s *section, body string) error {
	var raw [3][]byte
	for i, key := range []string{"Directory-Identity", "Directory-Digest", "Directory-Signature"} {
		value, n := s.get(key)
		if n != 1 || !isBase64(value) {
			return fmt.Errorf("%w: [Signed-Directory] %s", ErrRefused, key)
		}
		raw[i], _ = base64.StdEncoding.DecodeString(value)
	}
	if len(s.lines) != len(raw) {
		return fmt.Errorf("%w: an unknown key in [Signed-Directory]", ErrRefused)
	}
	key, err := publicKey(raw[0], 2048, 4096)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	digest := digestOf(body)
	if string(digest) != string(raw[1]) {
		return fmt.Errorf("%w: the digest of the directory is wrong", ErrRefused)
	}
	if err := checkSignature(key, digest, raw[2]); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

func (d *Directory) info(s *section) error {
	value := func(key string) string {
		v, _ := s.get(key)
		return v
	}
	for _, key := range []string{"Version", "Status", "Valid-After", "Valid-Until", "Recommended-Servers"} {
		if _, n := s.get(key); n != 1 {
			return fmt.Errorf("%w: [Directory-Info] %s: %d times", ErrRefused, key, n)
		}
	}
	var voters []string
	for _, l := range s.lines {
		if l.key == "Voting-Server" {
			voters = append(voters, l.value)
		}
	}
	until, err := time.Parse("2006-01-02", value("Valid-Until"))
	if err == nil {
		d.ValidAfter, err = time.Parse("2006-01-02", value("Valid-After"))
	}
	if err != nil || until.Sub(d.ValidAfter) != 24*time.Hour || value("Version") != "0.3" ||
		!slices.Contains([]string{"vote", "consensus"}, value("Status")) || !slices.IsSorted(voters) ||
		slices.ContainsFunc(voters, func(v string) bool { return !voter.MatchString(v) }) {
		return fmt.Errorf("%w: [Directory-Info] %v", ErrRefused, s.lines)
	}
	if names := value("Recommended-Servers"); names != "" {
		d.Recommended = strings.Split(names, ", ")
	}
	if !slices.IsSorted(d.Recommended) || strings.ToLower(value("Recommended-Servers")) != value("Recommended-Servers") {
		return fmt.Errorf("%w: recommended servers out of order", ErrRefused)
	}
	return nil
}
