// Package vault keeps the master key of a daemon: a random key under which everything secret in its base directory is encrypted
// at rest. The key itself lies in a small file, wrapped under what unlocks it at start: a key file that should be on another
// device, a passphrase, or a credential of systemd.
//
// So what unlocks it can change without encrypting anything anew, and to destroy that one file is to destroy all it protects.
//
// Source: HKDF (RFC 5869) with SHA-256, scrypt (RFC 7914), XChaCha20-Poly1305.
//
// # Caveats
//
// The Go runtime may copy what is in memory; [Vault.Wipe] and [Secret.Wipe] wipe the copies that this package knows of. A wrong key
// and a damaged file cannot be told apart from each other beyond what a checksum tells; neither makes this package change anything on disk.
package vault
