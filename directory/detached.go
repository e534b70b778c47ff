package directory

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"mixminion/internal/crypt"
)

// SignatureSuffix is what the name of a file of detached signatures has behind the name of the directory's own file.
const SignatureSuffix = ".sig"

// MaxDetachedLen bounds a file of detached signatures, in bytes.
const MaxDetachedLen = 256 << 10

var detachedLimits = Limits{Bytes: MaxDetachedLen, Sections: MaxSigners, Entries: 16 * MaxSigners}

const sectionDetached = "Detached-Signature"

// detachedLabel keeps these signatures apart from whatever else the key may sign.
const detachedLabel = "Mixminion detached directory signature 0.1\n"

// A Detached is one authority's RSA-PSS signature of the body of a directory. It lies in a file of its own beside the
// directory, because the signature inside is over a SHA-1 digest, for which two different bodies could be made.
type Detached struct {
	Identity  *rsa.PublicKey
	BodyHash  [sha256.Size]byte // of what it signs: see Directory.BodyHash
	Signature []byte
}

// Fingerprint identifies the signer.
func (s *Detached) Fingerprint() string { return crypt.NewKeyID(s.Identity).Fingerprint() }

// SignDetached signs the body of a directory.
func SignDetached(body []byte, key *rsa.PrivateKey) (Detached, error) {
	if !validIdentity(&key.PublicKey) {
		return Detached{}, fmt.Errorf("%w: modulus of %d bits", crypt.ErrKey, key.N.BitLen())
	}
	hash := sha256.Sum256(clean(body))
	signature, err := crypt.SignPSS(key, detachedDigest(hash))
	if err != nil {
		return Detached{}, fmt.Errorf("sign directory: %w", err)
	}
	return Detached{Identity: &key.PublicKey, BodyHash: hash, Signature: signature}, nil
}

func detachedDigest(hash [sha256.Size]byte) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(detachedLabel), hash[:]...))
}

// Verify checks the signature for the body with the given hash. The error matches ErrDigest if it is about another body, crypt.ErrKey
// if the key is not acceptable, crypt.ErrSignature otherwise.
func (s *Detached) Verify(bodyHash [sha256.Size]byte) error {
	switch {
	case s.Identity == nil || !validIdentity(s.Identity):
		return crypt.ErrKey
	case s.BodyHash != bodyHash:
		return ErrDigest
	}
	return crypt.VerifyPSS(s.Identity, detachedDigest(bodyHash), s.Signature)
}

// ParseDetached reads a file of detached signatures. It does not verify them. A section that it cannot use is left out: anybody can
// append one. The error is a *SyntaxError.
func ParseDetached(text []byte) ([]Detached, error) {
	sections, err := Parse(text, detachedLimits)
	if err != nil {
		return nil, err
	}
	var out []Detached
	for i := range sections {
		s := &sections[i]
		if v, ok := s.get("Version"); s.Name != sectionDetached || ok && v.Value != sectionVersion {
			continue
		}
		var d Detached
		_, err := readSection(s, []field{
			{key: "Version", required: true, set: ignore},
			{key: "Directory-Identity", required: true, set: publicKey(&d.Identity, minIdentityBits, maxIdentityBits)},
			{key: "Directory-SHA256", required: true, set: sha256Value(&d.BodyHash)},
			{key: "Directory-Signature", required: true, set: into(&d.Signature, decodeBase64)},
		})
		if err == nil {
			out = append(out, d)
		}
	}
	return out, nil
}

// FormatDetached writes a file of detached signatures, sorted by fingerprint and without repetitions: whoever has the same signatures gets
// the same bytes. It refuses more than MaxSigners.
func FormatDetached(sigs []Detached) ([]byte, error) {
	if slices.ContainsFunc(sigs, func(s Detached) bool { return s.Identity == nil }) {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, errors.New("detached signature without a key"))
	}
	sorted := slices.SortedFunc(slices.Values(sigs), compareDetached)
	sorted = slices.CompactFunc(sorted, func(a, b Detached) bool { return compareDetached(a, b) == 0 })
	if len(sorted) == 0 || len(sorted) > MaxSigners {
		return nil, fmt.Errorf("%w: %d detached signatures", ErrDirectory, len(sorted))
	}
	var sections []Section
	for _, d := range sorted {
		s := Section{Name: sectionDetached}
		s.add("Version", sectionVersion)
		s.add("Directory-Identity", encodeBase64(crypt.EncodePublicKey(d.Identity)))
		s.add("Directory-SHA256", encodeBase64(d.BodyHash[:]))
		s.add("Directory-Signature", encodeBase64(d.Signature))
		sections = append(sections, s)
	}
	return Format(sections)
}

func compareDetached(a, b Detached) int {
	x, y := crypt.NewKeyID(a.Identity), crypt.NewKeyID(b.Identity)
	if c := bytes.Compare(x[:], y[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(a.BodyHash[:], b.BodyHash[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.Signature, b.Signature)
}

// MergeDetached returns those signatures that are valid for the directory and by members of its voting group, one for each key, in
// canonical order. There are never too many for FormatDetached.
func (d *Directory) MergeDetached(lists ...[]Detached) []Detached {
	best := make(map[string]Detached)
	for _, list := range lists {
		for _, s := range list {
			if s.Identity == nil {
				continue
			}
			fp := s.Fingerprint()
			if !d.isVoter(fp) || s.Verify(d.hash) != nil {
				continue
			}
			if old, ok := best[fp]; !ok || compareDetached(s, old) < 0 {
				best[fp] = s
			}
		}
	}
	return sortedByKey(best)
}
