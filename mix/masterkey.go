package mix

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mixminion/internal/config"
	"mixminion/internal/store"
	"mixminion/internal/vault"
)

// A LostKeyError says that parts of a mix are encrypted, and the file with the master key is missing.
type LostKeyError struct {
	Parts []string // in words
	Mend  string
}

func (e *LostKeyError) Error() string {
	return fmt.Sprintf("the file with the master key is missing, and without it nothing opens %s. To mend it: %s", strings.Join(e.Parts, ", "), e.Mend)
}

// CheckNoMasterKey is for a mix whose master key is missing. It returns a LostKeyError if something is encrypted: a new
// master key would not open it.
func CheckNoMasterKey(p config.ServerPaths) error {
	var lost LostKeyError
	var failed error
	look := func(what string, encrypted func(path string) (bool, error), patterns ...string) bool {
		for _, pattern := range patterns {
			paths, err := filepath.Glob(pattern)
			failed = errors.Join(failed, err)
			for _, path := range paths {
				is, err := encrypted(path)
				failed = errors.Join(failed, err)
				if is {
					lost.Parts = append(lost.Parts, what)
					return true
				}
			}
		}
		return false
	}
	keySets, blockLogs := filepath.Join(p.KeyDir, keySetPrefix+"*"), filepath.Join(p.BlocksDir, blockLogPrefix+"*")
	identity := look("the identity key", sealedKey, filepath.Join(p.KeyDir, identityFile))
	look("packet keys", sealedKey, filepath.Join(keySets, packetKeyFile))
	look("replay logs", store.Encrypted, filepath.Join(keySets, replayDir), blockLogs)
	look("packets", store.Encrypted, p.QueueDir)
	if failed != nil {
		return fmt.Errorf("look for what is encrypted: %w", failed)
	}
	if len(lost.Parts) == 0 {
		return nil
	}
	lost.Mend = "put the file back. If it is lost, so are they: "
	if identity {
		lost.Mend += "move " + p.BaseDir + " away, and get the mix back from a backup by mixminiond restore, or begin a new one by mixminiond init"
	} else {
		lost.Mend += fmt.Sprintf("remove %s, %s and %s, and the next start makes new ones", p.QueueDir, keySets, blockLogs)
	}
	return &lost
}

// sealedKey says whether a file holds an encrypted key.
func sealedKey(path string) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	defer clear(data)
	return err == nil && vault.Sealed(data), err
}
