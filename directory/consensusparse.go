package directory

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mixminion/internal/crypt"
)

// The sections of a directory in front of the descriptors.
const (
	sectionSigned   = "Signed-Directory"
	sectionInfo     = "Directory-Info"
	sectionSoftware = "Recommended-Software"
	sectionHistory  = "Directory-History"
	sectionSingle   = "Directory" // format 0.2
)

// ParseDirectory reads a vote or a consensus of format 0.3 (dir-spec 4.1) and verifies all of its descriptors. A descriptor that breaks the
// rules is left out with a Note; one whose digest or signature is wrong spoils the whole directory, since no honest authority lists it
// (dir-spec 2.3). A signer whose digest, signature or key is wrong does not spoil it, but does not count either.
//
// The error is a *SyntaxError, or matches ErrSingleSigned, ErrDirectoryVersion, ErrDigest or crypt.ErrSignature.
func ParseDirectory(text []byte) (*Directory, error) { return (*Cache)(nil).ParseDirectory(text) }

// ParseDirectory is like the function ParseDirectory, but takes descriptors that the cache holds from there.
func (c *Cache) ParseDirectory(text []byte) (*Directory, error) {
	if len(text) > MaxDirectoryLen {
		return nil, syntaxError(0, "%d bytes are more than the %d allowed", len(text), MaxDirectoryLen)
	}
	cleaned, err := cleanStrictly(text)
	if err != nil {
		return nil, err
	}
	head, servers := splitDirectory(cleaned)
	if len(servers) > MaxServers {
		return nil, syntaxError(servers[MaxServers].line, "more than %d descriptors", MaxServers)
	}
	p := directoryParser{d: new(Directory)}
	if err := p.head(head.text); err != nil {
		return nil, err
	}
	for _, part := range servers {
		if err := p.server(c, part); err != nil {
			return nil, err
		}
	}
	d := p.d
	if err := checkServers(d.Servers); err != nil {
		return nil, err
	}
	d.setBody(cleaned[lineStart(head.text, p.infoLine):])
	if err := checkBodyLen(d.body); err != nil {
		return nil, err
	}
	d.Signers = countSigners(d.digest, p.signers)
	return d, nil
}

// checkBodyLen refuses a body that would be too long in the form in which it is published, where a line may have one
// blank more. An authority that passes a vote on must not make of it what the next one refuses.
func checkBodyLen(body []byte) error {
	if n := len(body) + bytes.Count(body, []byte(":\n")); n > maxBodyLen {
		return syntaxError(0, "%d bytes without signatures are more than the %d allowed", n, maxBodyLen)
	}
	return nil
}

func (d *Directory) setBody(body []byte) {
	d.body, d.digest, d.hash = body, crypt.Hash(body), sha256.Sum256(body)
	recommended := make(map[string]bool)
	for _, name := range d.Recommended {
		recommended[name] = true
	}
	d.recommended = make(map[string]*rsa.PublicKey)
	for _, s := range d.Servers {
		if name := strings.ToLower(s.Nickname); recommended[name] {
			d.recommended[name] = s.Identity
		}
	}
}

// cleanStrictly is like clean for texts in which every line must keep to the grammar.
func cleanStrictly(text []byte) ([]byte, error) {
	text = normalize(text)
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if err := checkLine(bytes.TrimSuffix(line, newline), n); err != nil {
			return nil, err
		}
	}
	return clean(text), nil
}

// lineStart gives the offset of a line in a text.
func lineStart(text []byte, line int) int {
	offset := 0
	for range line - 1 {
		offset += bytes.IndexByte(text[offset:], '\n') + 1
	}
	return offset
}

// A part is a piece of a cleaned directory.
type part struct {
	text []byte
	line int // of its first line, counted from 1
}

// splitDirectory cuts a cleaned directory into what comes before the descriptors, and these.
func splitDirectory(cleaned []byte) (head part, servers []part) {
	head = part{line: 1}
	current, start, offset, n := &head, 0, 0, 0
	for line := range bytes.Lines(cleaned) {
		n++
		if string(line) == "["+sectionServer+"]\n" {
			current.text = cleaned[start:offset:offset]
			servers = append(servers, part{line: n})
			current, start = &servers[len(servers)-1], offset
		}
		offset += len(line)
	}
	current.text = cleaned[start:offset:offset]
	return head, servers
}

type directoryParser struct {
	d        *Directory
	signers  []Signer
	infoLine int
}

func (p *directoryParser) note(notes ...Note) { p.d.Notes = append(p.d.Notes, notes...) }

