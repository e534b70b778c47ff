// Package backup writes and reads the archives of mixminiond backup: what a mix needs to be itself again, encrypted.
//
// There are two kinds. An archive of the kind [Identity] holds the configuration, the files that it names, the identity keys, the list of
// those who want no mail and the decisions of a directory authority; never packet keys and never packets, which must not outlive their
// time. An archive of the kind [Move] holds those, too, with their whole replay logs, because the mix that they come from has given them up
// first.
//
// An archive is a tar file in an age file (age-encryption.org/v1). Its first entry is manifest.json, its second the
// configuration, and its last one is empty and called end. Names are relative, of few characters, and mean places that
// the configuration decides; [Restore] creates files and replaces none.
//
// # Caveats
//
// Encryption to a passphrase or a recipient does not tell who made an archive, and a configuration can name commands to be run: restore
// only what you have made. That a Move archive is restored once cannot be known where a copy of it is.
package backup
