package dirclient

import "mixminion/directory"

// The documents of a directory server that everybody downloads, below its URL base (dir-spec 5.1). The second holds the
// signatures that do not stand in the directory itself.
const (
	CurrentName    = "current.gz"
	CurrentSigName = CurrentName + directory.SignatureSuffix
	uploadName     = "upload"
)

// maxCompressed bounds a directory as it is downloaded, in bytes: descriptors are mostly keys and signatures, which shrink by a quarter.
const maxCompressed = directory.MaxDirectoryLen