// head reads all sections before the first descriptor.
func (p *directoryParser) head(text []byte) error {
	if len(text) == 0 {
		return syntaxError(0, "not a directory, but server descriptors or nothing")
	}
	sections, err := Parse(text, headLimits)
	if err != nil {
		return err
	}
	if sections[0].Name == sectionSingle {
		return ErrSingleSigned
	}
	for len(sections) > 0 && sections[0].Name == sectionSigned {
		if err := p.signed(&sections[0]); err != nil {
			return err
		}
		sections = sections[1:]
	}
	if len(sections) < 2 || sections[0].Name != sectionInfo || sections[1].Name != sectionSoftware {
		return syntaxError(0, "not a directory: after signatures it needs [%s] and [%s]", sectionInfo, sectionSoftware)
	}
	if v, ok := sections[0].get("Version"); ok && v.Value != DirectoryVersion {
		return fmt.Errorf("%w: %s", ErrDirectoryVersion, quote(v.Value))
	}
	p.infoLine = sections[0].Line
	if err := p.info(&sections[0]); err != nil {
		return err
	}
	if err := p.software(&sections[1]); err != nil {
		return err
	}
	return p.extras(sections[2:])
}

// signed reads a [Signed-Directory] section. What is wrong in it harms nobody but the signer.
func (p *directoryParser) signed(s *Section) error {
	if len(p.signers) == MaxSigners {
		return syntaxError(s.Line, "more than %d signatures", MaxSigners)
	}
	var signer Signer
	notes, err := readSection(s, []field{
		{key: "Directory-Identity", required: true, set: publicKey(&signer.Identity, minIdentityBits, maxIdentityBits)},
		{key: "Directory-Digest", required: true, set: func(s string) error {
			b, err := decodeBase64(s)
			if err == nil && len(b) != len(signer.Digest) {
				err = errBase64
			}
			copy(signer.Digest[:], b)
			return err
		}},
		{key: "Directory-Signature", required: true, set: into(&signer.Signature, decodeBase64)},
	})
	p.note(notes...)
	if err != nil {
		p.note(Note{Line: s.Line, Msg: "signature is ignored: " + err.Error(), Corrupt: true})
		return nil
	}
	p.signers = append(p.signers, signer)
	return nil
}

func (p *directoryParser) info(s *Section) error {
	info := &p.d.Info
	notes, err := readSection(s, []field{
		{key: "Version", required: true, set: ignore},
		{key: "Status", required: true, set: func(s string) error {
			if info.Status = Status(s); info.Status != Consensus && info.Status != Vote {
				return errors.New("neither consensus nor vote")
			}
			return nil
		}},
		{key: "Valid-After", required: true, set: into(&info.ValidAfter, parseDate)},
		{key: "Valid-Until", required: true, set: into(&info.ValidUntil, parseDate)},
		{key: "Recommended-Servers", required: true, set: into(&info.Recommended, parseNicknames)},
		{key: "Voting-Server", required: true, many: true, set: func(s string) error {
			v, err := parseVoter(s)
			if err == nil && len(info.Voters) == MaxVoters {
				err = fmt.Errorf("more than %d", MaxVoters)
			}
			info.Voters = append(info.Voters, v)
			return err
		}},
	})
	p.note(notes...)
	if err != nil {
		return err
	}
	if !info.ValidUntil.Equal(info.ValidAfter.AddDate(0, 0, 1)) {
		return syntaxError(s.Line, "Valid-Until: not one day after Valid-After")
	}
	slices.SortFunc(info.Voters, CompareVoters)
	if len(slices.Compact(slices.Clone(info.Voters))) != len(info.Voters) {
		return syntaxError(s.Line, "Voting-Server: one line twice")
	}
	return nil
}

func (p *directoryParser) software(s *Section) error {
	notes, err := readSection(s, []field{
		{key: "MixminionClient", required: true, set: into(&p.d.ClientVersions, parseVersions)},
		{key: "MixminionServer", required: true, set: into(&p.d.ServerVersions, parseVersions)},
	})
	p.note(notes...)
	return err
}

