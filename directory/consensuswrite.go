package directory

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mixminion/internal/crypt"
)

// FormatDirectory writes the body of a directory: everything from [Directory-Info] on (dir-spec 4.1). Lists are sorted; the order of
// the arguments does not matter. It refuses, with an error that matches ErrDirectory, what ParseDirectory would not give back, and
// descriptors that the first implementation cannot read.
func FormatDirectory(info Info, servers []*Descriptor) (body []byte, err error) {
	sections, err := info.sections()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	head, err := Format(sections)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	sorted := slices.SortedFunc(slices.Values(servers), CompareServers)
	if err := checkServers(sorted); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	if len(sorted) > MaxServers {
		return nil, fmt.Errorf("%w: more than %d descriptors", ErrDirectory, MaxServers)
	}
	body = clean(head)
	for _, d := range sorted {
		if i := slices.IndexFunc(d.Notes, func(n Note) bool { return n.Corrupt }); i >= 0 {
			return nil, fmt.Errorf("%w: descriptor of %s: %v", ErrDirectory, d.Nickname, d.Notes[i])
		}
		body = append(body, d.text...)
	}
	if err := checkBodyLen(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	return body, nil
}

// sections lays the information out in canonical order.
func (info *Info) sections() ([]Section, error) {
	if info.Status != Consensus && info.Status != Vote {
		return nil, fmt.Errorf("status %s", quote(string(info.Status)))
	}
	if !isMidnight(info.ValidAfter) || !info.ValidUntil.Equal(info.ValidAfter.AddDate(0, 0, 1)) {
		return nil, errors.New("it is not valid for one day from midnight UTC")
	}
	if y := info.ValidAfter.Year(); y < 1 || y > 9998 {
		return nil, errors.New("the year does not have four digits")
	}
	names, err := parseNicknames(strings.Join(info.Recommended, ","))
	if err != nil {
		return nil, fmt.Errorf("recommended servers: %w", err)
	}
	s := Section{Name: sectionInfo}
	s.add("Version", DirectoryVersion)
	s.add("Status", string(info.Status))
	s.add("Valid-After", info.ValidAfter.UTC().Format(dateLayout))
	s.add("Valid-Until", info.ValidUntil.UTC().Format(dateLayout))
	s.add("Recommended-Servers", formatList(names))
	voters := slices.Compact(slices.SortedFunc(slices.Values(info.Voters), CompareVoters))
	if len(voters) == 0 || len(voters) > MaxVoters {
		return nil, fmt.Errorf("%d voting servers", len(voters))
	}
	for _, v := range voters {
		if _, err := parseVoter(v.String()); err != nil {
			return nil, fmt.Errorf("voting server %s: %w", quote(v.String()), err)
		}
		s.add("Voting-Server", v.String())
	}
	software := Section{Name: sectionSoftware}
	for _, list := range []struct {
		key      string
		versions []string
	}{{"MixminionClient", info.ClientVersions}, {"MixminionServer", info.ServerVersions}} {
		versions, err := parseVersions(strings.Join(list.versions, ","))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list.key, err)
		}
		software.add(list.key, formatList(versions))
	}
	out := []Section{s, software}
	if info.Previous != nil {
		history := Section{Name: sectionHistory}
		history.add("Version", sectionVersion)
		history.add("Previous-SHA256", encodeBase64(info.Previous[:]))
		out = append(out, history)
	}
	return out, nil
}

// NewSigner signs the body of a directory.
func NewSigner(body []byte, key *rsa.PrivateKey) (Signer, error) {
	if bits := key.N.BitLen(); bits < minIdentityBits || bits > maxIdentityBits {
		return Signer{}, fmt.Errorf("%w: modulus of %d bits", crypt.ErrKey, bits)
	}
	digest := crypt.Hash(clean(body))
	signature, err := crypt.Sign(key, digest)
	if err != nil {
		return Signer{}, fmt.Errorf("sign directory: %w", err)
	}
	return Signer{Identity: &key.PublicKey, Digest: digest, Signature: signature}, nil
}

// SignDirectory signs a body and returns the whole directory. The signatures stand in the order of the keys.
func SignDirectory(body []byte, keys ...*rsa.PrivateKey) (text []byte, err error) {
	var signers []Signer
	for _, key := range keys {
		s, err := NewSigner(body, key)
		if err != nil {
			return nil, err
		}
		signers = append(signers, s)
	}
	return formatSigned(signers, clean(body)), nil
}

// WithSigners returns the directory with those of its own and the given signatures that are valid and by members of the voting group,
// one for each key and sorted by fingerprint: whoever has the same signatures gets the same bytes, in whatever order they came.
func (d *Directory) WithSigners(more ...Signer) (text []byte) {
	best := make(map[string]Signer)
	for _, s := range slices.Concat(d.Signers, more) {
		if s.Identity == nil || !validIdentity(s.Identity) || s.Digest != d.digest {
			continue
		}
		fp := s.Fingerprint()
		if !d.isVoter(fp) || crypt.Verify(s.Identity, d.digest, s.Signature) != nil {
			continue
		}
		if old, ok := best[fp]; !ok || bytes.Compare(s.Signature, old.Signature) < 0 {
			best[fp] = s
		}
	}
	return formatSigned(sortedByKey(best), d.body)
}

// formatSigned writes the sections of the signers and the body behind them.
func formatSigned(signers []Signer, body []byte) []byte {
	var out []byte
	for _, s := range signers {
		out = fmt.Appendf(out, "[%s]\nDirectory-Identity: %s\nDirectory-Digest: %s\nDirectory-Signature: %s\n", sectionSigned,
			encodeBase64(crypt.EncodePublicKey(s.Identity)), encodeBase64(s.Digest[:]), encodeBase64(s.Signature))
	}
	return appendPublished(out, body)
}

// appendPublished appends a body in the form in which it is published. The grammar wants a blank behind the colon of an empty value
// (dir-spec 2.1), which digests do not cover (dir-spec 2.5).
func appendPublished(out, body []byte) []byte {
	if !bytes.Contains(body, []byte(":\n")) {
		return append(out, body...)
	}
	for line := range bytes.Lines(body) {
		if key := bytes.TrimSuffix(line, []byte(":\n")); len(key) < len(line) && bytes.IndexByte(key, ':') < 0 {
			line = append(key[:len(key):len(key)], ": \n"...)
		}
		out = append(out, line...)
	}
	return out
}

func validIdentity(key *rsa.PublicKey) bool {
	return key.N.BitLen() >= minIdentityBits && key.N.BitLen() <= maxIdentityBits && key.E == crypt.PublicExponent
}

func sortedByKey[V any](m map[string]V) []V {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]V, 0, len(m))
	for _, k := range keys {
		out = append(out, m[k])
	}
	return out
}
