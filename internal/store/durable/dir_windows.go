package durable

// SyncDir does nothing: Windows cannot sync a directory handle; NTFS journals names itself.
func SyncDir(string) error { return nil }