// extras reads what may stand between [Recommended-Software] and the descriptors.
func (p *directoryParser) extras(sections []Section) error {
	seen := make(map[string]bool)
	for i := range sections {
		s := &sections[i]
		switch s.Name {
		case sectionSigned, sectionInfo, sectionSoftware, sectionSingle:
			return syntaxError(s.Line, "section [%s] is out of place", s.Name)
		}
		if seen[s.Name] {
			return syntaxError(s.Line, "second section [%s]", s.Name)
		}
		seen[s.Name] = true
		if s.Name != sectionHistory {
			p.note(Note{Line: s.Line, Msg: fmt.Sprintf("unknown section [%s]", s.Name)})
			continue
		}
		if err := p.history(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *directoryParser) history(s *Section) error {
	if v, ok := s.get("Version"); ok && v.Value != sectionVersion {
		p.note(Note{Line: v.Line, Msg: fmt.Sprintf("section [%s] has the unknown version %s", s.Name, quote(v.Value))})
		return nil
	}
	var previous [sha256.Size]byte
	notes, err := readSection(s, []field{
		{key: "Version", required: true, set: ignore},
		{key: "Previous-SHA256", required: true, set: sha256Value(&previous)},
	})
	p.note(notes...)
	if err != nil {
		return err
	}
	p.d.Previous = &previous
	return nil
}

// server reads one descriptor.
func (p *directoryParser) server(c *Cache, s part) error {
	desc, err := c.ParseDescriptor(s.text)
	var syntax *SyntaxError
	switch {
	case errors.As(err, &syntax):
		p.note(Note{Line: s.line + max(syntax.Line-1, 0), Msg: "server descriptor is ignored: " + syntax.Msg, Corrupt: true})
	case errors.Is(err, ErrVersion):
		p.note(Note{Line: s.line, Msg: "server descriptor is ignored: " + err.Error(), Corrupt: true})
	case err != nil:
		return fmt.Errorf("server descriptor at line %d: %w", s.line, err)
	default:
		p.d.Servers = append(p.d.Servers, desc)
	}
	return nil
}

// countSigners verifies signatures of a digest and keeps one for each key, a valid one if there is any.
func countSigners(digest crypt.Digest, signers []Signer) []Signer {
	var out []Signer
	index := make(map[crypt.KeyID]int)
	for _, s := range signers {
		switch {
		case s.Digest != digest:
			s.Err = ErrDigest
		default:
			s.Err = crypt.Verify(s.Identity, digest, s.Signature)
		}
		id := crypt.NewKeyID(s.Identity)
		if i, ok := index[id]; !ok {
			index[id] = len(out)
			out = append(out, s)
		} else if out[i].Err != nil && s.Err == nil {
			out[i] = s
		}
	}
	return out
}

// CompareServers is the order of descriptors in a directory: nickname without regard to case, Valid-After, digest (dir-spec 4.1).
func CompareServers(a, b *Descriptor) int {
	if c := strings.Compare(strings.ToLower(a.Nickname), strings.ToLower(b.Nickname)); c != 0 {
		return c
	}
	if c := a.ValidAfter.Compare(b.ValidAfter); c != 0 {
		return c
	}
	return bytes.Compare(a.digest[:], b.digest[:])
}

// checkServers finds descriptors that cannot stand in one directory: wrong order, the same twice, two keys with one nickname, or two
// nicknames of one key (dir-spec 4.1).
func checkServers(servers []*Descriptor) error {
	names := make(map[crypt.KeyID]string)
	for i, d := range servers {
		if i > 0 {
			last := servers[i-1]
			if CompareServers(last, d) >= 0 {
				return syntaxError(0, "descriptors of %s and %s are out of order", last.Nickname, d.Nickname)
			}
			if last.HasNickname(d.Nickname) && !last.SameServer(d) {
				return syntaxError(0, "two servers have the nickname %s", d.Nickname)
			}
		}
		id, name := d.KeyID(), strings.ToLower(d.Nickname)
		if known, ok := names[id]; ok && known != name {
			return syntaxError(0, "one server has the nicknames %s and %s", known, name)
		}
		names[id] = name
	}
	return nil
}

func sha256Value(to *[sha256.Size]byte) func(string) error {
	return func(s string) error {
		b, err := decodeBase64(s)
		if err == nil && len(b) != len(to) {
			err = errors.New("not a SHA-256 digest")
		}
		copy(to[:], b)
		return err
	}
}

// parseNicknames reads a list of nicknames, which may be empty, and gives it sorted, in lower case and without repetitions.
func parseNicknames(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	names, err := parseList(s)
	if err != nil {
		return nil, err
	}
	if len(names) > maxRecommended {
		return nil, fmt.Errorf("more than %d nicknames", maxRecommended)
	}
	for i, name := range names {
		if !ValidNickname(name) {
			return nil, fmt.Errorf("%s is not a nickname", quote(name))
		}
		names[i] = strings.ToLower(name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
