package directory

import (
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mixminion/internal/crypt"
)

// DirectoryVersion is the version of the directories that this package writes and reads (dir-spec 4.1, dir-spec A.1).
const DirectoryVersion = "0.3"

// Limits on directories. A directory beyond one of them is refused.
const (
	MaxDirectoryLen = 16 << 20 // bytes, uncompressed
	MaxServers      = 4096     // descriptors
	MaxSigners      = 64
	MaxVoters       = 64
	MaxURLLen       = 256

	// maxBodyLen leaves room for the signatures, so that a body that one authority takes fits into what all others
	// read, whoever has signed it.
	maxBodyLen = MaxDirectoryLen - MaxSigners*4096

	maxRecommended = MaxServers
	maxVersions    = 64
	maxVersionLen  = 32
)

// headLimits are for what comes before the descriptors.
var headLimits = Limits{Bytes: 1 << 20, Sections: 128, Entries: 1024}

// Errors about directories. Breaches of the format are of type *SyntaxError; wrong digests and signatures of descriptors match ErrDigest
// and crypt.ErrSignature.
var (
	// ErrSingleSigned says that a text is a directory of the obsolete format 0.2, which one key signs. It is never accepted.
	ErrSingleSigned = errors.New("a directory of format 0.2 carries the signature of one server only and is not accepted")
	// ErrDirectoryVersion says that a directory has an unknown version.
	ErrDirectoryVersion = errors.New("directory version is not " + DirectoryVersion)
	// ErrDirectory says that a directory cannot be made of the given parts.
	ErrDirectory = errors.New("cannot make a directory")
)

// Status says what a directory is: what the authorities agreed on, or what one of them proposes.
type Status string

// The statuses of directories.
const (
	Consensus Status = "consensus"
	Vote      Status = "vote" // of no use to clients
)

// A Voter is a line Voting-Server: an authority of the voting group and a base URL of its documents. An authority with several
// URLs has several of them.
type Voter struct {
	Fingerprint string // 40 upper-case hexadecimal digits: SHA-1 of the PKCS#1 encoding of the identity key
	URL         string // ends with "/"
}

// Info is what a directory says besides the descriptors.
type Info struct {
	Status         Status
	ValidAfter     time.Time // midnight UTC; ValidUntil is a day later
	ValidUntil     time.Time
	Recommended    []string // lower-case nicknames, sorted
	Voters         []Voter  // sorted
	ClientVersions []string // in version order
	ServerVersions []string
	// Previous is the SHA-256 of the body of the consensus before; nil if the directory does not say.
	Previous *[sha256.Size]byte
}

// A Signer is a [Signed-Directory] section: one authority's signature of the body of a directory.
type Signer struct {
	Identity  *rsa.PublicKey
	Digest    crypt.Digest // what it claims to have signed
	Signature []byte
	// Err says why the signature does not count: nil, or it matches ErrDigest or crypt.ErrSignature.
	Err error
}

// Fingerprint identifies the signer.
func (s *Signer) Fingerprint() string { return crypt.NewKeyID(s.Identity).Fingerprint() }

// A Directory is what ParseDirectory found. It must not be changed. Its descriptors are signed by their servers, but nothing
// says yet that the directory itself can be trusted: see CheckQuorum.
type Directory struct {
	Info
	Servers []*Descriptor // sorted by nickname, Valid-After and digest
	Signers []Signer      // one for each key, in the order of the text
	Notes   []Note

	body   []byte
	digest crypt.Digest
	hash   [sha256.Size]byte

	recommended map[string]*rsa.PublicKey // by nickname in lower case
}

// Body is what the signatures cover: the text from [Directory-Info] to the end, with NL line ends and no blanks around lines. The caller
// must not change it.
func (d *Directory) Body() []byte { return d.body }

// BodyHash is the SHA-256 of the body, by which votes and directories refer to each other.
func (d *Directory) BodyHash() [sha256.Size]byte { return d.hash }

// Digest is the SHA-1 of the body, which the [Signed-Directory] sections sign.
func (d *Directory) Digest() crypt.Digest { return d.digest }

// Text is the whole directory as it is published, with all of Signers, also those that do not count.
func (d *Directory) Text() []byte { return formatSigned(d.Signers, d.body) }

// SignedBy reports whether the directory has a valid signature by the key with the given fingerprint.
func (d *Directory) SignedBy(fingerprint string) bool { return d.signer(fingerprint) != nil }

// isVoter reports whether the directory names an authority as a member of the voting group.
func (d *Directory) isVoter(fingerprint string) bool {
	return slices.ContainsFunc(d.Voters, func(v Voter) bool { return v.Fingerprint == fingerprint })
}

// signer returns the valid signature by a key, or nil.
func (d *Directory) signer(fingerprint string) *Signer {
	for i := range d.Signers {
		if s := &d.Signers[i]; s.Err == nil && s.Fingerprint() == fingerprint {
			return s
		}
	}
	return nil
}

// Recommends reports whether the directory calls the server of a descriptor reliable and trustworthy.
func (d *Directory) Recommends(desc *Descriptor) bool {
	key := d.recommended[strings.ToLower(desc.Nickname)]
	return key != nil && key.Equal(desc.Identity)
}

// ValidFingerprint reports whether s has the form of a fingerprint: 40 upper-case hexadecimal digits.
func ValidFingerprint(s string) bool {
	return len(s) == 2*crypt.HashLen && strings.Trim(s, "0123456789ABCDEF") == ""
}

// ValidBaseURL reports whether s can be the base URL of an authority (dir-spec 5.1): http or https, escaped, and with "/" at its end.
func ValidBaseURL(s string) bool {
	rest, ok := strings.CutPrefix(s, "http://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "https://")
	}
	return ok && len(s) <= MaxURLLen && len(rest) > 1 && rest[0] != '/' && strings.HasSuffix(rest, "/") && isURLText(rest)
}

func isURLText(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}?#", c) >= 0 {
			return false
		}
	}
	return true
}

func parseVoter(s string) (Voter, error) {
	fp, url, _ := strings.Cut(s, " ")
	v := Voter{Fingerprint: fp, URL: strings.TrimLeft(url, blanks)}
	if !ValidFingerprint(v.Fingerprint) || !ValidBaseURL(v.URL) {
		return Voter{}, errors.New("not a fingerprint and a base URL")
	}
	return v, nil
}

// CompareVoters is the order of Voting-Server lines.
func CompareVoters(a, b Voter) int {
	if c := strings.Compare(a.Fingerprint, b.Fingerprint); c != 0 {
		return c
	}
	return strings.Compare(a.URL, b.URL)
}

func (v Voter) String() string { return fmt.Sprintf("%s %s", v.Fingerprint, v.URL) }
