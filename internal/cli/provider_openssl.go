//go:build openssl && cgo

package cli

import (
	"mixminion/internal/crypt"
	"mixminion/internal/crypt/libcrypto"
)

// newProvider returns what does the private RSA operations of a mix.
func newProvider() crypt.Provider { return libcrypto.Provider{} }
