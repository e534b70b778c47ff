// Package libcrypto is a second crypt.Provider: it does the private RSA operations of a mix with the system's OpenSSL, which takes less
// than half the time of the standard library. It is empty unless the program is built with cgo and the tag openssl.
//
// Private keys are copied into OpenSSL's memory, which is cleared when a key is no longer used. Blinding is on, as OpenSSL does it by
// itself.
package libcrypto
