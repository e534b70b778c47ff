package vote

import (
	"errors"
	"fmt"

	"mixminion/directory"
)

// An Equivocation is two different valid votes of one authority for one day. The texts prove it to everybody.
type Equivocation struct {
	Fingerprint string
	Texts       [2][]byte
}

// ErrProof says that two texts do not prove an equivocation.
var ErrProof = errors.New("no proof of two votes for one day")

// Check verifies the proof: both texts are votes for one day by the authority with the fingerprint, its signatures are valid, and what they
// sign is different. It takes no side on whether the authority was in anybody's group. The error matches ErrProof.
func (e *Equivocation) Check() error {
	var votes [2]*directory.Directory
	for i, text := range e.Texts {
		d, err := directory.ParseDirectory(text)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProof, err)
		}
		if d.Status != directory.Vote || !d.SignedBy(e.Fingerprint) {
			return fmt.Errorf("%w: text %d is no vote with its signature", ErrProof, i+1)
		}
		votes[i] = d
	}
	switch {
	case !votes[0].ValidAfter.Equal(votes[1].ValidAfter):
		return fmt.Errorf("%w: they are for different days", ErrProof)
	case votes[0].BodyHash() == votes[1].BodyHash():
		return fmt.Errorf("%w: they say the same", ErrProof)
	}
	return nil
}
